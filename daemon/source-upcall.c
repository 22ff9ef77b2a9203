// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Handshakes that the kernel's consumers ask for. Touches the worker's duplicate of the kernel's socket, and
 * the word to the supervisor. Must answer every request once: a consumer waits for it.
 */
#include "source-upcall.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consumer-keys.h"
#include "control.h"
#include "kernel-certificate.h"
#include "log.h"
#include "policy.h"
#include "sealed-memory.h"

struct upcall_handshake {
	LIST_ENTRY(upcall_handshake) entry;
	struct worker *worker;
	struct kernel_request request;
	int fd;
	char peer[REQUEST_ADDRESS_SIZE];
	struct consumer_keys *keys;     /* NULL: none came with it */
	struct kernel_certificate *own; /* likewise */
	struct handshake_task *task;    /* NULL: ended, its answer waits */
	struct kernel_answer answer;
	int certificate;     /* the peer's certificate for the supervisor; -1 */
	struct event *retry; /* the supervisor's queue was full */
};

static void upcall_release(struct upcall_handshake *upcall)
{
	LIST_REMOVE(upcall, entry);
	if (upcall->retry)
		event_free(upcall->retry);
	if (upcall->fd >= 0)
		close(upcall->fd);
	if (upcall->certificate >= 0)
		close(upcall->certificate);
	consumer_keys_free(upcall->keys);
	kernel_certificate_free(upcall->own);
	free(upcall);
}

int upcall_status(const struct outcome *outcome)
{
	if (outcome->state == OUTCOME_ESTABLISHED)
		return 0;
	switch (outcome->failure.class) {
	case FAILURE_TIMEOUT:
	case FAILURE_BUSY:
	case FAILURE_CANCELLED:
	case FAILURE_CLOSED:
		return ETIMEDOUT;
	case FAILURE_INTERNAL:
		return outcome->failure.retry ? ETIMEDOUT : EIO;
	case FAILURE_UNSUPPORTED:
		return EOPNOTSUPP;
	default: /* a peer's fault of its own, say, or a profile that a reload has just renamed */
		return outcome->failure.retry ? ETIMEDOUT : EACCES;
	}
}

/* Lets go of the socket first: when the consumer hears, nobody else touches it any more. */
static void upcall_answer(struct upcall_handshake *upcall)
{
	const struct timeval soon = {.tv_usec = 10000};
	struct control control = {.kind = upcall->certificate < 0 ? CONTROL_KERNEL_DONE
								  : CONTROL_KERNEL_PEER,
				  .kernel_answer = upcall->answer};
	struct worker *worker = upcall->worker;

	if (upcall->fd >= 0)
		close(upcall->fd);
	upcall->fd = -1;
	if (control_send(worker->setup->control_fd, &control, &upcall->certificate) == -EAGAIN &&
	    upcall->retry && event_add(upcall->retry, &soon) == 0)
		return;
	upcall_release(upcall);
	worker_check_finished(worker);
}

static void upcall_answer_again(evutil_socket_t fd, short events, void *context)
{
	(void)fd, (void)events;
	upcall_answer(context);
}

/* The peer's own certificate, the first of its chain, for the supervisor. -1: there is none. */
static int peer_take(const struct identity *identity)
{
	const gnutls_datum_t text = {(unsigned char *)identity->chain,
				     identity->chain ? (unsigned)strlen(identity->chain) : 0};
	gnutls_datum_t der;
	int fd;

	if (!identity->authenticated || !identity->chain ||
	    gnutls_pem_base64_decode2("CERTIFICATE", &text, &der) < 0)
		return -1;
	fd = sealed_memory_new("handshake-peer", der.data, der.size);
	gnutls_free(der.data);
	return fd < 0 ? -1 : fd;
}

