/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a session offers and accepts: its priorities. */
#ifndef SESSION_PRIORITIES_H
#define SESSION_PRIORITIES_H

#include "session.h"

/* Sets the profile's priorities; with kernel, those ciphers alone that this kernel takes. The kernel is
 * borrowed until the session is closed. 0, or a negative GnuTLS error. */
int session_priorities_set(struct session *session, const struct kernel_tls *kernel);
/* Server: before the library looks at a ClientHello, which session->hello has read. The same errors. */
int session_priorities_hello(struct session *session);
/* Frees what the session had of its own; once the library's session is gone. */
void session_priorities_done(struct session *session);

#endif
