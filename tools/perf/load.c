// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A load: threads, the warm-up until every connection is active, the time that counts, the sum. Touches
 * its threads and, for the silent ones, sockets; never counts what was before all were active.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"
#include "load-lane.h"
#include "tcp.h"

enum {
	LOOK_NS = 2000000,      /* how often the threads are looked at */
	ACTIVE_TIMEOUT = 60,    /* seconds until all must be active */
	FAILURES_IN_A_ROW = 20, /* and as many as there are connections: it does not work */
};

static void look_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

/* ---- Connections that say nothing ---------------------------------------------------------- */

static int *silent_open(const struct load_settings *settings)
{
	int *fds = calloc(settings->silent + 1, sizeof(*fds));

	/* Where one does not get there the others do not either: they are not waited for in turn. */
	for (unsigned i = 0; fds && i < settings->silent; i++)
		fds[i] = i && fds[i - 1] < 0
			     ? -1
			     : tcp_connect_soon((const struct sockaddr *)&settings->address,
						settings->address_size);
	return fds;
}

static unsigned silent_close(const struct load_settings *settings, int *fds)
{
	unsigned left = 0;

	for (unsigned i = 0; fds && i < settings->silent; i++) {
		struct pollfd wait = {.fd = fds[i], .events = POLLIN | POLLRDHUP};

		left += fds[i] >= 0 && poll(&wait, 1, 0) == 0;
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(fds);
	return left;
}

/* ---- Threads ------------------------------------------------------------------------------- */

static void lanes_free(struct lane *lanes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (lanes[i].epoll >= 0)
			close(lanes[i].epoll);
		free(lanes[i].slots);
		samples_done(&lanes[i].latencies);
	}
	free(lanes);
}

static struct lane *lanes_new(struct load_shared *shared, unsigned count)
{
	unsigned slots = shared->settings->at_once;
	struct lane *lanes = calloc(count, sizeof(*lanes));

	for (unsigned i = 0; lanes && i < count; i++) {
		lanes[i].shared = shared;
		lanes[i].slot_count = slots / count + (i < slots % count);
		lanes[i].epoll = epoll_create1(EPOLL_CLOEXEC);
		/* There are as many threads as connections at most: each has one. */
		lanes[i].slots = calloc((size_t)lanes[i].slot_count + 1, sizeof(*lanes[i].slots));
		if (lanes[i].epoll < 0 || !lanes[i].slots) {
			lanes_free(lanes, i + 1);
			return NULL;
		}
		for (unsigned j = 0; j < lanes[i].slot_count; j++)
			lanes[i].slots[j].fd = -1;
	}
	return lanes;
}

static void lane_sum(struct lane *lane, struct load_result *result)
{
	result->done += lane->done;
	result->failed += lane->failed;
	result->not_resumed += lane->not_resumed;
	result->early += lane->early;
	if (lane->out_of_memory || samples_join(&result->latencies, &lane->latencies) < 0)
		snprintf(result->error, sizeof(result->error), "out of memory");
}

/* ---- The course of it ---------------------------------------------------------------------- */

/* Nothing but failures: they will not end. */
static bool hopeless(struct load_shared *shared)
{
	return shared->failed_in_a_row >= FAILURES_IN_A_ROW + shared->settings->at_once;
}

/* 0: all are active, and it was long enough. */
static int load_warm_up(struct load_shared *shared, const struct load_watch *watch)
{
	const struct load_settings *settings = shared->settings;
	double began = clock_seconds(), now = began;

	while (shared->active < settings->at_once || now - began < settings->warm_up) {
		if (now - began > ACTIVE_TIMEOUT || hopeless(shared)) {
			pthread_mutex_lock(&shared->told);
			if (!shared->error[0])
				snprintf(shared->error, sizeof(shared->error),
					 "only %u of %u connections became active in %d seconds",
					 shared->active, settings->at_once, ACTIVE_TIMEOUT);
			pthread_mutex_unlock(&shared->told);
			return -1;
		}
		if (watch->progress)
			watch->progress(watch->context, "warm-up", shared->active, now - began);
		look_pause();
		now = clock_seconds();
	}
	return 0;
}

static void load_count(struct load_shared *shared, const struct load_watch *watch,
		       struct load_result *result)
{
	const struct load_settings *settings = shared->settings;
	double began, now;

	if (watch->begun)
		watch->begun(watch->context);
	result->cpu = cpu_own();
	began = now = clock_seconds();
	shared->phase = LOAD_COUNTING;
	while (settings->handshakes ? shared->done < settings->handshakes
				    : now - began < settings->seconds) {
		if (hopeless(shared))
			break;
		if (watch->progress)
			watch->progress(watch->context, "counting", shared->done, now - began);
		look_pause();
		now = clock_seconds();
	}
	/* It goes on, so that the other end does not count what is broken off. */
	shared->phase = LOAD_COUNTED;
	result->seconds = clock_seconds() - began;
	result->cpu = cpu_own() - result->cpu;
	if (watch->ended)
		watch->ended(watch->context);
}

int load_run(const struct load_settings *settings, const struct load_watch *watch,
	     struct load_result *ret_result)
{
	struct load_shared shared = {.settings = settings, .told = PTHREAD_MUTEX_INITIALIZER};
	unsigned count =
	    settings->threads < settings->at_once ? settings->threads : settings->at_once;
	unsigned started = 0;
	struct lane *lanes;
	int *silent, r = -1;

	*ret_result = (struct load_result){.done = 0};
	if (gnutls_priority_init(&shared.priorities, settings->priorities, NULL) < 0) {
		snprintf(ret_result->error, sizeof(ret_result->error),
			 "this GnuTLS does not know the priorities \"%.150s\"",
			 settings->priorities);
		return -1;
	}
	silent = silent_open(settings);
	lanes = lanes_new(&shared, count);
	while (lanes && started < count &&
	       pthread_create(&lanes[started].thread, NULL, lane_run, &lanes[started]) == 0)
		started++;
	if (!lanes || started < count)
		snprintf(shared.error, sizeof(shared.error), "cannot start %u threads", count);
	else
		r = load_warm_up(&shared, watch);
	if (r == 0)
		load_count(&shared, watch, ret_result);
	shared.phase = LOAD_ENDING;
	for (unsigned i = 0; i < started; i++) {
		pthread_join(lanes[i].thread, NULL);
		lane_sum(&lanes[i], ret_result);
	}
	ret_result->silent_left = silent_close(settings, silent);
	if (lanes)
		lanes_free(lanes, count);
	gnutls_priority_deinit(shared.priorities);
	samples_sort(&ret_result->latencies);
	snprintf(ret_result->version, sizeof(ret_result->version), "%s", shared.version);
	snprintf(ret_result->suite, sizeof(ret_result->suite), "%s", shared.suite);
	snprintf(ret_result->group, sizeof(ret_result->group), "%s", shared.group);
	if (!ret_result->error[0])
		snprintf(ret_result->error, sizeof(ret_result->error), "%s", shared.error);
	return r < 0 || !ret_result->done ? -1 : 0;
}

void load_result_done(struct load_result *result)
{
	samples_done(&result->latencies);
}
