// SPDX-License-Identifier: LGPL-2.1-or-later
// Turns a profile into GnuTLS's priorities. Names everything that is allowed, from nothing: neither
// the library's defaults nor the system's keywords decide what is offered.
#include "priorities.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "groups.h"

// Only suites whose records a kernel can take over: AEAD ciphers. No SHA-1 and no PKCS #1 signature of
// it.
#define COMMON ":+AEAD:+COMP-NULL"
#define SIGNATURES                                                             \
	":+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256:+SIGN-EDDSA-ED25519" \
	":+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SHA384:+SIGN-EDDSA-ED448"   \
	":+SIGN-ECDSA-SECP521R1-SHA512:+SIGN-ECDSA-SHA512"                     \
	":+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-SHA256:+SIGN-RSA-SHA256"     \
	":+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-SHA384:+SIGN-RSA-SHA384"     \
	":+SIGN-RSA-PSS-RSAE-SHA512:+SIGN-RSA-PSS-SHA512:+SIGN-RSA-SHA512"

struct text {
	char bytes[2048];
	size_t length;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->bytes) - text->length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->bytes + text->length, room, format, arguments);
	va_end(arguments);
	text->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
}

static bool add_ciphers(struct text *text, const struct config_profile *config, const bool *allowed)
{
	bool some = false;

	for (size_t i = 0; i < config->cipher_count; i++) {
		if (allowed && !allowed[config->ciphers[i]])
			continue;
		add(text, ":+%s", config_cipher_word(config->ciphers[i]));
		some = true;
	}
	return some;
}

// ML-DSA where this GnuTLS was built with it: the names alone say nothing of that.
static void add_signatures(struct text *text)
{
	for (const gnutls_pk_algorithm_t *known = gnutls_pk_list(); *known; known++) {
		const char *name = gnutls_pk_get_name(*known);

		if (name && !strncmp(name, "ML-DSA-", 7))
			add(text, ":+SIGN-%s", name);
	}
	add(text, SIGNATURES);
}

// TLS 1.2 has its key exchange in the suite; TLS 1.3 asks for the groups alone.
static void add_exchanges(struct text *text, const struct config_profile *config,
			  enum config_roles role)
{
	bool curves = false, finite = false, psk = config_psk_given(config);
	bool certificates = !config_psk_only(config, role);

	for (size_t i = 0; i < config->group_count; i++) {
		add(text, ":+GROUP-%s", groups_name(config->groups[i]));
		curves = curves || groups_is_curve(config->groups[i]);
		finite = finite || groups_is_finite(config->groups[i]);
	}
	// With hybrids alone there would be no TLS 1.2, but the library wants some exchange.
	curves = curves || !finite;
	// A pre-shared key first: who has one is meant to use it.
	add(text, "%s%s", psk && curves ? ":+ECDHE-PSK" : "", psk && finite ? ":+DHE-PSK" : "");
	add(text, "%s", certificates && curves ? ":+ECDHE-ECDSA:+ECDHE-RSA" : "");
	add(text, "%s", certificates && finite ? ":+DHE-RSA" : "");
	add(text, "%s", psk && config->psk.insecure_plain ? ":+PSK" : "");
	add(text, "%s", certificates && config->insecure_rsa_key_exchange ? ":+RSA" : "");
}

// What each side may prove its identity with; raw public keys first, for they were asked for by name.
static void add_types(struct text *text, const struct config_profile *config,
		      enum config_roles role)
{
	const char *own = role == CONFIG_ROLE_SERVER ? "SRV" : "CLI";
	const char *peers = role == CONFIG_ROLE_SERVER ? "CLI" : "SRV";

	if (config->raw.private_key)
		add(text, ":+CTYPE-%s-RAWPK", own);
	if (config_shows_x509(config))
		add(text, ":+CTYPE-%s-X509", own);
	if (config->raw.pin_count)
		add(text, ":+CTYPE-%s-RAWPK", peers);
	if (config_takes_x509(config))
		add(text, ":+CTYPE-%s-X509", peers);
}

int priorities_new(const struct config_profile *config, enum config_roles role, const bool *allowed,
		   gnutls_priority_t *ret_priorities, struct problem *problem)
{
	struct text text = {"", 0};
	const char *where = NULL;
	int error;

	add(&text, "NONE%s%s", config->tls12_only ? "" : ":+VERS-TLS1.3",
	    config->min_version == CONFIG_TLS12 ? ":+VERS-TLS1.2" : "");
	if (!add_ciphers(&text, config, allowed))
		return problem_set(problem, "[profile %s]: none of its ciphers is left",
				   config->name);
	add(&text, COMMON);
	add_types(&text, config, role);
	add_exchanges(&text, config, role);
	add_signatures(&text);
	add(&text, ":%%PROFILE_MEDIUM%s",
	    role == CONFIG_ROLE_SERVER && !config->client_order ? ":%SERVER_PRECEDENCE" : "");
	error = gnutls_priority_init(ret_priorities, text.bytes, &where);
	if (error < 0)
		return problem_set(problem, "[profile %s]: GnuTLS does not accept \"%s\": %s",
				   config->name, where ? where : text.bytes,
				   gnutls_strerror(error));
	return 0;
}
