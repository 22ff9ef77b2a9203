// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The statement of conditions. Reads /proc and asks the kernel; never says what it did not read there.
 */
#include "machine.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void processor_read(char *text, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		char *value = strstr(line, ": ");

		if (strncmp(line, "model name", 10) == 0 && value) {
			value[strcspn(value, "\n")] = '\0';
			snprintf(text, size, "%s", value + 2);
			break;
		}
	}
	if (file)
		fclose(file);
}

bool machine_has_kernel_tls(void)
{
	return access("/proc/net/tls_stat", R_OK) == 0;
}

json_t *machine_describe(void)
{
	struct utsname system = {.release = ""};
	char processor[256] = "";
	double load = 0;

	uname(&system);
	snprintf(processor, sizeof(processor), "%s", system.machine);
	processor_read(processor, sizeof(processor));
	if (getloadavg(&load, 1) < 1)
		load = 0;
	return json_pack("{s:s, s:s, s:i, s:f, s:s, s:s, s:b}", "kernel", system.release,
			 "processor", processor, "processors", (int)sysconf(_SC_NPROCESSORS_ONLN),
			 "load", load, "gnutls", gnutls_check_version(NULL), "handshake", VERSION,
			 "kernel-tls", machine_has_kernel_tls());
}

static void machine_show(FILE *stream, const json_t *machine)
{
	const char *kernel = "", *processor = "", *gnutls = "", *address = "";
	int processors = 0, kernel_tls = 0, round_trip_us = 0;
	double load = 0;

	json_unpack((json_t *)machine, "{s:s, s:s, s:i, s:F, s:s, s:b, s?s, s?i}", "kernel",
		    &kernel, "processor", &processor, "processors", &processors, "load", &load,
		    "gnutls", &gnutls, "kernel-tls", &kernel_tls, "address", &address,
		    "round-trip-us", &round_trip_us);
	fprintf(stream, "%s%sLinux %s, %s, %d processor%s, load %.1f; GnuTLS %s; %s", address,
		*address ? ", " : "", kernel, processor, processors, processors == 1 ? "" : "s",
		load, gnutls, kernel_tls ? "kernel TLS" : "no kernel TLS");
	if (round_trip_us)
		fprintf(stream, "; %.3f ms there and back", round_trip_us / 1e3);
	fputc('\n', stream);
}

void machines_show(FILE *stream, json_t *machines)
{
	for (void *at = json_object_iter(machines); at; at = json_object_iter_next(machines, at)) {
		fprintf(stream, "%s: ", json_object_iter_key(at));
		machine_show(stream, json_object_iter_value(at));
	}
}

json_t *machine_tls_counters(void)
{
	FILE *file = fopen("/proc/net/tls_stat", "re");
	json_t *counters = file ? json_object() : json_null();
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		size_t name = strcspn(line, " \t");

		if (!line[name])
			continue;
		line[name] = '\0';
		json_object_set_new(counters, line,
				    json_integer(strtoll(line + name + 1, NULL, 10)));
	}
	if (file)
		fclose(file);
	return counters;
}

json_t *machine_tls_difference(const json_t *before, const json_t *after)
{
	json_t *difference = json_object();

	for (void *at = json_object_iter((json_t *)after); at;
	     at = json_object_iter_next((json_t *)after, at)) {
		const char *name = json_object_iter_key(at);
		json_int_t moved = json_integer_value(json_object_iter_value(at)) -
				   json_integer_value(json_object_get(before, name));

		if (moved)
			json_object_set_new(difference, name, json_integer(moved));
	}
	return difference;
}
