// SPDX-License-Identifier: LGPL-2.1-or-later
/* Early data between two sessions of the library: taken once, and not where it cannot be remembered. */
/* links: tests/unit/pki.o */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "early-data.h"
#include "pki.h"

enum { LIMIT = 100 };

static char directory[64];
static struct shared_store *store;
static struct counters *counters;
static struct early_data_guard guard;
static gnutls_certificate_credentials_t credentials, anyone;
static gnutls_priority_t priority;
static gnutls_datum_t ticket_key, session;
static struct config_profile config = {.name = "p", .early_data = LIMIT};
static struct profile profile = {.config = &config};
static const struct decision as_server = {.profile = &profile, .role = REQUEST_SERVER};
static const struct decision as_client = {.profile = &profile, .role = REQUEST_CLIENT};

/* One end of a connection. */
struct side {
	gnutls_session_t tls;
	struct early_data early;
	struct failure failure;
	int error;
};

struct pair {
	struct side client, server;
	int fds[2];
};

/* A hello that the library understands and hello-early.c does not: such as one of 200 cipher suites. */
static bool unreadable;

static int hook(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
		const gnutls_datum_t *message)
{
	struct early_data *early = gnutls_session_get_ptr(tls);
	gnutls_datum_t cut = *message;

	(void)when;
	cut.size -= unreadable;
	if (type == GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST)
		return early_data_retry(early, incoming != 0);
	if (incoming != 0 && type == GNUTLS_HANDSHAKE_CLIENT_HELLO)
		early_data_hello(early, &cut);
	return 0;
}

static void side_open(struct side *side, const struct decision *decision, int fd)
{
	bool server = decision->role == REQUEST_SERVER;
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_AUTO_SEND_TICKET | early_data_flags(decision);

	assert_int_equal(gnutls_init(&side->tls, flags | (server ? GNUTLS_SERVER : GNUTLS_CLIENT)),
			 0);
	gnutls_session_set_ptr(side->tls, &side->early);
	gnutls_priority_set(side->tls, priority);
	gnutls_credentials_set(side->tls, GNUTLS_CRD_CERTIFICATE, server ? credentials : anyone);
	gnutls_handshake_set_hook_function(side->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, hook);
	gnutls_transport_set_int(side->tls, fd);
	gnutls_handshake_set_timeout(side->tls, 0);
	if (server)
		gnutls_session_ticket_enable_server(side->tls, &ticket_key);
	assert_int_equal(early_data_open(&side->early, side->tls, decision, priority, &guard), 0);
	side->error = GNUTLS_E_AGAIN;
}

static void pair_open(struct pair *pair, const struct decision *server)
{
	memset(pair, 0, sizeof(*pair));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair->fds), 0);
	side_open(&pair->client, &as_client, pair->fds[0]);
	side_open(&pair->server, server, pair->fds[1]);
	if (session.size > 0)
		assert_int_equal(
		    gnutls_session_set_data(pair->client.tls, session.data, session.size), 0);
}

