// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/engine-pki.o */
/* Sessions that wait for tickets: a ticket that comes is stored and resumes, whatever else comes ends the
 * waiting, and neither time nor number is without bound. */
#include <errno.h>
#include <event2/event.h>
#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-pki.h"
#include "parking.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3"

static char directory[] = "/tmp/test-parking-XXXXXX";
static struct shared_store *store;
static struct counters *counters;
static struct event_base *base;
static struct parking *parking;
static struct engine_certificate authority, leaf;
static gnutls_certificate_credentials_t own, none;
static gnutls_datum_t ticket_key;

static int group_setup(void **state)
{
	struct problem problem = {""};

	(void)state;
	engine_authority(&authority, "root");
	engine_leaf(&leaf, &authority, &(struct engine_leaf){.common_name = "a.example"});
	own = engine_credentials(&leaf, NULL);
	none = engine_credentials(NULL, NULL);
	gnutls_session_ticket_key_generate(&ticket_key);
	counters = counters_new();
	base = event_base_new();
	return mkdtemp(directory) == NULL ||
	       shared_store_prepare(directory, false, geteuid(), getegid(), &problem) < 0 ||
	       shared_store_open(directory, 0, &store, &problem) < 0;
}

static int group_teardown(void **state)
{
	(void)state;
	shared_store_close(store);
	shared_store_remove(directory);
	event_base_free(base);
	counters_free(counters);
	gnutls_free(ticket_key.data);
	gnutls_certificate_free_credentials(own);
	gnutls_certificate_free_credentials(none);
	engine_certificate_done(&leaf);
	engine_certificate_done(&authority);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	parking = parking_new(base, store, counters);
	return parking == NULL;
}

static int teardown(void **state)
{
	(void)state;
	parking_free(parking);
	return counters_get(counters, COUNTER_PARKED) != 0;
}

/* ---- A client's session whose server has tickets to send ---- */

struct pair {
	gnutls_session_t client, server;
	int fds[2];
	uint8_t tickets[8][4096]; /* with their headers */
	size_t sizes[8];
	unsigned count;
};

static int ticket_catch(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
			const gnutls_datum_t *message)
{
	struct pair *pair = gnutls_session_get_ptr(tls);
	uint8_t *copy = pair->tickets[pair->count];

	(void)when;
	if (incoming || type != GNUTLS_HANDSHAKE_NEW_SESSION_TICKET)
		return 0;
	assert_true(message->size + 4 <= sizeof(pair->tickets[0]));
	copy[0] = 4;
	copy[1] = (uint8_t)(message->size >> 16);
	copy[2] = (uint8_t)(message->size >> 8);
	copy[3] = (uint8_t)message->size;
	memcpy(copy + 4, message->data, message->size);
	pair->sizes[pair->count++] = message->size + 4;
	return 0;
}

static void pair_open(struct pair *pair, unsigned tickets, const gnutls_datum_t *data)
{
	int ours = GNUTLS_E_AGAIN, theirs = GNUTLS_E_AGAIN;

	memset(pair, 0, sizeof(*pair));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair->fds), 0);
	gnutls_init(&pair->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
	gnutls_init(&pair->server, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_AUTO_SEND_TICKET);
	gnutls_session_set_ptr(pair->server, pair);
	gnutls_priority_set_direct(pair->client, PRIORITY, NULL);
	gnutls_priority_set_direct(pair->server, PRIORITY, NULL);
	gnutls_credentials_set(pair->client, GNUTLS_CRD_CERTIFICATE, none);
	gnutls_credentials_set(pair->server, GNUTLS_CRD_CERTIFICATE, own);
	gnutls_transport_set_int(pair->client, pair->fds[0]);
	gnutls_transport_set_int(pair->server, pair->fds[1]);
	gnutls_session_ticket_enable_server(pair->server, &ticket_key);
	gnutls_handshake_set_hook_function(pair->server, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_POST,
					   ticket_catch);
	if (data != NULL)
		assert_int_equal(gnutls_session_set_data(pair->client, data->data, data->size), 0);
	for (int turn = 0; turn < 50 && (ours < 0 || theirs < 0); turn++) {
		ours = ours < 0 ? gnutls_handshake(pair->client) : 0;
		theirs = theirs < 0 ? gnutls_handshake(pair->server) : 0;
	}
	assert_int_equal(ours, 0);
	assert_int_equal(theirs, 0);
	if (tickets > 0)
		assert_int_equal(gnutls_session_ticket_send(pair->server, tickets, 0), 0);
	assert_int_equal(pair->count, tickets);
}

/* Without the client's session if it has gone elsewhere. */
static void pair_close(struct pair *pair)
{
	if (pair->client != NULL)
		gnutls_deinit(pair->client);
	gnutls_deinit(pair->server);
	close(pair->fds[0]);
	close(pair->fds[1]);
}

/* The end to write tickets to. */
static int park(struct pair *pair, uint8_t context)
{
	struct parking_key key = {.context = {context}, .lifetime_s = 600, .head_size = 5};
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	key.head = malloc(5);
	memcpy(key.head, "head:", 5);
	parking_add(parking, pair->client, NULL, &key, ends[0]);
	pair->client = NULL;
	return ends[1];
}

