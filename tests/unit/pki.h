/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Authorities, certificates and revocation lists for tests, made at run time. Everything ends the
 * test program when it fails. */
#ifndef PKI_H
#define PKI_H

#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>

enum pki_kind {
	PKI_ECDSA, /* P-256 */
	PKI_RSA,   /* 2048 bits */
	PKI_ED25519,
	PKI_RSA_WEAK, /* 1024 bits */
};

struct pki_entity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
	unsigned serial;
};

struct pki_wish {
	enum pki_kind kind;
	const struct pki_entity *issuer; /* NULL: signed by itself */
	bool authority;
	const char *common_name;
	const char *names[4]; /* DNS names, up to a NULL */
	const char *address;  /* IP address */
	const char *purpose;  /* GNUTLS_KP_…; NULL: any */
	bool must_staple;     /* RFC 7633 */
	long from, until;     /* seconds from now; both 0: an hour ago, a year ahead */
};

struct pki_entity *pki_new(const struct pki_wish *wish);
void pki_free(struct pki_entity *entity);

/* Paths inside a new directory, which pki_directory_remove() removes with its files. */
const char *pki_directory(void);
void pki_directory_remove(void);
/* In a ring of buffers; good for some calls. */
const char *pki_path(const char *name);
/* Each writes a file of that name and gives its path. Keys have mode 0600. */
const char *pki_write_text(const char *name, const char *text);
const char *pki_write_key(const char *name, const struct pki_entity *entity);
const char *pki_write_chain(const char *name, const struct pki_entity *const *chain, size_t count);
/* A list of the issuer's revoked serial numbers that holds from and until that many seconds from
 * now. */
const char *pki_write_list(const char *name, const struct pki_entity *issuer,
			   const unsigned *revoked, size_t count, long from, long until);
/* The text of such files, to be freed with gnutls_free. */
char *pki_text_of_certificate(const struct pki_entity *entity);

#endif
