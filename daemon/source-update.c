// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Key updates that programs ask for. Touches the descriptor that came with the request. Never leaves the
 * program in doubt: an update that began is answered, or the program's connection ends.
 */
#include "source.h"

#include <errno.h>
#include <stdlib.h>

#include "foreign.h"
#include "log.h"
#include "source-unix.h"

enum { TIMEOUT_MS = 5000, TIMEOUT_MAX_MS = 60000 }; /* where the request says none; at most */

struct source_update {
	LIST_ENTRY(source_update) entry;
	struct source *source;
	uint64_t id;
	int fd; /* lent to the update */
	struct key_update *update;
};

static void update_free(struct source_update *update)
{
	LIST_REMOVE(update, entry);
	update->source->work_count--;
	foreign_close(update->fd);
	free(update);
}

static void update_count(struct source *source, const struct key_update_result *result)
{
	struct counters *counters = source->worker->setup->counters;

	if (result->received)
		counters_add(counters, COUNTER_KEY_UPDATES_RECEIVED, 1);
	if (result->transmitted)
		counters_add(counters, COUNTER_KEY_UPDATES_SENT, 1);
	if (result->failure.class != FAILURE_NONE)
		counters_add(counters, COUNTER_KEY_UPDATES_FAILED, 1);
}

static void update_done(void *context, const struct key_update_result *result)
{
	struct source_update *update = context;
	struct source *source = update->source;
	struct reply reply;

	update_count(source, result);
	if (result->failure.class != FAILURE_NONE)
		log_debug("key update %llu of user %u, process %d: %s",
			  (unsigned long long)update->id, source->caller.uid, source->caller.pid,
			  result->failure.sentence);
	reply_build_update(&reply, update->id, result);
	update_free(update);
	source_push(source, &reply, true);
	source_settle(source);
}

static bool place_take(struct source *source)
{
	const struct config *config = source->worker->config;

	return counters_take_place(source->worker->setup->counters, PLACE_HANDSHAKE,
				   source->caller.uid, config->handshakes_per_user,
				   config->handshakes_total);
}

/* -1 with a failure. */
static int update_begin(struct source *source, const struct request *request, int *fd,
			struct failure *failure)
{
	const struct key_update_order order = {
	    .receive = request->update_receive,
	    .transmit = request->update_transmit,
	    .ask = request->request_update,
	    .timeout_ms = request->timeout_ms == 0                ? TIMEOUT_MS
			  : request->timeout_ms <= TIMEOUT_MAX_MS ? request->timeout_ms
								  : TIMEOUT_MAX_MS,
	};
	struct source_update *update;

	if (source->work_count >= SOURCE_REQUESTS_MAX || !place_take(source))
		return failure_set(failure, FAILURE_BUSY, true,
				   "Too many requests are under way: try again"),
		       -1;
	update = calloc(1, sizeof(*update));
	if (!update)
		failure_set(failure, FAILURE_BUSY, true,
			    "The daemon has no memory free for a key update");
	else if (!foreign_is_socket(*fd))
		failure_set(failure, FAILURE_REQUEST, false,
			    "The descriptor that came with the request is no socket: send the "
			    "connection's");
	else
		update->update = key_update_start(
		    &source->worker->surroundings, source->worker->setup->counters,
		    source->caller.uid, request->token, *fd, &order, update_done, update, failure);
	if (!update || !update->update) {
		free(update);
		counters_give_place(source->worker->setup->counters, PLACE_HANDSHAKE,
				    source->caller.uid);
		return -1;
	}
	update->source = source;
	update->id = request->id;
	update->fd = *fd;
	*fd = -1;
	LIST_INSERT_HEAD(&source->updates, update, entry);
	source->work_count++;
	return 0;
}

void source_update_key(struct source *source, const struct request *request, int *fd)
{
	struct failure failure = {0};

	if (update_begin(source, request, fd, &failure) == 0)
		return;
	counters_add(source->worker->setup->counters, COUNTER_KEY_UPDATES_FAILED, 1);
	source_refuse(source, request->id, &failure);
}

void source_update_cancel_all(struct source *source)
{
	for (struct source_update *update = LIST_FIRST(&source->updates), *next; update;
	     update = next) {
		next = LIST_NEXT(update, entry);
		key_update_cancel(update->update);
		update_free(update);
		counters_give_place(source->worker->setup->counters, PLACE_HANDSHAKE,
				    source->caller.uid);
	}
}
