// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon's own file. Touches that file, and, in a child, the descriptors that its successor gets. Never
 * executes another file than the one that is running.
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FDS_MAX = 4 };

static struct {
	int fd; /* O_PATH: the same file even after an upgrade has replaced it */
	char path[4096];
} program = {.fd = -1};

int program_remember(struct problem *problem)
{
	ssize_t length;

	if (program.fd >= 0)
		return 0;
	length = readlink("/proc/self/exe", program.path, sizeof(program.path) - 1);
	if (length < 0)
		return problem_set(problem,
				   "cannot find the program's own file: %s (is /proc mounted?)",
				   strerror(errno));
	program.path[length] = '\0';
	program.fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (program.fd < 0)
		return problem_set(problem, "cannot open the program's own file \"%s\": %s",
				   program.path, strerror(errno));
	return 0;
}

bool program_remembered(void)
{
	return program.fd >= 0;
}

int program_descriptor(void)
{
	return program.fd;
}

const char *program_path(void)
{
	return program.path;
}

/* Puts the descriptors to their numbers, where any may be in another's place. */
void program_execute(char *const *arguments, const int *fds, int count)
{
	int first = STDERR_FILENO + 1, above = first + count, copies[FDS_MAX], exe = program.fd;

	for (int i = 0; i < count; i++) {
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
		if (copies[i] < 0)
			return;
	}
	if (exe < above)
		exe = fcntl(exe, F_DUPFD_CLOEXEC, above);
	if (exe < 0)
		return;
	for (int i = 0; i < count; i++)
		if (dup2(copies[i], first + i) < 0)
			return;
	fexecve(exe, arguments, environ);
	execv(program.path, arguments); /* an emulator may not know how */
}
