// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A worker's way to the signer. Touches the socket to it and the stacks of handshakes that wait for it.
 * Never waits itself, and never frees a stack with a call on it: such a call is made to fail and return.
 */
#include "signing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fiber.h"
#include "log.h"
#include "signer-key.h"

enum { PACKETS_AT_ONCE = 16 }; /* that are read before others have their turn */

/* Lies on the stack of the call that waits for it. */
struct signing_request {
	struct signer_request head;
	gnutls_datum_t data;
	gnutls_datum_t answer;
	int error;
	bool sent;
	TAILQ_ENTRY(signing_request) link;
};

struct signing {
	struct event_base *base;
	int fd;                 /* -1: no signer */
	bool lost;              /* and none may come */
	struct event *readable; /* NULL without fd */
	struct event *writable; /* when its queue is full */
	struct event *flush;    /* at the end of this turn of the loop: requests leave together */
	struct event *next;     /* fibers are free, and calls wait for one */
	struct fibers *fibers;
	struct signing_call **calls; /* on each fiber */
	uint64_t last_id;
	TAILQ_HEAD(signing_calls, signing_call) waiting;        /* for a fiber */
	TAILQ_HEAD(signing_requests, signing_request) requests; /* to be sent */
};

/* The call whose fiber runs. */
static struct signing_call *running;

static const char lost_words[] =
    "The signer, which has the private key, ended while it was asked; another takes its place";
static const char none_words[] =
    "The signer, which has the private key, has ended, and no other could be started";
static const char refused_words[] = "The private key could not be used";
static const char memory_words[] = "The signer cannot be asked: there is not enough memory";

/* ---- Handshakes ---------------------------------------------------------------------------- */

static void call_run(void *context)
{
	struct signing_call *call = context;

	call->result = gnutls_handshake(call->tls);
}

static void call_finish(struct signing_call *call)
{
	struct signing *signing = call->signing;

	signing->calls[fiber_number(call->fiber)] = NULL;
	fiber_give_back(signing->fibers, call->fiber);
	call->fiber = NULL;
	if (!TAILQ_EMPTY(&signing->waiting))
		event_active(signing->next, EV_TIMEOUT, 0);
}

/* True: the library's call has returned. */
static bool call_begin(struct signing_call *call, struct fiber *fiber)
{
	struct signing_call *outer = running;

	call->fiber = fiber;
	call->signing->calls[fiber_number(fiber)] = call;
	running = call;
	fiber_start(fiber, call_run, call);
	running = outer;
	if (!fiber_ended(fiber))
		return false;
	call_finish(call);
	return true;
}

static bool call_continue(struct signing_call *call)
{
	struct fiber *fiber = call->fiber;

	running = call;
	fiber_resume(fiber);
	running = NULL;
	if (!fiber_ended(fiber))
		return false;
	call_finish(call);
	return true;
}

int signing_handshake(struct signing_call *call, gnutls_session_t tls)
{
	struct signing *signing = call->signing;
	struct fiber *fiber;

	call->tls = tls;
	if (!signing)
		return gnutls_handshake(tls);
	/* Who came first goes first. */
	fiber = TAILQ_EMPTY(&signing->waiting) ? fiber_take(signing->fibers) : NULL;
	if (!fiber) {
		TAILQ_INSERT_TAIL(&signing->waiting, call, link);
		call->queued = true;
		return SIGNING_PENDING;
	}
	return call_begin(call, fiber) ? call->result : SIGNING_PENDING;
}

bool signing_is_pending(const struct signing_call *call)
{
	return call->queued || call->fiber;
}

/* Those that waited for a stack, as far as there are some. */
static void waiting_begin(evutil_socket_t fd, short events, void *context)
{
	struct signing *signing = context;
	struct signing_call *call;
	struct fiber *fiber;

	(void)fd, (void)events;
	while ((call = TAILQ_FIRST(&signing->waiting)) && (fiber = fiber_take(signing->fibers))) {
		TAILQ_REMOVE(&signing->waiting, call, link);
		call->queued = false;
		if (call_begin(call, fiber))
			call->resumed(call->context, call->result);
	}
}

