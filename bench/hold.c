// SPDX-License-Identifier: LGPL-2.1-or-later
// Opens so many connections to a port on loopback, brings each into a state, says "held" and keeps them until
// its standard input ends: connected and silent, with the ClientHello sent and nothing after it, or established.

#include "measure.h"

#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>

static int connect_loopback(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timeval patience = {.tv_sec = 60};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("cannot connect to port %u: %s", port, strerror(errno));
	return fd;
}

/* Whatever the server answers stays unread. */
static ssize_t pull_nothing(gnutls_transport_ptr_t transport, void *data, size_t size)
{
	(void)transport;
	(void)data;
	(void)size;
	errno = EAGAIN;
	return -1;
}

int main(int argc, char **argv)
{
	const char *state = argc == 4 ? argv[3] : "";
	unsigned long port = argc == 4 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	bool silent = !strcmp(state, "silent"), hello = !strcmp(state, "hello");
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priorities;

	if (!port || port > 65535 || (!silent && !hello && strcmp(state, "established"))) {
		fputs("usage: hold PORT COUNT silent|hello|established\n", stderr);
		return 2;
	}
	gnutls_certificate_allocate_credentials(&credentials);
	if (gnutls_priority_init(
		&priorities,
		"NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-X509", NULL))
		die("GnuTLS does not know the priorities");
	for (unsigned long i = 0; i < count; i++) {
		gnutls_session_t session;
		int result, fd = connect_loopback((uint16_t)port);

		if (silent)
			continue;
		gnutls_init(&session,
			    GNUTLS_CLIENT | GNUTLS_NO_TICKETS | (hello ? GNUTLS_NONBLOCK : 0));
		gnutls_priority_set(session, priorities);
		gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
		gnutls_transport_set_int(session, fd);
		if (hello)
			gnutls_transport_set_pull_function(session, pull_nothing);
		do
			result = gnutls_handshake(session);
		while (!hello && result < 0 && !gnutls_error_is_fatal(result));
		if (!hello && result < 0)
			die("handshake %lu failed: %s", i, gnutls_strerror(result));
	}
	puts("held");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
