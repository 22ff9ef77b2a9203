// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The packet that asks. Touches the object and a buffer. Never sends: the client and the listener
 * do, and report here what kept them from it.
 */
#include "internal.h"

#include <errno.h>

void request_write(struct message_writer *writer, const char *operation, uint64_t id,
		   const struct handshake *handshake)
{
	bool server = handshake->role == HANDSHAKE_SERVER;

	message_begin(writer, operation);
	message_add_number(writer, HANDSHAKE_KEY_ID, id);
	message_add(writer, HANDSHAKE_KEY_ROLE, server ? "server" : "client");
	message_add(writer, HANDSHAKE_KEY_PROFILE, handshake->profile);
	if (handshake->peer_name[0])
		message_add(writer, HANDSHAKE_KEY_PEER_NAME, handshake->peer_name);
	message_add(writer, HANDSHAKE_KEY_ALPN, handshake->alpn);
	if (handshake->psk_identity[0])
		message_add(writer, HANDSHAKE_KEY_PSK_IDENTITY, handshake->psk_identity);
	if (handshake->timeout_ms)
		message_add_number(writer, HANDSHAKE_KEY_TIMEOUT_MS, handshake->timeout_ms);
	if (handshake->records == HANDSHAKE_RECORDS_KERNEL)
		message_add(writer, HANDSHAKE_KEY_RECORDS, "kernel");
	else if (handshake->records == HANDSHAKE_RECORDS_RELAY)
		message_add(writer, HANDSHAKE_KEY_RECORDS, "relay");
	if (!server && handshake->offer.size)
		message_add(writer, HANDSHAKE_KEY_DESCRIPTORS,
			    HANDSHAKE_DESCRIPTOR_SOCKET "," HANDSHAKE_DESCRIPTOR_EARLY_DATA);
	if (handshake->require_client_certificate)
		message_add(writer, HANDSHAKE_KEY_CLIENT_CERTIFICATES, "require");
	if (handshake->no_resume)
		message_add(writer, HANDSHAKE_KEY_RESUME, "no");
	if (handshake->want_trace)
		message_add(writer, HANDSHAKE_KEY_TRACE, "yes");
}

void request_fail(struct handshake *handshake, int error)
{
	const enum handshake_outcome untouched = HANDSHAKE_UNTOUCHED;

	switch (error) {
	case EMSGSIZE:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_REQUEST, error, false,
			    "the request is larger than a packet of %d bytes",
			    HANDSHAKE_PACKET_SIZE);
		break;
	case EBADF:
	case ENOTSOCK:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_REQUEST, error, false,
			    "descriptor %d is not an open socket", handshake->fd);
		break;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		result_fail(handshake, untouched, HANDSHAKE_CLASS_UNAVAILABLE, error, true,
			    "the daemon closed its connection before the request was sent");
		break;
	case EAGAIN:
	case ETOOMANYREFS:
	case ENOBUFS:
	case ENOMEM:
		errno = error;
		result_fail(handshake, untouched, HANDSHAKE_CLASS_BUSY, error, true,
			    "the request cannot be sent now: %m");
		break;
	default:
		errno = error;
		result_fail(handshake, untouched, HANDSHAKE_CLASS_REQUEST, error, false,
			    "the request cannot be sent: %m");
	}
}
