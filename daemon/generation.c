// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The workers of one configuration. Touches their processes and control sockets. Never waits for a
 * worker without a deadline, and never leaves the old configuration before the new one's workers run.
 */
#include "generation.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "foreign.h"
#include "log.h"
#include "signer.h"
#include "worker.h"

enum {
	READY_MS = 10000,       /* what all workers together have to start */
	FINISH_EXTRA_MS = 1000, /* beyond the time that a worker has itself to finish */
	KILL_MS = 1000,         /* what all workers together have to die */
	WORDS_AT_ONCE = 64,     /* of one worker, before others are heard */
	LAST_WORDS = 1024,      /* more than the queue of one that died can hold */
};

struct generation *generation_new(struct loaded *loaded, unsigned number)
{
	struct generation *generation = calloc(1, sizeof(*generation));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = loaded->config->workers;

	if (count == 0)
		count = processors > 0 ? (unsigned)processors : 1;
	if (generation)
		generation->workers = calloc(count, sizeof(*generation->workers));
	if (!generation || !generation->workers) {
		free(generation);
		return NULL;
	}
	generation->number = number;
	generation->key_log.fd = -1;
	generation->loaded = loaded;
	generation->worker_count = count;
	for (unsigned i = 0; i < count; i++) {
		generation->workers[i].control = -1;
		snprintf(generation->workers[i].child.name,
			 sizeof(generation->workers[i].child.name), "worker %u", i + 1);
	}
	return generation;
}

/* ---- Starting ------------------------------------------------------------------------------ */

static int worker_run_child(void *context)
{
	return worker_main(context);
}

static int worker_start(struct generation *generation, unsigned i, struct problem *problem)
{
	struct worker_child *worker = &generation->workers[i];
	struct worker_setup setup = {
	    .index = i + 1,
	    .workers = generation->worker_count,
	    .generation = generation->number,
	    .daemon_started_ms = generation->daemon_started_ms,
	    .daemon_pid = getpid(),
	    .loaded = generation->loaded,
	    .kernel = generation->kernel,
	    .counters = generation->counters,
	    .secrets = generation->secrets,
	    .store_directory = generation->store_directory,
	    .early_data = generation->early_data,
	    .networks = generation->netlink ? source_netlink_tally(generation->netlink) : NULL,
	    .listening_fd = generation->unix_socket->fd,
	    .relay_socket = relays_socket(generation->relays, i),
	    .signer_fd = signer_connect(generation->loaded->signer),
	    .key_log = &generation->key_log,
	};
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return problem_set(problem, "cannot make a socket for %s: %s", worker->child.name,
				   strerror(errno));
	setup.control_fd = ends[1];
	r = child_start(&worker->child,
			(const int[]){setup.listening_fd, setup.control_fd, setup.relay_socket,
				      setup.signer_fd, generation->key_log.fd},
			5, worker_run_child, &setup, problem);
	close(ends[1]);
	if (setup.signer_fd >= 0)
		close(setup.signer_fd);
	if (r < 0) {
		close(ends[0]);
		return -1;
	}
	worker->control = ends[0];
	/* Born without one: it is told what becomes of that. */
	worker->signer_due = setup.signer_fd < 0;
	worker->ready = false;
	worker->told = 0;
	worker->pulse = (struct pulse){0};
	return 0;
}

/* Waits for one worker's word. */
static int worker_await(struct worker_child *worker, int64_t deadline, struct problem *problem)
{
	struct pollfd polled = {.fd = worker->control, .events = POLLIN};
	struct control control = {0};
	int fds[CONTROL_FDS], r = -EAGAIN;

	while (r == -EAGAIN || r == -EPROTO) {
		int64_t left = deadline - now_ms();

		if (left <= 0 || (poll(&polled, 1, (int)left) < 0 && errno != EINTR))
			return problem_set(problem, "%s did not start within %d seconds",
					   worker->child.name, READY_MS / 1000);
		r = control_receive(worker->control, &control, fds);
	}
	foreign_close(fds[0]); /* of another word than is awaited */
	foreign_close(fds[1]);
	if (r <= 0 || control.kind != CONTROL_READY)
		return problem_set(problem, "%s could not start: the line before this one says why",
				   worker->child.name);
	worker->ready = true;
	return 0;
}

/* Even one that was ended by force may be held up in a system call for as long as a stranger likes (a
 * descriptor of a program's, locked). It runs no more, whenever it ends. */
