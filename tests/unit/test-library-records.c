// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* Receiving and sending on both record paths. The kernel's records are played by recvmsg and sendmsg
 * of this program, for kernels without TLS have none; the relay's by a socketpair. */
#include "library-fixture.h"

#include <linux/tls.h>
#include <signal.h>
#include <sys/syscall.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* ---- A kernel with TLS, as far as the library sees it -------------------------------------- */

enum { END_OF_FILE = -1, FAILURE = -2, NOT_TLS = -3 };

struct record {
	int type; /* or one of the above */
	const char *bytes;
	size_t size; /* for FAILURE: the errno */
};

static struct {
	int fd; /* on which it plays */
	const struct record *records;
	size_t count, next, offset;
	char sent[1024];
	size_t sent_count;
	int send_error;
} kernel;

ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
	const struct record *record;
	struct cmsghdr *part;
	size_t size;

	if (fd != kernel.fd)
		return syscall(SYS_recvmsg, fd, header, flags);
	if (kernel.next == kernel.count) {
		errno = EAGAIN;
		return -1;
	}
	record = &kernel.records[kernel.next];
	if (record->type == FAILURE) {
		kernel.next++;
		errno = (int)record->size;
		return -1;
	}
	header->msg_flags = 0;
	if (record->type == END_OF_FILE) {
		header->msg_controllen = 0;
		return 0;
	}
	size = record->size - kernel.offset;
	if (size > header->msg_iov[0].iov_len)
		size = header->msg_iov[0].iov_len;
	memcpy(header->msg_iov[0].iov_base, record->bytes + kernel.offset, size);
	kernel.offset += size;
	if (kernel.offset == record->size) {
		kernel.next++;
		kernel.offset = 0;
	}
	if (record->type == NOT_TLS) {
		header->msg_controllen = 0;
		return (ssize_t)size;
	}
	part = CMSG_FIRSTHDR(header);
	part->cmsg_level = SOL_TLS;
	part->cmsg_type = TLS_GET_RECORD_TYPE;
	part->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(part) = (unsigned char)record->type;
	header->msg_controllen = CMSG_SPACE(1);
	return (ssize_t)size;
}

ssize_t sendmsg(int fd, const struct msghdr *header, int flags)
{
	const struct cmsghdr *part = CMSG_FIRSTHDR(header);

	if (fd != kernel.fd)
		return syscall(SYS_sendmsg, fd, header, flags);
	assert_true(flags & MSG_NOSIGNAL);
	if (kernel.send_error) {
		errno = kernel.send_error;
		return -1;
	}
	assert_non_null(part);
	assert_int_equal(part->cmsg_level, SOL_TLS);
	assert_int_equal(part->cmsg_type, TLS_SET_RECORD_TYPE);
	assert_int_equal(part->cmsg_len, CMSG_LEN(1));
	assert_int_equal(*CMSG_DATA(part), RECORD_ALERT);
	assert_int_equal(header->msg_iov[0].iov_len, 2);
	memcpy(kernel.sent + kernel.sent_count, header->msg_iov[0].iov_base, 2);
	kernel.sent_count += 2;
	return 2;
}

/* ---- Connections --------------------------------------------------------------------------- */

static struct handshake *h;
static struct pair pair;

static int setup(void **state)
{
	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.fd = -1;
	h = handshake_new();
	pair = pair_open();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_free(h);
	pair_close(pair);
	return 0;
}

static void kernel_begin(const char *version, const struct record *records, size_t count)
{
	char text[256];
	struct message message;

	snprintf(text, sizeof(text),
		 "handshake/1 reply\noutcome=established\nversion=%s\ntransmit=kernel\n"
		 "receive=kernel\n",
		 version);
	message_of(&message, text, NULL, 0);
	result_take(h, &message, pair.ours, NULL);
	message_done(&message);
	memset(&kernel, 0, sizeof(kernel));
	kernel.fd = pair.ours;
	kernel.records = records;
	kernel.count = count;
}

#define BEGIN(version, records) kernel_begin(version, records, sizeof(records) / sizeof(records[0]))

/* The daemon's end is pair.theirs; gives a descriptor of the state. */
static int relay_begin(void)
{
	const uint8_t bytes[HANDSHAKE_RELAY_STATE_SIZE] = {HANDSHAKE_RELAY_OPEN, 0};
	int fds[] = {dup(pair.ours), memfd_of(bytes, sizeof(bytes))};
	int relay_state = dup(fds[1]);
	struct message message;

	message_of(&message, "handshake/1 reply\n" ESTABLISHED_RELAY, fds, 2);
	result_take(h, &message, pair.ours, NULL);
	message_done(&message);
	assert_int_equal(handshake_outcome(h), HANDSHAKE_ESTABLISHED);
	return relay_state;
}

