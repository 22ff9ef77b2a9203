// SPDX-License-Identifier: LGPL-2.1-or-later
/* A key update in a worker, with a kernel in the test's hand: what is changed, what is not, and that the
 * answer always says which. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign.h"
#include "key-schedule.h"
#include "key-update.h"

/* ---- The kernel and the secrets ------------------------------------------------------------ */

static struct {
	uint8_t keys[2][32]; /* [enum offload_direction] */
	int refuses[2];      /* an errno */
	bool forgets;        /* a refused key is lost, too */
	unsigned updates[2];
} kernel;

int offload_kernel_holds(int fd, const struct traffic_keys *keys, enum offload_direction direction)
{
	const struct traffic_direction *one =
	    direction == OFFLOAD_TRANSMIT ? &keys->transmit : &keys->receive;

	(void)fd;
	return memcmp(kernel.keys[direction], one->key, keys->key_size) == 0;
}

int offload_kernel_update(int fd, const struct traffic_keys *keys, enum offload_direction direction)
{
	const struct traffic_direction *one =
	    direction == OFFLOAD_TRANSMIT ? &keys->transmit : &keys->receive;

	(void)fd;
	assert_int_equal(one->sequence, 0);
	if (kernel.refuses[direction]) {
		if (kernel.forgets)
			memset(kernel.keys[direction], 0, 32);
		return -kernel.refuses[direction];
	}
	memcpy(kernel.keys[direction], one->key, 32);
	kernel.updates[direction]++;
	return 0;
}

unsigned secrets_get(const struct secrets *secrets, enum secret_kind kind,
		     struct secret ret_secrets[SECRET_EPOCHS])
{
	(void)secrets;
	(void)kind;
	memset(ret_secrets, 7, SECRET_EPOCHS * sizeof(ret_secrets[0]));
	return 1;
}

/* ---- One connection ------------------------------------------------------------------------ */

static struct {
	struct event_base *base;
	struct counters *counters;
	struct kernel_tls kernel;
	struct handshake_surroundings surroundings;
	int ours, theirs;
	struct key_token token;
	char text[TOKEN_TEXT_SIZE];
	struct key_update_result result;
	bool done;
} test;

static void tcp_pair(int *ret_one, int *ret_other)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM, 0);
	const int small = 4096;
	int r;

	setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)); /* soon full */
	assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
	*ret_one = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(*ret_one, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	/* The watchdog of the test before may tick yet (foreign.h); asked again, both wait on. */
	do {
		r = connect(*ret_one, (struct sockaddr *)&address, size);
	} while (r < 0 && errno == EINTR);
	assert_int_equal(r, 0);
	do {
		*ret_other = accept(listening, NULL, NULL);
	} while (*ret_other < 0 && errno == EINTR);
	assert_true(*ret_other >= 0);
	close(listening);
}