static void worker_reap(const struct worker_child *worker, int64_t deadline)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	while (waitpid(worker->child.pid, NULL, WNOHANG) == 0) {
		if (now_ms() >= deadline) {
			log_warning("%s (process %d) does not end", worker->child.name,
				    worker->child.pid);
			return;
		}
		nanosleep(&pause, NULL);
	}
}

/* What it has not said any more may be programs' descriptors. */
static void worker_close(struct worker_child *worker)
{
	foreign_close(worker->control);
	worker->control = -1;
	worker->ready = false;
}

static void generation_kill(struct generation *generation)
{
	int64_t deadline = now_ms() + KILL_MS;

	for (unsigned i = 0; i < generation->worker_count; i++)
		if (generation->workers[i].child.pid)
			kill(generation->workers[i].child.pid, SIGKILL);
	for (unsigned i = 0; i < generation->worker_count; i++) {
		struct worker_child *worker = &generation->workers[i];

		if (worker->child.pid) {
			worker_reap(worker, deadline);
			counters_forget_process(generation->counters, worker->child.pid);
			worker->child.pid = 0;
		}
		worker_close(worker);
	}
}

/* Opened by who may open files; the workers inherit it. */
static int key_log_begin(struct generation *generation, struct problem *problem)
{
	const char *path = generation->loaded->config->key_log;

	if (!path)
		return 0;
	if (key_log_open(path, &generation->key_log, problem) < 0)
		return -1;
	log_warning(
	    "key-log = \"%s\": the secrets of ALL connections are written there; whoever "
	    "reads that file reads everything that they carry. Remove the key when you have "
	    "seen what you wanted to see",
	    path);
	return 0;
}

int generation_start(struct generation *generation, struct problem *problem)
{
	int64_t deadline = now_ms() + READY_MS;
	int r = key_log_begin(generation, problem);

	for (unsigned i = 0; i < generation->worker_count && r == 0; i++)
		r = worker_start(generation, i, problem);
	for (unsigned i = 0; i < generation->worker_count && r == 0; i++)
		r = worker_await(&generation->workers[i], deadline, problem);
	if (r < 0)
		generation_kill(generation);
	return r;
}

/* ---- Tending ------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The socket to the signer that has come, or that none has. 0, or -1: once more, later. */
static int signer_tell(struct signer *signer, struct worker_child *worker)
{
	struct control control = {.kind = CONTROL_NO_SIGNER};
	int fd, r;

	if (!signer_is_needed(signer))
		return 0;
	fd = signer_connect(signer);
	if (fd >= 0)
		control.kind = CONTROL_SIGNER;
	else if (signer_is_there(signer))
		return -1;
	r = control_send(worker->control, &control, &fd);
	if (fd >= 0)
		close(fd);
	return r;
}

/* Sends what the worker has not heard yet, as far as its queue has room. */
static void worker_tell(struct generation *generation, struct worker_child *worker,
			const struct registry *registry)
{
	struct control control;
	const struct registration *registration;

	memset(&control, 0, sizeof(control));
	if (worker->finish_due) {
		control.kind = CONTROL_FINISH;
		control.timeout_ms = generation->finish_ms;
		control.hand_over = generation->hand_over;
		worker->finish_due = control_send(worker->control, &control, NULL) == -EAGAIN;
	}
	if (worker->signer_due)
		worker->signer_due = signer_tell(generation->loaded->signer, worker) < 0;
	worker->lagging = worker->finish_due;
	while (!generation->retired && (registration = registry_after(registry, worker->told))) {
		const int fds[CONTROL_FDS] = {registration->listening_fd,
					      registration->connection_fd};
		bool listens = registration->request.operation != REQUEST_TRACE;

		control.kind = listens ? CONTROL_LISTEN : CONTROL_TRACE;
		control.caller = registration->caller;
		control.request = registration->request;
		worker->lagging =
		    control_send(worker->control, &control, listens ? fds : fds + 1) < 0;
		if (worker->lagging)
			break; /* full, or dead: poll() tells */
		worker->told = registration->number;
	}
}

static void worker_lost(struct generation *generation, struct worker_child *worker, int status)
{
	bool wanted = generation->retired && status == 0;
	pid_t pid = worker->child.pid;

	worker_close(worker);
	child_died(&worker->child, status, wanted);
	counters_forget_process(generation->counters, pid);
	if (generation->netlink)
		source_netlink_died(generation->netlink, pid);
	if (!wanted)
		counters_add(generation->counters, COUNTER_WORKERS_DIED, 1);
}

