// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Programs' connections and their requests. Touches the daemon's Unix socket, those connections and
 * the descriptors that come on them. Never believes what a program says about itself, never waits for
 * it, and never ends a handshake without saying what state its socket is in.
 */
#include "source-unix.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "foreign.h"
#include "hand-over.h"
#include "log.h"
#include "outbox.h"
#include "places.h"
#include "policy.h"
#include "reply.h"
#include "request.h"
#include "socket.h"
#include "source.h"
#include "status.h"
#include "turn-away.h"

enum {
	ACCEPT_BATCH = 16, /* at once, so that one crowd does not starve the handshakes */
	PACKET_BATCH = 16,
	REPLY_PATIENCE = 60000, /* ms for a program to read something of what it is told */
};

static struct log_rate refusals;

/* ---- The end of a connection --------------------------------------------------------------- */

static void work_free(struct work *work, enum outcome_state state)
{
	struct source *source = work->source;

	LIST_REMOVE(work, entry);
	source->work_count--;
	counters_add(source->worker->setup->counters, COUNTER_HANDSHAKES_UNDER_WAY, -1);
	places_give_relay(source->worker, source->caller.uid, work->relay, state);
	foreign_close_socket(work->fd); /* as handshake_check() found */
	free(work);
}

/* Ends one handshake in its midst. Its place is still held. */
static void work_cancel(struct work *work, struct outcome *ret_outcome)
{
	struct worker *worker = work->source->worker;
	enum outcome_state state = handshake_task_cancel(work->task);

	outcome_init(ret_outcome);
	/* No reply told the program that it is established, so it is not. */
	ret_outcome->state = state == OUTCOME_ESTABLISHED ? OUTCOME_POISONED : state;
	outcome_fail(
	    ret_outcome, FAILURE_CANCELLED, true,
	    worker->finishing
		? "The daemon stops or was reloaded, and the handshake took too long to wait for it"
		: "The program gave the handshake up");
	counters_outcome(worker->setup->counters, ret_outcome);
	work_free(work, state);
}

static void source_give_place(void *context)
{
	struct source *source = context;

	counters_give_place(source->worker->setup->counters, PLACE_HANDSHAKE, source->caller.uid);
}

static void source_free(struct source *source)
{
	struct worker *worker = source->worker;
	struct outcome outcome;

	for (size_t i = 0; i < SOURCE_BUCKETS; i++)
		while (!LIST_EMPTY(&source->works[i])) {
			work_cancel(LIST_FIRST(&source->works[i]), &outcome);
			source_give_place(source);
		}
	source_update_cancel_all(source);
	outbox_free(source->outbox);
	if (source->readable)
		event_free(source->readable);
	/* Packets that were not read may hold anybody's descriptors. */
	foreign_close(source->fd);
	counters_give_place(worker->setup->counters, PLACE_CLIENT, source->caller.uid);
	counters_add(worker->setup->counters, COUNTER_CLIENTS, -1);
	LIST_REMOVE(source, entry);
	free(source);
	worker_check_finished(worker);
}

/* The program does not notice: its queue of requests goes with its connection. */
static bool source_hand_on(struct source *source)
{
	const struct control control = {.kind = CONTROL_PROGRAM};
	int r = control_send(source->worker->setup->control_fd, &control, &source->fd);

	if (r < 0)
		worker_pause(source->worker);
	return r == 0;
}

/* The last thing in each call from the event loop: ends what has come to its end. */
void source_settle(struct source *source)
{
	bool idle = source->work_count == 0 && outbox_waiting(source->outbox) == 0;

	if (source->broken || (source->drained && idle) ||
	    (source->leaving && idle && source_hand_on(source))) {
		source_free(source);
		return;
	}
	/* A program that does not read its replies is not served further. */
	if (source->reading && outbox_waiting(source->outbox) >= SOURCE_REPLIES_MAX) {
		event_del(source->readable);
		source->reading = false;
	} else if (!source->reading && !source->drained && !source->leaving &&
		   outbox_waiting(source->outbox) < SOURCE_REPLIES_MAX) {
		source->reading = event_add(source->readable, NULL) == 0;
		source->broken = !source->reading;
	}
}

/* ---- Answers ------------------------------------------------------------------------------- */

void source_push(struct source *source, const struct reply *reply, bool holds_place)
{
	int r =
	    outbox_push(source->outbox, &reply->writer, reply->fds, reply->fd_count, holds_place);

	if (r < 0) {
		if (r != -EPIPE && r != -ECONNRESET)
			log_warning("a reply to user %u, process %d cannot be sent: %s",
				    source->caller.uid, source->caller.pid, strerror(-r));
		source->broken = true;
	}
}

