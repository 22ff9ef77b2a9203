// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Traces on their way to those who watch. Touches their connections, which all workers share. Never waits
 * for one: a reader that is slow loses whole handshakes, and is told how many.
 */
#include "tracing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "foreign.h"
#include "log.h"
#include "message.h"
#include "reply.h"
#include "sealed-memory.h"

struct watcher {
	LIST_ENTRY(watcher) entry;
	struct tracing *tracing;
	struct caller caller;
	struct request request;
	int connection;
	struct event *watch; /* edge-triggered, as other workers read it too */
	uint64_t lost;       /* handshakes since the last that it was told of */
};

void tracing_init(struct tracing *tracing, struct event_base *base, const struct loaded *loaded)
{
	memset(tracing, 0, sizeof(*tracing));
	LIST_INIT(&tracing->watchers);
	tracing->base = base;
	tracing->loaded = loaded;
}

static void watcher_free(struct watcher *watcher)
{
	LIST_REMOVE(watcher, entry);
	if (watcher->watch)
		event_free(watcher->watch);
	foreign_close(watcher->connection);
	free(watcher);
}

void tracing_done(struct tracing *tracing)
{
	for (struct watcher *watcher = LIST_FIRST(&tracing->watchers), *next; watcher;
	     watcher = next) {
		next = LIST_NEXT(watcher, entry);
		watcher_free(watcher);
	}
}

/* ---- Which ones ---------------------------------------------------------------------------- */

/* "192.0.2.1" stands for all its ports. */
static bool peer_fits(const char *wanted, const char *peer)
{
	size_t length = strlen(wanted);
	const char *at = peer + (peer[0] == '[' && wanted[0] != '[');

	if (!*wanted || strcmp(wanted, peer) == 0)
		return true;
	return strncmp(at, wanted, length) == 0 &&
	       (at[length] == ']' || (at == peer && wanted[0] != '[' && at[length] == ':'));
}

static struct watcher *watcher_first(const struct tracing *tracing)
{
	return tracing ? LIST_FIRST(&tracing->watchers) : NULL;
}

/* What is known at a handshake's beginning. */
static bool watcher_wants(const struct watcher *watcher, const struct decision *decision, uid_t uid,
			  const char *peer)
{
	const struct request *request = &watcher->request;

	if (request->trace_user_given && request->trace_user != uid)
		return false;
	if (request->role_given && request->role != decision->role)
		return false;
	if (request->profile_given &&
	    strcmp(request->profile, decision->profile->config->name) != 0)
		return false;
	return peer_fits(request->trace_peer, peer);
}

struct trace *tracing_begin(struct tracing *tracing, const struct decision *decision, uid_t uid,
			    int fd)
{
	bool wanted = decision->trace;
	struct trace *trace = NULL;
	char peer[80];

	if (!wanted && !watcher_first(tracing))
		return NULL;
	trace_read_peer(fd, peer, sizeof(peer));
	for (struct watcher *w = watcher_first(tracing); w && !wanted; w = LIST_NEXT(w, entry))
		wanted = watcher_wants(w, decision, uid, peer);
	if (!wanted)
		return NULL;
	if (!tracing || tracing->under_way < TRACES_UNDER_WAY_MAX)
		trace = trace_new(decision, uid, fd);
	if (trace && tracing)
		tracing->under_way++;
	for (struct watcher *w = watcher_first(tracing); w && !trace; w = LIST_NEXT(w, entry))
		w->lost += watcher_wants(w, decision, uid, peer);
	return trace;
}

/* ---- Telling ------------------------------------------------------------------------------- */

