/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a profile offers and accepts: versions, suites, groups, signatures. */
#ifndef PRIORITIES_H
#define PRIORITIES_H

#include <gnutls/gnutls.h>

#include "config.h"
#include "problem.h"

/* 0 and new priorities, or -1 and a sentence. allowed (CONFIG_CIPHERS of them, or NULL: all) takes
 * ciphers out of the profile's, such as those that a kernel does not take. */
int priorities_new(const struct config_profile *config, enum config_roles role, const bool *allowed,
		   gnutls_priority_t *ret_priorities, struct problem *problem);

#endif
