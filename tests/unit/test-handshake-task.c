// SPDX-License-Identifier: LGPL-2.1-or-later
// One handshake from a socket to traffic keys. The test plays the relay process and proves the keys by
// moving records with them.
/* links: daemon/handshake-task.o daemon/handshake-failure.o daemon/session.o daemon/transport.o daemon/identity.o daemon/alert.o daemon/outcome.o daemon/traffic-keys.o daemon/offload-kernel.o daemon/offload-relay.o daemon/socket.o daemon/config-words.o daemon/hello.o daemon/priorities.o daemon/credentials.o daemon/server-names.o daemon/signer.o daemon/verify.o daemon/trust.o daemon/certificate-file.o daemon/revocation.o daemon/file.o daemon/pem.o daemon/problem.o tests/unit/engine-fixture.o tests/unit/engine-peer.o tests/unit/engine-pki.o tests/unit/engine-records.o */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-fixture.h"
#include "engine-records.h"

/* Moves a record each way with the keys that the relay got, and checks what the outcome tells. */
static void prove_records(struct engine *engine, struct engine_peer *peer)
{
	struct relay_request request;
	char heard[128] = "";
	int fd;

	if (engine->outcome.state != OUTCOME_ESTABLISHED)
		fail_msg("%s (peer: %s)", engine->outcome.failure.sentence,
			 gnutls_strerror(peer->error));
	fd = engine_take_relayed(engine, &request);
	assert_true(fd >= 0);
	assert_int_equal(request.uid, 1234);
	if (!peer->ends_writing) {
		assert_int_equal(engine_record_receive(fd, &request.keys, heard, sizeof(heard)),
				 23);
		assert_string_equal(heard, PEER_GREETING);
	}
	engine_record_send(fd, &request.keys, "an answer by hand");
	engine_peer_done(peer);
	assert_int_equal(peer->error, 0);
	assert_string_equal(peer->heard, "an answer by hand");
	close(fd);
}

static void run_established(struct engine *engine, struct engine_peer *peer, int fd)
{
	engine_peer_start(peer);
	engine_run(engine, fd);
	prove_records(engine, peer);
	assert_int_equal(engine->outcome.failure.class, FAILURE_NONE);
	assert_string_equal(engine->outcome.transmit, "relay");
	assert_string_equal(engine->outcome.receive, "relay");
	assert_true(engine->outcome.records_reason[0] != '\0');
	assert_true(engine->outcome.relay_fd >= 0);
	assert_true(engine->outcome.relay_state_fd >= 0);
	assert_true(engine->outcome.microseconds > 0);
}

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
		run_established(engine, &peer, ours);
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
		run_established(engine, &peer, ours);
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
	run_established(engine, &peer, ours);
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
	run_established(engine, &peer, ours);
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
		run_established(engine, &peer, ours);
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
		run_established(engine, &peer, ours);
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
		run_established(engine, &peer, ours);
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
	run_established(engine, &peer, ours);
	assert_int_equal(fcntl(copy, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(getsockopt(copy, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
	assert_int_equal(on, 0);
	close(copy);
}

/* ---- What fails ---------------------------------------------------------------------------- */

struct expectation {
	enum outcome_state state;
	enum failure_class class;
	enum alert_direction direction;
	int alert;            /* -1: none */
	int peer_alert;       /* that the peer saw; -1: none */
	const char *sentence; /* a part of it */
};

static void expect(struct engine *engine, const struct engine_peer *peer,
		   const struct expectation *expected)
{
	const struct failure *failure = &engine->outcome.failure;

	if (engine->outcome.state != expected->state || failure->class != expected->class ||
	    failure->alert_direction != expected->direction ||
	    (expected->alert >= 0 && failure->alert != expected->alert) ||
	    (peer != NULL && peer->alert != expected->peer_alert) ||
	    strstr(failure->sentence, expected->sentence) == NULL)
		fail_msg("%s, %s, alert %u (%d), \"%s\", \"%s\"; the peer: %s, alert %d",
			 outcome_state_word(engine->outcome.state),
			 failure_class_word(failure->class), failure->alert,
			 failure->alert_direction, failure->sentence, failure->verification,
			 peer != NULL ? gnutls_strerror(peer->error) : "-",
			 peer != NULL ? peer->alert : -1);
	assert_int_equal(engine->outcome.relay_fd, -1);
	assert_int_equal(engine->outcome.relay_state_fd, -1);
}

static void run_failing(struct engine *engine, struct engine_peer *peer, int fd,
			const struct expectation *expected)
{
	struct relay_request request;
	/* As the program does: it has the socket as long as the handshake lasts. */
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	engine_peer_start(peer);
	engine_run(engine, fd);
	close(copy);
	engine_peer_done(peer);
	expect(engine, peer, expected);
	assert_int_equal(engine_take_relayed(engine, &request), -1);
}

static void refuses_what_is_not_common(void **state)
{
	static const struct {
		const char *priority;
		enum config_version min_version;
		struct expectation expected;
	} cases[] = {
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.2",
	     CONFIG_TLS13,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 70, 70, "TLS version"}},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM-8:+AES-128-CCM",
	     CONFIG_TLS12,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 40, 40, "cipher suite"}},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
	     CONFIG_TLS12,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 40, 40, "cipher suite"}},
	};
	struct engine *engine = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine->config.min_version = cases[i].min_version;
		engine->config.cipher_count = CONFIG_AES_128_CCM; /* all but the last */
		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.priority = cases[i].priority;
		run_failing(engine, &peer, ours, &cases[i].expected);
	}
}

