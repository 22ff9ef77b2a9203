/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of "handshake serve" know of one another. All of it runs on one thread, but for the
 * asking of a lost daemon (serve-listening.c). */
#ifndef SERVE_H
#define SERVE_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "handshake.h"
#include "options.h"

#define SERVE_TOOL "handshake serve"

struct serve_settings {
	struct options_address address;
	const char *root, *profile, *socket;
	const char *log; /* path, "-" for standard output; NULL: no log */
	enum handshake_records records;
	uint64_t timeout_ms; /* of a connection on which nothing moves */
	bool require_client_certificate;
	bool trace;
	uint64_t update_after; /* records under one key; 0: what the cipher bears */
	bool early_data;       /* GET and HEAD may come as such */
	bool quiet;
};

/* What waits in the loop's epoll; the first member of whatever is watched. */
struct serve_watch {
	void (*ready)(struct serve_watch *watch, uint32_t events);
};

struct serve;
struct serve_listening;
struct serve_connection;

struct serve {
	const struct serve_settings *settings;
	int epoll;
	int root_fd;
	int listening_fd; /* TCP; the daemon accepts on its duplicate */
	struct MHD_Daemon *http;
	struct serve_listening *listening;
	FILE *log;                            /* NULL: none */
	struct serve_connection *connections; /* all, also those that linger */
	struct serve_connection *starting; /* given to the HTTP library, which has not told of it */
	unsigned int count, limit;         /* of connections, now and at most */
	bool stopping;
	bool run_http;          /* the library has something to do */
	uint64_t stop_deadline; /* clock_ms() */
	uint64_t tick_at;       /* of serve_connections_tick */
};

/* On stderr, unless --quiet, with the command's name before it. */
void serve_say(const struct serve *serve, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- serve-listening.c: the daemon's side of the door ---- */

/* Asks the daemon to listen. NULL: it was told on stderr why not. */
struct serve_listening *serve_listening_new(struct serve *serve);
/* Ends it: the daemon accepts no more. NULL is fine. */
void serve_listening_free(struct serve_listening *listening);
/* Takes connections again after there was no room for more. */
void serve_listening_resume(struct serve_listening *listening);
/* Does what is due at the time now; returns when it wants to be called again, UINT64_MAX: never. */
uint64_t serve_listening_tick(struct serve_listening *listening, uint64_t now);

/* ---- serve-connection.c: from an established connection to its last byte ---- */

enum serve_phase {
	SERVE_IDLE,      /* no request, or one that has not come in whole */
	SERVE_ANSWERING, /* a response is being sent */
	SERVE_LINGERING, /* close_notify and FIN were sent; what still comes in is thrown away */
};

struct serve_connection {
	struct serve_watch watch; /* while it lingers */
	struct serve *serve;
	struct serve_connection *next, **link;
	struct handshake *handshake;
	struct MHD_Connection *http;
	int fd;         /* the HTTP library's; ours while it lingers */
	int early_real; /* the connection while fd is what feeds early data; -1: fd is it */
	int early_feed; /* the other end of that; -1 */
	enum serve_phase phase;
	uint64_t deadline; /* of lingering */
	/* the request under way: */
	char *target; /* as it came, NULL: none */
	char method[16], version[16];
	bool presented; /* the handler has seen it */
	unsigned int status;
	uint64_t length;   /* bytes of content in the response */
	int file_fd;       /* the response's, -1: none; the HTTP library's to close */
	uint64_t file_end; /* the file must reach this far */
};

/* Takes both. Hands the connection to the HTTP library. */
void serve_connection_start(struct serve *serve, struct handshake *handshake, int fd);
/* Callbacks of the HTTP library; context is the struct serve. */
void serve_connection_notify(void *context, struct MHD_Connection *http, void **connection_context,
			     enum MHD_ConnectionNotificationCode code);
void *serve_connection_begin(void *context, const char *target, struct MHD_Connection *http);
void serve_connection_complete(void *context, struct MHD_Connection *http, void **request_context,
			       enum MHD_RequestTerminationCode code);
/* Does what is due: ends lingering, drops those whose file became shorter. As serve_listening_tick. */
uint64_t serve_connections_tick(struct serve *serve, uint64_t now);
/* Ends the idle ones, the others after their response. */
void serve_connections_stop(struct serve *serve);
/* Ends those that are left when the HTTP library is gone: they linger. */
void serve_connections_free(struct serve *serve);

/* ---- serve-early.c: requests that came as early data ---- */

/* Whether such a request may be answered as any other. */
bool serve_early_fits(const struct serve_connection *connection);
/* Makes fd give the early data. False: it cannot be. */
bool serve_early_feed(struct serve_connection *connection);
/* For the handler of requests. True: the request has been read, and fd is the connection from now on. */
bool serve_early_switch(struct serve_connection *connection);
/* The HTTP library is done with fd: the connection is there again. False: it is not whole. */
bool serve_early_end(struct serve_connection *connection);
/* Answers with 425. False: it could not be sent. */
bool serve_early_refuse(struct serve_connection *connection);

/* ---- serve-records.c: records that carry no data ---- */

/* From now on what the HTTP library reads from the connection is read by libhandshake. False: no memory. */
bool serve_records_add(struct serve_connection *connection);
void serve_records_remove(const struct serve_connection *connection);
void serve_records_done(void);
/* Updates the key where it is worn. False: nothing more may be sent, and it was told why. */
bool serve_records_tend(struct serve_connection *connection);

/* ---- serve-response.c: from a request to a response ---- */

enum MHD_Result serve_response_handle(void *context, struct MHD_Connection *http, const char *url,
				      const char *method, const char *version, const char *upload,
				      size_t *upload_size, void **request_context);

/* ---- serve-log.c ---- */

/* Opens the log that the settings ask for. 0, or -1: it was told on stderr why not. */
int serve_log_open(struct serve *serve);
/* One line about the connection's request; complete: all of the response was sent. */
void serve_log_request(const struct serve *serve, const struct serve_connection *connection,
		       bool complete);

#endif
