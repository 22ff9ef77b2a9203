/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a handshake must have of the bounds before it begins. */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>

#include "policy.h"
#include "worker.h"

/* A place for the handshake, and one at a relay if its records are to go there: *ret_relay. 0, or -1 with
 * a failure of class busy. */
int places_take(struct worker *worker, uid_t uid, const struct decision *decision, bool *ret_relay,
		struct failure *failure);
/* The handshake has ended, and left its socket so: the place at a relay is given back, unless a relay has
 * the connection and inherits it. */
void places_give_relay(struct worker *worker, uid_t uid, bool relay, enum outcome_state state);

#endif
