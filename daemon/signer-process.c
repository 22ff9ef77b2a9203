// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The signer process. Touches the files and tokens of private keys before its sandbox, and then the
 * sockets of the workers alone. Never sees a byte of a network as such, and never gives a key out.
 */
#include "signer-process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "engine-openssl.h"
#include "log.h"
#include "private-key.h"
#include "sandbox.h"
#include "signer-lent.h"
#include "signer-protocol.h"
#include "token.h"

enum {
	KEYS_MAX = 1 << 20,
	THREAD_STACK = 1 << 20,
	HOLD_NS = 300 * 1000, /* that an answer waits for others to go with it */
	USES_S = 30,          /* that keys may still be in use at the end */
};

static struct {
	int control;
	struct signer_order setup;
	/* Of the keys, while they are looked for and put there: not while they are used, for a token may take
	 * its time, and the supervisor's orders do not wait for it. */
	pthread_mutex_t lock;
	pthread_cond_t unused; /* no key is in use */
	unsigned uses;
	struct private_key **keys;
	size_t room;
	unsigned count;
	bool on_token; /* one of them at least */
	bool sealed;
	struct problem problem; /* of a module; told with the next key */
} signer = {.lock = PTHREAD_MUTEX_INITIALIZER, .unused = PTHREAD_COND_INITIALIZER};

/* ---- Serving ------------------------------------------------------------------------------- */

/* One worker's end, served by several threads. */
struct client {
	int fd;
	atomic_uint threads;
};

/* NULL: there is none of this number (any more). */
static struct private_key *key_take(uint32_t number)
{
	struct private_key *key = NULL;

	pthread_mutex_lock(&signer.lock);
	if (number >= SIGNER_LENT_FIRST)
		key = lent_find(number);
	else if (number < signer.room)
		key = signer.keys[number];
	if (key) {
		private_key_hold(key);
		signer.uses++;
	}
	pthread_mutex_unlock(&signer.lock);
	return key;
}

static void key_give_back(struct private_key *key)
{
	private_key_free(key);
	pthread_mutex_lock(&signer.lock);
	if (--signer.uses == 0)
		pthread_cond_signal(&signer.unused);
	pthread_mutex_unlock(&signer.lock);
}

