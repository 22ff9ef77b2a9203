// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Receiving and sending on an established connection, whatever makes its records: the kernel or the
 * daemon's relay. Touches the connection's descriptor. Never raises a signal, and never takes an
 * end without close_notify for the end of the data.
 */
#include "internal.h"

#include <errno.h>
#include <linux/tls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static int records_fail(int error)
{
	errno = error;
	return -1;
}

static int records_refuse_pending(struct handshake *handshake)
{
	return error_set(handshake, ENOTCONN, "no connection has been established");
}

static int truncated(struct handshake *handshake)
{
	return control_fail(handshake, ECONNABORTED,
			    "the TCP connection ended without close_notify: the data may be cut "
			    "short");
}

/* ---- The kernel's records ------------------------------------------------------------------ */

/* As recv; *ret_type is the records' type, -1 where the kernel told none. */
static ssize_t kernel_receive(int fd, void *buffer, size_t size, int *ret_type)
{
	union {
		char space[CMSG_SPACE(sizeof(uint8_t))];
		struct cmsghdr align;
	} control;
	struct iovec vector = {.iov_base = buffer, .iov_len = size};
	struct msghdr header = {
	    .msg_iov = &vector,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(fd, &header, 0);
	struct cmsghdr *type;

	*ret_type = -1;
	if (n < 0)
		return -errno;
	type = CMSG_FIRSTHDR(&header);
	if (type && type->cmsg_level == SOL_TLS && type->cmsg_type == TLS_GET_RECORD_TYPE)
		*ret_type = *CMSG_DATA(type);
	return n;
}

static int kernel_fail_receive(struct handshake *handshake, int error, int *ret_alert)
{
	static const struct {
		int error, alert;
		const char *sentence;
	} fatal[] = {
	    {EBADMSG, ALERT_BAD_RECORD_MAC, "a record was forged or damaged on its way"},
	    {EMSGSIZE, ALERT_RECORD_OVERFLOW, "the peer sent a record that is too large"},
	    {EINVAL, ALERT_PROTOCOL_VERSION, "the peer sent what is not a TLS record"},
	    {EKEYEXPIRED, ALERT_UNEXPECTED_MESSAGE,
	     "the peer sent what is no message of this version of TLS"},
	};

	if (error == EAGAIN || error == EINTR)
		return -error;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		if (error != fatal[i].error)
			continue;
		*ret_alert = fatal[i].alert;
		handshake->control.dead = true;
		return control_fail(handshake, EPROTO, "%s", fatal[i].sentence);
	}
	/* TCP has told of its end, once: the kernel would take what is sent from now on, and drop it. */
	if (error == ECONNRESET || error == ETIMEDOUT || error == EPIPE)
		handshake->control.dead = true;
	errno = error;
	return error_set(handshake, error, "cannot receive: %m");
}

/* Receives once. Positive: bytes of data. Else an enum control_next or a negative errno. */
static ssize_t kernel_step(struct handshake *handshake, int fd, void *buffer, size_t size,
			   int *ret_next, int *ret_alert)
{
	int type;
	ssize_t n = kernel_receive(fd, buffer, size, &type);

	*ret_next = CONTROL_GO_ON;
	*ret_alert = -1;
	/* The first byte of a handshake record was that of a KeyUpdate, but it was none, or not all. */
	if (n == -EKEYEXPIRED && kernel_keys_resume(fd) == 0)
		return 0;
	if (n < 0)
		*ret_next = kernel_fail_receive(handshake, (int)-n, ret_alert);
	else if (type < 0 && n == 0)
		*ret_next = truncated(handshake);
	else if (type < 0)
		*ret_next = control_fail(handshake, EPROTO,
					 "what was received on descriptor %d was not TLS", fd);
	else if (type == RECORD_DATA)
		*ret_next = control_take_data(handshake, (size_t)n, ret_alert);
	else
		*ret_next = control_take(handshake, (uint8_t)type, buffer, (size_t)n, ret_alert);
	return type == RECORD_DATA && *ret_next == CONTROL_GO_ON ? n : 0;
}

static ssize_t kernel_recv(struct handshake *handshake, int fd, void *buffer, size_t size)
{
	for (;;) {
		int next, alert;
		ssize_t n = kernel_step(handshake, fd, buffer, size, &next, &alert);

		if (n > 0)
			return n;
		/* Courtesies, not promises: where there is no room for them they are left out. */
		if (next == CONTROL_NO_RENEG && !handshake->control.close_sent)
			alert_send(fd, ALERT_WARNING, ALERT_NO_RENEGOTIATION, MSG_DONTWAIT);
		if (next == CONTROL_UPDATE) {
			next = key_update_follow(handshake, fd);
			if (next < 0)
				alert = ALERT_INTERNAL_ERROR;
		}
		if (alert >= 0 && !handshake->control.close_sent)
			alert_send(fd, ALERT_FATAL, (uint8_t)alert, MSG_DONTWAIT);
		if (next < 0)
			return records_fail(-next);
		if (next == CONTROL_END)
			return 0;
	}
}

/* ---- The relay's records ------------------------------------------------------------------- */

