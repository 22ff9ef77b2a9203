// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* The object, and the blocking handshake against a daemon that is not there, silent, or dies. */
#include "library-fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static struct fake fake;

static int setup(void **state)
{
	(void)state;
	fake_open(&fake, 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_close(&fake);
	return 0;
}

/* ---- Setters ------------------------------------------------------------------------------- */

static void refuses_what_the_protocol_cannot_carry(void **state)
{
	struct handshake *h = handshake_new();
	char name[300];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[254] = '\0';
	assert_int_equal(handshake_set_peer_name(h, name), -1);
	assert_int_equal(errno, EINVAL);
	assert_says(h, "longer than 253 bytes");
	name[253] = '\0';
	assert_int_equal(handshake_set_peer_name(h, name), 0);
	assert_string_equal(handshake_error(h), "");
	assert_int_equal(handshake_set_peer_name(h, "example.org."), -1);
	assert_int_equal(handshake_set_peer_name(h, "two words"), -1);
	assert_int_equal(handshake_set_peer_name(h, "line\nfeed"), -1);
	assert_string_equal(h->peer_name, name);
	assert_int_equal(handshake_set_peer_name(h, NULL), 0);
	assert_string_equal(h->peer_name, "");
	name[64] = '\0';
	assert_int_equal(handshake_set_profile(h, name), -1);
	assert_int_equal(handshake_set_profile(h, ""), -1);
	assert_int_equal(handshake_set_profile(h, name + 1), 0);
	assert_int_equal(handshake_set_psk_identity(h, "line\nfeed"), -1);
	assert_says(h, "control characters");
	assert_int_equal(handshake_set_psk_identity(h, "host:1 of a:b"), 0);
	assert_int_equal(handshake_set_psk_identity(h, NULL), 0);
	assert_int_equal(handshake_set_alpn(h, "h2,,http/1.1"), -1);
	assert_int_equal(handshake_set_alpn(h, "h2,"), -1);
	assert_int_equal(handshake_set_alpn(h, "h2,http/1.1"), 0);
	assert_int_equal(handshake_set_alpn(h, ""), 0);
	assert_null(h->alpn);
	assert_int_equal(handshake_set_timeout(h, UINT32_MAX), -1);
	assert_int_equal(handshake_set_timeout(h, INT32_MAX), 0);
	assert_int_equal(handshake_set_role(h, (enum handshake_role)3), -1);
	assert_int_equal(handshake_set_records(h, (enum handshake_records)3), -1);
	handshake_free(h);
	handshake_free(NULL);
}

static void asks_for_what_was_set(void **state)
{
	struct handshake *h = handshake_new();
	struct message_writer writer;

	(void)state;
	request_write(&writer, "handshake", 7, h);
	writer.text[writer.length] = '\0';
	assert_string_equal(writer.text,
			    "handshake/1 handshake\nid=7\nrole=client\nprofile=default\n");
	handshake_set_role(h, HANDSHAKE_SERVER);
	handshake_set_profile(h, "50% more");
	handshake_set_peer_name(h, "example.org");
	handshake_set_alpn(h, "h2,http/1.1");
	handshake_set_timeout(h, 5000);
	handshake_set_records(h, HANDSHAKE_RECORDS_RELAY);
	handshake_require_client_certificate(h);
	handshake_set_psk_identity(h, "me");
	request_write(&writer, "listen", 1, h);
	writer.text[writer.length] = '\0';
	assert_string_equal(
	    writer.text,
	    "handshake/1 listen\nid=1\nrole=server\nprofile=50%25 more\n"
	    "peer-name=example.org\nalpn=h2,http/1.1\npsk-identity=me\ntimeout-ms=5000\n"
	    "records=relay\nclient-certificates=require\n");
	handshake_free(h);
}

static void cuts_a_long_sentence_between_characters(void **state)
{
	struct handshake *h = handshake_new();
	char text[2 * ERROR_SIZE + 2];

	(void)state;
	for (int shift = 0; shift < 2; shift++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = (size_t)shift; i + 2 < sizeof(text); i += 2)
			memcpy(text + i, "ü", 2);
		text[sizeof(text) - 1] = '\0';
		error_clear(h);
		error_set(h, 0, "%s", text);
		/* A whole number of characters of two bytes, behind the shift. */
		assert_int_equal((strlen(h->error) - (size_t)shift) % 2, 0);
		assert_memory_equal(h->error, text, strlen(h->error));
	}
	error_set(h, 0, "a later one");
	assert_null(strstr(handshake_error(h), "later"));
	handshake_free(h);
}

/* ---- No daemon ----------------------------------------------------------------------------- */

