// SPDX-License-Identifier: LGPL-2.1-or-later
// Handshakes whose records go to the kernel. Skipped where the kernel has no TLS; tests/vm/run brings one
// that has.
/* links: tests/unit/engine-fixture.o tests/unit/engine-peer.o tests/unit/engine-pki.o tests/unit/engine-records.o */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-fixture.h"
#include "engine-records.h"
#include "skipping.h"
#include "socket.h"

static struct kernel_tls kernel;

static int setup(void **state)
{
	struct engine *engine;

	if (engine_setup(state) < 0)
		return -1;
	engine = *state;
	engine->kernel = kernel;
	return 0;
}

static void need_kernel(void)
{
	if (!kernel.available)
		skip_because("%s", kernel.reason);
}

/* The program's side of an established connection: plain reads and writes. */
static void prove_plain_use(struct engine *engine, struct engine_peer *peer, int fd)
{
	char heard[128] = "";

	if (engine->outcome.state != OUTCOME_ESTABLISHED)
		fail_msg("%s (peer: %s)", engine->outcome.failure.sentence,
			 gnutls_strerror(peer->error));
	assert_string_equal(engine->outcome.transmit, "kernel");
	assert_string_equal(engine->outcome.receive, "kernel");
	assert_string_equal(engine->outcome.records_reason, "");
	assert_int_equal(engine->outcome.relay_fd, -1);
	if (!peer->ends_writing) {
		assert_int_equal(recv(fd, heard, sizeof(heard) - 1, 0), strlen(PEER_GREETING));
		assert_string_equal(heard, PEER_GREETING);
	}
	assert_int_equal(send(fd, "plain words", 11, MSG_NOSIGNAL), 11);
	engine_peer_done(peer);
	assert_int_equal(peer->error, 0);
	assert_string_equal(peer->heard, "plain words");
	close(fd);
}

static int duplicate(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void probes_the_kernel_or_says_why_not(void **state)
{
	(void)state;
	if (kernel.available) {
		assert_string_equal(kernel.reason, "");
		for (int cipher = 0; cipher < CONFIG_CIPHERS; cipher++)
			print_message("cipher %d: TLS 1.2 %d, TLS 1.3 %d\n", cipher,
				      kernel.ciphers[CONFIG_TLS12][cipher],
				      kernel.ciphers[CONFIG_TLS13][cipher]);
	} else {
		assert_true(strlen(kernel.reason) > 10);
	}
}

static void hands_every_cipher_to_the_kernel(void **state)
{
	static const char *const versions[] = {"TLS1.2", "TLS1.3"};
	static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305",
					      "AES-128-CCM"};
	struct engine *engine = *state;

	need_kernel();
	for (int i = 0; i < 32; i++) {
		struct engine_peer peer;
		char priority[128];
		int ours, theirs, copy;

		if (!kernel.ciphers[i & 1][i >> 1 & 3])
			fail_msg("the kernel lacks %s", ciphers[i >> 1 & 3]);
		snprintf(priority, sizeof(priority), "NORMAL:-VERS-ALL:+VERS-%s:-CIPHER-ALL:+%s",
			 versions[i & 1], ciphers[i >> 1 & 3]);
		engine_connect(&ours, &theirs);
		copy = duplicate(ours);
		engine_decide(engine, i & 8 ? REQUEST_SERVER : REQUEST_CLIENT);
		engine->decision.records = i & 16 ? CONFIG_RECORDS_KERNEL : CONFIG_RECORDS_AUTO;
		engine_peer_init(engine, &peer, theirs);
		peer.priority = priority;
		engine_peer_start(&peer);
		engine_run(engine, ours);
		prove_plain_use(engine, &peer, copy);
		assert_string_equal(engine->outcome.version, versions[i & 1]);
		assert_string_equal(engine->outcome.cipher, ciphers[i >> 1 & 3]);
	}
}

