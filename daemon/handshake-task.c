// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One handshake as a state machine on the event loop: attach, shake hands, check, export, install.
 * Touches its duplicate of a caller's socket; must never wait, change that socket's flags or options,
 * or say of its state anything but what happened to it.
 */
#include "handshake-task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alert.h"
#include "handshake-failure.h"
#include "identity.h"
#include "raw-public-key.h"
#include "record-path.h"
#include "resumption-client.h"
#include "session.h"
#include "signing.h"
#include "tracing.h"
#include "transport.h"

/* Alerts that refuse nothing (TLS 1.2 has some) and that a peer may send before it is sent away. */
enum { WARNINGS_MAX = 8 };
/* Beside what GnuTLS says of a turn. */
enum { TASK_SIGNING = 2 };

struct handshake_task {
	const struct handshake_surroundings *surroundings;
	struct decision decision;
	int fd;
	handshake_task_done *done;
	void *context;
	struct event *readiness; /* of the socket */
	struct event *deadline;
	uint64_t started; /* CLOCK_MONOTONIC, microseconds */
	struct phases phases;
	bool begun;
	bool complete;  /* the handshake, but for what is held for sending */
	bool installed; /* the traffic keys are where records move from now on */
	unsigned warnings;
	int tickets[2]; /* for those that come behind the hand-over; -1: none are awaited */
	struct early_data_offer offer; /* a client's */
	struct transport transport;
	struct session session;
	struct record_path records;
	struct signing_call signing;
	struct trace *trace; /* NULL: nobody wants to know */
	/* What is known of the outcome before the last turn. The rest is large, and thousands may wait. */
	struct failure failure;
	struct identity identity;
};

static uint64_t now_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The socket's state, from what happened and from nothing else. Attached without keys it is still plain
 * TCP, so attaching does not count. */
static enum outcome_state final_state(const struct handshake_task *task)
{
	if (task->installed)
		return OUTCOME_ESTABLISHED;
	if (transport_touched(&task->transport) || task->records.handed_on)
		return OUTCOME_POISONED;
	return OUTCOME_UNTOUCHED;
}

/* Everything but the task's own memory. The events go before whoever lent the descriptor
 * closes it: the file lives on with its owner, and the kernel would go on watching it. */
static void task_release(struct handshake_task *task)
{
	if (task->readiness != NULL)
		event_free(task->readiness);
	if (task->deadline != NULL)
		event_free(task->deadline);
	task->readiness = NULL;
	task->deadline = NULL;
	signing_cancel(&task->signing);
	for (int i = 0; i < 2; i++)
		if (task->tickets[i] >= 0)
			close(task->tickets[i]);
	task->tickets[0] = task->tickets[1] = -1;
	session_close(&task->session);
	early_data_offer_done(&task->offer);
	transport_done(&task->transport);
	identity_done(&task->identity);
}

/* Begins the last turn: gives the outcome what is known so far. */
static void task_conclude(struct handshake_task *task, struct outcome *ret_outcome)
{
	outcome_init(ret_outcome);
	ret_outcome->failure = task->failure;
	ret_outcome->identity = task->identity;
	memset(&task->identity, 0, sizeof(task->identity));
	memcpy(ret_outcome->records_reason, task->records.reason, sizeof(task->records.reason));
}

static void task_tell_trace(struct handshake_task *task, struct outcome *outcome)
{
	if (task->trace == NULL)
		return;
	if (task->installed)
		trace_keys(task->trace, outcome);
	tracing_end(task->surroundings->tracing, task->trace, &task->decision, outcome);
	task->trace = task->transport.trace = task->session.trace = NULL;
}

static void task_tell_times(struct handshake_task *task, struct outcome *outcome)
{
	outcome->microseconds = phases_end(&task->phases);
	memcpy(outcome->phases, task->phases.spent, sizeof(outcome->phases));
}

static void task_end(struct handshake_task *task, struct outcome *outcome)
{
	outcome->state = final_state(task);
	task_tell_times(task, outcome);
	task_tell_trace(task, outcome);
	task_release(task);
	task->done(task->context, outcome);
	outcome_done(outcome);
	free(task);
}

