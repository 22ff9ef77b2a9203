// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/relay-process.o tests/unit/relay-fixture.o tests/unit/engine-pki.o */
/* A relay process between a program and a live GnuTLS peer: what each says arrives at the other, whole,
 * in order, and in records that the peer takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake-protocol.h"
#include "record-layer.h"
#include "relay-process.h"

enum { BULK = 8 << 20 };

static unsigned char chunk[100000];
static unsigned char expected[100000];

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

/* -1: the relay has closed the control socket. */
static int order(const struct connection *connection, uint8_t command)
{
	uint8_t answer;

	if (send(connection->control, &command, 1, MSG_NOSIGNAL) != 1 ||
	    recv(connection->control, &answer, 1, 0) != 1)
		return -1;
	return answer;
}

static void updates_its_key_when_the_program_orders_it(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	for (unsigned i = 0; i < 8; i++) {
		program_says(&connection, "before");
		assert_int_equal(
		    order(&connection, i % 2 ? HANDSHAKE_RELAY_UPDATE_ASK : HANDSHAKE_RELAY_UPDATE),
		    HANDSHAKE_RELAY_AGREED);
		program_says(&connection, "after");
		peer_hears(&connection, "before");
		peer_hears(&connection, "after");
		peer_says(&connection, "and back");
		program_hears(&connection, "and back");
		if (i == 5) /* the peer's own limit is eight in a second */
			sleep(1);
	}
	connection_close(&connection);
	relay_stop(&relay);
}

static void refuses_orders_that_cannot_be(void **state)
{
	struct relay relay;
	struct connection connection;

	(void)state;
	relay_start(&relay, 0);
	connection_open(&connection, &relay, CONFIG_TLS12, CONFIG_AES_128_GCM, true);
	assert_int_equal(order(&connection, HANDSHAKE_RELAY_UPDATE), HANDSHAKE_RELAY_REFUSED);
	assert_int_equal(order(&connection, 99), -1);
	program_says(&connection, "it goes on");
	peer_hears(&connection, "it goes on");
	connection_close(&connection);
	connection_open(&connection, &relay, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	close(connection.control);
	connection.control = open("/dev/null", O_RDONLY);
	program_says(&connection, "without it, too");
	peer_hears(&connection, "without it, too");
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

/* The size of the content is in no record's header: it is the record without what protects it. */
static size_t content_size(enum config_version version, enum config_cipher cipher, size_t size)
{
	size_t nonce = version == CONFIG_TLS12 && cipher != CONFIG_CHACHA20_POLY1305 ? 8 : 0;

	return size - nonce - RECORD_TAG_SIZE - (version == CONFIG_TLS13 ? 1 : 0);
}

/* Looks at the header of the record that comes next, without taking it. */
static size_t next_record_size(struct connection *connection)
{
	unsigned char header[RECORD_HEADER_SIZE];
	uint64_t end = now_ms() + PATIENCE;

	await(connection->link.peer_fd, POLLIN);
	while (recv(connection->link.peer_fd, header, sizeof(header), MSG_PEEK) < 5)
		assert_true(now_ms() < end);
	return (size_t)header[3] << 8 | header[4];
}

static void makes_no_record_larger_than_the_peer_takes(void **state)
{
	enum { LIMIT = 512, TEXT = 50000 };
	struct relay relay;

	(void)state;
	relay_start(&relay, 0);
	EVERY(version, cipher, server)
	{
		struct connection connection;
		size_t received = 0;
		size_t largest = 0;
		fixture_link_open_limited(&connection.link, version, cipher, server, LIMIT);
		assert_int_equal(connection.link.keys.record_limit, LIMIT);
		connection_hand_over(&connection, &relay);
		fixture_text(chunk, TEXT, 0, 1);
		fixture_text(expected, TEXT, 0, 1);
		assert_int_equal(send(connection.program, chunk, TEXT, MSG_NOSIGNAL), TEXT);
		while (received < TEXT) {
			size_t size = content_size(version, cipher, next_record_size(&connection));
			assert_true(size <= LIMIT);
			ssize_t got = peer_recv(&connection, chunk, sizeof(chunk));
			assert_int_equal(got, size);
			assert_memory_equal(chunk, expected + received, size);
			received += size;
			largest = size > largest ? size : largest;
		}
		assert_int_equal(largest, LIMIT); /* and makes use of it */
		peer_says(&connection, "and back");
		program_hears(&connection, "and back");
		connection_close(&connection);
	}
	relay_stop(&relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(passes_words_with_every_cipher),
	    cmocka_unit_test(passes_eight_mebibytes_both_ways_at_once),
	    cmocka_unit_test(counts_bytes_and_connections),
	    cmocka_unit_test(follows_key_updates),
	    cmocka_unit_test(updates_its_key_when_the_program_orders_it),
	    cmocka_unit_test(refuses_orders_that_cannot_be),
	    cmocka_unit_test(refuses_a_flood_of_key_updates),
	    cmocka_unit_test(answers_a_wish_to_renegotiate_with_a_warning),
	    cmocka_unit_test(program_that_does_not_read_holds_the_peer_back),
	    cmocka_unit_test(takes_records_that_come_byte_by_byte),
	    cmocka_unit_test(passes_a_thousand_small_records_at_once),
	    cmocka_unit_test(makes_no_record_larger_than_the_peer_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