/* The relay has ended this direction: what does its state say? 0: close_notify. */
static int relay_ended(struct handshake *handshake)
{
	uint8_t state[HANDSHAKE_RELAY_STATE_SIZE];
	uint8_t alert;

	if (pread(handshake->relay_state, state, sizeof(state), 0) != sizeof(state))
		return control_fail(handshake, ECONNABORTED, "the relay's state cannot be read");
	alert = state[HANDSHAKE_RELAY_ALERT];
	switch (state[HANDSHAKE_RELAY_EVENT]) {
	case HANDSHAKE_RELAY_CLOSE_NOTIFY:
		handshake->control.peer_closed = true;
		return 0;
	case HANDSHAKE_RELAY_TRUNCATED:
		return truncated(handshake);
	case HANDSHAKE_RELAY_ALERT_RECEIVED:
		handshake->control.dead = true;
		return control_fail(handshake, EPROTO, "the peer sent the fatal alert %s (%d)",
				    alert_name(alert), alert);
	case HANDSHAKE_RELAY_ALERT_SENT:
		handshake->control.dead = true;
		return control_fail(handshake, EPROTO, "%s: the alert %s (%d) was sent",
				    alert == ALERT_INTERNAL_ERROR
					? "the daemon's relay gave the connection up"
					: "the peer broke the protocol",
				    alert_name(alert), alert);
	default:
		return control_fail(handshake, ECONNABORTED,
				    "the daemon's relay ended: the data may be cut short");
	}
}

static ssize_t relay_recv(struct handshake *handshake, int fd, void *buffer, size_t size)
{
	ssize_t n = recv(fd, buffer, size, 0);
	int error = errno;
	int r;

	if (n > 0)
		return n;
	/* ECONNRESET: the relay ended while something that was sent to it lay unread. */
	if (n == 0 || error == ECONNRESET) {
		r = relay_ended(handshake);
		return r < 0 ? records_fail(-r) : 0;
	}
	if (error != EAGAIN && error != EINTR)
		error_set(handshake, error, "cannot receive: %m");
	return records_fail(error);
}

/* ---- Both ---------------------------------------------------------------------------------- */

ssize_t handshake_recv(struct handshake *handshake, int fd, void *buffer, size_t size)
{
	if (handshake->path == PATH_NONE)
		return records_fail(-records_refuse_pending(handshake));
	if (handshake->control.failure)
		return records_fail(handshake->control.failure);
	if (handshake->control.peer_closed || size == 0)
		return 0;
	if (handshake->path == PATH_RELAY)
		return relay_recv(handshake, fd, buffer, size);
	return kernel_recv(handshake, fd, buffer, size);
}

int records_can_send(struct handshake *handshake)
{
	if (handshake->path == PATH_NONE)
		return records_refuse_pending(handshake);
	if (handshake->control.close_sent)
		return error_set(handshake, EPIPE, "close_notify was sent: nothing can follow it");
	if (handshake->control.dead)
		return -EPIPE; /* the sentence about the reason is there already */
	return 0;
}

int records_fail_send(struct handshake *handshake, int error)
{
	if (error == EAGAIN || error == EINTR)
		return -error;
	/* Why the relay takes nothing more is in its state, if it had the time to say so. */
	if (handshake->path == PATH_RELAY && (error == EPIPE || error == ECONNRESET) &&
	    !handshake->control.failure && !handshake->control.peer_closed) {
		uint8_t state[HANDSHAKE_RELAY_STATE_SIZE] = {0};

		if (pread(handshake->relay_state, state, sizeof(state), 0) == sizeof(state) &&
		    state[HANDSHAKE_RELAY_EVENT] >= HANDSHAKE_RELAY_ALERT_RECEIVED)
			return error_set(handshake, error, "cannot send: the alert %s (%d) was %s",
					 alert_name(state[HANDSHAKE_RELAY_ALERT]),
					 state[HANDSHAKE_RELAY_ALERT],
					 state[HANDSHAKE_RELAY_EVENT] == HANDSHAKE_RELAY_ALERT_SENT
					     ? "sent"
					     : "received");
	}
	errno = error;
	return error_set(handshake, error, "cannot send: %m");
}

ssize_t handshake_send(struct handshake *handshake, int fd, const void *buffer, size_t size)
{
	int r = records_can_send(handshake);
	uint64_t room = 0;
	ssize_t n;

	if (r == 0)
		r = key_update_before_send(handshake, fd, size == 0, &room);
	if (r < 0)
		return records_fail(-r);
	if (size == 0)
		return 0;
	n = send(fd, buffer, size < room ? size : (size_t)room, MSG_NOSIGNAL);
	if (n < 0)
		return records_fail(-records_fail_send(handshake, errno));
	key_update_count(handshake, (size_t)n);
	return n;
}

int handshake_close_notify(struct handshake *handshake, int fd)
{
	int r;

	if (handshake->path != PATH_NONE && handshake->control.close_sent)
		return 0;
	r = records_can_send(handshake);
	if (r < 0)
		return records_fail(-r);
	if (handshake->path == PATH_RELAY)
		r = shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
	else
		r = alert_send(fd, ALERT_WARNING, ALERT_CLOSE_NOTIFY, 0);
	if (r < 0)
		return records_fail(-records_fail_send(handshake, -r));
	handshake->control.close_sent = true;
	return 0;
}
