/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves bytes from the peer to the program. Records are opened where they were read and written to the
 * program from there. It must never read while the program has not taken what is there, and never hand
 * out a byte that came behind a close_notify or a broken record. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "handshake-protocol.h"
#include "relay-guard.h"
#include "relay-receiver.h"

enum {
	FATAL = 2,              /* RFC 8446, 6 */
	EMPTY_RECORDS_MAX = 32, /* in a row: they cost work and say nothing */
	WARNINGS_MAX = 5,
};

int relay_receiver_init(struct relay_receiver *receiver, const struct traffic_keys *keys)
{
	memset(receiver, 0, sizeof *receiver);
	receiver->tickets_fd = -1;
	post_handshake_init(&receiver->messages, keys->version, keys->is_server);
	return record_layer_init(&receiver->layer, keys, &keys->receive);
}

static void tickets_close(struct relay_receiver *receiver)
{
	post_handshake_await_tickets(&receiver->messages, NULL, NULL);
	if (receiver->tickets_fd >= 0)
		relay_guard_close(receiver->tickets_fd);
	receiver->tickets_fd = -1;
}

void relay_receiver_done(struct relay_receiver *receiver, struct relay_pool *pool)
{
	tickets_close(receiver);
	relay_buffer_give(pool, &receiver->buffer);
	record_layer_done(&receiver->layer);
}

