/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small stock of buffers for one relay process. Touches only memory; it must never keep more unused
 * buffers than RELAY_SPARE_MAX. */
#include <stdlib.h>
#include <string.h>

#include "relay-buffer.h"

struct relay_buffer *relay_buffer_take(struct relay_pool *pool)
{
	struct relay_buffer *buffer = pool->spare;

	if (buffer) {
		pool->spare = buffer->next;
		pool->spares--;
	} else {
		buffer = malloc(sizeof *buffer);
		if (!buffer)
			return NULL;
	}
	buffer->next = NULL;
	buffer->start = buffer->end = 0;
	buffer->first_piece = buffer->pieces = 0;
	return buffer;
}

/* What a connection carried must not outlive it in freed memory; buffers in use are not wiped between
 * two uses, for that would cost as much as a copy. */
static void buffer_free(struct relay_buffer *buffer)
{
	explicit_bzero(buffer->bytes, sizeof buffer->bytes);
	free(buffer);
}

void relay_buffer_give(struct relay_pool *pool, struct relay_buffer **buffer)
{
	if (!*buffer)
		return;
	if (pool->spares < RELAY_SPARE_MAX) {
		(*buffer)->next = pool->spare;
		pool->spare = *buffer;
		pool->spares++;
	} else {
		buffer_free(*buffer);
	}
	*buffer = NULL;
}

void relay_pool_done(struct relay_pool *pool)
{
	while (pool->spare) {
		struct relay_buffer *buffer = pool->spare;
		pool->spare = buffer->next;
		buffer_free(buffer);
	}
	pool->spares = 0;
}
