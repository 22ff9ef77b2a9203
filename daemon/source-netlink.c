// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Takes the requests of the kernel's consumers and answers each exactly once. Touches the upcall's netlink
 * sockets and the sockets that the kernel lends. Must never wait, but for the signer, which is given a key within
 * a second or two or is ended; and never forget a request: the consumer would, and the connection would stay
 * behind.
 */
#include "source-netlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "children.h"
#include "consumer.h"
#include "kernel-queue.h"
#include "log.h"
#include "networks.h"
#include "peer-keys.h"
#include "signer-lent.h"
#include "upcall-certificate.h"
#include "upcall-keys.h"

enum {
	/* The kernel waits this long for its handshakes: 10 s in the NFS client, 5 s in the server, which
	 * holds a thread meanwhile. Ours end before, so that it hears why. */
	CLIENT_MS = 9000,
	SERVER_MS = 4500,
	MARGIN_MS = 1000,      /* of the time that a consumer names */
	GRACE_MS = 500,        /* what a worker has beyond its own deadline */
	ACCEPTS_AT_ONCE = 256, /* rounds of one from each namespace */
	ACCEPTING_MS = 20,     /* and no longer: a large ring takes more than that to read */
	FAILURES_AT_ONCE = 64,

	TELL_FULL_MS = 10000,
	RETRY_MS = 50, /* until what no worker could take is offered again */
};

struct source_netlink {
	struct networks *networks;
	struct kernel_queue *queue;
	struct counters *counters;
	source_netlink_give *give;
	void *context;
	const struct config_kernel *config;
	struct signer *signer; /* of that configuration */
	struct peer_keys *peers;
	uint64_t last_id;
	int64_t tell_full_ms; /* not before */
};

int source_netlink_new(struct counters *counters, source_netlink_give *give, void *context,
		       struct source_netlink **ret_source, struct problem *problem)
{
	struct source_netlink *source = calloc(1, sizeof(*source));
	int r;

