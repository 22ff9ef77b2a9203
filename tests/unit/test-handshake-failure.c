// SPDX-License-Identifier: LGPL-2.1-or-later
// Handshakes that fail: what the caller is told, what the peer sees, and that the state is true.
/* links: tests/unit/engine-fixture.o tests/unit/engine-peer.o tests/unit/engine-pki.o tests/unit/engine-records.o tests/unit/engine-checks.o */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-checks.h"
#include "handshake-failure.h"

static void refuses_what_is_not_common(void **state)
{
	static const struct {
		const char *priority;
		enum config_version min_version;
		bool tls12_only;
		struct engine_expectation expected;
	} cases[] = {
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.2",
	     CONFIG_TLS13,
	     false,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 70, 70, "TLS version"}},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.3",
	     CONFIG_TLS12,
	     true,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 70, 70, "TLS version"}},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM-8:+AES-128-CCM",
	     CONFIG_TLS12,
	     false,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 40, 40, "cipher suite"}},
	    {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
	     CONFIG_TLS12,
	     false,
	     {OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 40, 40, "cipher suite"}},
	};
	struct engine *engine = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine->config.min_version = cases[i].min_version;
		engine->config.tls12_only = cases[i].tls12_only;
		engine->config.cipher_count = CONFIG_AES_128_CCM; /* all but the last */
		engine_connect(&ours, &theirs);
		engine_decide(engine, REQUEST_SERVER);
		engine_peer_init(engine, &peer, theirs);
		peer.priority = cases[i].priority;
		engine_run_failing(engine, &peer, ours, &cases[i].expected);
	}
}

static void refuses_without_a_common_application_protocol(void **state)
{
	static const char *const protocols[] = {"other/1", NULL};
	static const struct engine_expectation expected = {
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
		engine_run_failing(engine, &peer, ours, &expected);
	}
}

static void refuses_an_unknown_server_name_where_the_profile_says_so(void **state)
{
	static const struct engine_expectation expected = {
	    OUTCOME_POISONED, FAILURE_NEGOTIATION, ALERT_SENT, 112, 112, "\"other.example\""};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	engine->config.unknown_name_refused = true;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &peer, theirs);
	engine_run_established(engine, &peer, ours);
	engine_connect(&ours, &theirs);
	engine_peer_init(engine, &peer, theirs);
	peer.server_name = "other.example";
	engine_run_failing(engine, &peer, ours, &expected);
	engine->config.unknown_name_refused = false;
	engine_connect(&ours, &theirs);
	engine_peer_init(engine, &peer, theirs);
	peer.server_name = "other.example";
	engine_run_established(engine, &peer, ours);
	assert_string_equal(engine->outcome.server_name, "other.example");
}

static void refuses_a_server_that_it_cannot_verify(void **state)
{
	static const struct {
		struct engine_leaf leaf;
		bool strange;
		struct engine_expectation expected;
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
		engine_run_failing(engine, &peer, ours, &cases[i / 2].expected);
		assert_true(engine->outcome.failure.verification[0] != '\0');
		engine_certificate_done(&leaf);
	}
}

static void refuses_a_client_that_it_cannot_verify(void **state)
{
	struct engine_expectation expected = {
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
		engine_run_failing(engine, &peer, ours, &expected);
		assert_true(engine->outcome.failure.verification[0] != '\0');
	}
	engine_certificate_done(&leaf);
}

static void tells_the_alert_of_a_peer_that_refuses(void **state)
{
	static const struct engine_expectation expected = {
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
		engine_run_failing(engine, &peer, ours, &expected);
	}
}

static void says_that_garbage_is_no_tls(void **state)
{
	static const struct {
		const char *bytes;
		struct engine_expectation expected;
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
		engine_expect(engine, NULL, &cases[i].expected);
		assert_true(recv(theirs, answer, sizeof(answer), 0) >= 7);
		assert_int_equal(answer[0], 21);
		assert_int_equal(answer[6], engine->outcome.failure.alert);
		close(theirs);
	}
}

static void tells_an_early_end_of_the_connection(void **state)
{
	static const struct engine_expectation untouched = {
	    OUTCOME_UNTOUCHED, FAILURE_CLOSED, ALERT_NONE, -1, 0, "before it sent a byte"};
	static const struct engine_expectation poisoned = {
	    OUTCOME_POISONED, FAILURE_CLOSED, ALERT_NONE, -1, 0, "in the middle"};
	struct engine *engine = *state;
	int ours, theirs;

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	shutdown(theirs, SHUT_WR);
	engine_run(engine, ours);
	engine_expect(engine, NULL, &untouched);
	assert_false(engine->outcome.failure.retry);
	close(theirs);

	engine_connect(&ours, &theirs);
	assert_int_equal(send(theirs, "\x16\x03\x01", 3, 0), 3);
	shutdown(theirs, SHUT_WR);
	engine_run(engine, ours);
	engine_expect(engine, NULL, &poisoned);
	close(theirs);
}

