/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay process: executed anew by the supervisor (it must not be a copy of a process that has read
 * private keys), takes connections from workers, and moves records. */
#ifndef RELAY_H
#define RELAY_H

/* What the supervisor starts the program with: handshaked --relay; the socket is RELAY_SOCKET_FD, the
 * log descriptor is standard error, limits come in the arguments. */
enum { RELAY_SOCKET_FD = 3, RELAY_COUNTERS_FD = 4 };

/* The main function of that process: argv as main() got it, after "--relay". Returns an exit status. */
int relay_main(int argc, char **argv);

#endif