/* One that is held up in the kernel has nothing more to say, and does nothing more when it goes on. It is counted as
 * dead already: what it had is answered, and another takes its place. */
static int64_t worker_watch(struct generation *generation, struct worker_child *worker, int64_t now)
{
	pid_t pid = worker->child.pid;
	int64_t next;

	if (!pulse_has_stopped(&worker->pulse, pid, now, &next))
		return next;
	if (pulse_give_up(pid)) {
		log_error(
		    "%s (process %d) has not moved for %d seconds: a program or its peer holds up"
		    " a system call on its socket; another takes its place",
		    worker->child.name, (int)pid, PULSE_MS / 1000);
		worker_lost(generation, worker, SIGKILL);
		return now;
	}
	log_error("%s (process %d) has not moved for %d seconds, and %d others before it still have"
		  " not ended: it is not replaced before one of them ends",
		  worker->child.name, (int)pid, PULSE_MS / 1000, PULSE_HELD_MAX);
	return next;
}

static int64_t worker_tend(struct generation *generation, unsigned i,
			   const struct registry *registry, int64_t now)
{
	struct worker_child *worker = &generation->workers[i];
	struct problem problem = {""};
	int64_t watched;

	if (worker->child.pid == 0 && !generation->retired && worker->child.start_ms <= now &&
	    worker_start(generation, i, &problem) < 0) {
		log_error("%s", problem.text);
		worker->child.start_ms = now + CHILD_DELAY_MAX_MS;
	}
	if (worker->child.pid == 0)
		return generation->retired ? INT64_MAX : worker->child.start_ms;
	watched = worker_watch(generation, worker, now);
	if (worker->child.pid == 0)
		return now;
	if (worker->ready)
		worker_tell(generation, worker, registry);
	return earlier(watched, child_deadline(&worker->child, now));
}

int64_t generation_tend(struct generation *generation, const struct registry *registry, int64_t now)
{
	int64_t next;

	if (signer_tend(generation->loaded->signer, now, &next))
		for (unsigned i = 0; i < generation->worker_count; i++)
			generation->workers[i].signer_due = true;

	for (unsigned i = 0; i < generation->worker_count; i++)
		next = earlier(next, worker_tend(generation, i, registry, now));
	return next;
}

