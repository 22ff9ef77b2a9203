// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Moving bytes, and counting the system calls that it takes where they are made. Touches its connection
 * and a file in memory; never counts what the kernel has not taken.
 */
#include "stream.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ending.h"

enum {
	FILE_MOST = 64 << 20,  /* bytes: larger pieces are this file several times */
	WRITE_MOST = 1 << 20,  /* bytes of one write(2) */
	SEND_MOST = 1 << 20,   /* bytes of one sendfile(2): what is under way is not counted yet */
	READ_MOST = 256 << 10, /* bytes of one read(2) */
	RECORD = 16384,        /* RFC 8446, 5.1 */
};

/* ---- Counting ------------------------------------------------------------------------------ */

static void moved(const struct stream *stream, size_t bytes, unsigned calls)
{
	atomic_fetch_add_explicit(&stream->counter->bytes, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&stream->counter->calls, calls, memory_order_relaxed);
}

static ssize_t counted_push(gnutls_transport_ptr_t context, const giovec_t *parts, int count)
{
	const struct stream *stream = context;

	moved(stream, 0, 1);
	return writev(stream->fd, (const struct iovec *)parts, count);
}

static ssize_t counted_pull(gnutls_transport_ptr_t context, void *buffer, size_t size)
{
	const struct stream *stream = context;

	moved(stream, 0, 1);
	return recv(stream->fd, buffer, size, 0);
}

void stream_protect(struct stream *stream, const char *priorities, const char *certificate,
		    const char *key)
{
	const char *end = certificate ? "server" : "client";
	gnutls_certificate_credentials_t credentials;
	int error = gnutls_certificate_allocate_credentials(&credentials);

	if (error == 0 && certificate)
		error = gnutls_certificate_set_x509_key_file(credentials, certificate, key,
							     GNUTLS_X509_FMT_PEM);
	if (error == 0)
		error =
		    gnutls_init(&stream->session,
				(certificate ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS);
	if (error == 0)
		error = gnutls_priority_set_direct(stream->session, priorities, NULL);
	if (error < 0)
		die("cannot begin a session of the %s: %s", end, gnutls_strerror(error));
	gnutls_credentials_set(stream->session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_ptr(stream->session, stream);
	gnutls_transport_set_vec_push_function(stream->session, counted_push);
	gnutls_transport_set_pull_function(stream->session, counted_pull);
	do
		error = gnutls_handshake(stream->session);
	while (error < 0 && !gnutls_error_is_fatal(error));
	if (error < 0)
		die("the %s's handshake failed: %s", end, gnutls_strerror(error));
}

/* ---- Sending ------------------------------------------------------------------------------- */

struct source {
	int file;
	const char *data; /* the same, mapped */
	uint64_t size;
};

static struct source source_make(uint64_t size)
{
	struct source source = {.size = size < FILE_MOST ? size : FILE_MOST};
	void *map;

	source.file = memfd_create("handshake-perf", MFD_CLOEXEC);
	if (source.file < 0 || ftruncate(source.file, (off_t)source.size) < 0)
		die("cannot make a file of %llu bytes in memory: %s",
		    (unsigned long long)source.size, strerror(errno));
	map = mmap(NULL, source.size, PROT_READ | PROT_WRITE, MAP_SHARED, source.file, 0);
	if (map == MAP_FAILED)
		die("cannot map %llu bytes: %s", (unsigned long long)source.size, strerror(errno));
	/* All pages are there before the first is sent. */
	memset(map, 'h', source.size);
	source.data = map;
	return source;
}

/* Part of a piece, from an offset of the source. Bytes, or -1. */
static ssize_t part_send(const struct stream *stream, const struct source *source, uint64_t offset,
			 uint64_t size)
{
	off_t at = (off_t)offset;
	ssize_t sent;

	switch (stream->way) {
	case STREAM_SENDFILE:
		sent = sendfile(stream->fd, source->file, &at, size < SEND_MOST ? size : SEND_MOST);
		break;
	case STREAM_GNUTLS:
		/* The calls are counted where the library makes them. */
		sent = gnutls_record_send(stream->session, source->data + offset,
					  size < RECORD ? size : RECORD);
		if (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED)
			return 0;
		break;
	default:
		sent = send(stream->fd, source->data + offset,
			    size < WRITE_MOST ? size : WRITE_MOST, MSG_NOSIGNAL);
	}
	if (stream->way != STREAM_GNUTLS)
		moved(stream, 0, 1);
	if (sent < 0 && stream->way != STREAM_GNUTLS && errno == EINTR)
		return 0;
	if (sent > 0)
		moved(stream, (size_t)sent, 0);
	return sent;
}

void stream_send(const struct stream *stream, uint64_t size)
{
	struct source source = source_make(size);

	for (;;)
		for (uint64_t done = 0; done < size;) {
			uint64_t offset = done % source.size;
			uint64_t part = source.size - offset;
			ssize_t sent = part_send(stream, &source, offset,
						 part < size - done ? part : size - done);

			if (sent < 0)
				return;
			done += (uint64_t)sent;
		}
}

/* ---- Receiving ----------------------------------------------------------------------------- */

void stream_receive(const struct stream *stream, uint64_t size)
{
	size_t room = size < READ_MOST ? (size_t)size : READ_MOST;
	char *buffer;
	ssize_t got;

	/* A program that expects little data still reads whole records. */
	room = room < RECORD ? RECORD : room;
	buffer = malloc(room);
	if (!buffer)
		die("out of memory");
	for (;;) {
		if (stream->way == STREAM_GNUTLS)
			got = gnutls_record_recv(stream->session, buffer, room);
		else
			got = recv(stream->fd, buffer, room,
				   stream->way == STREAM_DISCARD ? MSG_TRUNC : 0);
		if (stream->way != STREAM_GNUTLS)
			moved(stream, 0, 1);
		else if (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
			continue;
		if (got <= 0)
			break;
		moved(stream, (size_t)got, 0);
	}
	free(buffer);
}

/* ---- All streams of one end ---------------------------------------------------------------- */

void streams_begin(struct streams *streams, unsigned count)
{
	void *shared = mmap(NULL, count * sizeof(*streams->counters), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		die("out of memory");
	*streams = (struct streams){.count = count, .counters = shared};
}

void streams_end(struct streams *streams)
{
	for (unsigned i = 0; i < streams->count; i++)
		if (streams->pids[i] > 0) {
			kill(streams->pids[i], SIGKILL);
			waitpid(streams->pids[i], NULL, 0);
		}
	if (streams->counters)
		munmap(streams->counters, streams->count * sizeof(*streams->counters));
	*streams = (struct streams){.count = 0};
}

void streams_read(const struct streams *streams, uint64_t *ret_bytes, uint64_t *ret_calls)
{
	*ret_bytes = *ret_calls = 0;
	for (unsigned i = 0; i < streams->count; i++) {
		*ret_bytes += streams->counters[i].bytes;
		*ret_calls += streams->counters[i].calls;
	}
}

unsigned streams_by_nic(const struct streams *streams)
{
	unsigned by_nic = 0;

	for (unsigned i = 0; i < streams->count; i++)
		by_nic += streams->counters[i].by_nic;
	return by_nic;
}

unsigned streams_active(const struct streams *streams)
{
	unsigned active = 0;

	for (unsigned i = 0; i < streams->count; i++)
		active += streams->counters[i].bytes > 0;
	return active;
}
