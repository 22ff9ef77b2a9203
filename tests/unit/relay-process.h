/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A relay process, and connections that it relays between a program and a live GnuTLS peer. Whatever is
 * not as it should be fails the test. */
#ifndef RELAY_PROCESS_H
#define RELAY_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "counters.h"
#include "relay-fixture.h"

enum { PATIENCE = 20000 /* milliseconds */ };

struct relay {
	pid_t pid;
	int socket; /* the worker's end */
	int other;  /* the relay's, until it runs */
};

/* Shared by the test and all of its relays, from the first one on. */
extern struct counters *counters;

/* Makes the socket, where requests can wait. */
void relay_prepare(struct relay *relay);
/* Runs the relay's loop in a child. */
void relay_run(struct relay *relay, unsigned per_user);
/* Both. */
void relay_start(struct relay *relay, unsigned per_user);
/* Waits until there are as many relayed connections. */
void relay_await(uint64_t connections);
/* The relay has ended, or does soon: with status 0, and it holds nothing any more. */
void relay_reap(struct relay *relay);
/* Closes the workers' end: the relay ends when its connections have. */
void relay_stop(struct relay *relay);

struct connection {
	struct fixture_link link; /* our_fd: -1, as if the program had replaced it */
	int program;              /* -1 when the test has closed it */
	int state;
	int control;
};

/* Has the relay take the link, as a worker does, and closes our_fd. */
void connection_hand_over(struct connection *connection, const struct relay *relay);
void connection_open(struct connection *connection, const struct relay *relay,
		     enum config_version version, enum config_cipher cipher, bool server);
void connection_close(struct connection *connection);

/* The program reads exactly this. */
void program_hears(struct connection *connection, const char *words);
/* event: HANDSHAKE_RELAY_… << 8 | alert. */
void program_hears_end(struct connection *connection, int event);
void program_says(struct connection *connection, const char *words);
/* Writes as much as goes without anyone reading, fixture_text() number 3; the count. */
size_t program_fills(struct connection *connection);

ssize_t peer_recv(struct connection *connection, void *bytes, size_t size);
void peer_hears(struct connection *connection, const char *words);
void peer_says(struct connection *connection, const char *words);
/* The peer reads the close_notify, and that no FIN is there yet, or is. */
void peer_hears_end(struct connection *connection, bool fin);
void peer_says_end(struct connection *connection);

uint64_t now_ms(void);
void doze(void);
void await(int fd, short events);

#endif
