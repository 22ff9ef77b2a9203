/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs' connections to the daemon's Unix socket and the requests that come on them. */
#ifndef SOURCE_UNIX_H
#define SOURCE_UNIX_H

#include <stdbool.h>

#include "worker.h"

enum {
	SOURCE_REQUESTS_MAX = 1024, /* under way on one connection */
	SOURCE_REPLIES_MAX = 16,    /* waiting to be read; then no more requests are read */
};

/* Takes waiting connections. false: no descriptor is free, try again later. */
bool source_accept(struct worker *worker);
/* Takes the connection of a program that another worker has served. */
void source_adopt(struct worker *worker, int fd);
/* All of the worker's: answer what is under way, then end, or go to another worker if the worker hands
 * over. May be called again. */
void source_finish_all(struct worker *worker);
/* Answer what is under way with "cancelled" and end at once. */
void source_end_all(struct worker *worker);

#endif