static void refuses_without_a_common_application_protocol(void **state)
{
	static const char *const protocols[] = {"other/1", NULL};
	static const struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 120, 120, "application protocol"};
	struct engine *engine = *state;

	for (int i = 0; i < 8; i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine->config.alpn_required = true;
		engine_connect(&ours, &theirs);
		engine_decide(engine, i & 2 ? REQUEST_CLIENT : REQUEST_SERVER);
		strcpy(engine->decision.alpn[0], "h2");
		engine->decision.alpn_count = 1;
		engine_peer_init(engine, &peer, theirs);
		peer.alpn = protocols[i & 1];
		peer.priority = i & 4 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		run_failing(engine, &peer, ours, &expected);
	}
}

static void refuses_an_unknown_server_name_where_the_profile_says_so(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 112, 112, "\"other.example\""};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	engine->config.unknown_name_refused = true;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	run_established(engine, &peer, ours);
	engine_connect(&ours, &theirs);
	engine_peer_init(engine, &peer, theirs);
	peer.server_name = "other.example";
	run_failing(engine, &peer, ours, &expected);
	engine->config.unknown_name_refused = false;
	engine_connect(&ours, &theirs);
	engine_peer_init(engine, &peer, theirs);
	peer.server_name = "other.example";
	run_established(engine, &peer, ours);
	assert_string_equal(engine->outcome.server_name, "other.example");
}

static void refuses_a_server_that_it_cannot_verify(void **state)
{
	static const struct {
		struct engine_leaf leaf;
		bool strange;
		struct expectation expected;
	} cases[] = {
	    {{.common_name = "strange", .dns = ENGINE_NAME},
	     true,
	     {OUTCOME_POISONED, FAILURE_VERIFICATION, ALERT_SENT, 48, 48, "refused"}},
	    {{.common_name = "old", .dns = ENGINE_NAME, .starts = -9, .ends = -2},
	     false,
	     {OUTCOME_POISONED, FAILURE_VERIFICATION, ALERT_SENT, 45, 45, "expired"}},
	    {{.common_name = "wrong name", .dns = "other.example"},
	     false,
	     {OUTCOME_POISONED, FAILURE_VERIFICATION, ALERT_SENT, 42, 42, "refused"}},
	};
	struct engine *engine = *state;

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine_certificate leaf;
		struct engine_peer peer;
		int ours, theirs;

		engine_leaf(&leaf, cases[i / 2].strange ? &engine->stranger : &engine->authority,
			    &cases[i / 2].leaf);
		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_CLIENT);
		engine_peer_init(engine, &peer, theirs);
		gnutls_certificate_free_credentials(peer.credentials);
		peer.credentials = engine_credentials(&leaf, NULL);
		peer.priority = i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		run_failing(engine, &peer, ours, &cases[i / 2].expected);
		assert_true(engine->outcome.failure.verification[0] != '\0');
		engine_certificate_done(&leaf);
	}
}

static void refuses_a_client_that_it_cannot_verify(void **state)
{
	struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_VERIFICATION, ALERT_SENT, 0, 0, ""};
	struct engine *engine = *state;
	struct engine_certificate leaf;

	engine_leaf(&leaf, &engine->stranger,
		    &(struct engine_leaf){.common_name = "strange", .client = true});
	engine->config.client_certificates = CONFIG_CLIENT_REQUIRE;
	for (int i = 0; i < 4; i++) {
		const struct engine_certificate *shown = i & 1 ? &leaf : NULL;
		struct engine_peer peer;
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		gnutls_certificate_free_credentials(peer.credentials);
		peer.credentials = engine_credentials(shown, NULL);
		peer.priority = i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		/* RFC 8446, 4.4.2.4 and RFC 5246, 7.4.6. */
		expected.alert = shown != NULL ? 48 : i & 2 ? 40 : 116;
		expected.peer_alert = expected.alert;
		expected.sentence = shown != NULL ? "refused" : "no certificate";
		run_failing(engine, &peer, ours, &expected);
		assert_true(engine->outcome.failure.verification[0] != '\0');
	}
	engine_certificate_done(&leaf);
}

