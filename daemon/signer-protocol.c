// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The packets between the signer and the others. Touches their sockets and no key. Believes no size that
 * stands in a packet: a worker may have been taken over by what it parses.
 */
#include "signer-protocol.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"

enum { ROOM_MS = 1000 };

/* Few have a use for the names. */
static size_t order_size(uint32_t command)
{
	return command == SIGNER_LOAD || command == SIGNER_MODULE || command == SIGNER_LEND
		   ? sizeof(struct signer_order)
		   : offsetof(struct signer_order, source);
}

static int order_send(int control, const struct signer_order *order, int fd, int room_ms)
{
	struct pollfd room = {.fd = control, .events = POLLOUT};
	size_t size = order_size(order->command), count = fd >= 0;
	int r = descriptors_send(control, order, size, &fd, count);

	if (r == -EAGAIN && poll(&room, 1, room_ms) > 0)
		r = descriptors_send(control, order, size, &fd, count);
	return r;
}

int signer_order_send(int control, const struct signer_order *order, int fd)
{
	return order_send(control, order, fd, ROOM_MS);
}

int signer_order_try(int control, const struct signer_order *order)
{
	return order_send(control, order, -1, 0);
}

int signer_order_receive(int control, struct signer_order *ret_order, int *ret_fd)
{
	struct iovec vector = {.iov_base = ret_order, .iov_len = sizeof(*ret_order)};
	size_t count = 1;
	ssize_t received;
	int flags = 0;

	*ret_fd = -1;
	received = descriptors_receive(control, &vector, 1, &flags, ret_fd, &count);
	if (received <= 0)
		return received < 0 && errno != ECONNRESET ? -errno : 0;
	if (flags || (size_t)received < sizeof(ret_order->command) ||
	    (size_t)received != order_size(ret_order->command) ||
	    (ret_order->command == SIGNER_LEND && ret_order->size > sizeof(ret_order->key))) {
		if (*ret_fd >= 0)
			close(*ret_fd);
		*ret_fd = -1;
		return -EPROTO;
	}
	if (ret_order->command == SIGNER_LEND)
		return 1;
	ret_order->source[SIGNER_SOURCE_SIZE - 1] = '\0';
	ret_order->pin_file[SIGNER_SOURCE_SIZE - 1] = '\0';
	return 1;
}

/* ---- Requests and answers ------------------------------------------------------------------ */

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

bool signer_packet_add(struct signer_packet *packet, const void *head, size_t head_size,
		       const void *data, size_t size)
{
	size_t end = packet->size + head_size + padded(size);

	if (packet->count == SIGNER_BATCH_MAX || end > sizeof(packet->bytes))
		return false;
	memcpy(packet->bytes + packet->size, head, head_size);
	if (size)
		memcpy(packet->bytes + packet->size + head_size, data, size);
	memset(packet->bytes + packet->size + head_size + size, 0, padded(size) - size);
	packet->size = end;
	packet->count++;
	return true;
}

/* Where the bytes behind a head of head_size are, NULL: they are not all there. */
static const uint8_t *packet_data(const struct signer_packet *packet, size_t *position,
				  size_t head_size, uint32_t size)
{
	const uint8_t *data = packet->bytes + *position + head_size;

	if (size > SIGNER_DATA_MAX || packet->size - *position - head_size < padded(size))
		return NULL;
	*position += head_size + padded(size);
	return data;
}

int signer_packet_request(const struct signer_packet *packet, size_t *position,
			  struct signer_request *ret_request, const uint8_t **ret_data)
{
	if (*position == packet->size)
		return 0;
	if (packet->size - *position < sizeof(*ret_request))
		return -1;
	memcpy(ret_request, packet->bytes + *position, sizeof(*ret_request));
	*ret_data = packet_data(packet, position, sizeof(*ret_request), ret_request->size);
	return *ret_data ? 1 : -1;
}

int signer_packet_answer(const struct signer_packet *packet, size_t *position,
			 struct signer_answer *ret_answer, const uint8_t **ret_data)
{
	if (*position == packet->size)
		return 0;
	if (packet->size - *position < sizeof(*ret_answer))
		return -1;
	memcpy(ret_answer, packet->bytes + *position, sizeof(*ret_answer));
	*ret_data = packet_data(packet, position, sizeof(*ret_answer), ret_answer->size);
	return *ret_data ? 1 : -1;
}

int signer_packet_send(int fd, const struct signer_packet *packet, int flags)
{
	ssize_t sent;

	do
		sent = send(fd, packet->bytes, packet->size, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

int signer_packet_receive(int fd, struct signer_packet *ret_packet, int flags)
{
	ssize_t received;

	do
		received =
		    recv(fd, ret_packet->bytes, sizeof(ret_packet->bytes), flags | MSG_TRUNC);
	while (received < 0 && errno == EINTR);
	if (received <= 0)
		return received < 0 && errno != ECONNRESET ? -errno : 0;
	if ((size_t)received > sizeof(ret_packet->bytes))
		return -EMSGSIZE;
	ret_packet->size = (size_t)received;
	return 1;
}
