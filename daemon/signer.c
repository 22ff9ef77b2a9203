// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The signer's process, as the supervisor starts, asks and replaces it. Touches that process and its
 * socket. Never reads a private key, and never waits for the signer without a deadline.
 */
#include "signer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "children.h"
#include "log.h"
#include "program.h"
#include "signer-key.h"
#include "signer-lent.h"
#include "signer-process.h"
#include "signer-protocol.h"

enum {
	LOAD_MS = 30000, /* what one key may take: tokens can be slow */
	SIGN_MS = 30000, /* likewise */
	LEND_MS = 1000,  /* it only has to be read */
	END_MS = 1000,   /* what it has to end by itself */
	FORGET_MS = 100, /* after which it is told once more */
	THREADS_LEAST = 2,
};

struct signer {
	const struct config *config;
	struct child child;
	int control;              /* -1: not running */
	int own;                  /* a worker's socket for the supervisor itself; -1 */
	struct signer_key **keys; /* by number; NULL: freed */
	unsigned key_count, loaded;
	bool sealed;
	bool lends; /* keys may come with requests of the kernel */
	uint32_t last_lent;
	/* Keys that it is to forget and could not be told of yet: */
	uint32_t forgets[SIGNER_LENT_MAX];
	unsigned forget_count;
	bool refused; /* another was started, and a token refused its PIN */
	bool worker;  /* this process is one */
};

/* ---- The process --------------------------------------------------------------------------- */

static int child_run(void *context)
{
	const struct signer *signer = context;
	char *arguments[] = {(char *)"handshaked", (char *)"--signer", NULL};

	/* A test has no such program: there it goes on as it is. */
	if (!program_remembered())
		return signer_main(signer->own);
	program_execute(arguments, (const int[]){signer->own}, 1); /* SIGNER_CONTROL_FD */
	log_error("cannot execute \"%s\" as signer: %m", program_path());
	_exit(EXIT_FAILURE);
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* A thread of the signer serves one worker's socket; a few more where there are more processors. */
static unsigned threads_each(const struct config *config)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned workers = config && config->workers ? config->workers : 1;
	unsigned threads = processors > 0 ? ((unsigned)processors + workers - 1) / workers : 1;

	return threads < THREADS_LEAST ? THREADS_LEAST : threads;
}

static int setup_send(struct signer *signer)
{
	const struct config *config = signer->config;
	static struct signer_order order;
	int r;

	memset(&order, 0, sizeof(order));
	order.command = SIGNER_SETUP;
	order.threads = threads_each(config);
	order.uid = config ? config->signer.uid : (uint32_t)-1;
	order.gid = config ? config->signer.gid : (uint32_t)-1;
	order.log_level = config ? config->log_level : CONFIG_LOG_INFO;
	order.engine = config ? config->signer.engine : CONFIG_ENGINE_AUTO;
	r = signer_order_send(signer->control, &order, -1);
	for (size_t i = 0; r == 0 && config && i < config->signer.module_count; i++) {
		order.command = SIGNER_MODULE;
		strncpy(order.source, config->signer.modules[i], sizeof(order.source) - 1);
		r = signer_order_send(signer->control, &order, -1);
	}
	return r;
}

static int process_start(struct signer *signer, struct problem *problem)
{
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return problem_set(problem, "cannot make a socket for the signer: %s",
				   strerror(errno));
	fd_close(&signer->own);
	signer->own = ends[1]; /* for child_run() */
	r = child_start(&signer->child, (const int[]){ends[1], program_descriptor()}, 2, child_run,
			signer, problem);
	signer->own = -1;
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return -1;
	}
	signer->control = ends[0];
	r = setup_send(signer);
	if (r < 0)
		return problem_set(problem, "cannot tell the signer what to do: %s", strerror(-r));
	return 0;
}

/* Whether it has ended within the time. */
static bool process_wait(pid_t pid, int milliseconds)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int64_t deadline = now_ms() + milliseconds;

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ms() >= deadline)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static void process_leave(struct signer *signer)
{
	fd_close(&signer->own);
	fd_close(&signer->control);
	signer->forget_count = 0; /* its keys end with it */
}

/* By force, when it does not do what it is told. It is not there from now on: what it may still have said is
 * never read, and its death is heard of as that of others. */
static void process_kill(struct signer *signer)
{
	kill(signer->child.pid, SIGKILL);
	process_leave(signer);
}

/* Closes its socket, which ends it; then by force. */
static void process_end(struct signer *signer)
{
	pid_t pid = signer->child.pid;

	process_leave(signer);
	signer->child.pid = 0;
	if (pid == 0 || process_wait(pid, END_MS))
		return;
	kill(pid, SIGKILL);
	if (!process_wait(pid, END_MS))
		log_warning("the signer (process %d) does not end", pid);
}

