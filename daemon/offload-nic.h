/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records by a NIC: whether a device has taken a connection that was given to the kernel, which decides that
 * by itself and tells nobody. */
#ifndef OFFLOAD_NIC_H
#define OFFLOAD_NIC_H

#include <stdbool.h>
#include <stdint.h>

#include "offload-kernel.h"
#include "outcome.h"

enum { OFFLOAD_DIRECTIONS = 2 };

/* What a worker looks at; opened before its sandbox, read within. */
struct offload_nic {
	int statistics; /* /proc/net/tls_stat of this process's network namespace; -1: there is none */
	uint64_t network; /* the namespace's cookie; 0: this kernel tells none */
	int diag;         /* of sock-diag.h; -1: there is none */
};

/* How many connections the kernel has ever kept (software) and given away (device) in the namespace. */
struct offload_nic_reading {
	bool known;
	uint64_t software[OFFLOAD_DIRECTIONS],
	    device[OFFLOAD_DIRECTIONS]; /* [enum offload_direction] */
};

/* Where anything is missing, replies say that it is not known. */
void offload_nic_open(struct offload_nic *ret_nic);
void offload_nic_close(struct offload_nic *nic);

/* Before the keys are set. */
void offload_nic_read(const struct offload_nic *nic, const struct traffic_keys *keys,
		      struct offload_nic_reading *ret_before);
/* After both directions' keys were set: writes into the outcome who makes the records, and switches zero-copy
 * sendfile on where it is allowed and a device sends. */
void offload_nic_describe(const struct offload_nic *nic, int fd, const struct traffic_keys *keys,
			  const struct offload_nic_reading *before, bool zero_copy,
			  struct outcome *outcome);

/* Reads the kernel's text; known is false if a number is missing. For offload_nic_read() and its test. */
void offload_nic_parse(const char *text, struct offload_nic_reading *ret_reading);
enum offload_nic_verdict {
	OFFLOAD_NIC_NO,
	OFFLOAD_NIC_YES,
	OFFLOAD_NIC_UNKNOWN,
};
/* Who took a connection whose keys were set between the two readings. */
enum offload_nic_verdict offload_nic_judge(const struct offload_nic_reading *before,
					   const struct offload_nic_reading *after,
					   enum offload_direction direction);

#endif
