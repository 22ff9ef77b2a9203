/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon's first process asks of the system for itself and all that it starts. */
#ifndef PROCESS_LIMITS_H
#define PROCESS_LIMITS_H

#include <sys/resource.h>

#include "config.h"

/* The open files that a process of the daemon may have at worst. */
rlim_t limits_files_needed(const struct config *config);
/* Room for the open files that the configuration may need; a warning, once, where there is not enough. */
void limits_raise_files(const struct config *config);
/* No core files, nobody looks in: private keys are in this memory. */
void limits_protect_memory(void);

#endif
