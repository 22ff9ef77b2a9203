// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Showing results. Touches the stream it is given. Never lets a byte through that a terminal could
 * take for a command.
 */
#include "display.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "handshake-protocol.h"

/* The length of the UTF-8 sequence (RFC 3629, 4) at text, 0 if there is none; *ret_point is its code
 * point. Stops at the final NUL by itself: it continues no sequence. */
static size_t utf8_read(const unsigned char *text, uint32_t *ret_point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
	uint32_t point = text[0];

	if (text[0] >= 0x80) {
		if (text[0] < 0xc2 || text[0] > 0xf4)
			return 0;
		point &= 0xffu >> (length + 1);
		for (size_t i = 1; i < length; i++) {
			if ((text[i] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (text[i] & 0x3f);
		}
		if (point < least[length] || point > 0x10ffff ||
		    (point >= 0xd800 && point < 0xe000))
			return 0;
	}
	*ret_point = point;
	return length;
}

/* Controls (C0, DEL, C1), and what turns the direction of the text around it. */
static int point_harms(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
	       (point >= 0x200e && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2066 && point <= 0x2069);
}

void display_text(FILE *stream, const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;

	while (*bytes) {
		uint32_t point = 0;
		size_t length = utf8_read(bytes, &point);

		if (length && *bytes != '\\' && !point_harms(point)) {
			fwrite(bytes, 1, length, stream);
		} else {
			length = length ? length : 1;
			for (size_t i = 0; i < length; i++)
				fprintf(stream, "\\x%02X", bytes[i]);
		}
		bytes += length;
	}
}

json_t *display_json_string(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
	size_t size = strlen(text), used = 0;
	char *valid = malloc(size * (sizeof(replacement) - 1) + 1);
	json_t *string;

	if (!valid)
		return NULL;
	for (const char *from = text; *from;) {
		uint32_t point = 0;
		size_t length = utf8_read((const unsigned char *)from, &point);

		if (length) {
			memcpy(valid + used, from, length);
			used += length;
			from += length;
		} else {
			memcpy(valid + used, replacement, sizeof(replacement) - 1);
			used += sizeof(replacement) - 1;
			from++;
		}
	}
	string = json_stringn(valid, used);
	free(valid);
	return string;
}

json_t *display_json_value(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > 18 || strspn(text, "0123456789") < length ||
	    (length > 1 && text[0] == '0'))
		return display_json_string(text);
	return json_integer(strtoll(text, NULL, 10));
}

void display_result(FILE *stream, const struct handshake *handshake)
{
	const char *key, *value;

	for (size_t i = 0; handshake_result_at(handshake, i, &key, &value); i++) {
		fprintf(stream, "%s: ", key);
		display_text(stream, value);
		fputc('\n', stream);
	}
}

/* Keys that the protocol marks "repeated" are arrays even when they come once. */
static int object_add(json_t *object, const char *key, const char *value)
{
	static const char *const numbers[] = {
	    HANDSHAKE_KEY_ID,
	    HANDSHAKE_KEY_HANDSHAKE_US,
	    HANDSHAKE_KEY_ALERT_NUMBER,
	    HANDSHAKE_KEY_TIME_QUEUE_US,
	    HANDSHAKE_KEY_TIME_PEER_US,
	    HANDSHAKE_KEY_TIME_COMPUTATION_US,
	    HANDSHAKE_KEY_TIME_SIGNER_US,
	    HANDSHAKE_KEY_TIME_KEYS_US,
	};
	json_t *array, *text = NULL;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strcmp(key, numbers[i]) == 0)
			text = display_json_value(value);
	if (!text)
		text = display_json_string(value);
	if (strcmp(key, HANDSHAKE_KEY_PEER_IDENTITY) != 0)
		return json_object_set_new(object, key, text);
	array = json_object_get(object, key);
	if (!array) {
		array = json_array();
		if (json_object_set_new(object, key, array) < 0) {
			json_decref(text);
			return -1;
		}
	}
	return json_array_append_new(array, text);
}

int display_result_json(FILE *stream, const struct handshake *handshake)
{
	json_t *object = json_object();
	const char *key, *value, *chain = handshake_peer_chain(handshake);
	size_t size;
	const char *text = handshake_trace(handshake, &size);
	json_t *trace;

	for (size_t i = 0; handshake_result_at(handshake, i, &key, &value); i++) {
		if (object_add(object, key, value) < 0) {
			json_decref(object);
			return -1;
		}
	}
	if (chain && object_add(object, HANDSHAKE_DESCRIPTOR_CHAIN, chain) < 0) {
		json_decref(object);
		return -1;
	}
	/* What is none leaves the rest worth telling. */
	trace = text ? json_loadb(text, size, JSON_ALLOW_NUL, NULL) : NULL;
	if (trace && json_object_set_new(object, HANDSHAKE_DESCRIPTOR_TRACE, trace) < 0) {
		json_decref(object);
		return -1;
	}
	return display_json(stream, object);
}

int display_json(FILE *stream, json_t *object)
{
	int r = object ? json_dumpf(object, stream, JSON_COMPACT | JSON_ENSURE_ASCII) : -1;

	json_decref(object);
	if (r < 0 || fputc('\n', stream) == EOF || fflush(stream) == EOF)
		return -1;
	return 0;
}
