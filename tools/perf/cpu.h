/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time: the clock, and the CPU time of processes, user and system, with all their threads. */
#ifndef PERF_CPU_H
#define PERF_CPU_H

#include <jansson.h>
#include <sys/types.h>

/* Seconds on a clock that only runs forwards. */
double clock_seconds(void);
/* Of this process; of another one, to the nanosecond. -1: it is gone. */
double cpu_own(void);
double cpu_process(pid_t pid);

enum { CPU_PARTS_MAX = 160, CPU_PART_KINDS = 6 };
/* The processes of one end, each under the name of its part: "program", "worker", "signer", "relay". */
struct cpu_parts {
	pid_t pids[CPU_PARTS_MAX];
	const char *names[CPU_PARTS_MAX]; /* constants */
	unsigned count;
};

/* What each part took by now, added up by name. */
struct cpu_reading {
	const char *names[CPU_PART_KINDS];
	double seconds[CPU_PART_KINDS];
	unsigned count;
	double sum;
};

void cpu_parts_add(struct cpu_parts *parts, pid_t pid, const char *name);
/* The daemon with all that descend from it, by what their command lines say they are. */
void cpu_parts_add_daemon(struct cpu_parts *parts, pid_t supervisor);
/* "PID,PID,…" under one name. 0 or -1: the text is no such list. */
int cpu_parts_add_list(struct cpu_parts *parts, const char *list, const char *name);
/* 0, or -1: one of the processes is gone. */
int cpu_parts_read(const struct cpu_parts *parts, struct cpu_reading *ret_reading);
/* What lies between two readings that came as JSON from the server's end. */
void cpu_reading_difference(const json_t *before, const json_t *after, struct cpu_reading *ret);

#endif