void source_refuse(struct source *source, uint64_t id, const struct failure *failure)
{
	struct reply reply;

	if (failure->class == FAILURE_DENIED && log_allowed(&refusals))
		log_info("refused user %u, process %d: %s", source->caller.uid, source->caller.pid,
			 failure->sentence);
	reply_build_refusal(&reply, id, failure);
	source_push(source, &reply, false);
}

static void source_moved(void *context, int error)
{
	struct source *source = context;

	if (error < 0)
		source->broken = true;
	source_settle(source);
}

/* ---- Handshakes ---------------------------------------------------------------------------- */

static struct work *source_find(struct source *source, uint64_t id)
{
	struct work *work;

	LIST_FOREACH(work, &source->works[id % SOURCE_BUCKETS], entry)
	if (work->id == id)
		return work;
	return NULL;
}

static void work_done(void *context, struct outcome *outcome)
{
	struct work *work = context;
	struct source *source = work->source;
	struct reply reply;

	counters_outcome(source->worker->setup->counters, outcome);
	if (outcome->state != OUTCOME_ESTABLISHED)
		log_debug("handshake %llu of user %u, process %d: %s, %s",
			  (unsigned long long)work->id, source->caller.uid, source->caller.pid,
			  failure_class_word(outcome->failure.class), outcome->failure.sentence);
	reply_build(&reply, work->id, outcome);
	work_free(work, outcome->state);
	source_push(source, &reply, true);
	source_settle(source);
}

static int work_start(struct source *source, uint64_t id, const struct decision *decision,
		      bool relay, int *fd, struct early_data_offer *offer, struct failure *failure)
{
	struct work *work = calloc(1, sizeof(*work));

	if (work) {
		work->source = source;
		work->id = id;
		work->task = handshake_task_start(&source->worker->surroundings, decision,
						  source->caller.uid, *fd, work_done, work);
	}
	if (!work || !work->task) {
		free(work);
		return failure_set(failure, FAILURE_BUSY, true,
				   "The daemon has no memory free for another handshake"),
		       -1;
	}
	handshake_task_offer(work->task, offer);
	work->relay = relay;
	work->fd = *fd;
	*fd = -1;
	LIST_INSERT_HEAD(&source->works[id % SOURCE_BUCKETS], work, entry);
	source->work_count++;
	counters_add(source->worker->setup->counters, COUNTER_HANDSHAKES_UNDER_WAY, 1);
	return 0;
}

static int handshake_check(struct source *source, const struct request *request, int fd,
			   struct failure *failure)
{
	if (source_find(source, request->id))
		return failure_set(failure, FAILURE_REQUEST, false,
				   "The id %llu belongs to a handshake that is still under way",
				   (unsigned long long)request->id),
		       -1;
	if (source->work_count >= SOURCE_REQUESTS_MAX)
		return failure_set(failure, FAILURE_BUSY, true,
				   "There are %d handshakes under way on this connection: wait for "
				   "one of them",
				   SOURCE_REQUESTS_MAX),
		       -1;
	if (!foreign_is_socket(fd))
		return failure_set(
			   failure, FAILURE_REQUEST, false,
			   "The descriptor that came with the request is no socket: hand over a "
			   "connected TCP socket"),
		       -1;
	return 0;
}

/* Takes *fd if it begins, and reads early_data_fd if there is one. 0 or -1. */
static int handshake_begin(struct source *source, const struct request *request, int *fd,
			   int early_data_fd, struct failure *failure)
{
	struct early_data_offer offer = {.bytes = NULL};
	struct decision decision;
	bool relay;

	if (handshake_check(source, request, *fd, failure) < 0 ||
	    policy_decide(source->worker->setup->loaded, &source->caller, request, &decision,
			  failure) < 0 ||
	    socket_check_connected(*fd, failure) < 0 ||
	    (request->early_data && early_data_offer_read(early_data_fd, &offer, failure) < 0))
		return -1;
	if (places_take(source->worker, source->caller.uid, &decision, &relay, failure) < 0) {
		early_data_offer_done(&offer);
		return -1;
	}
	if (work_start(source, request->id, &decision, relay, fd, &offer, failure) == 0)
		return 0;
	early_data_offer_done(&offer);
	places_give_relay(source->worker, source->caller.uid, relay, OUTCOME_UNTOUCHED);
	source_give_place(source);
	return -1;
}