static int setup(void **state)
{
	struct traffic_keys *keys = &test.token.keys;

	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	memset(&test, 0, sizeof(test));
	test.base = event_base_new();
	test.counters = counters_new();
	test.kernel.rekeys = true;
	test.surroundings.base = test.base;
	test.surroundings.kernel = &test.kernel;
	test.surroundings.secrets = (const struct secrets *)&test; /* never looked into */
	tcp_pair(&test.ours, &test.theirs);
	keys->version = CONFIG_TLS13;
	keys->cipher = CONFIG_AES_256_GCM;
	keys->key_size = 32;
	keys->secret_size = 48;
	memset(keys->transmit.secret, 1, 48);
	memset(keys->receive.secret, 2, 48);
	assert_int_equal(key_schedule_derive(keys, &keys->transmit), 0);
	assert_int_equal(key_schedule_derive(keys, &keys->receive), 0);
	memcpy(kernel.keys[OFFLOAD_TRANSMIT], keys->transmit.key, 32);
	memcpy(kernel.keys[OFFLOAD_RECEIVE], keys->receive.key, 32);
	test.token.uid = 1000;
	test.token.made = time(NULL);
	assert_int_equal(key_token_identify_socket(test.ours, &test.token.socket), 0);
	assert_int_equal(key_token_seal(NULL, &test.token, test.text), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(test.ours);
	close(test.theirs);
	event_base_free(test.base);
	counters_free(test.counters);
	return 0;
}

static void note(void *context, const struct key_update_result *result)
{
	(void)context;
	assert_false(test.done);
	test.done = true;
	test.result = *result;
}

static struct key_update *begin(uid_t uid, int fd, const struct key_update_order *order,
				struct failure *failure)
{
	test.done = false;
	return key_update_start(&test.surroundings, test.counters, uid, test.text, fd, order, note,
				NULL, failure);
}

/* To its end. */
static void run(const struct key_update_order *order)
{
	struct failure failure = {0};

	assert_non_null(begin(1000, test.ours, order, &failure));
	assert_false(test.done); /* never from within start */
	while (!test.done)
		assert_true(event_base_loop(test.base, EVLOOP_ONCE) >= 0);
}

static const struct key_update_order receive = {.receive = true, .timeout_ms = 5000},
				     transmit = {.transmit = true, .timeout_ms = 5000},
				     both = {.receive = true, .transmit = true, .timeout_ms = 5000};

static void assert_result(enum outcome_state state, bool received, bool transmitted,
			  enum failure_class class)
{
	assert_int_equal(test.result.state, state);
	assert_int_equal(test.result.received, received);
	assert_int_equal(test.result.transmitted, transmitted);
	assert_int_equal(test.result.failure.class, class);
	assert_int_equal(*test.result.token != '\0', state == OUTCOME_ESTABLISHED);
	/* The claim is given back, however it ended. */
	assert_true(counters_claim_socket(test.counters, test.token.socket.cookie));
	counters_release_socket(test.counters, test.token.socket.cookie);
}

static void assert_peer_got(const char *message, size_t size)
{
	char got[16];

	assert_int_equal(recv(test.theirs, got, sizeof(got), MSG_DONTWAIT), size ? (int)size : -1);
	assert_memory_equal(got, message, size);
}

/* ---- Tests --------------------------------------------------------------------------------- */

static void each_direction_is_updated_by_itself(void **state)
{
	(void)state;
	run(&receive);
	assert_result(OUTCOME_ESTABLISHED, true, false, FAILURE_NONE);
	assert_peer_got("", 0);
	strcpy(test.text, test.result.token);
	run(&transmit);
	assert_result(OUTCOME_ESTABLISHED, false, true, FAILURE_NONE);
	assert_peer_got("\x18\0\0\1\0", 5);
	strcpy(test.text, test.result.token);
	run(&both);
	assert_result(OUTCOME_ESTABLISHED, true, true, FAILURE_NONE);
	assert_peer_got("\x18\0\0\1\0", 5);
	assert_int_equal(kernel.updates[OFFLOAD_TRANSMIT], 2);
	assert_int_equal(kernel.updates[OFFLOAD_RECEIVE], 2);
}

static void it_asks_for_the_peers_update(void **state)
{
	struct key_update_order order = transmit;

	(void)state;
	order.ask = true;
	run(&order);
	assert_result(OUTCOME_ESTABLISHED, false, true, FAILURE_NONE);
	assert_peer_got("\x18\0\0\1\1", 5);
}

static void a_thousand_updates_follow_each_other(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		run(&both);
		assert_result(OUTCOME_ESTABLISHED, true, true, FAILURE_NONE);
		assert_peer_got("\x18\0\0\1\0", 5);
		strcpy(test.text, test.result.token);
	}
}

static void a_token_works_once(void **state)
{
	(void)state;
	run(&transmit);
	assert_peer_got("\x18\0\0\1\0", 5);
	run(&transmit);
	assert_result(OUTCOME_UNTOUCHED, false, false, FAILURE_DENIED);
	run(&both);
	assert_result(OUTCOME_UNTOUCHED, false, false, FAILURE_DENIED);
	assert_peer_got("", 0);
	assert_int_equal(kernel.updates[OFFLOAD_RECEIVE], 0);
}

static void others_are_refused(void **state)
{
	struct failure failure = {0};
	int one, other;

	(void)state;
	assert_null(begin(1001, test.ours, &transmit, &failure));
	assert_int_equal(failure.class, FAILURE_DENIED);
	assert_non_null(strstr(failure.sentence, "another user"));
	tcp_pair(&one, &other);
	memset(&failure, 0, sizeof(failure));
	assert_null(begin(1000, one, &transmit, &failure));
	assert_non_null(strstr(failure.sentence, "another socket"));
	close(one);
	close(other);
	test.kernel.rekeys = false;
	memset(&failure, 0, sizeof(failure));
	assert_null(begin(1000, test.ours, &transmit, &failure));
	assert_int_equal(failure.class, FAILURE_UNSUPPORTED);
	assert_non_null(strstr(failure.sentence, "6.14"));
	assert_peer_got("", 0);
}

static void the_superuser_may(void **state)
{
	struct failure failure = {0};

	(void)state;
	assert_non_null(begin(0, test.ours, &transmit, &failure));
	while (!test.done)
		event_base_loop(test.base, EVLOOP_ONCE);
	assert_result(OUTCOME_ESTABLISHED, false, true, FAILURE_NONE);
}

static void a_kernel_that_refuses_the_receive_key_changes_nothing(void **state)
{
	(void)state;
	kernel.refuses[OFFLOAD_RECEIVE] = EBUSY;
	run(&both);
	assert_result(OUTCOME_UNTOUCHED, false, false, FAILURE_UNSUPPORTED);
	assert_peer_got("", 0);
	kernel.forgets = true;
	run(&both);
	assert_result(OUTCOME_POISONED, false, false, FAILURE_UNSUPPORTED);
}

static void a_kernel_that_refuses_the_transmit_key_poisons(void **state)
{
	(void)state;
	kernel.refuses[OFFLOAD_TRANSMIT] = ENOMEM;
	run(&both);
	assert_result(OUTCOME_POISONED, true, false, FAILURE_INTERNAL);
	assert_peer_got("\x18\0\0\1\0", 5); /* it was told, and cannot be told otherwise */
}

