/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One program's connection, as the files that serve it know it. */
#ifndef SOURCE_H
#define SOURCE_H

#include "key-update.h"
#include "outbox.h"
#include "reply.h"
#include "request.h"
#include "worker.h"

enum { SOURCE_BUCKETS = 64 };

/* One handshake under way. */
struct work {
	LIST_ENTRY(work) entry;
	struct source *source;
	uint64_t id;
	int fd;     /* lent to the task */
	bool relay; /* a place at a relay is expected for it */
	struct handshake_task *task;
};

struct source {
	LIST_ENTRY(source) entry;
	struct worker *worker;
	int fd;
	struct caller caller;
	struct event *readable;
	struct outbox *outbox;
	LIST_HEAD(work_list, work) works[SOURCE_BUCKETS]; /* by id */
	LIST_HEAD(source_update_list, source_update) updates;
	unsigned work_count; /* handshakes and key updates */
	bool reading;        /* the event is pending: not while replies wait */
	bool leaving;        /* its requests are left for the next worker */
	bool drained;        /* the end of the program's requests has been seen */
	bool broken;         /* to be ended as soon as nobody holds it */
};

/* ---- source-unix.c ---- */

/* Puts a reply into the program's queue. holds_place: a PLACE_HANDSHAKE is given back when it has left. */
void source_push(struct source *source, const struct reply *reply, bool holds_place);
void source_refuse(struct source *source, uint64_t id, const struct failure *failure);
/* The last thing in each call from the event loop: may free the source. */
void source_settle(struct source *source);

/* ---- source-update.c ---- */

/* Begins a key update, or answers why not. Takes *fd if it begins. */
void source_update_key(struct source *source, const struct request *request, int *fd);
/* Each one under way ends without an answer: the program's connection ends, too. */
void source_update_cancel_all(struct source *source);

#endif