/* By the failure that the task has. */
static void task_end_failed(struct handshake_task *task)
{
	struct outcome outcome;

	task_conclude(task, &outcome);
	task_end(task, &outcome);
}

static void task_fail(struct handshake_task *task, int error)
{
	if (task->signing.failure != NULL)
		failure_set(&task->failure, FAILURE_INTERNAL, true, "%s", task->signing.failure);
	handshake_failure_tell(&task->failure, error, &task->session, &task->transport);
	task_end_failed(task);
}

/* ---- The end of a handshake ---------------------------------------------------------------- */

static int task_read_identity(struct handshake_task *task)
{
	struct identity *identity = &task->identity;
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(task->session.tls, &count);
	int error;

	if (chain == NULL || count == 0)
		return 0;
	if (raw_public_key_shown(task->session.tls)) {
		unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE];

		identity->authenticated = task->session.verification.authenticated;
		return raw_public_key_digest(&chain[0], identity->public_key_sha256, digest);
	}
	error = identity_read(chain, count, identity);
	identity->authenticated = error == 0 && task->session.verification.authenticated;
	return error;
}

static int task_export(struct handshake_task *task, struct traffic_keys *keys,
		       struct outcome *outcome)
{
	int error;

	/* What was read and not given to the handshake would be lost to the caller. */
	if (gnutls_record_check_pending(task->session.tls) != 0 ||
	    !transport_at_boundary(&task->transport)) {
		outcome_fail(outcome, FAILURE_INTERNAL, false,
			     "The TLS library read more than the handshake");
		return -1;
	}
	error = traffic_keys_export(task->session.tls, task->decision.role == REQUEST_SERVER,
				    &task->session.secrets, keys);
	if (error == 0) {
		keys->record_limit = hello_record_limit(&task->session.hello, keys->is_server,
							keys->version == CONFIG_TLS13);
		return 0;
	}
	outcome_fail(outcome, error == -ENOTSUP ? FAILURE_UNSUPPORTED : FAILURE_INTERNAL, false,
		     "The traffic keys of %s cannot be taken out of the TLS library",
		     outcome->suite);
	return -1;
}

/* All is said and sent: the records go where they are to go. */
static void task_finish(struct handshake_task *task)
{
	struct traffic_keys keys;
	struct outcome outcome;

	phases_enter(&task->phases, PHASE_KEYS);
	task_conclude(task, &outcome);
	session_describe(&task->session, &outcome);
	if (early_data_describe(&task->session.early, &outcome) < 0 ||
	    task_export(task, &keys, &outcome) < 0) {
		handshake_failure_send(&outcome.failure, &task->session, &task->transport,
				       GNUTLS_A_INTERNAL_ERROR);
		task_end(task, &outcome);
		return;
	}
	if (!resumption_client_awaits(&task->session, task->tickets))
		task->tickets[0] = task->tickets[1] = -1;
	task->installed =
	    record_path_install(&task->records, &keys, &task->tickets[1], &outcome) == 0;
	/* Nobody else has the keys, so the session can still say goodbye. */
	if (!task->installed && !task->records.handed_on)
		handshake_failure_send(&outcome.failure, &task->session, &task->transport,
				       GNUTLS_A_INTERNAL_ERROR);
	if (task->installed && task->tickets[0] >= 0) {
		resumption_client_park(&task->session, task->tickets[0]);
		task->tickets[0] = -1;
	}
	traffic_keys_wipe(&keys);
	task_end(task, &outcome);
}

/* ---- Under way ----------------------------------------------------------------------------- */

/* Waits until the socket takes what is held, or gives what is awaited. */
static void task_wait(struct handshake_task *task)
{
	short direction = transport_holds(&task->transport) ? EV_WRITE : EV_READ;

	phases_enter(&task->phases, PHASE_PEER);
	event_assign(task->readiness, event_get_base(task->readiness), task->fd, direction,
		     event_get_callback(task->readiness), task);
	if (event_add(task->readiness, NULL) == 0)
		return;
	failure_set(&task->failure, FAILURE_INTERNAL, true,
		    "The socket cannot be watched: there is not enough memory");
	task_end_failed(task);
}