static int request_serve(const struct signer_request *request, const uint8_t *data,
			 gnutls_datum_t *ret_answer)
{
	struct private_key *key = key_take(request->key);
	int error;

	if (!key)
		return GNUTLS_E_INVALID_REQUEST;
	error = private_key_use(key, request, data, ret_answer);
	key_give_back(key);
	return error;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int packet_flush(int fd, struct signer_packet *packet)
{
	int r = packet->count ? signer_packet_send(fd, packet, 0) : 0;

	packet->size = 0;
	packet->count = 0;
	return r;
}

static int answer_add(int fd, struct signer_packet *packet, const struct signer_answer *answer,
		      const gnutls_datum_t *bytes)
{
	if (signer_packet_add(packet, answer, sizeof(*answer), bytes->data, answer->size))
		return 0;
	if (packet_flush(fd, packet) < 0)
		return -1;
	return signer_packet_add(packet, answer, sizeof(*answer), bytes->data, answer->size) ? 0
											     : -1;
}

/* All requests of a packet; answers leave together unless that takes long. -1: the worker is gone, or not
 * itself any more. */
static int packet_serve(int fd, const struct signer_packet *in, struct signer_packet *out)
{
	int64_t since = now_ns();
	struct signer_request request;
	const uint8_t *data;
	size_t position = 0;
	int r;

	while ((r = signer_packet_request(in, &position, &request, &data)) == 1) {
		gnutls_datum_t bytes = {NULL, 0};
		struct signer_answer answer = {.id = request.id};

		answer.error = request_serve(&request, data, &bytes);
		answer.size = answer.error == 0 ? bytes.size : 0;
		r = answer_add(fd, out, &answer, &bytes);
		if (answer.error == 0) {
			gnutls_memset(bytes.data, 0, bytes.size); /* it may be a premaster secret */
			gnutls_free(bytes.data);
		}
		if (r == 0 && now_ns() - since > HOLD_NS) {
			r = packet_flush(fd, out);
			since = now_ns();
		}
		if (r < 0)
			return -1;
	}
	if (r < 0)
		log_error("a worker said what cannot be followed: it is not served any more");
	return packet_flush(fd, out) < 0 ? -1 : r;
}

static void *client_serve(void *context)
{
	struct client *client = context;
	struct signer_packet *in = calloc(2, sizeof(*in)), *out = in ? in + 1 : NULL;

	while (in && signer_packet_receive(client->fd, in, 0) == 1)
		if (packet_serve(client->fd, in, out) < 0)
			break;
	if (in)
		gnutls_memset(in, 0, 2 * sizeof(*in));
	free(in);
	shutdown(client->fd, SHUT_RDWR); /* the others' turn to end */
	if (atomic_fetch_sub(&client->threads, 1) == 1) {
		close(client->fd);
		free(client);
	}
	return NULL;
}

/* Takes fd. */
static void client_begin(int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	pthread_attr_t attributes;
	unsigned started = 0;
	pthread_t thread;
	int error = 0;

	if (!client) {
		close(fd);
		return;
	}
	client->fd = fd;
	/* One more than there are: nobody closes it before all are started. */
	atomic_init(&client->threads, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	for (unsigned i = 0; i < signer.setup.threads; i++) {
		atomic_fetch_add(&client->threads, 1);
		error = pthread_create(&thread, &attributes, client_serve, client);
		if (error == 0)
			started++;
		else
			atomic_fetch_sub(&client->threads, 1);
	}
	pthread_attr_destroy(&attributes);
	if (!started)
		log_error("cannot start a thread for a worker: %s", strerror(error));
	if (atomic_fetch_sub(&client->threads, 1) == 1) {
		close(fd);
		free(client);
	}
}

/* ---- Keys ---------------------------------------------------------------------------------- */

static int room_make(uint32_t number)
{
	size_t room = signer.room ? signer.room : 64;
	struct private_key **keys;

	if (number >= KEYS_MAX)
		return -1;
	while (room <= number)
		room *= 2;
	if (room == signer.room)
		return 0;
	keys = reallocarray(signer.keys, room, sizeof(struct private_key *));
	if (!keys)
		return -1;
	memset(keys + signer.room, 0, (room - signer.room) * sizeof(struct private_key *));
	signer.keys = keys;
	signer.room = room;
	return 0;
}

static int key_keep(uint32_t number, struct private_key *key)
{
	int r;

	pthread_mutex_lock(&signer.lock);
	r = room_make(number);
	if (r == 0) {
		private_key_free(signer.keys[number]);
		signer.keys[number] = key;
		signer.count++;
	}
	pthread_mutex_unlock(&signer.lock);
	return r;
}

static void key_load(const struct signer_order *order, struct signer_report *report)
{
	struct private_key *key = NULL;

	memset(report, 0, sizeof(*report));
	report->verdict = SIGNER_BAD;
	if (signer.problem.text[0]) {
		report->problem = signer.problem;
	} else if (signer.sealed) {
		problem_set(&report->problem, "private-key \"%s\" comes too late", order->source);
	} else if (private_key_read(order->source, order->pin_file,
				    (enum config_signer_engine)signer.setup.engine, &key,
				    report) == 0) {
		signer.on_token = signer.on_token || private_key_on_token(key);
		if (key_keep(order->number, key) < 0) {
			private_key_free(key);
			report->verdict = SIGNER_BAD;
			problem_set(&report->problem, "out of memory");
		}
	}
}

static void key_lend(const struct signer_order *order, struct signer_report *report)
{
	struct private_key *key;

	if (private_key_import(order->key, order->size,
			       (enum config_signer_engine)signer.setup.engine, &key, report) < 0)
		return;
	pthread_mutex_lock(&signer.lock);
	if (order->number < SIGNER_LENT_FIRST || lent_keep(order->number, key) < 0) {
		private_key_free(key);
		report->verdict = SIGNER_FULL;
		problem_set(&report->problem,
			    "more than %d keys came with requests that are under way",
			    SIGNER_LENT_MAX);
	}
	pthread_mutex_unlock(&signer.lock);
}

static void key_forget(uint32_t number)
{
	pthread_mutex_lock(&signer.lock);
	lent_forget(number);
	pthread_mutex_unlock(&signer.lock);
}

/* Waits for those in use, so that they are wiped. false: some still are in use. */
static bool keys_free(void)
{
	struct timespec until;
	bool unused;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += USES_S;
	pthread_mutex_lock(&signer.lock);
	lent_forget_all();
	for (size_t i = 0; i < signer.room; i++)
		private_key_free(signer.keys[i]);
	free(signer.keys);
	signer.keys = NULL;
	signer.room = 0;
	while (signer.uses &&
	       pthread_cond_clockwait(&signer.unused, &signer.lock, CLOCK_MONOTONIC, &until) == 0)
		;
	unused = signer.uses == 0;
	pthread_mutex_unlock(&signer.lock);
	return unused;
}

/* ---- Orders -------------------------------------------------------------------------------- */

static void seal(struct signer_report *report)
{
	enum sandbox_kind kind = signer.on_token ? SANDBOX_TOKEN_SIGNER : SANDBOX_SIGNER;

	memset(report, 0, sizeof(*report));
	report->verdict = SIGNER_BAD;
	if (!signer.sealed &&
	    sandbox_enter(kind, signer.setup.uid, signer.setup.gid, &report->problem) < 0)
		return;
	signer.sealed = true;
	report->verdict = SIGNER_GOOD;
	if (signer.on_token)
		log_info("private keys, some on tokens: the token's module may open files and "
			 "local sockets");
	log_debug("private keys: %u", signer.count);
	if (signer.setup.engine != CONFIG_ENGINE_GNUTLS && engine_openssl_is_there())
		log_debug("RSA and ECDSA keys of files sign by OpenSSL's libcrypto");
}

static int report_send(const struct signer_order *order, struct signer_report *report)
{
	ssize_t sent;

	report->command = order->command;
	report->number = order->number;
	do
		sent = send(signer.control, report, sizeof(*report), MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == sizeof(*report) ? 0 : -1;
}

static int order_follow(struct signer_order *order, int fd)
{
	static struct signer_report report;

	switch (order->command) {
	case SIGNER_SETUP:
		signer.setup = *order;
		log_set_level((enum config_log_level)order->log_level);
		return 0;
	case SIGNER_MODULE:
		token_add_module(order->source, &signer.problem);
		return 0;
	case SIGNER_LOAD:
		key_load(order, &report);
		return report_send(order, &report);
	case SIGNER_LEND:
		key_lend(order, &report);
		explicit_bzero(order->key, sizeof(order->key));
		return report_send(order, &report);
	case SIGNER_FORGET:
		key_forget(order->number);
		return 0;
	case SIGNER_SEAL:
		seal(&report);
		return report_send(order, &report);
	case SIGNER_CONNECT:
		if (fd >= 0)
			client_begin(fd);
		return 0;
	default:
		return -1;
	}
}

/* The supervisor decides when it ends: a terminal's interrupt reaches all processes. */
static void signals_set(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int signer_main(int control)
{
	const struct rlimit none = {0, 0};
	static struct signer_order order;
	int fd, r;

	signals_set();
	log_set_name("signer");
	setrlimit(RLIMIT_CORE, &none);
#ifndef SANITIZED /* LeakSanitizer traces the process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	r = gnutls_global_init();
	if (r < 0) {
		log_error("GnuTLS does not start: %s", gnutls_strerror(r));
		return EXIT_FAILURE;
	}
	signer.control = control;
	while ((r = signer_order_receive(control, &order, &fd)) == 1)
		if (order_follow(&order, fd) < 0)
			return EXIT_FAILURE;
	/* Workers' threads are still ending: exit() would take the libraries from under them. */
	_exit(keys_free() && r == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