/* ---- Asking -------------------------------------------------------------------------------- */

static int ask_result(struct signing_call *call, struct signing_request *request,
		      gnutls_datum_t *ret_answer)
{
	if (request->error == 0) {
		*ret_answer = request->answer;
		return 0;
	}
	if (!call->failure)
		call->failure = refused_words;
	return request->error;
}

int signing_ask(const struct signer_request *head, const gnutls_datum_t *data,
		gnutls_datum_t *ret_answer)
{
	struct signing_call *call = running;
	struct signing *signing = call->signing;
	struct signing_request request = {.head = *head, .data = *data};

	if (call->cancelled || signing->lost) {
		call->failure = call->cancelled ? refused_words : none_words;
		return GNUTLS_E_PK_SIGN_FAILED;
	}
	/* The fiber's number finds the call again; the rest tells a late answer to another. */
	request.head.id = ++signing->last_id << 16 | fiber_number(call->fiber);
	call->request = &request;
	TAILQ_INSERT_TAIL(&signing->requests, &request, link);
	event_active(signing->flush, EV_TIMEOUT, 0);
	fiber_suspend();
	call->request = NULL;
	return ask_result(call, &request, ret_answer);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void request_end(struct signing *signing, struct signing_call *call, int error)
{
	struct signing_request *request = call->request;

	if (!request->sent)
		TAILQ_REMOVE(&signing->requests, request, link);
	request->error = error;
}

void signing_cancel(struct signing_call *call)
{
	if (call->queued) {
		TAILQ_REMOVE(&call->signing->waiting, call, link);
		call->queued = false;
	}
	if (!call->fiber)
		return;
	call->cancelled = true;
	request_end(call->signing, call, GNUTLS_E_PK_SIGN_FAILED);
	/* It is refused whatever else it asks for. */
	while (!call_continue(call))
		request_end(call->signing, call, GNUTLS_E_PK_SIGN_FAILED);
}

static void answer_take(struct signing *signing, const struct signer_answer *answer,
			const uint8_t *bytes)
{
	size_t number = answer->id & 0xffff;
	struct signing_call *call =
	    number < fibers_most(signing->fibers) ? signing->calls[number] : NULL;
	struct signing_request *request = call ? call->request : NULL;

	/* Its handshake was given up, or that of a worker that was here before. */
	if (!request || !request->sent || request->head.id != answer->id)
		return;
	request->error = answer->error;
	if (request->error == 0)
		request->error = signer_key_answer(bytes, answer->size, &request->answer);
	if (call_continue(call))
		call->resumed(call->context, call->result);
}

enum {
	REQUESTS_SENT = 1,
	REQUESTS_UNSENT = 2,
	REQUESTS_ALL = REQUESTS_SENT | REQUESTS_UNSENT,
};

static void requests_fail(struct signing *signing, int which, const char *words)
{
	for (unsigned i = 0; i < fibers_most(signing->fibers); i++) {
		struct signing_call *call = signing->calls[i];

		if (!call || !call->request ||
		    !(which & (call->request->sent ? REQUESTS_SENT : REQUESTS_UNSENT)))
			continue;
		call->failure = words;
		request_end(signing, call, GNUTLS_E_PK_SIGN_FAILED);
		if (call_continue(call))
			call->resumed(call->context, call->result);
	}
}

static void channel_close(struct signing *signing)
{
	if (signing->readable)
		event_free(signing->readable);
	if (signing->writable)
		event_free(signing->writable);
	signing->readable = signing->writable = NULL;
	if (signing->fd >= 0)
		close(signing->fd);
	signing->fd = -1;
}

/* What the one that is gone has not been asked yet may wait for another. */
static void channel_lost(struct signing *signing)
{
	channel_close(signing);
	requests_fail(signing, signing->lost ? REQUESTS_ALL : REQUESTS_SENT, lost_words);
}

/* Of one packet: 0, or -1: no signer of ours says such a thing. */
static int packet_take(struct signing *signing, const struct signer_packet *packet)
{
	struct signer_answer answer;
	const uint8_t *bytes;
	size_t position = 0;
	int r;

	while ((r = signer_packet_answer(packet, &position, &answer, &bytes)) == 1)
		answer_take(signing, &answer, bytes);
	return r;
}

static void channel_readable(evutil_socket_t fd, short events, void *context)
{
	static struct signer_packet packet;
	struct signing *signing = context;
	int r = 1;

	(void)events;
	for (unsigned i = 0; i < PACKETS_AT_ONCE && r == 1; i++) {
		r = signer_packet_receive(fd, &packet, MSG_DONTWAIT);
		if (r == 1 && packet_take(signing, &packet) < 0)
			r = -EPROTO;
		gnutls_memset(packet.bytes, 0, packet.size); /* premaster secrets */
	}
	if (r != 1 && r != -EAGAIN)
		channel_lost(signing);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static void requests_send(struct signing *signing)
{
	static struct signer_packet packet;
	struct signing_request *request;
	int r;

	while (signing->fd >= 0 && !TAILQ_EMPTY(&signing->requests)) {
		packet.size = 0;
		packet.count = 0;
		TAILQ_FOREACH(request, &signing->requests, link)
		if (!signer_packet_add(&packet, &request->head, sizeof(request->head),
				       request->data.data, request->data.size))
			break;
		r = signer_packet_send(signing->fd, &packet, MSG_DONTWAIT);
		if (r == -EAGAIN && event_add(signing->writable, NULL) == 0)
			return;
		/* Nothing would say when they can go. */
		if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM)
			requests_fail(signing, REQUESTS_UNSENT, memory_words);
		if (r < 0) /* gone, else: reading tells */
			return;
		for (; packet.count; packet.count--) {
			request = TAILQ_FIRST(&signing->requests);
			TAILQ_REMOVE(&signing->requests, request, link);
			request->sent = true;
		}
	}
}

static void requests_flush(evutil_socket_t fd, short events, void *context)
{
	(void)fd, (void)events;
	requests_send(context);
}

/* ---- The signer ---------------------------------------------------------------------------- */

static int channel_open(struct signing *signing, int fd)
{
	signing->fd = fd;
	if (fd < 0)
		return 0;
	signing->readable =
	    event_new(signing->base, fd, EV_READ | EV_PERSIST, channel_readable, signing);
	signing->writable = event_new(signing->base, fd, EV_WRITE, requests_flush, signing);
	if (signing->readable && signing->writable && event_add(signing->readable, NULL) == 0)
		return 0;
	channel_close(signing);
	return -1;
}

void signing_change(struct signing *signing, int fd)
{
	signing->lost = fd < 0;
	channel_close(signing);
	/* Its end may not have been heard yet. */
	requests_fail(signing, signing->lost ? REQUESTS_ALL : REQUESTS_SENT,
		      signing->lost ? none_words : lost_words);
	if (channel_open(signing, fd) < 0) {
		log_error("the signer cannot be asked: there is not enough memory");
		signing->lost = true;
		requests_fail(signing, REQUESTS_ALL, none_words);
		return;
	}
	requests_send(signing);
}

struct signing *signing_new(struct event_base *base, int fd, unsigned stacks)
{
	struct signing *signing = calloc(1, sizeof(*signing));

	if (!signing) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	signing->base = base;
	TAILQ_INIT(&signing->waiting);
	TAILQ_INIT(&signing->requests);
	signing->fibers = fibers_new(stacks);
	signing->calls = calloc(stacks, sizeof(struct signing_call *));
	signing->flush = evtimer_new(base, requests_flush, signing);
	signing->next = evtimer_new(base, waiting_begin, signing);
	if (channel_open(signing, fd) == 0 && signing->fibers && signing->calls && signing->flush &&
	    signing->next)
		return signing;
	signing_free(signing);
	return NULL;
}

void signing_free(struct signing *signing)
{
	if (!signing)
		return;
	channel_close(signing);
	if (signing->flush)
		event_free(signing->flush);
	if (signing->next)
		event_free(signing->next);
	fibers_free(signing->fibers);
	free(signing->calls);
	free(signing);
}
