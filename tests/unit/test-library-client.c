// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* Many handshakes on one connection to the daemon: each ends once, with the true outcome. */
#include "library-fixture.h"

static struct fake fake;
static struct handshake_client *client;
static int daemon_fd;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, 16);
	client = handshake_client_new(fake.path);
	assert_non_null(client);
	daemon_fd = fake_accept(&fake);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_client_free(client);
	client = NULL;
	if (daemon_fd >= 0)
		close(daemon_fd);
	fake_close(&fake);
	return 0;
}

static struct handshake *started(int fd)
{
	struct handshake *h = handshake_new();

	assert_int_equal(handshake_client_start(client, h, fd), 0);
	return h;
}

static void assert_ends(struct handshake *h)
{
	struct handshake *ended = NULL;

	assert_int_equal(handshake_client_process(client, &ended), 1);
	assert_ptr_equal(ended, h);
}

static void assert_nothing_moves(void)
{
	struct handshake *ended;

	assert_int_equal(handshake_client_process(client, &ended), 0);
}

/* Starts handshakes until one has to wait in the library. Gives how many were sent. */
static size_t fill(int fd, struct handshake **h, size_t count)
{
	size_t sent = 0;

	for (size_t i = 0; i < count; i++) {
		h[i] = started(fd);
		sent += h[i]->stage == STAGE_SENT;
	}
	assert_in_range(sent, 1, count - 2);
	assert_int_equal(handshake_client_events(client), POLLIN | POLLOUT);
	return sent;
}

static void free_all(struct handshake **h, size_t count)
{
	for (size_t i = 0; i < count; i++)
		handshake_free(h[i]);
}

#define MANY 1000

static void answers_in_any_order_find_their_handshakes(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h[3];
	char id[3][24];

	(void)state;
	for (int i = 0; i < 3; i++) {
		h[i] = started(pair.ours);
		fake_take_id(daemon_fd, id[i], sizeof(id[i]));
	}
	assert_int_equal(handshake_client_events(client), POLLIN);
	assert_nothing_moves();
	fake_reply(daemon_fd, id[2], ESTABLISHED_KERNEL);
	fake_reply(daemon_fd, id[0],
		   "outcome=untouched\nclass=denied\nerror=the profile is not for you\nretry=no\n");
	assert_ends(h[2]);
	assert_ends(h[0]);
	assert_nothing_moves();
	assert_int_equal(handshake_outcome(h[2]), HANDSHAKE_ESTABLISHED);
	assert_failed(h[0], HANDSHAKE_UNTOUCHED, "denied", EACCES);
	assert_string_equal(handshake_error(h[0]), "the profile is not for you");
	fake_reply(daemon_fd, id[1],
		   "outcome=poisoned\nclass=verification\nerror=expired\nretry=no\n"
		   "verification=the certificate has expired\n");
	assert_ends(h[1]);
	assert_failed(h[1], HANDSHAKE_POISONED, "verification", EKEYREJECTED);
	free_all(h, 3);
	pair_close(pair);
}

static void a_handshake_is_with_one_client_at_a_time(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours);

	(void)state;
	assert_int_equal(handshake_client_start(client, h, pair.ours), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(handshake_set_alpn(h, "h2"), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_PENDING);
	handshake_free(h); /* gives up what is under way */
	assert_nothing_moves();
	pair_close(pair);
}

static void ignores_answers_that_nobody_waits_for(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), before;
	char id[24];

	(void)state;
	fake_take_id(daemon_fd, id, sizeof(id));
	before = open_descriptors();
	fake_reply(daemon_fd, "999", ESTABLISHED_KERNEL);
	fake_reply(daemon_fd, "x", ESTABLISHED_KERNEL);
	fake_reply(daemon_fd, "-1", ESTABLISHED_KERNEL);
	fake_send(daemon_fd, &null, 1, "handshake/1 reply\nid=998\noutcome=established\n");
	fake_send(daemon_fd, NULL, 0, "handshake/1 news-of-a-later-version\nid=1\n");
	assert_nothing_moves();
	assert_int_equal(open_descriptors(), before);
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	assert_ends(h);
	handshake_free(h);
	close(null);
	pair_close(pair);
}

