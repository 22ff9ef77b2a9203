// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The door: the daemon accepts and handshakes, here its connections are taken. Touches the connection
 * to the daemon. Never gives the door up: a daemon that went away is asked again, in a thread of its
 * own, so that responses under way do not wait for it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "serve.h"
#include "trace-show.h"

#define TAKEN_MAX   64   /* connections a turn, before the established ones have theirs */
#define DELAY_FIRST 200  /* ms before a lost daemon is asked again */
#define DELAY_MOST  5000 /* the delay doubles up to this */
#define DELAY_FULL  100  /* ms to wait when no descriptor was free */

struct serve_listening {
	struct serve_watch watch;
	struct serve *serve;
	struct handshake_listener *listener; /* NULL: the daemon is gone */
	bool watched;                        /* the listener is in the epoll */
	uint64_t retry_at;                   /* clock_ms(); UINT64_MAX: not due */
	uint64_t delay;
	/* asking again: */
	struct serve_watch answer_watch;
	int answered; /* eventfd */
	bool asking;  /* the thread runs; it owns the two below */
	struct handshake *request;
	struct handshake_listener *answer;
	pthread_t thread;
};

/* The request that stands for each connection. NULL: told on stderr why not. */
static struct handshake *request_new(const struct serve *serve)
{
	const struct serve_settings *settings = serve->settings;
	struct handshake *request = handshake_new();

	if (!request)
		goto fail;
	if (handshake_set_role(request, HANDSHAKE_SERVER) < 0 ||
	    handshake_set_records(request, settings->records) < 0)
		goto fail;
	/* HTTP/1.1 is all that is spoken here. A client that offers nothing is fine. */
	if (handshake_set_alpn(request, "http/1.1") < 0)
		goto fail;
	if (settings->profile && handshake_set_profile(request, settings->profile) < 0) {
		fprintf(stderr, "%s: \"%s\" cannot be a profile's name: %s\n", SERVE_TOOL,
			settings->profile, handshake_error(request));
		handshake_free(request);
		return NULL;
	}
	if (handshake_set_trace(request, settings->trace) < 0)
		goto fail;
	if (settings->require_client_certificate &&
	    handshake_require_client_certificate(request) < 0)
		goto fail;
	return request;
fail:
	fprintf(stderr, "%s: the request cannot be made: %s\n", SERVE_TOOL, strerror(errno));
	handshake_free(request);
	return NULL;
}

static void listening_watch(struct serve_listening *listening)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listening->watch};

	if (listening->listener && !listening->watched)
		listening->watched =
		    epoll_ctl(listening->serve->epoll, EPOLL_CTL_ADD,
			      handshake_listener_fd(listening->listener), &event) == 0;
}

static void listening_unwatch(struct serve_listening *listening)
{
	if (listening->watched)
		epoll_ctl(listening->serve->epoll, EPOLL_CTL_DEL,
			  handshake_listener_fd(listening->listener), NULL);
	listening->watched = false;
}

/* ---- Taking connections -------------------------------------------------------------------- */

static void listening_lose(struct serve_listening *listening, int error)
{
	serve_say(listening->serve,
		  "the daemon has ended the listening: %s; established connections go on, and it "
		  "is asked again",
		  strerror(error));
	listening_unwatch(listening);
	handshake_listener_free(listening->listener);
	listening->listener = NULL;
	listening->delay = DELAY_FIRST;
	listening->retry_at = clock_ms() + listening->delay;
}

/* Of a listening only those are told that came to a connection. */
static void trace_draw(const struct handshake *handshake)
{
	size_t size;
	const char *text = handshake_trace(handshake, &size);

	if (text)
		trace_show(SERVE_TOOL, text, size, stderr, NULL);
}

static void listener_ready(struct serve_watch *watch, uint32_t events)
{
	struct serve_listening *listening = (struct serve_listening *)watch;
	struct serve *serve = listening->serve;

	(void)events;
	for (int i = 0; i < TAKEN_MAX; i++) {
		struct handshake *handshake;
		int fd, r;

		if (serve->count >= serve->limit) {
			/* The daemon's queue fills, then it stops accepting. */
			listening_unwatch(listening);
			return;
		}
		r = handshake_listener_accept(listening->listener, &handshake, &fd);
		if (r == 0)
			return;
		if (r > 0) {
			trace_draw(handshake);
			serve_connection_start(serve, handshake, fd);
			continue;
		}
		if (errno != EMFILE && errno != ENFILE && errno != ENOMEM) {
			listening_lose(listening, errno);
			return;
		}
		serve_say(serve, "a connection is lost: %s", strerror(errno));
		listening_unwatch(listening);
		listening->retry_at = clock_ms() + DELAY_FULL;
		return;
	}
}

