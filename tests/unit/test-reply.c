// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* Every packet that the daemon builds can be read again and says what the outcome says. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "reply.h"

static struct reply reply;
static struct message message;
static struct outcome outcome;

/* Through a real socket and back. */
static void reply_travel(void)
{
	char wrong[256];
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	assert_int_equal(message_send(ends[0], &reply.writer, reply.fds, reply.fd_count), 0);
	for (size_t i = 0; i < reply.fd_count; i++)
		close(reply.fds[i]);
	assert_true(message_receive(ends[1], &message) > 0);
	assert_int_equal(message_parse(&message, wrong, sizeof(wrong)), 0);
	close(ends[0]);
	close(ends[1]);
}

static void said(const char *key, const char *value)
{
	const char *got = message_get(&message, key, 0);

	assert_non_null(got);
	assert_string_equal(got, value);
}

static int setup(void **state)
{
	(void)state;
	outcome_init(&outcome);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	message_done(&message);
	outcome_done(&outcome);
	return 0;
}

static void outcome_establish(void)
{
	outcome.state = OUTCOME_ESTABLISHED;
	outcome.version = "TLS1.3";
	outcome.cipher = "AES-128-GCM";
	strcpy(outcome.suite, "TLS_AES_128_GCM_SHA256");
	strcpy(outcome.group, "X25519");
	outcome.transmit = outcome.receive = "kernel";
	outcome.microseconds = 1234;
	memcpy(outcome.phases, (uint64_t[PHASE_COUNT]){1, 1200, 30, 0, 3}, sizeof(outcome.phases));
}

static void a_failure_tells_class_sentence_alert_and_verification(void **state)
{
	(void)state;
	outcome.state = OUTCOME_POISONED;
	outcome_fail(&outcome, FAILURE_VERIFICATION, false, "The certificate of \"%s\" has expired",
		     "x%");
	outcome.failure.alert_direction = ALERT_SENT;
	outcome.failure.alert = 45;
	strcpy(outcome.failure.verification, "the certificate has expired");
	reply_build(&reply, 9, &outcome);
	assert_int_equal(reply.fd_count, 0);
	reply_travel();
	assert_string_equal(message.operation, "reply");
	said("id", "9");
	said("outcome", "poisoned");
	said("class", "verification");
	said("error", "The certificate of \"x%\" has expired");
	said("retry", "no");
	said("alert", "certificate_expired");
	said("alert-number", "45");
	said("alert-direction", "sent");
	said("verification", "the certificate has expired");
	assert_null(message_get(&message, "version", 0));
	assert_null(message_get(&message, "descriptors", 0));
}

static void a_sentence_cannot_command_a_terminal(void **state)
{
	struct failure failure = {.class = FAILURE_REQUEST,
				  .sentence = "There is no \x1b[31m\n\x7f"};

	(void)state;
	reply_build_refusal(&reply, 1, &failure);
	reply_travel();
	said("error", "There is no ?[31m??");
}

static void a_refusal_without_id_names_none(void **state)
{
	struct failure failure = {.class = FAILURE_BUSY, .retry = true, .sentence = "Full"};

	(void)state;
	reply_build_refusal(&reply, 0, &failure);
	reply_travel();
	assert_null(message_get(&message, "id", 0));
	said("outcome", "untouched");
	said("class", "busy");
	said("retry", "yes");
}

static void what_is_unknown_is_not_said(void **state)
{
	(void)state;
	outcome_establish();
	reply_build(&reply, 1, &outcome);
	reply_travel();
	said("version", "TLS1.3");
	said("suite", "TLS_AES_128_GCM_SHA256");
	said("handshake-us", "1234");
	said("time-queue-us", "1");
	said("time-peer-us", "1200");
	said("time-computation-us", "30");
	said("time-signer-us", "0");
	said("time-keys-us", "3");
	said("resumed", "no");
	said("peer-authenticated", "no");
	assert_null(message_get(&message, "alpn", 0));
	assert_null(message_get(&message, "records-reason", 0));
	assert_null(message_get(&message, "peer-subject", 0));
	assert_null(message_get(&message, "class", 0));
}