void generation_poll(const struct generation *generation, struct pollfd *ret_polled)
{
	for (unsigned i = 0; i < generation->worker_count; i++) {
		const struct worker_child *worker = &generation->workers[i];

		ret_polled[i] = (struct pollfd){
		    .fd = worker->control,
		    .events = (short)(POLLIN | (worker->lagging ? POLLOUT : 0)),
		};
	}
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* Whoever has room takes it; a program that nobody can take sees its connection end. Takes fd. */
static void program_pass(struct generation *current, int fd)
{
	const struct control control = {.kind = CONTROL_PROGRAM};
	bool passed =
	    socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_SEQPACKET;

	for (unsigned i = 0; i < current->worker_count && !passed && !current->retired; i++) {
		unsigned next = current->next_worker++ % current->worker_count;

		passed = current->workers[next].ready &&
			 control_send(current->workers[next].control, &control, &fd) == 0;
	}
	foreign_close(fd);
}

pid_t generation_give(struct generation *generation, const struct kernel_request *request,
		      const int fds[2])
{
	const struct control control = {
	    .kind = fds[1] < 0 ? CONTROL_KERNEL : CONTROL_KERNEL_KEYS,
	    .kernel_request = *request,
	};

	for (unsigned i = 0; i < generation->worker_count && !generation->retired; i++) {
		struct worker_child *worker =
		    &generation->workers[generation->next_worker++ % generation->worker_count];

		if (worker->ready && control_send(worker->control, &control, fds) == 0)
			return worker->child.pid;
	}
	return 0;
}

/* Who listens or watches is the one at the other end of the connection, whoever a worker says it is. */
static void program_register(struct registry *registry, struct control *control, int listening_fd,
			     int connection_fd, const struct config *config)
{
	if (caller_identify(connection_fd, &control->caller) == 0) {
		registry_add(registry, &control->caller, &control->request, listening_fd,
			     connection_fd, worker_clients_per_user(config), config->clients_total);
		return;
	}
	log_warning("a worker passed on a listening of nobody");
	foreign_close(listening_fd);
	foreign_close(connection_fd);
}

/* Up to so many words. 0, or -errno as control_receive(); -EPROTO: what only the supervisor says, too. */
static int worker_hear(struct generation *generation, struct worker_child *worker, unsigned most,
		       struct registry *registry, struct generation *current)
{
	const struct config *config = generation->loaded->config;
	struct control control;
	int fds[CONTROL_FDS], r;

	for (unsigned i = 0; i < most; i++) {
		r = control_receive(worker->control, &control, fds);
		if (r == -EMFILE) {
			log_error("what %s said is lost: the supervisor is at its limit of open"
				  " descriptors; raise it (LimitNOFILE)",
				  worker->child.name);
			continue;
		}
		if (r <= 0)
			return r == 0 ? -EPIPE : r;
		switch (control.kind) {
		case CONTROL_READY:
			worker->ready = true;
			break;
		case CONTROL_LISTEN:
			program_register(registry, &control, fds[0], fds[1], config);
			break;
		case CONTROL_TRACE:
			program_register(registry, &control, -1, fds[0], config);
			break;
		case CONTROL_PROGRAM:
			program_pass(current, fds[0]);
			break;
		case CONTROL_KERNEL_DONE:
			if (generation->netlink)
				source_netlink_answer(generation->netlink, worker->child.pid,
						      &control.kernel_answer, -1);
			break;
		case CONTROL_KERNEL_PEER:
			if (generation->netlink)
				source_netlink_answer(generation->netlink, worker->child.pid,
						      &control.kernel_answer, fds[0]);
			foreign_close(fds[0]);
			break;
		default:
			foreign_close(fds[0]);
			foreign_close(fds[1]);
			return -EPROTO;
		}
	}
	return 0;
}

static void worker_polled(struct generation *generation, struct worker_child *worker,
			  struct registry *registry, struct generation *current)
{
	int r = worker_hear(generation, worker, WORDS_AT_ONCE, registry, current);

	if (r == 0 || r == -EAGAIN)
		return;
	if (r == -EPROTO && worker->child.pid) {
		/* The same program in memory never says such a thing: somebody has taken it over. */
		log_error("%s said what cannot be followed: it is ended", worker->child.name);
		kill(worker->child.pid, SIGKILL);
	}
	worker_close(worker);
}

void generation_polled(struct generation *generation, const struct pollfd *polled,
		       struct registry *registry, struct generation *current)
{
	for (unsigned i = 0; i < generation->worker_count; i++)
		if (polled[i].revents & (POLLIN | POLLHUP | POLLERR) &&
		    generation->workers[i].control >= 0)
			worker_polled(generation, &generation->workers[i], registry, current);
}

bool generation_died(struct generation *generation, pid_t pid, int status,
		     struct registry *registry, struct generation *current)
{
	if (signer_died(generation->loaded->signer, pid, status)) {
		counters_add(generation->counters, COUNTER_SIGNERS_DIED, 1);
		return true;
	}
	for (unsigned i = 0; i < generation->worker_count; i++) {
		struct worker_child *worker = &generation->workers[i];

		if (worker->child.pid != pid)
			continue;
		if (worker->control >= 0)
			worker_hear(generation, worker, LAST_WORDS, registry, current);
		worker_lost(generation, worker, status);
		return true;
	}
	return false;
}

/* ---- Ending -------------------------------------------------------------------------------- */

void generation_retire(struct generation *generation, uint32_t milliseconds, bool hand_over)
{
	int64_t limit = now_ms() + milliseconds + FINISH_EXTRA_MS;

	generation->retired = true;
	generation->finish_ms = milliseconds;
	generation->hand_over = hand_over;
	for (unsigned i = 0; i < generation->worker_count; i++) {
		struct worker_child *worker = &generation->workers[i];

		if (!worker->child.pid)
			continue;
		if (!worker->child.kill_ms || limit < worker->child.kill_ms) {
			worker->child.kill_ms = limit;
			worker->finish_due = true;
		}
	}
}

bool generation_gone(const struct generation *generation)
{
	for (unsigned i = 0; i < generation->worker_count; i++)
		if (generation->workers[i].child.pid)
			return false;
	return generation->retired;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	generation_kill(generation);
	key_log_close(&generation->key_log);
	if (generation->netlink)
		source_netlink_forget_signer(generation->netlink, generation->loaded->signer);
	loaded_free(generation->loaded);
	free(generation->workers);
	free(generation);
}
