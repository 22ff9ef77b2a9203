// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Lines of JSON between the two ends. Touches its descriptor; never waits for the other end without a
 * deadline, nor keeps more than a line of bounded length.
 */
#include "link.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu.h"
#include "ending.h"
#include "tcp.h"

enum { SEND_SECONDS = 30 };
#define LOOK_EVERY 0.2 /* seconds */

void link_init(struct link *link, int fd)
{
	const struct timeval patience = {.tv_sec = SEND_SECONDS};
	char peer[TCP_TEXT_SIZE];

	*link = (struct link){.fd = fd, .line = malloc(LINK_LINE_MAX)};
	if (!link->line)
		die("out of memory");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	tcp_write_peer(fd, peer, sizeof(peer));
	if (*peer) {
		snprintf(link->peer, sizeof(link->peer), " at %s", peer);
		tcp_keep(fd);
	}
}

void link_done(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	free(link->line);
	*link = (struct link){.fd = -1};
}

int link_send(struct link *link, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0, sent = 0;
	int error;

	json_decref(object);
	if (!text)
		die("out of memory");
	text[length++] = '\n';
	while (sent < length) {
		ssize_t n = send(link->fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	error = errno;
	free(text);
	errno = error;
	return sent == length ? 0 : -1;
}

/* Always NULL. */
__attribute__((format(printf, 2, 3))) static json_t *problem_set(struct link *link,
								 const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(link->problem, sizeof(link->problem), format, arguments);
	va_end(arguments);
	return NULL;
}

/* errno's word for a connection that is no more; 0: it was ended. */
static json_t *problem_lost(struct link *link, int error)
{
	if (error == 0 || error == EPIPE || error == ECONNRESET)
		return problem_set(link, "is gone: it has closed the connection");
	/* tcp(7): what a router has said meanwhile stands for the time that is up. */
	if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH)
		return problem_set(link,
				   "is lost: its host has given no sign of itself for %d seconds",
				   TCP_LOST_SECONDS);
	return problem_set(link, "is lost: %s", strerror(error));
}

/* The first line, which ends at newline, taken out. */
static json_t *line_take(struct link *link, const char *newline)
{
	size_t length = (size_t)(newline - link->line);
	json_t *object = json_loadb(link->line, length, 0, NULL);

	if (!object) {
		char said[41];
		size_t shown = 0;

		/* Whatever listens there may say anything at all. */
		for (; shown < sizeof(said) - 1 && shown < length; shown++)
			said[shown] = (char)(link->line[shown] < ' ' || link->line[shown] > '~'
						 ? '.'
						 : link->line[shown]);
		said[shown] = '\0';
		problem_set(link, "does not speak as handshake perf does: it says \"%s\"", said);
	}
	link->used -= length + 1;
	memmove(link->line, newline + 1, link->used);
	return object;
}

json_t *link_receive(struct link *link, double seconds)
{
	double end = clock_seconds() + seconds;

	for (;;) {
		const char *newline = memchr(link->line, '\n', link->used);
		struct pollfd wait = {.fd = link->fd, .events = POLLIN};
		double left = end - clock_seconds();
		ssize_t got;

		if (newline)
			return line_take(link, newline);
		if (link->used == LINK_LINE_MAX)
			return problem_set(
			    link, "does not speak as handshake perf does: its line has no end");
		if (left <= 0)
			return problem_set(link, "has not answered within %.0f seconds", seconds);
		if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		got = recv(link->fd, link->line + link->used, LINK_LINE_MAX - link->used, 0);
		if (got == 0 || (got < 0 && errno != EINTR))
			return problem_lost(link, got ? errno : 0);
		link->used += got > 0 ? (size_t)got : 0;
	}
}

/* Bytes at text that a terminal takes for a command: controls, C1 among them, but for a line's end. */
static size_t command_length(const char *text)
{
	const unsigned char *byte = (const unsigned char *)text;

	if (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] < 0xa0)
		return 2;
	return (byte[0] && byte[0] < ' ' && byte[0] != '\n') || byte[0] == 0x7f;
}

static bool text_clean(char *text)
{
	bool clean = true;

	while (*text) {
		size_t length = command_length(text);

		clean = clean && length == 0;
		memset(text, '?', length);
		text += length ? length : 1;
	}
	return clean;
}

/* What the other end says is shown. */
static void value_clean(json_t *value)
{
	char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
	const char *key;
	json_t *member;
	void *next;

	if (text && !text_clean(text))
		json_string_set(value, text);
	free(text);
	for (size_t i = 0; i < json_array_size(value); i++)
		value_clean(json_array_get(value, i));
	json_object_foreach_safe(value, next, key, member)
	{
		char *name = strdup(key);

		value_clean(member);
		if (!name || !text_clean(name))
			json_object_del(value, key);
		free(name);
	}
}

json_t *link_ask(struct link *link, json_t *question, double seconds)
{
	json_t *answer = NULL;
	const char *error;

	/* A refusal may have come before the question could be sent. */
	if (link_send(link, question) == 0 || errno == EPIPE || errno == ECONNRESET)
		answer = link_receive(link, seconds);
	else
		problem_lost(link, errno == EAGAIN ? ETIMEDOUT : errno);
	if (!answer)
		die("the server's end%s %s", link->peer, link->problem);
	value_clean(answer);
	error = json_string_value(json_object_get(answer, "error"));
	if (error)
		die("the server's end%s: %s", link->peer, error);
	return answer;
}

void link_look(struct link *link)
{
	double now = clock_seconds();
	char byte;
	ssize_t got;

	if (now - link->looked < LOOK_EVERY)
		return;
	link->looked = now;
	got = recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	problem_lost(link, got ? errno : 0);
	die("the server's end%s %s", link->peer, link->problem);
}
