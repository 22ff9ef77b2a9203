/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole small file in memory. */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "problem.h"

struct file {
	char *data; /* with a final NUL behind it; owned */
	size_t size;
	struct stat status; /* of the descriptor that was read, not of the name */
};

/* Reads a regular file of at most limit bytes. 0, to be freed with file_done(), or -1 and a
 * sentence that begins with what ("certificate", "trust", …) and the path. Never waits (a FIFO is
 * refused). */
int file_read(const char *path, const char *what, size_t limit, struct file *ret_file,
	      struct problem *problem);
/* Whoever can write to the file decides what is believed: 0, or -1 and a sentence where everybody can. */
int file_check_writers(const struct file *file, const char *path, const char *what,
		       struct problem *problem);
/* Who can read or replace a secret has it: 0, or -1 and a sentence where others can. A group may read it
 * (Debian's ssl-cert). */
int file_check_private(const struct file *file, const char *path, const char *what,
		       struct problem *problem);
/* Wipes and frees. */
void file_done(struct file *file);

#endif
