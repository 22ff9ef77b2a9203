/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs share that are clients: connections to a port on loopback, and GnuTLS's sessions in them. */
#ifndef CLIENT_H
#define CLIENT_H

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "measure.h"

/* flags: as tcp_connect() takes them. */
static inline int loopback_connect(unsigned long port, int flags)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons((uint16_t)port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = tcp_connect((const struct sockaddr *)&address, sizeof(address), flags);

	if (fd < 0)
		die("cannot connect to port %lu: %s", port, strerror(errno));
	return fd;
}

/* No answer is waited for longer than so many seconds. */
static inline void patience_set(int fd, int seconds)
{
	const struct timeval patience = {.tv_sec = seconds};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		die("setsockopt: %s", strerror(errno));
}

/* A session that believes any certificate. flags: GnuTLS's, beside those of a client without tickets. */
static inline gnutls_session_t session_new(int fd, unsigned flags)
{
	static gnutls_certificate_credentials_t credentials;
	static gnutls_priority_t priorities;
	gnutls_session_t session;
	int error = 0;

	if (!credentials) {
		error = gnutls_certificate_allocate_credentials(&credentials);
		if (error == 0)
			error = gnutls_priority_init(&priorities, PRIORITIES, NULL);
	}
	if (error == 0)
		error = gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_TICKETS | flags);
	if (error < 0)
		die("cannot begin a session: %s", gnutls_strerror(error));
	gnutls_priority_set(session, priorities);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(session, fd);
	return session;
}

/* On a blocking socket. */
static inline void session_establish(gnutls_session_t session)
{
	int error;

	/* EAGAIN: the patience with an answer is over. */
	do
		error = gnutls_handshake(session);
	while (error < 0 && error != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(error));
	if (error < 0)
		die("a handshake failed: %s", gnutls_strerror(error));
}

#endif
