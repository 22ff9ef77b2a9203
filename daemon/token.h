/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private keys on PKCS#11 tokens (RFC 7512), inside of the signer. */
#ifndef TOKEN_H
#define TOKEN_H

#include <gnutls/abstract.h>
#include <stdbool.h>

#include "signer-protocol.h"

/* Whether a private-key is a URL and no path. */
bool token_is_url(const char *source);
/* Has only the modules that are added so be used, instead of those that the system has configured. */
int token_add_module(const char *path, struct problem *problem);
/* Finds the key and logs in to its token. A wrong PIN is given once in the life of the process. 0, or -1
 * with the report's verdict and problem. */
int token_load(gnutls_privkey_t handle, const char *url, const char *pin_file,
	       struct signer_report *report);

#endif
