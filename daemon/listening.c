// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A listening in a worker. Touches the program's listening socket (only to accept), the connections
 * that come on it, and the program's connection, which other workers share. Never changes the flags of
 * the listening socket, and never lets its program's slowness stop the worker.
 */
#include "listening.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "foreign.h"
#include "log.h"
#include "outbox.h"
#include "places.h"
#include "policy.h"
#include "reply.h"
#include "socket.h"

enum {
	ACCEPT_BATCH = 4, /* at once: the rest is for the other workers */
	PAUSE_US = 20000, /* until places or descriptors are looked for again */
};

/* One connection that was accepted, in its handshake. */
struct arrival {
	LIST_ENTRY(arrival) entry;
	struct listening *listening;
	int fd;
	struct sockaddr_storage peer;
	bool relay; /* a place at a relay is expected for it */
	struct handshake_task *task;
};

struct listening {
	LIST_ENTRY(listening) entry;
	struct worker *worker;
	struct caller caller;
	struct decision decision;
	uint64_t id; /* the program's, in each packet to it */
	int fd;
	int connection;
	struct event *acceptable;
	struct event *watch; /* of the connection; edge-triggered, as other workers read it too */
	struct event *pause;
	struct outbox *outbox;
	LIST_HEAD(arrival_list, arrival) arrivals;
	bool accepting; /* the event is pending, or the pause that ends with it */
	bool finishing;
	bool broken; /* to be ended as soon as nobody holds it */
};

static struct log_rate failures;

/* ---- The end ------------------------------------------------------------------------------- */

static void listening_give_place(void *context)
{
	struct listening *listening = context;

	counters_give_place(listening->worker->setup->counters, PLACE_HANDSHAKE,
			    listening->caller.uid);
}

static void arrival_free(struct arrival *arrival, enum outcome_state state)
{
	LIST_REMOVE(arrival, entry);
	counters_add(arrival->listening->worker->setup->counters, COUNTER_HANDSHAKES_UNDER_WAY, -1);
	places_give_relay(arrival->listening->worker, arrival->listening->caller.uid,
			  arrival->relay, state);
	/* Nobody but a relay has had it, which leaves nothing to wait for: it is no stranger's. */
	socket_close(arrival->fd);
	free(arrival);
}

static void arrival_cancel(struct arrival *arrival)
{
	struct listening *listening = arrival->listening;
	enum outcome_state state = handshake_task_cancel(arrival->task);
	struct outcome outcome;

	outcome_init(&outcome);
	outcome.state = state == OUTCOME_ESTABLISHED ? OUTCOME_POISONED : state;
	outcome_fail(&outcome, FAILURE_CANCELLED, true, "The listening ended");
	counters_outcome(listening->worker->setup->counters, &outcome);
	arrival_free(arrival, state);
	listening_give_place(listening);
}

static void listening_free(struct listening *listening)
{
	struct worker *worker = listening->worker;
	struct event *const events[] = {listening->acceptable, listening->watch, listening->pause};

	for (struct arrival *arrival = LIST_FIRST(&listening->arrivals), *next; arrival;
	     arrival = next) {
		next = LIST_NEXT(arrival, entry);
		arrival_cancel(arrival);
	}
	outbox_free(listening->outbox);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	foreign_close(listening->fd);
	foreign_close(listening->connection);
	LIST_REMOVE(listening, entry);
	free(listening);
	worker_check_finished(worker);
}

/* A while without accepting. 0, or -ENOMEM, and nothing has changed. */
static int listening_accept_later(struct listening *listening)
{
	const struct timeval pause = {.tv_usec = PAUSE_US};

	event_base_update_cache_time(listening->worker->base);
	if (event_add(listening->pause, &pause) < 0)
		return -ENOMEM;
	event_del(listening->acceptable);
	return 0;
}

/* Ends it for the program and all workers: each sees the connection's end. */
static void listening_end_everywhere(struct listening *listening)
{
	shutdown(listening->connection, SHUT_RDWR);
	listening->broken = true;
}

/* Where the kernel watches no more descriptors, it is tried again. */
static void listening_watch(struct listening *listening)
{
	if (event_add(listening->acceptable, NULL) == 0 || listening_accept_later(listening) == 0)
		return;
	log_error("the listening of user %u, process %d ends: out of memory", listening->caller.uid,
		  listening->caller.pid);
	listening_end_everywhere(listening);
}

/* The last thing in each call from the event loop. */
static void listening_settle(struct listening *listening)
{
	size_t waiting = outbox_waiting(listening->outbox);
	bool accept = !listening->finishing && waiting < LISTENING_WAITING_MAX;

	if (listening->broken ||
	    (listening->finishing && waiting == 0 && LIST_EMPTY(&listening->arrivals))) {
		listening_free(listening);
		return;
	}
	if (accept && !listening->accepting) {
		listening_watch(listening);
	} else if (!accept && listening->accepting) {
		event_del(listening->acceptable);
		event_del(listening->pause);
	}
	listening->accepting = accept;
}

