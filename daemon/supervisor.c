// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The supervisor's life: signals, children, the loop. Touches signals and the other processes.
 * Must never parse a byte that came from a network or a program, and never wait for anyone without a
 * deadline.
 */
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expiry.h"
#include "foreign.h"
#include "log.h"
#include "notify.h"
#include "process-limits.h"
#include "program.h"
#include "shared-store.h"
#include "supervisor-state.h"

enum {
	RELAYS_IDLE_MS = 500, /* what relays without connections have to end */
	POLLED_OWN = 2,       /* signals, watch */
};

/* ---- Signals ------------------------------------------------------------------------------- */

static int signals_take(struct supervisor *supervisor, struct problem *problem)
{
	sigset_t taken;

	sigemptyset(&taken);
	sigaddset(&taken, SIGHUP);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	/* Ignored since before this program, SIGCHLD would leave no child to wait for. */
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_SETMASK, &taken, NULL) < 0 || foreign_start(false) < 0)
		return problem_set(problem, "cannot take signals: %s", strerror(errno));
	supervisor->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signals < 0)
		return problem_set(problem, "cannot take signals: %s", strerror(errno));
	return 0;
}

static void supervisor_stop(struct supervisor *supervisor)
{
	if (supervisor->stopping) {
		log_info("stopping at once");
		supervisor->stop_now = true;
		return;
	}
	supervisor->stopping = true;
	log_info("stopping");
	notify_stopping();
	watch_set(supervisor->watch, NULL, true);
	/* Who comes now finds nobody, and knows it at once. */
	unix_socket_free(supervisor->unix_socket);
	supervisor->unix_socket = NULL;
	for (struct generation *g = supervisor->generations; g; g = g->next)
		generation_retire(g, g->loaded->config->stop_timeout_ms, false);
	registry_done(&supervisor->registry);
	if (supervisor->netlink)
		source_netlink_stop(supervisor->netlink);
}

static void supervisor_reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bool known = false;

		for (struct generation *g = supervisor->generations; g && !known; g = g->next)
			known = generation_died(g, pid, status, &supervisor->registry,
						supervisor->generations);
		for (struct relays *r = supervisor->relays; r && !known; r = r->next)
			known = relays_died(r, supervisor->counters, pid, status);
	}
}

static void supervisor_hear_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			supervisor->reload_due = true;
		else if (info.ssi_signo != SIGCHLD)
			supervisor_stop(supervisor);
	}
	/* One SIGCHLD may stand for many. */
	supervisor_reap(supervisor);
}

/* ---- The loop ------------------------------------------------------------------------------ */

/* Lets go of what has come to its end. The current generation and relays stay at the head. */
static void supervisor_sweep(struct supervisor *supervisor)
{
	for (struct generation **g = &supervisor->generations; *g;) {
		struct generation *gone = *g;

		if (!generation_gone(gone)) {
			g = &gone->next;
			continue;
		}
		*g = gone->next;
		gone->relays->users--;
		generation_free(gone);
	}
	for (struct relays **r = &supervisor->relays; *r;) {
		struct relays *set = *r;

		/* Whose workers have all ended gets no more connections. */
		if (set->users == 0 && (r != &supervisor->relays || supervisor->stopping))
			relays_retire(set);
		if (set->users == 0 && relays_gone(set) &&
		    (r != &supervisor->relays || supervisor->stopping)) {
			*r = set->next;
			relays_free(set);
		} else {
			r = &set->next;
		}
	}
}

/* Returns when to look again. */
static int64_t secrets_tend(struct supervisor *supervisor, int64_t now)
{
	struct problem problem = {""};

	if (secrets_rotate_due(supervisor->secrets) == 0 &&
	    secrets_rotate(supervisor->secrets, &problem) < 0) {
		log_error("%s", problem.text);
		return now + 10000; /* it may pass: no randomness, a full disk */
	}
	return now + 1000 * secrets_rotate_due(supervisor->secrets);
}

