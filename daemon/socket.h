/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kind of socket a descriptor is: whether a handshake or a listening can be asked for on it. The
 * checks look only; they change nothing. */
#ifndef SOCKET_H
#define SOCKET_H

#include "outcome.h"

/* A connected, plain TCP socket? 0, or -1 with a failure of class request or unsupported that says what
 * it is instead: no socket, not TCP, not connected, listening, already TLS, MPTCP. A peer that has
 * already sent its FIN is no reason to refuse here. */
int socket_check_connected(int fd, struct failure *failure);
/* A listening plain TCP socket? Likewise. */
int socket_check_listening(int fd, struct failure *failure);
/* Closes a TCP socket that somebody else handed over, without ever waiting: a SO_LINGER with a time,
 * with which a last close() would stop this process as long as its owner likes, is switched off. */
void socket_close(int fd);

#endif
