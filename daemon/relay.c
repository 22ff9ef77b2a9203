/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The relay process from its arguments to its exit status. Touches what it inherited: the workers'
 * socket, the counters, standard error; it must never read a byte from a network before it is in its
 * sandbox, and never hold a private key. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <event2/event.h>
#include <gnutls/gnutls.h>

#include "counters.h"
#include "foreign.h"
#include "log.h"
#include "offload-relay.h"
#include "relay-intake.h"
#include "relay.h"
#include "sandbox.h"

struct arguments {
	unsigned index, uid, gid, total, per_user;
	enum config_log_level level;
};

static bool read_number(const char *text, unsigned *ret_number)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || number > 0xffffffff)
		return false;
	*ret_number = (unsigned)number;
	return true;
}

static bool read_level(const char *text, enum config_log_level *ret_level)
{
	static const char *const words[] = {
	    [CONFIG_LOG_ERROR] = "error",
	    [CONFIG_LOG_WARNING] = "warning",
	    [CONFIG_LOG_INFO] = "info",
	    [CONFIG_LOG_DEBUG] = "debug",
	};
	unsigned number;

	if (read_number(text, &number) && number <= CONFIG_LOG_DEBUG) {
		*ret_level = number;
		return true;
	}
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret_level = i;
			return true;
		}
	}
	return false;
}

/* -1 and a message: the arguments come from the supervisor, or from somebody who tries the program out. */
static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
	unsigned *const numbers[] = {&arguments->index, &arguments->uid, &arguments->gid,
				     &arguments->total, &arguments->per_user};

	if (argc != 6) {
		fprintf(stderr,
			"handshaked: --relay has %d arguments instead of 6; it is for the daemon's "
			"own use: start handshaked without it\n",
			argc);
		return -1;
	}
	for (int i = 0; i < 5; i++) {
		if (!read_number(argv[i], numbers[i])) {
			fprintf(stderr,
				"handshaked: --relay: \"%s\" (argument %d) is not a number\n",
				argv[i], i + 1);
			return -1;
		}
	}
	if (!read_level(argv[5], &arguments->level)) {
		fprintf(stderr,
			"handshaked: --relay: \"%s\" is not a log level: error, warning, info or "
			"debug\n",
			argv[5]);
		return -1;
	}
	return 0;
}

/* As many descriptors as the hard limit allows: each connection takes four. */
static unsigned raise_descriptor_limit(unsigned total)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	unsigned descriptors = limit.rlim_cur > 1u << 30 ? 1u << 30 : (unsigned)limit.rlim_cur;
	if (total > 0 && descriptors / RELAY_REQUEST_FDS < total)
		log_warning(
		    "%u open descriptors do for about %u of the %u relayed connections that the "
		    "configuration allows; raise the limit (LimitNOFILE)",
		    descriptors, descriptors / RELAY_REQUEST_FDS, total);
	return descriptors;
}

/* SIGTERM and SIGINT come blocked, and stay so until the loop can hear them: requests may be waiting. */
static void set_signals(void)
{
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

int relay_main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct problem problem = {""};

	set_signals();
	if (read_arguments(argc, argv, &arguments) < 0)
		return 2;
	log_set_level(arguments.level);
	log_set_name("relay %u", arguments.index);
	struct counters *counters = counters_map(RELAY_COUNTERS_FD);
	if (!counters) {
		log_error("cannot map the counters at descriptor %d: %s", RELAY_COUNTERS_FD,
			  strerror(errno));
		return 1;
	}
	struct relay_limits limits = {arguments.total, arguments.per_user,
				      raise_descriptor_limit(arguments.total)};
	int result = foreign_start(true);
	if (result < 0) {
		log_error("cannot handle SIGALRM: %s", strerror(-result));
		return 1;
	}
	/* Reads the system's settings and finds the processor's instructions; the sandbox opens no file. */
	result = gnutls_global_init();
	if (result < 0) {
		log_error("GnuTLS does not start: %s", gnutls_strerror(result));
		return 1;
	}
	struct event_base *base = event_base_new();
	if (!base) {
		log_error("no event loop: %s", strerror(errno));
		return 1;
	}
	if (sandbox_enter(SANDBOX_RELAY, arguments.uid, arguments.gid, &problem) < 0) {
		log_error("%s", problem.text);
		return 1;
	}
	result = relay_intake_run(base, RELAY_SOCKET_FD, counters, &limits);
	event_base_free(base);
	counters_free(counters);
	if (result < 0) {
		log_error("the loop failed: %s", strerror(-result));
		return 1;
	}
	return 0;
}
