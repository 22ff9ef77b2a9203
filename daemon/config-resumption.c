// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys that say what outlives a handshake, and for how long. Opens no file that they name.
#include "config-reader.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

enum {
	CACHE_MIN = 1 << 20, // bytes
	CACHE_DEFAULT = 32 << 20,
	CACHE_MAX = 1 << 30,
	ROTATION_DEFAULT_S = 12 * 60 * 60,
	ROTATION_MIN_S = 1,
	LIFETIME_DEFAULT_S = 2 * 60 * 60,
	KEY_FILES_MAX = 8,
	ROTATION_MAX_S = 7 * 24 * 60 * 60, // RFC 8446, 4.6.1: no ticket lives longer
};

static int read_state_directory(struct config_reader *reader, const char *value)
{
	return config_value_path(reader, value, &reader->config->state_directory);
}

static int read_rotation(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, ROTATION_MIN_S, ROTATION_MAX_S,
				   &reader->config->ticket_rotation_s);
}

static int read_cache_size(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, CACHE_MIN, CACHE_MAX,
				   &reader->config->session_cache_bytes);
}

const struct config_key config_resumption_daemon_keys[] = {
    {.name = "state-directory", .read = read_state_directory},
    {.name = "ticket-key-rotation-s", .read = read_rotation},
    {.name = "session-cache-size", .read = read_cache_size},
    {},
};

static int read_resumption(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->resumption.enabled);
}

static int read_lifetime(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, ROTATION_MAX_S,
				   &reader->profile->resumption.ticket_lifetime_s);
}

static int read_key_file(struct config_reader *reader, const char *value)
{
	struct config_resumption *resumption = &reader->profile->resumption;
	char **larger;

	if (resumption->key_file_count == KEY_FILES_MAX)
		return config_problem(reader, "a profile has at most %d ticket-key-files",
				      KEY_FILES_MAX);
	larger =
	    config_grow(reader, resumption->key_files, resumption->key_file_count, sizeof(*larger));
	if (!larger)
		return -1;
	resumption->key_files = larger;
	return config_value_path(reader, value,
				 &resumption->key_files[resumption->key_file_count++]);
}

const struct config_key config_resumption_keys[] = {
    {.name = "resumption", .read = read_resumption},
    {.name = "ticket-lifetime-s", .read = read_lifetime},
    {.name = "ticket-key-file", .read = read_key_file, .repeated = true},
    {},
};

void config_resumption_profile_defaults(struct config_profile *profile)
{
	profile->resumption.enabled = true;
	profile->resumption.ticket_lifetime_s = LIFETIME_DEFAULT_S;
}

// Whatever is not known here to be harmless counts.
static bool is_harmless(const char *key)
{
	static const char *const keys[] = {
	    // Who may ask, and what is done with the connection afterwards.
	    "allow",
	    "timeout-ms",
	    "records",
	    "zero-copy-sendfile",
	    // What lies in these files counts, not where they are; a server's own certificate may change.
	    "certificate",
	    "private-key",
	    "certificate-directory",
	    "staple",
	    "pin-file",
	    "trust",
	    "revocation-list",
	    "ticket-key-file",
	    "ticket-lifetime-s",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(keys[i], key))
			return true;
	return false;
}

void config_resumption_note(struct config_profile *profile, const char *key, const char *value)
{
	uint8_t *settings = profile->resumption.settings;
	gnutls_hash_hd_t hash;

	if (is_harmless(key) || gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return;
	gnutls_hash(hash, settings, sizeof(profile->resumption.settings));
	gnutls_hash(hash, key, strlen(key) + 1);
	gnutls_hash(hash, value, strlen(value) + 1);
	gnutls_hash_deinit(hash, settings);
}

int config_resumption_finish(struct config_reader *reader)
{
	const struct config_profile *profile = reader->profile;

	if (profile->resumption.key_file_count && !(profile->roles & CONFIG_ROLE_SERVER))
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: ticket-key-file is for servers, and the role"
		    " is client",
		    profile->name);
	return 0;
}

void config_resumption_done(struct config_profile *profile)
{
	for (size_t i = 0; i < profile->resumption.key_file_count; i++)
		free(profile->resumption.key_files[i]);
	free(profile->resumption.key_files);
}

void config_resumption_defaults(struct config *config)
{
	config->ticket_rotation_s = ROTATION_DEFAULT_S;
	config->session_cache_bytes = CACHE_DEFAULT;
}
