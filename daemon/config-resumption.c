// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [daemon] that say what outlives a handshake, and for how long. Opens no file that they
// name.
#include "config-reader.h"

#include <stdlib.h>

enum {
	CACHE_MIN = 1 << 20, // bytes
	CACHE_DEFAULT = 32 << 20,
	CACHE_MAX = 1 << 30,
	ROTATION_DEFAULT_S = 12 * 60 * 60,
	ROTATION_MIN_S = 1,
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

void config_resumption_defaults(struct config *config)
{
	config->ticket_rotation_s = ROTATION_DEFAULT_S;
	config->session_cache_bytes = CACHE_DEFAULT;
}
