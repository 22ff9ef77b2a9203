/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A load of TLS handshakes against one address, by GnuTLS in threads of this process: so many at once,
 * each followed by the next. Knows nothing of the server's side. */
#ifndef PERF_LOAD_H
#define PERF_LOAD_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "statistics.h"

/* What ends a connection after its handshake, and with it its time. */
enum load_end {
	LOAD_UNTIL_CLOSE,    /* the server closes, having had nothing but the handshake */
	LOAD_UNTIL_ANSWER,   /* the client says close_notify, and the server closes */
	LOAD_UNTIL_RESPONSE, /* the client asks for "/" by HTTP/1.0, and the server closes */
	LOAD_UNTIL_HANDSHAKE, /* the client is through with it (and has a ticket, if one is wanted) */
};

struct load_settings {
	struct sockaddr_storage address;
	socklen_t address_size;
	const char *server_name; /* NULL: none is sent */
	const char *priorities;  /* GnuTLS's */
	gnutls_certificate_credentials_t credentials;
	bool resume;       /* with the ticket (or session) of the connection before */
	size_t early_data; /* bytes of a request sent with the first flight; 0: none */
	enum load_end end;
	unsigned at_once, threads, silent;
	double warm_up;      /* seconds at least before counting begins */
	double seconds;      /* how long to count, */
	uint64_t handshakes; /* or how many; 0: by time */
	double timeout;      /* seconds for one connection */
};

struct load_result {
	uint64_t done, failed;
	uint64_t not_resumed; /* of those done, where resume was asked for */
	uint64_t early;       /* of those done, with early data accepted */
	double seconds;
	double cpu;               /* seconds of this process */
	struct samples latencies; /* microseconds, from connect() to the end; sorted */
	unsigned silent_left;     /* connections that the server has not ended */
	char version[32], suite[128], group[32];
	char error[256]; /* of the first that failed; "": none did */
};

/* Told from the thread that called load_run. */
struct load_watch {
	void (*begun)(void *context); /* all are active: from here on it counts */
	void (*ended)(void *context);
	void (*progress)(void *context, const char *phase, uint64_t done, double seconds);
	void *context;
};

/* 0: ret_result is the caller's, to end with load_result_done(). -1: ret_result->error is a sentence; no
 * handshake succeeded, or not all became active within a minute. */
int load_run(const struct load_settings *settings, const struct load_watch *watch,
	     struct load_result *ret_result);
void load_result_done(struct load_result *result);

#endif
