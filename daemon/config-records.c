// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] that say who makes the records after the handshake, and how. Opens nothing.
#include "config-reader.h"

static int read_records(struct config_reader *reader, const char *value)
{
	int records;

	if (config_value_word(reader, value, config_records_words, &records) < 0)
		return -1;
	reader->profile->records = (enum config_records)records;
	return 0;
}

static int read_zero_copy(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->zero_copy);
}

const struct config_key config_records_keys[] = {
    {.name = "records", .read = read_records},
    {.name = "zero-copy-sendfile", .read = read_zero_copy},
    {},
};

// What NICs take: offload-nic.c. No cipher was given: all are there.
static bool nic_may_take(const struct config_profile *profile)
{
	bool gcm = profile->cipher_count == 0;

	for (size_t i = 0; i < profile->cipher_count; i++)
		gcm = gcm || profile->ciphers[i] == CONFIG_AES_128_GCM ||
		      profile->ciphers[i] == CONFIG_AES_256_GCM;
	return gcm && profile->min_version == CONFIG_TLS12;
}

int config_records_finish(struct config_reader *reader)
{
	const struct config_profile *profile = reader->profile;

	if (!profile->zero_copy)
		return 0;
	if (profile->records == CONFIG_RECORDS_RELAY)
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: zero-copy-sendfile is for the kernel's records,"
		    " and records = relay; remove one",
		    profile->name);
	if (!nic_may_take(profile))
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: zero-copy-sendfile would do nothing: NICs take TLS 1.2 with"
		    " AES-GCM, which the profile's %s leave out",
		    profile->name, profile->min_version == CONFIG_TLS12 ? "ciphers" : "versions");
	return 0;
}
