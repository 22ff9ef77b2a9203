/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why a handshake failed: from what the library returned to a class, an alert and a sentence. */
#ifndef HANDSHAKE_FAILURE_H
#define HANDSHAKE_FAILURE_H

#include "session.h"
#include "transport.h"

/* Fills the failure for an error of gnutls_handshake() or session_check(), unless it has one, and sends
 * the alert that the peer should see; what it still sends is then thrown away. Only before the traffic keys were handed on. */
void handshake_failure_tell(struct failure *failure, int error, const struct session *session,
			    struct transport *transport);
/* Sends the alert and notes it; nothing is noted if it cannot leave at once. Likewise. */
void handshake_failure_send(struct failure *failure, const struct session *session,
			    struct transport *transport, uint8_t alert);

#endif
