/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for a program in a memfd that nobody can change any more: it reads what was written. */
#ifndef SEALED_MEMORY_H
#define SEALED_MEMORY_H

#include <stddef.h>

/* A new descriptor, close-on-exec, or -errno. name: for /proc, "handshake-trace". */
int sealed_memory_new(const char *name, const void *data, size_t size);

#endif
