// SPDX-License-Identifier: LGPL-2.1-or-later
// Lists the files of a configuration. Opens none of them.
#include "config-files.h"

#include <string.h>

typedef void visitor(void *context, const char *path, enum config_file_kind kind);

static void visit_if(const char *path, enum config_file_kind kind, visitor *visit, void *context)
{
	if (path)
		visit(context, path, kind);
}

void config_files_each(const struct config *config, visitor *visit, void *context)
{
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct config_profile *profile = &config->profiles[i];

		for (size_t j = 0; j < profile->certificate_count; j++) {
			const struct config_certificate *pair = &profile->certificates[j];

			visit_if(pair->certificate, CONFIG_FILE, visit, context);
			if (strncmp(pair->private_key, "pkcs11:", 7) != 0)
				visit_if(pair->private_key, CONFIG_FILE, visit, context);
			visit_if(pair->pin_file, CONFIG_FILE, visit, context);
			visit_if(pair->staple, CONFIG_FILE, visit, context);
		}
		visit_if(profile->certificate_directory, CONFIG_DIRECTORY, visit, context);
		if (profile->trust && strcmp(profile->trust, "system") != 0)
			visit_if(profile->trust, CONFIG_FILE, visit, context);
		visit_if(profile->revocation_list, CONFIG_FILE, visit, context);
		visit_if(profile->psk.file, CONFIG_FILE, visit, context);
		for (size_t j = 0; j < profile->resumption.key_file_count; j++)
			visit_if(profile->resumption.key_files[j], CONFIG_FILE, visit, context);
		if (profile->raw.private_key &&
		    strncmp(profile->raw.private_key, "pkcs11:", 7) != 0)
			visit_if(profile->raw.private_key, CONFIG_FILE, visit, context);
		for (size_t j = 0; j < profile->raw.pin_count; j++)
			if (strncmp(profile->raw.pins[j], "sha256:", 7) != 0)
				visit_if(profile->raw.pins[j], CONFIG_FILE, visit, context);
	}
}
