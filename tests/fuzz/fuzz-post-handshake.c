// SPDX-License-Identifier: LGPL-2.1-or-later
// What an authenticated but hostile peer can send behind the handshake, in records of every cut: the
// daemon's relay and the library read it, and must agree with themselves however it is cut.

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/post-handshake.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The alert, or 0 and the actions of all records together. */
static int read_in_pieces(const uint8_t *data, size_t size, size_t piece,
			  enum config_version version, bool is_server, unsigned *ret_actions)
{
	struct post_handshake post_handshake;

	*ret_actions = 0;
	post_handshake_init(&post_handshake, version, is_server);
	while (size) {
		size_t part = size < piece ? size : piece;
		/* A copy of its own size, so that a read past its end is seen. */
		uint8_t *copy = malloc(part);
		unsigned actions = 0;
		int alert;

		if (!copy)
			abort();
		memcpy(copy, data, part);
		alert = post_handshake_read(&post_handshake, copy, part, 0, &actions);
		free(copy);
		if (alert)
			return alert;
		*ret_actions |= actions;
		data += part;
		size -= part;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum config_version version;
	unsigned whole, pieces;
	bool is_server;
	size_t piece;

	if (size < 2)
		return 0;
	version = data[0] & 1 ? CONFIG_TLS13 : CONFIG_TLS12;
	is_server = data[0] & 2;
	piece = 1 + data[1] % 17;
	/* Key updates must end their record (RFC 8446, 5.1), so an alert may depend on the cut; memory
	 * and actions may not. */
	if (!read_in_pieces(data + 2, size - 2, size, version, is_server, &whole) &&
	    !read_in_pieces(data + 2, size - 2, piece, version, is_server, &pieces))
		assert(whole == pieces);
	return 0;
}
