// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Digests of all that a session must not outlive the change of. Reads the files of ticket keys when a profile
 * is loaded; a handshake opens nothing. In doubt something is in the digest: then a full handshake follows.
 */
#include "resumption-policy.h"

#include <ctype.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "ticket-key-file.h"
#include "trust.h"

/* With their length, so that no two lists of fields look the same. */
static void field_add(gnutls_hash_hd_t hash, const void *data, size_t size)
{
	const uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16),
				   (uint8_t)(size >> 8), (uint8_t)size};

	gnutls_hash(hash, length, sizeof(length));
	gnutls_hash(hash, data, size);
}

static void text_add(gnutls_hash_hd_t hash, const char *text)
{
	field_add(hash, text, strlen(text));
}

static void number_add(gnutls_hash_hd_t hash, unsigned number)
{
	field_add(hash, &number, sizeof(number));
}

/* ---- A profile ----------------------------------------------------------------------------- */

static int trust_digest(const struct trust *trust, uint8_t digest[32])
{
	const struct certificates *anchors = trust_anchors(trust);
	gnutls_hash_hd_t hash;

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return -1;
	for (unsigned i = 0; i < anchors->count; i++) {
		uint8_t print[32];
		size_t size = sizeof(print);

		if (gnutls_x509_crt_get_fingerprint(anchors->items[i], GNUTLS_DIG_SHA256, print,
						    &size) == 0)
			field_add(hash, print, size);
	}
	if (trust_revocation(trust) != NULL)
		field_add(hash, revocation_digest(trust_revocation(trust)), 32);
	gnutls_hash_deinit(hash, digest);
	return 0;
}

static int certificates_digest(gnutls_certificate_credentials_t credentials, uint8_t digest[32])
{
	gnutls_datum_t certificate;
	gnutls_hash_hd_t hash;

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return -1;
	for (unsigned i = 0; gnutls_certificate_get_crt_raw(credentials, i, 0, &certificate) == 0;
	     i++)
		field_add(hash, certificate.data, certificate.size);
	gnutls_hash_deinit(hash, digest);
	return 0;
}

static int secrets_read(const struct config_profile *config, struct resumption_policy *policy,
			struct problem *problem)
{
	size_t count = config->resumption.key_file_count;

	if (count == 0)
		return 0;
	policy->secrets = calloc(count, sizeof(*policy->secrets));
	if (policy->secrets == NULL)
		return problem_set(problem, "out of memory");
	for (; policy->secret_count < count; policy->secret_count++)
		if (ticket_key_file_read(config->resumption.key_files[policy->secret_count],
					 policy->secrets[policy->secret_count], problem) < 0)
			return -1;
	return 0;
}

int resumption_policy_new(const struct profile *profile, struct resumption_policy **ret_policy,
			  struct problem *problem)
{
	struct resumption_policy *policy = calloc(1, sizeof(*policy));
	int error = -1;

	if (policy == NULL)
		return problem_set(problem, "out of memory");
	memcpy(policy->settings, profile->config->resumption.settings, sizeof(policy->settings));
	if ((profile->trust != NULL && trust_digest(profile->trust, policy->trust) < 0) ||
	    (profile->client != NULL &&
	     certificates_digest(profile->client, policy->certificates) < 0))
		problem_set(problem, "out of memory");
	else
		error = secrets_read(profile->config, policy, problem);
	if (error < 0) {
		resumption_policy_free(policy);
		return -1;
	}
	*ret_policy = policy;
	return 0;
}

void resumption_policy_free(struct resumption_policy *policy)
{
	if (policy == NULL)
		return;
	if (policy->secrets != NULL)
		explicit_bzero(policy->secrets, policy->secret_count * sizeof(*policy->secrets));
	free(policy->secrets);
	free(policy);
}

/* ---- A handshake --------------------------------------------------------------------------- */

static void decision_add(gnutls_hash_hd_t hash, const struct decision *decision)
{
	const struct resumption_policy *policy = decision->profile->resumption;
	bool server = decision->role == REQUEST_SERVER;

	text_add(hash, "handshaked resumption 1");
	number_add(hash, decision->role);
	text_add(hash, decision->profile->config->name);
	field_add(hash, policy->settings, sizeof(policy->settings));
	number_add(hash, decision->alpn_count);
	for (unsigned i = 0; i < decision->alpn_count; i++)
		text_add(hash, decision->alpn[i]);
	number_add(hash, decision->alpn_required);
	number_add(hash, decision->client_certificates);
	number_add(hash, decision->unauthenticated);
	/* A server that asks for no certificate believes nobody, and whom it would matters not. */
	if (!server || decision->client_certificates != CONFIG_CLIENT_NONE)
		field_add(hash, policy->trust, sizeof(policy->trust));
	if (!server)
		field_add(hash, policy->certificates, sizeof(policy->certificates));
}

int resumption_context(const struct decision *decision, const char *peer, const char *protocol,
		       uint8_t ret_context[TICKET_CONTEXT_SIZE])
{
	gnutls_hash_hd_t hash;
	char lower[512];
	size_t length = strnlen(peer, sizeof(lower) - 1);

	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return -1;
	decision_add(hash, decision);
	text_add(hash, protocol);
	for (size_t i = 0; i < length; i++)
		lower[i] = (char)tolower((unsigned char)peer[i]);
	field_add(hash, lower, length);
	gnutls_hash_deinit(hash, ret_context);
	return 0;
}
