// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* The packet: what goes in comes out, and nothing that is wrong comes through. */
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct message_writer writer;
static struct message message;
static char sentence[256];

struct ends {
	int left, right;
};

static struct ends ends_open(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	return (struct ends){pair[0], pair[1]};
}

static void ends_close(struct ends ends)
{
	close(ends.left);
	close(ends.right);
}

/* What message_parse says of text. */
static int parse_bytes(const char *text, size_t size)
{
	memset(&message, 0, sizeof(message));
	assert_in_range(size, 0, HANDSHAKE_PACKET_SIZE);
	memcpy(message.text, text, size);
	message.length = size;
	memset(sentence, 0, sizeof(sentence));
	return message_parse(&message, sentence, sizeof(sentence));
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* Sends what the writer has to ourselves and parses it. */
static void pass(void)
{
	struct ends ends = ends_open();

	assert_int_equal(message_send(ends.left, &writer, NULL, 0), 0);
	assert_int_equal(message_receive(ends.right, &message), writer.length);
	assert_int_equal(message_parse(&message, sentence, sizeof(sentence)), 0);
	message_done(&message);
	ends_close(ends);
}

static void carries_operation_and_values(void **state)
{
	(void)state;
	message_begin(&writer, "handshake");
	message_add_number(&writer, "id", UINT64_MAX);
	message_add(&writer, "role", "server");
	message_add(&writer, "absent", NULL);
	message_add(&writer, "empty", "");
	pass();
	assert_string_equal(message.operation, "handshake");
	assert_int_equal(message.field_count, 3);
	assert_string_equal(message_get(&message, "id", 0), "18446744073709551615");
	assert_string_equal(message_get(&message, "role", 0), "server");
	assert_string_equal(message_get(&message, "empty", 0), "");
	assert_null(message_get(&message, "absent", 0));
	assert_null(message_get(&message, "role", 1));
}

static void carries_every_byte_but_nul(void **state)
{
	char value[256];

	(void)state;
	for (int i = 1; i < 256; i++)
		value[i - 1] = (char)i;
	value[255] = '\0';
	message_begin(&writer, "x");
	message_add(&writer, "v", value);
	pass();
	assert_string_equal(message_get(&message, "v", 0), value);
}

static void escapes_what_is_not_utf8_so_that_the_packet_is(void **state)
{
	static const char *const wrong[] = {
	    "\xff",         "\xc0\x80", "\xed\xa0\x80",     "\xf4\x90\x80\x80",
	    "\xe0\x80\x80", "\xc3",     "\xf0\x80\x80\x80", "a\x80"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		message_begin(&writer, "x");
		message_add(&writer, "v", wrong[i]);
		for (size_t j = 0; j < writer.length; j++)
			assert_in_range(writer.text[j], 1, 0x7e);
		pass();
		assert_string_equal(message_get(&message, "v", 0), wrong[i]);
	}
	message_begin(&writer, "x");
	message_add(&writer, "v", "ü€😀");
	assert_memory_equal(writer.text + writer.length - strlen("v=ü€😀\n"), "v=ü€😀\n",
			    strlen("v=ü€😀\n"));
}

static void gives_repeated_keys_in_order(void **state)
{
	(void)state;
	assert_int_equal(parse("handshake/1 reply\na=1\nb=2\na=3\n"), 0);
	assert_string_equal(message_get(&message, "a", 0), "1");
	assert_string_equal(message_get(&message, "a", 1), "3");
	assert_null(message_get(&message, "a", 2));
}

static void refuses_to_send_a_nul_or_too_much(void **state)
{
	struct ends ends = ends_open();

	(void)state;
	message_begin(&writer, "x");
	message_add_bytes(&writer, "v", "a\0b", 3);
	assert_int_equal(message_send(ends.left, &writer, NULL, 0), -EINVAL);
	message_begin(&writer, "x");
	for (int i = 0; i < 2000; i++)
		message_add(&writer, "key", "value");
	assert_true(writer.overflow);
	assert_in_range(writer.length, 0, HANDSHAKE_PACKET_SIZE);
	assert_int_equal(message_send(ends.left, &writer, NULL, 0), -EMSGSIZE);
	assert_int_equal(message_receive(ends.right, &message), -EAGAIN);
	message_done(&message);
	ends_close(ends);
}

static void carries_a_packet_of_exactly_the_bound(void **state)
{
	static char value[HANDSHAKE_PACKET_SIZE];

	(void)state;
	message_begin(&writer, "x");
	memset(value, 'v', sizeof(value));
	message_add_bytes(&writer, "k", value, sizeof(value) - writer.length - strlen("k=\n"));
	assert_false(writer.overflow);
	assert_int_equal(writer.length, HANDSHAKE_PACKET_SIZE);
	pass();
}

static void says_that_a_packet_is_too_large(void **state)
{
	static char large[HANDSHAKE_PACKET_SIZE + 1];
	struct ends ends = ends_open();

	(void)state;
	memset(large, 'a', sizeof(large));
	assert_int_equal(send(ends.left, large, sizeof(large), 0), sizeof(large));
	assert_int_equal(message_receive(ends.right, &message), HANDSHAKE_PACKET_SIZE);
	assert_true(message.too_large);
	assert_int_equal(message_parse(&message, sentence, sizeof(sentence)), -EINVAL);
	assert_non_null(strstr(sentence, "larger than 16384"));
	message_done(&message);
	ends_close(ends);
}

static void says_what_is_wrong_and_quotes_it(void **state)
{
	static const struct {
		const char *text, *sentence;
	} wrong[] = {
	    {"", "empty"},
	    {"handshake/1 x", "line feed"},
	    {"handshake/2 x\n", "\"handshake/2 x\""},
	    {"handshake/1\n", "\"handshake/1\""},
	    {"handshake/1 \n", "not a word"},
	    {"handshake/1 two words\n", "not a word"},
	    {"handshake/1 an-operation-that-is-much-too-long\n", "not a word"},
	    {"handshake/1 x\nline\n", "\"line\""},
	    {"handshake/1 x\n=v\n", "not key=value"},
	    {"handshake/1 x\n\n", "not key=value"},
	    {"handshake/1 x\na b=v\n", "key is not a word"},
	    {"handshake/1 x\nk=%\n", "hexadecimal"},
	    {"handshake/1 x\nk=%4\n", "hexadecimal"},
	    {"handshake/1 x\nk=%4g\n", "hexadecimal"},
	    {"handshake/1 x\nk=%00\n", "NUL"},
	    {"handshake/1 x\nk=a\tb\n", "control character"},
	    {"handshake/1 x\nk=a\x7f\n", "control character"},
	    {"handshake/1 x\nk=\xff\n", "UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(wrong[i].text), -EINVAL);
		if (!strstr(sentence, wrong[i].sentence))
			fail_msg("\"%s\" does not say \"%s\"", sentence, wrong[i].sentence);
	}
	assert_int_equal(parse_bytes("handshake/1 x\nk=a\0b\n", 20), -EINVAL);
	assert_non_null(strstr(sentence, "NUL"));
}

static void keeps_the_fields_before_the_wrong_one(void **state)
{
	(void)state;
	assert_int_equal(parse("handshake/1 handshake\nid=7\nnonsense\n"), -EINVAL);
	assert_string_equal(message.operation, "handshake");
	assert_string_equal(message_get(&message, "id", 0), "7");
}

static void quotes_only_what_is_printable_and_short(void **state)
{
	char text[1024] = "handshake/1 x\n";

	(void)state;
	memset(text + strlen(text), '\x01', 900);
	text[strlen(text)] = '\n';
	assert_int_equal(parse(text), -EINVAL);
	for (const char *c = sentence; *c; c++)
		assert_true((unsigned char)*c >= 0x20);
	assert_in_range(strlen(sentence), 1, 160);
}

static void bounds_the_number_of_lines(void **state)
{
	static char text[HANDSHAKE_PACKET_SIZE];
	size_t length = (size_t)snprintf(text, sizeof(text), "handshake/1 x\n");

	(void)state;
	for (int i = 0; i < 256; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "k=v\n");
	assert_int_equal(parse(text), 0);
	assert_int_equal(message.field_count, 256);
	snprintf(text + length, sizeof(text) - length, "k=v\n");
	assert_int_equal(parse(text), -EINVAL);
}

static void decodes_any_case_of_hexadecimal(void **state)
{
	(void)state;
	assert_int_equal(parse("handshake/1 x\nk=%0a%0A%25=%c3%bc\n"), 0);
	assert_string_equal(message_get(&message, "k", 0), "\n\n%=ü");
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void carries_descriptors_and_closes_what_nobody_took(void **state)
{
	struct ends ends = ends_open();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[] = {null, null, null};
	int before = open_descriptors(), taken;

	(void)state;
	message_begin(&writer, "reply");
	assert_int_equal(message_send(ends.left, &writer, fds, 3), 0);
	assert_true(message_receive(ends.right, &message) > 0);
	assert_int_equal(message.fd_count, 3);
	assert_false(message.too_many_fds);
	assert_int_equal(open_descriptors(), before + 3);
	taken = message_take_fd(&message, 1);
	assert_int_equal(fcntl(taken, F_GETFD), FD_CLOEXEC);
	assert_int_equal(message_take_fd(&message, 1), -1);
	assert_int_equal(message_take_fd(&message, 3), -1);
	message_done(&message);
	assert_int_equal(open_descriptors(), before + 1);
	close(taken);
	close(null);
	ends_close(ends);
}

static void send_many(int fd, const int *fds, size_t count)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	char text[] = "handshake/1 x\n";
	struct iovec vector = {text, sizeof(text) - 1};
	struct msghdr header = {.msg_iov = &vector,
				.msg_iovlen = 1,
				.msg_control = control,
				.msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
	assert_true(sendmsg(fd, &header, 0) > 0);
}

static void closes_descriptors_beyond_the_bound_and_says_so(void **state)
{
	struct ends ends = ends_open();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[10], before = open_descriptors();

	(void)state;
	for (int i = 0; i < 10; i++)
		fds[i] = null;
	send_many(ends.left, fds, 10);
	assert_true(message_receive(ends.right, &message) > 0);
	assert_true(message.too_many_fds);
	assert_false(message.lost_fds);
	message_done(&message);
	assert_int_equal(open_descriptors(), before);
	close(null);
	ends_close(ends);
}

static void says_that_descriptors_were_lost_at_the_limit(void **state)
{
	struct ends ends = ends_open();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[] = {null, null};
	struct rlimit limit, low;

	(void)state;
	message_begin(&writer, "reply");
	assert_int_equal(message_send(ends.left, &writer, fds, 2), 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &low);
	assert_true(message_receive(ends.right, &message) > 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_true(message.lost_fds);
	assert_false(message.too_many_fds);
	message_done(&message);
	close(null);
	ends_close(ends);
}

static void tells_end_of_file_empty_and_full_queue_apart(void **state)
{
	struct ends ends = ends_open();
	int sent = 0, r;

	(void)state;
	assert_int_equal(message_receive(ends.right, &message), -EAGAIN);
	message_done(&message);
	message_begin(&writer, "x");
	while ((r = message_send(ends.left, &writer, NULL, 0)) == 0)
		sent++;
	assert_int_equal(r, -EAGAIN);
	assert_in_range(sent, 1, 1000000);
	close(ends.left);
	while ((r = message_receive(ends.right, &message)) > 0)
		sent--;
	assert_int_equal(r, 0);
	assert_int_equal(sent, 0);
	message_done(&message);
	assert_int_equal(message_send(ends.right, &writer, NULL, 0), -EPIPE);
	close(ends.right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(carries_operation_and_values),
	    cmocka_unit_test(carries_every_byte_but_nul),
	    cmocka_unit_test(escapes_what_is_not_utf8_so_that_the_packet_is),
	    cmocka_unit_test(gives_repeated_keys_in_order),
	    cmocka_unit_test(refuses_to_send_a_nul_or_too_much),
	    cmocka_unit_test(carries_a_packet_of_exactly_the_bound),
	    cmocka_unit_test(says_that_a_packet_is_too_large),
	    cmocka_unit_test(says_what_is_wrong_and_quotes_it),
	    cmocka_unit_test(keeps_the_fields_before_the_wrong_one),
	    cmocka_unit_test(quotes_only_what_is_printable_and_short),
	    cmocka_unit_test(bounds_the_number_of_lines),
	    cmocka_unit_test(decodes_any_case_of_hexadecimal),
	    cmocka_unit_test(carries_descriptors_and_closes_what_nobody_took),
	    cmocka_unit_test(closes_descriptors_beyond_the_bound_and_says_so),
	    cmocka_unit_test(says_that_descriptors_were_lost_at_the_limit),
	    cmocka_unit_test(tells_end_of_file_empty_and_full_queue_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