static void relay_says(int relay_state, uint8_t event, uint8_t alert)
{
	const uint8_t bytes[HANDSHAKE_RELAY_STATE_SIZE] = {event, alert};

	assert_int_equal(pwrite(relay_state, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(relay_state);
	shutdown(pair.theirs, SHUT_RDWR);
}

#define RECORD(type, bytes)                    \
	{                                      \
		type, bytes, sizeof(bytes) - 1 \
	}

static void assert_receives(const char *bytes)
{
	char buffer[64];

	assert_int_equal(handshake_recv(h, pair.ours, buffer, sizeof(buffer)), strlen(bytes));
	assert_memory_equal(buffer, bytes, strlen(bytes));
}

static void assert_fails_to_receive(int error)
{
	char buffer[64];

	assert_int_equal(handshake_recv(h, pair.ours, buffer, sizeof(buffer)), -1);
	assert_int_equal(errno, error);
}

static void assert_ended(void)
{
	char buffer[64];

	for (int i = 0; i < 3; i++)
		assert_int_equal(handshake_recv(h, pair.ours, buffer, sizeof(buffer)), 0);
}

/* ---- The kernel's records ------------------------------------------------------------------ */

static void without_a_connection_nothing_is_read_or_written(void **state)
{
	off_t offset = 0;
	char byte;

	(void)state;
	assert_int_equal(handshake_recv(h, pair.ours, &byte, 1), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(handshake_sendfile(h, pair.ours, 0, &offset, 1), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(handshake_close_notify(h, pair.ours), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(recv(pair.theirs, &byte, 1, MSG_DONTWAIT), -1);
}

static void tickets_between_data_are_not_seen(void **state)
{
	static const struct record records[] = {
	    RECORD(RECORD_HANDSHAKE, "\4\0\0\2ab\4\0\0\2cd"),
	    RECORD(RECORD_DATA, "hello"),
	    RECORD(RECORD_HANDSHAKE, "\4\0\0\2ab"),
	    RECORD(RECORD_DATA, ""),
	    RECORD(RECORD_DATA, "world"),
	    RECORD(RECORD_ALERT, "\1\0"),
	    RECORD(RECORD_DATA, "never read"),
	};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_receives("hello");
	assert_receives("world");
	assert_ended();
	assert_int_equal(h->control.tickets, 3);
	assert_int_equal(kernel.next, 6);
	assert_int_equal(kernel.sent_count, 0);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), 1); /* the other direction is open */
}

static void a_buffer_of_one_byte_is_enough_for_control_records(void **state)
{
	static const struct record records[] = {
	    RECORD(RECORD_HANDSHAKE, "\4\0\0\2ab"),
	    RECORD(RECORD_DATA, "x"),
	    RECORD(RECORD_ALERT, "\1\0"),
	};
	char byte;

	(void)state;
	BEGIN("TLS1.3", records);
	assert_int_equal(handshake_recv(h, pair.ours, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(handshake_recv(h, pair.ours, &byte, 0), 0);
	assert_int_equal(handshake_recv(h, pair.ours, &byte, 1), 0);
}

static void an_end_without_close_notify_is_an_error(void **state)
{
	static const struct record records[] = {RECORD(RECORD_DATA, "part"), {END_OF_FILE, "", 0}};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_receives("part");
	for (int i = 0; i < 2; i++) {
		assert_fails_to_receive(ECONNABORTED);
		assert_says(h, "without close_notify");
	}
}

static void a_fatal_alert_ends_both_directions(void **state)
{
	static const struct record records[] = {RECORD(RECORD_ALERT, "\2\x14"),
						RECORD(RECORD_DATA, "never read")};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_fails_to_receive(EPROTO);
	assert_says(h, "bad_record_mac (20)");
	assert_fails_to_receive(EPROTO);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(handshake_close_notify(h, pair.ours), -1);
	assert_int_equal(errno, EPIPE);
	assert_says(h, "bad_record_mac (20)");
	assert_int_equal(kernel.sent_count, 0);
}

static void nothing_to_read_is_no_failure(void **state)
{
	static const struct record records[] = {
	    {FAILURE, "", EAGAIN}, {FAILURE, "", EINTR}, RECORD(RECORD_DATA, "data")};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_fails_to_receive(EAGAIN);
	assert_fails_to_receive(EINTR);
	assert_string_equal(handshake_error(h), "");
	assert_receives("data");
}

static void what_the_kernel_refuses_is_told_to_the_caller_and_the_peer(void **state)
{
	static const struct {
		struct record record;
		char alert;
	} cases[] = {
	    {{FAILURE, "", EBADMSG}, 20},
	    {{FAILURE, "", EMSGSIZE}, 22},
	    {{FAILURE, "", EINVAL}, 70},
	    {{FAILURE, "", EKEYEXPIRED}, 10},
	    {RECORD(RECORD_HANDSHAKE, "\x18\0\0\1\0"), 80}, /* KeyUpdate */
	    {RECORD(20, "\1"), 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char alert[] = {2, cases[i].alert};

		kernel_begin("TLS1.3", &cases[i].record, 1);
		assert_fails_to_receive(EPROTO);
		assert_string_not_equal(handshake_error(h), "");
		assert_int_equal(kernel.sent_count, 2);
		assert_memory_equal(kernel.sent, alert, 2);
		assert_fails_to_receive(EPROTO);
		assert_int_equal(kernel.sent_count, 2);
	}
}

static void other_failures_are_told_as_they_are(void **state)
{
	static const struct record records[] = {{FAILURE, "", ECONNRESET}};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_fails_to_receive(ECONNRESET);
	assert_says(h, "Connection reset");
	assert_int_equal(kernel.sent_count, 0);
}

static void what_is_not_tls_is_never_given_out(void **state)
{
	static const struct record records[] = {{NOT_TLS, "plain", 5}, RECORD(RECORD_DATA, "x")};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_fails_to_receive(EPROTO);
	assert_says(h, "not TLS");
	assert_fails_to_receive(EPROTO);
}

static void renegotiation_is_declined(void **state)
{
	static const struct record records[] = {
	    RECORD(RECORD_HANDSHAKE, "\0\0\0\0"), RECORD(RECORD_DATA, "data"),
	    RECORD(RECORD_HANDSHAKE, "\0\0\0\0"), RECORD(RECORD_DATA, "more")};

	(void)state;
	BEGIN("TLS1.2", records);
	assert_receives("data");
	assert_int_equal(kernel.sent_count, 2);
	assert_memory_equal(kernel.sent, "\1\x64", 2);
	kernel.send_error = EAGAIN; /* no room for the answer: the data matters more */
	assert_receives("more");
}

static void close_notify_goes_out_once(void **state)
{
	(void)state;
	kernel_begin("TLS1.3", NULL, 0);
	kernel.send_error = EAGAIN;
	assert_int_equal(handshake_close_notify(h, pair.ours), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), 1);
	kernel.send_error = 0;
	assert_int_equal(handshake_close_notify(h, pair.ours), 0);
	assert_int_equal(handshake_close_notify(h, pair.ours), 0);
	assert_int_equal(kernel.sent_count, 2);
	assert_memory_equal(kernel.sent, "\1\0", 2);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_says(h, "close_notify was sent");
}

static void after_our_close_notify_the_peers_data_still_comes(void **state)
{
	static const struct record records[] = {RECORD(RECORD_DATA, "late"),
						{FAILURE, "", EBADMSG}};

	(void)state;
	BEGIN("TLS1.3", records);
	assert_int_equal(handshake_close_notify(h, pair.ours), 0);
	assert_receives("late");
	assert_fails_to_receive(EPROTO);
	assert_int_equal(kernel.sent_count, 2); /* nothing follows close_notify, no alert either */
}

/* ---- The relay's records ------------------------------------------------------------------- */

static void a_relays_end_means_what_its_state_says(void **state)
{
	static const struct {
		uint8_t event, alert;
		int error;
		const char *says;
	} ends[] = {
	    {HANDSHAKE_RELAY_CLOSE_NOTIFY, 0, 0, ""},
	    {HANDSHAKE_RELAY_TRUNCATED, 0, ECONNABORTED, "without close_notify"},
	    {HANDSHAKE_RELAY_OPEN, 0, ECONNABORTED, "relay ended"},
	    {77, 0, ECONNABORTED, "relay ended"},
	    {HANDSHAKE_RELAY_ALERT_RECEIVED, 48, EPROTO,
	     "the peer sent the fatal alert unknown_ca"},
	    {HANDSHAKE_RELAY_ALERT_SENT, 20, EPROTO, "protocol: the alert bad_record_mac (20)"},
	    {HANDSHAKE_RELAY_ALERT_SENT, 80, EPROTO, "relay gave the connection up"},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		int relay_state = relay_begin();

		assert_int_equal(write(pair.theirs, "data", 4), 4);
		relay_says(relay_state, ends[i].event, ends[i].alert);
		assert_receives("data");
		if (ends[i].error) {
			assert_fails_to_receive(ends[i].error);
			assert_fails_to_receive(ends[i].error);
			assert_says(h, ends[i].says);
		} else {
			assert_ended();
		}
		teardown(state);
		setup(state);
	}
}

static void a_relay_that_ends_amid_our_data_still_says_why(void **state)
{
	int relay_state = relay_begin();
	uint8_t bytes[] = {HANDSHAKE_RELAY_ALERT_RECEIVED, 80};

	(void)state;
	assert_int_equal(handshake_send(h, pair.ours, "unread", 6), 6);
	assert_int_equal(pwrite(relay_state, bytes, 2, 0), 2);
	close(relay_state);
	close(pair.theirs);
	pair.theirs = -1;
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_says(h, "internal_error (80) was received");
	assert_fails_to_receive(EPROTO);
	assert_says(h, "internal_error");
}

static void close_notify_ends_the_relays_input_and_no_more(void **state)
{
	int relay_state = relay_begin();
	char byte;

	(void)state;
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(handshake_close_notify(h, pair.ours), 0);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(read(pair.theirs, &byte, 1), 1);
	assert_int_equal(read(pair.theirs, &byte, 1), 0);
	assert_int_equal(write(pair.theirs, "late", 4), 4);
	assert_receives("late");
	relay_says(relay_state, HANDSHAKE_RELAY_CLOSE_NOTIFY, 0);
	assert_ended();
}

/* ---- Files --------------------------------------------------------------------------------- */

static void a_file_is_sent_to_its_end_and_no_further(void **state)
{
	char bytes[64], found[64];
	off_t offset = 10;
	int file;

	(void)state;
	close(relay_begin());
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	file = memfd_of(bytes, sizeof(bytes));
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 20), 20);
	assert_int_equal(offset, 30);
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, SIZE_MAX), 34);
	assert_int_equal(offset, 64);
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 5), 0);
	offset = 100;
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 5), 0);
	assert_int_equal(offset, 100);
	assert_int_equal(read(pair.theirs, found, sizeof(found)), 54);
	assert_memory_equal(found, bytes + 10, 54);
	close(file);
}

