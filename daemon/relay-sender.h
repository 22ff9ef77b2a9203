/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the program to the peer: reads plain bytes, seals them, writes records. */
#ifndef RELAY_SENDER_H
#define RELAY_SENDER_H

#include <stdbool.h>

#include "record-layer.h"
#include "relay-buffer.h"

enum { RELAY_UPDATES_MAX = 4 }; /* of the program's, that wait for the data before them */

struct relay_sender {
	struct record_layer layer;
	size_t record_limit;         /* bytes of data in one record, as the peer wants it */
	struct relay_buffer *buffer; /* records that the peer has not taken yet; NULL: none */
	bool update_owed;            /* a KeyUpdate, before the next data */
	struct {
		uint64_t at; /* when so many plain bytes were sent */
		bool ask;
	} updates[RELAY_UPDATES_MAX]; /* that the program ordered, in their order */
	unsigned update_count;
	bool refusal_owed;       /* a warning no_renegotiation */
	int alert_owed;          /* a fatal alert, instead of all further data; -1: none */
	bool program_ended;      /* the program said that no more data comes, or is gone */
	bool program_misbehaved; /* it sent descriptors; see relay-guard.h */
	bool ended;    /* the last record was made: close_notify or a fatal alert; or failed */
	bool failed;   /* nothing can be sent any more */
	uint64_t sent; /* plain bytes, in total */
};

/* 0, or what record_layer_init says. */
int relay_sender_init(struct relay_sender *sender, const struct traffic_keys *keys);
void relay_sender_done(struct relay_sender *sender, struct relay_pool *pool);
/* Writes what waits, then what is owed, then (if readable) one batch of data. Never blocks. */
void relay_sender_pump(struct relay_sender *sender, struct relay_pool *pool, int peer_fd,
		       int program_fd, bool readable);
/* The program orders a KeyUpdate behind all that it has written. false: none can be sent. There must be
 * room: update_count < RELAY_UPDATES_MAX. */
bool relay_sender_order_update(struct relay_sender *sender, int program_fd, bool ask);
/* The peer must take something before more can be read. */
bool relay_sender_stalled(const struct relay_sender *sender);
/* Drops what waits and ends: the connection is of no use any more. */
void relay_sender_abandon(struct relay_sender *sender, struct relay_pool *pool);

#endif
