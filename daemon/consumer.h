/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the kernel's consumers a request comes from, and so which profile serves it. */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <stdbool.h>

#include "config.h"
#include "problem.h"
#include "upcall.h"

/* By the keyring that the request names, where the kernel says one (7.2 does, 6.12 does not); else by what it
 * asks for. The configuration's; NULL with a sentence: nobody may serve it, or *ret_retry: that could not be seen
 * now. */
const char *consumer_profile(const struct config_kernel *kernel,
			     const struct upcall_request *request, bool *ret_retry,
			     struct problem *problem);

#endif