	if (!source || !(source->queue = kernel_queue_new())) {
		free(source);
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	source->counters = counters;
	source->give = give;
	source->context = context;
	source->peers = peer_keys_new();
	r = source->peers ? networks_new(&source->networks, problem)
			  : problem_set(problem, "out of memory");
	if (r < 0) {
		source_netlink_free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

const struct network_tally *source_netlink_tally(const struct source_netlink *source)
{
	return networks_tally(source->networks);
}

/* ---- The end of a request ------------------------------------------------------------------ */

/* Takes its descriptors along. */
static void pending_remove(struct source_netlink *source, struct kernel_pending *pending)
{
	if (pending->signer)
		signer_forget_lent(pending->signer, pending->request.own.number);
	if (pending->keys_fd >= 0)
		consumer_keys_discard(pending->keys_fd);
	free(pending->serials);
	if (pending->fd >= 0)
		close(pending->fd);
	kernel_queue_remove(source->queue, pending);
}

/* Says DONE, once: nothing else does, but for upcall.c on what it cannot understand. In the namespace that asked:
 * no other knows of the request. */
static void pending_end(struct source_netlink *source, struct kernel_pending *pending, int status,
			int32_t identity)
{
	struct network *network = kernel_pending_network(pending);
	int r;

	/* Counted first: whoever has heard finds it so. */
	network->numbers.under_way--;
	*(status == 0 ? &network->numbers.established : &network->numbers.failed) += 1;
	networks_note(source->networks, network);
	counters_add(source->counters, COUNTER_KERNEL_UNDER_WAY, -1);
	counters_add(source->counters,
		     status == 0 ? COUNTER_KERNEL_ESTABLISHED : COUNTER_KERNEL_FAILED, 1);
	r = upcall_done(network->upcall, pending->fd, status, identity);
	/* EBUSY: the consumer has given up meanwhile, or another agent has answered. */
	if (r == -EBUSY)
		log_debug("nobody waits for the answer to the kernel's request %llu any more",
			  (unsigned long long)pending->request.id);
	else if (r < 0)
		log_error("the kernel did not take the answer to its request %llu: %s",
			  (unsigned long long)pending->request.id, strerror(-r));
	pending_remove(source, pending);
}

static bool serial_is_given(const struct kernel_pending *pending, int32_t serial)
{
	const int32_t *given = pending->serials;

	while (*given != 0 && *given != serial)
		given++;
	return *given != 0;
}

/* The key that names the peer. Where none can be made any number but 0 still says "authenticated". */
static int32_t answer_identity(struct source_netlink *source, const struct kernel_pending *pending,
			       const struct kernel_answer *answer, int peer)
{
	int32_t identity;
	int error;

	if (answer->status == 0 && pending->serials)
		return answer->key_serial;
	if (answer->status != 0 || !answer->peer_authenticated)
		return 0;
	identity = peer_keys_add(source->peers, peer, &error);
	if (error < 0)
		log_warning("the certificate of a peer cannot be made a key of the kernel: %s",
			    strerror(-error));
	return identity > 0 ? identity : 1;
}

void source_netlink_answer(struct source_netlink *source, pid_t worker,
			   const struct kernel_answer *answer, int peer)
{
	struct kernel_pending *pending = kernel_queue_find(source->queue, worker, answer->id);

	/* Not known: its time was over, and it has been answered. */
	if (!pending)
		return;
	if (answer->status == 0 && pending->serials &&
	    !serial_is_given(pending, answer->key_serial)) {
		log_error("worker %d names a key that its request %llu was not given", (int)worker,
			  (unsigned long long)answer->id);
		pending_end(source, pending, EACCES, 0);
		return;
	}
	pending_end(source, pending,
		    answer->status < 0 || answer->status > 4095 ? EIO : answer->status,
		    answer_identity(source, pending, answer, peer));
}

/* ETIMEDOUT is what makes consumers try again: with any other status a hard mount fails. worker: 0 for all. */
static void pending_end_all(struct source_netlink *source, pid_t worker)
{
	struct kernel_pending *pending = kernel_queue_first(source->queue), *next;

	for (; pending; pending = next) {
		next = kernel_queue_after(pending);
		if (worker == 0 || pending->worker == worker)
			pending_end(source, pending, ETIMEDOUT, 0);
	}
}

void source_netlink_died(struct source_netlink *source, pid_t worker)
{
	pending_end_all(source, worker);
}

void source_netlink_free(struct source_netlink *source)
{
	if (!source)
		return;
	pending_end_all(source, 0);
	networks_free(source->networks);
	kernel_queue_free(source->queue);
	peer_keys_free(source->peers);
	free(source);
}

static void source_settle(struct source_netlink *source, const struct config_kernel *config,
			  struct signer *signer)
{
	struct kernel_pending *pending = kernel_queue_first(source->queue), *next;

	source->config = config;
	source->signer = signer;
	/* Only the workers of the former configuration could ask the signer that has its key. */
	for (; pending; pending = next) {
		next = kernel_queue_after(pending);
		if (pending->worker == 0 && pending->signer && pending->signer != signer)
			pending_end(source, pending, ETIMEDOUT, 0);
	}
}

void source_netlink_configure(struct source_netlink *source, const struct config_kernel *config,
			      struct signer *signer)
{
	networks_configure(source->networks, config);
	source_settle(source, config, signer);
}

void source_netlink_stop(struct source_netlink *source)
{
	networks_stop(source->networks);
	source_settle(source, NULL, NULL);
}

void source_netlink_forget_signer(struct source_netlink *source, const struct signer *signer)
{
	struct kernel_pending *pending = kernel_queue_first(source->queue);

	for (; pending; pending = kernel_queue_after(pending))
		if (pending->signer == signer)
			pending->signer = NULL;
	if (source->signer == signer)
		source->signer = NULL;
}

/* ---- The beginning ------------------------------------------------------------------------- */

static uint32_t request_timeout(const struct upcall_request *request)
{
	if (request->timeout_ms == 0)
		return request->is_server ? SERVER_MS : CLIENT_MS;
	return request->timeout_ms > 2 * MARGIN_MS ? request->timeout_ms - MARGIN_MS
						   : request->timeout_ms / 2 + 1;
}

/* Consumers by number: those with a key of their own, then those with a keyring. */
static unsigned consumer_count(const struct config_kernel *config)
{
	return CONFIG_CONSUMERS + (unsigned)config->keyring_count;
}

static const char *consumer_profile_of(const struct config_kernel *config, unsigned consumer)
{
	return consumer < CONFIG_CONSUMERS ? config->profiles[consumer]
					   : config->keyrings[consumer - CONFIG_CONSUMERS].profile;
}

/* profile: the configuration's own text. */
static unsigned consumer_number(const struct config_kernel *config, const char *profile)
{
	unsigned consumer = 0;

	while (consumer < consumer_count(config) &&
	       consumer_profile_of(config, consumer) != profile)
		consumer++;
	return consumer;
}

/* Takes the descriptor. */
static void request_answer(struct source_netlink *source, struct network *network,
			   const struct upcall_request *request, int status)
{
	int r;

	counters_add(source->counters, COUNTER_KERNEL_REQUESTS, 1);
	counters_add(source->counters, COUNTER_KERNEL_FAILED, 1);
	network->numbers.requests++;
	network->numbers.failed++;
	networks_note(source->networks, network);
	r = upcall_done(network->upcall, request->fd, status, 0);
	if (r < 0 && r != -EBUSY)
		log_error("the kernel did not take the refusal of its request: %s", strerror(-r));
	close(request->fd);
}

static void request_refuse(struct source_netlink *source, struct network *network,
			   const struct upcall_request *request, int status, const char *why)
{
	log_warning("a %s handshake that the kernel asks for is refused: %s",
		    request->is_server ? "server's" : "client's", why);
	request_answer(source, network, request, status);
}

static void request_turn_away(struct source_netlink *source, struct network *network,
			      const struct upcall_request *request, const char *why)
{
	int64_t now = now_ms();

	if (now >= source->tell_full_ms)
		log_warning("a %s handshake that the kernel asks for has to wait: %s",
			    request->is_server ? "server's" : "client's", why);
	source->tell_full_ms = now + TELL_FULL_MS;
	request_answer(source, network, request, ETIMEDOUT);
}

/* A certificate that the request names, where one is shown at all. */
static int certificate_take(struct source_netlink *source, struct kernel_pending *pending,
			    const struct upcall_request *request, int *ret_status,
			    struct problem *problem)
{
	bool retry = false;

	if (request->authentication != UPCALL_X509 || !upcall_names_certificate(request))
		return 0;
	if (upcall_certificate_read(request, source->signer, &pending->keys_fd,
				    &pending->request.own, &retry, problem) == 0) {
		pending->signer = source->signer;
		return 0;
	}
	*ret_status = retry ? ETIMEDOUT : EACCES;
	return -1;
}

/* Reads what only this process may read. */
static int keys_take(struct source_netlink *source, struct kernel_pending *pending,
		     const struct upcall_request *request, int *ret_status, struct problem *problem)
{
	struct consumer_keys *keys;
	bool retry;
	int r;

	pending->request.psk = request->authentication == UPCALL_PSK;
	if (!pending->request.psk)
		return certificate_take(source, pending, request, ret_status, problem);
	r = upcall_keys_read(request, &keys, &retry, problem);
	*ret_status = retry ? ETIMEDOUT : EACCES;
	if (r < 0)
		return -1;
	r = consumer_keys_serials(keys, &pending->serials);
	if (r == 0)
		r = pending->keys_fd = consumer_keys_pack(keys);
	kernel_queue_count_keys(source->queue, pending, consumer_keys_size(keys));
	consumer_keys_free(keys);
	if (r >= 0)
		return 0;
	*ret_status = upcall_keys_may_retry(-r) ? ETIMEDOUT : EIO;
	return problem_set(problem, "its keys cannot be passed on: %s", strerror(-r));
}

/* A place in the queue. NULL: there is none, and it has been turned away. */
static struct kernel_pending *request_queue(struct source_netlink *source, struct network *network,
					    const struct upcall_request *request,
					    const char *profile)
{
	struct kernel_pending *pending;

	if (request->authentication == UPCALL_PSK && request->is_server &&
	    !kernel_queue_has_room_for_keys(source->queue)) {
		request_turn_away(
		    source, network, request,
		    "the keys of those under way take 256 MiB; see who asks for so many,"
		    " or give their port a keyring with fewer keys");
		return NULL;
	}
	pending =
	    kernel_queue_add(source->queue, network, consumer_number(source->config, profile),
			     source->last_id + 1, now_ms() + request_timeout(request) + GRACE_MS);
	if (!pending)
		/* There was room when it was asked for, but another consumer's. */
		request_turn_away(
		    source, network, request,
		    "its consumer has its share of requests-total under way; raise that,"
		    " or see who asks for so many");
	return pending;
}

/* Takes the descriptor. */
static void pending_begin(struct source_netlink *source, struct kernel_pending *pending,
			  const struct upcall_request *request, const char *profile)
{
	const struct network *network = kernel_pending_network(pending);
	struct kernel_request *told = &pending->request;

	pending->fd = request->fd;
	told->id = ++source->last_id;
	told->is_server = request->is_server;
	told->unauthenticated = request->authentication == UPCALL_UNAUTHENTICATED;
	told->timeout_ms = request_timeout(request);
	snprintf(told->profile, sizeof(told->profile), "%s", profile);
	memcpy(told->peer_name, request->peer_name, sizeof(told->peer_name));
	if (network->name)
		snprintf(told->network, sizeof(told->network), "%s", network->name);
}

static void request_take(struct source_netlink *source, struct network *network,
			 const struct upcall_request *request)
{
	struct problem problem = {""};
	struct kernel_pending *pending;
	const char *profile;
	bool retry;
	int status;

	profile = consumer_profile(source->config, request, &retry, &problem);
	if (!profile) {
		request_refuse(source, network, request, retry ? ETIMEDOUT : EACCES, problem.text);
		return;
	}
	pending = request_queue(source, network, request, profile);
	if (!pending)
		return;
	if (keys_take(source, pending, request, &status, &problem) < 0) {
		pending_remove(source, pending);
		request_refuse(source, network, request, status, problem.text);
		return;
	}
	pending_begin(source, pending, request, profile);
	network->numbers.requests++;
	network->numbers.under_way++;
	networks_note(source->networks, network);
	counters_add(source->counters, COUNTER_KERNEL_REQUESTS, 1);
	counters_add(source->counters, COUNTER_KERNEL_UNDER_WAY, 1);
}

static bool network_has_room(const struct source_netlink *source, const struct network *network)
{
	for (unsigned consumer = 0; consumer < consumer_count(source->config); consumer++)
		if (consumer_profile_of(source->config, consumer) &&
		    kernel_queue_has_room(source->queue, network, consumer))
			return true;
	return false;
}

/* Whether a request can be taken there: the kernel keeps what cannot, though only a few. */
static bool network_is_due(const struct source_netlink *source, const struct network *network)
{
	return source->config && network->upcall && network->more &&
	       network_has_room(source, network);
}

static void network_accept(struct source_netlink *source, struct network *network)
{
	struct upcall_request request;
	int r;

	upcall_keys_forget();
	r = upcall_accept(network->upcall, &request);
	if (r == 1) {
		network->told_failing = false;
		network->failures = 0;
		request_take(source, network, &request);
		upcall_keys_forget();
		return;
	}
	/* The kernel may have one less, so going on makes sense for a while. */
	network->more = r < 0 && r != -EPERM && ++network->failures < FAILURES_AT_ONCE;
	if (!network->more)
		network->failures = 0;
	if (r < 0 && !network->told_failing) {
		log_error("a request of the kernel cannot be taken: %s%s", strerror(-r),
			  r == -EPERM ? "; the daemon needs CAP_NET_ADMIN to serve it" : "");
		network->told_failing = true;
	}
}

/* The next turn goes on with the namespace behind this one. */
static void networks_rotate(struct network_list *list, const struct network *network)
{
	struct network *first;

	do {
		first = TAILQ_FIRST(list);
		TAILQ_REMOVE(list, first, entry);
		TAILQ_INSERT_TAIL(list, first, entry);
	} while (first != network);
}

/* One from each namespace in turn, until there are none or enough. */
static void requests_accept(struct source_netlink *source)
{
	struct network_list *list = networks_list(source->networks);
	const int64_t end = now_ms() + ACCEPTING_MS;
	struct network *network;
	bool any = true;

	for (int i = 0; i < ACCEPTS_AT_ONCE && any; i++) {
		any = false;
		TAILQ_FOREACH(network, list, entry)
		if (network_is_due(source, network)) {
			network_accept(source, network);
			any = true;
			if (now_ms() >= end) {
				networks_rotate(list, network);
				return;
			}
		}
	}
}

/* Lanes are counted for those that could ask, not for those that do: who comes finds its share. */
static void shares_set(struct source_netlink *source)
{
	unsigned consumers = 0;

	for (unsigned consumer = 0; source->config && consumer < consumer_count(source->config);
	     consumer++)
		consumers += consumer_profile_of(source->config, consumer) != NULL;
	kernel_queue_limit(source->queue, source->config ? source->config->requests_total : 0,
			   networks_count(source->networks) * consumers);
}

/* ---- Over time ----------------------------------------------------------------------------- */

void source_netlink_poll(const struct source_netlink *source, struct pollfd *ret_polled)
{
	networks_poll(source->networks, ret_polled);
}

void source_netlink_polled(struct source_netlink *source, const struct pollfd *polled)
{
	networks_polled(source->networks, polled);
}

static void waiting_give(struct source_netlink *source)
{
	struct kernel_pending *pending;

	while ((pending = kernel_queue_next(source->queue))) {
		const int fds[2] = {pending->fd, pending->keys_fd};
		pid_t worker = source->give(source->context, &pending->request, fds);

		if (worker == 0)
			return;
		/* The worker wipes them. */
		if (pending->keys_fd >= 0)
			close(pending->keys_fd);
		pending->keys_fd = -1;
		kernel_queue_given(source->queue, pending, worker);
	}
}

static int64_t overdue_end(struct source_netlink *source, int64_t now)
{
	struct kernel_pending *pending, *next;

	if (kernel_queue_earliest(source->queue, now) <= now)
		for (pending = kernel_queue_first(source->queue); pending; pending = next) {
			next = kernel_queue_after(pending);
			if (pending->deadline <= now)
				pending_end(source, pending, ETIMEDOUT, 0);
		}
	return kernel_queue_earliest(source->queue, now);
}

int64_t source_netlink_tend(struct source_netlink *source, int64_t now)
{
	int64_t next = networks_tend(source->networks, now), then;
	struct network *network;

	shares_set(source);
	requests_accept(source);
	waiting_give(source);
	then = overdue_end(source, now);
	next = then < next ? then : next;
	if (kernel_queue_next(source->queue) && now + RETRY_MS < next)
		next = now + RETRY_MS;
	TAILQ_FOREACH(network, networks_list(source->networks), entry)
	if (network_is_due(source, network))
		next = now;
	return next;
}
