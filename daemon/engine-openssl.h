/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OpenSSL's libcrypto as what the signer signs with: several times faster than GnuTLS, most of all with
 * RSA. Where the daemon was built without it, there is none. */
#ifndef ENGINE_OPENSSL_H
#define ENGINE_OPENSSL_H

#include <gnutls/abstract.h>
#include <stdbool.h>

struct engine_key;

bool engine_openssl_is_there(void);
/* The same key as GnuTLS has it, in memory. NULL: it is of no kind that is served here, or there is no
 * libcrypto. */
struct engine_key *engine_key_new(gnutls_privkey_t handle);
void engine_key_free(struct engine_key *key);
/* Signs a hash; with GNUTLS_SIGN_RSA_RAW, a DigestInfo. From any thread. 0, or a GnuTLS error:
 * GNUTLS_E_UNIMPLEMENTED_FEATURE, nothing is known of such an algorithm here. */
int engine_key_sign(const struct engine_key *key, gnutls_sign_algorithm_t algorithm,
		    const gnutls_datum_t *hash, gnutls_datum_t *ret_signature);

#endif