static void loses_nothing_behind_the_handshake(void **state)
{
	static const size_t pieces[] = {0, 1, 3, 7, 100, 1000};
	struct engine *engine = *state;

	need_kernel();
	for (size_t i = 0; i < 4 * sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct engine_peer peer;
		int ours, theirs, copy;

		engine_connect(&ours, &theirs);
		copy = duplicate(ours);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine->decision.records = CONFIG_RECORDS_KERNEL;
		engine_peer_init(engine, &peer, theirs);
		peer.piece = pieces[i / 4];
		peer.priority = i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		engine_peer_start(&peer);
		engine_run(engine, ours);
		prove_plain_use(engine, &peer, copy);
	}
}

/* Keys are taken in CLOSE_WAIT by a socket that was attached before. */
static void survives_a_fin_behind_the_last_flight(void **state)
{
	struct engine *engine = *state;

	need_kernel();
	for (int i = 0; i < 4; i++) {
		struct engine_peer peer;
		int ours, theirs, copy;

		engine_connect(&ours, &theirs);
		copy = duplicate(ours);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine->decision.records = CONFIG_RECORDS_KERNEL;
		engine_peer_init(engine, &peer, theirs);
		peer.ends_writing = true;
		peer.priority = i & 2 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL";
		engine_peer_start(&peer);
		engine_run(engine, ours);
		prove_plain_use(engine, &peer, copy);
	}
}

static void finds_a_peer_that_has_ended_before(void **state)
{
	struct engine *engine = *state;

	need_kernel();
	for (int i = 0; i < 4; i++) {
		int ours, theirs;

		engine_connect(&ours, &theirs);
		shutdown(theirs, SHUT_WR);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine->decision.records = i & 2 ? CONFIG_RECORDS_KERNEL : CONFIG_RECORDS_AUTO;
		engine_run(engine, ours);
		assert_int_equal(engine->outcome.state, OUTCOME_UNTOUCHED);
		assert_int_equal(engine->outcome.failure.class, FAILURE_CLOSED);
		close(theirs);
	}
}

/* Attached but without keys, a socket carries plain bytes, and a second handshake can follow. */
static void leaves_a_socket_plain_after_a_failure(void **state)
{
	struct failure failure = {.class = FAILURE_NONE};
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs, copy;
	char heard[8] = "";

	need_kernel();
	engine->config.timeout_ms = 100;
	engine_connect(&ours, &theirs);
	copy = duplicate(ours);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_KERNEL;
	engine_run(engine, ours);
	assert_int_equal(engine->outcome.state, OUTCOME_UNTOUCHED);
	assert_int_equal(engine->outcome.failure.class, FAILURE_TIMEOUT);
	assert_int_equal(send(copy, "plain", 5, 0), 5);
	assert_int_equal(recv(theirs, heard, sizeof(heard), 0), 5);
	assert_int_equal(send(theirs, "PLAIN", 5, 0), 5);
	assert_int_equal(recv(copy, heard, sizeof(heard), 0), 5);
	assert_string_equal(heard, "PLAIN");

	assert_int_equal(socket_check_connected(copy, &failure), 0);
	engine->decision.timeout_ms = 10000;
	ours = duplicate(copy);
	engine_peer_init(engine, &peer, theirs);
	engine_peer_start(&peer);
	engine_run(engine, ours);
	prove_plain_use(engine, &peer, copy);
}

static void offers_only_what_the_kernel_takes(void **state)
{
	struct engine *engine = *state;

	need_kernel();
	memset(engine->kernel.ciphers, 0, sizeof(engine->kernel.ciphers));
	engine->kernel.ciphers[CONFIG_TLS12][CONFIG_CHACHA20_POLY1305] = true;
	engine->kernel.ciphers[CONFIG_TLS13][CONFIG_CHACHA20_POLY1305] = true;
	for (int i = 0; i < 2; i++) {
		struct engine_peer peer;
		int ours, theirs, copy;

		engine_connect(&ours, &theirs);
		copy = duplicate(ours);
		engine_decide(engine, i & 1 ? REQUEST_CLIENT : REQUEST_SERVER);
		engine->decision.records = CONFIG_RECORDS_KERNEL;
		engine_peer_init(engine, &peer, theirs);
		engine_peer_start(&peer);
		engine_run(engine, ours);
		prove_plain_use(engine, &peer, copy);
		assert_string_equal(engine->outcome.cipher, "CHACHA20-POLY1305");
	}
}

