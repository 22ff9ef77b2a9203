/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listing of a directory as a page. */
#ifndef SERVE_INDEX_H
#define SERVE_INDEX_H

#include <stddef.h>

/* A page with the entries of the directory fd, in the order of their names: files and directories, and
 * links to such that stay beneath root_fd. path is fd's, as serve_path_read() gave it. Leaves the
 * descriptors open. 0 and memory to be freed, or -errno. */
int serve_index_make(int root_fd, int fd, const char *path, char **ret_page, size_t *ret_size);

#endif
