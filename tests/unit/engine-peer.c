// SPDX-License-Identifier: LGPL-2.1-or-later
// The other end of a connection in the handshake engine's tests.
#include "engine-peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 20 }; /* seconds until a test that hangs fails */

/* What is written is held until something is to be read, so that a flight and what comes behind it are
 * one segment, or as many as the test wants. */
static void peer_flush(struct engine_peer *peer)
{
	size_t piece = peer->piece != 0 ? peer->piece : sizeof(peer->held);
	size_t at = 0;

	peer->flights += peer->held_size > 0;
	while (at < peer->held_size) {
		size_t size = peer->held_size - at < piece ? peer->held_size - at : piece;

		if (send(peer->fd, peer->held + at, size, MSG_NOSIGNAL) < 0)
			break;
		at += size;
		if (peer->piece != 0)
			usleep(100);
	}
	peer->held_size = 0;
}

static ssize_t peer_push(gnutls_transport_ptr_t pointer, const void *data, size_t size)
{
	struct engine_peer *peer = pointer;

	if (size > sizeof(peer->held) - peer->held_size)
		peer_flush(peer);
	memcpy(peer->held + peer->held_size, data, size);
	peer->held_size += size;
	return (ssize_t)size;
}

static void peer_leave(struct engine_peer *peer)
{
	const struct linger hard = {.l_onoff = 1};
	struct pollfd first = {.fd = peer->fd, .events = POLLIN};

	/* Not before the other end has begun. */
	if (peer->flights == 0)
		poll(&first, 1, PATIENCE * 1000);
	if (!peer->resets) {
		shutdown(peer->fd, SHUT_WR);
		return;
	}
	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer->fd);
	peer->fd = -1;
}

static ssize_t peer_pull(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
	struct engine_peer *peer = pointer;
	ssize_t got;

	peer_flush(peer);
	if (peer->leaves != 0 && peer->flights == peer->leaves - 1) {
		peer_leave(peer);
		gnutls_transport_set_errno(peer->session, ECONNABORTED);
		return -1;
	}
	got = recv(peer->fd, data, size, 0);
	if (got < 0)
		gnutls_transport_set_errno(peer->session, errno == EAGAIN ? ETIMEDOUT : errno);
	return got;
}

static int peer_verify(gnutls_session_t session)
{
	struct engine_peer *peer = gnutls_session_get_ptr(session);

	return peer->refuses != 0 ? -1 : 0;
}

static int peer_session(struct engine_peer *peer)
{
	gnutls_session_t session;
	int error = gnutls_init(&session, (peer->server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
					      GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS |
					      GNUTLS_FORCE_CLIENT_CERT);

	if (error < 0)
		return error;
	peer->session = session;
	gnutls_session_set_ptr(session, peer);
	gnutls_transport_set_ptr(session, peer);
	gnutls_transport_set_push_function(session, peer_push);
	gnutls_transport_set_pull_function(session, peer_pull);
	gnutls_session_set_verify_function(session, peer_verify);
	if (peer->wants_certificate)
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
	if (peer->max_record_size != 0)
		gnutls_record_set_max_size(session, peer->max_record_size);
	error = gnutls_priority_set_direct(session, peer->priority, NULL);
	if (error == 0)
		error = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, peer->credentials);
	if (error == 0 && peer->alpn != NULL) {
		gnutls_datum_t protocol = {(unsigned char *)peer->alpn,
					   (unsigned)strlen(peer->alpn)};

		error = gnutls_alpn_set_protocols(session, &protocol, 1, 0);
	}
	if (error == 0 && peer->server_name != NULL)
		error = gnutls_server_name_set(session, GNUTLS_NAME_DNS, peer->server_name,
					       strlen(peer->server_name));
	return error;
}

static int peer_converse(struct engine_peer *peer)
{
	gnutls_session_t session = peer->session;
	ssize_t got;
	int error;

	do
		error = gnutls_handshake(session);
	while (error < 0 && gnutls_error_is_fatal(error) == 0);
	if (error < 0) {
		if (error == GNUTLS_E_CERTIFICATE_ERROR)
			gnutls_alert_send(session, GNUTLS_AL_FATAL,
					  (gnutls_alert_description_t)peer->refuses);
		peer_flush(peer);
		return error;
	}
	peer->complete = true;
	if (peer->ends_writing) {
		peer_flush(peer);
		shutdown(peer->fd, SHUT_WR);
	} else {
		got = gnutls_record_send(session, PEER_GREETING, strlen(PEER_GREETING));
		if (got < 0)
			return (int)got;
	}
	got = gnutls_record_recv(session, peer->heard, sizeof(peer->heard) - 1);
	return got < 0 ? (int)got : 0;
}

static void *peer_run(void *context)
{
	struct engine_peer *peer = context;

	peer->error = peer_session(peer);
	if (peer->error == 0)
		peer->error = peer_converse(peer);
	if (peer->error == GNUTLS_E_FATAL_ALERT_RECEIVED ||
	    peer->error == GNUTLS_E_WARNING_ALERT_RECEIVED)
		peer->alert = (int)gnutls_alert_get(peer->session);
	return NULL;
}

void engine_peer_start(struct engine_peer *peer)
{
	const struct timeval patience = {.tv_sec = PATIENCE};
	const int on = 1;

	peer->alert = -1;
	setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_int_equal(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

void engine_peer_join(struct engine_peer *peer)
{
	assert_int_equal(pthread_join(peer->thread, NULL), 0);
	gnutls_deinit(peer->session);
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

void engine_connect(int *ret_one, int *ret_other)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	*ret_one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_one, (struct sockaddr *)&address, size), 0);
	*ret_other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_other >= 0);
	close(listener);
}
