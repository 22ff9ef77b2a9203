/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file from which all machines of a fleet make the same ticket keys. */
#ifndef TICKET_KEY_FILE_H
#define TICKET_KEY_FILE_H

#include <stdint.h>

#include "problem.h"
#include "ticket-keys.h"

/* Reads a file of 32 to 4096 random bytes that nobody else can read. 0, or -1 and a sentence. */
int ticket_key_file_read(const char *path, uint8_t ret_secret[TICKET_SECRET_SIZE],
			 struct problem *problem);

#endif
