// SPDX-License-Identifier: LGPL-2.1-or-later
// One handshake from a socket to traffic keys. The test plays the relay process and proves the keys by
// moving records with them.
/* links: tests/unit/engine-fixture.o tests/unit/engine-peer.o tests/unit/engine-pki.o tests/unit/engine-records.o tests/unit/engine-checks.o */
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-checks.h"
#include "engine-records.h"

/* ---- What works ---------------------------------------------------------------------------- */

static void exports_right_keys(void **state)
{
	static const char *const versions[] = {"TLS1.2", "TLS1.3"};
	static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305",
					      "AES-128-CCM"};
	struct engine *engine = *state;

	for (int i = 0; i < 16; i++) {
		const char *version = versions[i & 1];
		const char *cipher = ciphers[i >> 1 & 3];
		struct engine_peer peer;
		char priority[128];
		int ours, theirs;

		snprintf(priority, sizeof(priority), "NORMAL:-VERS-ALL:+VERS-%s:-CIPHER-ALL:+%s",
			 version, cipher);
		engine_connect(&ours, &theirs);
		engine_decide(engine, i < 8 ? REQUEST_SERVER : REQUEST_CLIENT);
		engine_peer_init(engine, &peer, theirs);
		peer.priority = priority;
		engine_run_established(engine, &peer, ours);
		assert_string_equal(engine->outcome.version, version);
		assert_string_equal(engine->outcome.cipher, cipher);
		assert_string_equal(engine->outcome.server_name, ENGINE_NAME);
		assert_int_equal(strncmp(engine->outcome.suite, "TLS_", 4), 0);
		assert_true(engine->outcome.group[0] != '\0');
		assert_int_equal(engine->outcome.identity.present, i >= 8);
		assert_int_equal(engine->outcome.identity.authenticated, i >= 8);
	}
}

static void serves_every_kind_of_key(void **state)
{
	static const gnutls_pk_algorithm_t algorithms[] = {GNUTLS_PK_ECDSA, GNUTLS_PK_RSA,
							   GNUTLS_PK_EDDSA_ED25519};
	struct engine *engine = *state;

	for (size_t i = 0; i < 6; i++) {
		struct engine_certificate leaf;
		struct engine_peer peer;
		int ours, theirs;

		engine_leaf(&leaf, &engine->authority,
			    &(struct engine_leaf){.common_name = "a key",
						  .dns = ENGINE_NAME,
						  .algorithm = algorithms[i % 3]});
		engine->own = &leaf;
		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		if (i >= 3)
			peer.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2";
		engine_run_established(engine, &peer, ours);
		engine_certificate_done(&leaf);
	}
	engine->own = NULL;
}

static void tells_who_the_client_is(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	engine->config.client_certificates = CONFIG_CLIENT_REQUIRE;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	gnutls_certificate_free_credentials(peer.credentials);
	peer.credentials = engine_credentials(&engine->client, NULL);
	engine_run_established(engine, &peer, ours);
	assert_true(engine->outcome.identity.present);
	assert_true(engine->outcome.identity.authenticated);
	assert_string_equal(engine->outcome.identity.subject, "CN=the client");
	assert_string_equal(engine->outcome.identity.issuer, "CN=Engine Authority");
	assert_int_equal(engine->outcome.identity.name_count, 1);
	assert_string_equal(engine->outcome.identity.names[0], "dns:" ENGINE_CLIENT_NAME);
	assert_non_null(engine->outcome.identity.chain);
}

static void goes_on_without_a_certificate_that_was_only_requested(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	engine->config.client_certificates = CONFIG_CLIENT_REQUEST;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	engine_run_established(engine, &peer, ours);
	assert_false(engine->outcome.identity.present);
	assert_false(engine->outcome.identity.authenticated);
}

static void agrees_on_an_application_protocol(void **state)
{
	struct engine *engine = *state;

	for (int i = 0; i < 2; i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine->config.alpn_required = true;
		engine_connect(&ours, &theirs);
		engine_decide(engine, i == 0 ? REQUEST_SERVER : REQUEST_CLIENT);
		strcpy(engine->decision.alpn[0], "h2");
		strcpy(engine->decision.alpn[1], "http/1.1");
		engine->decision.alpn_count = 2;
		engine_peer_init(engine, &peer, theirs);
		peer.alpn = "http/1.1";
		engine_run_established(engine, &peer, ours);
		assert_string_equal(engine->outcome.alpn, "http/1.1");
	}
}

/* Everything behind the peer's Finished stays in the socket, whole, in pieces of any size. */
static void reads_nothing_behind_the_handshake(void **state)
{
	static const size_t pieces[] = {0, 1, 2, 3, 5, 6, 7, 64, 1000, 1400};
	struct engine *engine = *state;

	for (size_t i = 0; i < 4 * sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.piece = pieces[i / 4];
		peer.priority =
		    i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
		engine_run_established(engine, &peer, ours);
	}
}

static void survives_a_fin_behind_the_last_flight(void **state)
{
	struct engine *engine = *state;

	for (int i = 0; i < 4; i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.ends_writing = true;
		peer.priority =
		    i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
		engine_run_established(engine, &peer, ours);
	}
}

