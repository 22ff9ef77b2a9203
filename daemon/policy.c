// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes a decision out of a caller's request and the administrator's profile. Pure: opens and logs
// nothing. A request tightens its profile, never loosens it; who may not use a profile learns
// nothing of it.
#include "policy.h"

#include <string.h>

#include "config-words.h"

static bool caller_in_group(const struct caller *caller, gid_t gid)
{
	if (caller->gid == gid)
		return true;
	for (unsigned i = 0; i < caller->group_count; i++)
		if (caller->groups[i] == gid)
			return true;
	return false;
}

static bool caller_allowed(const struct config_allow *allow, const struct caller *caller)
{
	if (allow->everyone)
		return true;
	for (size_t i = 0; i < allow->user_count; i++)
		if (allow->users[i] == caller->uid)
			return true;
	for (size_t i = 0; i < allow->group_count; i++)
		if (caller_in_group(caller, allow->groups[i]))
			return true;
	return false;
}

// Suggests only profiles that the caller may use.
static int profile_unknown(const struct loaded *loaded, const struct caller *caller,
			   const char *name, struct failure *failure)
{
	const char *names[64], *nearest;
	size_t count = 0;

	for (size_t i = 0; i < loaded->config->profile_count && count < 64; i++)
		if (caller_allowed(&loaded->config->profiles[i].allow, caller))
			names[count++] = loaded->config->profiles[i].name;
	nearest = config_nearest(name, names, count);
	if (nearest)
		failure_set(failure, FAILURE_REQUEST, false,
			    "There is no profile \"%s\"; did you mean \"%s\"?", name, nearest);
	else
		failure_set(failure, FAILURE_REQUEST, false,
			    "There is no profile \"%s\"; the administrator makes profiles in the"
			    " daemon's configuration",
			    name);
	return -1;
}

static int role_check(const struct profile *profile, enum request_role role,
		      struct failure *failure)
{
	const struct config_profile *config = profile->config;
	const char *word = role == REQUEST_SERVER ? "server" : "client";

	if (!(config->roles & (unsigned)role)) {
		failure_set(failure, FAILURE_DENIED, false,
			    "The profile \"%s\" does not allow role=%s; its role is %s",
			    config->name, word,
			    config_word_of(config_role_words, (int)config->roles));
		return -1;
	}
	if (role == REQUEST_SERVER && !profile->server && !profile->psk_server) {
		failure_set(
		    failure, FAILURE_UNSUPPORTED, false,
		    "The profile \"%s\" has no certificate, so it cannot be a server's; give"
		    " it \"certificate\" and \"private-key\"",
		    config->name);
		return -1;
	}
	return 0;
}

static int alpn_decide(const struct config_profile *config, const struct request *request,
		       struct decision *decision, struct failure *failure)
{
	decision->alpn_required = config->alpn_required;
	if (!request->alpn_count) {
		for (size_t i = 0; i < config->alpn_count && i < REQUEST_ALPN_MAX; i++)
			strncpy(decision->alpn[decision->alpn_count++], config->alpn[i],
				REQUEST_ALPN_SIZE - 1);
		return 0;
	}
	for (unsigned i = 0; i < request->alpn_count; i++) {
		size_t j = 0;

		while (j < config->alpn_count && strcmp(config->alpn[j], request->alpn[i]) != 0)
			j++;
		if (config->alpn_count && j == config->alpn_count) {
			failure_set(failure, FAILURE_DENIED, false,
				    "alpn=%s: the profile \"%s\" does not have this protocol",
				    request->alpn[i], config->name);
			return -1;
		}
		memcpy(decision->alpn[i], request->alpn[i], REQUEST_ALPN_SIZE);
	}
	decision->alpn_count = request->alpn_count;
	return 0;
}

static int records_decide(const struct config_profile *config, const struct request *request,
			  struct decision *decision, struct failure *failure)
{
	decision->records = config->records;
	if (!request->records_given || request->records == config->records)
		return 0;
	if (config->records != CONFIG_RECORDS_AUTO) {
		failure_set(failure, FAILURE_DENIED, false,
			    "records=%s: the profile \"%s\" says records = %s",
			    config_records_word(request->records), config->name,
			    config_records_word(config->records));
		return -1;
	}
	decision->records = request->records;
	return 0;
}

