// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys that are about the signer: who it is, the modules of tokens, the files of their PINs. Opens
// nothing that they name.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine-openssl.h"

enum { MODULES_MAX = 16 };

static int read_signer_user(struct config_reader *reader, const char *value)
{
	struct config_signer *signer = &reader->config->signer;

	if (config_value_user(reader, value, &signer->uid, &signer->gid) < 0)
		return -1;
	signer->user_given = true;
	return 0;
}

static int read_engine(struct config_reader *reader, const char *value)
{
	int engine;

	if (config_value_word(reader, value, config_engine_words, &engine) < 0)
		return -1;
	if (engine == CONFIG_ENGINE_OPENSSL && !engine_openssl_is_there())
		return config_problem(
		    reader, "signer-engine = openssl: this daemon was built without OpenSSL's"
			    " libcrypto; write auto or gnutls");
	reader->config->signer.engine = (enum config_signer_engine)engine;
	return 0;
}

static int read_module(struct config_reader *reader, const char *value)
{
	struct config_signer *signer = &reader->config->signer;
	char **larger;

	if (signer->module_count == MODULES_MAX)
		return config_problem(reader, "pkcs11-module: at most %d", MODULES_MAX);
	larger = config_grow(reader, signer->modules, signer->module_count, sizeof(*larger));
	if (!larger)
		return -1;
	signer->modules = larger;
	return config_value_path(reader, value, &signer->modules[signer->module_count++]);
}

const struct config_key config_signer_daemon_keys[] = {
    {.name = "signer-user", .read = read_signer_user},
    {.name = "signer-engine", .read = read_engine},
    {.name = "pkcs11-module", .read = read_module, .repeated = true},
    {},
};

static int read_pin_file(struct config_reader *reader, const char *value)
{
	struct config_profile *profile = reader->profile;
	struct config_certificate *last =
	    profile->certificate_count ? &profile->certificates[profile->certificate_count - 1]
				       : NULL;

	if (!last || !last->private_key || strncmp(last->private_key, "pkcs11:", 7) != 0)
		return config_problem(
		    reader,
		    "pin-file = \"%s\" has no private-key on a token before it; write"
		    " \"private-key = pkcs11:…\" first, then its \"pin-file\"",
		    value);
	if (last->pin_file)
		return config_problem(
		    reader,
		    "pin-file = \"%s\": the private-key before it has its pin-file"
		    " already",
		    value);
	return config_value_path(reader, value, &last->pin_file);
}

const struct config_key config_signer_keys[] = {
    {.name = "pin-file", .read = read_pin_file, .repeated = true},
    {},
};

// Only root can become somebody else. Root it stays where that was asked for: a token may be nobody
// else's.
void config_signer_finish(struct config *config)
{
	if (geteuid() == 0 && config->signer.user_given)
		return;
	config->signer.uid = config->uid;
	config->signer.gid = config->gid;
}

void config_signer_done(struct config *config)
{
	for (size_t i = 0; i < config->signer.module_count; i++)
		free(config->signer.modules[i]);
	free(config->signer.modules);
}
