// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory as a file, sealed. Touches nothing but what it makes; must never give away a descriptor that is
 * not whole and sealed.
 */
#include "sealed-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int memory_fill(int fd, const char *data, size_t size)
{
	size_t written = 0;

	while (written < size) {
		ssize_t n = pwrite(fd, data + written, size - written, (off_t)written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		written += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

int sealed_memory_new(const char *name, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error = fd < 0 ? -errno : memory_fill(fd, data, size);

	if (error == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return error;
}
