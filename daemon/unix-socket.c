// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon's socket in the file system. Touches that file and its directory. Never takes the place
 * of a daemon that is running, and never lets anyone connect before the mode is right.
 */
#include "unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "foreign.h"

static void directory_of(const char *path, char *ret_directory)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash == path ? 1 : (size_t)(slash - path);

	memcpy(ret_directory, path, length);
	ret_directory[length] = '\0';
}

/* Opens and locks the directory, so that of two daemons that start at once one sees the other. */
static int directory_lock(const char *path, struct problem *problem)
{
	char directory[sizeof(((struct unix_socket *)0)->path)];
	_cleanup_close_ int fd = -1;

	directory_of(path, directory);
	/* Below /run all is gone after a boot; elsewhere a missing directory is more likely a typing
	 * error. */
	if (strncmp(directory, "/run/", 5) == 0 && mkdir(directory, 0755) < 0 && errno != EEXIST)
		return problem_set(problem, "cannot make the directory \"%s\" of the socket: %s",
				   directory, strerror(errno));
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return problem_set(problem, "cannot open the directory \"%s\" of the socket: %s",
				   directory, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return problem_set(problem,
				   "another program holds the lock of the directory \"%s\" of the "
				   "socket: is another handshaked starting?",
				   directory);
	return fd_take(&fd);
}

/* Removes what a daemon that ended has left at the address. */
static int stale_remove(const struct sockaddr_un *address, struct problem *problem)
{
	_cleanup_close_ int fd = -1;
	struct stat status;
	int error = 0;

	if (lstat(address->sun_path, &status) < 0) {
		if (errno == ENOENT)
			return 0;
		return problem_set(problem, "cannot look at the socket \"%s\": %s",
				   address->sun_path, strerror(errno));
	}
	if (!S_ISSOCK(status.st_mode))
		return problem_set(problem,
				   "\"%s\" is there and is no socket: remove it, or set another "
				   "\"socket\" in [daemon]",
				   address->sun_path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return problem_set(problem, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		error = errno;
	/* A full queue, or a socket of another type: somebody is there all the same. */
	if (error == 0 || error == EAGAIN || error == EPROTOTYPE)
		return problem_set(problem,
				   "somebody answers on the socket \"%s\": another handshaked is "
				   "running; stop it, or set another \"socket\" in [daemon]",
				   address->sun_path);
	if (error != ECONNREFUSED)
		return problem_set(problem,
				   "cannot tell whether somebody answers on the socket \"%s\": %s",
				   address->sun_path, strerror(error));
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return problem_set(
		    problem, "cannot remove the socket \"%s\" that an earlier daemon left: %s",
		    address->sun_path, strerror(errno));
	return 0;
}

int unix_socket_set_access(const struct unix_socket *unix_socket, mode_t mode, gid_t group,
			   struct problem *problem)
{
	if (group != (gid_t)-1 && lchown(unix_socket->path, (uid_t)-1, group) < 0)
		return problem_set(problem, "cannot give the socket \"%s\" to group %u: %s",
				   unix_socket->path, group, strerror(errno));
	if (chmod(unix_socket->path, mode) < 0)
		return problem_set(problem, "cannot set the mode %04o of the socket \"%s\": %s",
				   mode, unix_socket->path, strerror(errno));
	return 0;
}

static int socket_bind(struct unix_socket *unix_socket, const struct sockaddr_un *address,
		       struct problem *problem)
{
	struct stat status;
	mode_t before = umask(0777);
	int r = bind(unix_socket->fd, (const struct sockaddr *)address, sizeof(*address));
	int error = errno;

	umask(before);
	if (r < 0)
		return problem_set(problem, "cannot make the socket \"%s\": %s", address->sun_path,
				   strerror(error));
	if (lstat(address->sun_path, &status) < 0)
		return problem_set(problem, "cannot look at the socket \"%s\": %s",
				   address->sun_path, strerror(errno));
	unix_socket->device = status.st_dev;
	unix_socket->inode = status.st_ino;
	return 0;
}

static int socket_open(struct unix_socket *unix_socket, mode_t mode, gid_t group,
		       struct problem *problem)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int lock = directory_lock(unix_socket->path, problem);

	memcpy(address.sun_path, unix_socket->path, sizeof(address.sun_path));
	if (lock < 0 || stale_remove(&address, problem) < 0)
		return -1;
	unix_socket->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (unix_socket->fd < 0)
		return problem_set(problem, "cannot make a socket: %s", strerror(errno));
	if (socket_bind(unix_socket, &address, problem) < 0 ||
	    unix_socket_set_access(unix_socket, mode, group, problem) < 0)
		return -1;
	if (listen(unix_socket->fd, SOMAXCONN) < 0)
		return problem_set(problem, "cannot listen on the socket \"%s\": %s",
				   unix_socket->path, strerror(errno));
	return 0;
}

int unix_socket_new(const char *path, mode_t mode, gid_t group, struct unix_socket **ret_socket,
		    struct problem *problem)
{
	struct unix_socket *made;

	if (path[0] != '/' || strlen(path) >= sizeof(made->path))
		return problem_set(problem,
				   "\"socket\" in [daemon] must be an absolute path of at most %zu "
				   "bytes, not \"%s\"",
				   sizeof(made->path) - 1, path);
	made = calloc(1, sizeof(*made));
	if (!made)
		return problem_set(problem, "out of memory");
	made->fd = -1;
	memcpy(made->path, path, strlen(path) + 1);
	if (socket_open(made, mode, group, problem) < 0) {
		unix_socket_free(made);
		return -1;
	}
	*ret_socket = made;
	return 0;
}

void unix_socket_free(struct unix_socket *unix_socket)
{
	struct stat status;

	if (!unix_socket)
		return;
	if (unix_socket->inode && lstat(unix_socket->path, &status) == 0 &&
	    status.st_dev == unix_socket->device && status.st_ino == unix_socket->inode)
		unlink(unix_socket->path);
	foreign_close(unix_socket->fd); /* programs that nobody accepted may have sent anything */
	free(unix_socket);
}
