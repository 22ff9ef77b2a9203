// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o */
/* links: libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o */
/* links: libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o */
/* links: libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
/* The same as test-library-records, with records that a real kernel makes: two TCP sockets that share
 * keys and no handshake. Skipped where the kernel has no TLS. */
#include "library-fixture.h"
#include "skipping.h"

#include <arpa/inet.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static struct handshake *h;
static struct pair pair;

static int keys_set(int fd, int direction, uint16_t version)
{
	struct tls12_crypto_info_aes_gcm_128 keys = {
	    .info = {.version = version, .cipher_type = TLS_CIPHER_AES_GCM_128}};

	/* Any key does that both ends have. */
	memset(keys.key, 7, sizeof(keys.key));
	return setsockopt(fd, SOL_TLS, direction, &keys, sizeof(keys));
}

static bool tls_set(int fd, uint16_t version)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
		return false;
	assert_int_equal(keys_set(fd, TLS_TX, version), 0);
	assert_int_equal(keys_set(fd, TLS_RX, version), 0);
	return true;
}

static struct pair tcp_open(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair tcp;

	assert_int_equal(bind(listener, (const struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	tcp.ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(tcp.ours, (const struct sockaddr *)&address, size), 0);
	tcp.theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(tcp.theirs >= 0);
	close(listener);
	return tcp;
}

/* What the object knows after a handshake in the client role. */
static void object_establish(uint16_t version)
{
	struct message message;

	message_of(&message,
		   version == TLS_1_3_VERSION ? "handshake/1 reply\n" ESTABLISHED_KERNEL
					      : "handshake/1 reply\noutcome=established\n"
						"version=TLS1.2\ntransmit=kernel\nreceive=kernel\n",
		   NULL, 0);
	result_take(h, &message, pair.ours, NULL);
	message_done(&message);
}

/* An established connection, whose peer is pair.theirs. */
static void begin(uint16_t version)
{
	pair = tcp_open();
	if (!tls_set(pair.ours, version) || !tls_set(pair.theirs, version)) {
		pair_close(pair);
		pair = (struct pair){-1, -1};
		skip_because("this kernel has no TLS");
	}
	object_establish(version);
}

static int setup(void **state)
{
	(void)state;
	h = handshake_new();
	pair = (struct pair){-1, -1};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handshake_free(h);
	pair_close(pair);
	return 0;
}

/* The peer sends a record. */
static void peer_sends(uint8_t type, const void *bytes, size_t size)
{
	char space[CMSG_SPACE(1)] = {0};
	struct iovec vector = {(void *)bytes, size};
	struct msghdr header = {.msg_iov = &vector,
				.msg_iovlen = 1,
				.msg_control = space,
				.msg_controllen = sizeof(space)};
	struct cmsghdr *part = CMSG_FIRSTHDR(&header);

	part->cmsg_level = SOL_TLS;
	part->cmsg_type = TLS_SET_RECORD_TYPE;
	part->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(part) = type;
	assert_int_equal(sendmsg(pair.theirs, &header, 0), (ssize_t)size);
}

#define PEER_SENDS(type, bytes) peer_sends(type, bytes, sizeof(bytes) - 1)

/* What the peer gets next: its type, and as much of it as fits in two bytes. */
static int peer_receives(uint8_t ret_bytes[2])
{
	char space[CMSG_SPACE(1)];
	struct iovec vector = {ret_bytes, 2};
	struct msghdr header = {.msg_iov = &vector,
				.msg_iovlen = 1,
				.msg_control = space,
				.msg_controllen = sizeof(space)};

	if (recvmsg(pair.theirs, &header, 0) <= 0)
		return -1;
	assert_non_null(CMSG_FIRSTHDR(&header));
	return *CMSG_DATA(CMSG_FIRSTHDR(&header));
}

static void assert_receives_in_pieces(const char *bytes, size_t piece)
{
	char buffer[64];
	size_t length = 0;

	while (length < strlen(bytes)) {
		ssize_t n = handshake_recv(h, pair.ours, buffer, piece);

		assert_in_range(n, 1, piece);
		assert_memory_equal(buffer, bytes + length, (size_t)n);
		length += (size_t)n;
	}
}

static void assert_fails_to_receive(int error)
{
	char buffer[64];

	assert_int_equal(handshake_recv(h, pair.ours, buffer, sizeof(buffer)), -1);
	assert_int_equal(errno, error);
}

static const uint16_t versions[] = {TLS_1_3_VERSION, TLS_1_2_VERSION};

static void tickets_data_and_close_notify(void **state)
{
	for (size_t piece = 1; piece <= 64; piece += 21) {
		char byte;

		begin(TLS_1_3_VERSION);
		PEER_SENDS(RECORD_HANDSHAKE, "\4\0\0\4abcd\4\0\0\2ab");
		PEER_SENDS(RECORD_HANDSHAKE, "\4\0");
		PEER_SENDS(RECORD_HANDSHAKE, "\0\2ab");
		assert_int_equal(send(pair.theirs, "hello", 5, 0), 5);
		PEER_SENDS(RECORD_HANDSHAKE, "\4\0\0\2ab");
		assert_int_equal(send(pair.theirs, "world", 5, 0), 5);
		PEER_SENDS(RECORD_ALERT, "\1\0");
		assert_receives_in_pieces("helloworld", piece);
		assert_int_equal(handshake_recv(h, pair.ours, &byte, 1), 0);
		assert_int_equal(handshake_recv(h, pair.ours, &byte, 1), 0);
		assert_int_equal(h->control.tickets, 4);
		assert_int_equal(handshake_send(h, pair.ours, "x", 1), 1);
		teardown(state);
		setup(state);
	}
}

static void close_notify_arrives_once_as_an_alert(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[2] = {9, 9};

		begin(versions[i]);
		assert_int_equal(handshake_send(h, pair.ours, "x", 1), 1);
		assert_int_equal(handshake_close_notify(h, pair.ours), 0);
		assert_int_equal(handshake_close_notify(h, pair.ours), 0);
		assert_int_equal(handshake_send(h, pair.ours, "x", 1), -1);
		assert_int_equal(errno, EPIPE);
		close(pair.ours);
		pair.ours = -1;
		assert_int_equal(peer_receives(bytes), RECORD_DATA);
		assert_int_equal(peer_receives(bytes), RECORD_ALERT);
		assert_memory_equal(bytes, "\1\0", 2);
		assert_int_equal(peer_receives(bytes), -1);
		teardown(state);
		setup(state);
	}
}

static void an_end_without_close_notify_is_an_error(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		begin(versions[i]);
		assert_int_equal(send(pair.theirs, "part", 4, 0), 4);
		close(pair.theirs);
		pair.theirs = -1;
		assert_receives_in_pieces("part", 64);
		assert_fails_to_receive(ECONNABORTED);
		teardown(state);
		setup(state);
	}
}

