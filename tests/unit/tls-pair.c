// SPDX-License-Identifier: LGPL-2.1-or-later
// Two TLS sessions that talk to each other in one thread, for tests. Touches no network.
#include "tls-pair.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void tls_pair_open(struct tls_pair *pair, unsigned client_flags, unsigned server_flags)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair->fds) < 0)
		abort();
	if (gnutls_init(&pair->client,
			GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | client_flags) < 0 ||
	    gnutls_init(&pair->server,
			GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | server_flags) < 0)
		abort();
	gnutls_transport_set_int(pair->client, pair->fds[0]);
	gnutls_transport_set_int(pair->server, pair->fds[1]);
	gnutls_handshake_set_timeout(pair->client, 0);
	gnutls_handshake_set_timeout(pair->server, 0);
	pair->client_error = pair->server_error = GNUTLS_E_AGAIN;
}

static bool step(gnutls_session_t session, int *error)
{
	if (*error != GNUTLS_E_AGAIN)
		return false;
	do {
		*error = gnutls_handshake(session);
	} while (*error == GNUTLS_E_INTERRUPTED || *error == GNUTLS_E_WARNING_ALERT_RECEIVED);
	if (*error < 0 && *error != GNUTLS_E_AGAIN && *error != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(session, *error);
	return true;
}

void tls_pair_run(struct tls_pair *pair)
{
	for (int rounds = 0; rounds < 100; rounds++) {
		bool moved = step(pair->client, &pair->client_error);

		moved = step(pair->server, &pair->server_error) || moved;
		if (!moved)
			return;
		// Who failed says no more: the other side must not wait for it.
		if (pair->client_error < 0 && pair->client_error != GNUTLS_E_AGAIN)
			shutdown(pair->fds[0], SHUT_WR);
		if (pair->server_error < 0 && pair->server_error != GNUTLS_E_AGAIN)
			shutdown(pair->fds[1], SHUT_WR);
	}
}

void tls_pair_close(struct tls_pair *pair)
{
	gnutls_deinit(pair->client);
	gnutls_deinit(pair->server);
	close(pair->fds[0]);
	close(pair->fds[1]);
}
