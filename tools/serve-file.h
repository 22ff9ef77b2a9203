/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files beneath the root: opened by the kernel's own rule that nothing leads out of it. */
#ifndef SERVE_FILE_H
#define SERVE_FILE_H

#include <stdbool.h>

#include "serve-condition.h"

struct serve_file {
	int fd; /* the caller's to close */
	bool directory;
	struct serve_entity entity; /* of a regular file */
	const char *type;           /* a regular file's media type; static */
};

/* Opens path beneath the directory root_fd. 0; -ENOENT; -EXDEV: it leads out of the root; -EACCES: may
 * not be read, or is neither file nor directory; -EMFILE and what openat2(2) says else. */
int serve_file_open(int root_fd, const char *path, struct serve_file *ret_file);
/* The media type that the name's ending stands for. Static. */
const char *serve_file_type(const char *path);

#endif