static void after_a_reset_nothing_more_can_be_sent(void **state)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	(void)state;
	begin(TLS_1_3_VERSION);
	setsockopt(pair.theirs, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(pair.theirs);
	pair.theirs = -1;
	assert_fails_to_receive(ECONNRESET);
	/* Linux 7.2 itself would go on to take it. */
	assert_int_equal(handshake_send(h, pair.ours, "lost", 4), -1);
	assert_int_equal(errno, EPIPE);
}

static void a_fatal_alert_is_named(void **state)
{
	(void)state;
	begin(TLS_1_3_VERSION);
	PEER_SENDS(RECORD_ALERT, "\2\x50");
	assert_fails_to_receive(EPROTO);
	assert_says(h, "internal_error (80)");
}

static void renegotiation_is_declined(void **state)
{
	uint8_t bytes[2];

	(void)state;
	begin(TLS_1_2_VERSION);
	PEER_SENDS(RECORD_HANDSHAKE, "\0\0\0\0");
	assert_int_equal(send(pair.theirs, "data", 4, 0), 4);
	assert_receives_in_pieces("data", 64);
	assert_int_equal(peer_receives(bytes), RECORD_ALERT);
	assert_memory_equal(bytes, "\1\x64", 2);
}

static void a_key_update_is_refused_and_the_peer_told(void **state)
{
	uint8_t bytes[2];

	(void)state;
	begin(TLS_1_3_VERSION);
	PEER_SENDS(RECORD_HANDSHAKE, "\4\0\0\2ab\x18\0\0\1\0");
	assert_fails_to_receive(EPROTO);
	assert_says(h, "the peer has changed its key");
	assert_int_equal(peer_receives(bytes), RECORD_ALERT);
	assert_memory_equal(bytes, "\2\x50", 2);
}

