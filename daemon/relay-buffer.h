/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory for bytes in flight. A connection holds a buffer only while something waits in it; an idle one
 * holds none, and a busy one gets the one that the caches still know. */
#ifndef RELAY_BUFFER_H
#define RELAY_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "record-layer.h"

enum {
	/* Records that are read, protected and written at once: system calls per byte against what the
	 * caches hold. */
	RELAY_BATCH = 4,
	RELAY_CONTROL_SIZE = 256, /* for the few records beside the data: KeyUpdate, alerts */
	RELAY_BUFFER_SIZE = RELAY_BATCH * RECORD_SIZE_MAX + RELAY_CONTROL_SIZE,
	RELAY_PIECES = 64,   /* opened records that are written at once */
	RELAY_SPARE_MAX = 8, /* unused buffers that are kept */
};

struct relay_buffer {
	struct relay_buffer *next; /* in the pool */
	size_t start, end;         /* what waits: sealed, or not yet opened */
	unsigned first_piece, pieces;
	struct iovec piece[RELAY_PIECES]; /* opened plain text, within bytes, for the program */
	uint8_t bytes[RELAY_BUFFER_SIZE];
};

struct relay_pool {
	struct relay_buffer *spare;
	unsigned spares;
};

/* An empty buffer, to be given back; NULL: no memory. */
struct relay_buffer *relay_buffer_take(struct relay_pool *pool);
/* Gives *buffer back and sets it to NULL. Fine on NULL. */
void relay_buffer_give(struct relay_pool *pool, struct relay_buffer **buffer);
void relay_pool_done(struct relay_pool *pool);

#endif