/* poll() waits a minute at most, so that is how late the log may be. */
static void supervisor_tell_expiry(struct supervisor *supervisor)
{
	time_t now = time(NULL);

	if (supervisor->expiry && supervisor->expiry <= now && supervisor->generations)
		supervisor->expiry = expiry_tell(supervisor->generations->loaded, now);
}

static int64_t supervisor_tend(struct supervisor *supervisor)
{
	int64_t now = now_ms(), next = secrets_tend(supervisor, now), then;

	supervisor_tell_expiry(supervisor);
	then = watch_due(supervisor->watch);
	next = then < next ? then : next;
	if (supervisor->netlink) {
		then = source_netlink_tend(supervisor->netlink, now);
		next = then < next ? then : next;
	}
	for (struct generation *g = supervisor->generations; g; g = g->next) {
		then = generation_tend(g, &supervisor->registry, now);
		next = then < next ? then : next;
	}
	for (struct relays *r = supervisor->relays; r; r = r->next) {
		then = relays_tend(r, supervisor->counters, now);
		next = then < next ? then : next;
	}
	return next;
}

static size_t poll_count(const struct supervisor *supervisor)
{
	size_t count = POLLED_OWN + (supervisor->netlink ? SOURCE_NETLINK_POLLED : 0) +
		       supervisor->registry.count;

	for (const struct generation *g = supervisor->generations; g; g = g->next)
		count += g->worker_count;
	return count;
}

