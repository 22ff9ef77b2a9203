// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] about raw public keys (RFC 7250), and which kinds of certificates the two
// sides may show. Opens no file that they name.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

#include "raw-public-key.h"

enum { PINS_MAX = 1024 };

static int read_private_key(struct config_reader *reader, const char *value)
{
	struct config_raw *raw = &reader->profile->raw;

	if (strncmp(value, "pkcs11:", 7) != 0)
		return config_value_path(reader, value, &raw->private_key);
	raw->private_key = strdup(value);
	return raw->private_key ? 0 : config_problem(reader, "out of memory");
}

static int read_pin(struct config_reader *reader, const char *value)
{
	struct config_raw *raw = &reader->profile->raw;
	unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE];
	char **larger;

	if (raw->pin_count == PINS_MAX)
		return config_problem(reader,
				      "peer-public-key = \"%s\" is one too many; at most %d", value,
				      PINS_MAX);
	larger = config_grow(reader, raw->pins, raw->pin_count, sizeof(*larger));
	if (!larger)
		return -1;
	raw->pins = larger;
	if (!strncmp(value, "sha256:", 7) && !pins_parse(value, digest))
		return config_problem(reader,
				      "peer-public-key = \"%s\": behind \"sha256:\" stand the 64"
				      " hexadecimal digits of the key's digest",
				      value);
	for (size_t i = 0; i < raw->pin_count; i++)
		if (!strcmp(raw->pins[i], value))
			return config_problem(reader, "peer-public-key = \"%s\" is there twice",
					      value);
	if (strncmp(value, "sha256:", 7) != 0) {
		if (config_value_path(reader, value, &raw->pins[raw->pin_count]) < 0)
			return -1;
	} else {
		raw->pins[raw->pin_count] = strdup(value);
		if (!raw->pins[raw->pin_count])
			return config_problem(reader, "out of memory");
	}
	raw->pin_count++;
	return 0;
}

const struct config_key config_raw_public_key_keys[] = {
    {.name = "raw-private-key", .read = read_private_key},
    {.name = "peer-public-key", .read = read_pin, .repeated = true},
    {},
};

bool config_shows_x509(const struct config_profile *profile)
{
	return profile->certificate_count || profile->certificate_directory ||
	       !profile->raw.private_key;
}

bool config_takes_x509(const struct config_profile *profile)
{
	// A client that says nothing believes the system's store, which would let any server of the
	// web take the place of the one whose key is known.
	return profile->trust || !profile->raw.pin_count;
}

int config_raw_public_key_finish(struct config_reader *reader)
{
	const struct config_profile *profile = reader->profile;

	if (!profile->raw.pin_count)
		return 0;
	if (profile->insecure_no_verification)
		return config_problem_at(reader, profile->line,
					 "[profile %s]: insecure-no-verification with"
					 " peer-public-key is a contradiction; remove one",
					 profile->name);
	// A list that is never looked at would seem to protect.
	if (profile->roles == CONFIG_ROLE_SERVER &&
	    profile->client_certificates == CONFIG_CLIENT_NONE)
		return config_problem_at(reader, profile->line,
					 "[profile %s]: peer-public-key needs client-certificates ="
					 " require (or request): no client is asked who it is",
					 profile->name);
	return 0;
}

void config_raw_public_key_done(struct config_profile *profile)
{
	for (size_t i = 0; i < profile->raw.pin_count; i++)
		free(profile->raw.pins[i]);
	free(profile->raw.pins);
	free(profile->raw.private_key);
}