static void watcher_tell(struct watcher *watcher, const struct trace *trace,
			 const struct decision *decision, const struct outcome *outcome, int memory)
{
	struct message_writer writer;
	int r;

	message_begin(&writer, HANDSHAKE_OP_TRACE);
	if (watcher->request.id)
		message_add_number(&writer, HANDSHAKE_KEY_ID, watcher->request.id);
	message_add_number(&writer, HANDSHAKE_KEY_USER, trace_user(trace));
	message_add(&writer, HANDSHAKE_KEY_PROFILE, decision->profile->config->name);
	message_add(&writer, HANDSHAKE_KEY_ROLE,
		    decision->role == REQUEST_SERVER ? "server" : "client");
	message_add(&writer, HANDSHAKE_KEY_PEER, trace_peer(trace));
	message_add(&writer, HANDSHAKE_KEY_OUTCOME, outcome_state_word(outcome->state));
	message_add_number(&writer, HANDSHAKE_KEY_LOST, watcher->lost);
	message_add(&writer, HANDSHAKE_KEY_DESCRIPTORS, HANDSHAKE_DESCRIPTOR_TRACE);
	r = memory < 0 ? -ENOMEM : message_send(watcher->connection, &writer, &memory, 1);
	if (r == 0)
		watcher->lost = 0;
	else
		watcher->lost++; /* a full queue; an end is seen by the event */
}

void tracing_end(struct tracing *tracing, struct trace *trace, const struct decision *decision,
		 struct outcome *outcome)
{
	const char *text;
	size_t size = 0;
	int memory = -1;

	if (!trace)
		return;
	text = trace_end(trace, outcome, &size);
	if (text)
		memory = sealed_memory_new("handshake-trace", text, size);
	if (memory < 0)
		log_warning("the trace of a handshake is lost: no memory");
	if (tracing)
		tracing->under_way--;
	for (struct watcher *w = watcher_first(tracing); w; w = LIST_NEXT(w, entry))
		if (watcher_wants(w, decision, trace_user(trace), trace_peer(trace)) &&
		    !(w->request.trace_failed && outcome->state == OUTCOME_ESTABLISHED))
			watcher_tell(w, trace, decision, outcome, memory);
	trace_free(trace);
	if (decision->trace)
		outcome->trace_fd = memory;
	else if (memory >= 0)
		close(memory);
}

/* ---- Who watches --------------------------------------------------------------------------- */

/* Edge-triggered: all is read. The program has nothing to say but its end. */
static void watcher_heard(evutil_socket_t fd, short events, void *context)
{
	struct watcher *watcher = context;
	struct message message;
	int r;

	(void)events;
	r = FOREIGN_GUARDED(message_receive(fd, &message));
	if (r == -EAGAIN)
		return;
	if (r > 0)
		for (size_t i = 0; i < message.fd_count; i++)
			foreign_close(message_take_fd(&message, i));
	shutdown(fd, SHUT_RDWR); /* in all workers */
	watcher_free(watcher);
}

void tracing_watch(struct tracing *tracing, const struct caller *caller,
		   const struct request *request, int connection_fd)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	struct failure failure = {0};
	struct reply reply;

	if (!watcher) {
		log_error("no memory for the watching of user %u, process %d", caller->uid,
			  caller->pid);
		foreign_close(connection_fd);
		return;
	}
	watcher->tracing = tracing;
	watcher->caller = *caller;
	watcher->request = *request;
	watcher->connection = connection_fd;
	LIST_INSERT_HEAD(&tracing->watchers, watcher, entry);
	if (policy_decide_trace(tracing->loaded, caller, &failure) < 0) {
		reply_build_refusal(&reply, request->id, &failure);
		message_send(connection_fd, &reply.writer, NULL, 0);
		shutdown(connection_fd, SHUT_RDWR);
		watcher_free(watcher);
		return;
	}
	watcher->watch =
	    event_new(tracing->base, connection_fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
		      watcher_heard, watcher);
	if (!watcher->watch || event_add(watcher->watch, NULL) < 0) {
		log_error("no memory for the watching of user %u, process %d", caller->uid,
			  caller->pid);
		watcher_free(watcher);
	}
}
