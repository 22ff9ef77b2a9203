/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's own socket in the file system: made with its mode and group before anyone can connect,
 * removed when it is still ours. */
#ifndef UNIX_SOCKET_H
#define UNIX_SOCKET_H

#include <sys/stat.h>
#include <sys/un.h>

#include "problem.h"

struct unix_socket {
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t device; /* of the file: another daemon may have replaced it */
	ino_t inode;
};

/* Makes, binds and listens (SOCK_SEQPACKET, non-blocking). A file of a daemon that ended is replaced; one
 * on which somebody answers is not. A missing directory right below /run is made. */
int unix_socket_new(const char *path, mode_t mode, gid_t group, struct unix_socket **ret_socket,
		    struct problem *problem);
/* Changes mode and group of the file. */
int unix_socket_set_access(const struct unix_socket *unix_socket, mode_t mode, gid_t group,
			   struct problem *problem);
/* Closes, and removes the file if it is still this one. NULL is fine. */
void unix_socket_free(struct unix_socket *unix_socket);

#endif