static bool same_identity(const struct psk_identity *a, const struct psk_identity *b)
{
	return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

// The request's, the profile's, or the only one that there is.
static int identity_decide(const struct profile *profile, const struct request *request,
			   struct decision *decision, struct failure *failure)
{
	const char *configured = profile->config->psk.identity;
	char text[PSK_IDENTITY_TEXT_SIZE];
	gnutls_datum_t key;

	if (configured)
		psk_identity_read(configured, &decision->psk_identity);
	else if (!request->psk_identity.size && !psk_only(profile->psk, &decision->psk_identity)) {
		failure_set(
		    failure, FAILURE_REQUEST, false,
		    "The profile \"%s\" has %zu pre-shared keys; say which with psk-identity",
		    profile->config->name, psk_count(profile->psk));
		return -1;
	}
	if (!request->psk_identity.size)
		return 0;
	psk_identity_show(request->psk_identity.bytes, request->psk_identity.size, text);
	if (configured && !same_identity(&request->psk_identity, &decision->psk_identity)) {
		failure_set(failure, FAILURE_DENIED, false,
			    "psk-identity=%s: the profile \"%s\" says another one", text,
			    profile->config->name);
		return -1;
	}
	if (!psk_find(profile->psk, request->psk_identity.bytes, request->psk_identity.size,
		      &key)) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "psk-identity=%s: the profile \"%s\" has no key of this identity", text,
			    profile->config->name);
		return -1;
	}
	decision->psk_identity = request->psk_identity;
	return 0;
}

static int psk_decide(const struct profile *profile, const struct request *request,
		      struct decision *decision, struct failure *failure)
{
	if (profile->config->psk.kernel) {
		failure_set(failure, FAILURE_DENIED, false,
			    "The profile \"%s\" is for NVMe/TCP of the kernel alone, whose requests"
			    " bring their keys (kernel-psk = yes)",
			    profile->config->name);
		return -1;
	}
	if (!profile->psk && request->psk_identity.size) {
		failure_set(failure, FAILURE_DENIED, false,
			    "psk-identity: the profile \"%s\" has no pre-shared keys; give it"
			    " \"psk-file\" or \"psk-keyring\"",
			    profile->config->name);
		return -1;
	}
	if (!profile->psk)
		return 0;
	decision->psk = true;
	decision->psk_only = config_psk_only(profile->config, (enum config_roles)request->role);
	return request->role == REQUEST_CLIENT
		   ? identity_decide(profile, request, decision, failure)
		   : 0;
}

// Who the peer must be: a client's server has a name, a server's client may need a certificate.
static int peer_decide(const struct profile *profile, const struct request *request,
		       struct decision *decision, struct failure *failure)
{
	const struct config_profile *config = profile->config;

	memcpy(decision->peer_name, request->peer_name, sizeof(decision->peer_name));
	if (request->role == REQUEST_CLIENT) {
		if (config->insecure_no_verification || decision->psk_only ||
		    !config_takes_x509(config))
			return 0;
		if (!request->peer_name[0]) {
			failure_set(failure, FAILURE_REQUEST, false,
				    "The request has no peer-name: say whose certificate the server"
				    " must have");
			return -1;
		}
		if (!profile->trust) {
			failure_set(failure, FAILURE_INTERNAL, false,
				    "The profile \"%s\" has no trust to verify a server with",
				    config->name);
			return -1;
		}
		return 0;
	}
	decision->client_certificates = config->client_certificates;
	if (!request->require_client_certificate)
		return 0;
	// The system's store, which a client falls back to, never says which clients are good.
	if (!profile->pins && (!config->trust || !profile->trust)) {
		failure_set(failure, FAILURE_DENIED, false,
			    "client-certificates=require: the profile \"%s\" has no \"trust\" that"
			    " says whose certificates are good",
			    config->name);
		return -1;
	}
	if (decision->psk_only) {
		failure_set(failure, FAILURE_DENIED, false,
			    "client-certificates=require: the profile \"%s\" has pre-shared keys"
			    " alone",
			    config->name);
		return -1;
	}
	// Who has a key shows no certificate (RFC 8446, 4.3.2): a key must not do instead.
	decision->psk = false;
	decision->client_certificates = CONFIG_CLIENT_REQUIRE;
	return 0;
}

