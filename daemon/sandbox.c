// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a process that meets strangers gives up. Touches the process's own identity, capabilities and
 * system-call filter. Never goes on with less than all of it: the process must then end.
 */
#include "sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

/* Sanitizers and valgrind make calls of their own (LeakSanitizer even traces the process): built for
 * them, the filter and the ban on looking in are left out, and the log says so. */
#ifdef SANITIZED
enum { FILTERED = 0 };
#else
enum { FILTERED = 1 };
#endif

/* ---- Identity ------------------------------------------------------------------------------ */

/* A token's directory may be root's, or a group's that the signer's user belongs to. */
static int privileges_drop_root(enum sandbox_kind kind, uid_t uid, gid_t gid,
				struct problem *problem)
{
	bool token = kind == SANDBOX_TOKEN_SIGNER;

	if ((uid == 0 || gid == 0) && !token)
		return problem_set(problem,
				   "workers may not run as root: set \"user\" in [daemon] to "
				   "a user without privileges");
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_change_id((int)uid, (int)gid,
			    (token ? CAPNG_INIT_SUPP_GRP : CAPNG_DROP_SUPP_GRP) |
				CAPNG_CLEAR_BOUNDING | CAPNG_CLEAR_AMBIENT) < 0)
		return problem_set(problem,
				   "cannot become user %u, group %u without capabilities: %s", uid,
				   gid, errno ? strerror(errno) : "libcap-ng refused");
	return 0;
}

static int privileges_drop(enum sandbox_kind kind, uid_t uid, gid_t gid, struct problem *problem)
{
	uid_t real, effective, saved;

	errno = 0;
	if (geteuid() == 0) {
		if (privileges_drop_root(kind, uid, gid, problem) < 0)
			return -1;
	} else {
		capng_clear(CAPNG_SELECT_CAPS);
		if (capng_apply(CAPNG_SELECT_CAPS) < 0)
			return problem_set(problem, "cannot give up capabilities: %s",
					   strerror(errno));
	}
	if (getresuid(&real, &effective, &saved) < 0 ||
	    ((real == 0 || effective == 0 || saved == 0) &&
	     !(kind == SANDBOX_TOKEN_SIGNER && uid == 0)))
		return problem_set(problem, "the process is still root");
	if (capng_get_caps_process() < 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) > CAPNG_NONE)
		return problem_set(problem, "the process still has capabilities");
	return 0;
}

/* ---- System calls -------------------------------------------------------------------------- */

/* What all kinds need: the event loop, sockets that exist already, memory, GnuTLS, a thread that
 * closes a descriptor (foreign.c). No path is ever opened, no new connection made. */
static const int calls_common[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recv),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(send),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(fcntl64),
    SCMP_SYS(lseek),
    SCMP_SYS(_llseek),
    SCMP_SYS(ftruncate),
    SCMP_SYS(ftruncate64),
    SCMP_SYS(memfd_create),
    SCMP_SYS(fstat),
    SCMP_SYS(fstat64),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(setitimer),
    SCMP_SYS(getitimer),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(getrandom),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit),
    SCMP_SYS(ugetrlimit),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* A worker accepts, and makes the pair of sockets and the memory that a relayed program gets. */
static const int calls_worker[] = {SCMP_SYS(accept4), SCMP_SYS(accept)};
/* A relay makes its event loop after its sandbox, and ends a TCP connection with a reset by connect() to
 * AF_UNSPEC; it can make no socket to connect anywhere. */
static const int calls_relay[] = {
    SCMP_SYS(epoll_create1),  SCMP_SYS(eventfd2),        SCMP_SYS(pipe2),
    SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    SCMP_SYS(connect),
};

/* No honest process of ours makes these: one that does has been taken over, and ends at once. All that
 * is in no list gives EPERM, so that a newer libc may try a newer call and fall back. */
static const int calls_deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(bpf),
    SCMP_SYS(mount),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(setuid),
    SCMP_SYS(setresuid),
};

static int filter_add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		r = seccomp_rule_add(filter, action, calls[i], 0);
		/* A call that this architecture has not is none to forbid or allow. */
		if (r == -EDOM)
			r = 0;
	}
	return r;
}

#define FILTER_ADD(filter, action, calls) \
	filter_add(filter, action, calls, sizeof(calls) / sizeof((calls)[0]))

