// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] that say how the keys of a connection are agreed on. Asks the TLS library
// what it knows, and opens nothing.
#include "config-reader.h"

#include <gnutls/gnutls.h>
#include <string.h>

#include "groups.h"

enum { GROUP_NAME_MAX = 40 };

// A '?' behind the name: where this system has it.
static int group_add(struct config_reader *reader, const char *word)
{
	struct config_profile *profile = reader->profile;
	char name[GROUP_NAME_MAX] = "";
	size_t length = strlen(word);
	bool optional = length && word[length - 1] == '?';
	const char *nearest;
	int group;

	if (length - optional < sizeof(name))
		memcpy(name, word, length - optional);
	group = groups_find(name);
	if (group < 0) {
		nearest = groups_nearest(name);
		return config_problem(reader,
				      "groups: unknown group \"%s\"%s%s%s; see handshaked.conf(5)",
				      word, nearest ? "; did you mean \"" : "",
				      nearest ? nearest : "", nearest ? "\"?" : "");
	}
	for (size_t i = 0; i < profile->group_count; i++)
		if (profile->groups[i] == (enum config_group)group)
			return config_problem(reader, "groups: \"%s\" is there twice", word);
	if (groups_available((enum config_group)group))
		profile->groups[profile->group_count++] = (enum config_group)group;
	else if (!optional)
		return config_problem(reader,
				      "groups: this system's GnuTLS (%s) does not have \"%s\"; take"
				      " it out, or write \"%s?\" for where it does",
				      gnutls_check_version(NULL), word, word);
	return 0;
}

static int read_groups(struct config_reader *reader, const char *value)
{
	return config_value_list(reader, value, group_add);
}

static int read_insecure_rsa(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->insecure_rsa_key_exchange);
}

const struct config_key config_key_exchange_keys[] = {
    {.name = "groups", .read = read_groups, .list = true},
    {.name = "insecure-rsa-key-exchange", .read = read_insecure_rsa},
    {},
};

int config_key_exchange_finish(struct config_reader *reader)
{
	struct config_profile *profile = reader->profile;
	bool chosen = config_seen(reader, "groups"), older = false;

	for (int group = 0; !chosen && group < CONFIG_GROUPS; group++)
		if (groups_available((enum config_group)group))
			profile->groups[profile->group_count++] = (enum config_group)group;
	for (size_t i = 0; i < profile->group_count; i++)
		older = older || groups_is_curve(profile->groups[i]) ||
			groups_is_finite(profile->groups[i]);
	if (!profile->group_count)
		return config_problem_at(reader, profile->line,
					 "[profile %s]: this system's GnuTLS (%s) has none of its"
					 " groups; add one that it has, such as X25519",
					 profile->name, gnutls_check_version(NULL));
	if (profile->insecure_rsa_key_exchange && profile->min_version != CONFIG_TLS12)
		return config_problem_at(reader, profile->line,
					 "[profile %s]: insecure-rsa-key-exchange is for TLS 1.2,"
					 " and min-version = TLS1.3; remove one",
					 profile->name);
	if (!older && profile->min_version == CONFIG_TLS12 && !profile->insecure_rsa_key_exchange &&
	    (profile->tls12_only || config_seen(reader, "min-version")))
		return config_problem_at(reader, profile->line,
					 "[profile %s]: %s-version = TLS1.2, but only TLS 1.3 has"
					 " the groups of the profile; add one such as X25519",
					 profile->name, profile->tls12_only ? "max" : "min");
	return 0;
}
