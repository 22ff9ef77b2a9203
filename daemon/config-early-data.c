// SPDX-License-Identifier: LGPL-2.1-or-later
// The key of [profile NAME] that lets data go before the handshake is complete, and what it does not go
// together with. Opens nothing.
#include "config-reader.h"

#include "handshake-protocol.h"

static int read_early_data(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 0, HANDSHAKE_EARLY_DATA_SIZE,
				   &reader->profile->early_data);
}

const struct config_key config_early_data_keys[] = {
    {.name = "early-data", .read = read_early_data},
    {},
};

int config_early_data_finish(struct config_reader *reader)
{
	const struct config_profile *profile = reader->profile;

	if (!profile->early_data)
		return 0;
	if (profile->tls12_only)
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: early-data is for TLS 1.3, and max-version ="
		    " TLS1.2; remove one",
		    profile->name);
	/* What comes before the certificate would be nobody's. */
	if (profile->client_certificates != CONFIG_CLIENT_NONE)
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: early-data comes before a client's certificate; remove it, or"
		    " client-certificates = %s",
		    profile->name, config_client_certificates_word(profile->client_certificates));
	if (!profile->resumption.enabled)
		return config_problem_at(reader, profile->line,
					 "[profile %s]: early-data needs a ticket of an earlier"
					 " connection; remove it, or resumption = no",
					 profile->name);
	if (profile->resumption.key_file_count)
		return config_problem_at(
		    reader, profile->line,
		    "[profile %s]: early-data with ticket-key-file could be"
		    " replayed to another machine that has the file; remove one",
		    profile->name);
	return 0;
}
