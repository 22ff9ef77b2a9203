// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads whole small files: configuration, certificates, keys. Touches only the file it is given;
// never waits for one, and never leaves what it read behind.
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Reads until the end of the file, which may have grown or shrunk since it was looked at.
static int file_fill(int fd, struct file *file, size_t capacity)
{
	while (file->size < capacity) {
		ssize_t n = read(fd, file->data + file->size, capacity - file->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		file->size += (size_t)n;
	}
	return -EFBIG;
}

int file_read(const char *path, const char *what, size_t limit, struct file *ret_file,
	      struct problem *problem)
{
	struct file file = {};
	int fd, error;

	// O_NONBLOCK: the opening of a FIFO must not wait for a writer.
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return problem_set(problem, "%s \"%s\" cannot be opened: %s", what, path,
				   strerror(errno));
	if (fstat(fd, &file.status) < 0) {
		problem_set(problem, "%s \"%s\" cannot be looked at: %s", what, path,
			    strerror(errno));
		goto fail;
	}
	if (!S_ISREG(file.status.st_mode)) {
		problem_set(problem, "%s \"%s\" is %s, not a regular file", what, path,
			    S_ISDIR(file.status.st_mode) ? "a directory" : "a special file");
		goto fail;
	}
	if ((size_t)file.status.st_size > limit) {
		problem_set(problem, "%s \"%s\" has %lld bytes; at most %zu are read", what, path,
			    (long long)file.status.st_size, limit);
		goto fail;
	}
	// One allocation, so that no copy of a key stays behind in a block that was grown.
	file.data = malloc((size_t)file.status.st_size + 2);
	if (!file.data) {
		problem_set(problem, "%s \"%s\" cannot be read: out of memory", what, path);
		goto fail;
	}
	error = file_fill(fd, &file, (size_t)file.status.st_size + 1);
	if (error) {
		problem_set(problem, "%s \"%s\" cannot be read: %s", what, path,
			    error == -EFBIG ? "it changes while it is read" : strerror(-error));
		goto fail;
	}
	file.data[file.size] = '\0';
	close(fd);
	*ret_file = file;
	return 0;
fail:
	close(fd);
	file_done(&file);
	return -1;
}

int file_check_writers(const struct file *file, const char *path, const char *what,
		       struct problem *problem)
{
	if (!(file->status.st_mode & S_IWOTH))
		return 0;
	return problem_set(problem,
			   "%s \"%s\": everybody on this machine may write to the file (mode %04o);"
			   " chmod o-w it, and look at what is in it",
			   what, path, (unsigned)file->status.st_mode & 07777);
}

int file_check_private(const struct file *file, const char *path, const char *what,
		       struct problem *problem)
{
	const struct stat *status = &file->status;

	if (status->st_mode & S_IRWXO)
		return problem_set(problem,
				   "%s \"%s\": everybody on this machine may use the file (mode"
				   " %04o); chmod 600 it, and replace what is in it if others had"
				   " access",
				   what, path, (unsigned)status->st_mode & 07777);
	if (status->st_mode & S_IWGRP)
		return problem_set(
		    problem,
		    "%s \"%s\": its group may write to the file (mode %04o); chmod 640"
		    " or 600 it",
		    what, path, (unsigned)status->st_mode & 07777);
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return problem_set(problem,
				   "%s \"%s\" belongs to user %u, who can replace it; chown it to"
				   " root or to the user that starts the daemon (%u)",
				   what, path, (unsigned)status->st_uid, (unsigned)geteuid());
	return 0;
}

void file_done(struct file *file)
{
	if (file->data)
		explicit_bzero(file->data, file->size);
	free(file->data);
	file->data = NULL;
	file->size = 0;
}
