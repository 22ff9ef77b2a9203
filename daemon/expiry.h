/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a configuration has loaded and will not hold for ever: certificates of one's own, and staples. */
#ifndef EXPIRY_H
#define EXPIRY_H

#include <time.h>

#include "loaded.h"

struct expiry {
	unsigned certificates;
	unsigned certificates_expired;
	time_t certificate_next; /* when the first of those that hold ends; 0: none holds */
	unsigned staples;
	unsigned staples_expired; /* or not yet valid: not sent */
	time_t staple_next;       /* likewise */
};

void expiry_find(const struct loaded *loaded, time_t now, struct expiry *ret_expiry);
/* Logs each staple that is not sent (any more), once. Returns when there may be something to say again;
 * 0: never. */
time_t expiry_tell(const struct loaded *loaded, time_t now);

#endif