static void tells_the_alert_of_a_peer_that_refuses(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_ALERT, ALERT_RECEIVED, 48, -1, "unknown_ca (48)"};
	struct engine *engine = *state;

	for (int i = 0; i < 2; i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.refuses = 48;
		peer.priority = i & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		run_failing(engine, &peer, ours, &expected);
	}
}

static void says_that_garbage_is_no_tls(void **state)
{
	static const struct {
		const char *bytes;
		struct expectation expected;
	} cases[] = {
	    {"GET / HTTP/1.1\r\n\r\n",
	     {OUTCOME_POISONED, FAILURE_PROTOCOL, ALERT_SENT, -1, 0, "begins with \"GET /\""}},
	    {"\x16\x03\x01\x01\x05garbage in place of a ClientHello, and long enough to fill "
	     "what the header of its record promises, which is more than one would think; so "
	     "this goes on and on and on, and then on once more, until the count of two hundred"
	     " and sixty-one bytes is reached, or is nearly reached, or is behind us for good.",
	     {OUTCOME_POISONED, FAILURE_PROTOCOL, ALERT_SENT, -1, 0, "broke the TLS protocol"}},
	    {"\x16\x03\x01\xff\xff too long for a record",
	     {OUTCOME_POISONED, FAILURE_PROTOCOL, ALERT_SENT, -1, 0, "broke the TLS protocol"}},
	};
	struct engine *engine = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char answer[16];
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		assert_true(send(theirs, cases[i].bytes, strlen(cases[i].bytes), 0) > 0);
		engine_run(engine, ours);
		expect(engine, NULL, &cases[i].expected);
		assert_true(recv(theirs, answer, sizeof(answer), 0) >= 7);
		assert_int_equal(answer[0], 21);
		assert_int_equal(answer[6], engine->outcome.failure.alert);
		close(theirs);
	}
}

static void tells_an_early_end_of_the_connection(void **state)
{
	static const struct expectation untouched = {
	    OUTCOME_UNTOUCHED, FAILURE_CLOSED, ALERT_NONE, -1, 0, "before it sent a byte"};
	static const struct expectation poisoned = {
	    OUTCOME_POISONED, FAILURE_CLOSED, ALERT_NONE, -1, 0, "in the middle"};
	struct engine *engine = *state;
	int ours, theirs;

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	shutdown(theirs, SHUT_WR);
	engine_run(engine, ours);
	expect(engine, NULL, &untouched);
	assert_false(engine->outcome.failure.retry);
	close(theirs);

	engine_connect(&ours, &theirs);
	assert_int_equal(send(theirs, "\x16\x03\x01", 3, 0), 3);
	shutdown(theirs, SHUT_WR);
	engine_run(engine, ours);
	expect(engine, NULL, &poisoned);
	close(theirs);
}

static void tells_a_reset(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_CLOSED, ALERT_NONE, -1, 0, "reset"};
	const struct linger hard = {.l_onoff = 1};
	struct engine *engine = *state;
	int ours, theirs;

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	assert_int_equal(send(theirs, "\x16\x03\x01", 3, 0), 3);
	engine_start(engine, ours);
	assert_true(event_base_loop(engine->surroundings.base, EVLOOP_ONCE) >= 0);
	setsockopt(theirs, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(theirs);
	engine_wait(engine);
	expect(engine, NULL, &expected);
	assert_true(engine->outcome.failure.retry);
}

static int64_t milliseconds_since(const struct timespec *start, const struct timespec *end)
{
	return (end->tv_sec - start->tv_sec) * 1000 + (end->tv_nsec - start->tv_nsec) / 1000000;
}

struct dripping {
	int fd;
	unsigned sent;
};

static void drip(evutil_socket_t fd, short what, void *context)
{
	/* A record that announces 16000 bytes, of a handshake message that is as long. */
	static const unsigned char head[] = {22, 3, 1, 0x3e, 0x80, 1, 0, 0x3e, 0x00};
	struct dripping *dripping = context;
	unsigned char byte = dripping->sent < sizeof(head) ? head[dripping->sent] : 0;

	(void)fd;
	(void)what;
	assert_int_equal(send(dripping->fd, &byte, 1, MSG_NOSIGNAL), 1);
	dripping->sent++;
}

