// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A key update as a state machine on the event loop: claim the socket, compare the kernel's keys with
 * the token's, follow the peer's update, make our own. Touches its duplicate of a program's socket; must
 * never wait, never install a key a second time, and never lose track of what the two ends have.
 */
#include "key-update.h"

#include <errno.h>
#include <linux/tls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "foreign.h"
#include "key-schedule.h"
#include "post-handshake.h"
#include "record-layer.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum {
	PAUSE_US = 2000, /* until a socket that another worker, or a sender, has is tried again */
	INTERRUPTED_MAX = 5, /* attempts; each one costs the worker milliseconds */
};

struct key_update {
	const struct handshake_surroundings *surroundings;
	struct counters *counters;
	struct key_update_order order;
	struct key_token token;
	int fd;
	key_update_done *done;
	void *context;
	struct event
	    *readiness; /* the socket takes more, or the next attempt at the claim is due */
	struct event *deadline;
	bool claimed;
	bool compared;
	bool blocked; /* the socket took no KeyUpdate once */
	uint8_t message[POST_HANDSHAKE_KEY_UPDATE_SIZE];
	unsigned interrupted; /* attempts to send it that somebody else's sending held up */
	size_t message_sent;  /* bytes of it that are on their way and cannot be taken back */
	bool broken;
	struct key_update_result result;
};

/* ---- The end ------------------------------------------------------------------------------- */

/* From what happened, and from nothing else. */
static enum outcome_state update_state(const struct key_update *update)
{
	if (update->broken || (update->message_sent > 0 && !update->result.transmitted))
		return OUTCOME_POISONED;
	return update->result.received || update->result.transmitted ? OUTCOME_ESTABLISHED
								     : OUTCOME_UNTOUCHED;
}

static void update_free(struct key_update *update)
{
	if (update->readiness)
		event_free(update->readiness);
	if (update->deadline)
		event_free(update->deadline);
	if (update->claimed)
		counters_release_socket(update->counters, update->token.socket.cookie);
	key_token_wipe(&update->token);
	free(update);
}

static void update_end(struct key_update *update)
{
	struct key_update_result *result = &update->result;
	struct key_update_result told;
	key_update_done *done = update->done;
	void *context = update->context;

	result->state = update_state(update);
	if (result->state == OUTCOME_ESTABLISHED) {
		update->token.made = time(NULL);
		/* Without it the connection works on; only its next update will not. */
		if (key_token_seal(update->surroundings->secrets, &update->token, result->token) <
		    0)
			failure_set(&result->failure, FAILURE_INTERNAL, false,
				    "The keys were updated, but no new token could be made");
	}
	told = *result;
	update_free(update);
	done(context, &told);
}

static void update_fail(struct key_update *update, enum failure_class class, const char *sentence)
{
	failure_set(&update->result.failure, class, class == FAILURE_TIMEOUT, "%s", sentence);
	update_end(update);
}

enum outcome_state key_update_cancel(struct key_update *update)
{
	enum outcome_state state = update_state(update);

	update_free(update);
	return state;
}

/* ---- Comparing ----------------------------------------------------------------------------- */

/* The kernel shows its keys, so a token that was used already, or is of before another update, is found
 * out without anyone keeping a list. -1 with a failure. */
