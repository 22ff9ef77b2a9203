/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the handshake messages that come after the handshake and says what they ask for. Touches
 * nothing but its own struct; it must never store what the peer sends, but for a few tickets, nor let a peer have more work
 * done than a few key updates a second. */
#include <stdlib.h>
#include <string.h>

#include "post-handshake.h"
#include "record-layer.h"

enum message_type { /* RFC 8446, 4; RFC 5246, 7.4 */
		    HELLO_REQUEST = 0,
		    CLIENT_HELLO = 1,
		    NEW_SESSION_TICKET = 4,
		    KEY_UPDATE = 24,
};

void post_handshake_init(struct post_handshake *post_handshake, enum config_version version,
			 bool is_server)
{
	memset(post_handshake, 0, sizeof *post_handshake);
	post_handshake->version = version;
	post_handshake->is_server = is_server;
}

void post_handshake_await_tickets(struct post_handshake *post_handshake,
				  post_handshake_ticket *ticket, void *context)
{
	free(post_handshake->message);
	post_handshake->message = NULL;
	post_handshake->ticket = ticket;
	post_handshake->context = context;
}

/* Without memory the ticket is skipped, as one too large is. */
static void begin_ticket(struct post_handshake *post_handshake)
{
	size_t size = sizeof post_handshake->header + post_handshake->body_left;

	if (!post_handshake->ticket || size > POST_HANDSHAKE_TICKET_MAX)
		return;
	post_handshake->message = malloc(size);
	if (!post_handshake->message)
		return;
	memcpy(post_handshake->message, post_handshake->header, sizeof post_handshake->header);
	post_handshake->message_size = sizeof post_handshake->header;
}

static void add_to_ticket(struct post_handshake *post_handshake, const uint8_t *data, size_t size)
{
	if (!post_handshake->message)
		return;
	memcpy(post_handshake->message + post_handshake->message_size, data, size);
	post_handshake->message_size += size;
}

static void finish_ticket(struct post_handshake *post_handshake)
{
	uint8_t *message = post_handshake->message;

	post_handshake->tickets++;
	post_handshake->message = NULL;
	if (message && post_handshake->ticket)
		post_handshake->ticket(post_handshake->context, message,
				       post_handshake->message_size);
	free(message);
}

bool post_handshake_within_message(const struct post_handshake *post_handshake)
{
	return post_handshake->header_size > 0;
}

void post_handshake_key_update(uint8_t ret_message[POST_HANDSHAKE_KEY_UPDATE_SIZE], bool ask)
{
	const uint8_t message[] = {KEY_UPDATE, 0, 0, 1, ask /* update_requested is 1 */};

	memcpy(ret_message, message, sizeof message);
}

/* Judges a message by its header: 0, or the alert. */
static int judge_header(const struct post_handshake *post_handshake)
{
	enum message_type type = post_handshake->header[0];
	uint32_t size = post_handshake->body_left;

	if (post_handshake->version == CONFIG_TLS13) {
		if (type == KEY_UPDATE)
			return size == 1 ? 0 : RECORD_DECODE_ERROR;
		if (type == NEW_SESSION_TICKET && !post_handshake->is_server)
			return size + 4 <= POST_HANDSHAKE_MESSAGE_MAX ? 0 : RECORD_DECODE_ERROR;
		return RECORD_UNEXPECTED_MESSAGE;
	}
	if (type == HELLO_REQUEST && !post_handshake->is_server)
		return size == 0 ? 0 : RECORD_DECODE_ERROR;
	if (type == CLIENT_HELLO && post_handshake->is_server)
		return size + 4 <= POST_HANDSHAKE_MESSAGE_MAX ? 0 : RECORD_DECODE_ERROR;
	return RECORD_UNEXPECTED_MESSAGE;
}

static bool within_rate(struct post_handshake *post_handshake, uint64_t now)
{
	if (post_handshake->in_second == 0 || now - post_handshake->second_began >= 1000) {
		post_handshake->second_began = now;
		post_handshake->in_second = 0;
	}
	return ++post_handshake->in_second <= POST_HANDSHAKE_RATE_MAX;
}

/* A key update that we asked for, or that comes behind data. */
static bool is_deserved(struct post_handshake *post_handshake)
{
	bool deserved = post_handshake->data >= POST_HANDSHAKE_RATE_DATA;

	post_handshake->data = 0;
	if (deserved || post_handshake->expected == 0)
		return deserved;
	post_handshake->expected--;
	return true;
}

/* A message is complete; last is the last byte of its body, if it has one. */
static int finish_message(struct post_handshake *post_handshake, uint8_t last, bool ends_record,
			  uint64_t now, unsigned *actions)
{
	enum message_type type = post_handshake->header[0];

	post_handshake->header_size = 0;
	if (type == NEW_SESSION_TICKET) {
		finish_ticket(post_handshake);
		return 0;
	}
	if (type == KEY_UPDATE && last > 1) /* RFC 8446, 4.6.3 */
		return RECORD_ILLEGAL_PARAMETER;
	/* What follows in this record would be under the old key: RFC 8446, 5.1. */
	if (type == KEY_UPDATE && !ends_record)
		return RECORD_UNEXPECTED_MESSAGE;
	if (!(type == KEY_UPDATE && is_deserved(post_handshake)) &&
	    !within_rate(post_handshake, now))
		return RECORD_UNEXPECTED_MESSAGE;
	if (type == KEY_UPDATE)
		*actions |=
		    POST_HANDSHAKE_UPDATE_RECEIVE | (last ? POST_HANDSHAKE_UPDATE_TRANSMIT : 0);
	else
		*actions |= POST_HANDSHAKE_REFUSE_RENEGOTIATION;
	return 0;
}

void post_handshake_count_data(struct post_handshake *post_handshake, size_t size)
{
	post_handshake->data += size;
}

int post_handshake_read(struct post_handshake *post_handshake, const uint8_t *data, size_t size,
			uint64_t now, unsigned *ret_actions)
{
	unsigned actions = 0;

	while (size > 0) {
		int alert = 0;
		if (post_handshake->header_size < sizeof post_handshake->header) {
			post_handshake->header[post_handshake->header_size++] = *data++;
			size--;
			if (post_handshake->header_size < sizeof post_handshake->header)
				continue;
			post_handshake->body_left = (uint32_t)post_handshake->header[1] << 16 |
						    (uint32_t)post_handshake->header[2] << 8 |
						    post_handshake->header[3];
			alert = judge_header(post_handshake);
			if (alert)
				return alert;
			if (post_handshake->header[0] == NEW_SESSION_TICKET)
				begin_ticket(post_handshake);
			if (post_handshake->body_left > 0)
				continue;
			alert = finish_message(post_handshake, 0, size == 0, now, &actions);
		} else {
			size_t part =
			    size < post_handshake->body_left ? size : post_handshake->body_left;
			add_to_ticket(post_handshake, data, part);
			data += part;
			size -= part;
			post_handshake->body_left -= (uint32_t)part;
			if (post_handshake->body_left == 0)
				alert = finish_message(post_handshake, data[-1], size == 0, now,
						       &actions);
		}
		if (alert)
			return alert;
	}
	*ret_actions = actions;
	return 0;
}