/* In each role and version, after each flight of the peer that does not complete the handshake. */
static void tells_an_end_at_each_flight(void **state)
{
	static const struct {
		enum request_role role;
		const char *priority;
		unsigned flights;
	} cases[] = {
	    {REQUEST_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.3", 1},
	    {REQUEST_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.2", 1},
	    {REQUEST_CLIENT, "NORMAL:-VERS-ALL:+VERS-TLS1.3", 0},
	    {REQUEST_CLIENT, "NORMAL:-VERS-ALL:+VERS-TLS1.2", 0},
	    {REQUEST_CLIENT, "NORMAL:-VERS-ALL:+VERS-TLS1.2", 1},
	};
	struct engine_expectation expected = {OUTCOME_POISONED, FAILURE_CLOSED, ALERT_NONE, -1, -1,
					      "TCP connection"};
	struct engine *engine = *state;

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine_peer peer;
		int ours, theirs;

		engine_connect(&ours, &theirs);
		engine_decide(engine, cases[i / 2].role);
		engine_peer_init(engine, &peer, theirs);
		peer.priority = cases[i / 2].priority;
		peer.leaves = cases[i / 2].flights + 1;
		peer.resets = i & 1;
		engine_run_failing(engine, &peer, ours, &expected);
		assert_int_equal(engine->outcome.failure.retry, peer.resets);
	}
}

static void tells_a_reset(void **state)
{
	static const struct engine_expectation expected = {
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
	engine_expect(engine, NULL, &expected);
	assert_true(engine->outcome.failure.retry);
}

static int64_t milliseconds_since(const struct timespec *start, const struct timespec *end)
{
	return (end->tv_sec - start->tv_sec) * 1000 + (end->tv_nsec - start->tv_nsec) / 1000000;
}

/* The library's own errors: only what passes by itself is worth another attempt. */
static void says_of_its_own_faults_whether_they_pass(void **state)
{
	static const struct {
		int error;
		bool retry;
	} cases[] = {
	    {GNUTLS_E_MEMORY_ERROR, true},
	    {GNUTLS_E_INTERNAL_ERROR, false},
	    {GNUTLS_E_LIB_IN_ERROR_STATE, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct session session = {0};
		struct failure failure = {0};
		struct transport transport;
		unsigned char answer[16];
		int ours, theirs;

		engine_connect(&ours, &theirs);
		assert_int_equal(gnutls_init(&session.tls, GNUTLS_SERVER), 0);
		assert_int_equal(gnutls_set_default_priority(session.tls), 0);
		transport_init(&transport, ours);
		transport_bind(&transport, session.tls);
		handshake_failure_tell(&failure, cases[i].error, &session, &transport);
		assert_int_equal(failure.class, FAILURE_INTERNAL);
		assert_int_equal(failure.retry, cases[i].retry);
		/* The peer hears that it is not to blame. */
		assert_int_equal(failure.alert_direction, ALERT_SENT);
		assert_int_equal(failure.alert, GNUTLS_A_INTERNAL_ERROR);
		assert_int_equal(recv(theirs, answer, sizeof(answer), 0), 7);
		assert_int_equal(answer[6], GNUTLS_A_INTERNAL_ERROR);
		gnutls_deinit(session.tls);
		transport_done(&transport);
		close(ours);
		close(theirs);
	}
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
	static const struct engine_expectation silent = {
	    OUTCOME_UNTOUCHED, FAILURE_TIMEOUT, ALERT_NONE, -1, 0, "sent nothing"};
	static const struct engine_expectation slow = {
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
	engine_expect(engine, NULL, &silent);
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
	engine_expect(engine, NULL, &slow);
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
	close(ours);
	assert_int_equal(recv(theirs, answer, sizeof(answer), 0), 0);
	close(theirs);

	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_CLIENT);
	task = engine_start(engine, ours);
	assert_true(event_base_loop(engine->surroundings.base, EVLOOP_ONCE) >= 0);
	assert_int_equal(handshake_task_cancel(task), OUTCOME_POISONED);
	close(ours);
	assert_false(engine->ended);
	/* ClientHello, user_canceled, close_notify. */
	assert_true(recv(theirs, answer, sizeof(answer), MSG_WAITALL) > 14);
	close(theirs);
}

#define engine_test(function) \
	cmocka_unit_test_setup_teardown(function, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    engine_test(refuses_what_is_not_common),
	    engine_test(refuses_without_a_common_application_protocol),
	    engine_test(refuses_an_unknown_server_name_where_the_profile_says_so),
	    engine_test(refuses_a_server_that_it_cannot_verify),
	    engine_test(refuses_a_client_that_it_cannot_verify),
	    engine_test(tells_the_alert_of_a_peer_that_refuses),
	    engine_test(says_that_garbage_is_no_tls),
	    engine_test(tells_an_early_end_of_the_connection),
	    engine_test(tells_an_end_at_each_flight),
	    engine_test(tells_a_reset),
	    cmocka_unit_test(says_of_its_own_faults_whether_they_pass),
	    engine_test(keeps_the_deadline),
	    engine_test(gives_up_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