static void keeps_the_deadline(void **state)
{
	static const struct expectation silent = {
	    OUTCOME_UNTOUCHED, FAILURE_TIMEOUT, ALERT_NONE, -1, 0, "sent nothing"};
	static const struct expectation slow = {
	    OUTCOME_POISONED, FAILURE_TIMEOUT, ALERT_SENT, 90, 0, "too slow"};
	const struct timeval often = {.tv_usec = 20000};
	struct engine *engine = *state;
	struct dripping dripping = {0};
	struct timespec start;
	struct event *dripper;
	int ours, theirs, copy;

	engine->config.timeout_ms = 300;
	engine_connect(&ours, &theirs);
	copy = fcntl(ours, F_DUPFD_CLOEXEC, 0);
	engine_decide(engine, REQUEST_SERVER);
	clock_gettime(CLOCK_MONOTONIC, &start);
	engine_run(engine, ours);
	expect(engine, NULL, &silent);
	assert_true(engine->outcome.failure.retry);
	assert_in_range(milliseconds_since(&start, &engine->ended_at), 300, 1500);
	/* What is untouched still carries plain bytes. */
	assert_int_equal(send(copy, "plain", 5, 0), 5);
	close(copy);
	close(theirs);

	engine_connect(&ours, &theirs);
	dripping.fd = theirs;
	dripper = event_new(engine->surroundings.base, -1, EV_PERSIST, drip, &dripping);
	event_add(dripper, &often);
	clock_gettime(CLOCK_MONOTONIC, &start);
	engine_run(engine, ours);
	event_free(dripper);
	expect(engine, NULL, &slow);
	assert_in_range(milliseconds_since(&start, &engine->ended_at), 300, 1500);
	assert_true(dripping.sent > 2);
	close(theirs);
}

static void gives_up_when_cancelled(void **state)
{
	struct engine *engine = *state;
	struct handshake_task *task;
	unsigned char answer[1024];
	int ours, theirs;

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	task = engine_start(engine, ours);
	assert_int_equal(handshake_task_cancel(task), OUTCOME_UNTOUCHED);
	assert_int_equal(recv(theirs, answer, sizeof(answer), 0), 0);
	close(theirs);

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_CLIENT);
	task = engine_start(engine, ours);
	assert_true(event_base_loop(engine->surroundings.base, EVLOOP_ONCE) >= 0);
	assert_int_equal(handshake_task_cancel(task), OUTCOME_POISONED);
	assert_false(engine->ended);
	/* ClientHello, user_canceled, close_notify. */
	assert_true(recv(theirs, answer, sizeof(answer), MSG_WAITALL) > 14);
	close(theirs);
}

/* ---- Where records go ---------------------------------------------------------------------- */

static void fails_untouched_where_the_kernel_is_asked_for_and_has_no_tls(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_UNTOUCHED, FAILURE_UNSUPPORTED, ALERT_NONE, -1, 0, "this kernel has no TLS"};
	struct engine *engine = *state;
	int ours, theirs, copy;
	char byte;

	engine_connect(&ours, &theirs);
	copy = fcntl(ours, F_DUPFD_CLOEXEC, 0);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_KERNEL;
	engine_run(engine, ours);
	expect(engine, NULL, &expected);
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
	run_established(engine, &peer, ours);
	assert_string_equal(engine->outcome.records_reason, "this kernel has no TLS");
}

static void needs_a_relay_to_relay(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_UNTOUCHED, FAILURE_UNSUPPORTED, ALERT_NONE, -1, 0, "no relay"};
	struct engine *engine = *state;
	int saved = engine->surroundings.relay_socket;
	int ours, theirs;

	engine->surroundings.relay_socket = -1;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_run(engine, ours);
	engine->surroundings.relay_socket = saved;
	expect(engine, NULL, &expected);
	close(theirs);
}

static void tells_a_relay_that_is_gone(void **state)
{
	static const struct expectation expected = {
	    OUTCOME_POISONED, FAILURE_INTERNAL, ALERT_SENT, 80, 80, "gone"};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	close(engine->relay);
	engine->relay = -1;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	run_failing(engine, &peer, ours, &expected);
	assert_true(engine->outcome.failure.retry);
}

static void tells_a_relay_that_is_full(void **state)
{
	static const struct expectation expected = {
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
	expect(engine, &peer, &expected);
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
	    engine_test(leaves_flags_and_options_alone),
	    engine_test(refuses_what_is_not_common),
	    engine_test(refuses_without_a_common_application_protocol),
	    engine_test(refuses_an_unknown_server_name_where_the_profile_says_so),
	    engine_test(refuses_a_server_that_it_cannot_verify),
	    engine_test(refuses_a_client_that_it_cannot_verify),
	    engine_test(tells_the_alert_of_a_peer_that_refuses),
	    engine_test(says_that_garbage_is_no_tls),
	    engine_test(tells_an_early_end_of_the_connection),
	    engine_test(tells_a_reset),
	    engine_test(keeps_the_deadline),
	    engine_test(gives_up_when_cancelled),
	    engine_test(fails_untouched_where_the_kernel_is_asked_for_and_has_no_tls),
	    engine_test(relays_with_the_reason_where_the_kernel_cannot),
	    engine_test(needs_a_relay_to_relay),
	    engine_test(tells_a_relay_that_is_gone),
	    engine_test(tells_a_relay_that_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