static void turn(void)
{
	for (int i = 0; i < 8; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static bool slot_get(uint8_t context, unsigned slot, gnutls_datum_t *ret)
{
	uint8_t bound[TICKET_CONTEXT_SIZE] = {context}, key[TICKET_CONTEXT_SIZE + 1];

	parking_slot(bound, slot, key);
	return shared_store_take(store, SHARED_TICKETS, key, sizeof(key), ret) == 0;
}

static bool is_over(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* ---- What is shown ---- */

static void a_ticket_that_comes_later_resumes(void **state)
{
	struct pair pair, again;
	gnutls_datum_t got = {NULL, 0}, data;
	int fd;

	(void)state;
	pair_open(&pair, 2, NULL);
	fd = park(&pair, 1);
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(send(fd, pair.tickets[i], pair.sizes[i], 0), pair.sizes[i]);
	turn();
	assert_int_equal(counters_get(counters, COUNTER_TICKETS_TAKEN), 2);
	for (unsigned slot = 0; slot < 2; slot++) {
		assert_true(slot_get(1, slot, &got));
		assert_memory_equal(got.data, "head:", 5);
		data.data = got.data + 5;
		data.size = got.size - 5;
		pair_open(&again, 0, &data);
		assert_true(gnutls_session_is_resumed(again.client));
		assert_true(gnutls_session_is_resumed(again.server));
		pair_close(&again);
		gnutls_free(got.data);
	}
	assert_false(slot_get(1, 2, &got));
	assert_false(is_over(fd));
	close(fd);
	turn();
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 0);
	pair_close(&pair);
}

static void after_four_no_more_is_awaited(void **state)
{
	struct pair pair;
	gnutls_datum_t got;
	int fd;

	(void)state;
	pair_open(&pair, 6, NULL);
	fd = park(&pair, 2);
	for (unsigned i = 0; i < 6; i++)
		send(fd, pair.tickets[i], pair.sizes[i], MSG_NOSIGNAL);
	turn();
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 0);
	for (unsigned slot = 0; slot < PARKING_SLOTS; slot++) {
		assert_true(slot_get(2, slot, &got));
		gnutls_free(got.data);
	}
	close(fd);
	pair_close(&pair);
}

static void what_is_no_ticket_ends_the_waiting(void **state)
{
	static uint8_t large[PARKING_TICKET_SIZE + 1] = {4};
	gnutls_datum_t got;

	(void)state;
	for (int kind = 0; kind < 6; kind++) {
		struct pair pair;
		int fd;

		pair_open(&pair, 1, NULL);
		fd = park(&pair, 3);
		if (kind == 0) /* a KeyUpdate */
			send(fd, "\x18\0\0\1\0", 5, 0);
		else if (kind == 1) /* cut */
			send(fd, pair.tickets[0], pair.sizes[0] - 1, 0);
		else if (kind == 2)
			send(fd, "\4\0\0", 3, 0);
		else if (kind == 3)
			send(fd, large, sizeof(large), 0);
		else if (kind == 4) /* the length of the ticket's own parts */
			memset(pair.tickets[0] + 12, 0xff, 8);
		else /* empty */
			send(fd, "\4\0\0\0", 4, 0);
		if (kind == 4)
			send(fd, pair.tickets[0], pair.sizes[0], 0);
		turn();
		assert_int_equal(counters_get(counters, COUNTER_PARKED), 0);
		assert_true(is_over(fd) || errno == ECONNRESET);
		assert_false(slot_get(3, 0, &got));
		close(fd);
		pair_close(&pair);
	}
}

static void a_lifetime_of_nothing_is_not_kept(void **state)
{
	struct pair pair;
	gnutls_datum_t got;
	int fd;

	(void)state;
	pair_open(&pair, 1, NULL);
	memset(pair.tickets[0] + 4, 0, 4);
	fd = park(&pair, 4);
	send(fd, pair.tickets[0], pair.sizes[0], 0);
	turn();
	assert_false(slot_get(4, 0, &got));
	close(fd);
	pair_close(&pair);
}

static void the_oldest_makes_room(void **state)
{
	static struct pair pair;
	static int fds[PARKING_MAX + 3];

	(void)state;
	for (int i = 0; i < PARKING_MAX + 3; i++) {
		/* Any session will do. */
		memset(&pair, 0, sizeof(pair));
		gnutls_init(&pair.client, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
		fds[i] = park(&pair, 5);
	}
	assert_int_equal(counters_get(counters, COUNTER_PARKED), PARKING_MAX);
	for (int i = 0; i < PARKING_MAX + 3; i++) {
		assert_true(is_over(fds[i]) == (i < 3));
		close(fds[i]);
	}
	turn();
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 0);
}

static void after_a_ticket_it_waits_a_second(void **state)
{
	const struct timeval wait = {.tv_sec = PARKING_MORE_MS / 1000, .tv_usec = 300000};
	gnutls_datum_t got;
	struct pair pair;
	int fd;

	(void)state;
	pair_open(&pair, 1, NULL);
	fd = park(&pair, 6);
	send(fd, pair.tickets[0], pair.sizes[0], 0);
	turn();
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 1);
	event_base_loopexit(base, &wait);
	event_base_dispatch(base);
	assert_int_equal(counters_get(counters, COUNTER_PARKED), 0);
	assert_true(is_over(fd));
	assert_true(slot_get(6, 0, &got));
	gnutls_free(got.data);
	close(fd);
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_ticket_that_comes_later_resumes, setup, teardown),
	    cmocka_unit_test_setup_teardown(after_four_no_more_is_awaited, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_ticket_ends_the_waiting, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_lifetime_of_nothing_is_not_kept, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_oldest_makes_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(after_a_ticket_it_waits_a_second, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
