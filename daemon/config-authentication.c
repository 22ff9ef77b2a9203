// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] that say who proves to be whom: own certificates, and whose are believed.
// Opens no file that they name.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

enum { CERTIFICATES_MAX = 20000 };

static struct config_certificate *last_certificate(struct config_profile *profile)
{
	return profile->certificate_count ? &profile->certificates[profile->certificate_count - 1]
					  : NULL;
}

static int read_certificate(struct config_reader *reader, const char *value)
{
	struct config_profile *profile = reader->profile;
	struct config_certificate *last = last_certificate(profile), *larger;

	if (last && !last->private_key)
		return config_problem(reader,
				      "certificate = \"%s\": the certificate in line %u has no"
				      " private-key; each certificate is followed by its own",
				      value, last->line);
	if (profile->certificate_count == CERTIFICATES_MAX)
		return config_problem(reader, "a profile has at most %d certificates",
				      CERTIFICATES_MAX);
	larger =
	    config_grow(reader, profile->certificates, profile->certificate_count, sizeof(*larger));
	if (!larger)
		return -1;
	profile->certificates = larger;
	profile->certificate_count++;
	last = last_certificate(profile);
	last->line = reader->line;
	return config_value_path(reader, value, &last->certificate);
}

static int read_private_key(struct config_reader *reader, const char *value)
{
	struct config_certificate *last = last_certificate(reader->profile);

	if (!last)
		return config_problem(reader,
				      "private-key = \"%s\" has no certificate before it; write"
				      " \"certificate\" first, then its \"private-key\"",
				      value);
	if (last->private_key)
		return config_problem(reader,
				      "private-key = \"%s\": the certificate in line %u has its"
				      " private-key already; write the next \"certificate\" first",
				      value, last->line);
	if (strncmp(value, "pkcs11:", 7) != 0)
		return config_value_path(reader, value, &last->private_key);
	last->private_key = strdup(value);
	return last->private_key ? 0 : config_problem(reader, "out of memory");
}

static int read_staple(struct config_reader *reader, const char *value)
{
	struct config_certificate *last = last_certificate(reader->profile);

	if (!last)
		return config_problem(reader,
				      "staple = \"%s\" has no certificate before it; write"
				      " \"certificate\" first, then its \"staple\"",
				      value);
	if (last->staple)
		return config_problem(reader,
				      "staple = \"%s\": the certificate in line %u has its staple"
				      " already; write the next \"certificate\" first",
				      value, last->line);
	return config_value_path(reader, value, &last->staple);
}

static int read_certificate_directory(struct config_reader *reader, const char *value)
{
	return config_value_path(reader, value, &reader->profile->certificate_directory);
}

static int read_trust(struct config_reader *reader, const char *value)
{
	if (strcmp(value, "system") != 0)
		return config_value_path(reader, value, &reader->profile->trust);
	reader->profile->trust = strdup(value);
	return reader->profile->trust ? 0 : config_problem(reader, "out of memory");
}

static int read_client_certificates(struct config_reader *reader, const char *value)
{
	int mode;

	if (config_value_word(reader, value, config_client_certificates_words, &mode) < 0)
		return -1;
	reader->profile->client_certificates = (enum config_client_certificates)mode;
	return 0;
}

static int read_insecure(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->insecure_no_verification);
}

const struct config_key config_authentication_keys[] = {
    {.name = "certificate", .read = read_certificate, .repeated = true},
    {.name = "private-key", .read = read_private_key, .repeated = true},
    {.name = "staple", .read = read_staple, .repeated = true},
    {.name = "certificate-directory", .read = read_certificate_directory},
    {.name = "trust", .read = read_trust},
    {.name = "client-certificates", .read = read_client_certificates},
    {.name = "insecure-no-verification", .read = read_insecure},
    {},
};

int config_authentication_finish(struct config_reader *reader)
{
	struct config_profile *profile = reader->profile;
	const struct config_certificate *last = last_certificate(profile);
	bool has_certificate = profile->certificate_count || profile->certificate_directory ||
			       profile->raw.private_key;
	unsigned line = profile->line;

	if (last && !last->private_key)
		return config_problem_at(reader, last->line,
					 "certificate = \"%s\" has no private-key behind it",
					 last->certificate);
	if (profile->roles == CONFIG_ROLE_SERVER && !has_certificate && !config_psk_given(profile))
		return config_problem_at(reader, line,
					 "[profile %s] is a server's and has no certificate; add"
					 " \"certificate\" and \"private-key\", or"
					 " \"certificate-directory\"",
					 profile->name);
	if (!profile->trust && !profile->raw.pin_count &&
	    profile->client_certificates != CONFIG_CLIENT_NONE)
		return config_problem_at(
		    reader, line,
		    "[profile %s]: client-certificates = %s needs \"trust\":"
		    " say whose certificates are good",
		    profile->name, config_client_certificates_word(profile->client_certificates));
	if (profile->client_certificates != CONFIG_CLIENT_NONE && !has_certificate)
		return config_problem_at(reader, line,
					 "[profile %s]: client-certificates is for servers, and the"
					 " profile has no certificate to be one",
					 profile->name);
	if (!(profile->roles & CONFIG_ROLE_SERVER) &&
	    profile->client_certificates != CONFIG_CLIENT_NONE)
		return config_problem_at(reader, line,
					 "[profile %s]: client-certificates is for servers, and the"
					 " role is client",
					 profile->name);
	if (profile->revocation_list && !profile->trust && profile->roles == CONFIG_ROLE_SERVER)
		return config_problem_at(reader, line,
					 "[profile %s]: revocation-list needs \"trust\": without it"
					 " nobody's certificate is looked at",
					 profile->name);
	if (profile->insecure_no_verification && !(profile->roles & CONFIG_ROLE_CLIENT))
		return config_problem_at(
		    reader, line,
		    "[profile %s]: insecure-no-verification is for clients, and"
		    " the role is server",
		    profile->name);
	if (profile->insecure_no_verification && profile->roles == CONFIG_ROLE_CLIENT &&
	    (profile->trust || profile->revocation_list))
		return config_problem_at(reader, line,
					 "[profile %s]: insecure-no-verification with trust or"
					 " revocation-list is a contradiction; remove one",
					 profile->name);
	return 0;
}

void config_authentication_done(struct config_profile *profile)
{
	for (size_t i = 0; i < profile->certificate_count; i++) {
		free(profile->certificates[i].certificate);
		free(profile->certificates[i].private_key);
		free(profile->certificates[i].staple);
		free(profile->certificates[i].pin_file);
	}
	free(profile->certificates);
	free(profile->trust);
	free(profile->certificate_directory);
}
