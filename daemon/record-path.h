/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which way the records of one connection go once its handshake is complete: by the kernel or through a
 * relay. Prepared before the first byte, given the keys at the end. */
#ifndef RECORD_PATH_H
#define RECORD_PATH_H

#include "handshake-task.h"
#include "traffic-keys.h"

struct record_path {
	const struct handshake_surroundings *surroundings;
	const struct decision *decision;
	uid_t uid;      /* is charged for a relay */
	int fd;         /* the socket; borrowed */
	bool handed_on; /* some of the keys may be in use: the session must not speak any more */
	/* Why not by the kernel, where that is known before the first byte; "" otherwise. */
	char reason[RECORDS_REASON_SIZE];
};

/* Before the first byte: later, a peer that has already sent its FIN makes it impossible. 0, or -1 with
 * a failure. */
int record_path_prepare(struct record_path *path, struct failure *failure);
/* Hands the exported keys to the path that was prepared, or to the next one that is allowed, and describes it.
 * *tickets, -1 or where a server's tickets are awaited, is taken and set to -1, or lent to a relay. 0, or -1
 * with a failure. */
int record_path_install(struct record_path *path, const struct traffic_keys *keys, int *tickets,
			struct outcome *outcome);

#endif
