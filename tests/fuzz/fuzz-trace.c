// SPDX-License-Identifier: LGPL-2.1-or-later
// Handshake messages as a trace reads them: any bytes give JSON, within the bound.

#include <assert.h>

#include "../../daemon/json-text.c"
#include "../../daemon/tls-names.c"
#include "../../daemon/trace-certificates.c"
#include "../../daemon/trace-message.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Strings, brackets and commas fit: jansson is not there to ask. */
static void assert_json(const struct json_text *json)
{
	unsigned depth = 0;
	int text = 0;

	for (size_t i = 0; i < json->length; i++) {
		unsigned char byte = (unsigned char)json->text[i];

		assert(byte >= 0x20);
		if (text && byte == '\\')
			i++;
		else if (byte == '"')
			text = !text;
		else if (!text && (byte == '{' || byte == '['))
			depth++;
		else if (!text && (byte == '}' || byte == ']'))
			assert(depth-- > 0);
	}
	assert(depth == 0 && !text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned types[] = {1, 2, 4, 8, 11, 12, 13, 15, 16, TRACE_HELLO_RETRY};
	struct trace_context context = {0};
	struct json_text json = {.limit = 1 << 20};

	/* Two messages after each other: the first decides how the second is read. */
	while (size >= 3) {
		size_t part = (size_t)(data[1] << 8 | data[2]);
		uint8_t *body;

		part = part < size - 3 ? part : size - 3;
		body = malloc(part ? part : 1);
		if (!body)
			abort();
		memcpy(body, data + 3, part);
		json_open(&json, NULL, '{');
		trace_message_describe(&json, &context,
				       types[data[0] % (sizeof(types) / sizeof(types[0]))], body,
				       part);
		json_close(&json, '}');
		free(body);
		if (json.full)
			break;
		assert_json(&json);
		json_done(&json);
		json.limit = 1 << 20;
		data += 3 + part;
		size -= 3 + part;
	}
	json_done(&json);
	return 0;
}
