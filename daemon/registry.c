// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The listenings of programs. Touches the supervisor's duplicates of the programs' descriptors: sends
 * one packet, watches for the end, reads nothing. Never outlives a program's connection.
 */
#include "registry.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "foreign.h"
#include "log.h"
#include "message.h"
#include "reply.h"

void registry_init(struct registry *registry, struct counters *counters)
{
	memset(registry, 0, sizeof(*registry));
	TAILQ_INIT(&registry->list);
	registry->counters = counters;
}

static void registry_remove(struct registry *registry, struct registration *registration)
{
	TAILQ_REMOVE(&registry->list, registration, entry);
	registry->count--;
	counters_give_place(registry->counters, PLACE_CLIENT, registration->caller.uid);
	if (registration->listening_fd >= 0)
		counters_add(registry->counters, COUNTER_LISTENINGS, -1);
	counters_add(registry->counters, COUNTER_CLIENTS, -1);
	foreign_close(registration->listening_fd);
	foreign_close(registration->connection_fd);
	free(registration);
}

void registry_done(struct registry *registry)
{
	for (struct registration *r = TAILQ_FIRST(&registry->list), *next; r; r = next) {
		next = TAILQ_NEXT(r, entry);
		registry_remove(registry, r);
	}
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static bool is_listening_tcp(int fd)
{
	int domain = socket_option(fd, SO_DOMAIN);

	return (domain == AF_INET || domain == AF_INET6) &&
	       socket_option(fd, SO_PROTOCOL) == IPPROTO_TCP &&
	       socket_option(fd, SO_ACCEPTCONN) == 1;
}

static bool is_program(int fd)
{
	return socket_option(fd, SO_DOMAIN) == AF_UNIX &&
	       socket_option(fd, SO_TYPE) == SOCK_SEQPACKET;
}

static unsigned registry_count_user(const struct registry *registry, uid_t uid)
{
	const struct registration *registration;
	unsigned count = 0;

	TAILQ_FOREACH(registration, &registry->list, entry)
	count += registration->caller.uid == uid;
	return count;
}

static struct registration *registration_new(struct registry *registry, const struct caller *caller,
					     const struct request *request,
					     unsigned clients_per_user, unsigned clients_total,
					     struct failure *failure)
{
	struct registration *registration;

	if (registry->count >= REGISTRY_MAX ||
	    registry_count_user(registry, caller->uid) >= REGISTRY_PER_USER) {
		failure_set(failure, FAILURE_BUSY, true,
			    "There are as many listenings as the daemon keeps: %d, of one user %d",
			    REGISTRY_MAX, REGISTRY_PER_USER);
		return NULL;
	}
	if (!counters_take_place(registry->counters, PLACE_CLIENT, caller->uid, clients_per_user,
				 clients_total)) {
		failure_set(
		    failure, FAILURE_BUSY, true,
		    "As many programs are connected as [daemon] clients-total (%u) allows, or half "
		    "of them for one user: try again",
		    clients_total);
		return NULL;
	}
	registration = calloc(1, sizeof(*registration));
	if (!registration) {
		counters_give_place(registry->counters, PLACE_CLIENT, caller->uid);
		failure_set(failure, FAILURE_BUSY, true,
			    "The daemon has no memory for another listening");
		return NULL;
	}
	registration->number = ++registry->last_number;
	registration->caller = *caller;
	registration->request = *request;
	return registration;
}

/* The packet goes out before any worker knows of the listening, so that no connection overtakes it. */
static int program_tell(int connection_fd, const struct request *request)
{
	struct message_writer writer;

	message_begin(&writer, request->operation == REQUEST_TRACE ? HANDSHAKE_OP_TRACING
								   : HANDSHAKE_OP_LISTENING);
	message_add_number(&writer, HANDSHAKE_KEY_ID, request->id);
	return message_send(connection_fd, &writer, NULL, 0);
}

static void program_refuse(int connection_fd, uint64_t id, const struct failure *failure)
{
	struct reply reply;

	reply_build_refusal(&reply, id, failure);
	message_send(connection_fd, &reply.writer, NULL, 0);
}

int registry_add(struct registry *registry, const struct caller *caller,
		 const struct request *request, int listening_fd, int connection_fd,
		 unsigned clients_per_user, unsigned clients_total)
{
	struct registration *registration = NULL;
	struct failure failure = {0};
	bool listens = request->operation != REQUEST_TRACE;

	if (!is_program(connection_fd) ||
	    (listens ? !is_listening_tcp(listening_fd) : listening_fd >= 0))
		log_warning("a worker passed on a listening without its sockets");
	else
		registration = registration_new(registry, caller, request, clients_per_user,
						clients_total, &failure);
	if (!registration) {
		if (failure.class != FAILURE_NONE)
			program_refuse(connection_fd, request->id, &failure);
		foreign_close(listening_fd);
		foreign_close(connection_fd);
		return -1;
	}
	registration->listening_fd = listening_fd;
	registration->connection_fd = connection_fd;
	TAILQ_INSERT_TAIL(&registry->list, registration, entry);
	registry->count++;
	if (listens)
		counters_add(registry->counters, COUNTER_LISTENINGS, 1);
	counters_add(registry->counters, COUNTER_CLIENTS, 1);
	if (program_tell(connection_fd, request) < 0) {
		registry_remove(registry, registration);
		return -1;
	}
	log_debug("user %u, process %d %s", caller->uid, caller->pid,
		  listens ? "listens" : "watches the handshakes");
	return 0;
}

const struct registration *registry_after(const struct registry *registry, uint64_t number)
{
	const struct registration *registration;

	TAILQ_FOREACH(registration, &registry->list, entry)
	if (registration->number > number)
		return registration;
	return NULL;
}

void registry_poll(const struct registry *registry, struct pollfd *ret_polled)
{
	const struct registration *registration = TAILQ_FIRST(&registry->list);

	/* Only the end: what the program says is read by the workers. */
	for (; registration; registration = TAILQ_NEXT(registration, entry))
		*ret_polled++ =
		    (struct pollfd){.fd = registration->connection_fd, .events = POLLRDHUP};
}

void registry_polled(struct registry *registry, const struct pollfd *polled, size_t count)
{
	struct registration *registration = TAILQ_FIRST(&registry->list), *next;

	for (size_t i = 0; i < count && registration; i++, registration = next) {
		next = TAILQ_NEXT(registration, entry);
		if (polled[i].revents && polled[i].fd == registration->connection_fd)
			registry_remove(registry, registration);
	}
}
