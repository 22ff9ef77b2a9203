// SPDX-License-Identifier: LGPL-2.1-or-later
// What a test of the handshake engine expects of an outcome and of the peer.
#include "engine-checks.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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

void engine_run_established(struct engine *engine, struct engine_peer *peer, int fd)
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

void engine_expect(struct engine *engine, const struct engine_peer *peer,
		   const struct engine_expectation *expected)
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

void engine_run_failing(struct engine *engine, struct engine_peer *peer, int fd,
			const struct engine_expectation *expected)
{
	struct relay_request request;
	/* As the program does: it has the socket as long as the handshake lasts. */
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	engine_peer_start(peer);
	engine_run(engine, fd);
	close(copy);
	engine_peer_done(peer);
	engine_expect(engine, peer, expected);
	assert_int_equal(engine_take_relayed(engine, &request), -1);
}