static void source_handshake(struct source *source, const struct request *request, int *fd,
			     int early_data_fd)
{
	struct counters *counters = source->worker->setup->counters;
	struct outcome refused;

	counters_add(counters, COUNTER_HANDSHAKES_STARTED, 1);
	outcome_init(&refused);
	if (handshake_begin(source, request, fd, early_data_fd, &refused.failure) == 0)
		return;
	counters_outcome(counters, &refused);
	source_refuse(source, request->id, &refused.failure);
}

static void source_cancel(struct source *source, uint64_t id)
{
	struct work *work = source_find(source, id);
	struct outcome outcome;

	if (!work)
		return; /* it has ended meanwhile */
	work_cancel(work, &outcome);
	source_give_place(source);
}

/* ---- Listening and tracing ----------------------------------------------------------------- */

/* The connection belongs to all workers from now on. */
static void source_hand_over(struct source *source, const struct request *request, int fd)
{
	struct failure failure = {0};
	bool listens = request->operation == REQUEST_LISTEN;
	int r = -1;

	if (source->work_count || outbox_waiting(source->outbox))
		failure_set(
		    &failure, FAILURE_REQUEST, false,
		    "A connection that is to %s can have no handshakes under way: open one for "
		    "that alone",
		    listens ? "listen" : "trace");
	else if (source->drained)
		failure_set(&failure, FAILURE_BUSY, true, "The daemon stops: try again");
	else
		r = listens ? hand_over_listening(source->worker, &source->caller, request, fd,
						  source->fd, &failure)
			    : hand_over_tracing(source->worker, &source->caller, request,
						source->fd, &failure);
	if (r == 0)
		source->broken = true; /* here; the supervisor has its own duplicate and answers */
	else
		source_refuse(source, request->id, &failure);
}

/* ---- Packets ------------------------------------------------------------------------------- */

/* Reads the request. -1 with a failure; the id is set if it could be read. */
static int source_read(struct message *message, struct request *ret_request,
		       struct failure *failure)
{
	struct failure unreadable = {0};
	char wrong[256];

	memset(ret_request, 0, sizeof(*ret_request));
	if (message_parse(message, wrong, sizeof(wrong)) < 0) {
		request_read(message, ret_request, &unreadable); /* for the id alone */
		return failure_set(failure, FAILURE_REQUEST, false, "%s", wrong), -1;
	}
	return request_read(message, ret_request, failure);
}

/* Who hands over what is no socket, while such files already hold up their closing, is disconnected and
 * stays so for as long as that lasts: each such file may cost a descriptor. */
static void source_blame(struct source *source)
{
	if (log_allowed(&refusals))
		log_warning(
		    "user %u, process %d hands over files that cannot be closed: disconnected",
		    source->caller.uid, source->caller.pid);
	source->broken = true;
	foreign_blame(source->caller.uid);
}

static void source_close_fds(struct source *source, struct message *message)
{
	for (size_t i = 0; i < message->fd_count; i++) {
		int fd = message_take_fd(message, i);

		if (fd >= 0 && foreign_is_stuck() && !foreign_is_socket(fd))
			source_blame(source);
		foreign_close(fd);
	}
}

static void source_packet(struct source *source, struct message *message)
{
	struct request request;
	struct failure failure = {0};
	struct reply reply;

	if (source_read(message, &request, &failure) < 0) {
		source_refuse(source, request.id, &failure);
	} else if (request.operation == REQUEST_HANDSHAKE) {
		source_handshake(source, &request, &message->fds[0], message->fds[1]);
	} else if (request.operation == REQUEST_UPDATE_KEY) {
		source_update_key(source, &request, &message->fds[0]);
	} else if (request.operation == REQUEST_LISTEN || request.operation == REQUEST_TRACE) {
		source_hand_over(source, &request,
				 request.operation == REQUEST_LISTEN ? message->fds[0] : -1);
	} else if (request.operation == REQUEST_CANCEL) {
		source_cancel(source, request.id);
	} else {
		status_build(source->worker->setup, request.id, &reply);
		source_push(source, &reply, false);
	}
	source_close_fds(source, message);
}

/* An empty packet reads like the end. */
static bool source_at_end(const struct source *source)
{
	struct pollfd polled = {.fd = source->fd, .events = POLLRDHUP};

	return poll(&polled, 1, 0) == 1;
}

static void source_ended(struct source *source)
{
	/* A worker that finishes has shut this direction itself: the answers still go out. */
	source->drained = true;
	source->broken |= !source->worker->finishing;
	if (source->reading)
		event_del(source->readable);
	source->reading = false;
}