/* Whoever waits there may have gone, or be behind: a ticket is then lost, which is no harm. */
static void ticket_pass(void *context, const uint8_t *message, size_t size)
{
	struct relay_receiver *receiver = context;

	if (send(receiver->tickets_fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
	    receiver->messages.tickets >= POST_HANDSHAKE_TICKETS)
		tickets_close(receiver);
}

void relay_receiver_await_tickets(struct relay_receiver *receiver, int fd)
{
	receiver->tickets_fd = fd;
	if (fd >= 0)
		post_handshake_await_tickets(&receiver->messages, ticket_pass, receiver);
}

static void end(struct relay_receiver *receiver, uint8_t event, int alert)
{
	if (receiver->ended)
		return;
	receiver->ended = true;
	tickets_close(receiver);
	receiver->event = event;
	receiver->alert = (uint8_t)alert;
}

void relay_receiver_refuse(struct relay_receiver *receiver)
{
	end(receiver, HANDSHAKE_RELAY_ALERT_SENT, RECORD_INTERNAL_ERROR);
}

void relay_receiver_abandon(struct relay_receiver *receiver, struct relay_pool *pool, uint8_t event)
{
	end(receiver, event, 0);
	relay_buffer_give(pool, &receiver->buffer);
	record_layer_done(&receiver->layer);
}

bool relay_receiver_stalled(const struct relay_receiver *receiver)
{
	return receiver->buffer && receiver->buffer->pieces > 0;
}

/* ---- What a record says ---- */

static int read_alert(struct relay_receiver *receiver, const struct record_content *content)
{
	if (content->size != 2) /* RFC 8446, 5.1: alone and whole */
		return RECORD_DECODE_ERROR;
	uint8_t level = content->data[0], alert = content->data[1];
	if (alert == RECORD_CLOSE_NOTIFY)
		end(receiver, HANDSHAKE_RELAY_CLOSE_NOTIFY, 0);
	else if (receiver->layer.version == CONFIG_TLS13 ? alert != RECORD_USER_CANCELED
							 : level == FATAL)
		/* In TLS 1.3 the level says nothing: all errors are fatal (RFC 8446, 6). */
		end(receiver, HANDSHAKE_RELAY_ALERT_RECEIVED, alert);
	else if (++receiver->warnings > WARNINGS_MAX)
		return RECORD_UNEXPECTED_MESSAGE;
	return 0;
}

static int read_handshake(struct relay_receiver *receiver, const struct record_content *content)
{
	struct timespec now;
	unsigned actions = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	int alert = post_handshake_read(
	    &receiver->messages, content->data, content->size,
	    (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, &actions);
	if (alert)
		return alert;
	if (actions & POST_HANDSHAKE_UPDATE_RECEIVE && record_layer_update(&receiver->layer) < 0)
		return RECORD_INTERNAL_ERROR;
	receiver->actions |= actions;
	return 0;
}

static int read_data(struct relay_receiver *receiver, const struct record_content *content)
{
	struct relay_buffer *buffer = receiver->buffer;

	receiver->warnings = 0;
	if (content->size == 0)
		return ++receiver->empty_records > EMPTY_RECORDS_MAX ? RECORD_UNEXPECTED_MESSAGE
								     : 0;
	receiver->empty_records = 0;
	receiver->received += content->size;
	post_handshake_count_data(&receiver->messages, content->size);
	if (!receiver->program_deaf)
		buffer->piece[buffer->pieces++] = (struct iovec){content->data, content->size};
	return 0;
}

static int read_record(struct relay_receiver *receiver, const struct record_content *content)
{
	if (content->type != RECORD_HANDSHAKE && post_handshake_within_message(&receiver->messages))
		return RECORD_UNEXPECTED_MESSAGE;
	switch (content->type) {
	case RECORD_DATA:
		return read_data(receiver, content);
	case RECORD_HANDSHAKE:
		return read_handshake(receiver, content);
	case RECORD_ALERT:
		return read_alert(receiver, content);
	default:
		return RECORD_UNEXPECTED_MESSAGE;
	}
}

/* Opens the whole records of the buffer, as many as there is room for pieces. */
static void open_records(struct relay_receiver *receiver)
{
	struct relay_buffer *buffer = receiver->buffer;

	while (!receiver->ended && buffer->pieces < RELAY_PIECES) {
		struct record_content content;
		uint8_t *record = buffer->bytes + buffer->start;
		size_t available = buffer->end - buffer->start, size = 0;

		int alert = record_layer_measure(&receiver->layer, record, available, &size);
		if (!alert && (size == 0 || size > available))
			return;
		if (!alert)
			alert = record_layer_open(&receiver->layer, record, size, &content);
		if (!alert)
			alert = read_record(receiver, &content);
		if (alert)
			end(receiver, HANDSHAKE_RELAY_ALERT_SENT, alert);
		buffer->start += size;
	}
}

/* ---- Reading and writing ---- */

/* One read of as much as there is room for, behind what is left of the last one. */
static void fill(struct relay_receiver *receiver, int peer_fd)
{
	struct relay_buffer *buffer = receiver->buffer;

	if (buffer->start > 0) { /* the beginning of a record that has not come whole */
		memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
		buffer->end -= buffer->start;
		buffer->start = 0;
	}
	ssize_t size = recv(peer_fd, buffer->bytes + buffer->end,
			    sizeof buffer->bytes - buffer->end, MSG_DONTWAIT);
	if (size > 0) {
		buffer->end += (size_t)size;
	} else if (size == 0) {
		end(receiver, HANDSHAKE_RELAY_TRUNCATED, 0);
	} else if (errno != EAGAIN && errno != EINTR && errno != ENOMEM && errno != ENOBUFS) {
		receiver->reset = true;
		end(receiver, HANDSHAKE_RELAY_TRUNCATED, 0);
	}
}

/* Steps over size bytes of the pieces, which have been written. */
static void advance(struct relay_buffer *buffer, size_t size)
{
	while (size > 0) {
		struct iovec *piece = &buffer->piece[buffer->first_piece];
		if (size < piece->iov_len) {
			piece->iov_base = (uint8_t *)piece->iov_base + size;
			piece->iov_len -= size;
			return;
		}
		size -= piece->iov_len;
		buffer->first_piece++;
	}
	if (buffer->first_piece == buffer->pieces)
		buffer->first_piece = buffer->pieces = 0;
}

static void deliver(struct relay_receiver *receiver, int program_fd)
{
	struct relay_buffer *buffer = receiver->buffer;

	while (buffer->pieces > 0) {
		struct msghdr message = {
		    .msg_iov = buffer->piece + buffer->first_piece,
		    .msg_iovlen = buffer->pieces - buffer->first_piece,
		};
		ssize_t size = receiver->program_deaf
				   ? -1
				   : sendmsg(program_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (size >= 0) {
			advance(buffer, (size_t)size);
		} else if (receiver->program_deaf || (errno != EAGAIN && errno != EINTR &&
						      errno != ENOMEM && errno != ENOBUFS)) {
			/* EPIPE: it closed, or shut its receiving side down; TCP drops then, too. */
			receiver->program_deaf = true;
			buffer->first_piece = buffer->pieces = 0;
		} else if (errno != EINTR) {
			return;
		}
	}
}

void relay_receiver_pump(struct relay_receiver *receiver, struct relay_pool *pool, int peer_fd,
			 int program_fd, bool readable)
{
	if (receiver->buffer)
		deliver(receiver, program_fd);
	if (relay_receiver_stalled(receiver))
		return;
	if (!receiver->ended && (readable || receiver->buffer)) {
		if (!receiver->buffer)
			receiver->buffer = relay_buffer_take(pool);
		if (!receiver->buffer) {
			end(receiver, HANDSHAKE_RELAY_ALERT_SENT, RECORD_INTERNAL_ERROR);
			return;
		}
		if (readable)
			fill(receiver, peer_fd);
		size_t before;
		do {
			before = receiver->buffer->start;
			open_records(receiver);
			deliver(receiver, program_fd);
		} while (!receiver->ended && !relay_receiver_stalled(receiver) &&
			 receiver->buffer->start != before);
	}
	if (receiver->buffer && receiver->buffer->pieces == 0 &&
	    (receiver->ended || receiver->buffer->start == receiver->buffer->end))
		relay_buffer_give(pool, &receiver->buffer);
}
