/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes over connections that workers hand in: checks the request, counts it against the bounds, starts
 * the connection. Touches the workers' socket and the counters; it must never leave a key behind in
 * its memory, nor wait for a worker. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "descriptors.h"
#include "foreign.h"
#include "handshake-protocol.h"
#include "log.h"
#include "relay-connection.h"
#include "relay-guard.h"
#include "relay-intake.h"
#include "relay-tcp.h"

enum {
	TAKE_AT_ONCE = 16, /* requests in one turn of the loop */
	DESCRIPTORS_OWN =
	    32, /* standard ones, loop, signals, counters, those of one request, spare */
	REQUEST_FDS_ROOM = 8, /* to be closed if they are not RELAY_REQUEST_FDS */
};

struct intake {
	struct relay_surroundings surroundings;
	struct relay_limits limits;
	int socket;
	unsigned connections;
	bool stopping; /* told to stop */
	bool stopped;  /* nothing more can come */
	struct event *request_event, *term_event, *interrupt_event;
};

/* ---- One request ---- */

struct packet {
	struct relay_request request;
	ssize_t size;
	int fds[REQUEST_FDS_ROOM];
	size_t fd_count;
	bool cut;
};

static ssize_t packet_receive(int socket, struct packet *packet)
{
	struct iovec vector = {&packet->request, sizeof packet->request};
	int flags = MSG_DONTWAIT;

	memset(packet, 0, sizeof *packet);
	packet->fd_count = REQUEST_FDS_ROOM;
	packet->size =
	    descriptors_receive(socket, &vector, 1, &flags, packet->fds, &packet->fd_count);
	packet->cut = packet->size > 0 && flags;
	return packet->size;
}

static bool is_socket(int fd, int domain1, int domain2, int wanted)
{
	int domain = -1, type = -1;
	socklen_t domain_size = sizeof domain, type_size = sizeof type;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 &&
	       (domain == domain1 || domain == domain2) && type == wanted;
}

/* NULL, or what is wrong with it. Worker and relay are the same program, so this is a wall against a
 * worker that somebody has taken over, and against an update half done. */
static const char *packet_judge(const struct packet *packet)
{
	struct stat state;

	if (packet->cut)
		return "parts of it were lost (the limit of open descriptors is reached, or it is "
		       "too large)";
	if (packet->size != (ssize_t)sizeof packet->request ||
	    packet->request.version != RELAY_REQUEST_VERSION)
		return "it comes from another version of the program; restart the daemon";
	if (packet->fd_count != RELAY_REQUEST_FDS && packet->fd_count != RELAY_REQUEST_FDS - 1)
		return "it has another number of descriptors than four or five";
	if (!is_socket(packet->fds[0], AF_INET, AF_INET6, SOCK_STREAM))
		return "its first descriptor is no TCP socket";
	if (!is_socket(packet->fds[1], AF_UNIX, AF_UNIX, SOCK_STREAM))
		return "its second descriptor is no Unix stream socket";
	/* The seals are answered by the kernel for memory alone; fstat() would ask the file, and whoever serves
	 * it might not answer. */
	if (fcntl(packet->fds[2], F_GET_SEALS) < 0 || fstat(packet->fds[2], &state) < 0 ||
	    state.st_size < HANDSHAKE_RELAY_STATE_SIZE)
		return "its third descriptor is no memory with room for the state";
	if (!is_socket(packet->fds[3], AF_UNIX, AF_UNIX, SOCK_SEQPACKET))
		return "its fourth descriptor is no Unix packet socket";
	if (packet->fd_count == RELAY_REQUEST_FDS &&
	    !is_socket(packet->fds[4], AF_UNIX, AF_UNIX, SOCK_SEQPACKET))
		return "its fifth descriptor is no Unix packet socket";
	return NULL;
}

/* The place that a worker may hold for this connection becomes this process's. */
static bool place_inherit(struct intake *intake, const struct relay_request *request)
{
	return counters_inherit_relay(intake->surroundings.counters, request->holder, request->uid);
}

/* A packet that is not taken; its place is given back. What comes with it is anybody's: a Unix socket may have
 * descriptors in its queue, and a close may wait. */
static void packet_close(struct intake *intake, struct packet *packet)
{
	if (packet->size == (ssize_t)sizeof packet->request &&
	    place_inherit(intake, &packet->request))
		counters_give_place(intake->surroundings.counters, PLACE_RELAYED,
				    packet->request.uid);
	for (size_t i = 0; i < packet->fd_count; i++) {
		if (is_socket(packet->fds[i], AF_INET, AF_INET6, SOCK_STREAM))
			relay_tcp_close(packet->fds[i]);
		else if (foreign_is_socket(packet->fds[i]))
			relay_guard_close(packet->fds[i]);
		else
			foreign_close(packet->fds[i]);
	}
	packet->fd_count = 0;
}

static void on_gone(void *context, uid_t uid, bool refused)
{
	struct intake *intake = context;

	intake->connections--;
	if (!refused) {
		counters_add(intake->surroundings.counters, COUNTER_RELAYED, -1);
		counters_give_place(intake->surroundings.counters, PLACE_RELAYED, uid);
	}
	if (intake->stopped && intake->connections == 0)
		event_base_loopbreak(intake->surroundings.base);
}