static void side_turn(struct side *side)
{
	int error;

	if (side->error != GNUTLS_E_AGAIN)
		return;
	side->error = gnutls_handshake(side->tls);
	error = early_data_receive(&side->early, &side->failure);
	if (error < 0)
		side->error = error;
	if (side->error == 0)
		side->error = early_data_finish(&side->early);
	if (side->error < 0 && side->error != GNUTLS_E_AGAIN &&
	    side->error != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(side->tls, side->error);
}

static void pair_run(struct pair *pair)
{
	for (int i = 0; i < 100; i++) {
		side_turn(&pair->client);
		side_turn(&pair->server);
	}
}

static void pair_close(struct pair *pair)
{
	early_data_close(&pair->client.early);
	early_data_close(&pair->server.early);
	gnutls_deinit(pair->client.tls);
	gnutls_deinit(pair->server.tls);
	close(pair->fds[0]);
	close(pair->fds[1]);
}

static struct early_data_offer offer_of(const void *bytes, size_t size)
{
	struct early_data_offer offer = {.bytes = malloc(size), .size = size};

	assert_non_null(offer.bytes);
	memcpy(offer.bytes, bytes, size);
	return offer;
}

/* A connection that leaves a ticket. */
static void ticket_get(void)
{
	struct pair pair;
	char byte;

	gnutls_free(session.data);
	session.data = NULL;
	session.size = 0;
	pair_open(&pair, &as_server);
	pair_run(&pair);
	assert_int_equal(pair.client.error, 0);
	assert_int_equal(pair.server.error, 0);
	assert_int_equal(gnutls_session_ticket_send(pair.server.tls, 1, 0), 0);
	assert_int_equal(gnutls_record_recv(pair.client.tls, &byte, 1), GNUTLS_E_AGAIN);
	assert_int_equal(gnutls_session_get_data2(pair.client.tls, &session), 0);
	pair_close(&pair);
}

/* Offers the bytes with the ticket, and runs to the end. */
static void pair_offer(struct pair *pair, const struct decision *server, const void *bytes,
		       size_t size)
{
	struct early_data_offer offer = offer_of(bytes, size);

	pair_open(pair, server);
	assert_int_equal(early_data_send(&pair->client.early, &offer, ""), 0);
	early_data_offer_done(&offer);
	pair_run(pair);
}

static void assert_told(struct side *side, const char *word, const char *reason)
{
	struct outcome outcome;

	outcome_init(&outcome);
	assert_int_equal(early_data_describe(&side->early, &outcome), 0);
	assert_string_equal(outcome.early_data, word);
	if (reason != NULL)
		assert_non_null(strstr(outcome.early_data_reason, reason));
	else
		assert_null(outcome.early_data_reason);
	outcome_done(&outcome);
}

static int setup(void **state)
{
	const struct pki_wish wish = {.kind = PKI_ECDSA, .common_name = "a", .names = {"a"}};
	struct problem problem = {""};
	struct pki_entity *entity = pki_new(&wish);

	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test-early-data-XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(shared_store_prepare(directory, false, geteuid(), getegid(), &problem), 0);
	assert_int_equal(shared_store_open(directory, 0, &store, &problem), 0);
	counters = counters_new();
	assert_non_null(counters);
	assert_int_equal(early_data_guard_open(&guard), 0);
	guard.store = store;
	guard.counters = counters;
	config.resumption.ticket_lifetime_s = 600;
	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_certificate_allocate_credentials(&anyone);
	gnutls_certificate_set_x509_key(credentials, &entity->certificate, 1, entity->key);
	pki_free(entity);
	gnutls_priority_init(&priority,
			     "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:"
			     "-CIPHER-ALL:+AES-128-GCM:%SERVER_PRECEDENCE",
			     NULL);
	gnutls_session_ticket_key_generate(&ticket_key);
	/* The library takes no ticket that is older than the guard. */
	usleep(2000);
	ticket_get();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gnutls_free(session.data);
	session.data = NULL;
	session.size = 0;
	gnutls_free(ticket_key.data);
	gnutls_priority_deinit(priority);
	gnutls_certificate_free_credentials(credentials);
	gnutls_certificate_free_credentials(anyone);
	early_data_guard_close(&guard);
	counters_free(counters);
	shared_store_close(store);
	shared_store_remove(directory);
	return 0;
}

static void is_taken_and_told(void **state)
{
	struct outcome outcome;
	struct pair pair;
	char read[LIMIT] = "";

	(void)state;
	pair_offer(&pair, &as_server, "early", 5);
	assert_int_equal(pair.client.error, 0);
	assert_int_equal(pair.server.error, 0);
	assert_told(&pair.client, "accepted", NULL);
	outcome_init(&outcome);
	assert_int_equal(early_data_describe(&pair.server.early, &outcome), 0);
	assert_string_equal(outcome.early_data, "accepted");
	assert_int_equal(pread(outcome.early_data_fd, read, sizeof(read), 0), 5);
	assert_memory_equal(read, "early", 5);
	assert_int_equal(pwrite(outcome.early_data_fd, "x", 1, 0), -1);
	outcome_done(&outcome);
	/* Nothing of it is in the stream, whose records begin with the first. */
	assert_int_equal(gnutls_record_send(pair.client.tls, "later", 5), 5);
	assert_int_equal(gnutls_record_recv(pair.server.tls, read, sizeof(read)), 5);
	assert_memory_equal(read, "later", 5);
	pair_close(&pair);
	assert_int_equal(counters_get(counters, COUNTER_EARLY_DATA_ACCEPTED), 1);
}

static void is_refused_where_it_cannot_be_remembered(void **state)
{
	struct pair pair;
	uint64_t key = 0;
	int r;

	(void)state;
	do {
		key++;
		r = shared_store_put(store, SHARED_REPLAY, &key, sizeof(key), "", 0,
				     time(NULL) + 600, true);
	} while (r >= 0);
	assert_int_equal(r, -ENOSPC);
	pair_offer(&pair, &as_server, "early", 5);
	assert_int_equal(pair.client.error, 0);
	assert_int_equal(pair.server.error, 0);
	assert_int_not_equal(gnutls_session_is_resumed(pair.server.tls), 0);
	assert_told(&pair.server, "rejected", "no room");
	assert_told(&pair.client, "rejected", "did not take");
	pair_close(&pair);
}

static void is_refused_by_an_older_ticket_than_the_guard(void **state)
{
	struct pair pair;

	(void)state;
	early_data_guard_close(&guard);
	assert_int_equal(early_data_guard_open(&guard), 0);
	pair_offer(&pair, &as_server, "early", 5);
	assert_int_equal(pair.server.error, 0);
	assert_told(&pair.server, "rejected", "older than the daemon");
	pair_close(&pair);
}

static void is_refused_where_clients_must_show_a_certificate(void **state)
{
	struct decision decision = as_server;
	struct pair pair;

	(void)state;
	decision.client_certificates = CONFIG_CLIENT_REQUEST;
	pair_offer(&pair, &decision, "early", 5);
	assert_int_equal(pair.server.error, 0);
	assert_told(&pair.server, "rejected", "certificate");
	pair_close(&pair);
}

static void is_refused_where_the_hello_cannot_be_read(void **state)
{
	/* What the last one that could be read left behind. */
	struct early_data *gone = malloc(sizeof(*gone));
	struct pair pair;

	(void)state;
	gnutls_anti_replay_set_ptr(guard.library, gone);
	free(gone);
	unreadable = true;
	pair_offer(&pair, &as_server, "early", 5);
	unreadable = false;
	assert_int_equal(pair.client.error, 0);
	assert_int_equal(pair.server.error, 0);
	assert_int_not_equal(gnutls_session_is_resumed(pair.server.tls), 0);
	assert_false(pair.server.early.taken);
	assert_told(&pair.client, "rejected", "did not take");
	pair_close(&pair);
}

static void ends_with_what_is_too_much(void **state)
{
	struct pair pair;
	char bytes[LIMIT + 1] = "";

	(void)state;
	pair_open(&pair, &as_server);
	/* Past early_data_send(), which would not. */
	gnutls_record_send_early_data(pair.client.tls, bytes, LIMIT);
	pair_run(&pair);
	assert_int_equal(pair.server.error, 0);
	assert_int_equal(pair.server.early.size, LIMIT);
	pair_close(&pair);
	config.early_data = LIMIT - 1;
	pair_open(&pair, &as_server);
	gnutls_record_send_early_data(pair.client.tls, bytes, LIMIT);
	pair_run(&pair);
	config.early_data = LIMIT;
	assert_int_equal(pair.server.error, GNUTLS_E_UNEXPECTED_PACKET);
	assert_non_null(strstr(pair.server.failure.sentence, "more early data than the 99 bytes"));
	pair_close(&pair);
}

static void is_not_sent_where_it_is_not_allowed(void **state)
{
	static const struct {
		size_t size;
		unsigned allowed;
		const char *alpn, *why;
	} cases[] = {
	    {5, 0, "", "profile sends none"},
	    {LIMIT + 1, LIMIT, "", "larger than what the profile's"},
	    {LIMIT + 1, LIMIT + 1, "", "larger than what the server's"},
	    {5, LIMIT, NULL, "no ticket"},
	    {5, LIMIT, "h2", "application protocol"},
	};
	char bytes[LIMIT + 1] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct early_data_offer offer = offer_of(bytes, cases[i].size);
		struct pair pair;

		pair_open(&pair, &as_server);
		config.early_data = cases[i].allowed;
		assert_int_equal(early_data_send(&pair.client.early, &offer, cases[i].alpn), 0);
		config.early_data = LIMIT;
		early_data_offer_done(&offer);
		pair_run(&pair);
		assert_int_equal(pair.client.error, 0);
		assert_told(&pair.client, "rejected", cases[i].why);
		assert_false(pair.server.early.offered);
		pair_close(&pair);
	}
}

