/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration with everything that it names read into memory: what a generation of workers
 * needs, so that it never opens a file. Read-only once it is there. */
#ifndef LOADED_H
#define LOADED_H

#include <gnutls/gnutls.h>

#include "config.h"
#include "problem.h"

struct trust; /* trust.h */

struct profile {
	const struct config_profile *config;
	gnutls_certificate_credentials_t server; /* NULL: no certificate, so no server role */
	gnutls_certificate_credentials_t client; /* with the first certificate, or without any */
	/* TLS priorities of the profile as server and as client; [1]: for records that go to a relay or
	 * kernel without difference today, kept one. */
	gnutls_priority_t priority_server;
	gnutls_priority_t priority_client;
	struct trust *trust; /* NULL: the profile verifies nobody */
	gnutls_datum_t *alpn; /* config->alpn in GnuTLS's form; config->alpn_count of them */
};

struct loaded {
	struct config *config;
	struct profile *profiles; /* config->profile_count, same order */
};

/* Reads the configuration and every file that it names. 0 and a new object, or -1 and a sentence.
 * Nothing half-loaded is ever returned. */
int loaded_new(const char *config_path, struct loaded **ret_loaded, struct problem *problem);
void loaded_free(struct loaded *loaded);
const struct profile *loaded_find_profile(const struct loaded *loaded, const char *name);

#endif