static void fill(void)
{
	static char bytes[1 << 16];

	/* What is on its way may make room once more. */
	for (int quiet = 0; quiet < 100; quiet++) {
		while (send(test.ours, bytes, quiet ? 1 : sizeof(bytes), MSG_DONTWAIT) > 0)
			quiet = 0;
		assert_int_equal(errno, EAGAIN);
		usleep(2000);
	}
}

static void a_peer_that_takes_nothing_costs_the_time_and_no_more(void **state)
{
	struct key_update_order order = transmit;

	(void)state;
	fill();
	order.timeout_ms = 50;
	run(&order);
	assert_result(OUTCOME_UNTOUCHED, false, false, FAILURE_TIMEOUT);
	order.receive = true;
	run(&order);
	assert_result(OUTCOME_ESTABLISHED, true, false, FAILURE_TIMEOUT);
}

static void it_goes_on_when_the_peer_takes_again(void **state)
{
	struct failure failure = {0};
	char bytes[1 << 16];

	(void)state;
	fill();
	assert_non_null(begin(1000, test.ours, &transmit, &failure));
	event_base_loop(test.base, EVLOOP_NONBLOCK);
	assert_false(test.done);
	while (!test.done) {
		while (recv(test.theirs, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		event_base_loop(test.base, EVLOOP_NONBLOCK);
	}
	assert_result(OUTCOME_ESTABLISHED, false, true, FAILURE_NONE);
}

/* Other sockets share its place, and another update may come first. */
static void who_waits_for_room_claims_nothing(void **state)
{
	struct failure failure = {0};
	char bytes[1 << 16];

	(void)state;
	fill();
	assert_non_null(begin(1000, test.ours, &both, &failure));
	event_base_loop(test.base, EVLOOP_NONBLOCK);
	assert_false(test.done);
	assert_true(counters_claim_socket(test.counters, test.token.socket.cookie));
	kernel.keys[OFFLOAD_TRANSMIT][0] ^= 1; /* by that other */
	while (recv(test.theirs, bytes, sizeof(bytes), 0) == sizeof(bytes))
		;
	for (int i = 0; i < 20; i++) {
		event_base_loop(test.base, EVLOOP_NONBLOCK);
		assert_false(test.done);
		usleep(1000);
	}
	counters_release_socket(test.counters, test.token.socket.cookie);
	while (!test.done)
		event_base_loop(test.base, EVLOOP_ONCE);
	assert_result(OUTCOME_ESTABLISHED, true, false, FAILURE_DENIED);
	assert_int_equal(kernel.updates[OFFLOAD_TRANSMIT], 0);
}

static void one_at_a_time_works_on_a_socket(void **state)
{
	struct key_update_order order = transmit;

	(void)state;
	assert_true(counters_claim_socket(test.counters, test.token.socket.cookie));
	order.timeout_ms = 50;
	run(&order);
	assert_int_equal(test.result.state, OUTCOME_UNTOUCHED);
	assert_int_equal(test.result.failure.class, FAILURE_TIMEOUT);
	assert_non_null(strstr(test.result.failure.sentence, "Another key update"));
	counters_release_socket(test.counters, test.token.socket.cookie);
	run(&transmit);
	assert_result(OUTCOME_ESTABLISHED, false, true, FAILURE_NONE);
}

static void a_peer_that_is_gone_is_told(void **state)
{
	const struct linger reset = {1, 0};
	struct failure failure = {0};

	(void)state;
	setsockopt(test.theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(test.theirs);
	test.theirs = dup(test.ours);
	/* Reset, a socket has no peer's address any more by which it could be known. */
	assert_null(begin(1000, test.ours, &transmit, &failure));
	assert_int_equal(failure.class, FAILURE_DENIED);
}

static void given_up_it_says_how_it_stood(void **state)
{
	struct failure failure = {0};
	struct key_update *update;

	(void)state;
	fill();
	update = begin(1000, test.ours, &both, &failure);
	assert_non_null(update);
	assert_int_equal(key_update_cancel(update), OUTCOME_UNTOUCHED);
	update = begin(1000, test.ours, &both, &failure);
	event_base_loop(test.base, EVLOOP_NONBLOCK);
	assert_false(test.done);
	assert_int_equal(key_update_cancel(update), OUTCOME_ESTABLISHED); /* receive was done */
	assert_true(counters_claim_socket(test.counters, test.token.socket.cookie));
}

#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(each_direction_is_updated_by_itself),
	    T(it_asks_for_the_peers_update),
	    T(a_thousand_updates_follow_each_other),
	    T(a_token_works_once),
	    T(others_are_refused),
	    T(the_superuser_may),
	    T(a_kernel_that_refuses_the_receive_key_changes_nothing),
	    T(a_kernel_that_refuses_the_transmit_key_poisons),
	    T(a_peer_that_takes_nothing_costs_the_time_and_no_more),
	    T(it_goes_on_when_the_peer_takes_again),
	    T(who_waits_for_room_claims_nothing),
	    T(one_at_a_time_works_on_a_socket),
	    T(a_peer_that_is_gone_is_told),
	    T(given_up_it_says_how_it_stood),
	};

	if (foreign_start(true) < 0) /* what the guards' alarm is for */
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
