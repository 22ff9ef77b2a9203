/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answer to "status": the daemon's state and counters. */
#ifndef STATUS_H
#define STATUS_H

#include <stdint.h>

#include "reply.h"
#include "worker.h"

/* id 0: none was given. */
void status_build(const struct worker_setup *setup, uint64_t id, struct reply *ret_reply);

#endif
