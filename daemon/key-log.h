/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The secrets of connections in a file, for Wireshark, in the format that NSS made
 * (draft-ietf-tls-keylogfile): only where the administrator has set "key-log". */
#ifndef KEY_LOG_H
#define KEY_LOG_H

#include <gnutls/gnutls.h>

#include "problem.h"

struct key_log {
	int fd; /* open for appending; -1: there is no log */
};

/* Opens the file, made with the mode 0600 where it is not there. Refuses what is no regular file, belongs
 * to others, or can be read by others. 0 or -1. */
int key_log_open(const char *path, struct key_log *ret_log, struct problem *problem);
void key_log_close(struct key_log *log);
/* Appends one line with one write, so that lines of several processes never mix. log NULL: nothing. */
void key_log_write(const struct key_log *log, gnutls_session_t session, const char *label,
		   const gnutls_datum_t *secret);
/* The line of a TLS 1.2 session that was resumed, which the library does not show by itself; once the
 * handshake is complete. Nothing for others. */
void key_log_write_resumed(const struct key_log *log, gnutls_session_t session);

#endif
