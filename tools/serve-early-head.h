/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first look at a request that came as early data: text alone. */
#ifndef SERVE_EARLY_HEAD_H
#define SERVE_EARLY_HEAD_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes; larger heads than this are refused. */
enum { SERVE_EARLY_HEAD = 16384 };

/* Whether the bytes are one whole request, not more and not less, that does no harm twice: GET or HEAD
 * without content (RFC 8470, 4; RFC 9110, 9.2.1). */
bool serve_early_head_is_safe(const char *data, size_t size);
/* For the log: method ("" if there is none) and target, to be freed, of the first line. */
void serve_early_head_name(const char *data, size_t size, char *ret_method, size_t method_size,
			   char **ret_target);

#endif
