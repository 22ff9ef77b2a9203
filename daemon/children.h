/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's child processes: how one is started, how its death is judged, when its successor
 * may start. */
#ifndef CHILDREN_H
#define CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "problem.h"

struct child {
	char name[32]; /* "worker 2" */
	pid_t pid;     /* 0: not running */
	int64_t started_ms;
	int64_t start_ms; /* when a successor is due, if it is not running; 0: at once */
	int64_t kill_ms;  /* when it is ended by force; 0: never */
	unsigned deaths;  /* that came soon after each other */
};

enum {
	CHILD_HEALTHY_MS = 10000, /* who lives this long starts its count of deaths anew */
	CHILD_DEATHS_FREE = 3,    /* that are made good at once */
	CHILD_DELAY_MS = 100,     /* after the next, then doubled each time, */
	CHILD_DELAY_MAX_MS = 10000,
	CHILD_KEPT_FDS = 8,
};

/* CLOCK_MONOTONIC in milliseconds. */
int64_t now_ms(void);

/* Forks. The child keeps the standard descriptors and those in keep (-1 is skipped), gets the signal
 * dispositions that a program starts with, and exits with what run gives. The signal mask stays the
 * caller's: the child sets its own when it has its handlers. 0 or -1. */
int child_start(struct child *child, const int *keep, unsigned keep_count,
		int (*run)(void *context), void *context, struct problem *problem);
/* Takes note of its death: logs it unless it was wanted, and sets start_ms. */
void child_died(struct child *child, int status, bool wanted);
/* Ends by force whose time is over. Returns the time of the next deadline, or INT64_MAX. */
int64_t child_deadline(struct child *child, int64_t now);

#endif
