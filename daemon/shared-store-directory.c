// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The directory of the workers' common memory: made, kept from an earlier daemon, or removed. Touches nothing
 * outside of it. Must never keep what a restart of the machine may have left half written.
 */
#include "shared-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static void files_remove(const char *directory)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "boot"};
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(fd, names[i], 0);
	close(fd);
}

void shared_store_remove(const char *directory)
{
	files_remove(directory);
	rmdir(directory);
}

static int directory_make(const char *directory, struct problem *problem)
{
	struct stat status;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return problem_set(problem, "the directory \"%s\" cannot be made: %s", directory,
				   strerror(errno));
	if (lstat(directory, &status) < 0)
		return problem_set(problem, "the directory \"%s\" cannot be used: %s", directory,
				   strerror(errno));
	if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() ||
	    (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return problem_set(problem,
				   "\"%s\" is there already, and is no directory that only the user"
				   " who starts the daemon (%u) can use; remove it",
				   directory, (unsigned)geteuid());
	return 0;
}

static size_t text_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	return got > 0 ? (size_t)got : 0;
}

static int boot_write(const char *path, const char *boot, struct problem *problem)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good = fd >= 0 && write(fd, boot, strlen(boot)) == (ssize_t)strlen(boot);

	if (fd >= 0)
		close(fd);
	return good ? 0
		    : problem_set(problem, "\"%s\" cannot be written: %s", path, strerror(errno));
}

int shared_store_prepare(const char *directory, bool keep, struct problem *problem)
{
	char boot[64], before[64], *path = NULL;
	struct problem first = {""};
	struct shared_store *store = NULL;
	int error;

	if (directory_make(directory, problem) < 0)
		return -1;
	if (asprintf(&path, "%s/boot", directory) < 0)
		return problem_set(problem, "out of memory");
	keep = keep && text_read(BOOT_ID, boot, sizeof(boot)) > 0 &&
	       text_read(path, before, sizeof(before)) > 0 && strcmp(boot, before) == 0;
	if (!keep)
		files_remove(directory);
	error = shared_store_open(directory, SHARED_BYTES_MIN, &store, &first);
	/* Of another version, or damaged. */
	if (error < 0 && keep) {
		log_warning("%s; the store is made anew", first.text);
		files_remove(directory);
		keep = false;
		error = shared_store_open(directory, SHARED_BYTES_MIN, &store, problem);
	} else if (error < 0) {
		problem_set(problem, "%s", first.text);
	}
	if (error == 0 && store) {
		shared_store_close(store);
		if (!keep && text_read(BOOT_ID, boot, sizeof(boot)) > 0)
			error = boot_write(path, boot, problem);
	}
	free(path);
	return error;
}