static void without_a_daemon_the_socket_is_untouched(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();

	(void)state;
	assert_int_equal(handshake_perform(h, "/nonexistent/socket", pair.ours), -1);
	assert_int_equal(errno, ENOENT);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "unavailable", ENOENT);
	assert_says(h, "\"/nonexistent/socket\"");
	assert_says(h, "is handshaked running?");
	assert_int_equal(handshake_may_retry(h), 1);
	close(fake.listener); /* the path stays, nobody listens */
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "unavailable", ECONNREFUSED);
	fake.listener = -1;
	assert_int_equal(write(pair.ours, "plain", 5), 5);
	pair_close(pair);
	handshake_free(h);
}

static void finds_the_path_in_the_environment(void **state)
{
	(void)state;
	unsetenv("HANDSHAKED_SOCKET");
	assert_string_equal(link_path(NULL), "/run/handshaked/socket");
	setenv("HANDSHAKED_SOCKET", "", 1);
	assert_string_equal(link_path(NULL), "/run/handshaked/socket");
	setenv("HANDSHAKED_SOCKET", "/else", 1);
	assert_string_equal(link_path(NULL), "/else");
	assert_string_equal(link_path("/given"), "/given");
	unsetenv("HANDSHAKED_SOCKET");
}

static void refuses_a_path_that_is_too_long(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	char path[200] = "/";

	(void)state;
	memset(path + 1, 'a', 150);
	assert_int_equal(handshake_perform(h, path, pair.ours), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "unavailable", ENAMETOOLONG);
	pair_close(pair);
	handshake_free(h);
}

static void names_each_reason_that_keeps_from_the_daemon(void **state)
{
	struct handshake *h = handshake_new();

	(void)state;
	link_fail(h, "/s", EACCES);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "denied", EACCES);
	assert_int_equal(handshake_may_retry(h), 0);
	link_fail(h, "/s", EAGAIN);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "busy", EBUSY);
	assert_int_equal(handshake_may_retry(h), 1);
	link_fail(h, "/s", EMFILE);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "unavailable", EMFILE);
	assert_string_equal(handshake_result(h, "outcome", 0), "untouched");
	assert_string_equal(handshake_result(h, "retry", 0), "yes");
	assert_string_equal(handshake_result(h, "error", 0), handshake_error(h));
	handshake_free(h);
}

static void refuses_a_descriptor_that_is_no_socket(void **state)
{
	struct handshake *h = handshake_new();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(handshake_perform(h, fake.path, null), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "request", ENOTSOCK);
	close(null);
	assert_int_equal(handshake_perform(h, fake.path, null), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "request", EBADF);
	assert_int_equal(handshake_perform(h, fake.path, -1), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "request", EBADF);
	handshake_free(h);
}

static void refuses_a_request_larger_than_a_packet(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	char alpn[20000];

	(void)state;
	for (size_t i = 0; i < sizeof(alpn); i++)
		alpn[i] = i % 2 ? ',' : 'a';
	alpn[sizeof(alpn) - 1] = '\0';
	assert_int_equal(handshake_set_alpn(h, alpn), 0);
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "request", EMSGSIZE);
	assert_says(h, "16384");
	pair_close(pair);
	handshake_free(h);
}

/* ---- A daemon in a thread ------------------------------------------------------------------ */

static void *daemon_establishes(void *argument)
{
	int fd = fake_accept(&fake);
	struct message message;

	assert_true(fake_receive(fd, &message));
	usleep(50000); /* long enough for signals to arrive meanwhile */
	fake_reply(fd, message_get(&message, "id", 0), argument);
	message_done(&message);
	while (fake_receive(fd, &message))
		message_done(&message);
	close(fd);
	return NULL;
}

static void *daemon_dies(void *argument)
{
	int fd = fake_accept(&fake);
	struct message message;

	if (argument) { /* having read the request */
		assert_true(fake_receive(fd, &message));
		message_done(&message);
	}
	close(fd);
	return NULL;
}

static void *daemon_is_silent(void *argument)
{
	int fd = fake_accept(&fake);
	struct message message;

	(void)argument;
	while (fake_receive(fd, &message))
		message_done(&message);
	close(fd);
	return NULL;
}

static void performs_and_tells_what_is_known(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	pthread_t thread;
	const char *key, *value;

	(void)state;
	assert_int_equal(handshake_outcome(h), HANDSHAKE_PENDING);
	pthread_create(&thread, NULL, daemon_establishes,
		       (void *)ESTABLISHED_KERNEL
		       "peer-identity=dns:a\npeer-identity=dns:b\npeer-subject=CN=50%25\n");
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), 0);
	pthread_join(thread, NULL);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	assert_string_equal(handshake_error(h), "");
	assert_int_equal(handshake_failure_errno(h), 0);
	assert_string_equal(handshake_result(h, "peer-identity", 1), "dns:b");
	assert_null(handshake_result(h, "peer-identity", 2));
	assert_string_equal(handshake_result(h, "peer-subject", 0), "CN=50%");
	assert_null(handshake_result(h, "id", 0));
	assert_int_equal(handshake_result_at(h, 0, &key, &value), 1);
	assert_string_equal(key, "outcome");
	assert_string_equal(value, "established");
	assert_int_equal(handshake_result_at(h, 6, &key, &value), 1);
	assert_int_equal(handshake_result_at(h, 7, &key, &value), 0);
	pair_close(pair);
	handshake_free(h);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void signals_do_not_interrupt_it(void **state)
{
	const struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
	const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	pthread_t thread;
	sigset_t alarm, before;

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, &before); /* the thread has it blocked, we have not */
	pthread_create(&thread, NULL, daemon_establishes, (void *)ESTABLISHED_KERNEL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), 0);
	setitimer(ITIMER_REAL, &never, NULL);
	pthread_join(thread, NULL);
	pair_close(pair);
	handshake_free(h);
}

