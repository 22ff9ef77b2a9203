// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Takes the requests of the kernel's consumers and answers each exactly once. Touches the upcall's netlink
 * sockets and the sockets that the kernel lends. Must never wait, and never forget a request: the consumer
 * would, and the connection would stay behind.
 */
#include "source-netlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "children.h"
#include "consumer.h"
#include "log.h"
#include "upcall.h"

enum {
	/* The kernel waits this long for its handshakes: 10 s in the NFS client, 5 s in the server, which
	 * holds a thread meanwhile. Ours end before, so that it hears why. */
	CLIENT_MS = 9000,
	SERVER_MS = 4500,
	MARGIN_MS = 1000, /* of the time that a consumer names */
	GRACE_MS = 500,   /* what a worker has beyond its own deadline */
	ACCEPTS_AT_ONCE = 256,
	FAILURES_AT_ONCE = 64,
	RETRY_MS = 50, /* until what no worker could take is offered again */
};

struct pending {
	TAILQ_ENTRY(pending) entry;
	struct kernel_request request;
	int fd;       /* kept until the answer: it can be given even if the worker dies */
	pid_t worker; /* 0: waits for one */
	int64_t deadline;
};

TAILQ_HEAD(pending_list, pending);

struct source_netlink {
	struct upcall *upcall;
	struct counters *counters;
	source_netlink_give *give;
	void *context;
	const struct config_kernel *config;
	struct pending_list waiting; /* in their order */
	struct pending_list given;
	unsigned count; /* of both */
	uint64_t last_id;
	bool more; /* the kernel may have further ones */
	bool told_failing;
};

int source_netlink_new(struct counters *counters, source_netlink_give *give, void *context,
		       struct source_netlink **ret_source, struct problem *problem)
{
	struct source_netlink *source = calloc(1, sizeof(*source));
	int r;

