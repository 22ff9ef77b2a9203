/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Joins the two directions of a connection, watches its sockets, and ends it in the right order: data,
 * the state for the program, end-of-file; data, close_notify, FIN. It must never end one direction
 * because the other one ended, never wait, and never leave a closing without a deadline. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event_struct.h>

#include "handshake-protocol.h"
#include "log.h"
#include "relay-connection.h"
#include "relay-guard.h"
#include "relay-receiver.h"
#include "relay-sender.h"
#include "relay-tcp.h"

struct relay_connection {
	LIST_ENTRY(relay_connection) entry;
	struct relay_surroundings *surroundings;
	relay_connection_gone *gone;
	void *context;
	uid_t uid;
	bool refused;
	int peer_fd, program_fd, state_fd, control_fd; /* -1: closed */
	struct event peer_event, program_event, control_event;
	short peer_watched, program_watched, control_watched;
	struct relay_sender sender;     /* program to peer */
	struct relay_receiver receiver; /* peer to program */
	bool program_gone;              /* nobody holds the program's end any more */
	bool program_shut;              /* it can write no more: its direction has failed */
	bool program_told;              /* the end of the peer's direction was delivered */
	bool fin_sent;
	bool peer_drained; /* the peer's FIN has come, or an error */
	/* The closing: */
	struct event timer;
	bool closing;
	unsigned tick; /* milliseconds */
	uint64_t closing_since, progress_at, waiting_since, confirmed;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Descriptors ---- */

static void peer_close(struct relay_connection *connection)
{
	if (connection->peer_fd < 0)
		return;
	event_del(&connection->peer_event);
	event_del(&connection->timer);
	relay_tcp_close(connection->peer_fd);
	connection->peer_fd = -1;
}

static void control_close(struct relay_connection *connection)
{
	if (connection->control_fd < 0)
		return;
	event_del(&connection->control_event);
	connection->control_watched = 0;
	relay_guard_close(connection->control_fd);
	connection->control_fd = -1;
}

static void program_close(struct relay_connection *connection)
{
	control_close(connection);
	if (connection->program_fd < 0)
		return;
	event_del(&connection->program_event);
	relay_guard_close(connection->program_fd);
	close(connection->state_fd);
	connection->program_fd = connection->state_fd = -1;
}

static void connection_free(struct relay_connection *connection)
{
	peer_close(connection);
	program_close(connection);
	relay_sender_done(&connection->sender, &connection->surroundings->pool);
	relay_receiver_done(&connection->receiver, &connection->surroundings->pool);
	LIST_REMOVE(connection, entry);
	connection->gone(connection->context, connection->uid, connection->refused);
	free(connection);
}

/* ---- The program's side ends ---- */

/* The state must be there before the end-of-file can be seen. "Open" is there from the beginning, and the
 * file costs no page of memory until something else is written. */
static void tell_state(int state_fd, uint8_t event, uint8_t alert)
{
	uint8_t state[HANDSHAKE_RELAY_STATE_SIZE] = {0};

	if (event == HANDSHAKE_RELAY_OPEN)
		return;
	state[HANDSHAKE_RELAY_EVENT] = event;
	state[HANDSHAKE_RELAY_ALERT] = alert;
	/* The program holds this file, too: what it spoils is its own. */
	if (pwrite(state_fd, state, sizeof state, 0) != (ssize_t)sizeof state)
		log_debug("cannot tell a program how its connection ended: %s", strerror(errno));
}

/* Whether nobody holds the other end of the pair any more, or both its directions are shut. */
static bool pair_abandoned(int fd)
{
	struct pollfd item = {fd, 0, 0};

	return poll(&item, 1, 0) > 0 && item.revents & (POLLHUP | POLLERR);
}

static void settle_program(struct relay_connection *connection)
{
	struct relay_receiver *receiver = &connection->receiver;
	struct relay_sender *sender = &connection->sender;

	if (connection->program_fd < 0)
		return;
	if (sender->ended && !sender->program_ended && !connection->program_shut) {
		/* Its data can go nowhere: let it know by EPIPE. */
		connection->program_shut = true;
		shutdown(connection->program_fd, SHUT_RD);
		relay_guard_drain(connection->program_fd);
	}
	if (receiver->ended && !relay_receiver_stalled(receiver) && !connection->program_told) {
		connection->program_told = true;
		tell_state(connection->state_fd, receiver->event, receiver->alert);
		if (!connection->program_gone)
			shutdown(connection->program_fd, SHUT_WR);
	}
	if (sender->ended && (connection->program_told || connection->program_gone))
		program_close(connection);
}

/* ---- The peer's side ends ---- */

static void closing_begin(struct relay_connection *connection)
{
	if (connection->closing)
		return;
	connection->closing = true;
	connection->closing_since = connection->progress_at = now_ms();
	connection->tick = 20;
	relay_tcp_phase(connection->peer_fd, &connection->confirmed);
}

/* false: there is no memory for it. */
static bool timer_start(struct relay_connection *connection)
{
	struct timeval delay = {connection->tick / 1000,
				(suseconds_t)(connection->tick % 1000) * 1000};

	event_base_update_cache_time(connection->surroundings->base);
	return event_add(&connection->timer, &delay) == 0;
}

/* Whether the socket can be closed now: all was confirmed, or there is no hope. */
static bool closing_finished(struct relay_connection *connection)
{
	uint64_t confirmed, now = now_ms();
	enum relay_tcp_phase phase = relay_tcp_phase(connection->peer_fd, &confirmed);

	if (phase == RELAY_TCP_CLOSED)
		return true;
	if (confirmed != connection->confirmed) {
		connection->confirmed = confirmed;
		connection->progress_at = now;
	}
	if (phase == RELAY_TCP_WAITING) {
		if (connection->waiting_since == 0)
			connection->waiting_since = now;
		return now - connection->waiting_since >= RELAY_LINGER_MAX;
	}
	return now - connection->progress_at >= RELAY_STALL_MAX ||
	       now - connection->closing_since >= RELAY_CLOSING_MAX;
}

static void settle_peer(struct relay_connection *connection)
{
	struct relay_receiver *receiver = &connection->receiver;
	struct relay_sender *sender = &connection->sender;
	bool broken = receiver->event == HANDSHAKE_RELAY_ALERT_SENT ||
		      receiver->event == HANDSHAKE_RELAY_ALERT_RECEIVED ||
		      sender->program_misbehaved;

	if (connection->peer_fd < 0)
		return;
	/* Once both directions are over, what is left is between us and a peer that may never take it. */
	if (broken || connection->program_gone ||
	    (sender->ended && receiver->ended && !relay_receiver_stalled(receiver)))
		closing_begin(connection);
	/* Not before the peer has ended, too: there are servers that break off their answer when they see
	 * the FIN (RFC 8446, 6.1 knows no half-closed TCP, only the close_notify). */
	if (!connection->fin_sent && sender->ended && !relay_sender_stalled(sender) &&
	    (receiver->ended || connection->program_gone || broken)) {
		connection->fin_sent = true;
		closing_begin(connection);
		shutdown(connection->peer_fd, SHUT_WR);
	}
	/* Without a timer nobody would look again. */
	if (connection->closing &&
	    (closing_finished(connection) ||
	     (!event_pending(&connection->timer, EV_TIMEOUT, NULL) && !timer_start(connection)))) {
		relay_sender_abandon(sender, &connection->surroundings->pool);
		peer_close(connection);
	}
}

/* ---- Watching ---- */

/* The events that are watched become the wanted ones. false: the kernel refuses (its bound on watches). */
static bool set_watch(struct relay_connection *connection, struct event *event, short *watched,
		      short wanted)
{
	if (*watched == wanted)
		return true;
	if (*watched)
		event_del(event);
	*watched = 0;
	if (!wanted)
		return true;
	event_assign(event, connection->surroundings->base, event_get_fd(event),
		     (short)(wanted | EV_PERSIST), event_get_callback(event), connection);
	if (event_add(event, NULL) < 0)
		return false;
	*watched = wanted;
	return true;
}

static bool watch(struct relay_connection *connection)
{
	struct relay_receiver *receiver = &connection->receiver;
	struct relay_sender *sender = &connection->sender;

	if (connection->peer_fd >= 0) {
		bool drain =
		    (connection->program_gone || connection->fin_sent) && !connection->peer_drained;
		bool read = drain || (!receiver->ended && !relay_receiver_stalled(receiver));
		short wanted =
		    (short)((read ? EV_READ : 0) | (relay_sender_stalled(sender) ? EV_WRITE : 0));
		if (!set_watch(connection, &connection->peer_event, &connection->peer_watched,
			       wanted))
			return false;
	}
	if (connection->control_fd >= 0 &&
	    !set_watch(connection, &connection->control_event, &connection->control_watched,
		       sender->update_count < RELAY_UPDATES_MAX ? EV_READ : 0))
		return false;
	if (connection->program_fd >= 0) {
		bool read = !sender->ended && !relay_sender_stalled(sender);
		short wanted = read ? EV_READ : 0;
		/* When nothing is read, its going away must be seen all the same, once and not again and
		 * again: edge-triggered. EV_CLOSED alone would miss an error. */
		if (!read && !connection->program_gone)
			wanted = (short)(EV_READ | EV_CLOSED | EV_ET);
		if (relay_receiver_stalled(receiver))
			wanted |= EV_WRITE;
		if (!set_watch(connection, &connection->program_event, &connection->program_watched,
			       wanted))
			return false;
	}
	return true;
}

/* ---- Work ---- */

static void count(struct relay_connection *connection, uint64_t received, uint64_t sent)
{
	struct counters *counters = connection->surroundings->counters;

	if (connection->receiver.received != received)
		counters_add(counters, COUNTER_RELAY_BYTES_IN,
			     (int64_t)(connection->receiver.received - received));
	if (connection->sender.sent != sent)
		counters_add(counters, COUNTER_RELAY_BYTES_OUT,
			     (int64_t)(connection->sender.sent - sent));
}

/* What the peer's direction means for the program's. */
static void answer(struct relay_receiver *receiver, struct relay_sender *sender,
		   struct relay_pool *pool)
{
	if (receiver->actions & POST_HANDSHAKE_UPDATE_TRANSMIT)
		sender->update_owed = true; /* one for several: RFC 8446, 4.6.3 */
	if (receiver->actions & POST_HANDSHAKE_REFUSE_RENEGOTIATION)
		sender->refusal_owed = true;
	receiver->actions = 0;
	if (receiver->event == HANDSHAKE_RELAY_ALERT_SENT && sender->alert_owed < 0)
		sender->alert_owed = receiver->alert;
	if ((receiver->event == HANDSHAKE_RELAY_ALERT_RECEIVED || receiver->reset) &&
	    !sender->failed)
		relay_sender_abandon(sender, pool);
}

static void check_program_gone(struct relay_connection *connection)
{
	if (connection->program_gone || connection->program_fd < 0 ||
	    !pair_abandoned(connection->program_fd))
		return;
	connection->program_gone = true;
	relay_receiver_abandon(&connection->receiver, &connection->surroundings->pool,
			       HANDSHAKE_RELAY_OPEN);
}

static void cut(struct relay_connection *connection)
{
	if (connection->program_fd >= 0 && !connection->program_told)
		tell_state(connection->state_fd, HANDSHAKE_RELAY_TRUNCATED, 0);
	connection_free(connection);
}

/* Without being watched, the connection would hang for ever. */
static void give_up(struct relay_connection *connection)
{
	log_error("a connection of user %u is cut, because the kernel watches no more descriptors "
		  "for this "
		  "user: raise fs.epoll.max_user_watches",
		  (unsigned)connection->uid);
	cut(connection);
}

/* Moves what can move, ends what has ended. May free the connection. */
static void work(struct relay_connection *connection, bool peer_readable, bool program_readable)
{
	struct relay_pool *pool = &connection->surroundings->pool;
	struct relay_receiver *receiver = &connection->receiver;
	struct relay_sender *sender = &connection->sender;
	uint64_t received = receiver->received, sent = sender->sent;

	if (peer_readable && (connection->program_gone || connection->fin_sent))
		connection->peer_drained = relay_tcp_drain(connection->peer_fd);
	else if (connection->program_fd >= 0)
		relay_receiver_pump(receiver, pool, connection->peer_fd, connection->program_fd,
				    peer_readable);
	answer(receiver, sender, pool);
	if (connection->peer_fd >= 0) {
		bool had_ended = sender->program_ended;
		relay_sender_pump(sender, pool, connection->peer_fd, connection->program_fd,
				  program_readable);
		if (sender->program_ended && !had_ended)
			check_program_gone(connection);
	}
	if (sender->program_misbehaved || (sender->failed && receiver->reset))
		relay_receiver_abandon(receiver, pool, HANDSHAKE_RELAY_TRUNCATED);
	count(connection, received, sent);

	settle_peer(connection);
	settle_program(connection);
	if (connection->peer_fd < 0 && connection->program_fd < 0)
		connection_free(connection);
	else if (!watch(connection))
		give_up(connection);
}

static void on_peer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	work(context, what & EV_READ, false);
}