/* ---- Orders -------------------------------------------------------------------------------- */

static int tell_ended(struct problem *problem)
{
	return problem_set(problem, "the signer ended: the line before this one says why, or"
				    " a token's module made it");
}

/* The report to that order; one to an order before it, which was given up, is passed over. Without a report its
 * verdict is SIGNER_GOOD, and the result -1. */
static int report_await(struct signer *signer, enum signer_command command, uint32_t number,
			int milliseconds, struct signer_report *report, struct problem *problem)
{
	struct pollfd polled = {.fd = signer->control, .events = POLLIN};
	int64_t deadline = now_ms() + milliseconds;
	ssize_t got = -1;

	while (got < 0) {
		int64_t left = deadline - now_ms();

		report->verdict = SIGNER_GOOD;
		if (left <= 0)
			return problem_set(problem, "the signer did not answer within %d seconds",
					   milliseconds / 1000);
		if (poll(&polled, 1, (int)left) <= 0)
			continue;
		got = recv(signer->control, report, sizeof(*report), MSG_DONTWAIT);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			break;
		if (got == sizeof(*report) &&
		    (report->command != command || report->number != number))
			got = -1;
	}
	if (got != sizeof(*report))
		return tell_ended(problem);
	report->problem.text[sizeof(report->problem.text) - 1] = '\0';
	if (report->verdict == SIGNER_GOOD && report->public_size <= sizeof(report->public_key))
		return 0;
	return problem_set(problem, "%s",
			   report->problem.text[0] ? report->problem.text : "the signer refused");
}

/* Sends the order and waits for the report. */
static int ask(struct signer *signer, const struct signer_order *order, int milliseconds,
	       struct signer_report *report, struct problem *problem)
{
	report->verdict = SIGNER_GOOD;
	if (signer_order_send(signer->control, order, -1) < 0)
		return tell_ended(problem);
	return report_await(signer, order->command, order->number, milliseconds, report, problem);
}

static int key_order(struct signer *signer, const struct signer_key *key, struct problem *problem)
{
	static struct signer_order order;

	if (strlen(key->source) >= sizeof(order.source) ||
	    strlen(key->pin_file) >= sizeof(order.pin_file))
		return problem_set(problem, "private-key \"%s\" is too long", key->source);
	memset(&order, 0, sizeof(order));
	order.command = SIGNER_LOAD;
	order.number = key->number;
	snprintf(order.source, sizeof(order.source), "%s", key->source);
	snprintf(order.pin_file, sizeof(order.pin_file), "%s", key->pin_file);
	return signer_order_send(signer->control, &order, -1) < 0 ? tell_ended(problem) : 0;
}

static int key_register(struct signer *signer, struct signer_key *key)
{
	if ((signer->key_count & (signer->key_count - 1)) == 0) {
		size_t room = signer->key_count ? (size_t)signer->key_count * 2 : 1;
		struct signer_key **keys =
		    reallocarray(signer->keys, room, sizeof(struct signer_key *));

		if (!keys)
			return -1;
		signer->keys = keys;
	}
	key->signer = signer;
	key->number = signer->key_count;
	signer->keys[signer->key_count++] = key;
	signer->loaded++;
	return 0;
}

void signer_forget(struct signer *signer, const struct signer_key *key)
{
	signer->keys[key->number] = NULL;
	signer->loaded--;
}

int signer_key_begin(struct signer *signer, const char *source, const char *pin_file,
		     struct signer_key **ret_key, struct problem *problem)
{
	struct signer_key *key;

	if (!signer->child.pid && process_start(signer, problem) < 0)
		return -1;
	key = signer_key_new(source, pin_file ? pin_file : "");
	if (!key || key_register(signer, key) < 0) {
		problem_set(problem, "out of memory");
	} else if (key_order(signer, key, problem) == 0) {
		*ret_key = key;
		return 0;
	}
	signer_key_free(key);
	return -1;
}

int signer_key_finish(struct signer_key *key, struct problem *problem)
{
	static struct signer_report report;
	struct signer *signer = key->signer;

	if (report_await(signer, SIGNER_LOAD, key->number, LOAD_MS, &report, problem) < 0 ||
	    signer_key_learn(key, &report, problem) < 0) {
		signer->refused = signer->refused || report.verdict == SIGNER_PIN_WRONG;
		return -1;
	}
	return 0;
}

int signer_key_load(struct signer *signer, const char *source, const char *pin_file,
		    struct signer_key **ret_key, struct problem *problem)
{
	struct signer_key *key;

