// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the configuration and everything that it names, all or nothing. The only place from which
// the daemon's handshakes get credentials; never called by a process that meets the network.
#include "loaded.h"

#include <stdlib.h>
#include <string.h>

#include "credentials.h"
#include "priorities.h"
#include "psk-session.h"
#include "psk.h"
#include "raw-public-key.h"
#include "resumption-policy.h"
#include "signer.h"
#include "trust.h"

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

const char *loaded_trust_source(const struct config_profile *config)
{
	if (config->trust)
		return config->trust;
	// A client that says nothing verifies as all programs of this system do.
	if ((config->roles & CONFIG_ROLE_CLIENT) && !config->insecure_no_verification &&
	    config_takes_x509(config) && !config_psk_only(config, CONFIG_ROLE_CLIENT))
		return "system";
	return NULL;
}

// Profiles with the same trust share it: the system's store takes 5 ms and half a megabyte.
static int trust_find(struct loaded *loaded, size_t i, struct problem *problem)
{
	struct profile *profile = &loaded->profiles[i];
	const char *source = loaded_trust_source(profile->config);

	if (!source)
		return 0;
	for (size_t j = 0; j < i; j++) {
		const struct profile *other = &loaded->profiles[j];

		if (other->trust && same(loaded_trust_source(other->config), source) &&
		    same(other->config->revocation_list, profile->config->revocation_list)) {
			profile->trust = trust_ref(other->trust);
			return 0;
		}
	}
	return trust_new(source, profile->config->revocation_list, &profile->trust, problem);
}

static int alpn_make(struct profile *profile, struct problem *problem)
{
	const struct config_profile *config = profile->config;

	if (!config->alpn_count)
		return 0;
	profile->alpn = calloc(config->alpn_count, sizeof(*profile->alpn));
	if (!profile->alpn)
		return problem_set(problem, "out of memory");
	for (size_t i = 0; i < config->alpn_count; i++) {
		profile->alpn[i].data = (unsigned char *)config->alpn[i];
		profile->alpn[i].size = (unsigned)strlen(config->alpn[i]);
	}
	return 0;
}

static int psk_load(struct profile *profile, struct problem *problem)
{
	const struct config_profile *config = profile->config;
	struct psk_identity identity;
	gnutls_datum_t key;

	if (psk_new(&config->psk, &profile->psk, problem) < 0)
		return -1;
	if (!profile->psk && !config->psk.kernel)
		return 0;
	if (config->psk.identity && (psk_identity_read(config->psk.identity, &identity) < 0 ||
				     !psk_find(profile->psk, identity.bytes, identity.size, &key)))
		return problem_set(problem,
				   "psk-identity = \"%s\": psk-file and psk-keyring have no key of"
				   " this identity",
				   config->psk.identity);
	if ((config->roles & CONFIG_ROLE_SERVER) == 0)
		return 0;
	return psk_session_credentials(profile, problem);
}

static int profile_load(struct loaded *loaded, size_t i, struct problem *problem)
{
	struct profile *profile = &loaded->profiles[i];
	const struct config_profile *config = profile->config;
	// Clients are told the authorities only where the administrator named some for them.
	const struct trust *hints;

	if (trust_find(loaded, i, problem) < 0)
		return -1;
	hints = config->trust ? profile->trust : NULL;
	if (credentials_new(config, hints, loaded->signer, &profile->credentials, problem) < 0 ||
	    alpn_make(profile, problem) < 0 || psk_load(profile, problem) < 0 ||
	    pins_new(&config->raw, &profile->pins, problem) < 0)
		return -1;
	profile->server = credentials_server(profile->credentials);
	profile->client = credentials_client(profile->credentials);
	if ((profile->server || profile->psk_server) &&
	    priorities_new(config, CONFIG_ROLE_SERVER, NULL, &profile->priority_server, problem) <
		0)
		return -1;
	if (profile->client && priorities_new(config, CONFIG_ROLE_CLIENT, NULL,
					      &profile->priority_client, problem) < 0)
		return -1;
	return resumption_policy_new(profile, &profile->resumption, problem);
}

static void profile_done(struct profile *profile)
{
	if (profile->priority_server)
		gnutls_priority_deinit(profile->priority_server);
	if (profile->priority_client)
		gnutls_priority_deinit(profile->priority_client);
	if (profile->psk_server)
		gnutls_psk_free_server_credentials(profile->psk_server);
	if (profile->psk_server_sha384)
		gnutls_psk_free_server_credentials(profile->psk_server_sha384);
	psk_free(profile->psk);
	resumption_policy_free(profile->resumption);
	pins_free(profile->pins);
	credentials_free(profile->credentials);
	trust_unref(profile->trust);
	free(profile->alpn);
}

int loaded_new(const struct config_source *source, struct loaded **ret_loaded,
	       struct problem *problem)
{
	struct loaded *loaded = calloc(1, sizeof(*loaded));
	struct problem inner = {};

	if (!loaded)
		return problem_set(problem, "out of memory");
	if (config_source_read(source, &loaded->config, problem) < 0)
		goto fail;
	loaded->profiles = calloc(loaded->config->profile_count, sizeof(*loaded->profiles));
	if (!loaded->profiles) {
		problem_set(problem, "out of memory");
		goto fail;
	}
	if (signer_new(loaded->config, &loaded->signer, problem) < 0)
		goto fail;
	for (size_t i = 0; i < loaded->config->profile_count; i++) {
		loaded->profiles[i].config = &loaded->config->profiles[i];
		if (profile_load(loaded, i, &inner) < 0) {
			problem_set(problem, "%s:%u: [profile %s]: %s",
				    loaded->profiles[i].config->path,
				    loaded->profiles[i].config->line,
				    loaded->profiles[i].config->name, inner.text);
			goto fail;
		}
	}
	if (signer_seal(loaded->signer, problem) < 0)
		goto fail;
	*ret_loaded = loaded;
	return 0;
fail:
	loaded_free(loaded);
	return -1;
}

void loaded_free(struct loaded *loaded)
{
	if (!loaded)
		return;
	for (size_t i = 0; loaded->profiles && i < loaded->config->profile_count; i++)
		profile_done(&loaded->profiles[i]);
	free(loaded->profiles);
	signer_free(loaded->signer);
	config_free(loaded->config);
	free(loaded);
}

const struct profile *loaded_find_profile(const struct loaded *loaded, const char *name)
{
	for (size_t i = 0; i < loaded->config->profile_count; i++)
		if (!strcmp(loaded->profiles[i].config->name, name))
			return &loaded->profiles[i];
	return NULL;
}
