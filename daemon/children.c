// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Child processes. Touches processes and signals; knows nothing of what they do. Never starts one that
 * dies again and again without a pause, and never signals a process that it has not started.
 */
#include "children.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Starting ------------------------------------------------------------------------------ */

static int number_compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all descriptors but the standard ones and these. */
static void descriptors_keep(const int *keep, unsigned count)
{
	int sorted[CHILD_KEPT_FDS] = {0};
	unsigned first = STDERR_FILENO + 1, kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (keep[i] > STDERR_FILENO)
			sorted[kept++] = keep[i];
	qsort(sorted, kept, sizeof(sorted[0]), number_compare);
	for (unsigned i = 0; i < kept; i++) {
		if ((unsigned)sorted[i] > first)
			close_range(first, (unsigned)sorted[i] - 1, 0);
		first = (unsigned)sorted[i] + 1;
	}
	close_range(first, ~0U, 0);
}

/* The mask stays: what the supervisor takes is blocked, over an exec, too, until the child is ready. */
static void signals_reset(void)
{
	for (int number = 1; number < NSIG; number++)
		if (number != SIGKILL && number != SIGSTOP)
			signal(number, SIG_DFL);
}

int child_start(struct child *child, const int *keep, unsigned keep_count,
		int (*run)(void *context), void *context, struct problem *problem)
{
	pid_t pid = fork();

	if (pid < 0)
		return problem_set(problem, "cannot start %s: %s", child->name, strerror(errno));
	if (pid == 0) {
		signals_reset();
		descriptors_keep(keep, keep_count);
		exit(run(context));
	}
	child->pid = pid;
	child->started_ms = now_ms();
	child->kill_ms = 0;
	return 0;
}

/* ---- Ending -------------------------------------------------------------------------------- */

static void child_log_death(const struct child *child, int status)
{
	if (WIFSIGNALED(status))
		log_error("%s (process %d) was ended by signal %d (%s)%s", child->name, child->pid,
			  WTERMSIG(status), strsignal(WTERMSIG(status)),
			  WTERMSIG(status) == SIGSYS ? ": it made a forbidden system call" : "");
	else
		log_error("%s (process %d) ended with status %d", child->name, child->pid,
			  WEXITSTATUS(status));
}

static int64_t delay_after(unsigned deaths)
{
	int64_t delay = CHILD_DELAY_MS;

	if (deaths <= CHILD_DEATHS_FREE)
		return 0;
	for (unsigned i = CHILD_DEATHS_FREE + 1; i < deaths && delay < CHILD_DELAY_MAX_MS; i++)
		delay *= 2;
	return delay < CHILD_DELAY_MAX_MS ? delay : CHILD_DELAY_MAX_MS;
}

void child_died(struct child *child, int status, bool wanted)
{
	int64_t now = now_ms(), delay;

	if (!wanted) {
		child_log_death(child, status);
		child->deaths = now - child->started_ms >= CHILD_HEALTHY_MS ? 1 : child->deaths + 1;
		delay = delay_after(child->deaths);
		child->start_ms = now + delay;
		if (delay)
			log_warning("%s died %u times in a row: the next one starts in %lld ms",
				    child->name, child->deaths, (long long)delay);
	}
	child->pid = 0;
	child->kill_ms = 0;
}

int64_t child_deadline(struct child *child, int64_t now)
{
	if (child->pid == 0 || child->kill_ms == 0)
		return INT64_MAX;
	if (now < child->kill_ms)
		return child->kill_ms;
	log_warning("%s (process %d) did not end in time", child->name, child->pid);
	kill(child->pid, SIGKILL);
	child->kill_ms = 0;
	return INT64_MAX;
}