/* ---- Delivering ---------------------------------------------------------------------------- */

static void listening_push(struct listening *listening, const struct reply *reply, bool holds_place)
{
	int r = outbox_push(listening->outbox, &reply->writer, reply->fds, reply->fd_count,
			    holds_place);

	if (r == -EPIPE || r == -ECONNRESET)
		listening->broken = true;
	else if (r < 0)
		log_warning("a connection cannot be delivered to user %u, process %d: %s",
			    listening->caller.uid, listening->caller.pid, strerror(-r));
}

static void listening_moved(void *context, int error)
{
	struct listening *listening = context;

	if (error < 0)
		listening->broken = true;
	listening_settle(listening);
}

static void arrival_done(void *context, struct outcome *outcome)
{
	struct arrival *arrival = context;
	struct listening *listening = arrival->listening;
	struct reply reply;
	bool established = outcome->state == OUTCOME_ESTABLISHED;

	counters_outcome(listening->worker->setup->counters, outcome);
	if (established) {
		reply_build_connection(&reply, listening->id, outcome, &arrival->fd,
				       &arrival->peer);
	} else if (log_allowed(&failures)) {
		log_debug("handshake on the listening of user %u, process %d: %s, %s",
			  listening->caller.uid, listening->caller.pid,
			  failure_class_word(outcome->failure.class), outcome->failure.sentence);
	}
	arrival_free(arrival, outcome->state);
	if (established)
		listening_push(listening, &reply, true);
	else
		listening_give_place(listening);
	listening_settle(listening);
}

/* ---- Accepting ----------------------------------------------------------------------------- */

/* Takes fd. false: no memory. */
static bool arrival_start(struct listening *listening, int fd, const struct sockaddr_storage *peer,
			  bool relay)
{
	struct worker *worker = listening->worker;
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	if (arrival)
		arrival->task =
		    handshake_task_start(&worker->surroundings, &listening->decision,
					 listening->caller.uid, fd, arrival_done, arrival);
	if (!arrival || !arrival->task) {
		socket_close(fd);
		free(arrival);
		return false;
	}
	arrival->listening = listening;
	arrival->fd = fd;
	arrival->peer = *peer;
	arrival->relay = relay;
	LIST_INSERT_HEAD(&listening->arrivals, arrival, entry);
	counters_add(worker->setup->counters, COUNTER_HANDSHAKES_UNDER_WAY, 1);
	counters_add(worker->setup->counters, COUNTER_HANDSHAKES_STARTED, 1);
	counters_add(worker->setup->counters, COUNTER_CONNECTIONS_ACCEPTED, 1);
	return true;
}

/* The place comes before the accept: what cannot be served stays in the kernel's queue, where another
 * worker or a later moment finds it. 1, 0: nothing waits or one was lost, -errno. */
static int listening_accept(struct listening *listening)
{
	struct failure failure = {0}; /* nobody to tell: it waits */
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	bool relay;
	int fd;

	if (places_take(listening->worker, listening->caller.uid, &listening->decision, &relay,
			&failure) < 0)
		return -EBUSY;
	memset(&peer, 0, sizeof(peer));
	fd = foreign_accept(listening->fd, (struct sockaddr *)&peer, &size);
	if (fd >= 0 && arrival_start(listening, fd, &peer, relay))
		return 1;
	places_give_relay(listening->worker, listening->caller.uid, relay, OUTCOME_UNTOUCHED);
	listening_give_place(listening);
	return fd >= 0 ? -ENOMEM : fd;
}

static bool accept_error_passes(int error)
{
	return error == -EBUSY || error == -ENOMEM || error == -EMFILE || error == -ENFILE ||
	       error == -ENOBUFS || error == -EPERM;
}

/* accept(2): errors of the new connection itself; the next may be fine. */
static bool accept_error_is_of_peer(int error)
{
	return error == -ECONNABORTED || error == -ENETDOWN || error == -EPROTO ||
	       error == -ENOPROTOOPT || error == -EHOSTDOWN || error == -ENONET ||
	       error == -EHOSTUNREACH || error == -ENETUNREACH || error == -EOPNOTSUPP;
}

static void listening_acceptable(evutil_socket_t fd, short events, void *context)
{
	struct listening *listening = context;

	(void)fd, (void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int r = listening_accept(listening);

		if (r > 0 || accept_error_is_of_peer(r))
			continue;
		if (accept_error_passes(r)) {
			listening_accept_later(listening); /* without memory for that, at once */
		} else if (r != -EAGAIN) {
			log_info("the listening of user %u, process %d ends: cannot accept: %s",
				 listening->caller.uid, listening->caller.pid, strerror(-r));
			listening_end_everywhere(listening);
		}
		break;
	}
	listening_settle(listening);
}

static void listening_accept_again(evutil_socket_t fd, short events, void *context)
{
	struct listening *listening = context;

	(void)fd, (void)events;
	listening_watch(listening);
}

