// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME], their defaults, and what makes a profile as a whole senseless or
// unsafe. May look users and groups up; opens no file that a profile names.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

#include "handshake-protocol.h"

enum {
	PROFILES_MAX = 1024,
	ALPN_MAX = 8,       // What GnuTLS 3.7 holds: eight names
	ALPN_NAME_MAX = 31, // of 31 bytes.
	TIMEOUT_DEFAULT_MS = 10000,
	TIMEOUT_MAX_MS = 600000,
};

static int read_role(struct config_reader *reader, const char *value)
{
	int roles;

	if (config_value_word(reader, value, config_role_words, &roles) < 0)
		return -1;
	reader->profile->roles = (unsigned)roles;
	return 0;
}

static int alpn_add(struct config_reader *reader, const char *word)
{
	struct config_profile *profile = reader->profile;
	char **larger;

	if (strlen(word) > ALPN_NAME_MAX)
		return config_problem(reader, "alpn: \"%s\" is too long; at most %d bytes", word,
				      ALPN_NAME_MAX);
	for (size_t i = 0; i < profile->alpn_count; i++)
		if (!strcmp(profile->alpn[i], word))
			return config_problem(reader, "alpn: \"%s\" is there twice", word);
	if (profile->alpn_count == ALPN_MAX)
		return config_problem(reader, "alpn: \"%s\" is one too many; at most %d names",
				      word, ALPN_MAX);
	larger = reallocarray(profile->alpn, profile->alpn_count + 2, sizeof(*larger));
	if (!larger)
		return config_problem(reader, "out of memory");
	profile->alpn = larger;
	larger[profile->alpn_count] = strdup(word);
	if (!larger[profile->alpn_count])
		return config_problem(reader, "out of memory");
	larger[++profile->alpn_count] = NULL;
	return 0;
}

static int cipher_add(struct config_reader *reader, const char *word)
{
	struct config_profile *profile = reader->profile;
	int cipher;

	if (config_value_word(reader, word, config_cipher_words, &cipher) < 0)
		return -1;
	for (size_t i = 0; i < profile->cipher_count; i++)
		if (profile->ciphers[i] == (enum config_cipher)cipher)
			return config_problem(reader, "ciphers: \"%s\" is there twice", word);
	profile->ciphers[profile->cipher_count++] = (enum config_cipher)cipher;
	return 0;
}

static int allow_add(struct config_reader *reader, const char *word)
{
	return config_allow_add(reader, &reader->profile->allow, word);
}

static int read_alpn(struct config_reader *reader, const char *value)
{
	return config_value_list(reader, value, alpn_add);
}

static int read_ciphers(struct config_reader *reader, const char *value)
{
	return config_value_list(reader, value, cipher_add);
}

static int read_allow(struct config_reader *reader, const char *value)
{
	return config_value_list(reader, value, allow_add);
}

static int read_alpn_required(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->alpn_required);
}

static int read_min_version(struct config_reader *reader, const char *value)
{
	int version;

	if (config_value_word(reader, value, config_version_words, &version) < 0)
		return -1;
	reader->profile->min_version = (enum config_version)version;
	return 0;
}

static int read_max_version(struct config_reader *reader, const char *value)
{
	int version;

	if (config_value_word(reader, value, config_version_words, &version) < 0)
		return -1;
	reader->profile->tls12_only = version == CONFIG_TLS12;
	return 0;
}

static int read_cipher_order(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_order_words,
				    &reader->profile->client_order);
}

static int read_timeout(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, TIMEOUT_MAX_MS, &reader->profile->timeout_ms);
}

static int read_unknown_name(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_unknown_words,
				    &reader->profile->unknown_name_refused);
}

