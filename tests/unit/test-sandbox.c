// SPDX-License-Identifier: LGPL-2.1-or-later
/* In the sandbox nothing can be opened, made or started, and what a worker needs still works. Each test
 * enters it in a child process, as there is no way back. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign.h"
#include "log.h"
#include "sandbox.h"
#include "skipping.h"

enum { NOBODY = 65534, NOT_ENTERED = 99 };

#ifdef SANITIZED
enum { FILTERED = 0 };
#else
enum { FILTERED = 1 };
#endif

/* The wait status of a child that ran this in a sandbox. */
static int inside(enum sandbox_kind kind, int (*run)(void))
{
	struct problem problem = {""};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		log_set_level(CONFIG_LOG_ERROR);
		foreign_start(false);
		if (sandbox_enter(kind, NOBODY, NOBODY, &problem) < 0) {
			fprintf(stderr, "%s\n", problem.text);
			_exit(NOT_ENTERED);
		}
		_exit(run());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int run_identity(void)
{
	uid_t real, effective, saved;

	if (getresuid(&real, &effective, &saved) == 0 && (!real || !effective || !saved))
		return 1;
	/* getuid() is allowed, getresuid() need not be. */
	return getuid() == 0 || geteuid() == 0 || getgid() == 0 ? 2 : 0;
}

static void nobody_stays_root(void **state)
{
	(void)state;
	assert_int_equal(inside(SANDBOX_WORKER, run_identity), 0);
	assert_int_equal(inside(SANDBOX_RELAY, run_identity), 0);
}

static int run_root(void)
{
	struct problem problem = {""};

	return sandbox_enter(SANDBOX_WORKER, 0, 0, &problem) == 0 || !problem.text[0];
}

static void root_as_a_workers_user_is_refused(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip_because("needs root");
	pid = fork();
	if (pid == 0)
		_exit(run_root());
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static int run_forbidden(void)
{
	if (open("/dev/null", O_RDONLY) >= 0 || errno != EPERM)
		return 1;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0) != MAP_FAILED ||
	    errno != EPERM)
		return 3;
	if (kill(getppid(), SIGKILL) == 0 || errno != EPERM)
		return 4;
	if (prctl(PR_SET_DUMPABLE, 1) == 0)
		return 5;
	if (socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0, 0}) == 0 || errno != EPERM)
		return 6;
	return 0;
}

static void nothing_is_opened_made_or_signalled(void **state)
{
	(void)state;
	if (!FILTERED)
		skip_because("this build has no system-call filter");
	assert_int_equal(inside(SANDBOX_WORKER, run_forbidden), 0);
	assert_int_equal(inside(SANDBOX_RELAY, run_forbidden), 0);
}

static int run_execute(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int run_fork(void)
{
	return fork() < 0 ? 0 : 1;
}

static void who_executes_a_program_is_ended(void **state)
{
	int status;

	(void)state;
	if (!FILTERED)
		skip_because("this build has no system-call filter");
	status = inside(SANDBOX_WORKER, run_execute);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_int_equal(inside(SANDBOX_WORKER, run_fork), 0);
}

static int run_needed(void)
{
	int ends[2], fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory = malloc(64 << 20);

	if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0)
		return 1;
	if (!memory || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return 2;
	if (send(ends[0], "x", 1, MSG_DONTWAIT) != 1 || recv(ends[1], memory, 1, 0) != 1)
		return 3;
	free(memory);
	foreign_close(ends[0]);
	foreign_close(fd); /* in a thread */
	for (int i = 0; i < 200 && fcntl(fd, F_GETFD) >= 0; i++)
		usleep(5000);
	if (fcntl(fd, F_GETFD) >= 0)
		return 4;
	log_error("%s", ""); /* writes to standard error */
	return 0;
}

static void what_a_worker_needs_still_works(void **state)
{
	(void)state;
	assert_int_equal(inside(SANDBOX_WORKER, run_needed), 0);
	assert_int_equal(inside(SANDBOX_RELAY, run_needed), 0);
}

static int run_accept(void)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	/* The parent's listening socket is blocking, and nobody connects. */
	return foreign_accept(STDIN_FILENO, (struct sockaddr *)&peer, &size) == -EAGAIN ? 0 : 1;
}

static void an_accept_on_a_blocking_socket_does_not_wait(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), saved = dup(STDIN_FILENO);

	(void)state;
	assert_int_equal(listen(fd, 1), 0);
	dup2(fd, STDIN_FILENO);
	assert_int_equal(inside(SANDBOX_WORKER, run_accept), 0);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fd);
}

static int run_limits(void)
{
	struct rlimit limit = {1, 1};

	if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max != 0)
		return 1;
	return 0;
}

static void no_core_file_is_left(void **state)
{
	(void)state;
	assert_int_equal(inside(SANDBOX_WORKER, run_limits), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_stays_root),
	    cmocka_unit_test(root_as_a_workers_user_is_refused),
	    cmocka_unit_test(nothing_is_opened_made_or_signalled),
	    cmocka_unit_test(who_executes_a_program_is_ended),
	    cmocka_unit_test(what_a_worker_needs_still_works),
	    cmocka_unit_test(an_accept_on_a_blocking_socket_does_not_wait),
	    cmocka_unit_test(no_core_file_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