static void reads_no_offer_but_from_memory(void **state)
{
	struct early_data_offer offer = {.bytes = NULL};
	struct failure failure = {.class = FAILURE_NONE};
	int pipes[2], fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(early_data_offer_read(pipes[0], &offer, &failure), -1);
	assert_non_null(strstr(failure.sentence, "no memfd"));
	close(pipes[0]);
	close(pipes[1]);
	failure.class = FAILURE_NONE;
	assert_int_equal(early_data_offer_read(fd, &offer, &failure), -1);
	assert_non_null(strstr(failure.sentence, "empty"));
	failure.class = FAILURE_NONE;
	assert_int_equal(ftruncate(fd, HANDSHAKE_EARLY_DATA_SIZE + 1), 0);
	assert_int_equal(early_data_offer_read(fd, &offer, &failure), -1);
	assert_non_null(strstr(failure.sentence, "65536"));
	assert_int_equal(ftruncate(fd, HANDSHAKE_EARLY_DATA_SIZE), 0);
	assert_int_equal(early_data_offer_read(fd, &offer, &failure), 0);
	assert_int_equal(offer.size, HANDSHAKE_EARLY_DATA_SIZE);
	early_data_offer_done(&offer);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(is_taken_and_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(is_refused_where_it_cannot_be_remembered, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(is_refused_by_an_older_ticket_than_the_guard, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(is_refused_where_clients_must_show_a_certificate, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(is_refused_where_the_hello_cannot_be_read, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(ends_with_what_is_too_much, setup, teardown),
	    cmocka_unit_test_setup_teardown(is_not_sent_where_it_is_not_allowed, setup, teardown),
	    cmocka_unit_test(reads_no_offer_but_from_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
