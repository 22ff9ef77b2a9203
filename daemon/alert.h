/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS alerts (RFC 8446, 6): their names and numbers, which one an error deserves, sending one. */
#ifndef ALERT_H
#define ALERT_H

#include <gnutls/gnutls.h>
#include <stdint.h>

/* RFC 6066, 8; GnuTLS 3.7 has no name for it. */
enum { ALERT_BAD_CERTIFICATE_STATUS_RESPONSE = 113 };

/* The registry's name, "unknown_ca"; NULL if the number has none. */
const char *alert_name(uint8_t number);
/* The alert that the peer should see for an error of gnutls_handshake(), or -1: none, because the peer
 * is gone or refused first. */
int alert_for_error(gnutls_session_t session, int error);
/* Sends a fatal alert in the protection that the handshake has reached; one attempt, no waiting. 0, or
 * a negative GnuTLS error: it did not leave. Only before the traffic keys were handed on. */
int alert_send(gnutls_session_t session, uint8_t number);
/* Gives a handshake up without an error: user_canceled, close_notify (RFC 8446, 6.1). Likewise. */
int alert_send_cancelled(gnutls_session_t session);

#endif
