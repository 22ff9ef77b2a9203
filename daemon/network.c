// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Enters a network namespace for as long as it takes to make an agent's sockets. Touches the namespace's file.
 * Must never leave the process in another namespace than its own: a thread goes there, and does not come back.
 */
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

void network_path(const char *name, char *ret_path)
{
	if (name[0] == '/')
		snprintf(ret_path, PATH_MAX, "%s", name);
	else
		snprintf(ret_path, PATH_MAX, NETWORK_DIRECTORY "/%s", name);
}

static int identity_of(const struct stat *status, const struct statfs *file_system,
		       struct network_identity *ret_identity)
{
	if (file_system->f_type != NSFS_MAGIC)
		return -ENOTTY;
	*ret_identity = (struct network_identity){status->st_dev, status->st_ino};
	return 0;
}

int network_identify(const char *path, struct network_identity *ret_identity)
{
	struct statfs file_system;
	struct stat status;

	if (stat(path, &status) < 0 || statfs(path, &file_system) < 0)
		return -errno;
	return identity_of(&status, &file_system, ret_identity);
}

struct visit {
	int fd;
	struct upcall *upcall;
	struct problem *problem;
	const char *path;
	int result;
};

static void *visit_run(void *context)
{
	struct visit *visit = context;

	if (setns(visit->fd, CLONE_NEWNET) == 0) {
		visit->result = upcall_new(&visit->upcall, visit->problem);
		return NULL;
	}
	visit->result = -errno;
	if (errno == EPERM)
		problem_set(visit->problem,
			    "the network namespace \"%s\" may not be entered: the daemon needs the"
			    " capability CAP_SYS_ADMIN for it, and of systemd"
			    " RestrictNamespaces=net; see handshaked.conf(5)",
			    visit->path);
	else if (errno == EINVAL)
		problem_set(visit->problem,
			    "\"%s\" is a namespace of another kind, not of the network",
			    visit->path);
	else
		problem_set(visit->problem, "the network namespace \"%s\" cannot be entered: %s",
			    visit->path, strerror(errno));
	return NULL;
}

/* A thread has a namespace of its own, so nothing has to be undone that could fail. */
static int visit(int fd, const char *path, struct upcall **ret_upcall, struct problem *problem)
{
	struct visit visit = {.fd = fd, .path = path, .problem = problem};
	pthread_t thread;
	int r = pthread_create(&thread, NULL, visit_run, &visit);

	if (r) {
		problem_set(problem, "no thread to enter \"%s\" with can be started: %s", path,
			    strerror(r));
		return -r;
	}
	pthread_join(thread, NULL);
	if (visit.result == 0)
		*ret_upcall = visit.upcall;
	return visit.result;
}

int network_join(const char *path, struct network_identity *ret_identity,
		 struct upcall **ret_upcall, struct problem *problem)
{
	struct network_identity identity;
	struct statfs file_system;
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

	if (fd < 0) {
		r = -errno;
		problem_set(problem, "the network namespace \"%s\" cannot be opened: %s", path,
			    strerror(errno));
		return r;
	}
	r = fstat(fd, &status) < 0 || fstatfs(fd, &file_system) < 0
		? -errno
		: identity_of(&status, &file_system, &identity);
	if (r < 0)
		problem_set(problem, "\"%s\" is no network namespace", path);
	else
		r = visit(fd, path, ret_upcall, problem);
	close(fd);
	if (r == 0)
		*ret_identity = identity;
	return r;
}