	if (signer_key_begin(signer, source, pin_file, &key, problem) < 0)
		return -1;
	if (signer_key_finish(key, problem) < 0) {
		signer_key_free(key);
		return -1;
	}
	*ret_key = key;
	return 0;
}

bool signer_was_refused(const struct signer *signer)
{
	return signer->refused;
}

/* ---- Keys that come with requests ------------------------------------------------------------ */

/* As many as there is room for. Whether all were said. */
static bool forgets_send(struct signer *signer)
{
	struct signer_order order = {.command = SIGNER_FORGET};
	unsigned sent = 0;

	while (sent < signer->forget_count) {
		order.number = signer->forgets[sent];
		if (signer_order_try(signer->control, &order) < 0)
			break;
		sent++;
	}
	signer->forget_count -= sent;
	memmove(signer->forgets, signer->forgets + sent,
		signer->forget_count * sizeof(signer->forgets[0]));
	return signer->forget_count == 0;
}

int signer_lend(struct signer *signer, const void *key, size_t size, struct signer_lent *ret_lent,
		bool *ret_retry, struct problem *problem)
{
	static struct signer_report report;
	static struct signer_order order;
	int r;

	*ret_retry = true;
	if (!signer_is_there(signer))
		return problem_set(problem, "the signer is not there");
	forgets_send(signer); /* there may be room only then */
	*ret_retry = false;
	if (size > sizeof(order.key))
		return problem_set(problem, "the private key has %zu bytes; at most %zu are taken",
				   size, sizeof(order.key));
	memset(&order, 0, sizeof(order));
	order.command = SIGNER_LEND;
	order.number = SIGNER_LENT_FIRST | ++signer->last_lent;
	order.size = (uint32_t)size;
	memcpy(order.key, key, size);
	r = ask(signer, &order, LEND_MS, &report, problem);
	explicit_bzero(&order, sizeof(order));
	if (r < 0 && report.verdict == SIGNER_GOOD) {
		/* It has not answered: nobody knows whether it has the key. */
		*ret_retry = true;
		process_kill(signer);
	}
	if (r < 0) {
		*ret_retry = *ret_retry || report.verdict == SIGNER_FULL;
		return -1;
	}
	*ret_lent = (struct signer_lent){.number = SIGNER_LENT_FIRST | signer->last_lent,
					 .algorithm = report.algorithm,
					 .bits = report.bits,
					 .pss = report.pss};
	memcpy(ret_lent->id, report.id, sizeof(ret_lent->id));
	return 0;
}

void signer_forget_lent(struct signer *signer, uint32_t number)
{
	if (!signer_is_there(signer))
		return;
	if (signer->forget_count == SIGNER_LENT_MAX) {
		log_error("the signer does not forget the keys that it is told to: it is ended");
		process_kill(signer);
		return;
	}
	signer->forgets[signer->forget_count++] = number;
	forgets_send(signer);
}

/* ---- The supervisor as a worker ------------------------------------------------------------ */

int signer_connect(struct signer *signer)
{
	struct signer_order order = {.command = SIGNER_CONNECT};
	int ends[2], r;

	if (!signer_is_there(signer))
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	r = signer_order_send(signer->control, &order, ends[1]);
	close(ends[1]);
	if (r == 0)
		return ends[0];
	close(ends[0]);
	return -1;
}

static int own_receive(struct signer *signer, struct signer_packet *packet)
{
	struct pollfd polled = {.fd = signer->own, .events = POLLIN};
	int64_t deadline = now_ms() + SIGN_MS;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		int64_t left = deadline - now_ms();

		if (left <= 0 || (poll(&polled, 1, (int)left) < 0 && errno != EINTR))
			return -ETIMEDOUT;
		r = signer_packet_receive(signer->own, packet, MSG_DONTWAIT);
	}
	return r;
}

int signer_ask(struct signer *signer, const struct signer_request *request,
	       const gnutls_datum_t *data, gnutls_datum_t *ret_answer)
{
	static struct signer_packet packet;
	struct signer_answer answer;
	const uint8_t *bytes;
	size_t position = 0;

	if (!signer || signer->worker)
		return GNUTLS_E_PK_SIGN_FAILED;
	if (signer->own < 0)
		signer->own = signer_connect(signer);
	packet.size = 0;
	packet.count = 0;
	if (signer->own < 0 ||
	    !signer_packet_add(&packet, request, sizeof(*request), data->data, data->size) ||
	    signer_packet_send(signer->own, &packet, MSG_DONTWAIT) < 0 ||
	    own_receive(signer, &packet) != 1 ||
	    signer_packet_answer(&packet, &position, &answer, &bytes) != 1) {
		fd_close(&signer->own);
		return GNUTLS_E_PK_SIGN_FAILED;
	}
	return answer.error < 0 ? answer.error : signer_key_answer(bytes, answer.size, ret_answer);
}

