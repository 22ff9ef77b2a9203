/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network namespace by its name or path: what it is, and how to become an agent in it. */
#ifndef NETWORK_H
#define NETWORK_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "problem.h"
#include "upcall.h"

#define NETWORK_DIRECTORY "/run/netns"
#define NETWORK_OWN       "/proc/self/ns/net"

/* The same for all names of one namespace. */
struct network_identity {
	dev_t device;
	ino_t inode;
};

/* "web" is /run/netns/web; what begins with a slash is a path already. ret_path: PATH_MAX bytes. */
void network_path(const char *name, char *ret_path);
/* 0, or -errno: -ENOENT: there is no such file; -ENOTTY: it is no namespace, or none yet. */
int network_identify(const char *path, struct network_identity *ret_identity);
/* Becomes an agent there; the caller stays where it is. 0 and a new object with the namespace's identity, or
 * -errno with a sentence (-EPERM: without CAP_SYS_ADMIN). */
int network_join(const char *path, struct network_identity *ret_identity,
		 struct upcall **ret_upcall, struct problem *problem);

#endif
