// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The server's end of a throughput: a process for each stream, which accepts one connection, has it
 * protected in one of the ways, and moves data until the other end is gone. Touches that connection; never
 * takes another way than the one that is measured.
 */
#include <errno.h>
#include <linux/tls.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ending.h"
#include "handshake-protocol.h"
#include "handshake.h"
#include "server.h"
#include "throughput.h"

enum { BEGIN_TIMEOUT = 60 /* seconds */, LEVEL_TLS = 282 /* SOL_TLS, which not every libc has */ };

const char *const throughput_paths[PATH_COUNT + 1] = {
    "plain", "gnutls", "relay", "kernel-write", "kernel-sendfile", "kernel-zerocopy", NULL};
const char *const throughput_directions[3] = {"down", "up", NULL};

/* Some of the kernel's records are made by a NIC, without anybody's asking for that. */
static bool way_is(const char *direction, const char *records)
{
	return direction && (strcmp(direction, records) == 0 ||
			     (strcmp(direction, "nic") == 0 && strcmp(records, "kernel") == 0));
}

static void protect_by_daemon(const struct server *server, struct stream *stream,
			      enum throughput_path path)
{
	const char *records = path == PATH_RELAY ? "relay" : "kernel";
	struct handshake *handshake = handshake_new();
	const char *transmit, *receive, *reason;

	if (!handshake || handshake_set_role(handshake, HANDSHAKE_SERVER) < 0 ||
	    handshake_set_profile(handshake, records) < 0)
		die("cannot make a request: %s", strerror(errno));
	if (handshake_perform(handshake, server->socket, stream->fd) < 0)
		die("the server's handshake failed: %s", handshake_error(handshake));
	transmit = handshake_result(handshake, HANDSHAKE_KEY_TRANSMIT, 0);
	receive = handshake_result(handshake, HANDSHAKE_KEY_RECEIVE, 0);
	reason = handshake_result(handshake, HANDSHAKE_KEY_RECORDS_REASON, 0);
	if (!way_is(transmit, records) || !way_is(receive, records))
		die("the records do not go the way that is to be measured, %s: %s, %s", records,
		    transmit ? transmit : "", receive ? receive : "");
	/* Without a NIC the kernel would take the option as well, and copy. */
	if (path == PATH_ZEROCOPY && strcmp(transmit, "nic") != 0)
		die("kernel-zerocopy: no NIC encrypts this connection, it goes by \"%s\"%s%s; "
		    "one that can takes --tls 1.2 and AES-GCM",
		    transmit, reason ? ": " : "", reason ? reason : "");
	stream->counter->by_nic = strcmp(transmit, "nic") == 0;
}

static void say_late(int number)
{
	static const char sentence[] =
	    "handshake perf: within a minute no connection came, or its handshake did not end\n";

	(void)number;
	_exit(write(STDERR_FILENO, sentence, sizeof(sentence) - 1) < 0 ? TOOL_USAGE : TOOL_FAILURE);
}

static void serve_one(const struct server *server, enum throughput_path path, bool up,
		      uint64_t size, int listener, struct stream_counter *counter)
{
	static const enum stream_way ways[PATH_COUNT] = {
	    [PATH_PLAIN] = STREAM_SENDFILE,    [PATH_GNUTLS] = STREAM_GNUTLS,
	    [PATH_RELAY] = STREAM_WRITE,       [PATH_WRITE] = STREAM_WRITE,
	    [PATH_SENDFILE] = STREAM_SENDFILE, [PATH_ZEROCOPY] = STREAM_SENDFILE,
	};
	struct stream stream = {.way = ways[path], .counter = counter};
	char priorities[512];
	unsigned on = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGALRM, say_late);
	alarm(BEGIN_TIMEOUT);
	stream.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (stream.fd < 0)
		die("accept: %s", strerror(errno));
	close(listener);
	if (path == PATH_GNUTLS) {
		priorities_write(priorities, sizeof(priorities), server->tls, server->cipher,
				 GROUP_CLASSICAL);
		stream_protect(&stream, priorities, server->certificate, server->key);
	} else if (path != PATH_PLAIN) {
		protect_by_daemon(server, &stream, path);
	}
	if (path == PATH_ZEROCOPY &&
	    setsockopt(stream.fd, LEVEL_TLS, TLS_TX_ZEROCOPY_RO, &on, sizeof(on)) < 0)
		die("this kernel has no zero copy for TLS: %s", strerror(errno));
	alarm(0);
	counter->bytes = counter->calls = 0;
	if (up)
		stream_receive(&stream, size);
	else
		stream_send(&stream, size);
	exit(TOOL_OK);
}

void throughput_serve(const struct server *server, enum throughput_path path, bool up,
		      uint64_t size, unsigned count, int listener, int said,
		      struct streams *streams)
{
	streams_begin(streams, count);
	for (unsigned i = 0; i < count; i++) {
		streams->pids[i] = fork();
		if (streams->pids[i] == 0) {
			if (said >= 0)
				dup2(said, STDERR_FILENO);
			serve_one(server, path, up, size, listener, &streams->counters[i]);
		}
		if (streams->pids[i] < 0)
			die("cannot start a process: %s", strerror(errno));
	}
}
