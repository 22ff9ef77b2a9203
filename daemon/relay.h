/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The relay process: executed anew by the supervisor (it must not be a copy of a process that has read
 * private keys), takes connections from workers, and moves records.
 *
 * It outlives the daemon: established connections go on while the daemon is stopped, restarted or
 * reloaded. When the last worker's end of its socket is closed, or on SIGTERM, it takes no more and stays
 * until its last connection is gone; a second SIGTERM cuts those that are left. Whoever starts it must
 * therefore not have it killed with the supervisor (no PDEATHSIG; with systemd: KillMode=mixed would
 * kill it, KillMode=process does not).
 *
 * System calls after sandbox_enter(), beside those of memory, time and threads (foreign.c and relay-guard.c
 * start some): epoll_wait, epoll_pwait, epoll_ctl, eventfd2, pipe2, socketpair, fcntl, rt_sigaction
 * (libevent, whose loop is made before); recvmsg, recvfrom, sendmsg, sendto, write, shutdown, getsockopt,
 * setsockopt, setitimer, poll, ioctl (FIONREAD), close, fstat, pwrite64, getpid.
 */
#ifndef RELAY_H
#define RELAY_H

/* What the supervisor starts the program with: handshaked --relay INDEX UID GID RELAYED_TOTAL
 * RELAYED_PER_USER LOG_LEVEL (a number of enum config_log_level, or its word). The socket
 * (SOCK_SEQPACKET) is RELAY_SOCKET_FD, the log descriptor is standard error. */
enum { RELAY_SOCKET_FD = 3, RELAY_COUNTERS_FD = 4 };

/* The main function of that process: argv as main() got it, after "--relay". Returns an exit status: 0,
 * 1 (failed, and logged why), 2 (wrong arguments). */
int relay_main(int argc, char **argv);

#endif