const struct config_key config_profile_keys[] = {
    {.name = "role", .read = read_role},
    {.name = "alpn", .read = read_alpn, .list = true},
    {.name = "alpn-required", .read = read_alpn_required},
    {.name = "min-version", .read = read_min_version},
    {.name = "max-version", .read = read_max_version},
    {.name = "ciphers", .read = read_ciphers, .list = true},
    {.name = "cipher-order", .read = read_cipher_order},
    {.name = "allow", .read = read_allow, .list = true},
    {.name = "timeout-ms", .read = read_timeout},
    {.name = "unknown-server-name", .read = read_unknown_name},
    {},
};

static int name_check(struct config_reader *reader, const char *name)
{
	if (!*name)
		return config_problem(reader, "[profile] has no name; write [profile NAME]");
	if (strlen(name) >= HANDSHAKE_PROFILE_NAME_SIZE)
		return config_problem(reader, "profile name \"%s\" is too long; at most %d bytes",
				      name, HANDSHAKE_PROFILE_NAME_SIZE - 1);
	for (const char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
			    *c))
			return config_problem(reader,
					      "profile name \"%s\" has \"%c\" in it; letters,"
					      " digits and \"._-\" are allowed",
					      name, *c);
	for (size_t i = 0; i < reader->config->profile_count; i++)
		if (!strcmp(reader->config->profiles[i].name, name))
			return config_problem(reader,
					      "[profile %s] is there already, in line %u; put all"
					      " its keys there",
					      name, reader->config->profiles[i].line);
	return 0;
}

int config_profile_begin(struct config_reader *reader, const char *name)
{
	struct config *config = reader->config;
	struct config_profile *profile, *larger;

	if (name_check(reader, name) < 0)
		return -1;
	if (config->profile_count == PROFILES_MAX)
		return config_problem(reader, "at most %d profiles", PROFILES_MAX);
	larger = config_grow(reader, config->profiles, config->profile_count, sizeof(*larger));
	if (!larger)
		return -1;
	config->profiles = larger;
	profile = &config->profiles[config->profile_count++];
	profile->line = reader->line;
	profile->path = reader->path;
	profile->roles = CONFIG_ROLE_CLIENT | CONFIG_ROLE_SERVER;
	profile->timeout_ms = TIMEOUT_DEFAULT_MS;
	profile->records = CONFIG_RECORDS_AUTO;
	config_resumption_profile_defaults(profile);
	profile->name = strdup(name);
	if (!profile->name)
		return config_problem(reader, "out of memory");
	reader->profile = profile;
	return 0;
}

int config_profile_finish(struct config_reader *reader)
{
	struct config_profile *profile = reader->profile;
	unsigned line = profile->line;

	if (config_authentication_finish(reader) < 0 || config_key_exchange_finish(reader) < 0 ||
	    config_peer_finish(reader) < 0 || config_early_data_finish(reader) < 0 ||
	    config_resumption_finish(reader) < 0 || config_records_finish(reader) < 0)
		return -1;
	if (profile->tls12_only && profile->min_version != CONFIG_TLS12)
		return config_problem_at(reader, line,
					 "[profile %s]: max-version = TLS1.2 and min-version ="
					 " TLS1.3 leave no version; remove one",
					 profile->name);
	if (profile->alpn_required && !profile->alpn_count)
		return config_problem_at(reader, line,
					 "[profile %s]: alpn-required = yes needs \"alpn\"",
					 profile->name);
	for (int cipher = 0; !config_seen(reader, "ciphers") && cipher < CONFIG_CIPHERS; cipher++)
		profile->ciphers[profile->cipher_count++] = (enum config_cipher)cipher;
	return config_raw_public_key_finish(reader) < 0 ? -1 : config_psk_finish(reader);
}

void config_profile_done(struct config_profile *profile)
{
	config_authentication_done(profile);
	config_peer_done(profile);
	config_psk_done(profile);
	config_resumption_done(profile);
	config_raw_public_key_done(profile);
	for (size_t i = 0; i < profile->alpn_count; i++)
		free(profile->alpn[i]);
	free(profile->alpn);
	config_allow_done(&profile->allow);
	free(profile->name);
}
