/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection over loopback whose one end is a live GnuTLS session and whose other end are traffic keys,
 * as a handshake of the daemon leaves them. */
#ifndef RELAY_FIXTURE_H
#define RELAY_FIXTURE_H

#include <gnutls/gnutls.h>

#include "traffic-keys.h"

struct fixture_link {
	int our_fd; /* plain TCP; blocking */
	struct traffic_keys keys;
	int peer_fd;           /* likewise */
	gnutls_session_t peer; /* on peer_fd */
};

void fixture_link_open(struct fixture_link *link, enum config_version version,
		       enum config_cipher cipher, bool we_are_server);
/* The same with a peer that takes records of so many bytes of data at most (RFC 8449); 0: of any. */
void fixture_link_open_limited(struct fixture_link *link, enum config_version version,
			       enum config_cipher cipher, bool we_are_server, unsigned limit);
/* Closes what is still open (descriptors that are not -1). */
void fixture_link_close(struct fixture_link *link);

/* A TCP socket whose last close waits: SO_LINGER, full, and the peer's socket, which takes nothing. */
int fixture_lingering_socket(int *ret_peer);

/* Eight bytes to a multiplication: what stands at this place of an endless text. */
void fixture_text(unsigned char *bytes, size_t size, size_t place, unsigned text);

#endif
