// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The worker process. Touches the descriptors that it was born with and those that come to it; opens
 * no file. Must not see a byte of a stranger before it is in its sandbox.
 */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "foreign.h"
#include "listening.h"
#include "log.h"
#include "parking.h"
#include "sandbox.h"
#include "signer.h"
#include "signing.h"
#include "source-unix.h"
#include "source-upcall.h"

unsigned worker_clients_per_user(const struct config *config)
{
	return config->clients_total ? (config->clients_total + 1) / 2 : 0;
}

int worker_pause(struct worker *worker)
{
	const struct timeval pause = {.tv_usec = 50000};

	event_base_update_cache_time(worker->base);
	return event_add(worker->pause, &pause);
}

/* ---- The daemon's socket ------------------------------------------------------------------- */

static void worker_accept(evutil_socket_t fd, short events, void *context)
{
	struct worker *worker = context;

	(void)fd, (void)events;
	if (source_accept(worker) || worker->finishing)
		return;
	/* The program stays in the queue meanwhile. Without memory for the pause it is tried again at once. */
	if (worker_pause(worker) == 0)
		event_del(worker->accepting);
}

static void worker_try_again(evutil_socket_t fd, short events, void *context)
{
	struct worker *worker = context;

	(void)fd, (void)events;
	if (worker->finishing)
		source_finish_all(worker); /* the supervisor's queue was full */
	else if (event_add(worker->accepting, NULL) < 0 && worker_pause(worker) < 0)
		event_base_loopbreak(worker->base); /* deaf: another worker takes its place */
}

/* ---- The end ------------------------------------------------------------------------------- */

void worker_check_finished(struct worker *worker)
{
	if (worker->finishing && LIST_EMPTY(&worker->sources) && LIST_EMPTY(&worker->listenings) &&
	    LIST_EMPTY(&worker->upcalls))
		event_base_loopbreak(worker->base);
}

static void worker_deadline(evutil_socket_t fd, short events, void *context)
{
	struct worker *worker = context;

	(void)fd, (void)events;
	log_info("the time to finish is over: what is still under way is cancelled");
	source_end_all(worker);
	listening_end_all(worker);
	upcall_end_all(worker);
	event_base_loopbreak(worker->base);
}

static void worker_finish(struct worker *worker, uint32_t timeout_ms, bool hand_over)
{
	const struct timeval timeout = {
	    .tv_sec = timeout_ms / 1000,
	    .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000,
	};

	/* A second word may shorten the time: reload, then stop. */
	event_base_update_cache_time(worker->base);
	event_add(worker->deadline, &timeout);
	worker->handing_over = hand_over;
	if (!worker->finishing) {
		worker->finishing = true;
		event_del(worker->accepting);
		event_del(worker->pause);
	}
	source_finish_all(worker);
	listening_finish_all(worker);
	worker_check_finished(worker);
}

/* ---- The supervisor ------------------------------------------------------------------------ */

static void worker_control(evutil_socket_t fd, short events, void *context)
{
	struct worker *worker = context;
	struct control control;
	int fds[CONTROL_FDS], r;

	(void)events;
	while ((r = control_receive(fd, &control, fds)) > 0) {
		if (control.kind == CONTROL_FINISH) {
			worker_finish(worker, control.timeout_ms, control.hand_over);
		} else if (control.kind == CONTROL_LISTEN && !worker->finishing) {
			listening_begin(worker, &control.caller, &control.request, fds[0], fds[1]);
		} else if (control.kind == CONTROL_PROGRAM && !worker->finishing) {
			source_adopt(worker, fds[0]);
		} else if (control.kind == CONTROL_SIGNER && worker->surroundings.signing) {
			signing_change(worker->surroundings.signing, fds[0]);
		} else if (control.kind == CONTROL_NO_SIGNER && worker->surroundings.signing) {
			signing_change(worker->surroundings.signing, -1);
		} else if (control.kind == CONTROL_TRACE && !worker->finishing) {
			tracing_watch(&worker->tracing, &control.caller, &control.request, fds[0]);
		} else if (control.kind == CONTROL_KERNEL || control.kind == CONTROL_KERNEL_KEYS) {
			/* also while finishing: it was promised */
			upcall_begin(worker, &control.kernel_request, fds[0], fds[1]);
		} else {
			foreign_close(fds[0]);
			foreign_close(fds[1]);
		}
	}
	if (r == -EAGAIN)
		return;
	/* What it does not know of would go on without it: another, that is told all, takes its place. */
	if (r == -EMFILE)
		log_error("the supervisor's word is lost: the limit of open descriptors is reached;"
			  " raise it (LimitNOFILE)");
	else if (r < 0)
		log_error("the supervisor cannot be heard: %s", strerror(-r));
	else
		log_error("the supervisor is gone");
	_exit(EXIT_FAILURE);
}

