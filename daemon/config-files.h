/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that a configuration names and that a load reads. Whoever adds a key that names one adds it
 * here, so that the daemon sees when it changes. */
#ifndef CONFIG_FILES_H
#define CONFIG_FILES_H

#include "config.h"

enum config_file_kind {
	CONFIG_FILE,
	CONFIG_DIRECTORY, /* of certificates: what is in it counts */
};

/* Calls visit for each, in the same order each time. */
void config_files_each(const struct config *config,
		       void (*visit)(void *context, const char *path, enum config_file_kind kind),
		       void *context);

#endif
