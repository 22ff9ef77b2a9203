// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The common log format, with TLS version, suite and record path behind it. Touches the log's stream.
 * Never lets what a peer sent end a line or a field.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "handshake-protocol.h"
#include "serve.h"

int serve_log_open(struct serve *serve)
{
	const char *path = serve->settings->log;

	if (!path)
		return 0;
	serve->log = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
	if (!serve->log) {
		fprintf(stderr, "%s: cannot open the log \"%s\": %s\n", SERVE_TOOL, path,
			strerror(errno));
		return -1;
	}
	setvbuf(serve->log, NULL, _IOLBF, 0); /* a line is written when it is whole */
	return 0;
}

/* What would end the field or the line, and what is no ASCII, is written \xXX. */
static void field_write(FILE *log, const char *text, const char *special)
{
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 0x20 || byte > 0x7e || byte == '\\' || strchr(special, byte))
			fprintf(log, "\\x%02X", byte);
		else
			fputc(byte, log);
	}
}

static const char *known(const struct serve_connection *connection, const char *key)
{
	const char *value = handshake_result(connection->handshake, key, 0);

	return value && *value ? value : "-";
}

/* ADDRESS:PORT without the port, [ADDRESS6]:PORT without brackets and port. */
static void host_write(FILE *log, const char *peer)
{
	const char *colon = strrchr(peer, ':');
	size_t length = colon ? (size_t)(colon - peer) : strlen(peer);

	if (length >= 2 && peer[0] == '[' && peer[length - 1] == ']') {
		peer++;
		length -= 2;
	}
	fwrite(peer, 1, length, log);
}

void serve_log_request(const struct serve *serve, const struct serve_connection *connection,
		       bool complete)
{
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm parts;
	char zone[8];

	if (!serve->log)
		return;
	localtime_r(&now, &parts);
	strftime(zone, sizeof(zone), "%z", &parts);
	host_write(serve->log, known(connection, HANDSHAKE_KEY_PEER));
	fputs(" - ", serve->log);
	field_write(serve->log, known(connection, HANDSHAKE_KEY_PEER_IDENTITY), " ");
	/* Not strftime's month: the words are English in every locale. */
	fprintf(serve->log, " [%02d/%s/%d:%02d:%02d:%02d %s] \"", parts.tm_mday,
		months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
		parts.tm_sec, zone);
	field_write(serve->log, connection->method[0] ? connection->method : "-", "\" ");
	fputc(' ', serve->log);
	field_write(serve->log, connection->target ? connection->target : "-", "\" ");
	fputc(' ', serve->log);
	field_write(serve->log, connection->version[0] ? connection->version : "-", "\" ");
	/* How much of an incomplete response left is not known: "-", as for none. */
	if (complete && connection->length)
		fprintf(serve->log, "\" %u %llu", connection->status,
			(unsigned long long)connection->length);
	else
		fprintf(serve->log, "\" %u -", connection->status);
	fprintf(serve->log, " %s %s %s\n", known(connection, HANDSHAKE_KEY_VERSION),
		known(connection, HANDSHAKE_KEY_SUITE), known(connection, HANDSHAKE_KEY_TRANSMIT));
}
