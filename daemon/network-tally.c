// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Numbers of each network namespace. Touches its memory, which one process writes and others read at any moment.
 * Must never be believed by the supervisor: workers have the memory, too, so it reads nothing back.
 */
#include "network-tally.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { TRIES = 100 };

struct line {
	/* Odd while it is written: who reads looks before and behind. */
	atomic_uint version;
	atomic_bool used;
	char name[NETWORK_NAME_SIZE];
	_Atomic uint64_t numbers[4];
};

struct network_tally {
	struct line *shared;
	bool used[NETWORKS_MAX]; /* the writer's own word */
};

struct network_tally *network_tally_new(void)
{
	struct network_tally *tally = calloc(1, sizeof(*tally));

	if (!tally)
		return NULL;
	tally->shared = mmap(NULL, NETWORKS_MAX * sizeof(*tally->shared), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally->shared == MAP_FAILED) {
		free(tally);
		return NULL;
	}
	return tally;
}

void network_tally_free(struct network_tally *tally)
{
	if (!tally)
		return;
	munmap(tally->shared, NETWORKS_MAX * sizeof(*tally->shared));
	free(tally);
}

/* ---- The writer ---------------------------------------------------------------------------- */

int network_tally_open(struct network_tally *tally, const char *name)
{
	char shown[NETWORK_NAME_SIZE] = "";
	struct line *line;
	int i = 0;

	while (i < NETWORKS_MAX && tally->used[i])
		i++;
	if (i == NETWORKS_MAX)
		return -1;
	/* Here and not there, where a worker could take the NUL away meanwhile. */
	snprintf(shown, sizeof(shown), "%s", name);
	for (char *at = shown; *at; at++)
		if (!isgraph((unsigned char)*at))
			*at = '?';
	tally->used[i] = true;
	line = &tally->shared[i];
	atomic_fetch_add(&line->version, 1);
	memcpy(line->name, shown, sizeof(shown));
	memset(line->numbers, 0, sizeof(line->numbers));
	atomic_store(&line->used, true);
	atomic_fetch_add(&line->version, 1);
	return i;
}

void network_tally_close(struct network_tally *tally, int line)
{
	if (line < 0)
		return;
	tally->used[line] = false;
	atomic_store(&tally->shared[line].used, false);
}

void network_tally_set(struct network_tally *tally, int line, const struct network_numbers *numbers)
{
	struct line *to;

	if (line < 0)
		return;
	to = &tally->shared[line];
	atomic_fetch_add(&to->version, 1);
	to->numbers[0] = numbers->requests;
	to->numbers[1] = numbers->established;
	to->numbers[2] = numbers->failed;
	to->numbers[3] = numbers->under_way;
	atomic_fetch_add(&to->version, 1);
}

/* ---- Readers ------------------------------------------------------------------------------- */

bool network_tally_get(const struct network_tally *tally, int line,
		       char ret_name[NETWORK_NAME_SIZE], struct network_numbers *ret_numbers)
{
	const struct line *from = &tally->shared[line];

	for (int i = 0; i < TRIES; i++) {
		unsigned version = atomic_load(&from->version);

		if (!atomic_load(&from->used))
			return false;
		memcpy(ret_name, from->name, NETWORK_NAME_SIZE);
		ret_name[NETWORK_NAME_SIZE - 1] = '\0';
		*ret_numbers = (struct network_numbers){
		    .requests = from->numbers[0],
		    .established = from->numbers[1],
		    .failed = from->numbers[2],
		    .under_way = from->numbers[3],
		};
		atomic_thread_fence(memory_order_acquire);
		if (!(version & 1) && atomic_load(&from->version) == version)
			return true;
	}
	return false;
}
