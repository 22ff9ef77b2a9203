// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake perf": becomes handshake-perf, a program of its own that lies beside this one. It links the
 * TLS library, to be a load and to compare with; the command must not. Touches nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

int perf_main(int argc, char **argv)
{
	static const char name[] = "handshake-perf";
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(name));
	char *slash;

	(void)argc;
	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		memcpy(slash + 1, name, sizeof(name));
	else
		errno = ENOENT;
	if (slash)
		execv(path, argv);
	fprintf(stderr, "handshake perf: cannot start \"%s\": %s; it belongs beside handshake\n",
		slash ? path : name, strerror(errno));
	return TOOL_FAILURE;
}
