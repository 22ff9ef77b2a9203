/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kind of socket a descriptor is: whether a handshake or a listening can be asked for on it. Looks
 * only; changes nothing. */
#ifndef SOCKET_H
#define SOCKET_H

#include "outcome.h"

/* A connected, plain TCP socket? 0, or -1 with a failure of class request or unsupported that says what
 * it is instead: no socket, not TCP, not connected, listening, already TLS, MPTCP. */
int socket_check_connected(int fd, struct failure *failure);
/* A listening plain TCP socket? Likewise. */
int socket_check_listening(int fd, struct failure *failure);

#endif
