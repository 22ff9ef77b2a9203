/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Showing what came from elsewhere: text that a peer chose is made harmless for a terminal and valid
 * for JSON, never trusted to be either. */
#ifndef DISPLAY_H
#define DISPLAY_H

#include <jansson.h>
#include <stdio.h>

#include "handshake.h"

/* Prints the text with what is no printable UTF-8 written \xXX, as are backslashes. */
void display_text(FILE *stream, const char *text);
/* A JSON string; what is not UTF-8 becomes U+FFFD. A new reference, NULL: no memory. */
json_t *display_json_string(const char *text);
/* As display_json_string, but digits alone, as the protocol writes numbers, become an integer. */
json_t *display_json_value(const char *text);

/* All that the handshake's reply knows, one "tag: value" a line. */
void display_result(FILE *stream, const struct handshake *handshake);
/* The same as one JSON object on one line; repeated keys become an array, and the peer's chain comes
 * as "chain", the trace as the object "trace". 0 or -1: no memory, or the stream failed. */
int display_result_json(FILE *stream, const struct handshake *handshake);
/* Prints the object on one line and lets the reference go. 0 or -1. */
int display_json(FILE *stream, json_t *object);

#endif
