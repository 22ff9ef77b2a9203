// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finds processes that a stranger holds up in the kernel. Touches /proc and its own processes. Must never take a
 * process for stopped that is busy, idle or slow: its scheduling, not any answer of its own, is what counts.
 */
#include "pulse.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind a word of /proc/PID/status. */
static uint64_t number_behind(const char *text, const char *word)
{
	const char *found = strstr(text, word);

	return found ? strtoull(found + strlen(word), NULL, 10) : 0;
}

/* 0, or -1: it is not there, or nothing can be seen of it. */
static int pulse_look(pid_t pid, bool *ret_waiting, uint64_t *ret_switches)
{
	char path[64], text[4096];
	const char *state;
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return -1;
	text[size] = '\0';
	state = strstr(text, "\nState:\t");
	if (!state)
		return -1;
	*ret_waiting = state[strlen("\nState:\t")] == 'D';
	*ret_switches = number_behind(text, "\nvoluntary_ctxt_switches:") +
			number_behind(text, "\nnonvoluntary_ctxt_switches:");
	return 0;
}

bool pulse_has_stopped(struct pulse *pulse, pid_t pid, int64_t now, int64_t *ret_next)
{
	const struct pulse before = *pulse;

	*ret_next = before.looked_ms + PULSE_MS;
	if (before.looked_ms && now < *ret_next)
		return false;
	*ret_next = now + PULSE_MS;
	pulse->looked_ms = now;
	if (pulse_look(pid, &pulse->waiting, &pulse->switches) < 0)
		pulse->waiting = false;
	return before.looked_ms && before.waiting && pulse->waiting &&
	       before.switches == pulse->switches;
}

bool pulse_give_up(pid_t pid)
{
	static pid_t held[PULSE_HELD_MAX];

	kill(pid, SIGKILL);
	for (unsigned i = 0; i < PULSE_HELD_MAX; i++)
		/* Whoever has ended has been waited for, and is nobody's child. */
		if (held[i] == 0 || kill(held[i], 0) < 0) {
			held[i] = pid;
			return true;
		}
	return false;
}
