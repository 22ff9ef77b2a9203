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
#include "key-token.h"
#include "offload-relay.h"
#include "raw-public-key.h"
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
	uid_t uid;
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
	bool handed_on; /* some of the keys may be in use: the session must not speak any more */
	unsigned warnings;
	int tickets[2]; /* for those that come behind the hand-over; -1: none are awaited */
	struct early_data_offer offer; /* a client's */
	struct transport transport;
	struct session session;
	struct signing_call signing;
	struct outcome outcome;
	struct trace *trace; /* NULL: nobody wants to know */
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
	if (transport_touched(&task->transport) || task->handed_on)
		return OUTCOME_POISONED;
	return OUTCOME_UNTOUCHED;
}

/* Everything but the task's own memory and its outcome. The events go before whoever lent the descriptor
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
}

static void task_tell_trace(struct handshake_task *task)
{
	if (task->trace == NULL)
		return;
	if (task->installed)
		trace_keys(task->trace, &task->outcome);
	tracing_end(task->surroundings->tracing, task->trace, &task->decision, &task->outcome);
	task->trace = task->transport.trace = task->session.trace = NULL;
}

static void task_tell_times(struct handshake_task *task)
{
	task->outcome.microseconds = phases_end(&task->phases);
	memcpy(task->outcome.phases, task->phases.spent, sizeof(task->outcome.phases));
}

static void task_end(struct handshake_task *task)
{
	task->outcome.state = final_state(task);
	task_tell_times(task);
	task_tell_trace(task);
	task_release(task);
	task->done(task->context, &task->outcome);
	outcome_done(&task->outcome);
	free(task);
}

static void task_fail(struct handshake_task *task, int error)
{
	if (task->signing.failure != NULL)
		outcome_fail(&task->outcome, FAILURE_INTERNAL, true, "%s", task->signing.failure);
	handshake_failure_tell(&task->outcome.failure, error, &task->session, &task->transport);
	task_end(task);
}

/* ---- The record path ----------------------------------------------------------------------- */

/* Before the first byte: later, a peer that has already sent its FIN makes it impossible. 0, or -1 with
 * a failure. */
static int task_attach(struct handshake_task *task)
{
	const struct kernel_tls *kernel = task->surroundings->kernel;
	struct outcome *outcome = &task->outcome;
	bool must = task->decision.records == CONFIG_RECORDS_KERNEL;
	char reason[sizeof(outcome->records_reason)] = "";
	int error = -ENOENT;

	if (task->decision.records == CONFIG_RECORDS_RELAY) {
		snprintf(outcome->records_reason, sizeof(outcome->records_reason),
			 "records = relay was asked for");
	} else {
		if (kernel->available)
			error = offload_kernel_attach(task->fd, reason, sizeof(reason));
		else
			snprintf(reason, sizeof(reason), "%s", kernel->reason);
		if (error == 0)
			return 0;
		if (error == -ENOTCONN) {
			outcome_fail(outcome, FAILURE_CLOSED, false,
				     "The peer has already ended the TCP connection");
			return -1;
		}
		if (must) {
			outcome_fail(outcome, FAILURE_UNSUPPORTED, false,
				     "Kernel records are asked for, but cannot be had: %s", reason);
			return -1;
		}
		snprintf(outcome->records_reason, sizeof(outcome->records_reason), "%s", reason);
	}
	if (task->surroundings->relay_socket >= 0)
		return 0;
	outcome_fail(outcome, FAILURE_UNSUPPORTED, false,
		     "Records would have to be relayed (%s), but the daemon has no relay",
		     outcome->records_reason);
	return -1;
}

/* What the program can have the keys updated with. Without it the connection is as good, but for that. */
static void task_seal(struct handshake_task *task, const struct traffic_keys *keys)
{
	struct key_token token = {.keys = *keys, .uid = task->uid, .made = time(NULL)};

	if (task->surroundings->secrets == NULL || keys->version != CONFIG_TLS13 ||
	    key_token_identify_socket(task->fd, &token.socket) < 0 ||
	    key_token_seal(task->surroundings->secrets, &token, task->outcome.token) < 0)
		task->outcome.token[0] = '\0';
	key_token_wipe(&token);
}

static int task_install_kernel(struct handshake_task *task, const struct traffic_keys *keys)
{
	const struct offload_nic *nic = task->surroundings->nic;
	struct offload_nic_reading before;
	char reason[256] = "";

	task->handed_on = true;
	offload_nic_read(nic, keys, &before);
	if (offload_kernel_install(task->fd, keys, reason, sizeof(reason)) < 0) {
		outcome_fail(&task->outcome, FAILURE_UNSUPPORTED, false,
			     "The handshake was complete, but %s", reason);
		return -1;
	}
	task->outcome.tickets_fd = task->tickets[1];
	task->tickets[1] = -1;
	offload_nic_describe(nic, task->fd, keys, &before, task->decision.zero_copy,
			     &task->outcome);
	task_seal(task, keys);
	return 0;
}

