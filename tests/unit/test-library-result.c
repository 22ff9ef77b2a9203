// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* A reply becomes a result only if all of it is there; descriptors never stay behind. */
#include "library-fixture.h"

static struct handshake *h;
static struct pair pair;
static int descriptors;

static int setup(void **state)
{
	(void)state;
	descriptors = open_descriptors();
	h = handshake_new();
	pair = pair_open();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_free(h);
	pair_close(pair);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

static void take(const char *lines, const int *fds, size_t count)
{
	char text[4096];
	struct message message;

	snprintf(text, sizeof(text), "handshake/1 reply\nid=1\n%s", lines);
	message_of(&message, text, fds, count);
	result_take(h, &message, pair.ours, NULL);
	message_done(&message);
}

static void assert_broken(const char *says)
{
	assert_failed(h, HANDSHAKE_POISONED, "internal", EIO);
	assert_int_equal(handshake_may_retry(h), 0);
	assert_says(h, says);
}

static int null_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int state_of(uint8_t event)
{
	const uint8_t bytes[] = {event, 0};

	return memfd_of(bytes, sizeof(bytes));
}

/* As the relay's end of a socketpair, whose other end nobody needs here. */
static int relay_open(void)
{
	struct pair relay = pair_open();

	close(relay.theirs);
	return relay.ours;
}

static void refuses_an_outcome_that_does_not_exist(void **state)
{
	(void)state;
	take("outcome=maybe\n", NULL, 0);
	assert_broken("outcome");
	take("class=busy\n", NULL, 0);
	assert_broken("outcome");
	take("outcome=pending\n", NULL, 0);
	assert_broken("outcome");
	take("outcome=untouched\noutcome=established\n", NULL, 0);
	assert_broken("twice");
}

static void refuses_a_connection_whose_records_nobody_makes(void **state)
{
	(void)state;
	take("outcome=established\nversion=TLS1.3\n", NULL, 0);
	assert_broken("what makes the records");
	take("outcome=established\ntransmit=kernel\n", NULL, 0);
	assert_broken("what makes the records");
	take("outcome=established\ntransmit=of-a-later-version\nreceive=kernel\n", NULL, 0);
	assert_broken("what makes the records");
	take("outcome=established\ntransmit=nic\nreceive=kernel\n", NULL, 0);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
}

static void refuses_what_it_must_understand_and_does_not(void **state)
{
	(void)state;
	take(ESTABLISHED_KERNEL "!new=thing\n", NULL, 0);
	assert_broken("must be understood");
	take(ESTABLISHED_KERNEL "new=thing\n", NULL, 0);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	assert_string_equal(handshake_result(h, "new", 0), "thing");
}

static void each_class_has_its_errno(void **state)
{
	static const struct {
		const char *class;
		int error;
	} classes[] = {
	    {"request", EINVAL},        {"denied", EACCES},          {"busy", EBUSY},
	    {"timeout", ETIMEDOUT},     {"cancelled", ECANCELED},    {"closed", ECONNRESET},
	    {"alert", EPROTO},          {"negotiation", EPROTO},     {"protocol", EPROTO},
	    {"internal", EIO},          {"unsupported", EOPNOTSUPP}, {"verification", EKEYREJECTED},
	    {"of-a-later-version", EIO}};
	char lines[128];

	(void)state;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		snprintf(lines, sizeof(lines), "outcome=poisoned\nclass=%s\nerror=e\n",
			 classes[i].class);
		take(lines, NULL, 0);
		assert_failed(h, HANDSHAKE_POISONED, classes[i].class, classes[i].error);
	}
	take("outcome=untouched\n", NULL, 0);
	assert_int_equal(handshake_failure_errno(h), EIO);
	assert_says(h, "no reason");
}

static void keeps_the_chain_and_not_its_descriptor(void **state)
{
	int fd = memfd_of("-----BEGIN\n", 11);

	(void)state;
	take(ESTABLISHED_KERNEL "descriptors=chain\n", &fd, 1);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	assert_string_equal(handshake_peer_chain(h), "-----BEGIN\n");
	assert_int_equal(open_descriptors(), descriptors + 2);
	take("outcome=untouched\nclass=busy\nerror=e\n", NULL, 0);
	assert_null(handshake_peer_chain(h));
}

static void refuses_a_chain_that_is_not_one(void **state)
{
	static char large[HANDSHAKE_CHAIN_SIZE + 1];
	int fd = null_open();

	(void)state;
	take(ESTABLISHED_KERNEL "descriptors=chain\n", &fd, 1);
	assert_broken("not in a file");
	memset(large, 'a', sizeof(large));
	fd = memfd_of(large, sizeof(large));
	take(ESTABLISHED_KERNEL "descriptors=chain\n", &fd, 1);
	assert_broken("larger than");
	fd = memfd_of(large, sizeof(large) - 1);
	take(ESTABLISHED_KERNEL "descriptors=chain\n", &fd, 1);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	fd = memfd_of("a\0b", 3);
	take(ESTABLISHED_KERNEL "descriptors=chain\n", &fd, 1);
	assert_broken("not text");
	assert_null(handshake_peer_chain(h));
}