static int update_compare(struct key_update *update, enum offload_direction direction)
{
	const char *word = direction == OFFLOAD_TRANSMIT ? "transmit" : "receive";
	int r = offload_kernel_holds(update->fd, &update->token.keys, direction);

	if (r > 0)
		return 0;
	if (r == 0)
		failure_set(
		    &update->result.failure, FAILURE_DENIED, false,
		    "The token is not the connection's newest: the %s key was updated since "
		    "it was made; send the token of the last reply",
		    word);
	else
		failure_set(&update->result.failure, FAILURE_REQUEST, false,
			    "The socket has no %s key in the kernel: %s", word, strerror(-r));
	return -1;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

static int update_receive(struct key_update *update)
{
	struct key_token *token = &update->token;
	struct traffic_direction before = token->keys.receive;
	int error = key_schedule_update(&token->keys, &token->keys.receive);

	if (error == 0)
		error = offload_kernel_update(update->fd, &token->keys, OFFLOAD_RECEIVE);
	if (error < 0) {
		token->keys.receive = before;
		/* Where it has kept the former one, nothing has happened. */
		update->broken =
		    offload_kernel_holds(update->fd, &token->keys, OFFLOAD_RECEIVE) != 1;
		failure_set(&update->result.failure, FAILURE_UNSUPPORTED, false,
			    "The kernel refused the next receive key: %s", strerror(-error));
	}
	explicit_bzero(&before, sizeof(before));
	update->result.received = error == 0;
	return error;
}

/* ---- Transmitting -------------------------------------------------------------------------- */

/* One handshake record. The kernel makes a record of all that it takes, or takes nothing; where it is short
 * of memory it may take a part, and the rest becomes a record of its own (RFC 8446, 5.1). Bytes that were
 * taken, or -errno. */
static ssize_t record_send(int fd, const uint8_t *bytes, size_t size)
{
	union {
		char space[CMSG_SPACE(sizeof(uint8_t))];
		struct cmsghdr align;
	} control;
	struct iovec vector = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr header = {
	    .msg_iov = &vector,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *type;
	ssize_t sent;

	memset(&control, 0, sizeof(control));
	type = CMSG_FIRSTHDR(&header);
	type->cmsg_level = SOL_TLS;
	type->cmsg_type = TLS_SET_RECORD_TYPE;
	type->cmsg_len = CMSG_LEN(sizeof(uint8_t));
	*CMSG_DATA(type) = RECORD_HANDSHAKE;
	/* A sender that waits for room, in a thread of the program's, holds the kernel's lock meanwhile, for as
	 * long as it likes. */
	sent = FOREIGN_GUARDED(sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
	return sent < 0 ? -errno : sent;
}

static int update_send(struct key_update *update)
{
	while (update->message_sent < sizeof(update->message)) {
		ssize_t sent = record_send(update->fd, update->message + update->message_sent,
					   sizeof(update->message) - update->message_sent);

		if (sent <= 0)
			return sent < 0 ? (int)sent : -EIO;
		update->message_sent += (size_t)sent;
	}
	return 0;
}

/* The KeyUpdate is the last record under the old key (RFC 8446, 4.6.3): from here on there is no way back,
 * and what the program sends before it has the answer would be lost. */
static int update_transmit(struct key_update *update)
{
	struct key_token *token = &update->token;
	int error = update_send(update);

	if (error == -EAGAIN || error == -ENOMEM || error == -ENOBUFS)
		return -EAGAIN;
	if (error == -EINTR && ++update->interrupted < INTERRUPTED_MAX)
		return error;
	if (error == -EINTR) {
		failure_set(
		    &update->result.failure, FAILURE_BUSY, true,
		    "Another thread or process is sending on the connection: nobody else may "
		    "while its key is updated");
		return -EBUSY;
	}
	if (error < 0) {
		update->broken = true;
		failure_set(&update->result.failure, FAILURE_CLOSED, false,
			    "The KeyUpdate could not be sent: %s", strerror(-error));
		return error;
	}
	error = key_schedule_update(&token->keys, &token->keys.transmit);
	if (error == 0)
		error = offload_kernel_update(update->fd, &token->keys, OFFLOAD_TRANSMIT);
	if (error < 0)
		failure_set(&update->result.failure, FAILURE_INTERNAL, false,
			    "The peer was told of a new key, but the kernel refused it: %s",
			    strerror(-error));
	update->result.transmitted = error == 0;
	return error;
}

/* ---- Under way ----------------------------------------------------------------------------- */

static void update_ready(evutil_socket_t fd, short what, void *context);

static void update_wait(struct key_update *update, bool writable)
{
	const struct timeval pause = {.tv_usec = PAUSE_US};

	event_assign(update->readiness, update->surroundings->base, writable ? update->fd : -1,
		     writable ? EV_WRITE : EV_TIMEOUT, update_ready, update);
	event_base_update_cache_time(update->surroundings->base);
	if (event_add(update->readiness, writable ? NULL : &pause) < 0)
		update_fail(update, FAILURE_INTERNAL,
			    "The socket cannot be watched: there is not enough memory");
}

/* 0: go on, -1: with a failure. */
static int update_check(struct key_update *update)
{
	if (update->compared)
		return 0;
	if (update->order.receive && update_compare(update, OFFLOAD_RECEIVE) < 0)
		return -1;
	if (update->order.transmit && update_compare(update, OFFLOAD_TRANSMIT) < 0)
		return -1;
	update->compared = true;
	return 0;
}

/* Sockets share the places of claims, so none is kept for as long as a peer likes. Who gets it meanwhile
 * changes the keys: they are compared anew. Not in the midst of a KeyUpdate. */
static void update_release(struct key_update *update)
{
	update->blocked = true;
	if (update->message_sent > 0)
		return;
	counters_release_socket(update->counters, update->token.socket.cookie);
	update->claimed = false;
	update->compared = false;
}

static void update_ready(evutil_socket_t fd, short what, void *context)
{
	struct key_update *update = context;
	int error = 0;

	(void)fd, (void)what;
	if (!update->claimed)
		update->claimed =
		    counters_claim_socket(update->counters, update->token.socket.cookie);
	if (!update->claimed) {
		update_wait(update, false);
		return;
	}
	error = update_check(update);
	if (error == 0 && update->order.receive && !update->result.received)
		error = update_receive(update);
	if (error == 0 && update->order.transmit)
		error = update_transmit(update);
	if (error == -EAGAIN)
		update_release(update);
	if (error == -EAGAIN || error == -EINTR)
		update_wait(update, error == -EAGAIN);
	else
		update_end(update);
}

static void update_expired(evutil_socket_t fd, short what, void *context)
{
	struct key_update *update = context;

	(void)fd, (void)what;
	if (!update->blocked)
		update_fail(update, FAILURE_TIMEOUT,
			    "Another key update is under way on this connection: wait for its end");
	else
		update_fail(update, FAILURE_TIMEOUT,
			    "The peer takes nothing, so that no KeyUpdate could be sent in time");
}

/* ---- Beginning ----------------------------------------------------------------------------- */

/* -1 with a failure. */
static int update_judge(const struct key_update *update, uid_t uid, struct failure *failure)
{
	struct key_token_socket socket;
	const char *sentence = NULL;

	if (uid != 0 && uid != update->token.uid)
		sentence = "The token belongs to another user's connection";
	else if (key_token_identify_socket(update->fd, &socket) < 0)
		sentence = "The descriptor that came with the token is no connected TCP socket: "
			   "send the one that the token was given for";
	else if (!key_token_same_socket(&socket, &update->token.socket))
		sentence =
		    "The token belongs to another socket: send the one that it was given for";
	if (!sentence)
		return 0;
	failure_set(failure, FAILURE_DENIED, false, "%s", sentence);
	return -1;
}

static int update_arm(struct key_update *update)
{
	struct event_base *base = update->surroundings->base;
	const struct timeval timeout = {
	    .tv_sec = update->order.timeout_ms / 1000,
	    .tv_usec = (suseconds_t)(update->order.timeout_ms % 1000) * 1000,
	};

	update->readiness = event_new(base, -1, EV_TIMEOUT, update_ready, update);
	update->deadline = evtimer_new(base, update_expired, update);
	event_base_update_cache_time(base);
	if (!update->readiness || !update->deadline || event_add(update->deadline, &timeout) < 0)
		return -1;
	event_active(update->readiness, EV_TIMEOUT, 0);
	return 0;
}

struct key_update *key_update_start(const struct handshake_surroundings *surroundings,
				    struct counters *counters, uid_t uid, const char *token, int fd,
				    const struct key_update_order *order, key_update_done *done,
				    void *context, struct failure *failure)
{
	struct key_update *update = calloc(1, sizeof(*update));

	if (!update) {
		failure_set(failure, FAILURE_BUSY, true,
			    "The daemon has no memory free for a key update");
		return NULL;
	}
	update->surroundings = surroundings;
	update->counters = counters;
	update->order = *order;
	update->fd = fd;
	update->done = done;
	update->context = context;
	post_handshake_key_update(update->message, order->ask);
	if (!surroundings->secrets)
		failure_set(failure, FAILURE_UNSUPPORTED, false, "This daemon makes no tokens");
	else if (key_token_open(surroundings->secrets, token, time(NULL), &update->token,
				failure) == 0 &&
		 update_judge(update, uid, failure) == 0) {
		if (!surroundings->kernel->rekeys)
			failure_set(failure, FAILURE_UNSUPPORTED, false,
				    "This kernel cannot change the keys of a connection: that "
				    "needs Linux 6.14; open a new connection, or use records = "
				    "relay");
		else if (update_arm(update) == 0)
			return update;
		else
			failure_set(failure, FAILURE_BUSY, true,
				    "The daemon has no memory free for a key update");
	}
	update_free(update);
	return NULL;
}
