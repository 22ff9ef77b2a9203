/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of a program's connection for which there is no room: an answer, and the end. */
#ifndef TURN_AWAY_H
#define TURN_AWAY_H

#include "config.h"
#include "request.h"

/* Takes fd. Refuses each request that already waits on it as busy, by its id; a later one cannot be sent
 * any more, and the program finds one refusal without an id instead. Never blocks. */
void turn_away(int fd, const struct caller *caller, const struct config *config);

#endif
