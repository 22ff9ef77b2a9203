/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads the presentation language of TLS (RFC 8446, 3) from memory. Reading beyond the end gives zeros and
 * is remembered; nothing is ever read from there. */
#ifndef TRACE_READER_H
#define TRACE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace_reader {
	const uint8_t *at;
	size_t left;
	bool broken; /* more was asked for than there is */
};

static inline const uint8_t *trace_read(struct trace_reader *reader, size_t size)
{
	const uint8_t *at = reader->at;

	if (size == 0)
		return at;
	if (size > reader->left) {
		reader->broken = true;
		reader->left = 0;
		return NULL;
	}
	reader->at += size;
	reader->left -= size;
	return at;
}

/* A number of 1 to 4 bytes. */
static inline uint32_t trace_read_number(struct trace_reader *reader, unsigned bytes)
{
	const uint8_t *at = trace_read(reader, bytes);
	uint32_t number = 0;

	for (unsigned i = 0; at && i < bytes; i++)
		number = number << 8 | at[i];
	return number;
}

/* A vector with a length of so many bytes in front. */
static inline struct trace_reader trace_read_vector(struct trace_reader *reader, unsigned bytes)
{
	struct trace_reader vector = {0};
	size_t size = trace_read_number(reader, bytes);

	vector.at = trace_read(reader, size);
	vector.left = vector.at ? size : 0;
	return vector;
}

#endif
