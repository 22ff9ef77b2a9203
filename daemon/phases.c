// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The phases of a handshake. Reads the clock, and has the event loop tell when a turn of it is over; never
 * counts a microsecond twice or not at all.
 */
#include "phases.h"

#include <event2/event_struct.h>
#include <stddef.h>
#include <time.h>

/* One turn of this process's loop: the callbacks of all that was found ready at once. */
static struct {
	struct event end;
	uint64_t began; /* when the first of them that asked did so; 0: none has in this turn */
} turn;

static uint64_t now_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void turn_end(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	turn.began = 0;
}

/* An event that becomes active in a turn is that turn's last. */
static uint64_t turn_began(struct event_base *base, uint64_t now)
{
	if (turn.began == 0) {
		if (event_get_base(&turn.end) != base)
			event_assign(&turn.end, base, -1, 0, turn_end, NULL);
		event_active(&turn.end, EV_TIMEOUT, 0);
		turn.began = now;
	}
	return turn.began;
}

static void phases_spend(struct phases *phases, enum phase phase, uint64_t until)
{
	if (until <= phases->since)
		return;
	phases->spent[phase] += until - phases->since;
	phases->since = until;
}

void phases_start(struct phases *phases)
{
	*phases = (struct phases){.since = now_microseconds(), .now = PHASE_QUEUE};
}

void phases_wake(struct phases *phases, struct event_base *base)
{
	uint64_t now = now_microseconds();

	phases_spend(phases, phases->now, turn_began(base, now));
	phases_spend(phases, PHASE_QUEUE, now);
	phases->now = PHASE_COMPUTATION;
}

void phases_enter(struct phases *phases, enum phase phase)
{
	phases_spend(phases, phases->now, now_microseconds());
	phases->now = phase;
}

uint64_t phases_end(struct phases *phases)
{
	uint64_t sum = 0;

	phases_spend(phases, phases->now, now_microseconds());
	for (int i = 0; i < PHASE_COUNT; i++)
		sum += phases->spent[i];
	return sum;
}
