/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One key update (RFC 8446, 4.6.3) of an established connection with kernel records, in a worker: from a
 * token and a socket to new keys and a new token, within a deadline. Keeps nothing afterwards. */
#ifndef KEY_UPDATE_H
#define KEY_UPDATE_H

#include "counters.h"
#include "handshake-task.h"
#include "key-token.h"

struct key_update_order {
	bool receive;  /* a KeyUpdate was received: follow it */
	bool transmit; /* send one, and go on under the next key */
	bool ask;      /* let it ask the peer for the same (update_requested) */
	uint32_t timeout_ms;
};

struct key_update_result {
	/* ESTABLISHED: what could be done was done, and token fits the keys that are installed now.
	 * UNTOUCHED: nothing was changed. POISONED: the two ends no longer have the same keys. */
	enum outcome_state state;
	bool received, transmitted; /* which directions have new keys */
	struct failure failure;     /* why not all of it was done; class FAILURE_NONE */
	char token[TOKEN_TEXT_SIZE];
};

struct key_update;

/* As handshake_task_done: called once, from the event loop. */
typedef void key_update_done(void *context, const struct key_update_result *result);

/* Opens the token's text and begins. uid: of the program that asks. Borrows fd until done is called or
 * cancel returns. NULL with a failure: nothing was changed, done is not called. */
struct key_update *key_update_start(const struct handshake_surroundings *surroundings,
				    struct counters *counters, uid_t uid, const char *token, int fd,
				    const struct key_update_order *order, key_update_done *done,
				    void *context, struct failure *failure);
/* Gives up at once. Says how the connection was left. */
enum outcome_state key_update_cancel(struct key_update *update);

#endif