static void packets_without_end_do_not_hold_the_program(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours);
	struct pollfd polled = {.fd = handshake_client_fd(client), .events = POLLIN};
	unsigned int calls = 0;
	char id[24];

	(void)state;
	fake_take_id(daemon_fd, id, sizeof(id));
	fake_fill(daemon_fd);
	assert_nothing_moves();
	assert_int_equal(poll(&polled, 1, 0), 1); /* there is more: it will be called again */
	for (; poll(&polled, 1, 0) == 1; calls++)
		assert_nothing_moves();
	assert_true(calls > 0);
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	assert_ends(h);
	handshake_free(h);
	pair_close(pair);
}

static void a_cancelled_handshake_ends_at_once_and_its_answer_is_ignored(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours), *other = started(pair.ours);
	struct message message;
	char id[24], other_id[24];

	(void)state;
	fake_take_id(daemon_fd, id, sizeof(id));
	fake_take_id(daemon_fd, other_id, sizeof(other_id));
	assert_int_equal(handshake_client_cancel(client, h), 0);
	assert_failed(h, HANDSHAKE_POISONED, "cancelled", ECANCELED);
	assert_int_equal(handshake_client_cancel(client, h), -1);
	assert_int_equal(errno, EINVAL);
	assert_true(fake_receive(daemon_fd, &message));
	assert_string_equal(message.operation, "cancel");
	assert_string_equal(message_get(&message, "id", 0), id);
	message_done(&message);
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	fake_reply(daemon_fd, other_id, ESTABLISHED_KERNEL);
	assert_ends(other);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_POISONED);
	handshake_free(h);
	handshake_free(other);
	pair_close(pair);
}

static void a_full_queue_delays_requests_and_loses_none(void **state)
{
	struct pair pair = pair_open();
	static struct handshake *h[MANY];
	struct handshake *ended;
	size_t answered = 0;
	char id[24];

	(void)state;
	fill(pair.ours, h, MANY);
	while (answered < MANY) {
		int r;

		fake_take_id(daemon_fd, id, sizeof(id));
		fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
		while ((r = handshake_client_process(client, &ended)) == 1) {
			assert_ptr_equal(ended, h[answered]);
			assert_int_equal(handshake_outcome(ended), HANDSHAKE_ESTABLISHED);
			answered++;
		}
		assert_int_equal(r, 0);
	}
	assert_int_equal(handshake_client_events(client), POLLIN);
	free_all(h, MANY);
	pair_close(pair);
}

static void a_request_that_never_left_is_cancelled_untouched(void **state)
{
	struct pair pair = pair_open();
	static struct handshake *h[MANY];

	(void)state;
	fill(pair.ours, h, MANY);
	assert_int_equal(handshake_client_cancel(client, h[MANY - 1]), 0);
	assert_failed(h[MANY - 1], HANDSHAKE_UNTOUCHED, "cancelled", ECANCELED);
	free_all(h, MANY);
	pair_close(pair);
}

