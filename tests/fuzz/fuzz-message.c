// SPDX-License-Identifier: LGPL-2.1-or-later
// What any program can send to the daemon: a packet, taken apart, and what it holds written back into
// a packet, which must read as the same.

#include <assert.h>

#include "../../libhandshake/message.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct message message, again;
	static struct message_writer writer;
	char error[256];

	if (size > HANDSHAKE_PACKET_SIZE)
		return 0;
	memset(&message, 0, sizeof(message));
	memcpy(message.text, data, size);
	message.length = size;
	if (message_parse(&message, error, sizeof(error)))
		return 0;
	message_begin(&writer, message.operation);
	for (size_t i = 0; i < message.field_count; i++)
		message_add(&writer, message.fields[i].key, message.fields[i].value);
	if (writer.overflow) /* an escaped value can be longer than it came */
		return 0;
	memset(&again, 0, sizeof(again));
	memcpy(again.text, writer.text, writer.length);
	again.length = writer.length;
	assert(!message_parse(&again, error, sizeof(error)));
	assert(!strcmp(again.operation, message.operation));
	assert(again.field_count == message.field_count);
	for (size_t i = 0; i < message.field_count; i++) {
		assert(!strcmp(again.fields[i].key, message.fields[i].key));
		assert(!strcmp(again.fields[i].value, message.fields[i].value));
	}
	return 0;
}
