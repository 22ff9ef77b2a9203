// SPDX-License-Identifier: LGPL-2.1-or-later
// Turns a profile into GnuTLS's priorities. Names everything that is allowed, from nothing: neither
// the library's defaults nor the system's keywords decide what is offered.
#include "priorities.h"

#include <stdio.h>

// Only suites whose records a kernel can take over: AEAD ciphers. Every key exchange is ephemeral;
// no SHA-1 and no PKCS #1 signature of it.
#define EXCHANGES ":+AEAD:+COMP-NULL:+CTYPE-X509:+ECDHE-ECDSA:+ECDHE-RSA:+DHE-RSA"
#define GROUPS                                                                          \
	":+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-X448:+GROUP-SECP521R1" \
	":+GROUP-FFDHE2048:+GROUP-FFDHE3072:+GROUP-FFDHE4096:+GROUP-FFDHE6144:+GROUP-FFDHE8192"
#define SIGNATURES                                                             \
	":+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256:+SIGN-EDDSA-ED25519" \
	":+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SHA384:+SIGN-EDDSA-ED448"   \
	":+SIGN-ECDSA-SECP521R1-SHA512:+SIGN-ECDSA-SHA512"                     \
	":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-SHA256:+SIGN-RSA-SHA256"     \
	":+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-SHA384:+SIGN-RSA-SHA384"     \
	":+SIGN-RSA-PSS-RSAE-SHA512:+SIGN-RSA-PSS-SHA512:+SIGN-RSA-SHA512"

int priorities_new(const struct config_profile *config, enum config_roles role, const bool *allowed,
		   gnutls_priority_t *ret_priorities, struct problem *problem)
{
	char text[1536], ciphers[128] = "";
	const char *where = NULL;
	size_t length = 0;
	int error;

	for (size_t i = 0; i < config->cipher_count; i++) {
		if (allowed && !allowed[config->ciphers[i]])
			continue;
		length += (size_t)snprintf(ciphers + length, sizeof(ciphers) - length, ":+%s",
					   config_cipher_word(config->ciphers[i]));
	}
	if (!length)
		return problem_set(problem, "[profile %s]: none of its ciphers is left",
				   config->name);
	snprintf(text, sizeof(text),
		 "NONE:+VERS-TLS1.3%s%s" EXCHANGES GROUPS SIGNATURES ":%%PROFILE_MEDIUM%s",
		 config->min_version == CONFIG_TLS12 ? ":+VERS-TLS1.2" : "", ciphers,
		 role == CONFIG_ROLE_SERVER && !config->client_order ? ":%SERVER_PRECEDENCE" : "");
	error = gnutls_priority_init(ret_priorities, text, &where);
	if (error < 0)
		return problem_set(problem, "[profile %s]: GnuTLS does not accept \"%s\": %s",
				   config->name, where ? where : text, gnutls_strerror(error));
	return 0;
}
