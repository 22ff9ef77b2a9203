// SPDX-License-Identifier: LGPL-2.1-or-later
/* Orders to the signer: what does not belong there is refused, and leaves no descriptor behind. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"
#include "signer-protocol.h"

static int ends[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* The number that the next descriptor will have. */
static int next_number(void)
{
	int next = dup(0);

	assert_true(next >= 0);
	close(next);
	return next;
}

static void an_order_arrives_with_its_descriptor(void **state)
{
	const struct signer_order order = {.command = SIGNER_CONNECT, .threads = 3};
	struct signer_order received;
	int fd;

	(void)state;
	assert_int_equal(signer_order_send(ends[0], &order, ends[0]), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), 1);
	assert_int_equal(received.command, SIGNER_CONNECT);
	assert_int_equal(received.threads, 3);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	assert_int_equal(signer_order_send(ends[0], &order, -1), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), 1);
	assert_int_equal(fd, -1);
	close(ends[0]);
	ends[0] = -1;
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), 0);
}

static void more_descriptors_than_one_are_refused(void **state)
{
	const struct signer_order order = {.command = SIGNER_CONNECT};
	const int fds[] = {0, 0, 0};
	struct signer_order received;
	int next = next_number(), fd;

	(void)state;
	for (size_t count = 2; count <= 3; count++) {
		assert_int_equal(descriptors_send(ends[0], &order,
						  offsetof(struct signer_order, source), fds,
						  count),
				 0);
		assert_int_equal(signer_order_receive(ends[1], &received, &fd), -EPROTO);
		assert_int_equal(fd, -1);
		assert_int_equal(next_number(), next);
	}
}

static void other_sizes_are_refused(void **state)
{
	struct {
		struct signer_order order;
		char more;
	} longer = {.order.command = SIGNER_LOAD};
	const uint32_t lend = SIGNER_LEND;
	struct signer_order received;
	int next = next_number(), fd;

	(void)state;
	assert_int_equal(descriptors_send(ends[0], &longer, sizeof(longer), &ends[0], 1), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), -EPROTO);
	assert_int_equal(descriptors_send(ends[0], &lend, sizeof(lend), &ends[0], 1), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), -EPROTO);
	assert_int_equal(descriptors_send(ends[0], &lend, 1, NULL, 0), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), -EPROTO);
	assert_int_equal(next_number(), next);
}

static void a_lent_key_larger_than_its_room_is_refused_with_its_descriptor(void **state)
{
	static struct signer_order order = {.command = SIGNER_LEND};
	static struct signer_order received;
	int next = next_number(), fd;

	(void)state;
	order.size = sizeof(order.key);
	assert_int_equal(signer_order_send(ends[0], &order, -1), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), 1);
	order.size++;
	assert_int_equal(signer_order_send(ends[0], &order, ends[0]), 0);
	assert_int_equal(signer_order_receive(ends[1], &received, &fd), -EPROTO);
	assert_int_equal(fd, -1);
	assert_int_equal(next_number(), next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_order_arrives_with_its_descriptor, setup, teardown),
	    cmocka_unit_test_setup_teardown(more_descriptors_than_one_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(other_sizes_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		a_lent_key_larger_than_its_room_is_refused_with_its_descriptor, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
