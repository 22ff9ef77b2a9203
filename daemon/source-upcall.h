/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handshakes of the kernel's consumers in a worker: from a request that the supervisor passes on to the
 * answer. */
#ifndef SOURCE_UPCALL_H
#define SOURCE_UPCALL_H

#include "kernel-request.h"
#include "outcome.h"
#include "worker.h"

/* Begins one. Takes fd (the worker's duplicate) and keys_fd (-1: none). The answer goes to the supervisor,
 * once. */
void upcall_begin(struct worker *worker, const struct kernel_request *request, int fd, int keys_fd);
/* The number that the consumer hears: 0, ETIMEDOUT, which makes it try again, or another, which does not. */
int upcall_status(const struct outcome *outcome);
/* Gives up what is under way, at the worker's end. */
void upcall_end_all(struct worker *worker);

#endif
