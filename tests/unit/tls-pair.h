/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client's and a server's TLS session in one process, joined by a socket pair. */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include <gnutls/gnutls.h>

struct tls_pair {
	gnutls_session_t client, server;
	int fds[2];
	int client_error, server_error; /* of gnutls_handshake, 0 when it succeeded */
};

/* Makes both sessions without credentials and priorities. */
void tls_pair_open(struct tls_pair *pair, unsigned client_flags, unsigned server_flags);
/* Runs both handshakes until each has ended. A failing side sends the alert of its error. */
void tls_pair_run(struct tls_pair *pair);
void tls_pair_close(struct tls_pair *pair);

#endif
