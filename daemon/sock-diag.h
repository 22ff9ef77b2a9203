/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel tells of one socket's TLS by sock_diag: to everybody on Linux 7.2, on 6.12 to those with
 * CAP_NET_ADMIN; only of sockets in the network namespace in which it was opened. */
#ifndef SOCK_DIAG_H
#define SOCK_DIAG_H

#include <stdbool.h>

/* A netlink socket for asking, or -errno. */
int sock_diag_open(void);

/* Whether a device encrypts and decrypts the records of this TCP socket, whose keys are set in both
 * directions. 0, or -errno (-ENODATA: it is not told). Never waits. */
int sock_diag_tls(int diag, int fd, bool *ret_transmit, bool *ret_receive);

#endif
