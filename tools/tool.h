/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands of the command "handshake" and what all of them keep to. */
#ifndef TOOL_H
#define TOOL_H

/* The exit statuses that handshake(1) promises. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_FAILURE = 1,
	TOOL_USAGE = 2,
	TOOL_UNTOUCHED = 3, /* connect: no byte was read or written */
	TOOL_POISONED = 4,  /* connect: bytes moved, no connection came of it */
};

/* Each takes argv from its own name on and returns an exit status. */
int serve_main(int argc, char **argv);
int connect_main(int argc, char **argv);
int perf_main(int argc, char **argv);
int doctor_main(int argc, char **argv);
int status_main(int argc, char **argv);
int trace_main(int argc, char **argv);

/* The bare command: the daemon's state. -1: no daemon answers, and nothing was printed. */
int status_show_if_there(void);

#endif