static void on_program(evutil_socket_t fd, short what, void *context)
{
	struct relay_connection *connection = context;
	bool readable = what & EV_READ && !(connection->program_watched & EV_ET);

	(void)fd;
	if (connection->program_watched & EV_ET && what & (EV_READ | EV_CLOSED))
		check_program_gone(connection);
	work(connection, false, readable);
}

/* What the program orders, a packet of one byte. false: it orders no more. */
static bool control_take(struct relay_connection *connection)
{
	uint8_t command = 0, answer;
	struct iovec vector = {&command, 1};
	bool foreign = false;
	ssize_t size = relay_guard_read(connection->control_fd, &vector, 1, &foreign);

	if (size < 0 && !foreign)
		return errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS;
	if (size != 1 || foreign ||
	    (command != HANDSHAKE_RELAY_UPDATE && command != HANDSHAKE_RELAY_UPDATE_ASK))
		return false;
	answer = relay_sender_order_update(&connection->sender, connection->program_fd,
					   command == HANDSHAKE_RELAY_UPDATE_ASK)
		     ? HANDSHAKE_RELAY_AGREED
		     : HANDSHAKE_RELAY_REFUSED;
	if (answer == HANDSHAKE_RELAY_AGREED && command == HANDSHAKE_RELAY_UPDATE_ASK)
		connection->receiver.messages.expected++;
	return send(connection->control_fd, &answer, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void on_control(evutil_socket_t fd, short what, void *context)
{
	struct relay_connection *connection = context;

	(void)fd;
	(void)what;
	if (!control_take(connection))
		control_close(connection);
	work(connection, false, false);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct relay_connection *connection = context;

	(void)fd;
	(void)what;
	connection->tick = connection->tick < 500 ? connection->tick * 2 : 1000;
	work(connection, false, false);
}

/* ---- Beginning ---- */

/* Before there is a connection that could end in an orderly way. */
static void close_all(const int fds[RELAY_REQUEST_FDS])
{
	relay_tcp_close(fds[0]);
	relay_guard_close(fds[1]);
	close(fds[2]);
	relay_guard_close(fds[3]);
	if (fds[4] >= 0)
		relay_guard_close(fds[4]);
}

int relay_connection_start(struct relay_surroundings *surroundings,
			   const struct relay_request *request, const int fds[RELAY_REQUEST_FDS],
			   bool refused, relay_connection_gone *gone, void *context)
{
	struct relay_connection *connection = calloc(1, sizeof *connection);
	int result = -ENOMEM;

	if (connection)
		result = relay_sender_init(&connection->sender, &request->keys);
	if (result == 0)
		result = relay_receiver_init(&connection->receiver, &request->keys);
	if (result < 0) {
		if (connection) {
			relay_sender_done(&connection->sender, &surroundings->pool);
			relay_receiver_done(&connection->receiver, &surroundings->pool);
		}
		free(connection);
		close_all(fds);
		return result;
	}
	connection->surroundings = surroundings;
	connection->gone = gone;
	connection->context = context;
	connection->uid = request->uid;
	connection->refused = refused;
	connection->peer_fd = fds[0];
	connection->program_fd = fds[1];
	connection->state_fd = fds[2];
	connection->control_fd = fds[3];
	relay_receiver_await_tickets(&connection->receiver, fds[4]);
	relay_guard_refuse(connection->program_fd);
	relay_guard_refuse(connection->control_fd);
	evtimer_assign(&connection->timer, surroundings->base, on_timer, connection);
	event_assign(&connection->peer_event, surroundings->base, fds[0], EV_READ, on_peer,
		     connection);
	event_assign(&connection->program_event, surroundings->base, fds[1], EV_READ, on_program,
		     connection);
	event_assign(&connection->control_event, surroundings->base, fds[3], EV_READ, on_control,
		     connection);
	LIST_INSERT_HEAD(&surroundings->connections, connection, entry);
	if (refused)
		relay_receiver_refuse(&connection->receiver);
	work(connection, false, false);
	return 0;
}

void relay_connection_cut_all(struct relay_surroundings *surroundings)
{
	struct relay_connection *connection = LIST_FIRST(&surroundings->connections);

	while (connection) {
		struct relay_connection *next = LIST_NEXT(connection, entry);
		cut(connection);
		connection = next;
	}
}
