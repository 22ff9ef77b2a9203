/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the daemon for its state and counters. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <stddef.h>

#include "message.h"

/* One question and its answer on a connection of its own to the socket at path (NULL: as
 * handshake_perform takes it). 0: message_get knows the counters. -1: error (size bytes) has a
 * sentence. Ends within 5 seconds. */
int daemon_status_ask(const char *path, struct message *ret_message, char *error, size_t size);
/* A connection of its own to the socket at path, likewise. A descriptor, or -1 with a sentence. */
int daemon_connect(const char *path, char *error, size_t size);

#endif
