/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first process of the daemon: reads the configuration, starts and watches the others, reloads,
 * stops. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

struct config_source; /* config.h */

/* Runs the daemon until it is stopped. ready is called once, when programs are served. Returns an exit
 * status; what went wrong has been logged. */
int supervisor_run(const struct config_source *source, void (*ready)(void *context), void *context);

#endif
