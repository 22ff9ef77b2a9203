// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Writes JSON. Touches its own memory. Never writes what is no JSON, whatever the text that it is given,
 * and never grows beyond its limit.
 */
#include "json-text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct json_text *json, const char *bytes, size_t size)
{
	size_t room = json->room ? json->room : 2048;
	char *larger;

	if (json->full || size > json->limit || json->length > json->limit - size) {
		json->full = true;
		return;
	}
	while (room < json->length + size)
		room *= 2;
	if (room > json->room) {
		larger = realloc(json->text, room);
		if (!larger) {
			json->full = true;
			return;
		}
		json->text = larger;
		json->room = room;
	}
	memcpy(json->text + json->length, bytes, size);
	json->length += size;
}

/* The length of the UTF-8 sequence (RFC 3629, 4) that begins here, 0: none does. */
static size_t utf8_length(const unsigned char *text, size_t size)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
	unsigned point = text[0] & (0xffU >> (length + 1));

	if (text[0] < 0xc2 || text[0] > 0xf4 || size < length)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (text[i] & 0x3f);
	}
	if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return length;
}

static void put_quoted(struct json_text *json, const unsigned char *text, size_t size)
{
	char escaped[8];

	put(json, "\"", 1);
	for (size_t i = 0; i < size && !json->full; i++) {
		size_t length = text[i] < 0x80 ? 1 : utf8_length(text + i, size - i);

		if (length && text[i] >= 0x20 && text[i] != '"' && text[i] != '\\' &&
		    text[i] != 0x7f) {
			put(json, (const char *)text + i, length);
			i += length - 1;
			continue;
		}
		/* What is no UTF-8 is shown as if it were Latin-1. */
		snprintf(escaped, sizeof(escaped), "\\u%04x", text[i]);
		put(json, escaped, 6);
	}
	put(json, "\"", 1);
}

static void begin(struct json_text *json, const char *key)
{
	char before = json->length ? json->text[json->length - 1] : '[';

	if (before != '[' && before != '{')
		put(json, ",", 1);
	if (!key)
		return;
	put_quoted(json, (const unsigned char *)key, strlen(key));
	put(json, ":", 1);
}

void json_open(struct json_text *json, const char *key, char bracket)
{
	begin(json, key);
	put(json, &bracket, 1);
}

void json_close(struct json_text *json, char bracket)
{
	put(json, &bracket, 1);
}

void json_add_bytes(struct json_text *json, const char *key, const void *text, size_t size)
{
	begin(json, key);
	put_quoted(json, text, size);
}

void json_add(struct json_text *json, const char *key, const char *text)
{
	json_add_bytes(json, key, text, strlen(text));
}

void json_add_hex(struct json_text *json, const char *key, const void *data, size_t size)
{
	const unsigned char *bytes = data;
	char digits[3];

	begin(json, key);
	put(json, "\"", 1);
	for (size_t i = 0; i < size && !json->full; i++) {
		snprintf(digits, sizeof(digits), "%02x", bytes[i]);
		put(json, digits, 2);
	}
	put(json, "\"", 1);
}

void json_add_number(struct json_text *json, const char *key, uint64_t number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	json_add_raw(json, key, digits, strlen(digits));
}

void json_add_boolean(struct json_text *json, const char *key, bool value)
{
	json_add_raw(json, key, value ? "true" : "false", value ? 4 : 5);
}

void json_add_raw(struct json_text *json, const char *key, const char *text, size_t size)
{
	begin(json, key);
	put(json, text, size);
}

void json_done(struct json_text *json)
{
	free(json->text);
	memset(json, 0, sizeof(*json));
}