static void source_readable(evutil_socket_t fd, short events, void *context)
{
	struct source *source = context;
	struct message message;

	(void)fd, (void)events;
	for (int i = 0; i < PACKET_BATCH && !source->broken && !source->drained; i++) {
		int r;

		if (outbox_waiting(source->outbox) >= SOURCE_REPLIES_MAX)
			break;
		r = FOREIGN_GUARDED(message_receive(source->fd, &message));
		if (r == -EAGAIN)
			break;
		if (r > 0 || (r == 0 && !source_at_end(source)))
			source_packet(source, &message);
		else
			source_ended(source);
	}
	source_settle(source);
}

/* ---- Connections --------------------------------------------------------------------------- */

/* Takes fd. -1: there is no memory. */
static int source_new(struct worker *worker, int fd, const struct caller *caller)
{
	struct source *source = calloc(1, sizeof(*source));
	/* The kernel doubles it: room for some replies, and for the largest packet. Descriptors that
	 * nobody takes out of a queue count against all processes of this user (ETOOMANYREFS). */
	const int queue = HANDSHAKE_PACKET_SIZE;

	if (!source)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue));
	source->worker = worker;
	source->fd = fd;
	source->caller = *caller;
	source->outbox = outbox_new(worker->base, fd, false, REPLY_PATIENCE, source_give_place,
				    source_moved, source);
	source->readable =
	    event_new(worker->base, fd, EV_READ | EV_PERSIST, source_readable, source);
	if (!source->outbox || !source->readable || event_add(source->readable, NULL) < 0) {
		outbox_free(source->outbox);
		if (source->readable)
			event_free(source->readable);
		free(source);
		return -1;
	}
	source->reading = true;
	LIST_INSERT_HEAD(&worker->sources, source, entry);
	counters_add(worker->setup->counters, COUNTER_CLIENTS, 1);
	return 0;
}

void source_adopt(struct worker *worker, int fd)
{
	const struct config *config = worker->config;
	struct counters *counters = worker->setup->counters;
	struct caller caller;
	int r = caller_identify(fd, &caller);

	if (r < 0) {
		log_warning("a program that connected cannot be identified: %s", strerror(-r));
		foreign_close(fd);
	} else if (foreign_is_blamed(caller.uid)) {
		foreign_close(fd);
	} else if (!counters_take_place(counters, PLACE_CLIENT, caller.uid,
					worker_clients_per_user(config), config->clients_total)) {
		turn_away(fd, &caller, config);
	} else if (source_new(worker, fd, &caller) < 0) {
		counters_give_place(counters, PLACE_CLIENT, caller.uid);
		turn_away(fd, &caller, config);
	}
}

bool source_accept(struct worker *worker)
{
	static struct log_rate rate;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(worker->setup->listening_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			source_adopt(worker, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			if (log_allowed(&rate))
				log_warning("a program has to wait: %m");
			return false;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			break;
		}
	}
	return true;
}

/* ---- The worker's end ---------------------------------------------------------------------- */

/* Where no other worker follows, a connection is shut for reading: it still gives the packets that were
 * queued; the program's next one fails with EPIPE, so that it knows that this request never came. */
static void source_finish(struct source *source)
{
	if (source->drained)
		return;
	source->leaving = source->worker->handing_over;
	if (!source->leaving)
		shutdown(source->fd, SHUT_RD);
	else if (source->reading)
		event_del(source->readable);
	source->reading = source->reading && !source->leaving;
	source_settle(source);
}

/* The program learns what state each socket is in, as far as its queue has room. */
static void source_end(struct source *source)
{
	struct outcome outcome;
	struct reply reply;

	for (size_t i = 0; i < SOURCE_BUCKETS; i++)
		while (!LIST_EMPTY(&source->works[i])) {
			uint64_t id = LIST_FIRST(&source->works[i])->id;

			work_cancel(LIST_FIRST(&source->works[i]), &outcome);
			reply_build(&reply, id, &outcome);
			source_push(source, &reply, true);
		}
	if (source->leaving && !source->broken && outbox_waiting(source->outbox) == 0)
		source_hand_on(source);
	source_free(source);
}

void source_finish_all(struct worker *worker)
{
	for (struct source *source = LIST_FIRST(&worker->sources), *next; source; source = next) {
		next = LIST_NEXT(source, entry);
		source_finish(source);
	}
}

void source_end_all(struct worker *worker)
{
	while (!LIST_EMPTY(&worker->sources))
		source_end(LIST_FIRST(&worker->sources));
}
