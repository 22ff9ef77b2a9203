// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One thread of a load: its connections, each begun anew when it has ended. Touches sockets that it makes
 * itself; never waits for one of them, and never begins a failed one again at once.
 */
#include "load-lane.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cpu.h"
#include "tcp.h"

/* Milliseconds: how often those that failed begin again and deadlines are looked at. */
enum { TICK = 50 };

__attribute__((format(printf, 2, 3))) static void tell_error(struct load_shared *shared,
							     const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	pthread_mutex_lock(&shared->told);
	if (!shared->error[0])
		vsnprintf(shared->error, sizeof(shared->error), format, arguments);
	pthread_mutex_unlock(&shared->told);
	va_end(arguments);
}

static void slot_release(struct lane_slot *slot)
{
	if (slot->session)
		gnutls_deinit(slot->session);
	if (slot->fd >= 0)
		close(slot->fd);
	slot->session = NULL;
	slot->fd = -1;
}

static void slot_fail(struct lane *lane, struct lane_slot *slot)
{
	/* In the warm-up too: it shows what else could not be told. */
	if (lane->shared->phase < LOAD_COUNTED) {
		lane->failed++;
		lane->shared->failed_in_a_row++;
	}
	gnutls_free(slot->ticket.data);
	slot->ticket.data = NULL;
	slot_release(slot);
}

