// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The directory of the workers' common memory: made, kept from an earlier daemon, or removed. Touches nothing
 * outside of it. Must never keep what a restart of the machine may have left half written, nor read itself what
 * workers wrote.
 */
#include "shared-store.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

enum { CHECK_MS = 10000, KILL_MS = 1000 };

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
	    (status.st_mode & (S_IRGRP | S_IWGRP | S_IRWXO)) != 0)
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

/* ---- Whose it is --------------------------------------------------------------------------- */

/* No link to, or from, another place. */
static bool file_is_alone(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1;
}

/* Those are there before anybody who may write them: a process without privileges makes no file here. */
static int file_give(int directory, const char *name, uid_t uid, gid_t gid)
{
	int fd = openat(directory, name,
			O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	int error = fd < 0 ? -errno : file_is_alone(fd) ? 0 : -EINVAL;

	if (error == 0 && geteuid() == 0 && fchown(fd, uid, gid) < 0)
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

int shared_store_give(const char *directory, uid_t uid, gid_t gid, struct problem *problem)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int error = fd < 0 ? -errno : 0;

	/* The group may come through to the files, which it cannot read. */
	if (error == 0 && geteuid() == 0 &&
	    (fchown(fd, (uid_t)-1, gid) < 0 || fchmod(fd, 0710) < 0))
		error = -errno;
	if (error == 0)
		error = file_give(fd, "data.mdb", uid, gid);
	if (error == 0)
		error = file_give(fd, "lock.mdb", uid, gid);
	if (fd >= 0)
		close(fd);
	return error == 0
		   ? 0
		   : problem_set(problem, "the store in \"%s\" cannot be given to user %u: %s",
				 directory, (unsigned)uid, strerror(-error));
}

int shared_store_reach(const char *directory, struct shared_store_way *ret_way,
		       struct problem *problem)
{
	struct shared_store_way way = {
	    .fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};

	if (way.fd < 0)
		return problem_set(problem, "the store in \"%s\" cannot be opened: %s", directory,
				   strerror(errno));
	snprintf(way.path, sizeof(way.path), "/proc/self/fd/%d", way.fd);
	*ret_way = way;
	return 0;
}

/* ---- Whether it can be used ---------------------------------------------------------------- */

static int privileges_leave(uid_t uid, gid_t gid)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	if (geteuid() != 0)
		return 0;
	return setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		       setresuid(uid, uid, uid) < 0 || getuid() != uid
		   ? -1
		   : 0;
}

/* In a process of its own: 0, or 1 where the store is of no use. It may as well die of it. */
static int store_try(const char *directory, uid_t uid, gid_t gid)
{
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	struct problem problem = {""};
	struct shared_store *store = NULL;
	struct shared_store_way way;
	int error;

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], SIG_DFL);
	error = shared_store_reach(directory, &way, &problem);
	if (error == 0 && privileges_leave(uid, gid) < 0)
		error = problem_set(&problem, "user %u cannot be become: %s", (unsigned)uid,
				    strerror(errno));
	if (error == 0)
		error = shared_store_open(way.path, SHARED_BYTES_MIN, &store, &problem);
	if (error == 0)
		error = shared_store_walk(store);
	shared_store_close(store);
	if (problem.text[0])
		log_warning("%s", problem.text);
	return error < 0;
}

/* Whether it ended within the time. */
static bool child_wait(pid_t pid, unsigned milliseconds, int *ret_status)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (unsigned waited = 0; waited <= milliseconds; waited += 2) {
		if (waitpid(pid, ret_status, WNOHANG) == pid)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* 0, or -1 and a sentence. */
static int store_check(const char *directory, uid_t uid, gid_t gid, struct problem *problem)
{
	int status = 0;
	pid_t pid;
	bool ended;

	if (shared_store_give(directory, uid, gid, problem) < 0)
		return -1;
	pid = fork();
	if (pid < 0)
		return problem_set(problem, "the store in \"%s\" cannot be looked at: %s",
				   directory, strerror(errno));
	if (pid == 0)
		_exit(store_try(directory, uid, gid));
	ended = child_wait(pid, CHECK_MS, &status);
	if (!ended) {
		kill(pid, SIGKILL);
		child_wait(pid, KILL_MS, &status);
	}
	if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return problem_set(problem, "the store in \"%s\" cannot be used%s", directory,
			   ended && WIFEXITED(status) ? "" : ": it is damaged");
}

int shared_store_prepare(const char *directory, bool keep, uid_t uid, gid_t gid,
			 struct problem *problem)
{
	char boot[64], before[64], *path = NULL;
	struct problem first = {""};
	int error;

	if (directory_make(directory, problem) < 0)
		return -1;
	if (asprintf(&path, "%s/boot", directory) < 0)
		return problem_set(problem, "out of memory");
	keep = keep && text_read(BOOT_ID, boot, sizeof(boot)) > 0 &&
	       text_read(path, before, sizeof(before)) > 0 && strcmp(boot, before) == 0;
	if (!keep)
		files_remove(directory);
	error = store_check(directory, uid, gid, keep ? &first : problem);
	/* Of another version, or damaged. */
	if (error < 0 && keep) {
		log_warning("%s; the store is made anew", first.text);
		files_remove(directory);
		keep = false;
		error = store_check(directory, uid, gid, problem);
	}
	if (error == 0 && !keep && text_read(BOOT_ID, boot, sizeof(boot)) > 0)
		error = boot_write(path, boot, problem);
	free(path);
	return error;
}
