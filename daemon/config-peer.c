// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] that say what a peer needs beside a good chain: not to be revoked, and to
// be one of those allowed. Opens no file that they name.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

enum { ALLOW_PEERS_MAX = 1024 };

static int read_revocation(struct config_reader *reader, const char *value)
{
	int mode;

	if (config_value_word(reader, value, config_revocation_words, &mode) < 0)
		return -1;
	reader->profile->revocation = (enum config_revocation)mode;
	return 0;
}

static int read_revocation_list(struct config_reader *reader, const char *value)
{
	return config_value_path(reader, value, &reader->profile->revocation_list);
}

static int read_allow_peer(struct config_reader *reader, const char *value)
{
	struct config_profile *profile = reader->profile;
	struct problem problem = {};
	struct allow_peer *larger;

	if (profile->allow_peer_count == ALLOW_PEERS_MAX)
		return config_problem(reader, "allow-peer = \"%s\" is one too many; at most %d",
				      value, ALLOW_PEERS_MAX);
	larger =
	    config_grow(reader, profile->allow_peers, profile->allow_peer_count, sizeof(*larger));
	if (!larger)
		return -1;
	profile->allow_peers = larger;
	if (allow_peer_parse(value, &larger[profile->allow_peer_count++], &problem) < 0)
		return config_problem(reader, "allow-peer: %s", problem.text);
	return 0;
}

const struct config_key config_peer_keys[] = {
    {.name = "revocation", .read = read_revocation},
    {.name = "revocation-list", .read = read_revocation_list},
    {.name = "allow-peer", .read = read_allow_peer, .repeated = true},
    {},
};

static int revocation_finish(struct config_reader *reader)
{
	struct config_profile *profile = reader->profile;
	unsigned line = profile->line;

	if (!config_seen(reader, "revocation")) {
		// RFC 6066, 8: a client that asks for a response must look at it.
		profile->revocation =
		    profile->revocation_list ? CONFIG_REVOCATION_CRL : CONFIG_REVOCATION_STAPLE;
		return 0;
	}
	if (profile->revocation == CONFIG_REVOCATION_CRL && !profile->revocation_list)
		return config_problem_at(reader, line,
					 "[profile %s]: revocation = crl needs \"revocation-list\"",
					 profile->name);
	if (profile->revocation == CONFIG_REVOCATION_NONE && profile->revocation_list)
		return config_problem_at(reader, line,
					 "[profile %s]: revocation = none with revocation-list is a"
					 " contradiction; remove one",
					 profile->name);
	if (profile->roles == CONFIG_ROLE_SERVER &&
	    (profile->revocation == CONFIG_REVOCATION_STAPLE ||
	     profile->revocation == CONFIG_REVOCATION_REQUIRE))
		return config_problem_at(
		    reader, line,
		    "[profile %s]: revocation = %s is for clients, and the role is server; clients"
		    " send no staples, so use crl",
		    profile->name, config_revocation_word(profile->revocation));
	if (profile->insecure_no_verification && profile->roles == CONFIG_ROLE_CLIENT &&
	    profile->revocation != CONFIG_REVOCATION_NONE)
		return config_problem_at(
		    reader, line,
		    "[profile %s]: insecure-no-verification with revocation = %s is a"
		    " contradiction; remove one",
		    profile->name, config_revocation_word(profile->revocation));
	return 0;
}

static int allow_peer_finish(struct config_reader *reader)
{
	const struct config_profile *profile = reader->profile;
	unsigned line = profile->line;

	if (!profile->allow_peer_count)
		return 0;
	if (profile->insecure_no_verification)
		return config_problem_at(reader, line,
					 "[profile %s]: insecure-no-verification with allow-peer is"
					 " a contradiction; remove one",
					 profile->name);
	// A list that is never looked at would seem to protect.
	if (profile->roles == CONFIG_ROLE_SERVER &&
	    profile->client_certificates == CONFIG_CLIENT_NONE)
		return config_problem_at(reader, line,
					 "[profile %s]: allow-peer needs client-certificates ="
					 " require (or request): no client is asked who it is",
					 profile->name);
	return 0;
}

int config_peer_finish(struct config_reader *reader)
{
	return revocation_finish(reader) < 0 ? -1 : allow_peer_finish(reader);
}

void config_peer_done(struct config_profile *profile)
{
	for (size_t i = 0; i < profile->allow_peer_count; i++)
		allow_peer_done(&profile->allow_peers[i]);
	free(profile->allow_peers);
	free(profile->revocation_list);
}
