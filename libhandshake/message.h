/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One packet of the protocol on the Unix socket: building, sending, receiving, reading. Used by the
 * library and by the daemon; allocates nothing, knows nothing of what the keys mean. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handshake-protocol.h"

/* ---- Writing ---- */

struct message_writer {
	size_t length;
	bool overflow; /* something did not fit: message_send refuses the packet with EMSGSIZE */
	bool invalid;  /* a value had a NUL: message_send refuses the packet with EINVAL */
	char text[HANDSHAKE_PACKET_SIZE];
};

void message_begin(struct message_writer *writer, const char *operation);
/* Adds "key=value\n", escaping the value: what is not UTF-8 too, so that a packet always is. A NULL
 * value adds nothing. */
void message_add(struct message_writer *writer, const char *key, const char *value);
void message_add_bytes(struct message_writer *writer, const char *key, const void *value,
		       size_t size);
void message_add_number(struct message_writer *writer, const char *key, uint64_t value);
/* Sends the packet with MSG_DONTWAIT | MSG_NOSIGNAL; the descriptors stay the caller's. 0 or -errno
 * (-EAGAIN: the queue is full). */
int message_send(int fd, const struct message_writer *writer, const int *fds, size_t fd_count);

/* ---- Reading ---- */

struct message {
	size_t length;
	char text[HANDSHAKE_PACKET_SIZE + 1]; /* as it came; message_parse changes it */
	int fds[HANDSHAKE_DESCRIPTORS_MAX +
		1]; /* close-on-exec; owned by the message until taken */
	size_t fd_count;
	bool too_large;    /* the packet had more bytes than HANDSHAKE_PACKET_SIZE */
	bool too_many_fds; /* it had more descriptors than fit; the surplus has been closed */
	bool lost_fds;     /* descriptors were lost: the process is at its limit (EMFILE) */
	/* after message_parse: */
	char operation[32];
	struct {
		char *key;
		char *value; /* decoded, NUL-terminated, no NUL inside */
	} fields[256];
	size_t field_count;
};

/* Receives one packet with MSG_DONTWAIT. Bytes, 0 at end-of-file (an empty packet looks the same), or
 * -errno. Checks MSG_TRUNC and MSG_CTRUNC. Call message_done() on every message, whatever came. */
int message_receive(int fd, struct message *message);
/* Splits text into operation and fields, in place, once. 0, or -EINVAL with a sentence that quotes
 * what was wrong in ret_error (size bytes); the fields before it can be read then, an id for the
 * answer above all. Does not judge keys; refuses what is too large, not the descriptors. */
int message_parse(struct message *message, char *ret_error, size_t size);
/* The n-th value of key, from 0, or NULL. */
const char *message_get(const struct message *message, const char *key, size_t n);
/* Takes the ownership of descriptor i (it is -1 in the message afterwards). -1: there is none. */
int message_take_fd(struct message *message, size_t i);
/* Closes the descriptors that nobody took. */
void message_done(struct message *message);

#endif