/* Calls that are harmless with some arguments only. */
static int filter_add_bounded(scmp_filter_ctx filter, enum sandbox_kind kind)
{
	int r = 0;

	/* How many bytes a program has written that were not read yet. */
	if (kind == SANDBOX_RELAY)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, FIONREAD, 0));

	/* Memory is never writable code. */
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
				 SCMP_A0(SCMP_CMP_EQ, 1 /* AF_UNIX */, 0));
	/* A thread, not a process. The flags of clone3 lie in memory, where no filter sees them:
	 * ENOSYS sends the C library back to clone. */
#if defined(__s390__) || defined(__s390x__) || defined(__CRIS__)
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A1(SCMP_CMP_MASKED_EQ, 0x10000, 0x10000));
#else
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000 /* CLONE_THREAD */, 0x10000));
#endif
	r = r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* fstat() in glibc: an empty path. No path can be given up to, but no filter reads strings:
	 * the flag AT_EMPTY_PATH is demanded, and there is no directory open to start from. */
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				 SCMP_A3(SCMP_CMP_MASKED_EQ, 0x1000, 0x1000));
	/* abort(): a signal to itself alone. */
	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return r;
}

/* Nobody knows what a token's module calls: what would lead out of the process is forbidden, and with it
 * every socket but a local one (pcscd's). */
static int filter_add_token(scmp_filter_ctx filter)
{
	int r = FILTER_ADD(filter, SCMP_ACT_KILL_PROCESS, calls_deadly);

	r = r ? r
	      : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
				 SCMP_A0(SCMP_CMP_NE, 1 /* AF_UNIX */, 0));
	r = r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(kill), 0);
	r = r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tkill), 0);
	r = r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0);
	return r ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int filter_load(scmp_filter_ctx filter, int r, struct problem *problem)
{
	/* A tree instead of a chain: some calls are made for each packet. Older kernels do without. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* A module may have started threads. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0)
		return problem_set(problem,
				   "cannot install the filter of system calls: %s (the kernel "
				   "needs CONFIG_SECCOMP_FILTER)",
				   strerror(-r));
	return 0;
}

static int filter_install_token(struct problem *problem)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (!filter)
		return problem_set(problem, "cannot make a filter of system calls: out of memory");
	return filter_load(filter, filter_add_token(filter), problem);
}

static int filter_install(enum sandbox_kind kind, struct problem *problem)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!filter)
		return problem_set(problem, "cannot make a filter of system calls: out of memory");
	r = FILTER_ADD(filter, SCMP_ACT_ALLOW, calls_common);
	if (r == 0 && kind == SANDBOX_WORKER)
		r = FILTER_ADD(filter, SCMP_ACT_ALLOW, calls_worker);
	if (r == 0 && kind == SANDBOX_RELAY)
		r = FILTER_ADD(filter, SCMP_ACT_ALLOW, calls_relay);
	if (r == 0)
		r = FILTER_ADD(filter, SCMP_ACT_KILL_PROCESS, calls_deadly);
	if (r == 0)
		r = filter_add_bounded(filter, kind);
	return filter_load(filter, r, problem);
}

/* ---- All of it ----------------------------------------------------------------------------- */

int sandbox_drop(enum sandbox_kind kind, uid_t uid, gid_t gid, struct problem *problem)
{
	const struct rlimit none = {0, 0};
	pid_t parent = getppid();

	if (privileges_drop(kind, uid, gid, problem) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return problem_set(problem, "cannot give up privileges for good: %s",
				   strerror(errno));
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return problem_set(problem, "cannot forbid core files: %s", strerror(errno));
	/* All end with their supervisor, but a relay carries connections that live on. After the
	 * change of user, which clears it (prctl(2)). */
	if (kind != SANDBOX_RELAY) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			return problem_set(problem, "cannot end with the supervisor: %s",
					   strerror(errno));
		if (getppid() != parent)
			return problem_set(problem, "the supervisor ended meanwhile");
	}
	return 0;
}

int sandbox_close(enum sandbox_kind kind, struct problem *problem)
{
	if (!FILTERED) {
		log_info("built for a sanitizer: no filter of system calls, no ban on looking in");
		return 0;
	}
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return problem_set(problem, "cannot forbid others to look in: %s", strerror(errno));
	return kind == SANDBOX_TOKEN_SIGNER ? filter_install_token(problem)
					    : filter_install(kind, problem);
}

int sandbox_enter(enum sandbox_kind kind, uid_t uid, gid_t gid, struct problem *problem)
{
	return sandbox_drop(kind, uid, gid, problem) < 0 ? -1 : sandbox_close(kind, problem);
}
