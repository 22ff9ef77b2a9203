/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One TLS record by hand, from exported traffic keys: the proof that they are right. */
#ifndef ENGINE_RECORDS_H
#define ENGINE_RECORDS_H

#include "traffic-keys.h"

/* Protects data and writes it to fd as one record; counts the sequence number on. */
void engine_record_send(int fd, struct traffic_keys *keys, const char *data);
/* Reads one record from fd, opens it, writes its data as a string; counts the sequence number on.
 * Returns the content type. */
int engine_record_receive(int fd, struct traffic_keys *keys, char *ret_data, size_t size);

#endif