/* What must hold beyond the handshake itself. 1, or a negative GnuTLS error. */
static int task_check(struct handshake_task *task)
{
	int error = session_check(&task->session);

	if (error == 0)
		error = task_read_identity(task);
	if (error == 0)
		error = resumption_complete(&task->session);
	return error < 0 ? error : 1;
}

/* One turn of the library. 1: the handshake is complete, 0: it waits, TASK_SIGNING: for the signer, or a
 * negative GnuTLS error. signed_result: what the turn that waited for the signer came to. */
static int task_shake(struct handshake_task *task, const int *signed_result)
{
	for (;;) {
		int error = signed_result != NULL
				? *signed_result
				: signing_handshake(&task->signing, task->session.tls);
		int early;

		signed_result = NULL;
		if (error == SIGNING_PENDING)
			return TASK_SIGNING;
		early = early_data_receive(&task->session.early, &task->failure);
		if (early < 0)
			error = early;
		if (error == 0)
			return task_check(task);
		if (error == GNUTLS_E_AGAIN)
			return 0;
		if (error == GNUTLS_E_INTERRUPTED)
			continue;
		if (gnutls_error_is_fatal(error) != 0 || ++task->warnings > WARNINGS_MAX)
			return error;
		if (error == GNUTLS_E_WARNING_ALERT_RECEIVED)
			trace_warning(task->trace, (uint8_t)gnutls_alert_get(task->session.tls));
	}
}

static void task_step(struct handshake_task *task, const int *signed_result)
{
	int error = 0;

	if (!task->complete) {
		error = task_shake(task, signed_result);
		task->complete = error == 1;
	}
	/* task_signed() goes on; until then the socket is not watched. */
	if (error == TASK_SIGNING) {
		phases_enter(&task->phases, PHASE_SIGNER);
		return;
	}
	if (error < 0) {
		task_fail(task, error);
		return;
	}
	error = transport_flush(&task->transport);
	if (error < 0 && error != -EAGAIN && task->complete)
		task_fail(task, GNUTLS_E_PUSH_ERROR);
	else if (error == 0 && task->complete)
		task_finish(task);
	else
		task_wait(task);
}

static void task_signed(void *context, int result)
{
	struct handshake_task *task = context;

	phases_wake(&task->phases, task->surroundings->base);
	task_step(task, &result);
}

static void task_begin(struct handshake_task *task)
{
	const struct kernel_tls *only =
	    task->decision.records == CONFIG_RECORDS_KERNEL ? task->surroundings->kernel : NULL;
	int error;

	task->begun = true;
	phases_enter(&task->phases, PHASE_KEYS);
	error = record_path_prepare(&task->records, &task->failure);
	phases_enter(&task->phases, PHASE_COMPUTATION);
	if (error < 0 || session_open(&task->session, &task->decision, task->surroundings, only,
				      &task->transport, &task->failure) < 0) {
		task_end_failed(task);
		return;
	}
	task->session.trace = task->trace;
	task->session.key_log = task->surroundings->key_log;
	task->session.early.retried_before = task->session.resumption.retried;
	error =
	    early_data_send(&task->session.early, &task->offer,
			    task->session.resumption.ticket ? task->session.resumption.alpn : NULL);
	if (error < 0)
		task_fail(task, error);
	else
		task_step(task, NULL);
}

static void task_ready(evutil_socket_t fd, short what, void *context)
{
	struct handshake_task *task = context;

	(void)fd;
	(void)what;
	phases_wake(&task->phases, task->surroundings->base);
	if (task->begun)
		task_step(task, NULL);
	else
		task_begin(task);
}

/* Tells the peer that this is the end, where bytes moved and it can still hear it. */
static void task_abandon(struct handshake_task *task)
{
	struct failure *failure = &task->failure;

	signing_cancel(&task->signing);
	if (task->session.tls == NULL || !transport_touched(&task->transport))
		return;
	if (alert_send_cancelled(task->session.tls) < 0 || transport_flush(&task->transport) < 0)
		return;
	failure->alert_direction = ALERT_SENT;
	failure->alert = GNUTLS_A_USER_CANCELED;
}

