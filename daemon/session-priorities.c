// SPDX-License-Identifier: LGPL-2.1-or-later
// What a session offers: the profile's priorities, narrowed by what the kernel takes and by what a
// client's hello makes necessary. Touches the session's priorities and nothing else.
#include "session-priorities.h"

#include "consumer-keys.h"
#include "groups.h"
#include "priorities.h"

static bool kernel_takes(const struct kernel_tls *kernel, const struct config_profile *config,
			 enum config_cipher cipher)
{
	return !kernel ||
	       ((config->tls12_only || kernel->ciphers[CONFIG_TLS13][cipher]) &&
		(config->min_version == CONFIG_TLS13 || kernel->ciphers[CONFIG_TLS12][cipher]));
}

// RFC 8446, 4.2.11: a client's key goes with suites of its hash alone. (A server's library chooses so.)
static bool key_takes(const struct session *session, enum config_cipher cipher)
{
	struct consumer_key key;
	bool sha384;

	if (!session->decision->keys || session->decision->role != REQUEST_CLIENT ||
	    !consumer_keys_first(session->decision->keys, &key) ||
	    !consumer_key_is_nvme(key.identity, key.identity_size, &sha384))
		return true;
	return (cipher == CONFIG_AES_256_GCM) == sha384;
}

// Which of the profile's ciphers this kernel and this key take, and how many they are.
static size_t ciphers_allow(const struct session *session, const struct kernel_tls *kernel,
			    bool *ret_allowed)
{
	const struct config_profile *config = session->decision->profile->config;
	size_t count = 0;

	for (int cipher = 0; cipher < CONFIG_CIPHERS; cipher++)
		ret_allowed[cipher] = kernel_takes(kernel, config, (enum config_cipher)cipher) &&
				      key_takes(session, (enum config_cipher)cipher);
	for (size_t i = 0; i < config->cipher_count; i++)
		count += ret_allowed[config->ciphers[i]];
	return count;
}

int session_priorities_set(struct session *session, const struct kernel_tls *kernel)
{
	const struct profile *profile = session->decision->profile;
	const enum config_roles role = (enum config_roles)session->decision->role;
	struct problem problem = {""};
	bool allowed[CONFIG_CIPHERS];
	size_t count = ciphers_allow(session, kernel, allowed);

	session->kernel = kernel;
	if (count == profile->config->cipher_count)
		return gnutls_priority_set(session->tls, role == CONFIG_ROLE_SERVER
							     ? profile->priority_server
							     : profile->priority_client);
	if (count == 0)
		return GNUTLS_E_NO_CIPHER_SUITES;
	if (priorities_new(profile->config, role, allowed, &session->priority, &problem) < 0)
		return GNUTLS_E_NO_PRIORITIES_WERE_SET;
	return gnutls_priority_set(session->tls, session->priority);
}

// GnuTLS 3.8.13 as a server overlooks the hybrids when a client offers no group of finite fields beside
// its curves, as browsers do: it compares with the place of a group that is not there. With a hybrid
// alone it has no choice. (Such a client speaks TLS 1.3, so no suite of TLS 1.2 misses its curve.)
int session_priorities_hello(struct session *session)
{
	const struct profile *profile = session->decision->profile;
	const struct hello *hello = &session->hello;
	struct config_profile narrowed = *profile->config;
	struct problem problem = {""};
	bool allowed[CONFIG_CIPHERS];
	int group = -1;

	if (hello->tls13 && !session->narrowed && !profile->config->tls12_only)
		group = groups_choose(profile->config, hello->groups, hello->group_count);
	if (group < 0 || !groups_is_hybrid((enum config_group)group))
		return 0;
	narrowed.groups[0] = (enum config_group)group;
	narrowed.group_count = 1;
	ciphers_allow(session, session->kernel, allowed);
	if (priorities_new(&narrowed, CONFIG_ROLE_SERVER, allowed, &session->narrowed, &problem) <
	    0)
		return GNUTLS_E_NO_PRIORITIES_WERE_SET;
	return gnutls_priority_set(session->tls, session->narrowed);
}

void session_priorities_done(struct session *session)
{
	if (session->narrowed)
		gnutls_priority_deinit(session->narrowed);
	if (session->priority)
		gnutls_priority_deinit(session->priority);
	session->narrowed = session->priority = NULL;
}