	if (!source) {
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	TAILQ_INIT(&source->waiting);
	TAILQ_INIT(&source->given);
	source->counters = counters;
	source->give = give;
	source->context = context;
	source->more = true; /* requests may be older than this agent */
	r = upcall_new(&source->upcall, problem);
	if (r < 0) {
		free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

void source_netlink_configure(struct source_netlink *source, const struct config_kernel *config)
{
	source->config = config;
	source->more = true;
}

/* ---- The end of a request ------------------------------------------------------------------ */

/* Says DONE, once: nothing else does, but for upcall.c on what it cannot understand. */
static void pending_end(struct source_netlink *source, struct pending_list *list,
			struct pending *pending, int status, bool authenticated)
{
	/* What consumers look at is whether there is an identity; this process's keyring has none to
	 * name, and any number but 0 says "authenticated". */
	int r = upcall_done(source->upcall, pending->fd, status, authenticated ? 1 : 0);

	if (r < 0 && r != -EBUSY)
		log_error("the kernel did not take the answer to its request %llu: %s",
			  (unsigned long long)pending->request.id, strerror(-r));
	TAILQ_REMOVE(list, pending, entry);
	source->count--;
	counters_add(source->counters, COUNTER_KERNEL_UNDER_WAY, -1);
	counters_add(source->counters,
		     status == 0 ? COUNTER_KERNEL_ESTABLISHED : COUNTER_KERNEL_FAILED, 1);
	close(pending->fd);
	free(pending);
}

static struct pending *given_find(struct source_netlink *source, pid_t worker, uint64_t id)
{
	struct pending *pending = TAILQ_FIRST(&source->given);

	while (pending && (pending->request.id != id || pending->worker != worker))
		pending = TAILQ_NEXT(pending, entry);
	return pending;
}

void source_netlink_answer(struct source_netlink *source, pid_t worker,
			   const struct kernel_answer *answer)
{
	struct pending *pending = given_find(source, worker, answer->id);

	/* Not known: its time was over, and it has been answered. */
	if (pending)
		pending_end(source, &source->given, pending,
			    answer->status < 0 || answer->status > 4095 ? EIO : answer->status,
			    answer->status == 0 && answer->peer_authenticated);
}

/* ETIMEDOUT is what makes consumers try again: with any other status a hard mount fails. */
static void pending_end_all(struct source_netlink *source, struct pending_list *list, pid_t worker)
{
	struct pending *pending = TAILQ_FIRST(list), *next;

	for (; pending; pending = next) {
		next = TAILQ_NEXT(pending, entry);
		if (worker == 0 || pending->worker == worker)
			pending_end(source, list, pending, ETIMEDOUT, false);
	}
}

void source_netlink_died(struct source_netlink *source, pid_t worker)
{
	pending_end_all(source, &source->given, worker);
}

void source_netlink_free(struct source_netlink *source)
{
	if (!source)
		return;
	pending_end_all(source, &source->given, 0);
	pending_end_all(source, &source->waiting, 0);
	upcall_free(source->upcall);
	free(source);
}

/* ---- The beginning ------------------------------------------------------------------------- */

static uint32_t request_timeout(const struct upcall_request *request)
{
	if (request->timeout_ms == 0)
		return request->is_server ? SERVER_MS : CLIENT_MS;
	return request->timeout_ms > 2 * MARGIN_MS ? request->timeout_ms - MARGIN_MS
						   : request->timeout_ms / 2 + 1;
}

/* Takes the descriptor. */
static void request_refuse(struct source_netlink *source, const struct upcall_request *request,
			   int status, const char *why)
{
	log_warning("a %s handshake that the kernel asks for is refused: %s",
		    request->is_server ? "server's" : "client's", why);
	upcall_done(source->upcall, request->fd, status, 0);
	counters_add(source->counters, COUNTER_KERNEL_REQUESTS, 1);
	counters_add(source->counters, COUNTER_KERNEL_FAILED, 1);
	close(request->fd);
}

static void request_take(struct source_netlink *source, const struct upcall_request *request)
{
	struct problem problem = {""};
	const char *profile = consumer_profile(source->config, request, &problem);
	struct pending *pending;

	if (!profile) {
		request_refuse(source, request, EACCES, problem.text);
		return;
	}
	pending = calloc(1, sizeof(*pending));
	if (!pending) {
		request_refuse(source, request, ETIMEDOUT, "there is not enough memory");
		return;
	}
	pending->fd = request->fd;
	pending->request.id = ++source->last_id;
	pending->request.is_server = request->is_server;
	pending->request.unauthenticated = request->authentication == UPCALL_UNAUTHENTICATED;
	pending->request.timeout_ms = request_timeout(request);
	snprintf(pending->request.profile, sizeof(pending->request.profile), "%s", profile);
	memcpy(pending->request.peer_name, request->peer_name, sizeof(pending->request.peer_name));
	pending->deadline = now_ms() + pending->request.timeout_ms + GRACE_MS;
	TAILQ_INSERT_TAIL(&source->waiting, pending, entry);
	source->count++;
	counters_add(source->counters, COUNTER_KERNEL_REQUESTS, 1);
	counters_add(source->counters, COUNTER_KERNEL_UNDER_WAY, 1);
}

/* Takes what the kernel has, until there is none or enough: the kernel itself keeps only a few. */
static void requests_accept(struct source_netlink *source)
{
	struct upcall_request request;
	unsigned failures = 0;

	for (int i = 0; i < ACCEPTS_AT_ONCE && source->config; i++) {
		int r;

		if (source->count >= source->config->requests_total)
			return;
		r = upcall_accept(source->upcall, &request);
		if (r == 0) {
			source->more = false;
			return;
		}
		if (r == 1) {
			source->told_failing = false;
			request_take(source, &request);
			continue;
		}
		if (!source->told_failing)
			log_error("a request of the kernel cannot be taken: %s%s", strerror(-r),
				  r == -EPERM ? "; the daemon needs CAP_NET_ADMIN to serve it"
					      : "");
		source->told_failing = true;
		if (++failures == FAILURES_AT_ONCE || r == -EPERM) {
			source->more = false; /* until the next notification */
			return;
		}
	}
}

/* ---- Over time ----------------------------------------------------------------------------- */

void source_netlink_poll(const struct source_netlink *source, struct pollfd *ret_polled)
{
	*ret_polled = (struct pollfd){.fd = upcall_fd(source->upcall), .events = POLLIN};
}

void source_netlink_polled(struct source_netlink *source, const struct pollfd *polled)
{
	if (!polled->revents)
		return;
	/* Requests are asked for until there are none, so what was lost on the way does not matter. */
	if (upcall_listen(source->upcall))
		log_debug("notifications of the kernel's requests were lost");
	source->more = true;
}

static void waiting_give(struct source_netlink *source)
{
	struct pending *pending;

	while ((pending = TAILQ_FIRST(&source->waiting))) {
		pending->worker = source->give(source->context, &pending->request, pending->fd);
		if (pending->worker == 0)
			return;
		TAILQ_REMOVE(&source->waiting, pending, entry);
		TAILQ_INSERT_TAIL(&source->given, pending, entry);
	}
}

static int64_t list_tend(struct source_netlink *source, struct pending_list *list, int64_t now)
{
	struct pending *pending = TAILQ_FIRST(list), *following;
	int64_t next = INT64_MAX;

	for (; pending; pending = following) {
		following = TAILQ_NEXT(pending, entry);
		if (pending->deadline <= now)
			pending_end(source, list, pending, ETIMEDOUT, false);
		else if (pending->deadline < next)
			next = pending->deadline;
	}
	return next;
}

int64_t source_netlink_tend(struct source_netlink *source, int64_t now)
{
	int64_t next, then;

	if (source->more)
		requests_accept(source);
	waiting_give(source);
	next = list_tend(source, &source->given, now);
	then = list_tend(source, &source->waiting, now);
	next = then < next ? then : next;
	if (!TAILQ_EMPTY(&source->waiting) && now + RETRY_MS < next)
		next = now + RETRY_MS;
	if (source->more && source->config && source->count < source->config->requests_total)
		next = now;
	return next;
}
