/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON (RFC 8259) as it is written, into memory with a bound. */
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_text {
	char *text; /* owned; no final NUL */
	size_t length, room;
	size_t limit; /* bytes that it may grow to */
	bool full;    /* something did not fit: what came since is not there */
};

/* key: NULL within an array, and for the outermost value. What is not ASCII is taken for UTF-8 where it
 * is, and for single characters where it is not. */
void json_open(struct json_text *json, const char *key, char bracket);
void json_close(struct json_text *json, char bracket);
void json_add(struct json_text *json, const char *key, const char *text);
void json_add_bytes(struct json_text *json, const char *key, const void *text, size_t size);
/* As hexadecimal digits. */
void json_add_hex(struct json_text *json, const char *key, const void *data, size_t size);
void json_add_number(struct json_text *json, const char *key, uint64_t number);
void json_add_boolean(struct json_text *json, const char *key, bool value);
/* A value that is JSON already. */
void json_add_raw(struct json_text *json, const char *key, const char *text, size_t size);
void json_done(struct json_text *json);

#endif
