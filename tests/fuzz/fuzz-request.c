// SPDX-License-Identifier: LGPL-2.1-or-later
// What the daemon makes of a program's packet: a request within its bounds, or a refusal with a
// sentence.

#include <assert.h>

#include "../../daemon/config-words.c"
#include "../../daemon/outcome.c"
#include "../../daemon/request.c"
#include "../../libhandshake/message.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct message message;
	struct failure failure = {0};
	struct request request;
	char error[256];

	if (size > HANDSHAKE_PACKET_SIZE)
		return 0;
	memset(&message, 0, offsetof(struct message, fields));
	message.field_count = 0;
	memcpy(message.text, data, size);
	message.length = size;
	if (message_parse(&message, error, sizeof(error)))
		return 0;
	if (request_read(&message, &request, &failure)) {
		assert(failure.class == FAILURE_REQUEST && *failure.sentence);
		return 0;
	}
	assert(!*failure.sentence);
	assert(strnlen(request.profile, sizeof(request.profile)) < sizeof(request.profile));
	assert(strnlen(request.peer_name, sizeof(request.peer_name)) < sizeof(request.peer_name));
	assert(request.alpn_count <= REQUEST_ALPN_MAX);
	for (unsigned i = 0; i < request.alpn_count; i++) {
		size_t length = strnlen(request.alpn[i], sizeof(request.alpn[i]));

		assert(length > 0 && length < sizeof(request.alpn[i]));
	}
	return 0;
}
