/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a TCP connection whose socket somebody else may hold, too. */
#ifndef RELAY_TCP_H
#define RELAY_TCP_H

#include <stdbool.h>
#include <stdint.h>

enum relay_tcp_phase {
	RELAY_TCP_OPEN,     /* our FIN is not under way */
	RELAY_TCP_FLUSHING, /* it is, and the peer has not confirmed all */
	RELAY_TCP_WAITING,  /* it has; its own FIN is missing */
	RELAY_TCP_CLOSED,
};

/* *ret_confirmed: bytes that the peer has confirmed so far, to see progress. */
enum relay_tcp_phase relay_tcp_phase(int fd, uint64_t *ret_confirmed);
/* Drops what the peer has sent, so that a close does not become a reset that overtakes our last bytes.
 * true: its end, or an error, has come. */
bool relay_tcp_drain(int fd);
/* Closes without ever waiting, whatever SO_LINGER says: a connection that is still open or flushing is
 * reset. */
void relay_tcp_close(int fd);

#endif
