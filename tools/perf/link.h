/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two ends of a measurement say to each other: JSON objects, one a line, in turns. */
#ifndef PERF_LINK_H
#define PERF_LINK_H

#include <jansson.h>
#include <stddef.h>

enum { LINK_LINE_MAX = 1 << 20 };

struct link {
	int fd; /* blocking */
	char *line;
	size_t used;
	char peer[128];    /* " at 192.0.2.1:5443"; "" in this host */
	char problem[256]; /* why nothing came, behind the name of the other end */
	double looked;     /* when, by link_look() */
};

/* fd is taken. */
void link_init(struct link *link, int fd);
void link_done(struct link *link);
/* Takes the reference. 0, or -1 with errno: the other end is gone. */
int link_send(struct link *link, json_t *object);
/* Waits so many seconds at most. A new reference; NULL: nothing that can be followed came, and problem says
 * why. */
json_t *link_receive(struct link *link, double seconds);
/* Both. An answer with "error" ends this process with that sentence, as does none. */
json_t *link_ask(struct link *link, json_t *question, double seconds);
/* Between questions, as often as one likes: ends this process with a sentence if the other end is gone, or has not
 * been heard of for TCP_LOST_SECONDS. */
void link_look(struct link *link);

#endif
