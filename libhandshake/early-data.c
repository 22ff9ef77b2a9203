// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Early data on its way to the daemon and from it, in memfds. Touches the object, and memfds of its own
 * and of the daemon. Never calls what came a part of the stream, nor sends what is offered twice.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

void early_data_done(struct early_data *early)
{
	if (early->data)
		explicit_bzero(early->data, early->size);
	free(early->data);
	early->data = NULL;
	early->size = 0;
}

int early_data_open(const struct handshake *handshake)
{
	const struct early_data *offer = &handshake->offer;
	_cleanup_close_ int fd = -1;
	size_t written = 0;

	if (handshake->role != HANDSHAKE_CLIENT || !offer->size)
		return -ENODATA;
	fd = memfd_create("handshake-early-data", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	while (written < offer->size) {
		ssize_t n = pwrite(fd, (const char *)offer->data + written, offer->size - written,
				   (off_t)written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		written += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return fd_take(&fd);
}

const char *early_data_read(struct early_data *early, int fd)
{
	struct stat status;
	size_t length = 0;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return "its early data is not in a file";
	if (status.st_size > HANDSHAKE_EARLY_DATA_SIZE)
		return "its early data is larger than 65536 bytes";
	early->data = malloc(status.st_size ? (size_t)status.st_size : 1);
	if (!early->data)
		return "there is no memory for its early data";
	while (length < (size_t)status.st_size) {
		ssize_t n = pread(fd, (char *)early->data + length, (size_t)status.st_size - length,
				  (off_t)length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return "its early data cannot be read";
		length += (size_t)n;
	}
	early->size = length;
	return NULL;
}

int handshake_set_early_data(struct handshake *handshake, const void *data, size_t size)
{
	void *copy = NULL;

	if (handshake->client) {
		errno = EBUSY;
		return -1;
	}
	if (handshake->path == PATH_NONE)
		error_clear(handshake);
	if (size > HANDSHAKE_EARLY_DATA_SIZE) {
		error_clear(handshake);
		error_set(handshake, EINVAL,
			  "%zu bytes of early data are more than the %d that fit", size,
			  HANDSHAKE_EARLY_DATA_SIZE);
		errno = EINVAL;
		return -1;
	}
	if (size) {
		copy = malloc(size);
		if (!copy) {
			errno = ENOMEM;
			return -1;
		}
		memcpy(copy, data, size);
	}
	early_data_done(&handshake->offer);
	handshake->offer.data = copy;
	handshake->offer.size = size;
	return 0;
}

const void *handshake_early_data(const struct handshake *handshake, size_t *ret_size)
{
	*ret_size = handshake->early.size;
	return handshake->early.size ? handshake->early.data : NULL;
}

int handshake_early_data_accepted(const struct handshake *handshake)
{
	const char *value = handshake_result(handshake, HANDSHAKE_KEY_EARLY_DATA, 0);

	return value && strcmp(value, "accepted") == 0;
}
