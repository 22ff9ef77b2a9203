/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the target of a request to a path beneath the root, and back into a link. Text alone: nothing
 * is opened here. */
#ifndef SERVE_PATH_H
#define SERVE_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { SERVE_PATH_SIZE = 4096 };

struct serve_path {
	char text[SERVE_PATH_SIZE]; /* relative, without a slash at either end; "." for the root */
	bool directory;             /* the target ended with a slash */
};

/* Reads a target as it came (RFC 9112, 3.2: "/a%20b?c" or "https://host/a"). 0; -EINVAL: it breaks the
 * grammar; -ENOENT: nothing on a file system can have that name; -ENAMETOOLONG. Dot segments stay:
 * whoever opens the path must keep it beneath the root. */
int serve_path_read(const char *target, struct serve_path *ret_path);
/* Writes "/" and the path with everything escaped that is no unreserved character or slash (RFC 3986,
 * 2.3), and a final slash if wanted. 0 or -ENAMETOOLONG. */
int serve_path_link(const char *path, bool directory, char *ret_link, size_t size);

#endif