static int task_install_relay(struct handshake_task *task, const struct traffic_keys *keys)
{
	struct outcome *outcome = &task->outcome;
	struct relay_ends ends;
	char reason[256] = "";
	int error = offload_relay_start(task->surroundings->relay_socket, task->uid, task->fd, keys,
					task->tickets[1], &ends, reason, sizeof(reason));

	if (error < 0) {
		bool busy = error == -EAGAIN;

		outcome_fail(outcome, busy ? FAILURE_BUSY : FAILURE_INTERNAL, true,
			     "The handshake was complete, but %s", reason);
		/* Nobody else has the keys, so the session can still say goodbye. */
		handshake_failure_send(&outcome->failure, &task->session, &task->transport,
				       GNUTLS_A_INTERNAL_ERROR);
		return -1;
	}
	outcome->relay_fd = ends.program;
	outcome->relay_state_fd = ends.state;
	outcome->relay_control_fd = ends.control;
	outcome->transmit = "relay";
	outcome->receive = "relay";
	return 0;
}

/* Can the kernel move these records? If not, says why. */
static bool kernel_can(struct handshake_task *task, const struct traffic_keys *keys)
{
	struct outcome *outcome = &task->outcome;

	/* A reason for the relay is there exactly if the kernel was given up before the first byte. */
	if (outcome->records_reason[0] != '\0')
		return false;
	if (!task->surroundings->kernel->ciphers[keys->version][keys->cipher])
		snprintf(outcome->records_reason, sizeof(outcome->records_reason),
			 "the kernel lacks the cipher %s for %s", outcome->cipher,
			 outcome->version);
	else if (offload_kernel_limit_records(task->fd, keys, outcome->records_reason,
					      sizeof(outcome->records_reason)) == 0)
		return true;
	return false;
}

/* Hands the exported keys to the record path that was prepared, or to the next one that is allowed. */
static int task_install(struct handshake_task *task, const struct traffic_keys *keys)
{
	struct outcome *outcome = &task->outcome;

	if (kernel_can(task, keys))
		return task_install_kernel(task, keys);
	if (task->decision.records != CONFIG_RECORDS_KERNEL &&
	    task->surroundings->relay_socket >= 0)
		return task_install_relay(task, keys);
	outcome_fail(
	    outcome, FAILURE_UNSUPPORTED, false, "The handshake was complete, but %s%s",
	    outcome->records_reason,
	    task->decision.records == CONFIG_RECORDS_KERNEL ? "" : ", and the daemon has no relay");
	handshake_failure_send(&outcome->failure, &task->session, &task->transport,
			       GNUTLS_A_INTERNAL_ERROR);
	return -1;
}

/* ---- The end of a handshake ---------------------------------------------------------------- */

static int task_read_identity(struct handshake_task *task)
{
	struct identity *identity = &task->outcome.identity;
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

static int task_export(struct handshake_task *task, struct traffic_keys *keys)
{
	struct outcome *outcome = &task->outcome;
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

	phases_enter(&task->phases, PHASE_KEYS);
	session_describe(&task->session, &task->outcome);
	if (early_data_describe(&task->session.early, &task->outcome) < 0 ||
	    task_export(task, &keys) < 0) {
		handshake_failure_send(&task->outcome.failure, &task->session, &task->transport,
				       GNUTLS_A_INTERNAL_ERROR);
		task_end(task);
		return;
	}
	if (!resumption_client_awaits(&task->session, task->tickets))
		task->tickets[0] = task->tickets[1] = -1;
	task->installed = task_install(task, &keys) == 0;
	if (task->installed && task->tickets[0] >= 0) {
		resumption_client_park(&task->session, task->tickets[0]);
		task->tickets[0] = -1;
	}
	traffic_keys_wipe(&keys);
	task_end(task);
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
	outcome_fail(&task->outcome, FAILURE_INTERNAL, true,
		     "The socket cannot be watched: there is not enough memory");
	task_end(task);
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
		early = early_data_receive(&task->session.early, &task->outcome.failure);
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
	error = task_attach(task);
	phases_enter(&task->phases, PHASE_COMPUTATION);
	if (error < 0 || session_open(&task->session, &task->decision, task->surroundings, only,
				      &task->transport, &task->outcome.failure) < 0) {
		task_end(task);
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
	struct failure *failure = &task->outcome.failure;

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
		outcome_fail(
		    &task->outcome, FAILURE_TIMEOUT, true,
		    "The handshake did not end within %u milliseconds: the signer, which has "
		    "the private key, did not answer",
		    task->decision.timeout_ms);
	outcome_fail(&task->outcome, FAILURE_TIMEOUT, true,
		     "The handshake did not end within %u milliseconds: the peer %s",
		     task->decision.timeout_ms,
		     task->transport.bytes_in == 0 ? "sent nothing" : "was too slow");
	task_abandon(task);
	task_end(task);
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
	task->uid = uid;
	task->fd = fd;
	task->done = done;
	task->context = context;
	phases_start(&task->phases);
	task->started = task->phases.since;
	task->signing.signing = surroundings->signing;
	task->signing.resumed = task_signed;
	task->signing.context = task;
	transport_init(&task->transport, fd);
	outcome_init(&task->outcome);
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
	enum outcome_state state;

	task_abandon(task);
	state = final_state(task);
	task->outcome.state = state == OUTCOME_ESTABLISHED ? OUTCOME_POISONED : state;
	task_tell_times(task);
	outcome_fail(&task->outcome, FAILURE_CANCELLED, true, "The handshake was given up");
	task_tell_trace(task);
	task_release(task);
	outcome_done(&task->outcome);
	free(task);
	return state;
}
