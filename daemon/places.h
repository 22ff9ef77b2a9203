/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a handshake must have of the bounds before it begins. */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>

#include "policy.h"
#include "worker.h"

/* A place for the handshake, and one for the relay if its records are to go there: *ret_relay, given back
 * with places_give_relay() when the handshake has ended. 0, or -1 with a failure of class busy. */
int places_take(struct worker *worker, uid_t uid, const struct decision *decision, bool *ret_relay,
		struct failure *failure);
void places_give_relay(struct worker *worker, uid_t uid, bool relay);

#endif
