// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Lines of JSON between the two ends. Touches its descriptor; never waits for the other end without a
 * deadline, nor keeps more than a line of bounded length.
 */
#include "link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu.h"
#include "ending.h"

void link_init(struct link *link, int fd)
{
	*link = (struct link){.fd = fd, .line = malloc(LINK_LINE_MAX)};
	if (!link->line)
		die("out of memory");
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
	free(text);
	return sent == length ? 0 : -1;
}

json_t *link_receive(struct link *link, double seconds)
{
	double end = clock_seconds() + seconds;

	for (;;) {
		char *newline = memchr(link->line, '\n', link->used);
		struct pollfd wait = {.fd = link->fd, .events = POLLIN};
		double left = end - clock_seconds();
		ssize_t got;

		if (newline) {
			size_t length = (size_t)(newline - link->line);
			json_t *object = json_loadb(link->line, length, 0, NULL);

			link->used -= length + 1;
			memmove(link->line, newline + 1, link->used);
			return object;
		}
		if (left <= 0 || link->used == LINK_LINE_MAX)
			return NULL;
		if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		got = recv(link->fd, link->line + link->used, LINK_LINE_MAX - link->used, 0);
		if (got == 0 || (got < 0 && errno != EINTR))
			return NULL;
		link->used += got > 0 ? (size_t)got : 0;
	}
}

json_t *link_ask(struct link *link, json_t *question, double seconds)
{
	json_t *answer = link_send(link, question) == 0 ? link_receive(link, seconds) : NULL;
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (!answer)
		die("the server's end is gone, or has not answered within %.0f seconds", seconds);
	if (error)
		die("the server's end: %s", error);
	return answer;
}
