/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands of "handshake perf". Each takes argv from its own name on and returns an exit status. */
#ifndef PERF_H
#define PERF_H

int rate_main(int argc, char **argv);
int throughput_main(int argc, char **argv);

#endif