static int slot_connect(struct lane *lane, struct lane_slot *slot)
{
	const struct load_settings *settings = lane->shared->settings;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = slot};

	slot->fd = tcp_connect((const struct sockaddr *)&settings->address, settings->address_size,
			       SOCK_NONBLOCK);
	if (slot->fd < 0 || epoll_ctl(lane->epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0) {
		tell_error(lane->shared, "cannot connect: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static int slot_prepare(struct lane *lane, struct lane_slot *slot)
{
	const struct load_settings *settings = lane->shared->settings;
	unsigned flags = GNUTLS_CLIENT | GNUTLS_NONBLOCK;
	char *early;
	int error;

	if (!settings->resume)
		flags |= GNUTLS_NO_TICKETS;
	if (settings->early_data)
		flags |= GNUTLS_ENABLE_EARLY_DATA;
	error = gnutls_init(&slot->session, flags);
	if (error < 0) {
		slot->session = NULL;
		return error;
	}
	gnutls_priority_set(slot->session, lane->shared->priorities);
	gnutls_credentials_set(slot->session, GNUTLS_CRD_CERTIFICATE, settings->credentials);
	if (settings->server_name)
		gnutls_server_name_set(slot->session, GNUTLS_NAME_DNS, settings->server_name,
				       strlen(settings->server_name));
	gnutls_transport_set_int(slot->session, slot->fd);
	slot->resuming = settings->resume && slot->ticket.data;
	if (!slot->resuming)
		return 0;
	error = gnutls_session_set_data(slot->session, slot->ticket.data, slot->ticket.size);
	if (error == 0 && settings->early_data) {
		early = calloc(1, settings->early_data);
		error = early ? (int)gnutls_record_send_early_data(slot->session, early,
								   settings->early_data)
			      : GNUTLS_E_MEMORY_ERROR;
		free(early);
	}
	return error < 0 ? error : 0;
}

static void slot_start(struct lane *lane, struct lane_slot *slot)
{
	int error;

	slot->complete = slot->provided = false;
	slot->began = clock_seconds();
	if (slot_connect(lane, slot) < 0) {
		slot_fail(lane, slot);
		return;
	}
	error = slot_prepare(lane, slot);
	if (error < 0) {
		tell_error(lane->shared, "cannot begin a session: %s", gnutls_strerror(error));
		slot_fail(lane, slot);
	}
}

static void tell_session(struct load_shared *shared, gnutls_session_t session)
{
	char *suite = gnutls_session_get_desc(session);
	const char *group = gnutls_group_get_name(gnutls_group_get(session));

	pthread_mutex_lock(&shared->told);
	if (!shared->version[0]) {
		snprintf(shared->version, sizeof(shared->version), "%s",
			 gnutls_protocol_get_name(gnutls_protocol_get_version(session)));
		snprintf(shared->suite, sizeof(shared->suite), "%s", suite ? suite : "");
		snprintf(shared->group, sizeof(shared->group), "%s", group ? group : "");
	}
	pthread_mutex_unlock(&shared->told);
	gnutls_free(suite);
}

/* The connection was as it was to be. */
static void slot_end(struct lane *lane, struct lane_slot *slot)
{
	struct load_shared *shared = lane->shared;
	const struct load_settings *settings = shared->settings;
	bool resumed = gnutls_session_is_resumed(slot->session) != 0;
	unsigned flags = gnutls_session_get_flags(slot->session);

	shared->failed_in_a_row = 0;
	if (shared->phase == LOAD_COUNTING) {
		if (samples_add(&lane->latencies, (clock_seconds() - slot->began) * 1e6) < 0)
			lane->out_of_memory = true;
		lane->done++;
		lane->not_resumed += settings->resume && !resumed;
		lane->early += (flags & GNUTLS_SFLAGS_EARLY_DATA) != 0;
		shared->done++;
	}
	if (!slot->active && (!settings->resume || slot->resuming)) {
		slot->active = true;
		shared->active++;
		tell_session(shared, slot->session);
	}
	slot_release(slot);
	if (shared->phase != LOAD_ENDING)
		slot_start(lane, slot);
}

/* After a ticket GnuTLS says EAGAIN whatever more there is; the event loop would not say so again. */
static bool has_more(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* The ticket for the next connection, as soon as it is there: after an end without close_notify GnuTLS gives
 * none. True: this connection needs to wait for none. */
static bool slot_take_ticket(const struct load_settings *settings, struct lane_slot *slot)
{
	gnutls_datum_t ticket;

	if (!settings->resume || slot->provided)
		return true;
	if (gnutls_protocol_get_version(slot->session) == GNUTLS_TLS1_3 &&
	    !(gnutls_session_get_flags(slot->session) & GNUTLS_SFLAGS_SESSION_TICKET))
		return false;
	if (gnutls_session_get_data2(slot->session, &ticket) < 0)
		return false;
	gnutls_free(slot->ticket.data);
	slot->ticket = ticket;
	slot->provided = true;
	return true;
}

/* A server that talks without end must not keep the thread from its other connections, nor from its end. */
static bool slot_is_late(const struct lane *lane, const struct lane_slot *slot)
{
	return lane->shared->phase == LOAD_ENDING ||
	       clock_seconds() - slot->began > lane->shared->settings->timeout;
}

/* Reads what comes behind the handshake: tickets, what a server has to say, its end. */
static void slot_drain(struct lane *lane, struct lane_slot *slot)
{
	const struct load_settings *settings = lane->shared->settings;
	bool until_handshake = settings->end == LOAD_UNTIL_HANDSHAKE;
	char bytes[4096];
	ssize_t got;

	do {
		if (slot_take_ticket(settings, slot) && until_handshake) {
			slot_end(lane, slot);
			return;
		}
		/* lane_tick() tells of it. */
		if (slot_is_late(lane, slot))
			return;
		got = gnutls_record_recv(slot->session, bytes, sizeof(bytes));
	} while (got > 0 || got == GNUTLS_E_INTERRUPTED ||
		 (got == GNUTLS_E_AGAIN && has_more(slot->fd)));
	if (slot_take_ticket(settings, slot) && until_handshake) {
		slot_end(lane, slot);
		return;
	}
	if (got == GNUTLS_E_AGAIN || (got < 0 && !gnutls_error_is_fatal((int)got)))
		return;
	/* A reset counts too: it comes after the handshake, of a server that closes what it did not
	 * read. An alert does not: in TLS 1.3 a server may refuse after the client is through. */
	if (got == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		tell_error(lane->shared, "the server refused with the alert \"%s\"",
			   gnutls_alert_get_name(gnutls_alert_get(slot->session)));
		slot_fail(lane, slot);
		return;
	}
	slot_end(lane, slot);
}

/* What is to bring the connection to its end; it is short enough for any socket buffer. */
static void slot_say(const struct load_settings *settings, const struct lane_slot *slot)
{
	char request[512];
	int length = snprintf(request, sizeof(request), "GET / HTTP/1.0\r\nHost: %s\r\n\r\n",
			      settings->server_name ? settings->server_name : "localhost");

	if (settings->end == LOAD_UNTIL_RESPONSE)
		gnutls_record_send(slot->session, request, (size_t)length);
	else if (settings->end == LOAD_UNTIL_ANSWER)
		gnutls_bye(slot->session, GNUTLS_SHUT_WR);
}

static void slot_move(struct lane *lane, struct lane_slot *slot)
{
	int error, broken;

	if (!slot->complete) {
		error = gnutls_handshake(slot->session);
		broken = errno; /* of the socket, of which GnuTLS tells that it failed alone */
		if (error < 0) {
			if (!gnutls_error_is_fatal(error) && error != GNUTLS_E_PUSH_ERROR &&
			    error != GNUTLS_E_PULL_ERROR)
				return;
			if (error == GNUTLS_E_FATAL_ALERT_RECEIVED)
				tell_error(lane->shared,
					   "a handshake failed: the server's alert \"%s\"",
					   gnutls_alert_get_name(gnutls_alert_get(slot->session)));
			else
				tell_error(lane->shared, "a handshake failed: %s",
					   error == GNUTLS_E_PUSH_ERROR ||
						   error == GNUTLS_E_PULL_ERROR
					       ? strerror(broken)
					       : gnutls_strerror(error));
			slot_fail(lane, slot);
			return;
		}
		slot->complete = true;
		slot_say(lane->shared->settings, slot);
	}
	slot_drain(lane, slot);
}

/* Those that failed begin again; those that are too late fail. */
static void lane_tick(struct lane *lane)
{
	double now = clock_seconds();

	for (unsigned i = 0; i < lane->slot_count; i++) {
		struct lane_slot *slot = &lane->slots[i];

		if (!slot->session) {
			slot_start(lane, slot);
		} else if (now - slot->began > lane->shared->settings->timeout) {
			tell_error(lane->shared,
				   slot->complete
				       ? "the server did not end a connection after its handshake "
					 "(--until handshake waits for no end)"
				       : "a handshake took longer than %.0f seconds",
				   lane->shared->settings->timeout);
			slot_fail(lane, slot);
		}
	}
}

void *lane_run(void *argument)
{
	struct lane *lane = argument;
	double ticked = 0;

	while (lane->shared->phase != LOAD_ENDING && !lane->out_of_memory) {
		struct epoll_event events[64];
		int count;

		if (clock_seconds() - ticked >= TICK / 1000.0) {
			lane_tick(lane);
			ticked = clock_seconds();
		}
		count = epoll_wait(lane->epoll, events, 64, TICK);
		for (int i = 0; i < count; i++) {
			struct lane_slot *slot = events[i].data.ptr;

			/* It may be a new connection by now: then this was news of the last one. */
			if (slot->session)
				slot_move(lane, slot);
		}
	}
	for (unsigned i = 0; i < lane->slot_count; i++) {
		gnutls_free(lane->slots[i].ticket.data);
		slot_release(&lane->slots[i]);
	}
	return NULL;
}
