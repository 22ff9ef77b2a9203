// SPDX-License-Identifier: LGPL-2.1-or-later
/* Runs a relay process for a test, and speaks for the program and for the peer. Touches processes that it
 * started, and loopback; whatever it waits for, it waits for PATIENCE at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "foreign.h"
#include "handshake-protocol.h"
#include "offload-relay.h"
#include "relay-intake.h"
#include "relay-process.h"

struct counters *counters;
static struct counters *mapped; /* the relay's */

static int relay_child(int socket, unsigned per_user)
{
	struct relay_limits limits = {.total = 100, .per_user = per_user, .descriptors = 1024};
	struct event_base *base = event_base_new();

	mapped = counters_map(counters_fd(counters));

	if (!mapped || !base || foreign_start(true) < 0)
		return 3;
	int result = relay_intake_run(base, socket, mapped, &limits);
	event_base_free(base);
	return result == 0 ? 0 : 4;
}

void relay_prepare(struct relay *relay)
{
	int pair[2];

	if (!counters)
		counters = counters_new();
	assert_non_null(counters);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	relay->socket = pair[0];
	relay->other = pair[1];
}

/* The program's and the peer's ends are not the relay's: it would never see them closed. */
static void descriptors_keep(int one, int other)
{
	for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
		if (fd != one && fd != other)
			close(fd);
}

void relay_run(struct relay *relay, unsigned per_user)
{
	relay->pid = fork();
	if (relay->pid == 0) {
		descriptors_keep(relay->other, counters_fd(counters));
		exit(relay_child(relay->other, per_user));
	}
	assert_true(relay->pid > 0);
	close(relay->other);
}

void relay_start(struct relay *relay, unsigned per_user)
{
	relay_prepare(relay);
	relay_run(relay, per_user);
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void doze(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

void relay_await(uint64_t connections)
{
	uint64_t end = now_ms() + PATIENCE;

	while (counters_get(counters, COUNTER_RELAYED) != connections) {
		assert_true(now_ms() < end);
		doze();
	}
}

void relay_reap(struct relay *relay)
{
	uint64_t end = now_ms() + PATIENCE;
	int status = 0;

	while (waitpid(relay->pid, &status, WNOHANG) == 0) {
		if (now_ms() > end)
			kill(relay->pid, SIGKILL);
		doze();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(counters_get(counters, COUNTER_RELAYED), 0);
	assert_true(counters_take_place(counters, PLACE_RELAYED, getuid(), 1, 1));
	counters_give_place(counters, PLACE_RELAYED, getuid());
}

void relay_stop(struct relay *relay)
{
	close(relay->socket);
	relay_reap(relay);
}

void connection_hand_over(struct connection *connection, const struct relay *relay)
{
	struct relay_ends ends;
	char reason[256] = "";

	assert_int_equal(offload_relay_start(relay->socket, getuid(), connection->link.our_fd,
					     &connection->link.keys, -1, &ends, reason,
					     sizeof(reason)),
			 0);
	connection->program = ends.program;
	connection->state = ends.state;
	connection->control = ends.control;
	close(connection->link.our_fd);
	connection->link.our_fd = -1;
}

void connection_open(struct connection *connection, const struct relay *relay,
		     enum config_version version, enum config_cipher cipher, bool server)
{
	fixture_link_open(&connection->link, version, cipher, server);
	connection_hand_over(connection, relay);
}

void connection_close(struct connection *connection)
{
	fixture_link_close(&connection->link);
	if (connection->program >= 0)
		close(connection->program);
	close(connection->state);
	close(connection->control);
}

static int event_of(const struct connection *connection)
{
	uint8_t state[HANDSHAKE_RELAY_STATE_SIZE] = {99, 99};

	assert_int_equal(pread(connection->state, state, sizeof(state), 0), sizeof(state));
	return state[HANDSHAKE_RELAY_EVENT] << 8 | state[HANDSHAKE_RELAY_ALERT];
}

void await(int fd, short events)
{
	struct pollfd item = {fd, events, 0};

	assert_int_equal(poll(&item, 1, PATIENCE), 1);
}

void program_hears(struct connection *connection, const char *words)
{
	char heard[64];
	size_t size = 0;

	while (size < strlen(words)) {
		await(connection->program, POLLIN);
		ssize_t got = recv(connection->program, heard + size, strlen(words) - size, 0);
		assert_true(got > 0);
		size += (size_t)got;
	}
	assert_memory_equal(heard, words, size);
}

void program_hears_end(struct connection *connection, int event)
{
	char byte;

	await(connection->program, POLLIN);
	assert_int_equal(recv(connection->program, &byte, 1, 0), 0);
	assert_int_equal(event_of(connection), event);
}

void program_says(struct connection *connection, const char *words)
{
	assert_int_equal(send(connection->program, words, strlen(words), MSG_NOSIGNAL),
			 strlen(words));
}

ssize_t peer_recv(struct connection *connection, void *bytes, size_t size)
{
	for (;;) {
		if (gnutls_record_check_pending(connection->link.peer) == 0)
			await(connection->link.peer_fd, POLLIN);
		ssize_t got = gnutls_record_recv(connection->link.peer, bytes, size);
		if (got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED)
			return got;
	}
}

void peer_hears(struct connection *connection, const char *words)
{
	char heard[64];

	assert_int_equal(peer_recv(connection, heard, sizeof(heard)), strlen(words));
	assert_memory_equal(heard, words, strlen(words));
}

void peer_says(struct connection *connection, const char *words)
{
	assert_int_equal(gnutls_record_send(connection->link.peer, words, strlen(words)),
			 strlen(words));
}

void peer_hears_end(struct connection *connection, bool fin)
{
	char byte;
	struct pollfd item = {connection->link.peer_fd, POLLIN, 0};

	assert_int_equal(peer_recv(connection, &byte, 1), 0);
	if (fin) {
		await(connection->link.peer_fd, POLLIN);
		assert_int_equal(recv(connection->link.peer_fd, &byte, 1, 0), 0);
	} else {
		assert_int_equal(poll(&item, 1, 50), 0);
	}
}

void peer_says_end(struct connection *connection)
{
	assert_int_equal(gnutls_bye(connection->link.peer, GNUTLS_SHUT_WR), 0);
}

size_t program_fills(struct connection *connection)
{
	static unsigned char chunk[100000];
	size_t total = 0;
	uint64_t quiet_since = now_ms();

	while (now_ms() - quiet_since < 200) {
		fixture_text(chunk, sizeof(chunk), total, 3);
		ssize_t sent =
		    send(connection->program, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			total += (size_t)sent;
			quiet_since = now_ms();
		}
	}
	return total;
}
