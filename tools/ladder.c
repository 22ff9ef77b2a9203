// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A trace becomes a ladder. Touches memory alone. Never trusts the trace: it tells what a peer said.
 */
#include "ladder.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "display.h"

enum { ROWS_MAX = 4096, NOTES_MAX = 256 };

/* ---- Text ---------------------------------------------------------------------------------- */

/* What the text is once it can do no harm; NULL: no memory. */
static char *text_clean(const char *text)
{
	char *clean = NULL;
	size_t size;
	FILE *stream = open_memstream(&clean, &size);

	if (!stream)
		return NULL;
	display_text(stream, text ? text : "");
	if (fclose(stream) == EOF) {
		free(clean);
		return NULL;
	}
	return clean;
}

static char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *text_format(const char *format, ...)
{
	va_list arguments;
	char *text = NULL, *clean;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	clean = text ? text_clean(text) : NULL;
	free(text);
	return clean;
}

void ladder_time(uint64_t us, char *ret_text, size_t size)
{
	snprintf(ret_text, size, "%llu.%03llu", (unsigned long long)(us / 1000),
		 (unsigned long long)(us % 1000));
}

static const char *get(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

static uint64_t get_number(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static bool is(const json_t *object, const char *key, const char *value)
{
	return strcmp(get(object, key), value) == 0;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static struct ladder_row *row_add(struct ladder *ladder, enum ladder_kind kind, const json_t *event)
{
	struct ladder_row *rows;

	if (ladder->row_count == ROWS_MAX)
		return NULL;
	rows = reallocarray(ladder->rows, ladder->row_count + 1, sizeof(*rows));
	if (!rows)
		return NULL;
	ladder->rows = rows;
	rows += ladder->row_count++;
	memset(rows, 0, sizeof(*rows));
	rows->kind = kind;
	rows->us = get_number(event, "us");
	rows->to_server = is(event, "direction", "sent") != ladder->is_server;
	return rows;
}

static void row_name(struct ladder_row *row, char *label, char *size)
{
	row->label = label ? label : strdup("");
	row->size = size ? size : strdup("");
}

void ladder_note(struct ladder_row *row, enum ladder_tone tone, const char *key, const char *format,
		 ...)
{
	struct ladder_note *notes;
	va_list arguments;
	char *value = NULL, *clean;

	va_start(arguments, format);
	if (vasprintf(&value, format, arguments) < 0)
		value = NULL;
	va_end(arguments);
	clean = value && *value ? text_clean(value) : NULL;
	free(value);
	if (!clean || row->note_count == NOTES_MAX) {
		free(clean);
		return;
	}
	notes = reallocarray(row->notes, row->note_count + 1, sizeof(*notes));
	if (!notes) {
		free(clean);
		return;
	}
	row->notes = notes;
	notes += row->note_count++;
	notes->key = text_clean(key);
	notes->value = clean;
	notes->tone = tone;
}

static void row_done(struct ladder_row *row)
{
	for (size_t i = 0; i < row->note_count; i++) {
		free(row->notes[i].key);
		free(row->notes[i].value);
	}
	free(row->notes);
	free(row->label);
	free(row->size);
}

void ladder_free(struct ladder *ladder)
{
	if (!ladder)
		return;
	for (size_t i = 0; i < ladder->row_count; i++)
		row_done(&ladder->rows[i]);
	row_done(&ladder->end);
	free(ladder->rows);
	free(ladder->title);
	free(ladder->subtitle);
	free(ladder->client);
	free(ladder->server);
	free(ladder);
}

/* ---- Events -------------------------------------------------------------------------------- */

/* What reading the events one after the other has to know. */
struct reading {
	struct ladder *ladder;
	const json_t *events, *verdicts, *hello; /* hello: the last ClientHello */
	bool encrypted[2];                       /* by direction: the record that came last */
	bool changed[2];                         /* a ChangeCipherSpec went by */
	bool tls13, early;                       /* TLS 1.3 was chosen; early data was offered */
	size_t early_row;                        /* one more than its number; 0: none */
	uint64_t early_size;
};

static void take_message(struct reading *reading, const json_t *event)
{
	struct ladder_row *row = row_add(reading->ladder, LADDER_ARROW, event);

	if (!row)
		return;
	row_name(row, text_clean(get(event, "message")),
		 text_format("%llu bytes", (unsigned long long)get_number(event, "size")));
	row->encrypted = reading->encrypted[row->to_server];
	ladder_describe(row, event, reading->hello, reading->verdicts);
	if (is(event, "message", "ClientHello")) {
		reading->hello = event;
		reading->early = json_is_true(json_object_get(event, "early-data"));
	} else if (is(event, "message", "ServerHello")) {
		reading->tls13 = is(event, "version-chosen", "TLS1.3");
	}
}

/* Data before the handshake is over is early data; records that carry messages are told by them. */
static bool is_early(const struct reading *reading, size_t i, bool to_server)
{
	const json_t *next = json_array_get(reading->events, i + 1);

	if (!reading->early || !to_server)
		return false;
	return !is(next, "event", "message") ||
	       is(next, "direction", "sent") == reading->ladder->is_server;
}

static void take_early(struct reading *reading, const json_t *event)
{
	uint64_t size = get_number(event, "size");
	struct ladder_row *row;

	/* Records that follow each other are told as one. */
	if (reading->early_row && reading->early_row == reading->ladder->row_count) {
		row = &reading->ladder->rows[reading->early_row - 1];
	} else {
		row = row_add(reading->ladder, LADDER_ARROW, event);
		if (!row)
			return;
		row->encrypted = true;
		row->label = strdup("early data (0-RTT)");
		reading->early_size = 0;
	}
	/* Tag and inner type (RFC 8446, 5.2). */
	reading->early_size += size > 17 ? size - 17 : 0;
	free(row->size);
	row->size = text_format("%llu bytes", (unsigned long long)reading->early_size);
	reading->early_row = reading->ladder->row_count;
}

static void take_record(struct reading *reading, size_t i, const json_t *event)
{
	bool to_server = is(event, "direction", "sent") != reading->ladder->is_server;
	struct ladder_row *row;

	reading->encrypted[to_server] = is(event, "record", "application_data") ||
					(reading->changed[to_server] && !reading->tls13);
	if (is(event, "record", "application_data") && is_early(reading, i, to_server)) {
		take_early(reading, event);
	} else if (is(event, "record", "change_cipher_spec")) {
		reading->changed[to_server] = true;
		row = row_add(reading->ladder, LADDER_ARROW, event);
		if (!row)
			return;
		row->tone = LADDER_QUIET;
		row_name(row, strdup("ChangeCipherSpec"), NULL);
	}
}

static void take_alert(struct reading *reading, const json_t *event)
{
	struct ladder_row *row = row_add(reading->ladder, LADDER_ARROW, event);

	if (!row)
		return;
	row->tone = is(event, "alert", "close_notify") ? LADDER_QUIET : LADDER_BAD;
	row->encrypted = reading->encrypted[row->to_server];
	row_name(row,
		 text_format("alert: %s (%llu)", get(event, "alert"),
			     (unsigned long long)get_number(event, "number")),
		 NULL);
}

static void take_verification(struct reading *reading, const json_t *event)
{
	struct ladder_row *row = row_add(reading->ladder, LADDER_MARK, event);

	if (!row)
		return;
	row->tone = is(event, "verdict", "good")      ? LADDER_GOOD
		    : is(event, "verdict", "refused") ? LADDER_BAD
						      : LADDER_QUIET;
	row_name(row, text_format("peer's certificate: %s", get(event, "verdict")), NULL);
	ladder_note(row, row->tone, "", "%s", get(event, "words"));
}

static void take_keys(struct reading *reading, const json_t *event)
{
	struct ladder_row *row = row_add(reading->ladder, LADDER_MARK, event);
	const char *path = get(event, "transmit");

	if (!row)
		return;
	row->tone = LADDER_KEYS;
	row_name(row,
		 text_format("traffic keys to the %s: %s",
			     strcmp(path, "relay") == 0 ? "relay process" : path,
			     get(event, "cipher")),
		 NULL);
	if (!is(event, "receive", path))
		ladder_note(row, LADDER_PLAIN, "receiving", "%s", get(event, "receive"));
	ladder_note(row, LADDER_QUIET, "because", "%s", get(event, "records-reason"));
}

static void take_event(struct reading *reading, size_t i)
{
	const json_t *event = json_array_get(reading->events, i);

	if (is(event, "event", "message"))
		take_message(reading, event);
	else if (is(event, "event", "record"))
		take_record(reading, i, event);
	else if (is(event, "event", "alert"))
		take_alert(reading, event);
	else if (is(event, "event", "verification"))
		take_verification(reading, event);
	else if (is(event, "event", "keys"))
		take_keys(reading, event);
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void take_end(struct ladder *ladder, const json_t *end)
{
	struct ladder_row *row = &ladder->end;
	bool good = is(end, "outcome", "established");
	char time[32];

	row->kind = LADDER_MARK;
	row->tone = good ? LADDER_GOOD : LADDER_BAD;
	row->us = get_number(end, "us");
	ladder_time(row->us, time, sizeof(time));
	row_name(row, text_format("%s after %s ms", get(end, "outcome"), time), NULL);
	if (good) {
		ladder_note(row, LADDER_PLAIN, "version", "%s", get(end, "version"));
		ladder_note(row, LADDER_PLAIN, "suite", "%s", get(end, "suite"));
		ladder_note(row, LADDER_PLAIN, "group", "%s", get(end, "group"));
		ladder_note(row, LADDER_PLAIN, "ALPN", "%s", get(end, "alpn"));
		if (json_is_true(json_object_get(end, "resumed")))
			ladder_note(row, LADDER_GOOD, "resumed", "yes");
		ladder_note(row, LADDER_PLAIN, "early data", "%s", get(end, "early-data"));
		ladder_note(row, LADDER_QUIET, "", "%s", get(end, "early-data-reason"));
		return;
	}
	ladder_note(row, LADDER_BAD, "class", "%s", get(end, "class"));
	ladder_note(row, LADDER_BAD, "error", "%s", get(end, "error"));
}

static void take_title(struct ladder *ladder, const json_t *trace, const json_t *end)
{
	const char *local = get(trace, "local"), *peer = get(trace, "peer");

	if (is(end, "outcome", "established"))
		ladder->title =
		    text_format("%s handshake, %s%s", get(end, "version"), get(end, "suite"),
				json_is_true(json_object_get(end, "resumed")) ? ", resumed" : "");
	else
		ladder->title = text_format("TLS handshake, failed: %s", get(end, "class"));
	ladder->subtitle = text_format(
	    "%s, profile \"%s\", user %llu, %s", get(trace, "role"), get(trace, "profile"),
	    (unsigned long long)get_number(trace, "user"), get(trace, "started"));
	ladder->client = text_clean(ladder->is_server ? peer : local);
	ladder->server = text_clean(ladder->is_server ? local : peer);
}

static bool is_whole(const struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->row_count; i++)
		if (!ladder->rows[i].label || !ladder->rows[i].size)
			return false;
	return ladder->title && ladder->subtitle && ladder->client && ladder->server &&
	       ladder->end.label && ladder->end.size;
}

static const json_t *verdicts_find(const json_t *events)
{
	for (size_t i = 0; i < json_array_size(events); i++)
		if (is(json_array_get(events, i), "event", "verification"))
			return json_object_get(json_array_get(events, i), "certificates");
	return NULL;
}

static struct ladder *ladder_make(const json_t *trace)
{
	struct ladder *ladder = calloc(1, sizeof(*ladder));
	struct reading reading = {
	    .ladder = ladder,
	    .events = json_object_get(trace, "events"),
	};

	if (!ladder)
		return NULL;
	reading.verdicts = verdicts_find(reading.events);
	ladder->is_server = is(trace, "role", "server");
	ladder->lost = get_number(trace, "lost-events");
	for (size_t i = 0; i < json_array_size(reading.events); i++)
		take_event(&reading, i);
	take_end(ladder, json_object_get(trace, "end"));
	take_title(ladder, trace, json_object_get(trace, "end"));
	if (is_whole(ladder))
		return ladder;
	ladder_free(ladder);
	return NULL;
}

struct ladder *ladder_new(const char *text, size_t size, char *error, size_t error_size)
{
	json_error_t wrong;
	/* A peer's protocol may have any byte, a NUL too. */
	json_t *trace = json_loadb(text, size, JSON_ALLOW_NUL, &wrong);
	struct ladder *ladder = NULL;

	if (!trace)
		snprintf(error, error_size, "the trace is no JSON: %s", wrong.text);
	else if (get_number(trace, "handshake-trace") != 1)
		snprintf(error, error_size,
			 "the trace has another form than this program knows (handshake-trace: 1)");
	else if (!(ladder = ladder_make(trace)))
		snprintf(error, error_size, "there is no memory to draw the trace");
	json_decref(trace);
	return ladder;
}
