/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records by the kernel: the TLS upper layer protocol of a TCP socket (Documentation/networking/tls). */
#ifndef OFFLOAD_KERNEL_H
#define OFFLOAD_KERNEL_H

#include <stddef.h>

#include "traffic-keys.h"

/* Asks this kernel once, on a loopback connection of its own, which ciphers it takes; before the
 * sandbox closes. Loads the module if it may. */
struct kernel_tls {
	bool available;                  /* TCP_ULP "tls" */
	bool ciphers[2][CONFIG_CIPHERS]; /* [enum config_version][enum config_cipher] */
	bool rekeys;                     /* keys can be set anew: Linux 6.14 */
	char reason[256];                /* why not, and what to do, when not available */
};
void offload_kernel_probe(struct kernel_tls *ret_kernel);

/* Attaches the upper layer protocol before the first byte: the socket stays plain TCP until keys are
 * set. 0, or -errno with a sentence in reason; the socket is then untouched. */
int offload_kernel_attach(int fd, char *reason, size_t size);
/* Tells the kernel how large a record the peer takes, where that is less than 16384 bytes; before the
 * keys. 0, or -errno (-ENOPROTOOPT: this kernel cannot) with a sentence; no key is set then. */
int offload_kernel_limit_records(int fd, const struct traffic_keys *keys, char *reason,
				 size_t size);
/* Sets both directions. 0, or -errno with a sentence; the socket is then poisoned. */
int offload_kernel_install(int fd, const struct traffic_keys *keys, char *reason, size_t size);

enum offload_direction {
	OFFLOAD_TRANSMIT,
	OFFLOAD_RECEIVE,
};
/* Whether the kernel has this very key in this direction, whatever the number of the next record. 1, 0,
 * or -errno: it has none. */
int offload_kernel_holds(int fd, const struct traffic_keys *keys, enum offload_direction direction);
/* Sets one direction anew. 0 or -errno: -EBUSY on kernels that cannot. */
int offload_kernel_update(int fd, const struct traffic_keys *keys,
			  enum offload_direction direction);

#endif
