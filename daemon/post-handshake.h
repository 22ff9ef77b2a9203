/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handshake messages behind the handshake, as a record path meets them: what they ask for. No I/O, no
 * keys, no memory but the struct; but for a ticket that somebody awaits, what is set aside is skipped. */
#ifndef POST_HANDSHAKE_H
#define POST_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

enum post_handshake_action { /* a set */
			     /* The peer's next record is under its next key (RFC 8446, 4.6.3). */
			     POST_HANDSHAKE_UPDATE_RECEIVE = 1,
			     /* It asks for the same in our direction: a KeyUpdate before the next data. */
			     POST_HANDSHAKE_UPDATE_TRANSMIT = 2,
			     /* TLS 1.2: answer with the warning no_renegotiation (RFC 5246, 7.2.2). */
			     POST_HANDSHAKE_REFUSE_RENEGOTIATION = 4,
};

enum {
	/* Key updates, and attempts to renegotiate, that are followed within a second; what GnuTLS
	 * takes, too. A key update that comes behind so many bytes of data is not counted. */
	POST_HANDSHAKE_RATE_MAX = 8,
	POST_HANDSHAKE_RATE_DATA = 1024,
	/* Of one message: the largest NewSessionTicket (RFC 8446, 4.6.1). */
	POST_HANDSHAKE_MESSAGE_MAX = 4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65534,
	POST_HANDSHAKE_KEY_UPDATE_SIZE = 5,
	/* Tickets that are passed on, and the largest. */
	POST_HANDSHAKE_TICKETS = 4,
	POST_HANDSHAKE_TICKET_MAX = 16384,
};

/* Gets a whole message with its header. May call post_handshake_await_tickets(). */
typedef void post_handshake_ticket(void *context, const uint8_t *message, size_t size);

struct post_handshake {
	enum config_version version;
	bool is_server;
	uint8_t header[4]; /* of the message that is being read */
	uint8_t header_size;
	uint32_t body_left;
	uint64_t second_began; /* milliseconds */
	unsigned in_second;
	uint64_t data;                 /* bytes since the last key update */
	unsigned expected;             /* key updates that we asked for, which are not counted */
	uint64_t tickets;              /* that came */
	post_handshake_ticket *ticket; /* NULL: nobody awaits any */
	void *context;
	uint8_t *message; /* a ticket that is being read for somebody; owned */
	size_t message_size;
};

void post_handshake_init(struct post_handshake *post_handshake, enum config_version version,
			 bool is_server);
/* From now on tickets are passed on; NULL: no longer, and what is held of one is freed. */
void post_handshake_await_tickets(struct post_handshake *post_handshake,
				  post_handshake_ticket *ticket, void *context);
/* Reads the content of one record of type handshake: several messages, or a part of one. now: any clock
 * in milliseconds that does not go back. 0 and the set of actions, or the alert to send. */
int post_handshake_read(struct post_handshake *post_handshake, const uint8_t *data, size_t size,
			uint64_t now, unsigned *ret_actions);
/* Data came. */
void post_handshake_count_data(struct post_handshake *post_handshake, size_t size);
/* A message has begun and not ended: no record of another type may come (RFC 8446, 5.1). */
bool post_handshake_within_message(const struct post_handshake *post_handshake);
/* The KeyUpdate message; ask: it asks for one in return. */
void post_handshake_key_update(uint8_t ret_message[POST_HANDSHAKE_KEY_UPDATE_SIZE], bool ask);

#endif