static void tells_the_relay_what_records_the_peer_takes(void **state)
{
	static const unsigned sizes[] = {512, 1024, 4096, 5000};
	struct engine *engine = *state;

	for (size_t i = 0; i < 4 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct relay_request request;
		struct engine_peer peer;
		int ours, theirs, fd;

		engine_connect(&ours, &theirs);
		engine_decide(engine, i & 2 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.max_record_size = sizes[i / 4];
		peer.priority = i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		engine_peer_start(&peer);
		engine_run(engine, ours);
		fd = engine_take_relayed(engine, &request);
		assert_true(fd >= 0);
		assert_int_equal(request.keys.record_limit, sizes[i / 4]);
		engine_record_send(fd, &request.keys, "small");
		close(fd);
		engine_peer_done(&peer);
		assert_int_equal(peer.error, 0);
	}
}

/* Without TCP_NODELAY, a flight in two pieces would take a round trip more. */
static void sends_each_flight_in_one_piece(void **state)
{
	struct engine *engine = *state;

	for (int i = 0; i < 4; i++) {
		struct tcp_info info;
		socklen_t size = sizeof(info);
		struct engine_peer peer;
		int ours, theirs, copy;

		engine_connect(&ours, &theirs);
		copy = fcntl(ours, F_DUPFD_CLOEXEC, 0);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.priority =
		    i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
		engine_run_established(engine, &peer, ours);
		memset(&info, 0, sizeof(info));
		assert_int_equal(getsockopt(copy, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
		/* One or two flights, and the record by hand. */
		assert_int_equal(info.tcpi_data_segs_out, i == 0 ? 2 : 3);
		close(copy);
	}
}

static void leaves_flags_and_options_alone(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs, copy, on = -1;
	socklen_t size = sizeof(on);

	engine_connect(&ours, &theirs);
	copy = fcntl(ours, F_DUPFD_CLOEXEC, 0);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	engine_run_established(engine, &peer, ours);
	assert_int_equal(fcntl(copy, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(getsockopt(copy, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
	assert_int_equal(on, 0);
	close(copy);
}

/* ---- Where records go ---------------------------------------------------------------------- */

static void fails_untouched_where_the_kernel_is_asked_for_and_has_no_tls(void **state)
{
	static const struct engine_expectation expected = {
	    OUTCOME_UNTOUCHED, FAILURE_UNSUPPORTED, ALERT_NONE, -1, 0, "this kernel has no TLS"};
	struct engine *engine = *state;
	int ours, theirs, copy;
	char byte;

	engine_connect(&ours, &theirs);
	copy = fcntl(ours, F_DUPFD_CLOEXEC, 0);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_KERNEL;
	engine_run(engine, ours);
	engine_expect(engine, NULL, &expected);
	assert_int_equal(send(copy, "p", 1, 0), 1);
	assert_int_equal(recv(theirs, &byte, 1, 0), 1);
	close(copy);
	close(theirs);
}

static void relays_with_the_reason_where_the_kernel_cannot(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_AUTO;
	engine_peer_init(engine, &peer, theirs);
	engine_run_established(engine, &peer, ours);
	assert_string_equal(engine->outcome.records_reason, "this kernel has no TLS");
}

static void needs_a_relay_to_relay(void **state)
{
	static const struct engine_expectation expected = {
	    OUTCOME_UNTOUCHED, FAILURE_UNSUPPORTED, ALERT_NONE, -1, 0, "no relay"};
	struct engine *engine = *state;
	int saved = engine->surroundings.relay_socket;
	int ours, theirs;

	engine->surroundings.relay_socket = -1;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_run(engine, ours);
	engine->surroundings.relay_socket = saved;
	engine_expect(engine, NULL, &expected);
	close(theirs);
}

static void tells_a_relay_that_is_gone(void **state)
{
	static const struct engine_expectation expected = {
	    OUTCOME_POISONED, FAILURE_INTERNAL, ALERT_SENT, 80, 80, "gone"};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	close(engine->relay);
	engine->relay = -1;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	engine_run_failing(engine, &peer, ours, &expected);
	assert_true(engine->outcome.failure.retry);
}

static void tells_a_relay_that_is_full(void **state)
{
	static const struct engine_expectation expected = {
	    OUTCOME_POISONED, FAILURE_BUSY, ALERT_SENT, 80, 80, "no more"};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	while (send(engine->surroundings.relay_socket, "x", 1, MSG_DONTWAIT) == 1)
		;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	engine_peer_start(&peer);
	engine_run(engine, ours);
	engine_peer_done(&peer);
	engine_expect(engine, &peer, &expected);
	assert_true(engine->outcome.failure.retry);
}

#define engine_test(function) \
	cmocka_unit_test_setup_teardown(function, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    engine_test(exports_right_keys),
	    engine_test(serves_every_kind_of_key),
	    engine_test(tells_who_the_client_is),
	    engine_test(goes_on_without_a_certificate_that_was_only_requested),
	    engine_test(agrees_on_an_application_protocol),
	    engine_test(reads_nothing_behind_the_handshake),
	    engine_test(survives_a_fin_behind_the_last_flight),
	    engine_test(tells_the_relay_what_records_the_peer_takes),
	    engine_test(sends_each_flight_in_one_piece),
	    engine_test(leaves_flags_and_options_alone),
	    engine_test(fails_untouched_where_the_kernel_is_asked_for_and_has_no_tls),
	    engine_test(relays_with_the_reason_where_the_kernel_cannot),
	    engine_test(needs_a_relay_to_relay),
	    engine_test(tells_a_relay_that_is_gone),
	    engine_test(tells_a_relay_that_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
