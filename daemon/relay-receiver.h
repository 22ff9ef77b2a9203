/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the peer to the program: reads records, opens them, writes plain bytes. */
#ifndef RELAY_RECEIVER_H
#define RELAY_RECEIVER_H

#include <stdbool.h>

#include "post-handshake.h"
#include "record-layer.h"
#include "relay-buffer.h"

struct relay_receiver {
	struct record_layer layer;
	struct post_handshake messages;
	struct relay_buffer
	    *buffer;            /* opened pieces for the program, records not yet opened; or NULL */
	unsigned empty_records; /* in a row */
	unsigned warnings;      /* in a row */
	unsigned actions;  /* of enum post_handshake_action, for the sender; taken by the caller */
	bool program_deaf; /* the program takes nothing more: what comes is opened and dropped */
	bool ended;        /* no record will be read any more */
	bool reset;        /* the connection failed: nothing can be sent either */
	uint8_t event;     /* how it ended: HANDSHAKE_RELAY_… */
	uint8_t alert;     /* with HANDSHAKE_RELAY_ALERT_… */
	uint64_t received; /* plain bytes, in total */
	int tickets_fd;    /* where a server's tickets are awaited, -1 */
};

/* 0, or what record_layer_init says. */
int relay_receiver_init(struct relay_receiver *receiver, const struct traffic_keys *keys);
/* Takes the socket (-1: none) to which a server's tickets are to be written. */
void relay_receiver_await_tickets(struct relay_receiver *receiver, int fd);
void relay_receiver_done(struct relay_receiver *receiver, struct relay_pool *pool);
/* Writes what waits for the program, then (if readable) reads, opens and writes one batch. Never
 * blocks. */
void relay_receiver_pump(struct relay_receiver *receiver, struct relay_pool *pool, int peer_fd,
			 int program_fd, bool readable);
/* The program must take something before more can be read. */
bool relay_receiver_stalled(const struct relay_receiver *receiver);
/* Ends before it began, with the alert internal_error for the peer. */
void relay_receiver_refuse(struct relay_receiver *receiver);
/* Drops what waits and ends, with this event if it has not ended yet. */
void relay_receiver_abandon(struct relay_receiver *receiver, struct relay_pool *pool,
			    uint8_t event);

#endif