static void a_daemon_that_dies_leaves_the_socket_poisoned(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, daemon_dies, "read");
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
	pthread_join(thread, NULL);
	assert_failed(h, HANDSHAKE_POISONED, "unavailable", ECONNRESET);
	assert_int_equal(handshake_may_retry(h), 1);
	pair_close(pair);
	handshake_free(h);
}

static void a_silent_daemon_costs_the_timeout_and_no_more(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	struct timespec before, after;
	pthread_t thread;
	long took;

	(void)state;
	handshake_set_timeout(h, 1);
	pthread_create(&thread, NULL, daemon_is_silent, NULL);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
	clock_gettime(CLOCK_MONOTONIC, &after);
	pthread_join(thread, NULL);
	took = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	assert_in_range(took, 1900, 20000);
	assert_int_equal(errno, ETIMEDOUT);
	assert_failed(h, HANDSHAKE_POISONED, "timeout", ETIMEDOUT);
	pair_close(pair);
	handshake_free(h);
}

static void a_stopped_daemon_with_a_full_queue_leaves_it_untouched(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	struct fake stopped;
	int filling[8];

	(void)state;
	fake_open(&stopped, 0);
	for (int i = 0; i < 8; i++)
		filling[i] = link_connect(stopped.path, NULL);
	assert_int_equal(filling[7], -EAGAIN);
	handshake_set_timeout(h, 1);
	assert_int_equal(handshake_perform(h, stopped.path, pair.ours), -1);
	assert_failed(h, HANDSHAKE_UNTOUCHED, "busy", EBUSY);
	assert_null(handshake_client_new(stopped.path));
	assert_int_equal(errno, EAGAIN);
	for (int i = 0; i < 8; i++)
		if (filling[i] >= 0)
			close(filling[i]);
	fake_close(&stopped);
	pair_close(pair);
	handshake_free(h);
}

static void an_object_can_be_used_again(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	pthread_t thread;

	(void)state;
	assert_int_equal(handshake_perform(h, "/nonexistent/socket", pair.ours), -1);
	pthread_create(&thread, NULL, daemon_establishes, (void *)ESTABLISHED_KERNEL);
	assert_int_equal(handshake_perform(h, fake.path, pair.ours), 0);
	pthread_join(thread, NULL);
	assert_string_equal(handshake_error(h), "");
	assert_null(handshake_result(h, "class", 0));
	assert_int_equal(handshake_may_retry(h), 0);
	pair_close(pair);
	handshake_free(h);
}

static void leaves_no_descriptor_behind(void **state)
{
	struct handshake *h = handshake_new();
	struct pair pair = pair_open();
	int before = open_descriptors();
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, daemon_dies, NULL);
		assert_int_equal(handshake_perform(h, fake.path, pair.ours), -1);
		pthread_join(thread, NULL);
		assert_string_equal(handshake_result(h, "class", 0), "unavailable");
	}
	assert_int_equal(open_descriptors(), before);
	pair_close(pair);
	handshake_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_what_the_protocol_cannot_carry),
	    cmocka_unit_test(asks_for_what_was_set),
	    cmocka_unit_test(cuts_a_long_sentence_between_characters),
	    cmocka_unit_test_setup_teardown(without_a_daemon_the_socket_is_untouched, setup,
					    teardown),
	    cmocka_unit_test(finds_the_path_in_the_environment),
	    cmocka_unit_test(refuses_a_path_that_is_too_long),
	    cmocka_unit_test(names_each_reason_that_keeps_from_the_daemon),
	    cmocka_unit_test_setup_teardown(refuses_a_descriptor_that_is_no_socket, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(refuses_a_request_larger_than_a_packet, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(performs_and_tells_what_is_known, setup, teardown),
	    cmocka_unit_test_setup_teardown(signals_do_not_interrupt_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_daemon_that_dies_leaves_the_socket_poisoned, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_silent_daemon_costs_the_timeout_and_no_more, setup,
					    teardown),
	    cmocka_unit_test(a_stopped_daemon_with_a_full_queue_leaves_it_untouched),
	    cmocka_unit_test_setup_teardown(an_object_can_be_used_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(leaves_no_descriptor_behind, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