int policy_decide(const struct loaded *loaded, const struct caller *caller,
		  const struct request *request, struct decision *ret_decision,
		  struct failure *failure)
{
	const struct profile *profile = loaded_find_profile(loaded, request->profile);
	struct decision decision = {
	    .profile = profile, .role = request->role, .trace = request->trace};

	if (!profile)
		return profile_unknown(loaded, caller, request->profile, failure);
	if (!caller_allowed(&profile->config->allow, caller)) {
		failure_set(
		    failure, FAILURE_DENIED, false,
		    "The user %u may not use the profile \"%s\"; its \"allow\" does not name"
		    " that user",
		    (unsigned)caller->uid, request->profile);
		return -1;
	}
	if (role_check(profile, request->role, failure) < 0 ||
	    alpn_decide(profile->config, request, &decision, failure) < 0 ||
	    records_decide(profile->config, request, &decision, failure) < 0 ||
	    psk_decide(profile, request, &decision, failure) < 0 ||
	    peer_decide(profile, request, &decision, failure) < 0)
		return -1;
	decision.uid = caller->uid;
	decision.resume = !request->no_resume && profile->config->resumption.enabled;
	decision.zero_copy = profile->config->zero_copy;
	decision.timeout_ms = profile->config->timeout_ms;
	if (request->timeout_ms && request->timeout_ms < decision.timeout_ms)
		decision.timeout_ms = request->timeout_ms;
	*ret_decision = decision;
	return 0;
}

int policy_decide_trace(const struct loaded *loaded, const struct caller *caller,
			struct failure *failure)
{
	if (caller->uid == 0 || caller->uid == loaded->config->uid ||
	    caller_allowed(&loaded->config->trace_allow, caller))
		return 0;
	failure_set(failure, FAILURE_DENIED, false,
		    "The user %u may not see the handshakes of others; \"trace-allow\" in [daemon]"
		    " says who may",
		    (unsigned)caller->uid);
	return -1;
}

/* A pre-shared key and nothing else; the profile says the rest. */
static int keys_decide(const struct profile *profile, const struct kernel_request *request,
		       const struct consumer_keys *keys, struct decision *decision,
		       struct failure *failure)
{
	if (!profile->config->psk.kernel || !keys) { /* a reload has changed it meanwhile */
		failure_set(failure, FAILURE_DENIED, true,
			    "The profile \"%s\" is not one for keys of the kernel any more",
			    request->profile);
		return -1;
	}
	decision->psk = decision->psk_only = true;
	decision->keys = keys;
	return 0;
}

int policy_decide_kernel(const struct loaded *loaded, const struct kernel_request *request,
			 const struct consumer_keys *keys, struct decision *ret_decision,
			 struct failure *failure)
{
	const struct profile *profile = loaded_find_profile(loaded, request->profile);
	struct request asked = {
	    .role = request->is_server ? REQUEST_SERVER : REQUEST_CLIENT,
	    .timeout_ms = request->timeout_ms,
	    .records_given = true,
	    .records = CONFIG_RECORDS_KERNEL,
	};
	struct decision decision = {.profile = profile, .role = asked.role};

	if (!profile) { /* a reload has removed it meanwhile */
		failure_set(failure, FAILURE_DENIED, true, "There is no profile \"%s\" any more",
			    request->profile);
		return -1;
	}
	memcpy(asked.peer_name, request->peer_name, sizeof(asked.peer_name));
	if (role_check(profile, asked.role, failure) < 0 ||
	    alpn_decide(profile->config, &asked, &decision, failure) < 0 ||
	    records_decide(profile->config, &asked, &decision, failure) < 0 ||
	    (request->psk ? keys_decide(profile, request, keys, &decision, failure)
			  : psk_decide(profile, &asked, &decision, failure)) < 0 ||
	    peer_decide(profile, &asked, &decision, failure) < 0)
		return -1;
	/* Never zero_copy: whose file a consumer sends, others may write to at the same time. */
	decision.timeout_ms = request->timeout_ms;
	decision.unauthenticated = request->unauthenticated;
	*ret_decision = decision;
	return 0;
}
