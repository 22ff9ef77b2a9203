/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The signer, seen by those who have no private key: the supervisor starts it and has it load keys; a
 * worker's GnuTLS gets handles that ask it. Each configuration has a signer of its own. */
#ifndef SIGNER_H
#define SIGNER_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "problem.h"

struct signer;
struct signer_key;

/* Starts nothing: the process comes with the first key. The configuration is borrowed; NULL: of a daemon
 * that nothing is known of. */
int signer_new(const struct config *config, struct signer **ret_signer, struct problem *problem);
/* Ends the process. After every key. NULL is fine. */
void signer_free(struct signer *signer);

/* Has the signer load a key: a PEM file, or a PKCS#11 URL with the file of its PIN (NULL: none). 0 and a
 * new object, to be freed after every handle of it, or -1 and a sentence. */
int signer_key_load(struct signer *signer, const char *source, const char *pin_file,
		    struct signer_key **ret_key, struct problem *problem);
/* The same in two steps, so that the caller's work goes on beside the signer's; keys are finished in the order in
 * which they were begun. finish: 0, or -1 and a sentence; the key is the caller's either way, and may be freed
 * without it. */
int signer_key_begin(struct signer *signer, const char *source, const char *pin_file,
		     struct signer_key **ret_key, struct problem *problem);
int signer_key_finish(struct signer_key *key, struct problem *problem);
void signer_key_free(struct signer_key *key);
/* 1: the certificate is that of the key, 0: it is not, or a GnuTLS error: it cannot be told. */
int signer_key_matches(const struct signer_key *key, gnutls_x509_crt_t certificate);
/* The public key: SubjectPublicKeyInfo in DER. The key's. */
const gnutls_datum_t *signer_key_public(const struct signer_key *key);
/* Makes a handle that has the signer sign. 0 or a GnuTLS error. Credentials that take it must have
 * GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH: GnuTLS would sign for each. */
int signer_key_handle(const struct signer_key *key, gnutls_privkey_t *ret_handle);

/* All keys are loaded: the signer gives up files and privileges, and proves that it still can sign with
 * those on tokens. 0, also where there is no key, or -1 and a sentence. */
int signer_seal(struct signer *signer, struct problem *problem);
/* A new socket for a worker, to be closed by the caller. -1: the signer is not there, or there is no key. */
int signer_connect(struct signer *signer);
/* In a worker: the handles ask over the worker's socket from now on (signing.h). */
void signer_become_worker(struct signer *signer);

/* Whether there is a key, and so a process. */
bool signer_is_needed(const struct signer *signer);
bool signer_is_there(const struct signer *signer);
/* Whether a token has refused a PIN: nothing should be tried once more. */
bool signer_was_refused(const struct signer *signer);
/* Takes note of a death. false: it is not this one's. */
bool signer_died(struct signer *signer, pid_t pid, int status);
/* Starts another when it is due. true: workers must be told whether it is there. *ret_next: the time
 * of the next thing to do, or INT64_MAX. */
bool signer_tend(struct signer *signer, int64_t now, int64_t *ret_next);

#endif