static void cancellations_wait_for_room_in_the_queue(void **state)
{
	struct pair pair = pair_open();
	static struct handshake *h[MANY];
	struct message message;
	size_t sent, requests = 0, cancels = 0;

	(void)state;
	sent = fill(pair.ours, h, MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(handshake_client_cancel(client, h[i]), 0);
	while (cancels < sent) {
		assert_true(fake_receive(daemon_fd, &message));
		requests += strcmp(message.operation, "handshake") == 0;
		cancels += strcmp(message.operation, "cancel") == 0;
		message_done(&message);
		assert_nothing_moves();
	}
	assert_int_equal(requests, sent);
	assert_int_equal(handshake_client_events(client), POLLIN);
	free_all(h, MANY);
	pair_close(pair);
}

static void when_the_daemon_dies_each_outcome_is_true(void **state)
{
	struct pair pair = pair_open();
	static struct handshake *h[MANY];
	struct handshake *ended;
	size_t sent, untouched = 0, poisoned = 0;
	int r;

	(void)state;
	sent = fill(pair.ours, h, MANY);
	close(daemon_fd);
	daemon_fd = -1;
	while ((r = handshake_client_process(client, &ended)) == 1) {
		assert_string_equal(handshake_result(ended, "class", 0), "unavailable");
		assert_int_equal(handshake_may_retry(ended), 1);
		untouched += handshake_outcome(ended) == HANDSHAKE_UNTOUCHED;
		poisoned += handshake_outcome(ended) == HANDSHAKE_POISONED;
	}
	assert_int_equal(r, -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(poisoned, sent);
	assert_int_equal(untouched, MANY - sent);
	assert_int_equal(handshake_client_start(client, h[0], pair.ours), -1);
	assert_failed(h[0], HANDSHAKE_UNTOUCHED, "unavailable", EPIPE);
	free_all(h, MANY);
	pair_close(pair);
}

static void answers_that_came_before_the_daemon_died_count(void **state)
{
	struct pair pair = pair_open();
	struct handshake *first = started(pair.ours), *second = started(pair.ours), *ended;
	char id[24];

	(void)state;
	/* The second request lies unread when the daemon closes: the kernel reports a reset. */
	fake_take_id(daemon_fd, id, sizeof(id));
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	close(daemon_fd);
	daemon_fd = -1;
	assert_ends(first);
	assert_int_equal(handshake_outcome(first), HANDSHAKE_ESTABLISHED);
	assert_ends(second);
	assert_failed(second, HANDSHAKE_POISONED, "unavailable", ECONNRESET);
	assert_int_equal(handshake_client_process(client, &ended), -1);
	handshake_free(first);
	handshake_free(second);
	pair_close(pair);
}

static void start_finds_a_dead_daemon_and_keeps_its_last_answers(void **state)
{
	struct pair pair = pair_open();
	struct handshake *first = started(pair.ours), *second = handshake_new();
	char id[24];

	(void)state;
	fake_take_id(daemon_fd, id, sizeof(id));
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	close(daemon_fd);
	daemon_fd = -1;
	assert_int_equal(handshake_client_start(client, second, pair.ours), -1);
	assert_failed(second, HANDSHAKE_UNTOUCHED, "unavailable", EPIPE);
	assert_ends(first);
	assert_int_equal(handshake_outcome(first), HANDSHAKE_ESTABLISHED);
	handshake_free(first);
	handshake_free(second);
	pair_close(pair);
}

static void garbage_from_the_daemon_ends_everything(void **state)
{
	static const char *const garbage[] = {"handshake/2 reply\n", "GET / HTTP/1.1\r\n\r\n",
					      "handshake/1 reply\nid=%zz\n"};
	struct pair pair = pair_open();

	for (size_t i = 0; i < 3; i++) {
		struct handshake *h = started(pair.ours), *ended;
		struct message message;

		fake_send(daemon_fd, NULL, 0, garbage[i]);
		assert_ends(h);
		assert_failed(h, HANDSHAKE_POISONED, "internal", EPROTO);
		assert_int_equal(handshake_client_process(client, &ended), -1);
		assert_int_equal(errno, EPROTO);
		/* The daemon sees the end although the client object lives. */
		while (fake_receive(daemon_fd, &message))
			message_done(&message);
		handshake_free(h);
		teardown(state);
		setup(state);
	}
	pair_close(pair);
}

static void too_large_an_answer_ends_everything(void **state)
{
	static char large[HANDSHAKE_PACKET_SIZE + 1];
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours);

	(void)state;
	memset(large, 'a', sizeof(large));
	assert_int_equal(send(daemon_fd, large, sizeof(large), 0), sizeof(large));
	assert_ends(h);
	assert_failed(h, HANDSHAKE_POISONED, "internal", EPROTO);
	assert_says(h, "larger than");
	handshake_free(h);
	pair_close(pair);
}

static void what_the_daemon_said_to_nobody_is_quoted_when_it_closes(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h = started(pair.ours);

	(void)state;
	fake_send(daemon_fd, NULL, 0,
		  "handshake/1 reply\noutcome=untouched\nclass=busy\nerror=too many of you\n");
	shutdown(daemon_fd, SHUT_RDWR);
	assert_ends(h);
	assert_failed(h, HANDSHAKE_POISONED, "unavailable", ECONNRESET);
	assert_says(h, ": too many of you");
	handshake_free(h);
	pair_close(pair);
}

static void a_relay_takes_the_number_and_the_flags_of_the_socket(void **state)
{
	const struct timeval timeout = {7, 0};
	const char relay_state[2] = {0, 0};
	struct timeval found;
	socklen_t size = sizeof(found);

	(void)state;
	for (int i = 0; i < 4; i++) {
		bool nonblocking = i & 1, inherited = i & 2;
		struct pair pair = pair_open(), relay = pair_open();
		int fds[] = {relay.ours, memfd_of(relay_state, sizeof(relay_state))};
		struct handshake *h;
		struct stat before, after;
		char id[24], text[512];
		int count;

		fcntl(pair.ours, F_SETFL, nonblocking ? O_NONBLOCK : 0);
		fcntl(pair.ours, F_SETFD, inherited ? 0 : FD_CLOEXEC);
		fcntl(relay.ours, F_SETFL, nonblocking ? 0 : O_NONBLOCK); /* the other way round */
		setsockopt(pair.ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
		h = started(pair.ours);
		fake_take_id(daemon_fd, id, sizeof(id));
		snprintf(text, sizeof(text), "handshake/1 reply\nid=%s\n" ESTABLISHED_RELAY, id);
		fake_send(daemon_fd, fds, 2, text);
		fstat(relay.ours, &before);
		close(fds[0]);
		close(fds[1]);
		count = open_descriptors();
		assert_ends(h);
		assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
		assert_int_equal(open_descriptors(), count + 1); /* the state */
		fstat(pair.ours, &after);
		assert_int_equal(before.st_ino, after.st_ino);
		assert_int_equal(fcntl(pair.ours, F_GETFD), inherited ? 0 : FD_CLOEXEC);
		assert_int_equal(fcntl(pair.ours, F_GETFL) & O_NONBLOCK,
				 nonblocking ? O_NONBLOCK : 0);
		assert_int_equal(getsockopt(pair.ours, SOL_SOCKET, SO_RCVTIMEO, &found, &size), 0);
		assert_int_equal(found.tv_sec, 7);
		handshake_free(h);
		assert_int_equal(open_descriptors(), count);
		close(relay.theirs);
		pair_close(pair);
	}
}

static void freeing_the_client_ends_what_is_under_way(void **state)
{
	struct pair pair = pair_open();
	static struct handshake *h[MANY];
	size_t sent;
	char id[24];

	(void)state;
	sent = fill(pair.ours, h, MANY);
	fake_take_id(daemon_fd, id, sizeof(id));
	fake_reply(daemon_fd, id, ESTABLISHED_KERNEL);
	handshake_client_free(client);
	client = NULL;
	for (size_t i = 0; i < MANY; i++)
		assert_failed(h[i], i < sent ? HANDSHAKE_POISONED : HANDSHAKE_UNTOUCHED,
			      "cancelled", ECANCELED);
	handshake_client_free(NULL);
	free_all(h, MANY);
	pair_close(pair);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(answers_in_any_order_find_their_handshakes),
	    T(a_handshake_is_with_one_client_at_a_time),
	    T(ignores_answers_that_nobody_waits_for),
	    T(packets_without_end_do_not_hold_the_program),
	    T(a_cancelled_handshake_ends_at_once_and_its_answer_is_ignored),
	    T(a_full_queue_delays_requests_and_loses_none),
	    T(a_request_that_never_left_is_cancelled_untouched),
	    T(cancellations_wait_for_room_in_the_queue),
	    T(when_the_daemon_dies_each_outcome_is_true),
	    T(answers_that_came_before_the_daemon_died_count),
	    T(start_finds_a_dead_daemon_and_keeps_its_last_answers),
	    T(garbage_from_the_daemon_ends_everything),
	    T(too_large_an_answer_ends_everything),
	    T(what_the_daemon_said_to_nobody_is_quoted_when_it_closes),
	    T(a_relay_takes_the_number_and_the_flags_of_the_socket),
	    T(freeing_the_client_ends_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
