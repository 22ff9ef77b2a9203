/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conditions of a measurement: what this end runs on, and the kernel's own counters of TLS. */
#ifndef PERF_MACHINE_H
#define PERF_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Kernel, processor, how many, load, TLS library, version. A new reference; NULL: no memory. */
json_t *machine_describe(void);
bool machine_has_kernel_tls(void);
/* A line for each end, by its name. */
void machines_show(FILE *stream, json_t *machines);
/* /proc/net/tls_stat as an object; JSON's null: this kernel has no TLS. A new reference. */
json_t *machine_tls_counters(void);
/* What moved between two readings, without what did not. A new reference. */
json_t *machine_tls_difference(const json_t *before, const json_t *after);

#endif