static int poll_timeout(int64_t next)
{
	int64_t left;

	if (next == INT64_MAX)
		return -1;
	left = next - now_ms();
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Waits once and hears whoever has something to say. Programs that left first: their place in the array
 * is that of the registry, to which workers add. */
static void supervisor_wait(struct supervisor *supervisor, struct pollfd *polled, int64_t next)
{
	size_t count = poll_count(supervisor), registered = supervisor->registry.count, at;

	polled[0] = (struct pollfd){.fd = supervisor->signals, .events = POLLIN};
	polled[1] = (struct pollfd){.fd = watch_fd(supervisor->watch), .events = POLLIN};
	registry_poll(&supervisor->registry, polled + POLLED_OWN);
	at = POLLED_OWN + registered;
	for (struct generation *g = supervisor->generations; g; g = g->next) {
		generation_poll(g, polled + at);
		at += g->worker_count;
	}
	if (supervisor->netlink)
		source_netlink_poll(supervisor->netlink, polled + at);
	if (poll(polled, count, poll_timeout(next)) <= 0)
		return;
	registry_polled(&supervisor->registry, polled + POLLED_OWN, registered);
	at = POLLED_OWN + registered;
	for (struct generation *g = supervisor->generations; g; g = g->next) {
		generation_polled(g, polled + at, &supervisor->registry, supervisor->generations);
		at += g->worker_count;
	}
	if (polled[1].revents)
		watch_hear(supervisor->watch, now_ms());
	if (supervisor->netlink)
		source_netlink_polled(supervisor->netlink, polled + at);
	if (polled[0].revents)
		supervisor_hear_signals(supervisor);
}

/* Makes room for what poll() is to watch. NULL: there is no memory, the old array is gone. */
static struct pollfd *polled_fit(struct pollfd *polled, size_t *room, size_t count)
{
	struct pollfd *more;

	if (polled && count <= *room)
		return polled;
	*room = count * 2;
	more = reallocarray(polled, *room, sizeof(*polled));
	if (!more) {
		log_error("out of memory");
		free(polled);
	}
	return more;
}

/* 0 when it was told to end, or -1. */
static int supervisor_loop(struct supervisor *supervisor)
{
	struct pollfd *polled = NULL;
	size_t room = 0;

	while (!supervisor->stop_now) {
		int64_t next;

		if (watch_look(supervisor->watch, now_ms()) && !supervisor->reload_due) {
			log_info("files that the configuration names have changed");
			supervisor->reload_due = true;
		}
		if (supervisor->relays && !supervisor->stopping &&
		    relays_spoiled(supervisor->relays))
			supervisor->reload_due = true;
		if (supervisor->reload_due)
			supervisor_reload(supervisor);
		next = supervisor_tend(supervisor);
		supervisor_sweep(supervisor);
		if (supervisor->stopping && !supervisor->generations)
			break;
		polled = polled_fit(polled, &room, poll_count(supervisor));
		if (!polled)
			return -1;
		supervisor_wait(supervisor, polled, next);
	}
	free(polled);
	return 0;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static int supervisor_begin(struct supervisor *supervisor, struct problem *problem)
{
	if (signals_take(supervisor, problem) < 0 || program_remember(problem) < 0)
		return -1;
	supervisor->counters = counters_new();
	if (!supervisor->counters)
		return problem_set(problem, "cannot make the memory for the counters: %s",
				   strerror(errno));
	supervisor->watch = watch_new();
	if (!supervisor->watch)
		return problem_set(problem, "out of memory");
	registry_init(&supervisor->registry, supervisor->counters);
	supervisor->started_ms = now_ms();
	offload_kernel_probe(&supervisor->kernel);
	limits_protect_memory();
	return supervisor_configure(supervisor, problem);
}

/* Relays that carry nothing end at once and are waited for; the others live on without the daemon. */
static void relays_leave(struct supervisor *supervisor)
{
	int64_t deadline = now_ms() + RELAYS_IDLE_MS;

	for (struct relays *r = supervisor->relays; r; r = r->next)
		relays_retire(r);
	while (supervisor->relays && counters_get(supervisor->counters, COUNTER_RELAYED) == 0) {
		struct pollfd polled = {.fd = supervisor->signals, .events = POLLIN};
		int64_t left = deadline - now_ms();

		supervisor_reap(supervisor);
		supervisor_sweep(supervisor);
		if (!supervisor->relays || left <= 0)
			break;
		if (poll(&polled, 1, (int)left) > 0)
			supervisor_hear_signals(supervisor);
	}
}

static void supervisor_end(struct supervisor *supervisor)
{
	supervisor->stopping = true;
	unix_socket_free(supervisor->unix_socket);
	if (supervisor->counters)
		registry_done(&supervisor->registry);
	if (supervisor->netlink)
		source_netlink_stop(supervisor->netlink);
	while (supervisor->generations) {
		struct generation *generation = supervisor->generations;

		supervisor->generations = generation->next;
		generation->relays->users--;
		generation_free(generation);
	}
	source_netlink_free(supervisor->netlink);
	keyring_links_drop(&supervisor->links, &(struct keyring_links){0});
	if (supervisor->counters)
		relays_leave(supervisor);
	while (supervisor->relays) {
		struct relays *relays = supervisor->relays;

		supervisor->relays = relays->next;
		relays_free(relays);
	}
	counters_free(supervisor->counters);
	watch_free(supervisor->watch);
	secrets_free(supervisor->secrets);
	if (supervisor->store_directory && !supervisor->store_kept)
		shared_store_remove(supervisor->store_directory);
	free(supervisor->store_directory);
	early_data_guard_close(&supervisor->early_data);
	if (supervisor->signals >= 0)
		close(supervisor->signals);
}

int supervisor_run(const struct config_source *source, void (*ready)(void *context), void *context)
{
	struct supervisor supervisor = {.source = source, .signals = -1};
	struct problem problem = {""};
	int status = EXIT_SUCCESS;

	log_set_name("supervisor");
	if (supervisor_begin(&supervisor, &problem) < 0) {
		log_error("%s", problem.text);
		status = EXIT_FAILURE;
	} else {
		if (!supervisor.kernel.available)
			log_info("this kernel does no TLS: %s", supervisor.kernel.reason);
		log_info("serving on \"%s\" with %u workers", supervisor.unix_socket->path,
			 supervisor.generations->worker_count);
		notify_ready();
		ready(context);
		if (supervisor_loop(&supervisor) < 0)
			status = EXIT_FAILURE;
	}
	supervisor_end(&supervisor);
	if (status == EXIT_SUCCESS)
		log_info("stopped");
	return status;
}