static void refuses_a_reply_that_lacks_a_descriptor(void **state)
{
	int fds[2];

	(void)state;
	take(ESTABLISHED_KERNEL "descriptors=chain\n", NULL, 0);
	assert_broken("lacks a descriptor");
	take(ESTABLISHED_RELAY, NULL, 0);
	assert_broken("lacks a descriptor");
	fds[0] = relay_open();
	take(ESTABLISHED_RELAY, fds, 1);
	assert_broken("lacks a descriptor");
	take("outcome=established\ntransmit=relay\nreceive=relay\n", NULL, 0);
	assert_broken("lacks the relay");
	take("outcome=established\ntransmit=kernel\nreceive=relay\n", NULL, 0);
	assert_broken("lacks the relay");
	fds[0] = relay_open();
	take("outcome=established\ntransmit=relay\nreceive=relay\ndescriptors=relay\n", fds, 1);
	assert_broken("lacks the relay's state");
	fds[0] = relay_open();
	fds[1] = state_of(0);
	take(ESTABLISHED_KERNEL "descriptors=relay,relay-state\n", fds, 2);
	assert_broken("does not name");
	fds[0] = null_open();
	fds[1] = null_open();
	take(ESTABLISHED_KERNEL "descriptors=chain,chain\n", fds, 2);
	assert_broken("twice");
}

static void closes_descriptors_that_it_does_not_know(void **state)
{
	int fds[] = {null_open(), null_open(), memfd_of("c", 1), null_open()};

	(void)state;
	take(ESTABLISHED_KERNEL "descriptors=new,connection,chain\n", fds, 4);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	assert_string_equal(handshake_peer_chain(h), "c");
	assert_int_equal(open_descriptors(), descriptors + 2);
	fds[0] = null_open();
	take("outcome=poisoned\nclass=busy\nerror=e\ndescriptors=chain\n", fds, 1);
	assert_int_equal(open_descriptors(), descriptors + 2);
}

static void descriptors_lost_at_the_limit_poison(void **state)
{
	struct message message;

	(void)state;
	message_of(&message, "handshake/1 reply\n" ESTABLISHED_RELAY, NULL, 0);
	message.lost_fds = true;
	result_take(h, &message, pair.ours, NULL);
	assert_failed(h, HANDSHAKE_POISONED, "internal", EMFILE);
}

static void a_relay_replaces_the_socket(void **state)
{
	int fds[] = {relay_open(), state_of(HANDSHAKE_RELAY_OPEN)};
	struct stat before, after;

	(void)state;
	fstat(fds[0], &before);
	take(ESTABLISHED_RELAY, fds, 2);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	fstat(pair.ours, &after);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(open_descriptors(), descriptors + 3);
}

static void a_relay_does_not_take_a_number_that_was_closed(void **state)
{
	int fds[] = {relay_open(), state_of(HANDSHAKE_RELAY_OPEN)};

	(void)state;
	close(pair.ours);
	take(ESTABLISHED_RELAY, fds, 2);
	assert_broken("cannot take the place");
	assert_int_equal(fcntl(pair.ours, F_GETFD), -1);
	pair.ours = null_open();
}

static void keeps_all_lines_in_their_order(void **state)
{
	static const char *const keys[] = {"outcome", "a", "b", "a", "error"};
	const char *key, *value;

	(void)state;
	take("outcome=untouched\na=1\ndescriptors=\nb=\na=2%0A3\nerror=e\n", NULL, 0);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(handshake_result_at(h, i, &key, &value), 1);
		assert_string_equal(key, keys[i]);
	}
	assert_int_equal(handshake_result_at(h, 5, &key, &value), 0);
	assert_string_equal(handshake_result(h, "a", 1), "2\n3");
	assert_string_equal(handshake_result(h, "b", 0), "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(refuses_an_outcome_that_does_not_exist),
	    T(refuses_a_connection_whose_records_nobody_makes),
	    T(refuses_what_it_must_understand_and_does_not),
	    T(each_class_has_its_errno),
	    T(keeps_the_chain_and_not_its_descriptor),
	    T(refuses_a_chain_that_is_not_one),
	    T(refuses_a_reply_that_lacks_a_descriptor),
	    T(closes_descriptors_that_it_does_not_know),
	    T(descriptors_lost_at_the_limit_poison),
	    T(a_relay_replaces_the_socket),
	    T(a_relay_does_not_take_a_number_that_was_closed),
	    T(keeps_all_lines_in_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