static void a_full_connection_takes_a_part_of_the_file(void **state)
{
	static char bytes[8 << 20];
	off_t offset = 0;
	ssize_t first, n;
	int file;

	(void)state;
	close(relay_begin());
	fcntl(pair.ours, F_SETFL, O_NONBLOCK);
	file = memfd_of(bytes, sizeof(bytes));
	first = handshake_sendfile(h, pair.ours, file, &offset, sizeof(bytes));
	assert_in_range(first, 1, sizeof(bytes) - 1);
	assert_int_equal(offset, first);
	n = handshake_sendfile(h, pair.ours, file, &offset, sizeof(bytes));
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	assert_string_equal(handshake_error(h), "");
	close(file);
}

static void what_is_no_file_is_refused(void **state)
{
	off_t offset = 0;

	(void)state;
	close(relay_begin());
	assert_int_equal(handshake_sendfile(h, pair.ours, pair.theirs, &offset, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_says(h, "not a file");
	assert_int_equal(handshake_sendfile(h, pair.ours, -1, &offset, 1), -1);
	assert_int_equal(errno, EBADF);
}

static volatile sig_atomic_t pipes;

static void on_pipe(int signal)
{
	(void)signal;
	pipes++;
}

static void sending_never_raises_a_signal(void **state)
{
	const struct sigaction action = {.sa_handler = on_pipe};
	sigset_t pipe, pending;
	off_t offset = 0;
	int file = memfd_of("data", 4);

	(void)state;
	close(relay_begin());
	close(pair.theirs);
	pair.theirs = -1;
	sigaction(SIGPIPE, &action, NULL);
	assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 4), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(pipes, 0);
	/* A signal that the caller holds back and has pending stays his. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 4), -1);
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	raise(SIGPIPE);
	assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, 4), -1);
	sigpending(&pending);
	assert_true(sigismember(&pending, SIGPIPE));
	pthread_sigmask(SIG_UNBLOCK, &pipe, NULL);
	assert_int_equal(pipes, 1);
	signal(SIGPIPE, SIG_DFL);
	close(file);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(without_a_connection_nothing_is_read_or_written),
	    T(tickets_between_data_are_not_seen),
	    T(a_buffer_of_one_byte_is_enough_for_control_records),
	    T(an_end_without_close_notify_is_an_error),
	    T(a_fatal_alert_ends_both_directions),
	    T(nothing_to_read_is_no_failure),
	    T(what_the_kernel_refuses_is_told_to_the_caller_and_the_peer),
	    T(other_failures_are_told_as_they_are),
	    T(what_is_not_tls_is_never_given_out),
	    T(renegotiation_is_declined),
	    T(close_notify_goes_out_once),
	    T(after_our_close_notify_the_peers_data_still_comes),
	    T(a_relays_end_means_what_its_state_says),
	    T(a_relay_that_ends_amid_our_data_still_says_why),
	    T(close_notify_ends_the_relays_input_and_no_more),
	    T(a_file_is_sent_to_its_end_and_no_further),
	    T(a_full_connection_takes_a_part_of_the_file),
	    T(what_is_no_file_is_refused),
	    T(sending_never_raises_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
