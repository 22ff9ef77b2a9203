// SPDX-License-Identifier: LGPL-2.1-or-later
// Opens so many connections to a port on loopback, brings each into a state and says "held"; as many more for
// each line of its standard input, and keeps them until that ends: connected and silent, with the ClientHello sent
// and nothing after it, or established.

#include "client.h"

enum { PATIENCE = 60 /* seconds */, CONNECTIONS_MAX = 1000000 };

/* Whatever the server answers stays unread. */
static ssize_t pull_nothing(gnutls_transport_ptr_t transport, void *data, size_t size)
{
	(void)transport;
	(void)data;
	(void)size;
	errno = EAGAIN;
	return -1;
}

static void hold(unsigned long port, const char *state)
{
	int fd = loopback_connect(port, 0);
	gnutls_session_t session;

	if (!strcmp(state, "hello")) {
		session = session_new(fd, GNUTLS_NONBLOCK);
		gnutls_transport_set_pull_function(session, pull_nothing);
		gnutls_handshake(session);
	} else if (!strcmp(state, "established")) {
		patience_set(fd, PATIENCE);
		session = session_new(fd, 0);
		session_establish(session);
	}
}

int main(int argc, char **argv)
{
	const char *state = argc == 4 ? argv[3] : "";
	unsigned long port, count;
	char line[64];

	if (strcmp(state, "silent") && strcmp(state, "hello") && strcmp(state, "established")) {
		fputs("usage: hold PORT COUNT silent|hello|established\n", stderr);
		return 2;
	}
	port = number(argv[1], 1, PORT_MAX);
	count = number(argv[2], 0, CONNECTIONS_MAX);
	do {
		for (unsigned long i = 0; i < count; i++)
			hold(port, state);
		puts("held");
		fflush(stdout);
	} while (fgets(line, sizeof(line), stdin));
	return 0;
}