static void nothing_to_read_is_eagain(void **state)
{
	(void)state;
	begin(TLS_1_3_VERSION);
	fcntl(pair.ours, F_SETFL, O_NONBLOCK);
	assert_fails_to_receive(EAGAIN);
	PEER_SENDS(RECORD_HANDSHAKE, "\4\0\0\2ab");
	usleep(10000);
	assert_fails_to_receive(EAGAIN);
	assert_int_equal(h->control.tickets, 1);
}

/* Puts bytes on the wire beside the peer's kernel: a TCP socket of its own without TLS. */
static void what_is_forged_or_is_no_record_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} wrong[] = {
	    {"\x17\3\3\0\x1e"
	     "01234567890123456789012345678901234",
	     35}, /* a bad tag */
	    {"\x17\3\3\x50\0"
	     "0123456789",
	     15}, /* too large */
	    {"GET / HTTP/1.1\r\n\r\n", 18},
	};

	for (size_t i = 0; i < 3; i++) {
		struct pair bare = tcp_open();

		begin(TLS_1_3_VERSION);
		pair_close(pair);
		pair = bare;
		assert_true(tls_set(pair.ours, TLS_1_3_VERSION));
		assert_int_equal(send(pair.theirs, wrong[i].bytes, wrong[i].size, 0),
				 (ssize_t)wrong[i].size);
		assert_fails_to_receive(EPROTO);
		assert_string_not_equal(handshake_error(h), "");
		assert_fails_to_receive(EPROTO);
		teardown(state);
		setup(state);
	}
}

static void a_socket_that_is_not_tls_gives_nothing_out(void **state)
{
	(void)state;
	pair = tcp_open();
	object_establish(TLS_1_3_VERSION);
	assert_int_equal(send(pair.theirs, "plain", 5, 0), 5);
	assert_fails_to_receive(EPROTO);
	assert_says(h, "not TLS");
}

static void a_file_arrives_whole_with_a_count_beyond_its_end(void **state)
{
	static char bytes[40000], found[sizeof(bytes)];

	for (size_t i = 0; i < 2; i++) {
		off_t offset = 0;
		size_t length = 0;
		int file;

		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (char)(j * 31);
		begin(versions[i]);
		file = memfd_of(bytes, sizeof(bytes));
		assert_int_equal(handshake_sendfile(h, pair.ours, file, &offset, SIZE_MAX),
				 sizeof(bytes));
		while (length < sizeof(bytes)) {
			ssize_t n = recv(pair.theirs, found + length, sizeof(found) - length, 0);

			assert_true(n > 0);
			length += (size_t)n;
		}
		assert_memory_equal(found, bytes, sizeof(bytes));
		close(file);
		teardown(state);
		setup(state);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(tickets_data_and_close_notify),
	    T(close_notify_arrives_once_as_an_alert),
	    T(an_end_without_close_notify_is_an_error),
	    T(after_a_reset_nothing_more_can_be_sent),
	    T(a_fatal_alert_is_named),
	    T(renegotiation_is_declined),
	    T(a_key_update_is_refused_and_the_peer_told),
	    T(nothing_to_read_is_eagain),
	    T(what_is_forged_or_is_no_record_is_refused),
	    T(a_socket_that_is_not_tls_gives_nothing_out),
	    T(a_file_arrives_whole_with_a_count_beyond_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