/* ---- Sealing and replacing ----------------------------------------------------------------- */

/* As the user that the signer has become, and within its sandbox. */
static int tokens_try(struct signer *signer, struct problem *problem)
{
	for (unsigned i = 0; i < signer->key_count; i++)
		if (signer->keys[i] && signer->keys[i]->on_token &&
		    signer_key_try(signer->keys[i]) < 0)
			return problem_set(
			    problem,
			    "private-key \"%s\" was found, but the signer cannot sign with it as "
			    "the"
			    " user that it has become (%u): set signer-user in [daemon] to one that"
			    " may use the token",
			    signer->keys[i]->source, (unsigned)signer->config->signer.uid);
	return 0;
}

int signer_seal(struct signer *signer, struct problem *problem)
{
	const struct signer_order order = {.command = SIGNER_SEAL};
	static struct signer_report report;

	if (!signer_is_needed(signer)) {
		process_end(signer);
		return 0;
	}
	if (!signer->child.pid && process_start(signer, problem) < 0)
		return -1;
	if (ask(signer, &order, LOAD_MS, &report, problem) < 0)
		return -1;
	signer->sealed = true;
	if (tokens_try(signer, problem) < 0)
		return -1;
	fd_close(&signer->own);
	return 0;
}

/* Another process with the same keys: what lies in the files now must be what the certificates need. */
static int restart(struct signer *signer, struct problem *problem)
{
	static struct signer_report report;

	if (process_start(signer, problem) < 0)
		return -1;
	for (unsigned i = 0; i < signer->key_count; i++) {
		struct signer_key *key = signer->keys[i];

		if (!key)
			continue;
		if (key_order(signer, key, problem) < 0)
			return -1;
		if (report_await(signer, SIGNER_LOAD, key->number, LOAD_MS, &report, problem) < 0) {
			signer->refused = report.verdict == SIGNER_PIN_WRONG;
			return -1;
		}
		if (memcmp(report.id, key->id, sizeof(key->id)) != 0)
			return problem_set(
			    problem,
			    "private-key \"%s\" is another than that of the certificate"
			    " that is served; reload",
			    key->source);
	}
	return signer_seal(signer, problem);
}

bool signer_died(struct signer *signer, pid_t pid, int status)
{
	if (!signer || signer->child.pid != pid)
		return false;
	child_died(&signer->child, status, false);
	process_leave(signer);
	return true;
}

bool signer_tend(struct signer *signer, int64_t now, int64_t *ret_next)
{
	struct problem problem = {""};

	*ret_next = INT64_MAX;
	if (!signer || !signer->sealed)
		return false;
	if (!forgets_send(signer))
		*ret_next = now + FORGET_MS;
	if (signer->child.pid || signer->refused)
		return false;
	if (signer->child.start_ms > now) {
		*ret_next = signer->child.start_ms;
		return false;
	}
	if (restart(signer, &problem) == 0) {
		log_info("another signer has the private keys");
		return true;
	}
	process_end(signer);
	signer->child.start_ms = now_ms() + CHILD_DELAY_MAX_MS;
	*ret_next = signer->child.start_ms;
	log_error("the signer cannot be replaced: %s%s", problem.text,
		  signer->refused ? "; it is not tried again before a reload" : "");
	return true;
}

bool signer_is_needed(const struct signer *signer)
{
	return signer && (signer->loaded || signer->lends);
}

bool signer_is_there(const struct signer *signer)
{
	return signer && signer->child.pid && signer->control >= 0;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

int signer_new(const struct config *config, struct signer **ret_signer, struct problem *problem)
{
	struct signer *signer = calloc(1, sizeof(*signer));

	if (!signer)
		return problem_set(problem, "out of memory");
	signer->config = config;
	signer->lends = config && config->kernel.line;
	signer->control = signer->own = -1;
	snprintf(signer->child.name, sizeof(signer->child.name), "signer");
	*ret_signer = signer;
	return 0;
}

void signer_become_worker(struct signer *signer)
{
	if (!signer)
		return;
	/* Its descriptors were closed at the fork. */
	signer->worker = true;
	signer->child.pid = 0;
	signer->control = signer->own = -1;
}

void signer_free(struct signer *signer)
{
	if (!signer)
		return;
	process_end(signer);
	free(signer->keys);
	free(signer);
}
