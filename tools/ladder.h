/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A handshake's trace as a ladder: two lifelines, the messages between them in the order of the wire, and
 * what is to be known of each. Made once from the JSON, drawn as text or as SVG. */
#ifndef LADDER_H
#define LADDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum ladder_tone {
	LADDER_PLAIN,
	LADDER_QUIET,
	LADDER_GOOD,
	LADDER_BAD,
	LADDER_KEYS, /* the moment that the keys went where records move from then on */
};

enum ladder_kind {
	LADDER_ARROW,
	LADDER_MARK, /* on the lifeline of this machine */
};

struct ladder_note {
	char *key; /* "" continues the one before */
	char *value;
	enum ladder_tone tone;
};

struct ladder_row {
	enum ladder_kind kind;
	enum ladder_tone tone;
	bool to_server; /* of an arrow */
	bool encrypted;
	uint64_t us; /* since the beginning */
	char *label; /* "ClientHello" */
	char *size;  /* "344 bytes", or "" */
	struct ladder_note *notes;
	size_t note_count;
};

struct ladder {
	bool is_server; /* this machine's side */
	char *title;    /* version, suite, group; or that it failed */
	char *subtitle; /* profile, user, time */
	char *client;   /* the address of each side, "" if it is not known */
	char *server;
	struct ladder_row *rows;
	size_t row_count;
	uint64_t lost; /* events that the trace had no room for */
	struct ladder_row end;
};

/* Reads the trace. NULL with a sentence in error: it is none, or there is no memory. All text is harmless
 * for a terminal, and UTF-8. */
struct ladder *ladder_new(const char *text, size_t size, char *error, size_t error_size);
void ladder_free(struct ladder *ladder);

struct ladder_style {
	unsigned width; /* columns */
	bool utf8;
	bool colour;
};

/* As the stream can show it: its width, the locale's characters, colour on a terminal alone. Call
 * setlocale() before. */
struct ladder_style ladder_style_of(FILE *stream);
/* 0 or -1: the stream failed, or no memory. */
int ladder_draw_text(const struct ladder *ladder, const struct ladder_style *style, FILE *stream);
/* A whole SVG document, readable on light and on dark ground. 0 or -1. */
int ladder_draw_svg(const struct ladder *ladder, FILE *stream);

/* The notes of a message, from its event. */
void ladder_describe(struct ladder_row *row, const json_t *event, const json_t *hello,
		     const json_t *verdicts);
/* Adds a note; makes key and value harmless. NULL or "" as value adds nothing. */
void ladder_note(struct ladder_row *row, enum ladder_tone tone, const char *key, const char *format,
		 ...) __attribute__((format(printf, 4, 5)));
/* "0.308": milliseconds. */
void ladder_time(uint64_t us, char *ret_text, size_t size);

#endif
