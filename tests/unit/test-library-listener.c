// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* Listening: what the daemon established is taken, its end is noticed, nothing is leaked. */
#include "library-fixture.h"

#include <pthread.h>
#include <sys/resource.h>

static struct fake fake;
static struct pair socket_pair; /* stands for the listening socket */
static struct handshake *request;
static struct handshake_listener *listener;
static int daemon_fd, descriptors;

static int setup(void **state)
{
	(void)state;
	descriptors = open_descriptors();
	fake_open(&fake, 16);
	socket_pair = pair_open();
	request = handshake_new();
	daemon_fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_listener_free(listener);
	listener = NULL;
	handshake_free(request);
	if (daemon_fd >= 0)
		close(daemon_fd);
	pair_close(socket_pair);
	fake_close(&fake);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

/* Takes the request and answers with the text. */
static void *daemon_answers(void *argument)
{
	struct message message;

	daemon_fd = fake_accept(&fake);
	assert_true(fake_receive(daemon_fd, &message));
	assert_string_equal(message.operation, "listen");
	assert_string_equal(message_get(&message, "role", 0), "server");
	assert_string_equal(message_get(&message, "id", 0), "1");
	assert_int_equal(message.fd_count, 1);
	message_done(&message);
	if (argument)
		fake_send(daemon_fd, NULL, 0, argument);
	else
		shutdown(daemon_fd, SHUT_RDWR);
	return NULL;
}

static void begin(const char *answer)
{
	pthread_t thread;

	pthread_create(&thread, NULL, daemon_answers, (void *)answer);
	listener = handshake_listener_new(fake.path, request, socket_pair.ours);
	pthread_join(thread, NULL);
}

static void deliver(const char *lines, const int *fds, size_t count)
{
	char text[1024];

	snprintf(text, sizeof(text), "handshake/1 connection\n%s", lines);
	fake_send(daemon_fd, fds, count, text);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

#define CONNECTION ESTABLISHED_KERNEL "peer=192.0.2.1:40000\ndescriptors=connection\n"

static void gives_connections_in_order_with_their_results(void **state)
{
	struct handshake *h;
	int fd;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	assert_non_null(listener);
	assert_string_equal(handshake_error(request), "");
	assert_int_equal(request->role, HANDSHAKE_CLIENT); /* the pattern is not changed */
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 0);
	for (int i = 0; i < 2; i++) {
		struct pair pair = pair_open();

		fcntl(pair.ours, F_SETFL, O_NONBLOCK);
		deliver(CONNECTION, &pair.ours, 1);
		assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
		assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
		assert_string_equal(handshake_result(h, "peer", 0), "192.0.2.1:40000");
		assert_int_equal(h->role, HANDSHAKE_SERVER);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
		assert_int_equal(write(pair.theirs, "x", 1), 1);
		close(pair.theirs);
		close(fd);
		handshake_free(h);
	}
	fake_send(daemon_fd, NULL, 0, "handshake/1 of-a-later-version\n");
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 0);
}

static void a_refusal_is_in_the_request(void **state)
{
	(void)state;
	begin(
	    "handshake/1 reply\nid=1\noutcome=untouched\nclass=denied\nerror=not you\nretry=no\n");
	assert_null(listener);
	assert_int_equal(errno, EACCES);
	assert_failed(request, HANDSHAKE_UNTOUCHED, "denied", EACCES);
	assert_string_equal(handshake_error(request), "not you");
}

static void an_answer_that_cannot_be_is_refused(void **state)
{
	(void)state;
	begin("handshake/1 reply\nid=1\n" ESTABLISHED_KERNEL);
	assert_null(listener);
	assert_failed(request, HANDSHAKE_UNTOUCHED, "internal", EIO);
	close(daemon_fd);
	begin("handshake/9 listening\n");
	assert_null(listener);
	assert_failed(request, HANDSHAKE_UNTOUCHED, "internal", EIO);
}

static void a_daemon_that_goes_or_is_not_there_is_told(void **state)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	begin(NULL);
	assert_null(listener);
	assert_failed(request, HANDSHAKE_UNTOUCHED, "unavailable", ECONNRESET);
	assert_null(handshake_listener_new("/nonexistent/socket", request, socket_pair.ours));
	assert_int_equal(errno, ENOENT);
	assert_says(request, "is handshaked running?");
	assert_null(handshake_listener_new(fake.path, request, null));
	assert_failed(request, HANDSHAKE_UNTOUCHED, "request", ENOTSOCK);
	close(null);
}

static void a_connection_may_overtake_the_agreement(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h;
	int fd;

	(void)state;
	/* The thread sends it without a descriptor first: that is no agreement. */
	begin("handshake/1 connection\n" CONNECTION);
	assert_null(listener);
	close(daemon_fd);
	begin("handshake/1 listening\nid=1\n");
	deliver(CONNECTION, &pair.ours, 1);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
	handshake_free(h);
	close(fd);
	close(pair.theirs);
}

