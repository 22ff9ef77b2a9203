// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [daemon] that let somebody look into handshakes and connections. Opens no file that they
// name.
#include "config-reader.h"

#include <stdlib.h>

static int trace_allow_add(struct config_reader *reader, const char *word)
{
	int r = config_allow_add(reader, &reader->config->trace_allow, word);

	if (r == 0 && reader->config->trace_allow.everyone)
		return config_problem(reader,
				      "trace-allow: \"everyone\" would show every user the others'"
				      " handshakes; name users and groups");
	return r;
}

static int read_trace_allow(struct config_reader *reader, const char *value)
{
	return config_value_list(reader, value, trace_allow_add);
}

static int read_key_log(struct config_reader *reader, const char *value)
{
	return config_value_path(reader, value, &reader->config->key_log);
}

const struct config_key config_observation_keys[] = {
    {.name = "trace-allow", .read = read_trace_allow, .list = true, .repeated = true},
    {.name = "key-log", .read = read_key_log},
    {},
};

void config_observation_done(struct config *config)
{
	config_allow_done(&config->trace_allow);
	free(config->key_log);
}
