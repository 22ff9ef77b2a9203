// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * CPU time of processes. Reads clocks and /proc; never counts a process that has ended as if it had cost
 * nothing.
 */
#include "cpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double clock_read(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		return -1;
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double clock_seconds(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

double cpu_own(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

double cpu_process(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? clock_read(clock) : -1;
}

void cpu_parts_add(struct cpu_parts *parts, pid_t pid, const char *name)
{
	if (parts->count == CPU_PARTS_MAX)
		return;
	parts->pids[parts->count] = pid;
	parts->names[parts->count++] = name;
}

/* The first bytes of /proc/PID/NAME, NULs made spaces; "" if there is nothing. */
static void proc_read(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t length = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, size - 1);
		close(fd);
	}
	length = length < 0 ? 0 : length;
	for (ssize_t i = 0; i < length; i++)
		text[i] = text[i] ? text[i] : ' ';
	text[length] = '\0';
}

static pid_t parent_of(pid_t pid)
{
	char text[512];
	const char *rest;

	proc_read(pid, "stat", text, sizeof(text));
	/* proc(5): the name in brackets may have brackets in it; behind it come state and parent. */
	rest = strrchr(text, ')');
	return rest && strlen(rest) > 4 ? (pid_t)strtol(rest + 4, NULL, 10) : 0;
}

static const char *part_of(pid_t pid)
{
	char line[1024];

	proc_read(pid, "cmdline", line, sizeof(line));
	if (strstr(line, "--relay"))
		return "relay";
	if (strstr(line, "--signer"))
		return "signer";
	return "worker"; /* it is no program of its own */
}

void cpu_parts_add_daemon(struct cpu_parts *parts, pid_t supervisor)
{
	unsigned first = parts->count;

	cpu_parts_add(parts, supervisor, "supervisor");
	/* Once more for each that was found, until none has children: the tree is small. */
	for (unsigned i = first; i < parts->count; i++) {
		DIR *all = opendir("/proc");
		const struct dirent *entry;

		while (all && (entry = readdir(all))) {
			pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

			if (pid > 0 && parent_of(pid) == parts->pids[i])
				cpu_parts_add(parts, pid, part_of(pid));
		}
		if (all)
			closedir(all);
	}
}

int cpu_parts_add_list(struct cpu_parts *parts, const char *list, const char *name)
{
	for (;;) {
		char *end;
		long pid = strtol(list, &end, 10);

		if (end == list || pid <= 0 || pid > 1 << 22 || (*end && *end != ','))
			return -1;
		cpu_parts_add(parts, (pid_t)pid, name);
		if (!*end)
			return 0;
		list = end + 1;
	}
}

int cpu_parts_read(const struct cpu_parts *parts, struct cpu_reading *ret_reading)
{
	struct cpu_reading reading = {.count = 0};

	for (unsigned i = 0; i < parts->count; i++) {
		double seconds = cpu_process(parts->pids[i]);
		unsigned at = 0;

		if (seconds < 0)
			return -1;
		while (at < reading.count && strcmp(reading.names[at], parts->names[i]) != 0)
			at++;
		if (at == CPU_PART_KINDS)
			return -1;
		if (at == reading.count)
			reading.names[reading.count++] = parts->names[i];
		reading.seconds[at] += seconds;
		reading.sum += seconds;
	}
	*ret_reading = reading;
	return 0;
}

void cpu_reading_difference(const json_t *before, const json_t *after, struct cpu_reading *ret)
{
	static const char *const names[] = {"program", "supervisor", "worker", "signer", "relay"};

	*ret = (struct cpu_reading){.count = 0};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *value = json_object_get(after, names[i]);

		if (!value)
			continue;
		ret->names[ret->count] = names[i];
		ret->seconds[ret->count] =
		    json_real_value(value) - json_real_value(json_object_get(before, names[i]));
		ret->sum += ret->seconds[ret->count++];
	}
}