static void *daemon_overtakes(void *argument)
{
	struct pair *pair = argument;
	struct message message;

	daemon_fd = fake_accept(&fake);
	assert_true(fake_receive(daemon_fd, &message));
	message_done(&message);
	fake_send(daemon_fd, &pair->ours, 1, "handshake/1 connection\n" CONNECTION);
	fake_send(daemon_fd, NULL, 0, "handshake/1 listening\nid=1\n");
	return NULL;
}

static void the_connection_that_overtook_is_not_lost(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h;
	pthread_t thread;
	int fd;

	(void)state;
	for (int take = 1; take >= 0; take--) {
		pthread_create(&thread, NULL, daemon_overtakes, &pair);
		listener = handshake_listener_new(fake.path, request, socket_pair.ours);
		pthread_join(thread, NULL);
		assert_non_null(listener);
		if (take) {
			assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
			assert_int_equal(handshake_listener_accept(listener, &h, &fd), 0);
			handshake_free(h);
			close(fd);
			handshake_listener_free(listener);
			listener = NULL;
			close(daemon_fd);
		}
	}
	pair_close(pair);
}

static void the_daemons_end_is_noticed(void **state)
{
	struct pair pair = pair_open();
	struct handshake *h;
	int fd;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	deliver(CONNECTION, &pair.ours, 1);
	close(daemon_fd);
	daemon_fd = -1;
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
	handshake_free(h);
	close(fd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(handshake_listener_accept(listener, &h, &fd), -1);
		assert_int_equal(errno, EPIPE);
	}
	close(pair.theirs);
}

static void a_connection_without_descriptor_ends_the_listening(void **state)
{
	struct handshake *h;
	int fd;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	deliver(CONNECTION, NULL, 0);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), -1);
	assert_int_equal(errno, EPROTO);
}

static void at_the_descriptor_limit_one_connection_is_lost_and_no_more(void **state)
{
	struct pair first = pair_open(), second = pair_open();
	struct rlimit limit, low;
	struct handshake *h;
	int fd, error;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	deliver(CONNECTION, &first.ours, 1);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &low);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), -1);
	error = errno;
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(error, EMFILE);
	deliver(CONNECTION, &second.ours, 1);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
	handshake_free(h);
	close(fd);
	close(first.theirs);
	close(second.theirs);
}

static void packets_without_end_do_not_hold_the_program(void **state)
{
	struct pair first = pair_open();
	struct handshake *h;
	int fd, r;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	fake_fill(daemon_fd);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 0);
	assert_true(recv(handshake_listener_fd(listener), &r, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
	while (recv(handshake_listener_fd(listener), &r, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		assert_int_equal(handshake_listener_accept(listener, &h, &fd), 0);
	deliver(CONNECTION, &first.ours, 1);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
	handshake_free(h);
	close(fd);
	close(first.theirs);
}

static void a_relayed_connection_comes_with_its_relay(void **state)
{
	const char relay_state[2] = {HANDSHAKE_RELAY_CLOSE_NOTIFY, 0};
	struct pair relay = pair_open();
	int fds[] = {relay.ours, memfd_of(relay_state, 2), memfd_of("chain", 5)};
	struct handshake *h;
	char buffer[4];
	int fd;

	(void)state;
	begin("handshake/1 listening\nid=1\n");
	deliver("outcome=established\ntransmit=relay\nreceive=relay\n"
		"descriptors=relay,relay-state,chain\n",
		fds, 3);
	assert_int_equal(handshake_listener_accept(listener, &h, &fd), 1);
	assert_string_equal(handshake_peer_chain(h), "chain");
	assert_int_equal(write(relay.theirs, "data", 4), 4);
	assert_int_equal(handshake_recv(h, fd, buffer, 4), 4);
	close(relay.theirs);
	assert_int_equal(handshake_recv(h, fd, buffer, 4), 0);
	handshake_free(h);
	close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(gives_connections_in_order_with_their_results),
	    T(a_refusal_is_in_the_request),
	    T(an_answer_that_cannot_be_is_refused),
	    T(a_daemon_that_goes_or_is_not_there_is_told),
	    T(a_connection_may_overtake_the_agreement),
	    T(the_connection_that_overtook_is_not_lost),
	    T(the_daemons_end_is_noticed),
	    T(a_connection_without_descriptor_ends_the_listening),
	    T(at_the_descriptor_limit_one_connection_is_lost_and_no_more),
	    T(packets_without_end_do_not_hold_the_program),
	    T(a_relayed_connection_comes_with_its_relay),
	};

	handshake_listener_free(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
