// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Push and pull functions of a session on a shared socket. Touches the bytes of that socket; must
 * never wait on it, change its flags or options, or read a byte behind the record that GnuTLS is in.
 */
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "trace.h"

enum { HELD_FIRST = 4096 }; /* bytes; most flights fit */
enum { DRAIN_TURNS = 64 };  /* of 4096 bytes: a flight with the longest chain */

void transport_init(struct transport *transport, int fd)
{
	memset(transport, 0, sizeof(*transport));
	transport->fd = fd;
}

void transport_done(struct transport *transport)
{
	free(transport->held);
	transport->held = NULL;
	transport->held_start = transport->held_end = transport->held_capacity = 0;
}

static ssize_t transport_refuse(struct transport *transport, int error)
{
	if (error != EAGAIN && transport->error == 0)
		transport->error = error;
	gnutls_transport_set_errno(transport->session, error);
	return -1;
}

static int transport_reserve(struct transport *transport, size_t size)
{
	size_t capacity = transport->held_capacity > 0 ? transport->held_capacity : HELD_FIRST;
	uint8_t *larger;

	if (size > TRANSPORT_HELD_MAX - transport->held_end)
		return -EMSGSIZE;
	while (capacity < transport->held_end + size)
		capacity *= 2;
	if (capacity == transport->held_capacity)
		return 0;
	larger = realloc(transport->held, capacity);
	if (larger == NULL)
		return -ENOMEM;
	transport->held = larger;
	transport->held_capacity = capacity;
	return 0;
}

static ssize_t transport_push(gnutls_transport_ptr_t pointer, const giovec_t *parts, int count)
{
	struct transport *transport = pointer;
	size_t size = 0;
	int error;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	error = transport_reserve(transport, size);
	if (error < 0)
		return transport_refuse(transport, -error);
	for (int i = 0; i < count; i++) {
		memcpy(transport->held + transport->held_end, parts[i].iov_base, parts[i].iov_len);
		transport->held_end += parts[i].iov_len;
		trace_bytes(transport->trace, false, parts[i].iov_base, parts[i].iov_len);
	}
	return (ssize_t)size;
}

int transport_flush(struct transport *transport)
{
	while (transport_holds(transport)) {
		ssize_t sent =
		    send(transport->fd, transport->held + transport->held_start,
			 transport->held_end - transport->held_start, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return -EAGAIN;
		if (sent < 0) {
			int error = errno;

			if (transport->error == 0)
				transport->error = error;
			transport->held_start = transport->held_end = 0; /* for nobody */
			return -error;
		}
		transport->bytes_out += (uint64_t)sent;
		transport->held_start += (size_t)sent;
	}
	/* Between two flights there is a long wait, and there may be thousands of them. */
	transport_done(transport);
	return 0;
}

bool transport_holds(const struct transport *transport)
{
	return transport->held_start < transport->held_end;
}

/* How many bytes may be read without leaving the current record. */
static size_t transport_room(const struct transport *transport)
{
	if (transport->header_length < sizeof(transport->header))
		return sizeof(transport->header) - transport->header_length;
	return transport->body_left;
}

/* Follows the record structure over the bytes that were just read: never more than the room. */
static void transport_follow(struct transport *transport, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size && transport->bytes_in + i < sizeof(transport->first); i++)
		transport->first[transport->bytes_in + i] = bytes[i];
	transport->bytes_in += size;
	if (transport->header_length < sizeof(transport->header)) {
		memcpy(transport->header + transport->header_length, bytes, size);
		transport->header_length += (uint8_t)size;
		if (transport->header_length < sizeof(transport->header))
			return;
		transport->body_left = (uint16_t)(transport->header[3] << 8 | transport->header[4]);
	} else {
		size_t at = (size_t)(transport->header[3] << 8 | transport->header[4]) -
			    transport->body_left;

		for (size_t i = 0; i < size && at + i < sizeof(transport->body); i++)
			transport->body[at + i] = bytes[i];
		transport->body_left -= (uint16_t)size;
	}
	if (transport->body_left == 0)
		transport->header_length = 0;
}

static ssize_t transport_pull(gnutls_transport_ptr_t pointer, void *buffer, size_t size)
{
	struct transport *transport = pointer;
	size_t room = transport_room(transport);
	ssize_t got;

	if (transport->bytes_in >= TRANSPORT_BYTES_MAX) {
		transport->too_much = true;
		return transport_refuse(transport, EMSGSIZE);
	}
	if (size > room)
		size = room;
	do
		got = recv(transport->fd, buffer, size, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return transport_refuse(transport, errno == EWOULDBLOCK ? EAGAIN : errno);
	if (got == 0) {
		transport->end = true;
	} else {
		transport_follow(transport, buffer, (size_t)got);
		trace_bytes(transport->trace, true, buffer, (size_t)got);
	}
	return got;
}

static int transport_pull_timeout(gnutls_transport_ptr_t pointer, unsigned int milliseconds)
{
	const struct transport *transport = pointer;
	struct pollfd look = {.fd = transport->fd, .events = POLLIN};
	int ready;

	/* The library may ask for a wait; the event loop waits, nobody else. */
	(void)milliseconds;
	do
		ready = poll(&look, 1, 0);
	while (ready < 0 && errno == EINTR);
	return ready;
}

void transport_bind(struct transport *transport, gnutls_session_t session)
{
	transport->session = session;
	gnutls_transport_set_ptr(session, transport);
	gnutls_transport_set_vec_push_function(session, transport_push);
	gnutls_transport_set_pull_function(session, transport_pull);
	gnutls_transport_set_pull_timeout_function(session, transport_pull_timeout);
}

bool transport_touched(const struct transport *transport)
{
	return transport->bytes_in > 0 || transport->bytes_out > 0;
}

bool transport_at_boundary(const struct transport *transport)
{
	return transport->header_length == 0;
}

int transport_plain_alert(const struct transport *transport)
{
	static const uint8_t header[] = {21, 3, 3, 0, 2};

	if (!transport_at_boundary(transport) ||
	    memcmp(transport->header, header, sizeof(header)) != 0)
		return -1;
	return transport->body[1];
}

bool transport_looks_like_tls(const struct transport *transport)
{
	/* Alert or handshake, version 3.x: nothing else can come first (RFC 8446, 5.1). */
	if (transport->bytes_in >= 1 && transport->first[0] != 21 && transport->first[0] != 22)
		return false;
	return transport->bytes_in < 2 || transport->first[1] == 3;
}

void transport_drain(struct transport *transport)
{
	uint8_t scrap[4096];

	for (unsigned i = 0; i < DRAIN_TURNS && !transport->end; i++) {
		ssize_t got = recv(transport->fd, scrap, sizeof(scrap), MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return;
		transport->bytes_in += (uint64_t)got;
	}
}
