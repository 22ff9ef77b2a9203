// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: daemon/relay-intake.o daemon/relay-connection.o daemon/relay-sender.o daemon/relay-receiver.o daemon/relay-buffer.o daemon/relay-guard.o daemon/relay-tcp.o daemon/record-layer.o daemon/post-handshake.o daemon/offload-relay.o daemon/traffic-keys.o daemon/foreign.o daemon/counters.o daemon/log.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process between a program and a live GnuTLS peer: what both see of each other, and of each
 * other's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "counters.h"
#include "foreign.h"
#include "handshake-protocol.h"
#include "offload-relay.h"
#include "record-layer.h"
#include "relay-fixture.h"
#include "relay-intake.h"

enum { PATIENCE = 20000 /* milliseconds */, BULK = 8 << 20 };

struct relay {
	pid_t pid;
	int socket; /* the worker's end */
};

static struct counters *counters; /* shared by the test and all relays */
static struct counters *mapped;   /* the relay's */

static int relay_child(int socket, unsigned per_user)
{
	struct relay_limits limits = {.total = 100, .per_user = per_user, .descriptors = 1024};
	struct event_base *base = event_base_new();

	mapped = counters_map(counters_fd(counters));

	if (!mapped || !base || foreign_start() < 0)
		return 3;
	int result = relay_intake_run(base, socket, mapped, &limits);
	event_base_free(base);
	return result == 0 ? 0 : 4;
}