static void packet_take(struct intake *intake, struct packet *packet)
{
	struct counters *counters = intake->surroundings.counters;
	uid_t uid = packet->request.uid;
	const char *wrong = packet_judge(packet);

	if (wrong) {
		log_error("a worker's request cannot be taken: %s", wrong);
		packet_close(intake, packet);
		return;
	}
	if (intake->limits.descriptors <
	    (intake->connections + 1) * RELAY_REQUEST_FDS + DESCRIPTORS_OWN) {
		log_warning(
		    "a connection of user %u is cut: %u connections take all of the %u descriptors "
		    "that this process may open; raise the limit (LimitNOFILE) or the number of "
		    "relays",
		    (unsigned)uid, intake->connections, intake->limits.descriptors);
		packet_close(intake, packet);
		return;
	}
	bool refused = !place_inherit(intake, &packet->request) &&
		       !counters_take_place(counters, PLACE_RELAYED, uid, intake->limits.per_user,
					    intake->limits.total);
	if (refused)
		log_warning("a connection of user %u is refused: the bound of %u relayed "
			    "connections per user, "
			    "or of %u in total, is reached",
			    (unsigned)uid, intake->limits.per_user, intake->limits.total);
	else
		counters_add(counters, COUNTER_RELAYED, 1);
	intake->connections++;
	if (packet->fd_count < RELAY_REQUEST_FDS)
		packet->fds[RELAY_REQUEST_FDS - 1] = -1;
	packet->fd_count = 0; /* taken */
	int result = relay_connection_start(&intake->surroundings, &packet->request, packet->fds,
					    refused, on_gone, intake);
	if (result < 0) {
		log_error("a connection of user %u is cut: %s", (unsigned)uid, strerror(-result));
		on_gone(intake, uid, refused);
	}
}

/* ---- The loop ---- */

static void stop(struct intake *intake)
{
	intake->stopped = true;
	event_del(intake->request_event);
	if (intake->connections == 0)
		event_base_loopbreak(intake->surroundings.base);
}

/* Nothing was read. A packet of no bytes looks like the end, and would end the relay for all workers. */
static bool is_end(int socket)
{
	struct pollfd item = {socket, POLLRDHUP, 0};
	int waiting = 0;

	return poll(&item, 1, 0) > 0 && item.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL) &&
	       (ioctl(socket, FIONREAD, &waiting) < 0 || waiting == 0);
}

static void on_request(evutil_socket_t fd, short what, void *context)
{
	struct intake *intake = context;
	struct packet packet;

	(void)what;
	for (int i = 0; i < TAKE_AT_ONCE; i++) {
		ssize_t size = packet_receive(fd, &packet);
		if (size > 0)
			packet_take(intake, &packet);
		else
			packet_close(intake, &packet); /* descriptors may come with nothing */
		explicit_bzero(&packet, sizeof packet);
		if (size > 0 || (size == 0 && !is_end(fd)))
			continue;
		if (size == 0 || (errno != EAGAIN && errno != ENOMEM && errno != ENOBUFS))
			stop(intake);
		return;
	}
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
	struct intake *intake = context;

	(void)number;
	(void)what;
	if (intake->stopping) {
		log_info("told to stop again: %u connections are cut", intake->connections);
		event_base_loopbreak(intake->surroundings.base);
		return;
	}
	/* Workers get EPIPE from now on. What they have handed in is still taken: for the programs these
	 * connections are established. on_request() then meets the end. */
	intake->stopping = true;
	shutdown(intake->socket, SHUT_RD);
	if (intake->connections > 0)
		log_info("takes no more; stays until its %u connections are gone",
			 intake->connections);
}

static struct event *add_event(struct event_base *base, evutil_socket_t fd, short what,
			       event_callback_fn callback, void *context)
{
	struct event *event = event_new(base, fd, (short)(what | EV_PERSIST), callback, context);

	if (event && event_add(event, NULL) < 0) {
		event_free(event);
		event = NULL;
	}
	return event;
}

/* Who starts the process has blocked them, so that none came while it would have been its death. */
static void unblock_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

int relay_intake_run(struct event_base *base, int socket, struct counters *counters,
		     const struct relay_limits *limits)
{
	struct intake intake = {
	    .surroundings = {.base = base, .counters = counters},
	    .limits = *limits,
	    .socket = socket,
	};
	int result = -ENOMEM;

	intake.request_event = add_event(base, socket, EV_READ, on_request, &intake);
	intake.term_event = add_event(base, SIGTERM, EV_SIGNAL, on_signal, &intake);
	intake.interrupt_event = add_event(base, SIGINT, EV_SIGNAL, on_signal, &intake);
	if (intake.request_event && intake.term_event && intake.interrupt_event) {
		unblock_signals();
		result = event_base_dispatch(base) < 0 ? -EIO : 0;
	}
	relay_connection_cut_all(&intake.surroundings);
	if (intake.interrupt_event)
		event_free(intake.interrupt_event);
	if (intake.term_event)
		event_free(intake.term_event);
	if (intake.request_event)
		event_free(intake.request_event);
	relay_pool_done(&intake.surroundings.pool);
	return result;
}
