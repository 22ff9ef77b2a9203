/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection under measurement: bytes that are sent, or read, for as long as the other end is there.
 * Each is a process of its own; what it counts lies in memory that its parent shares. */
#ifndef PERF_STREAM_H
#define PERF_STREAM_H

#include <gnutls/gnutls.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum { STREAMS_MAX = 64 };
#define STREAM_SIZE_MAX ((uint64_t)1 << 30)

struct stream_counter {
	_Atomic uint64_t bytes;  /* of the program's data */
	_Atomic uint64_t calls;  /* to the system, that moved them or waited for them */
	_Atomic unsigned by_nic; /* 1: a NIC makes what is sent of it */
};

/* The streams of one end. */
struct streams {
	pid_t pids[STREAMS_MAX];
	unsigned count;
	struct stream_counter *counters;
};

enum stream_way {
	STREAM_WRITE,    /* write(2) and read(2) */
	STREAM_SENDFILE, /* sendfile(2) and read(2) */
	STREAM_GNUTLS,
	STREAM_DISCARD, /* what comes is not even copied, tcp(7) */
};

struct stream {
	int fd; /* blocking */
	gnutls_session_t session;
	enum stream_way way;
	struct stream_counter *counter;
};

/* Sends so many bytes as one piece of data, again and again; returns when the other end is gone. */
void stream_send(const struct stream *stream, uint64_t size);
void stream_receive(const struct stream *stream, uint64_t size);
/* Handshakes by GnuTLS, as the server with a certificate and its key (PEM files), as a client without (NULL); the
 * session's system calls are counted too. Ends this process where it cannot. */
void stream_protect(struct stream *stream, const char *priorities, const char *certificate,
		    const char *key);

/* Room for the counters of so many. */
void streams_begin(struct streams *streams, unsigned count);
/* Ends those that have not ended, and lets go of the counters. */
void streams_end(struct streams *streams);
void streams_read(const struct streams *streams, uint64_t *ret_bytes, uint64_t *ret_calls);
/* Of how many a NIC makes the records that are sent. */
unsigned streams_by_nic(const struct streams *streams);
/* How many have moved a byte. */
unsigned streams_active(const struct streams *streams);

#endif
