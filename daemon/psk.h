/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pre-shared keys by identity, read before the first handshake. Identities are bytes, matched exactly. */
#ifndef PSK_H
#define PSK_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "handshake-protocol.h"
#include "problem.h"

enum {
	PSK_IDENTITY_MAX = 128,                               /* bytes, what GnuTLS takes */
	PSK_IDENTITY_TEXT_SIZE = HANDSHAKE_PSK_IDENTITY_SIZE, /* as text, with the final NUL */
	PSK_KEY_MIN = 16, /* bytes; shorter ones only where the profile says so */
	PSK_KEY_MAX = 512,
	PSK_COUNT_MAX = 65536,
};

struct psk_identity {
	unsigned char bytes[PSK_IDENTITY_MAX];
	size_t size;
};

struct psk;

/* Reads what the profile names: its file, its keyring, or both. 0, with NULL where it names neither, or
 * -1 and a sentence. */
int psk_new(const struct config_psk *config, struct psk **ret_psk, struct problem *problem);
/* Wipes and frees. */
void psk_free(struct psk *psk);
size_t psk_count(const struct psk *psk);
/* The key of exactly this identity; borrowed. false: there is none. */
bool psk_find(const struct psk *psk, const void *identity, size_t size, gnutls_datum_t *ret_key);
/* The only identity; false where there are several. */
bool psk_only(const struct psk *psk, struct psk_identity *ret_identity);

/* Text of an identity: as it is where it is printable ASCII and does not begin with '#', else '#' and the
 * bytes in hexadecimal digits, as psktool writes. text: PSK_IDENTITY_TEXT_SIZE bytes; what is longer than
 * an identity can be is cut short. */
void psk_identity_show(const void *identity, size_t size, char *text);
/* The other way. 0, or -1: empty, too long, or '#' without an even number of digits. */
int psk_identity_read(const char *text, struct psk_identity *ret_identity);

/* For the files that read keys: adds one. source stands before each complaint. 0 or -1 with a problem. */
int psk_add(struct psk *psk, const char *source, const void *identity, size_t identity_size,
	    const void *key, size_t key_size, struct problem *problem);
int psk_file_read(struct psk *psk, const char *path, struct problem *problem);
int psk_keyring_read(struct psk *psk, const char *name, struct problem *problem);

/* Whether this GnuTLS knows keys of SHA-384. */
bool psk_knows_sha384(void);
/* Credentials of a server that finds keys by find(), and of a client with this one key. dh (or NULL) is
 * only referred to. 0, or a sentence and -1 (of a client: the GnuTLS error): psk-hash = SHA384 needs a newer
 * GnuTLS. */
int psk_server_new(bool sha384, gnutls_dh_params_t dh,
		   gnutls_psk_server_credentials_function2 *find,
		   gnutls_psk_server_credentials_t *ret_credentials, struct problem *problem);
int psk_client_new(bool sha384, const gnutls_datum_t *identity, const gnutls_datum_t *key,
		   gnutls_psk_client_credentials_t *ret_credentials, struct problem *problem);

#endif