static void relay_start(struct relay *relay, unsigned per_user)
{
	int pair[2];

	if (!counters)
		counters = counters_new();
	assert_non_null(counters);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	relay->pid = fork();
	if (relay->pid == 0) {
		close(pair[0]);
		exit(relay_child(pair[1], per_user));
	}
	assert_true(relay->pid > 0);
	close(pair[1]);
	relay->socket = pair[0];
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void doze(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Waits until the relay has as many connections. */
static void relay_await(uint64_t connections)
{
	uint64_t end = now_ms() + PATIENCE;

	while (counters_get(counters, COUNTER_RELAYED) != connections) {
		assert_true(now_ms() < end);
		doze();
	}
}

static void relay_reap(struct relay *relay)
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

/* The workers' end is closed: the relay ends when its connections have. */
static void relay_stop(struct relay *relay)
{
	close(relay->socket);
	relay_reap(relay);
}

struct connection {
	struct fixture_link link; /* our_fd: -1, as if the program had replaced it */
	int program;
	int state;
};

static void connection_open(struct connection *connection, struct relay *relay,
			    enum config_version version, enum config_cipher cipher, bool server)
{
	char reason[256] = "";

	fixture_link_open(&connection->link, version, cipher, server);
	assert_int_equal(offload_relay_start(relay->socket, getuid(), connection->link.our_fd,
					     &connection->link.keys, &connection->program,
					     &connection->state, reason, sizeof(reason)),
			 0);
	close(connection->link.our_fd);
	connection->link.our_fd = -1;
}

static void connection_close(struct connection *connection)
{
	fixture_link_close(&connection->link);
	if (connection->program >= 0)
		close(connection->program);
	close(connection->state);
}

static int event_of(const struct connection *connection)
{
	uint8_t state[HANDSHAKE_RELAY_STATE_SIZE] = {99, 99};

	assert_int_equal(pread(connection->state, state, sizeof(state), 0), sizeof(state));
	return state[HANDSHAKE_RELAY_EVENT] << 8 | state[HANDSHAKE_RELAY_ALERT];
}

static void await(int fd, short events)
{
	struct pollfd item = {fd, events, 0};

	assert_int_equal(poll(&item, 1, PATIENCE), 1);
}

/* The program reads exactly this. */
static void program_hears(struct connection *connection, const char *words)
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

static void program_hears_end(struct connection *connection, int event)
{
	char byte;

	await(connection->program, POLLIN);
	assert_int_equal(recv(connection->program, &byte, 1, 0), 0);
	assert_int_equal(event_of(connection), event);
}

static void program_says(struct connection *connection, const char *words)
{
	assert_int_equal(send(connection->program, words, strlen(words), MSG_NOSIGNAL),
			 strlen(words));
}

static ssize_t peer_recv(struct connection *connection, void *bytes, size_t size)
{
	for (;;) {
		if (gnutls_record_check_pending(connection->link.peer) == 0)
			await(connection->link.peer_fd, POLLIN);
		ssize_t got = gnutls_record_recv(connection->link.peer, bytes, size);
		if (got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED)
			return got;
	}
}

static void peer_hears(struct connection *connection, const char *words)
{
	char heard[64];

	assert_int_equal(peer_recv(connection, heard, sizeof(heard)), strlen(words));
	assert_memory_equal(heard, words, strlen(words));
}

static void peer_says(struct connection *connection, const char *words)
{
	assert_int_equal(gnutls_record_send(connection->link.peer, words, strlen(words)),
			 strlen(words));
}

/* The peer reads the close_notify, and that no FIN is there yet, or is. */
static void peer_hears_end(struct connection *connection, bool fin)
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

static void peer_says_end(struct connection *connection)
{
	assert_int_equal(gnutls_bye(connection->link.peer, GNUTLS_SHUT_WR), 0);
}

#define EVERY(version, cipher, server)                                      \
	for (unsigned n_ = 0, version = 0, cipher = 0, server = 0; n_ < 16; \
	     n_++, version = n_ & 1, server = n_ >> 1 & 1, cipher = n_ >> 2)

static void passes_words_with_every_cipher(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	EVERY(version, cipher, server)
	{
		struct connection connection;
		connection_open(&connection, &relay, version, cipher, server);
		program_says(&connection, "hello");
		peer_hears(&connection, "hello");
		peer_says(&connection, "good day");
		program_hears(&connection, "good day");
		peer_says_end(&connection);
		program_hears_end(&connection, HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
		close(connection.program);
		connection.program = -1;
		peer_hears_end(&connection, true);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

/* One side of a transfer, moved on as far as it goes without waiting. */
struct transfer {
	size_t sent, received;
	size_t pending; /* that GnuTLS wants to be called again with */
};

static unsigned char chunk[100000];
static unsigned char expected[100000];

static void move_program(struct connection *connection, struct transfer *transfer)
{
	size_t size = BULK - transfer->sent;

	size = size < sizeof(chunk) ? size : sizeof(chunk);
	fixture_text(chunk, size, transfer->sent, 1);
	ssize_t moved =
	    size ? send(connection->program, chunk, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	assert_true(moved >= 0 || errno == EAGAIN);
	transfer->sent += moved > 0 ? (size_t)moved : 0;
	moved = recv(connection->program, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (moved <= 0)
		return;
	fixture_text(expected, moved, transfer->received, 2);
	assert_memory_equal(chunk, expected, moved);
	transfer->received += (size_t)moved;
}

static void move_peer(struct connection *connection, struct transfer *transfer)
{
	size_t size = BULK - transfer->sent;

	size = size < 16384 ? size : 16384;
	if (transfer->pending)
		size = transfer->pending;
	fixture_text(chunk, size, transfer->sent, 2);
	ssize_t moved = size ? gnutls_record_send(connection->link.peer, chunk, size) : 0;
	assert_true(moved >= 0 || moved == GNUTLS_E_AGAIN);
	transfer->pending = moved == GNUTLS_E_AGAIN ? size : 0;
	transfer->sent += moved > 0 ? (size_t)moved : 0;
	moved = gnutls_record_recv(connection->link.peer, chunk, 16384);
	assert_true(moved > 0 || moved == GNUTLS_E_AGAIN);
	if (moved <= 0)
		return;
	fixture_text(expected, moved, transfer->received, 1);
	assert_memory_equal(chunk, expected, moved);
	transfer->received += (size_t)moved;
}

static void passes_eight_mebibytes_both_ways_at_once(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	EVERY(version, cipher, server)
	{
		struct connection connection;
		struct transfer program = {0, 0, 0};
		struct transfer peer = {0, 0, 0};
		uint64_t end = now_ms() + 6 * PATIENCE;
		unsigned updates = 0;
		if (n_ > 0 && server == (cipher & 1))
			continue; /* each cipher with each version, in one role */
		connection_open(&connection, &relay, version, cipher, server);
		fcntl(connection.link.peer_fd, F_SETFL, O_NONBLOCK);
		while (program.received < BULK || peer.received < BULK) {
			move_program(&connection, &program);
			move_peer(&connection, &peer);
			/* In the midst of it, both directions change their keys. */
			if (version == CONFIG_TLS13 && updates < 6 && !peer.pending &&
			    peer.sent > (updates + 1) * (BULK / 8)) {
				while (gnutls_session_key_update(connection.link.peer,
								 GNUTLS_KU_PEER) == GNUTLS_E_AGAIN)
					;
				updates++;
			}
			assert_true(now_ms() < end);
		}
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void counts_bytes_and_connections(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	uint64_t out = counters_get(counters, COUNTER_RELAY_BYTES_OUT);
	uint64_t in = counters_get(counters, COUNTER_RELAY_BYTES_IN);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	program_says(&connection, "12345");
	peer_hears(&connection, "12345");
	peer_says(&connection, "123");
	program_hears(&connection, "123");
	uint64_t end = now_ms() + PATIENCE; /* counted behind the write */
	while (counters_get(counters, COUNTER_RELAY_BYTES_OUT) != out + 5 ||
	       counters_get(counters, COUNTER_RELAY_BYTES_IN) != in + 3)
		assert_true(now_ms() < end);
	connection_close(&connection);
	relay_await(0);
	relay_stop(&relay);
}

static void half_closed_program_still_gets_its_answer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_AES_128_GCM, false);
		program_says(&connection, "question");
		shutdown(connection.program, SHUT_WR);
		peer_hears(&connection, "question");
		peer_hears_end(&connection,
			       false); /* close_notify, but no FIN: see relay-connection.c */
		peer_says(&connection, "answer");
		program_hears(&connection, "answer");
		peer_says_end(&connection);
		program_hears_end(&connection, HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
		char byte;
		await(connection.link.peer_fd, POLLIN);
		assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0); /* now the FIN */
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void half_closed_program_that_closes_sends_its_fin_at_once(void **state)
{
	struct relay relay;
	struct connection connection;
	char byte;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, false);
	shutdown(connection.program, SHUT_WR);
	peer_hears_end(&connection, false);
	close(connection.program);
	connection.program = -1;
	await(connection.link.peer_fd, POLLIN);
	assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0);
	connection_close(&connection);
	relay_stop(&relay);
}

static void half_closed_peer_still_gets_its_answer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_CHACHA20_POLY1305, true);
		peer_says(&connection, "question");
		peer_says_end(&connection);
		shutdown(connection.link.peer_fd, SHUT_WR);
		program_hears(&connection, "question");
		program_hears_end(&connection, HANDSHAKE_RELAY_CLOSE_NOTIFY << 8);
		program_says(&connection, "answer");
		peer_hears(&connection, "answer");
		close(connection.program);
		connection.program = -1;
		peer_hears_end(&connection, true);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void tells_a_cut_connection_from_an_ended_one(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	peer_says(&connection, "half of it");
	shutdown(connection.link.peer_fd, SHUT_WR);
	program_hears(&connection, "half of it");
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	connection_close(&connection);

	connection_open(&connection, &relay, CONFIG_TLS12, CONFIG_AES_128_GCM, false);
	peer_says(&connection, "half of it");
	program_hears(&connection, "half of it");
	setsockopt(connection.link.peer_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
		   sizeof(struct linger));
	close(connection.link.peer_fd); /* a reset */
	connection.link.peer_fd = -1;
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	relay_await(0);
	assert_int_equal(send(connection.program, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	connection_close(&connection);
	relay_stop(&relay);
}

static void names_the_alert_of_the_peer(void **state)
{
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned version = 0; version < 2; version++) {
		struct connection connection;
		connection_open(&connection, &relay, version, CONFIG_AES_256_GCM, false);
		peer_says(&connection, "before");
		assert_int_equal(gnutls_alert_send(connection.link.peer, GNUTLS_AL_FATAL,
						   GNUTLS_A_CERTIFICATE_REVOKED),
				 0);
		program_hears(&connection, "before");
		program_hears_end(&connection, HANDSHAKE_RELAY_ALERT_RECEIVED << 8 | 44);
		shutdown(connection.link.peer_fd, SHUT_RDWR);
		relay_await(0);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

/* What the peer puts on the wire without its session, and the alert that it gets for it. */
static void answers_what_is_no_record_with_the_right_alert(void **state)
{
	static const struct {
		enum config_version version;
		const char *bytes;
		size_t size;
		int alert;
	} cases[] = {
	    {CONFIG_TLS13,
	     "\x17\x03\x03\0\x14"
	     "01234567890123456789",
	     25, RECORD_BAD_RECORD_MAC},
	    {CONFIG_TLS12,
	     "\x17\x03\x03\0\x1c"
	     "0123456789012345678901234567",
	     33, RECORD_BAD_RECORD_MAC},
	    {CONFIG_TLS13, "\x17\x03\x03\x41\x01", 5, RECORD_OVERFLOW},
	    {CONFIG_TLS12, "\x17\x03\x03\x41\x01", 5, RECORD_OVERFLOW},
	    {CONFIG_TLS13, "\x14\x03\x03\0\x01\x01", 6, RECORD_UNEXPECTED_MESSAGE},
	    {CONFIG_TLS13, "\x17\x03\x03\0\x02xx", 7, RECORD_DECODE_ERROR},
	    {CONFIG_TLS12, "\x17\x03\x01\0\x20", 5, RECORD_PROTOCOL_VERSION},
	    {CONFIG_TLS13, "GET / HTTP/1.1\r\n", 16, RECORD_UNEXPECTED_MESSAGE},
	};
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct connection connection;
		char byte;
		connection_open(&connection, &relay, cases[i].version, CONFIG_AES_128_GCM, true);
		peer_says(&connection, "before");
		assert_int_equal(send(connection.link.peer_fd, cases[i].bytes, cases[i].size, 0),
				 cases[i].size);
		program_hears(&connection, "before");
		program_hears_end(&connection, HANDSHAKE_RELAY_ALERT_SENT << 8 | cases[i].alert);
		assert_int_equal(peer_recv(&connection, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
		assert_int_equal(gnutls_alert_get(connection.link.peer), cases[i].alert);
		assert_int_equal(recv(connection.link.peer_fd, &byte, 1, 0), 0);
		close(connection.link.peer_fd);
		connection.link.peer_fd = -1;
		relay_await(0);
		assert_int_equal(send(connection.program, "x", 1, MSG_NOSIGNAL), -1);
		connection_close(&connection);
	}
	relay_stop(&relay);
}

static void follows_key_updates(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_256_GCM, false);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(
		    gnutls_session_key_update(connection.link.peer, i % 2 ? GNUTLS_KU_PEER : 0), 0);
		peer_says(&connection, "new key");
		program_hears(&connection, "new key");
		program_says(&connection, "as well");
		peer_hears(&connection, "as well");
	}
	connection_close(&connection);
	relay_stop(&relay);
}

static void refuses_a_flood_of_key_updates(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	for (unsigned i = 0; i < 30; i++)
		gnutls_session_key_update(connection.link.peer, 0);
	program_hears_end(&connection, HANDSHAKE_RELAY_ALERT_SENT << 8 | RECORD_UNEXPECTED_MESSAGE);
	connection_close(&connection);
	relay_stop(&relay);
}

static void answers_a_wish_to_renegotiate_with_a_warning(void **state)
{
	struct relay relay;
	struct connection connection;
	char byte;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS12, CONFIG_AES_128_GCM, false);
	assert_int_equal(gnutls_rehandshake(connection.link.peer), 0); /* HelloRequest */
	assert_int_equal(peer_recv(&connection, &byte, 1), GNUTLS_E_WARNING_ALERT_RECEIVED);
	assert_int_equal(gnutls_alert_get(connection.link.peer), GNUTLS_A_NO_RENEGOTIATION);
	peer_says(&connection, "then not");
	program_hears(&connection, "then not");
	connection_close(&connection);
	relay_stop(&relay);
}

/* Writes as much as goes without anyone reading; the count. */
static size_t program_fills(struct connection *connection)
{
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

static void program_that_closes_at_once_loses_nothing(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	peer_says(&connection, "never read");
	await(connection.program, POLLIN);
	size_t total = program_fills(&connection); /* the peer is slow: all is full */
	close(connection.program);
	connection.program = -1;
	size_t received = 0;
	ssize_t got;
	while ((got = peer_recv(&connection, chunk, sizeof(chunk))) > 0) {
		fixture_text(expected, got, received, 3);
		assert_memory_equal(chunk, expected, got);
		received += (size_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(received, total);
	connection_close(&connection);
	relay_await(0);
	relay_stop(&relay);
}

static void program_that_does_not_read_holds_the_peer_back(void **state)
{
	struct relay relay;
	struct connection connection;
	size_t sent = 0;
	size_t received = 0;
	uint64_t quiet_since = now_ms();

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	fcntl(connection.link.peer_fd, F_SETFL, O_NONBLOCK);
	while (now_ms() - quiet_since < 200) {
		fixture_text(chunk, 16384, sent, 2);
		if (gnutls_record_send(connection.link.peer, chunk, 16384) == 16384) {
			sent += 16384;
			quiet_since = now_ms();
		}
		assert_true(sent < 64 << 20);
	}
	/* The other direction goes on meanwhile. */
	program_says(&connection, "patience");
	peer_hears(&connection, "patience");
	while (received < sent) {
		await(connection.program, POLLIN);
		ssize_t got = recv(connection.program, chunk, sizeof(chunk), 0);
		assert_true(got > 0);
		fixture_text(expected, got, received, 2);
		assert_memory_equal(chunk, expected, got);
		received += (size_t)got;
	}
	connection_close(&connection);
	relay_stop(&relay);
}

static void takes_records_that_come_byte_by_byte(void **state)
{
	struct relay relay;
	struct connection connection;
	struct record_layer layer;
	unsigned char record[200];

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS12, CONFIG_AES_128_GCM, true);
	/* The relay's receiving keys are the peer's sending ones. */
	record_layer_init(&layer, &connection.link.keys, &connection.link.keys.receive);
	memcpy(record + record_layer_prefix(&layer), "slowly", 6);
	ssize_t size = record_layer_seal(&layer, RECORD_DATA, record, 6);
	record_layer_done(&layer);
	for (ssize_t i = 0; i < size; i++) {
		assert_int_equal(send(connection.link.peer_fd, record + i, 1, 0), 1);
		doze();
	}
	program_hears(&connection, "slowly");
	connection_close(&connection);
	relay_stop(&relay);
}

static void passes_a_thousand_small_records_at_once(void **state)
{
	struct relay relay;
	struct connection connection;
	struct record_layer layer;
	static unsigned char records[1000 * 40];
	size_t size = 0;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	record_layer_init(&layer, &connection.link.keys, &connection.link.keys.receive);
	for (unsigned i = 0; i < 1000; i++) {
		memcpy(records + size + record_layer_prefix(&layer), "ten bytes.", 10);
		size += (size_t)record_layer_seal(&layer, RECORD_DATA, records + size, 10);
	}
	record_layer_done(&layer);
	assert_int_equal(send(connection.link.peer_fd, records, size, 0), size);
	for (unsigned i = 0; i < 1000; i++)
		program_hears(&connection, "ten bytes.");
	connection_close(&connection);
	relay_stop(&relay);
}

static void refuses_beyond_the_bound_and_says_so_to_both(void **state)
{
	struct relay relay;
	struct connection first, second;
	char byte;

	(void)state;
	relay_start(&relay, 1);
	connection_open(&first, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	connection_open(&second, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	program_hears_end(&second, HANDSHAKE_RELAY_ALERT_SENT << 8 | RECORD_INTERNAL_ERROR);
	assert_int_equal(peer_recv(&second, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
	assert_int_equal(gnutls_alert_get(second.link.peer), GNUTLS_A_INTERNAL_ERROR);
	connection_close(&second);
	program_says(&first, "undisturbed");
	peer_hears(&first, "undisturbed");
	connection_close(&first);
	relay_await(0);
	connection_open(&first, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	program_says(&first, "a place again");
	peer_hears(&first, "a place again");
	connection_close(&first);
	relay_stop(&relay);
}

static void survives_being_told_to_stop_until_its_connections_end(void **state)
{
	struct relay relay;
	struct connection connection;
	struct fixture_link late;
	char reason[256];
	int program, state_fd;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	connection_close(&connection);
	relay_await(0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	kill(relay.pid, SIGTERM);          /* perhaps before the connection was even taken */
	for (unsigned i = 0; i < 3; i++) { /* the signal has its turn meanwhile */
		program_says(&connection, "still here");
		peer_hears(&connection, "still here");
	}
	fixture_link_open(&late, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	assert_int_equal(offload_relay_start(relay.socket, getuid(), late.our_fd, &late.keys,
					     &program, &state_fd, reason, sizeof(reason)),
			 -EPIPE);
	fixture_link_close(&late);
	close(relay.socket);
	program_says(&connection, "alone");
	peer_hears(&connection, "alone");
	connection_close(&connection);
	relay_reap(&relay);
}

static void cuts_its_connections_when_told_twice(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	relay_await(1);
	kill(relay.pid, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		program_says(&connection, "still here");
		peer_hears(&connection, "still here");
	}
	kill(relay.pid, SIGTERM);
	program_hears_end(&connection, HANDSHAKE_RELAY_TRUNCATED << 8);
	connection_close(&connection);
	relay_stop(&relay);
}

/* A socket whose last close waits: SO_LINGER, and a peer that takes nothing. */
static int lingering_socket(int *ret_other)
{
	struct fixture_link link;

	fixture_link_open(&link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	setsockopt(link.our_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1000},
		   sizeof(struct linger));
	while (send(link.our_fd, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	gnutls_deinit(link.peer);
	*ret_other = link.peer_fd;
	return link.our_fd;
}

static void is_not_held_up_by_descriptors_in_the_stream(void **state)
{
	struct relay relay;
	struct connection hostile, other;
	int reader;
	int hanging = lingering_socket(&reader);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec vector = {"x", 1};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	char byte;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&other, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	connection_open(&hostile, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	memcpy(CMSG_DATA(&control.header), &hanging, sizeof(int));
	ssize_t sent = sendmsg(hostile.program, &message, MSG_NOSIGNAL);
	if (sent < 0) { /* Linux 6.16 and newer refuse it for the relay */
		assert_int_equal(errno, EPERM);
	} else {
		close(hanging); /* the relay has the last one now, or soon */
		hanging = -1;
		assert_int_equal(peer_recv(&hostile, &byte, 1), GNUTLS_E_FATAL_ALERT_RECEIVED);
		program_hears_end(&hostile, HANDSHAKE_RELAY_TRUNCATED << 8);
	}
	program_says(&other, "goes on");
	peer_hears(&other, "goes on");
	connection_close(&hostile);
	connection_close(&other);
	relay_await(0);
	if (hanging >= 0)
		close(hanging);
	close(reader);
	relay_stop(&relay);
}

/* The program keeps a descriptor of the TCP socket and makes its close wait. */
static void is_not_held_up_by_a_lingering_connection(void **state)
{
	struct relay relay;
	struct connection connection, other;
	char reason[256];

	(void)state;
	relay_start(&relay, 0);
	connection_open(&other, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	fixture_link_open(&connection.link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	setsockopt(connection.link.our_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1000},
		   sizeof(struct linger));
	assert_int_equal(offload_relay_start(relay.socket, getuid(), connection.link.our_fd,
					     &connection.link.keys, &connection.program,
					     &connection.state, reason, sizeof(reason)),
			 0);
	close(connection.link.our_fd);
	connection.link.our_fd = -1;
	program_fills(&connection);
	close(connection.program);
	connection.program = -1;
	kill(relay.pid, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		program_says(&other, "goes on");
		peer_hears(&other, "goes on");
	}
	kill(relay.pid, SIGTERM); /* cuts what cannot be flushed, without waiting for it */
	close(relay.socket);
	relay_reap(&relay);
	connection_close(&connection);
	connection_close(&other);
}

static void holds_a_hundred_connections_and_lets_them_go(void **state)
{
	enum { MANY = 100 };
	static struct connection connections[MANY];
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	for (unsigned i = 0; i < MANY; i++)
		connection_open(&connections[i], &relay, i & 1, i % CONFIG_CIPHERS, i >> 1 & 1);
	relay_await(MANY);
	for (unsigned i = 0; i < MANY; i++) {
		program_says(&connections[i], "each");
		peer_hears(&connections[i], "each");
	}
	for (unsigned i = 0; i < MANY; i++)
		connection_close(&connections[i]);
	relay_await(0);
	relay_stop(&relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(passes_words_with_every_cipher),
	    cmocka_unit_test(passes_eight_mebibytes_both_ways_at_once),
	    cmocka_unit_test(counts_bytes_and_connections),
	    cmocka_unit_test(half_closed_program_still_gets_its_answer),
	    cmocka_unit_test(half_closed_program_that_closes_sends_its_fin_at_once),
	    cmocka_unit_test(half_closed_peer_still_gets_its_answer),
	    cmocka_unit_test(tells_a_cut_connection_from_an_ended_one),
	    cmocka_unit_test(names_the_alert_of_the_peer),
	    cmocka_unit_test(answers_what_is_no_record_with_the_right_alert),
	    cmocka_unit_test(follows_key_updates),
	    cmocka_unit_test(refuses_a_flood_of_key_updates),
	    cmocka_unit_test(answers_a_wish_to_renegotiate_with_a_warning),
	    cmocka_unit_test(program_that_closes_at_once_loses_nothing),
	    cmocka_unit_test(program_that_does_not_read_holds_the_peer_back),
	    cmocka_unit_test(takes_records_that_come_byte_by_byte),
	    cmocka_unit_test(passes_a_thousand_small_records_at_once),
	    cmocka_unit_test(refuses_beyond_the_bound_and_says_so_to_both),
	    cmocka_unit_test(survives_being_told_to_stop_until_its_connections_end),
	    cmocka_unit_test(cuts_its_connections_when_told_twice),
	    cmocka_unit_test(is_not_held_up_by_descriptors_in_the_stream),
	    cmocka_unit_test(is_not_held_up_by_a_lingering_connection),
	    cmocka_unit_test(holds_a_hundred_connections_and_lets_them_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
