// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The relay processes. Touches their sockets and processes. Each is executed anew and so knows no
 * private key; none is ended by force, as it carries connections that live longer than the daemon.
 */
#include "relays.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "program.h"
#include "relay.h"

/* ---- The child ----------------------------------------------------------------------------- */

struct execution {
	const struct relays *relays;
	unsigned index; /* from 1 */
	int socket;
	int counters;
};

static int relay_execute(void *context)
{
	const struct execution *execution = context;
	const struct relays *relays = execution->relays;
	char numbers[6][16];
	char *arguments[] = {(char *)"handshaked", (char *)"--relay", numbers[0],
			     numbers[1],           numbers[2],        numbers[3],
			     numbers[4],           numbers[5],        NULL};
	const int fds[] = {execution->socket, execution->counters}; /* RELAY_SOCKET_FD, … */

	snprintf(numbers[0], sizeof(numbers[0]), "%u", execution->index);
	snprintf(numbers[1], sizeof(numbers[1]), "%u", relays->uid);
	snprintf(numbers[2], sizeof(numbers[2]), "%u", relays->gid);
	snprintf(numbers[3], sizeof(numbers[3]), "%u", relays->total);
	snprintf(numbers[4], sizeof(numbers[4]), "%u", relays->per_user);
	snprintf(numbers[5], sizeof(numbers[5]), "%u", (unsigned)relays->log_level);
	program_execute(arguments, fds, 2);
	log_error("cannot execute \"%s\" as relay %u: %m", program_path(), execution->index);
	_exit(EXIT_FAILURE);
}

/* ---- The set ------------------------------------------------------------------------------- */

static int relay_start(struct relays *relays, unsigned i, struct counters *counters,
		       struct problem *problem)
{
	struct relay_child *relay = &relays->list[i];
	struct execution execution = {
	    .relays = relays,
	    .index = i + 1,
	    .socket = relay->relay_end,
	    .counters = counters_fd(counters),
	};
	const int keep[] = {relay->relay_end, execution.counters, program_descriptor()};

	return child_start(&relay->child, keep, sizeof(keep) / sizeof(keep[0]), relay_execute,
			   &execution, problem);
}

static int relay_init(struct relay_child *relay, unsigned index, struct problem *problem)
{
	int ends[2];

	snprintf(relay->child.name, sizeof(relay->child.name), "relay %u", index);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return problem_set(problem, "cannot make a socket for a relay: %s",
				   strerror(errno));
	relay->worker_end = ends[0];
	relay->relay_end = ends[1];
	return 0;
}

struct relays *relays_new(const struct config *config, struct counters *counters,
			  struct problem *problem)
{
	struct relays *relays = calloc(1, sizeof(*relays));

	if (relays)
		relays->list = calloc(config->relays + 1, sizeof(*relays->list));
	if (!relays || !relays->list) {
		free(relays);
		problem_set(problem, "out of memory");
		return NULL;
	}
	relays->count = config->relays;
	relays->total = config->relayed_total;
	relays->per_user = config->relayed_per_user;
	relays->uid = config->uid;
	relays->gid = config->gid;
	relays->log_level = config->log_level;
	for (unsigned i = 0; i < relays->count; i++)
		relays->list[i].worker_end = relays->list[i].relay_end = -1;
	for (unsigned i = 0; i < relays->count; i++)
		if (relay_init(&relays->list[i], i + 1, problem) < 0 ||
		    relay_start(relays, i, counters, problem) < 0) {
			relays_free(relays);
			return NULL;
		}
	return relays;
}

static bool socket_is_shut(int fd)
{
	struct pollfd item = {.fd = fd, .events = POLLRDHUP};

	return fd >= 0 && poll(&item, 1, 0) > 0;
}

bool relays_spoiled(struct relays *relays)
{
	bool spoiled = false;

	for (unsigned i = 0; i < relays->count; i++) {
		struct relay_child *relay = &relays->list[i];

		if (relay->told || !socket_is_shut(relay->relay_end))
			continue;
		relay->told = true;
		spoiled = true;
		log_warning("%s takes no more connections: relays and workers are started anew",
			    relay->child.name);
	}
	return spoiled;
}

bool relays_fit(const struct relays *relays, const struct config *config)
{
	for (unsigned i = 0; i < relays->count; i++)
		if (socket_is_shut(relays->list[i].relay_end))
			return false;
	return relays->count == config->relays && relays->total == config->relayed_total &&
	       relays->per_user == config->relayed_per_user && relays->uid == config->uid &&
	       relays->gid == config->gid && relays->log_level == config->log_level;
}

int relays_socket(const struct relays *relays, unsigned worker)
{
	return relays->count ? relays->list[worker % relays->count].worker_end : -1;
}

static bool relays_retired(const struct relays *relays)
{
	return relays->count == 0 || relays->list[0].relay_end < 0;
}

int64_t relays_tend(struct relays *relays, struct counters *counters, int64_t now)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < relays->count && !relays_retired(relays); i++) {
		struct child *child = &relays->list[i].child;
		struct problem problem = {""};

		if (child->pid == 0 && child->start_ms <= now &&
		    relay_start(relays, i, counters, &problem) < 0) {
			log_error("%s", problem.text);
			child->start_ms = now + CHILD_DELAY_MAX_MS;
		}
		if (child->pid == 0 && child->start_ms < next)
			next = child->start_ms;
	}
	return next;
}

bool relays_died(struct relays *relays, struct counters *counters, pid_t pid, int status)
{
	for (unsigned i = 0; i < relays->count; i++) {
		if (relays->list[i].child.pid != pid)
			continue;
		child_died(&relays->list[i].child, status, relays_retired(relays) && status == 0);
		relays->list[i].told = false;
		counters_forget_process(counters, pid);
		if (status != 0)
			counters_add(counters, COUNTER_RELAYS_DIED, 1);
		return true;
	}
	return false;
}

static void end_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void relays_retire(struct relays *relays)
{
	for (unsigned i = 0; i < relays->count; i++) {
		end_close(&relays->list[i].worker_end);
		end_close(&relays->list[i].relay_end);
	}
}

bool relays_gone(const struct relays *relays)
{
	for (unsigned i = 0; i < relays->count; i++)
		if (relays->list[i].child.pid)
			return false;
	return relays_retired(relays);
}

void relays_free(struct relays *relays)
{
	if (!relays)
		return;
	relays_retire(relays);
	free(relays->list);
	free(relays);
}
