/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a process still moves. One that waits in the kernel for what a stranger holds (a socket's lock) can be
 * held there for as long as the stranger likes, and not even SIGKILL ends it before. */
#ifndef PULSE_H
#define PULSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	PULSE_MS = 5000,     /* between two looks; so long without any movement is too long */
	PULSE_HELD_MAX = 16, /* processes that were given up and still are there */
};

struct pulse {
	int64_t looked_ms; /* 0: never */
	uint64_t switches; /* how often it has given the processor up, then */
	bool waiting;      /* it could not be interrupted, then */
};

/* Looks when it is time. true: it was not to be interrupted at the look before, is not now, and has not run in
 * between. ret_next: when to look again. Busy or idle processes never are that. */
bool pulse_has_stopped(struct pulse *pulse, pid_t pid, int64_t now, int64_t *ret_next);
/* Sends SIGKILL to one that has stopped, which ends it whenever it goes on. false: so many are there already that
 * it is not to be replaced. */
bool pulse_give_up(pid_t pid);

#endif