void serve_listening_resume(struct serve_listening *listening)
{
	if (listening && listening->serve->count < listening->serve->limit)
		listening_watch(listening);
}

/* ---- Asking again -------------------------------------------------------------------------- */

static void *ask_run(void *context)
{
	struct serve_listening *listening = context;
	const struct serve *serve = listening->serve;
	const uint64_t one = 1;

	listening->answer = handshake_listener_new(serve->settings->socket, listening->request,
						   serve->listening_fd);
	/* An eventfd's write of 1 cannot fail here: nobody has counted up to its limit. */
	if (write(listening->answered, &one, sizeof(one)) < 0)
		abort();
	return NULL;
}

static void ask_begin(struct serve_listening *listening)
{
	int r = pthread_create(&listening->thread, NULL, ask_run, listening);

	listening->asking = r == 0;
	listening->retry_at = UINT64_MAX;
	if (r != 0) {
		serve_say(listening->serve, "cannot start a thread: %s", strerror(r));
		listening->retry_at = clock_ms() + listening->delay;
	}
}

static void ask_answered(struct serve_watch *watch, uint32_t events)
{
	struct serve_listening *listening =
	    (struct serve_listening *)((char *)watch -
				       offsetof(struct serve_listening, answer_watch));
	uint64_t count;

	(void)events;
	if (read(listening->answered, &count, sizeof(count)) < 0)
		return;
	pthread_join(listening->thread, NULL);
	listening->asking = false;
	listening->listener = listening->answer;
	listening->answer = NULL;
	if (listening->listener) {
		serve_say(listening->serve, "the daemon listens again");
		serve_listening_resume(listening);
		return;
	}
	/* Said once: the same every five seconds would tell nothing. */
	if (listening->delay == DELAY_FIRST)
		serve_say(listening->serve, "%s", handshake_error(listening->request));
	listening->delay = listening->delay * 2 < DELAY_MOST ? listening->delay * 2 : DELAY_MOST;
	listening->retry_at = clock_ms() + listening->delay;
}

uint64_t serve_listening_tick(struct serve_listening *listening, uint64_t now)
{
	if (!listening)
		return UINT64_MAX;
	if (now >= listening->retry_at) {
		listening->retry_at = UINT64_MAX;
		if (listening->listener)
			serve_listening_resume(listening);
		else
			ask_begin(listening);
	}
	return listening->retry_at;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

struct serve_listening *serve_listening_new(struct serve *serve)
{
	struct serve_listening *listening = calloc(1, sizeof(*listening));
	struct epoll_event event = {.events = EPOLLIN};

	if (!listening)
		return NULL;
	listening->serve = serve;
	listening->watch.ready = listener_ready;
	listening->answer_watch.ready = ask_answered;
	listening->retry_at = UINT64_MAX;
	listening->answered = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.ptr = &listening->answer_watch;
	if (listening->answered < 0 ||
	    epoll_ctl(serve->epoll, EPOLL_CTL_ADD, listening->answered, &event) < 0) {
		fprintf(stderr, "%s: cannot begin: %s\n", SERVE_TOOL, strerror(errno));
		goto fail;
	}
	listening->request = request_new(serve);
	if (!listening->request)
		goto fail;
	listening->listener = handshake_listener_new(serve->settings->socket, listening->request,
						     serve->listening_fd);
	if (!listening->listener) {
		fprintf(stderr, "%s: %s\n", SERVE_TOOL, handshake_error(listening->request));
		goto fail;
	}
	listening_watch(listening);
	return listening;
fail:
	serve_listening_free(listening);
	return NULL;
}

void serve_listening_free(struct serve_listening *listening)
{
	if (!listening)
		return;
	if (listening->asking) { /* ends within the library's own deadline */
		pthread_join(listening->thread, NULL);
		handshake_listener_free(listening->answer);
	}
	listening_unwatch(listening);
	handshake_listener_free(listening->listener);
	handshake_free(listening->request);
	if (listening->answered >= 0)
		close(listening->answered);
	free(listening);
}
