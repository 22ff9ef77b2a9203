// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [kernel] that are about keyrings: whose requests they tell apart, and whose keys requests may
// name. Looks no keyring up.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

enum { KEYRINGS_MAX = 64, VALUE_MAX = 512 };

static int read_keyring(struct config_reader *reader, const char *value)
{
	struct config_kernel *kernel = &reader->config->kernel;
	char copy[VALUE_MAX], *cursor = copy, *name, *profile;
	struct config_keyring *larger;

	if (strlen(value) >= sizeof(copy))
		return config_problem(reader, "keyring: the line is too long");
	memcpy(copy, value, strlen(value) + 1);
	name = config_value_next(&cursor);
	profile = name ? config_value_next(&cursor) : NULL;
	if (!profile || config_value_next(&cursor))
		return config_problem(reader,
				      "keyring = \"%s\": the name of a keyring and that of a"
				      " profile are needed, such as \"keyring = .backup backup\"",
				      value);
	for (size_t i = 0; i < kernel->keyring_count; i++)
		if (!strcmp(kernel->keyrings[i].name, name))
			return config_problem(reader,
					      "keyring = \"%s\": the keyring \"%s\" is in line %u"
					      " already",
					      value, name, kernel->keyrings[i].line);
	if (kernel->keyring_count == KEYRINGS_MAX)
		return config_problem(reader, "keyring = \"%s\" is one too many; at most %d", value,
				      KEYRINGS_MAX);
	larger = config_grow(reader, kernel->keyrings, kernel->keyring_count, sizeof(*larger));
	if (!larger)
		return -1;
	kernel->keyrings = larger;
	larger += kernel->keyring_count++;
	larger->line = reader->line;
	larger->name = strdup(name);
	larger->profile = strdup(profile);
	return larger->name && larger->profile ? 0 : config_problem(reader, "out of memory");
}

static int read_link_keyring(struct config_reader *reader, const char *value)
{
	struct config_kernel *kernel = &reader->config->kernel;
	char **larger;

	if (!*value)
		return config_problem(reader,
				      "link-keyring has no value; write the name of a keyring, or"
				      " its number");
	if (kernel->link_count == KEYRINGS_MAX)
		return config_problem(reader, "link-keyring = \"%s\" is one too many; at most %d",
				      value, KEYRINGS_MAX);
	larger = config_grow(reader, kernel->links, kernel->link_count, sizeof(*larger));
	if (!larger)
		return -1;
	kernel->links = larger;
	kernel->links[kernel->link_count] = strdup(value);
	return kernel->links[kernel->link_count++] ? 0 : config_problem(reader, "out of memory");
}

const struct config_key config_keyring_keys[] = {
    {.name = "keyring", .read = read_keyring, .repeated = true},
    {.name = "link-keyring", .read = read_link_keyring, .repeated = true},
    {},
};

int config_keyring_finish(struct config_reader *reader)
{
	const struct config_kernel *kernel = &reader->config->kernel;

	for (size_t i = 0; i < kernel->keyring_count; i++) {
		const struct config_keyring *keyring = &kernel->keyrings[i];
		const struct config_profile *profile =
		    config_find_profile(reader->config, keyring->profile);

		if (!profile)
			return config_problem_at(
			    reader, keyring->line,
			    "keyring = \"%s %s\": there is no such profile; add"
			    " [profile %s], or name another",
			    keyring->name, keyring->profile, keyring->profile);
		if (profile->records == CONFIG_RECORDS_RELAY)
			return config_problem_at(reader, keyring->line,
						 "keyring = \"%s %s\": the profile says records ="
						 " relay, but the kernel's consumers need the"
						 " kernel's records",
						 keyring->name, keyring->profile);
	}
	return 0;
}

void config_keyring_done(struct config *config)
{
	struct config_kernel *kernel = &config->kernel;

	for (size_t i = 0; i < kernel->keyring_count; i++) {
		free(kernel->keyrings[i].name);
		free(kernel->keyrings[i].profile);
	}
	free(kernel->keyrings);
	for (size_t i = 0; i < kernel->link_count; i++)
		free(kernel->links[i]);
	free(kernel->links);
}
