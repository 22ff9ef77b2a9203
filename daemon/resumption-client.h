/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client's sessions: looked for before the handshake, kept behind it. */
#ifndef RESUMPTION_CLIENT_H
#define RESUMPTION_CLIENT_H

#include <stdbool.h>

struct session;

/* Looks for a session with the peer of the socket fd; gives one to the library whose server would still be
 * believed. 0 or a GnuTLS error: nothing was given is no error. */
int resumption_client_offer(struct session *session, int fd);
/* The handshake is complete: keeps a session of TLS 1.2, whose ticket or ID came with it. */
void resumption_client_keep(struct session *session);
/* Whether tickets may come behind the hand-over that are worth to be waited for: then a pair of sockets, the
 * second for whoever meets them. Both the caller's. */
bool resumption_client_awaits(const struct session *session, int ret_ends[2]);
/* All has been taken out of the session: leaves it to wait for its tickets. Takes fd, the first end. */
void resumption_client_park(struct session *session, int fd);

#endif