static void relays_over_an_attached_socket(struct engine *engine, struct engine_peer *peer, int fd,
					   const char *reason)
{
	struct relay_request request;
	char heard[128];
	int relayed;

	engine_peer_start(peer);
	engine_run(engine, fd);
	assert_int_equal(engine->outcome.state, OUTCOME_ESTABLISHED);
	assert_string_equal(engine->outcome.transmit, "relay");
	assert_non_null(strstr(engine->outcome.records_reason, reason));
	relayed = engine_take_relayed(engine, &request);
	assert_true(relayed >= 0);
	assert_int_equal(engine_record_receive(relayed, &request.keys, heard, sizeof(heard)), 23);
	engine_record_send(relayed, &request.keys, "by hand");
	engine_peer_done(peer);
	assert_string_equal(peer->heard, "by hand");
	close(relayed);
}

static void relays_a_cipher_that_the_kernel_lacks(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs;

	need_kernel();
	engine->kernel.ciphers[CONFIG_TLS13][CONFIG_AES_128_CCM] = false;
	engine_connect(&ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_AUTO;
	engine_peer_init(engine, &peer, theirs);
	peer.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM";
	relays_over_an_attached_socket(engine, &peer, ours, "lacks the cipher AES-128-CCM");
}

/* Newer kernels can be told how large a record the peer takes; for older ones it is the relay. */
static void keeps_to_the_records_that_the_peer_takes(void **state)
{
	struct engine *engine = *state;
	struct engine_peer peer;
	int ours, theirs, copy;

	need_kernel();
	engine_connect(&ours, &theirs);
	copy = duplicate(ours);
	engine_decide(engine, REQUEST_SERVER);
	engine->decision.records = CONFIG_RECORDS_KERNEL;
	engine_peer_init(engine, &peer, theirs);
	peer.max_record_size = 1000;
	engine_peer_start(&peer);
	engine_run(engine, ours);
	if (engine->outcome.state == OUTCOME_ESTABLISHED) {
		prove_plain_use(engine, &peer, copy);
		return;
	}
	close(copy);
	engine_peer_done(&peer);
	assert_int_equal(engine->outcome.state, OUTCOME_POISONED);
	assert_int_equal(engine->outcome.failure.class, FAILURE_UNSUPPORTED);
	assert_non_null(strstr(engine->outcome.failure.sentence, "1000 bytes"));
	assert_int_equal(peer.alert, 80);

	engine_connect(&ours, &theirs);
	engine->decision.records = CONFIG_RECORDS_AUTO;
	engine_peer_init(engine, &peer, theirs);
	peer.max_record_size = 1000;
	relays_over_an_attached_socket(engine, &peer, ours, "1000 bytes");
}

#define kernel_test(function) cmocka_unit_test_setup_teardown(function, setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    kernel_test(probes_the_kernel_or_says_why_not),
	    kernel_test(hands_every_cipher_to_the_kernel),
	    kernel_test(loses_nothing_behind_the_handshake),
	    kernel_test(survives_a_fin_behind_the_last_flight),
	    kernel_test(finds_a_peer_that_has_ended_before),
	    kernel_test(leaves_a_socket_plain_after_a_failure),
	    kernel_test(offers_only_what_the_kernel_takes),
	    kernel_test(relays_a_cipher_that_the_kernel_lacks),
	    kernel_test(keeps_to_the_records_that_the_peer_takes),
	};

	offload_kernel_probe(&kernel);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