/* ---- The program's connection -------------------------------------------------------------- */

/* Whatever else the program says here, it gets an answer from the worker that read it. */
static void listening_packet(struct listening *listening, struct message *message)
{
	struct failure failure = {0};
	struct request request = {0};
	struct reply reply;
	char wrong[256];
	int r = message_parse(message, wrong, sizeof(wrong));

	if (request_read(message, &request, &failure) == 0 && r == 0 &&
	    request.operation == REQUEST_CANCEL) {
		if (request.id == listening->id)
			listening_end_everywhere(listening);
	} else {
		memset(&failure, 0, sizeof(failure));
		failure_set(
		    &failure, FAILURE_REQUEST, false,
		    "This connection serves a listening: open another one for other requests");
		reply_build_refusal(&reply, request.id, &failure);
		listening_push(listening, &reply, false);
	}
	for (size_t i = 0; i < message->fd_count; i++)
		foreign_close(message_take_fd(message, i));
}

/* Edge-triggered: all that is there is read, up to EAGAIN. A program that fills the queue as fast as
 * this reads, or does not read the refusals, is ended. */
static void listening_watched(evutil_socket_t fd, short events, void *context)
{
	enum { PATIENCE = 256 };
	struct listening *listening = context;
	struct message message;
	int count = 0, r = 0;

	(void)events;
	while (!listening->broken && (r = FOREIGN_GUARDED(message_receive(fd, &message))) > 0) {
		listening_packet(listening, &message);
		if (++count > PATIENCE || foreign_is_stuck() ||
		    outbox_waiting(listening->outbox) > 2UL * LISTENING_WAITING_MAX)
			listening_end_everywhere(listening);
	}
	/* An empty packet reads like the end: then it is one, for all workers. */
	if (!listening->broken && r != -EAGAIN)
		listening_end_everywhere(listening);
	listening_settle(listening);
}

/* ---- The beginning ------------------------------------------------------------------------- */

static int listening_make_events(struct listening *listening)
{
	struct event_base *base = listening->worker->base;

	listening->outbox = outbox_new(base, listening->connection, true, 0, listening_give_place,
				       listening_moved, listening);
	listening->acceptable =
	    event_new(base, listening->fd, EV_READ | EV_PERSIST, listening_acceptable, listening);
	/* EV_CLOSED alone misses errors of the socket; EV_READ alone is not edge-triggered on the end
	 * in every version of libevent's back ends. */
	listening->watch =
	    event_new(base, listening->connection, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
		      listening_watched, listening);
	listening->pause = evtimer_new(base, listening_accept_again, listening);
	if (!listening->outbox || !listening->acceptable || !listening->watch || !listening->pause)
		return -1;
	if (event_add(listening->watch, NULL) < 0 || event_add(listening->acceptable, NULL) < 0)
		return -1;
	listening->accepting = true;
	return 0;
}

static void listening_tell_refusal(struct listening *listening, const struct failure *failure)
{
	struct reply reply;

	log_info("the listening of user %u, process %d ends: %s", listening->caller.uid,
		 listening->caller.pid, failure->sentence);
	reply_build_refusal(&reply, listening->id, failure);
	message_send(listening->connection, &reply.writer, NULL, 0);
	shutdown(listening->connection, SHUT_RDWR);
}

void listening_begin(struct worker *worker, const struct caller *caller,
		     const struct request *request, int listening_fd, int connection_fd)
{
	struct listening *listening = calloc(1, sizeof(*listening));
	struct failure failure = {0};

	if (!listening) {
		log_error("no memory for the listening of user %u, process %d", caller->uid,
			  caller->pid);
		foreign_close(listening_fd);
		foreign_close(connection_fd);
		return;
	}
	listening->worker = worker;
	listening->caller = *caller;
	listening->id = request->id;
	listening->fd = listening_fd;
	listening->connection = connection_fd;
	LIST_INIT(&listening->arrivals);
	LIST_INSERT_HEAD(&worker->listenings, listening, entry);
	if (policy_decide(worker->setup->loaded, caller, request, &listening->decision, &failure) <
	    0) {
		listening_tell_refusal(listening, &failure);
		listening_free(listening);
	} else if (listening_make_events(listening) < 0) {
		log_error("no memory for the listening of user %u, process %d", caller->uid,
			  caller->pid);
		listening_free(listening);
	}
}

/* ---- The worker's end ---------------------------------------------------------------------- */

static void listening_finish(struct listening *listening)
{
	listening->finishing = true;
	listening_settle(listening);
}

#define LISTENING_EACH(worker, call)                                                  \
	for (struct listening *item = LIST_FIRST(&(worker)->listenings), *next; item; \
	     item = next) {                                                           \
		next = LIST_NEXT(item, entry);                                        \
		call(item);                                                           \
	}

void listening_finish_all(struct worker *worker)
{
	LISTENING_EACH(worker, listening_finish)
}

void listening_end_all(struct worker *worker)
{
	LISTENING_EACH(worker, listening_free)
}
