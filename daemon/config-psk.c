// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [profile NAME] about pre-shared keys. Opens neither file nor keyring.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

#include "psk.h"

static int read_file(struct config_reader *reader, const char *value)
{
	return config_value_path(reader, value, &reader->profile->psk.file);
}

static int text_read(struct config_reader *reader, const char *value, char **text)
{
	if (!*value)
		return config_problem(reader, "%s has no value", reader->word);
	*text = strdup(value);
	return *text ? 0 : config_problem(reader, "out of memory");
}

static int read_keyring(struct config_reader *reader, const char *value)
{
	return text_read(reader, value, &reader->profile->psk.keyring);
}

static int read_identity(struct config_reader *reader, const char *value)
{
	struct psk_identity identity;

	if (psk_identity_read(value, &identity) < 0)
		return config_problem(
		    reader,
		    "psk-identity = \"%s\": 1 to %d bytes are needed, or \"#\" and"
		    " their hexadecimal digits",
		    value, PSK_IDENTITY_MAX);
	return text_read(reader, value, &reader->profile->psk.identity);
}

static int read_kernel(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->psk.kernel);
}

static int read_hash(struct config_reader *reader, const char *value)
{
	static const struct config_word words[] = {{"SHA256", 0}, {"SHA384", 1}, {}};

	return config_value_boolean(reader, value, words, &reader->profile->psk.sha384);
}

static int read_insecure_short(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->psk.insecure_short);
}

static int read_insecure_plain(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words,
				    &reader->profile->psk.insecure_plain);
}

const struct config_key config_psk_keys[] = {
    {.name = "psk-file", .read = read_file},
    {.name = "psk-keyring", .read = read_keyring},
    {.name = "psk-identity", .read = read_identity},
    {.name = "kernel-psk", .read = read_kernel},
    {.name = "psk-hash", .read = read_hash},
    {.name = "insecure-short-psk", .read = read_insecure_short},
    {.name = "insecure-psk-key-exchange", .read = read_insecure_plain},
    {},
};

bool config_psk_given(const struct config_profile *profile)
{
	return profile->psk.file || profile->psk.keyring || profile->psk.kernel;
}

bool config_psk_only(const struct config_profile *profile, enum config_roles role)
{
	if (!config_psk_given(profile))
		return false;
	// The system's store, which a client without "trust" believes otherwise, would let any
	// server of the web take the place of the one that has the key.
	return role == CONFIG_ROLE_SERVER
		   ? !profile->certificate_count && !profile->certificate_directory &&
			 !profile->raw.private_key
		   : !profile->trust && !profile->raw.pin_count;
}

// RFC 8446, 4.2.11: a key goes with suites of its hash alone.
static bool has_cipher_of_hash(const struct config_profile *profile)
{
	for (size_t i = 0; i < profile->cipher_count; i++)
		if ((profile->ciphers[i] == CONFIG_AES_256_GCM) == profile->psk.sha384)
			return true;
	return false;
}

static int contradiction(struct config_reader *reader, const char *words)
{
	return config_problem_at(reader, reader->profile->line, "[profile %s]: %s",
				 reader->profile->name, words);
}

// What a request brings is all that its handshake is done with.
static int kernel_finish(struct config_reader *reader)
{
	static const char *const others[] = {"psk-file",
					     "psk-keyring",
					     "psk-identity",
					     "psk-hash",
					     "insecure-short-psk",
					     "insecure-psk-key-exchange",
					     "certificate",
					     "certificate-directory",
					     "trust",
					     "revocation-list",
					     "client-certificates",
					     "allow-peer",
					     "raw-private-key",
					     "peer-public-key",
					     "early-data",
					     "insecure-no-verification",
					     "insecure-rsa-key-exchange",
					     "alpn"};
	struct config_profile *profile = reader->profile;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (config_seen(reader, others[i]))
			return config_problem_at(reader, profile->line,
						 "[profile %s]: kernel-psk = yes with %s is a "
						 "contradiction: the keys come"
						 " with the kernel's requests, and nothing else is "
						 "taken; make two profiles",
						 profile->name, others[i]);
	if (config_seen(reader, "min-version") && profile->min_version != CONFIG_TLS13)
		return contradiction(reader, "kernel-psk = yes needs TLS 1.3; remove min-version");
	profile->min_version = CONFIG_TLS13;
	return 0;
}

int config_psk_finish(struct config_reader *reader)
{
	struct config_profile *profile = reader->profile;
	static const char *const needing[] = {"psk-identity", "psk-hash", "insecure-short-psk",
					      "insecure-psk-key-exchange"};

	if (profile->psk.kernel)
		return kernel_finish(reader);
	for (size_t i = 0; !config_psk_given(profile) && i < 4; i++)
		if (config_seen(reader, needing[i]))
			return config_problem_at(reader, profile->line,
						 "[profile %s]: %s needs \"psk-file\" or"
						 " \"psk-keyring\"",
						 profile->name, needing[i]);
	if (!config_psk_given(profile))
		return 0;
	if (profile->psk.identity && !(profile->roles & CONFIG_ROLE_CLIENT))
		return contradiction(reader, "psk-identity is for clients, and the role is server");
	if (profile->client_certificates == CONFIG_CLIENT_REQUIRE)
		return contradiction(reader,
				     "client-certificates = require with pre-shared keys is a"
				     " contradiction: who has a key shows no certificate; make two"
				     " profiles");
	if (profile->insecure_no_verification)
		return contradiction(reader,
				     "insecure-no-verification with pre-shared keys is a"
				     " contradiction: the key is what a server is known by; remove"
				     " one");
	if (profile->allow_peer_count)
		return contradiction(reader,
				     "allow-peer speaks of certificates, and pre-shared keys have"
				     " none; who may come is in psk-file or psk-keyring");
	if (!has_cipher_of_hash(profile))
		return contradiction(
		    reader, profile->psk.sha384
				? "psk-hash = SHA384 needs the cipher AES-256-GCM"
				: "pre-shared keys of SHA-256 need another cipher than AES-256-GCM;"
				  " add one, or say psk-hash = SHA384");
	return 0;
}

void config_psk_done(struct config_profile *profile)
{
	free(profile->psk.file);
	free(profile->psk.keyring);
	free(profile->psk.identity);
}
