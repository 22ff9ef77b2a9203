/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Notices when files that the configuration names have changed: renewed certificates, staples, lists. For
 * the supervisor's loop; nothing here waits. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

struct watch;

/* NULL: no memory. Watches nothing yet. */
struct watch *watch_new(void);
void watch_free(struct watch *watch);
/* To be called before a load reads the files: what changes from here on is a change. */
void watch_begin(struct watch *watch);
/* After a load: watches the files of this configuration, which stays valid until the next call. taken: the
 * load was taken, with this configuration; else the files as they were at watch_begin() are known, and bad.
 * NULL: nothing is watched any more. */
void watch_set(struct watch *watch, const struct config *config, bool taken);
/* For poll(), to be asked each time: -1 while there is nothing to hear. */
int watch_fd(const struct watch *watch);
/* There is something to hear. now: milliseconds of CLOCK_MONOTONIC, here and below. */
void watch_hear(struct watch *watch, int64_t now);
/* When watch_look() has something to do; INT64_MAX: when nothing happens, never. */
int64_t watch_due(const struct watch *watch);
/* true: files have changed and been left alone for a moment; a load is due. */
bool watch_look(struct watch *watch, int64_t now);

#endif