static int task_set_deadline(struct handshake_task *task)
{
	uint64_t end = task->started + (uint64_t)task->decision.timeout_ms * 1000;
	uint64_t now = now_microseconds();
	uint64_t left = end > now ? end - now : 0;
	const struct timeval timeout = {
	    .tv_sec = (time_t)(left / 1000000),
	    .tv_usec = (suseconds_t)(left % 1000000),
	};

	/* The timer counts from the loop's last look at the clock, which may be long ago. */
	event_base_update_cache_time(task->surroundings->base);
	return event_add(task->deadline, &timeout);
}

static void task_expired(evutil_socket_t fd, short what, void *context)
{
	struct handshake_task *task = context;

	(void)fd;
	(void)what;
	/* The loop's clock is a coarse one and may be milliseconds behind. */
	if (now_microseconds() < task->started + (uint64_t)task->decision.timeout_ms * 1000 &&
	    task_set_deadline(task) == 0)
		return;
	if (signing_is_pending(&task->signing))
		failure_set(
		    &task->failure, FAILURE_TIMEOUT, true,
		    "The handshake did not end within %u milliseconds: the signer, which has "
		    "the private key, did not answer",
		    task->decision.timeout_ms);
	failure_set(&task->failure, FAILURE_TIMEOUT, true,
		    "The handshake did not end within %u milliseconds: the peer %s",
		    task->decision.timeout_ms,
		    task->transport.bytes_in == 0 ? "sent nothing" : "was too slow");
	task_abandon(task);
	task_end_failed(task);
}

/* The deadline is absolute: whatever the peer does, it never moves. */
static int task_arm(struct handshake_task *task)
{
	struct event_base *base = task->surroundings->base;

	task->readiness = event_new(base, task->fd, EV_READ, task_ready, task);
	task->deadline = evtimer_new(base, task_expired, task);
	if (task->readiness == NULL || task->deadline == NULL || task_set_deadline(task) < 0)
		return -1;
	event_active(task->readiness, EV_READ, 0);
	return 0;
}

struct handshake_task *handshake_task_start(const struct handshake_surroundings *surroundings,
					    const struct decision *decision, uid_t uid, int fd,
					    handshake_task_done *done, void *context)
{
	struct handshake_task *task = calloc(1, sizeof(*task));

	if (task == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	task->tickets[0] = task->tickets[1] = -1;
	task->surroundings = surroundings;
	task->decision = *decision;
	task->fd = fd;
	task->records.surroundings = surroundings;
	task->records.decision = &task->decision;
	task->records.uid = uid;
	task->records.fd = fd;
	task->done = done;
	task->context = context;
	phases_start(&task->phases);
	task->started = task->phases.since;
	task->signing.signing = surroundings->signing;
	task->signing.resumed = task_signed;
	task->signing.context = task;
	transport_init(&task->transport, fd);
	if (task_arm(task) == 0) {
		task->trace = tracing_begin(surroundings->tracing, decision, uid, fd);
		task->transport.trace = task->trace;
		return task;
	}
	task_release(task);
	free(task);
	errno = ENOMEM;
	return NULL;
}

void handshake_task_offer(struct handshake_task *task, struct early_data_offer *offer)
{
	task->offer = *offer;
	*offer = (struct early_data_offer){.bytes = NULL};
}

enum outcome_state handshake_task_cancel(struct handshake_task *task)
{
	struct outcome outcome;
	enum outcome_state state;

	task_abandon(task);
	state = final_state(task);
	failure_set(&task->failure, FAILURE_CANCELLED, true, "The handshake was given up");
	task_conclude(task, &outcome);
	outcome.state = state == OUTCOME_ESTABLISHED ? OUTCOME_POISONED : state;
	task_tell_times(task, &outcome);
	task_tell_trace(task, &outcome);
	task_release(task);
	outcome_done(&outcome);
	free(task);
	return state;
}