static void a_chain_comes_sealed_and_whole(void **state)
{
	static char chain[100000];
	char back[sizeof(chain)];

	(void)state;
	outcome_establish();
	memset(chain, 'c', sizeof(chain) - 1);
	outcome.identity.present = outcome.identity.authenticated = true;
	outcome.identity.chain = strdup(chain);
	reply_build(&reply, 1, &outcome);
	reply_travel();
	said("descriptors", "chain");
	said("peer-authenticated", "yes");
	assert_int_equal(message.fd_count, 1);
	assert_int_equal(pread(message.fds[0], back, sizeof(back), 0), sizeof(chain) - 1);
	assert_memory_equal(back, chain, sizeof(chain) - 1);
	assert_int_equal(pwrite(message.fds[0], "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
}

static void a_relays_descriptors_are_named_in_their_order(void **state)
{
	(void)state;
	outcome_establish();
	outcome.transmit = outcome.receive = "relay";
	outcome.relay_fd = open("/dev/null", O_RDWR);
	outcome.relay_state_fd = open("/dev/zero", O_RDWR);
	outcome.identity.present = true;
	outcome.identity.chain = strdup("chain");
	reply_build(&reply, 1, &outcome);
	assert_int_equal(outcome.relay_fd, -1);
	assert_int_equal(outcome.relay_state_fd, -1);
	reply_travel();
	said("descriptors", "relay,relay-state,chain");
	assert_int_equal(message.fd_count, 3);
}

static void a_connection_names_its_peer(void **state)
{
	struct sockaddr_storage peer = {0};
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&peer;
	int fd = open("/dev/null", O_RDWR);

	(void)state;
	outcome_establish();
	in6->sin6_family = AF_INET6;
	in6->sin6_addr = in6addr_loopback;
	in6->sin6_port = htons(4433);
	reply_build_connection(&reply, 3, &outcome, &fd, &peer);
	assert_int_equal(fd, -1);
	reply_travel();
	assert_string_equal(message.operation, "connection");
	said("peer", "[::1]:4433");
	said("descriptors", "connection");
	assert_int_equal(message.fd_count, 1);
}

static void a_relayed_connection_comes_without_its_tcp_socket(void **state)
{
	struct sockaddr_storage peer = {.ss_family = AF_INET};
	int ends[2];

	(void)state;
	outcome_establish();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	outcome.relay_fd = open("/dev/null", O_RDWR);
	outcome.relay_state_fd = open("/dev/null", O_RDWR);
	reply_build_connection(&reply, 3, &outcome, &ends[0], &peer);
	assert_return_code(fcntl(ends[0], F_GETFD), errno);
	close(ends[0]);
	close(ends[1]);
	reply_travel();
	said("descriptors", "relay,relay-state");
	said("peer", "0.0.0.0:0");
}

static void a_certificate_with_too_many_names_still_fits(void **state)
{
	(void)state;
	outcome_establish();
	outcome.identity.present = true;
	outcome.identity.subject = calloc(1, 1024);
	outcome.identity.issuer = calloc(1, 1024);
	assert_true(outcome.identity.subject && outcome.identity.issuer);
	memset(outcome.identity.subject, 1, 1023);
	memset(outcome.identity.issuer, 1, 1023);
	outcome.identity.names = calloc(IDENTITY_NAMES_MAX, sizeof(outcome.identity.names[0]));
	assert_non_null(outcome.identity.names);
	outcome.identity.name_count = IDENTITY_NAMES_MAX;
	for (unsigned i = 0; i < IDENTITY_NAMES_MAX; i++)
		memset(outcome.identity.names[i], 2, sizeof(outcome.identity.names[i]) - 1);
	reply_build(&reply, 1, &outcome);
	reply_travel();
	assert_non_null(message_get(&message, "peer-identity", 0));
	assert_null(message_get(&message, "peer-identity", IDENTITY_NAMES_MAX - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_sentence_cannot_command_a_terminal, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_failure_tells_class_sentence_alert_and_verification,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_refusal_without_id_names_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_unknown_is_not_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_chain_comes_sealed_and_whole, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_relays_descriptors_are_named_in_their_order, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_connection_names_its_peer, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_relayed_connection_comes_without_its_tcp_socket,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_certificate_with_too_many_names_still_fits, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
