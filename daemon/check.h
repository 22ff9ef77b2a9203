/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* handshaked --check: would a start work, and for how long? */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "config.h"

/* Looks at the configuration and everything that a start would need, and prints a line for each
 * thing: "ok", "warning" or "error", and what it is. Returns an exit status: 1 if there was an
 * error, else 0. Changes nothing, but that the kernel may load its TLS module. */
int check_run(const struct config_source *source, FILE *out);

#endif