/* ---- Being born ---------------------------------------------------------------------------- */

/* The supervisor decides when a worker ends: a terminal's interrupt reaches all processes. */
static int signals_set(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		if (signal(ignored[i], SIG_IGN) == SIG_ERR)
			return -errno;
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : foreign_start(true);
}

static int worker_make_events(struct worker *worker)
{
	worker->base = event_base_new();
	if (!worker->base)
		return -ENOMEM;
	worker->surroundings.base = worker->base;
	worker->surroundings.kernel = worker->setup->kernel;
	worker->surroundings.relay_socket = worker->setup->relay_socket;
	offload_nic_open(&worker->nic);
	worker->surroundings.nic = &worker->nic;
	tracing_init(&worker->tracing, worker->base, worker->setup->loaded);
	worker->surroundings.tracing = &worker->tracing;
	worker->surroundings.key_log = worker->setup->key_log;
	worker->surroundings.secrets = worker->setup->secrets;
	if (signer_is_needed(worker->setup->loaded->signer)) {
		worker->surroundings.signing =
		    signing_new(worker->base, worker->setup->signer_fd, SIGNING_STACKS);
		if (!worker->surroundings.signing)
			return -ENOMEM;
	}
	worker->surroundings.counters = worker->setup->counters;
	worker->accepting = event_new(worker->base, worker->setup->listening_fd,
				      EV_READ | EV_PERSIST, worker_accept, worker);
	worker->pause = evtimer_new(worker->base, worker_try_again, worker);
	worker->control = event_new(worker->base, worker->setup->control_fd, EV_READ | EV_PERSIST,
				    worker_control, worker);
	worker->deadline = evtimer_new(worker->base, worker_deadline, worker);
	if (!worker->accepting || !worker->pause || !worker->control || !worker->deadline)
		return -ENOMEM;
	return event_add(worker->accepting, NULL) < 0 || event_add(worker->control, NULL) < 0
		   ? -ENOMEM
		   : 0;
}

static void worker_done(struct worker *worker)
{
	struct event *const events[] = {worker->accepting, worker->pause, worker->control,
					worker->deadline};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	offload_nic_close(&worker->nic);
	signing_free(worker->surroundings.signing);
	parking_free(worker->surroundings.parking);
	if (worker->base)
		event_base_free(worker->base);
	shared_store_close(worker->surroundings.store);
}

static int worker_run(struct worker *worker)
{
	const struct control ready = {.kind = CONTROL_READY};
	const struct config *config = worker->config;
	struct problem problem = {""};
	struct shared_store_way way;
	int r = signals_set();

	if (r == 0)
		r = worker_make_events(worker);
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	/* What lies in the store others wrote: it is read with no more privileges than they have. */
	if (shared_store_reach(worker->setup->store_directory, &way, &problem) < 0 ||
	    sandbox_drop(SANDBOX_WORKER, config->uid, config->gid, &problem) < 0 ||
	    shared_store_open(way.path, config->session_cache_bytes, &worker->surroundings.store,
			      &problem) < 0) {
		log_error("cannot start: %s", problem.text);
		return EXIT_FAILURE;
	}
	close(way.fd);
	worker->early_data = *worker->setup->early_data;
	worker->early_data.store = worker->surroundings.store;
	worker->early_data.counters = worker->setup->counters;
	worker->surroundings.early_data = &worker->early_data;
	worker->surroundings.parking =
	    parking_new(worker->base, worker->surroundings.store, worker->setup->counters);
	if (!worker->surroundings.parking) {
		log_error("cannot start: out of memory");
		return EXIT_FAILURE;
	}
	if (sandbox_close(SANDBOX_WORKER, &problem) < 0) {
		log_error("cannot enter the sandbox: %s", problem.text);
		return EXIT_FAILURE;
	}
	r = control_send(worker->setup->control_fd, &ready, NULL);
	if (r < 0) {
		log_error("cannot tell the supervisor: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	if (event_base_dispatch(worker->base) < 0) {
		log_error("the event loop failed: %m");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

int worker_main(const struct worker_setup *setup)
{
	struct worker worker = {
	    .setup = setup,
	    .config = setup->loaded->config,
	    .nic = {.statistics = -1, .diag = -1},
	};
	int status;

	secrets_protect(setup->secrets);
	log_set_level(worker.config->log_level);
	log_set_name("worker %u", setup->index);
	signer_become_worker(setup->loaded->signer);
	LIST_INIT(&worker.sources);
	LIST_INIT(&worker.listenings);
	LIST_INIT(&worker.upcalls);
	status = worker_run(&worker);
	source_end_all(&worker);
	listening_end_all(&worker);
	tracing_done(&worker.tracing);
	upcall_end_all(&worker);
	worker_done(&worker);
	return status;
}