static void upcall_done_one(void *context, struct outcome *outcome)
{
	struct upcall_handshake *upcall = context;

	counters_outcome(upcall->worker->setup->counters, outcome);
	upcall->task = NULL;
	upcall->answer.status = upcall_status(outcome);
	upcall->answer.peer_authenticated = outcome->identity.authenticated;
	upcall->certificate = peer_take(&outcome->identity);
	upcall->answer.key_serial = outcome->key_serial;
	if (outcome->state == OUTCOME_ESTABLISHED)
		log_debug("the kernel's request %llu is established",
			  (unsigned long long)upcall->request.id);
	else
		log_info("the kernel's request for \"%s\" (%s%s%s) with profile \"%s\" failed: %s",
			 upcall->request.peer_name, upcall->peer,
			 upcall->request.network[0] ? ", namespace " : "", upcall->request.network,
			 upcall->request.profile, outcome->failure.sentence);
	upcall_answer(upcall);
}

static void upcall_refuse(struct upcall_handshake *upcall, const struct failure *failure)
{
	struct outcome outcome;

	outcome_init(&outcome);
	outcome.failure = *failure;
	upcall_done_one(upcall, &outcome);
}

/* What came with the request: its pre-shared keys, or its certificate. Takes fd. */
static int material_take(struct upcall_handshake *upcall, int fd, struct failure *failure)
{
	const struct kernel_request *request = &upcall->request;
	const struct profile *profile =
	    loaded_find_profile(upcall->worker->setup->loaded, request->profile);
	struct problem problem = {""};
	int r;

	if (request->own.number == 0) {
		if (consumer_keys_unpack(fd, &upcall->keys) == 0)
			return 0;
		failure_set(failure, FAILURE_BUSY, true, "The request's keys cannot be read");
		return -1;
	}
	r = kernel_certificate_new(
	    fd, &request->own,
	    request->is_server && profile && profile->config->trust ? profile->trust : NULL,
	    &upcall->own, &problem);
	if (r < 0)
		failure_set(failure, r == -ENOMEM ? FAILURE_BUSY : FAILURE_DENIED, r == -ENOMEM,
			    "%s", problem.text);
	return r;
}

void upcall_begin(struct worker *worker, const struct kernel_request *request, int fd, int keys_fd)
{
	struct upcall_handshake *upcall = calloc(1, sizeof(*upcall));
	const struct kernel_answer busy = {.id = request->id, .status = ETIMEDOUT};
	const struct control control = {.kind = CONTROL_KERNEL_DONE, .kernel_answer = busy};
	struct failure failure = {0};
	struct decision decision;

	if (!upcall) {
		if (keys_fd >= 0)
			consumer_keys_discard(keys_fd);
		close(fd);
		control_send(worker->setup->control_fd, &control, NULL);
		return;
	}
	upcall->worker = worker;
	upcall->request = *request;
	upcall->answer.id = request->id;
	upcall->fd = fd;
	trace_read_peer(fd, upcall->peer, sizeof(upcall->peer));
	upcall->certificate = -1;
	upcall->retry = evtimer_new(worker->base, upcall_answer_again, upcall);
	LIST_INSERT_HEAD(&worker->upcalls, upcall, entry);
	counters_add(worker->setup->counters, COUNTER_HANDSHAKES_STARTED, 1);
	if (keys_fd >= 0 && material_take(upcall, keys_fd, &failure) < 0) {
		upcall_refuse(upcall, &failure);
		return;
	}
	if (policy_decide_kernel(worker->setup->loaded, request, upcall->keys, &decision,
				 &failure) < 0) {
		upcall_refuse(upcall, &failure);
		return;
	}
	if (upcall->own)
		decision.certificate = kernel_certificate_credentials(upcall->own);
	upcall->task =
	    handshake_task_start(&worker->surroundings, &decision, 0, fd, upcall_done_one, upcall);
	if (upcall->task)
		return;
	failure_set(&failure, FAILURE_BUSY, true, "There is not enough memory for the handshake");
	upcall_refuse(upcall, &failure);
}

void upcall_end_all(struct worker *worker)
{
	struct upcall_handshake *upcall = LIST_FIRST(&worker->upcalls), *next;

	for (; upcall; upcall = next) {
		next = LIST_NEXT(upcall, entry);
		if (upcall->task)
			handshake_task_cancel(upcall->task);
		/* The supervisor answers for a worker that is gone. */
		upcall_release(upcall);
	}
}
