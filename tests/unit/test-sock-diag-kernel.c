// SPDX-License-Identifier: LGPL-2.1-or-later
// What sock_diag tells of a connection whose records the kernel makes, and of others. Skipped where the kernel
// has no TLS, or tells it to nobody.
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "offload-kernel.h"
#include "skipping.h"
#include "sock-diag.h"

static void connect_pair(int family, int *ret_one, int *ret_other)
{
	struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
	socklen_t size = sizeof(address);
	int listener = socket(family, SOCK_STREAM, 0);

	if (family == AF_INET)
		((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&address, &size);
	*ret_one = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(*ret_one, (struct sockaddr *)&address, size), 0);
	*ret_other = accept(listener, NULL, NULL);
	assert_true(*ret_other >= 0);
	close(listener);
}

static void loopback_is_no_device(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};
	const struct traffic_keys keys = {.version = CONFIG_TLS12, .cipher = CONFIG_AES_128_GCM};
	int diag = sock_diag_open();

	(void)state;
	assert_true(diag >= 0);
	for (int i = 0; i < 2; i++) {
		bool transmit = true, receive = true;
		char reason[256];
		int one, other, error;

		connect_pair(families[i], &one, &other);
		/* Before it has keys, or TLS at all, nothing is told. */
		assert_true(sock_diag_tls(diag, one, &transmit, &receive) < 0);
		if (offload_kernel_attach(one, reason, sizeof(reason)) < 0)
			skip_because("%s", reason);
		assert_int_equal(offload_kernel_install(one, &keys, reason, sizeof(reason)), 0);
		error = sock_diag_tls(diag, one, &transmit, &receive);
		if (error == -ENOENT)
			skip_because("this kernel has no inet_diag");
		assert_int_equal(error, 0);
		assert_false(transmit);
		assert_false(receive);
		assert_true(sock_diag_tls(diag, other, &transmit, &receive) < 0);
		close(one);
		close(other);
	}
	close(diag);
}

static void what_is_no_connection_is_refused(void **state)
{
	int diag = sock_diag_open(), fd = socket(AF_INET, SOCK_STREAM, 0), pair[2];
	bool transmit, receive;

	(void)state;
	assert_int_equal(sock_diag_tls(diag, fd, &transmit, &receive), -ENOTCONN);
	assert_int_equal(sock_diag_tls(diag, -1, &transmit, &receive), -EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(sock_diag_tls(diag, pair[0], &transmit, &receive), -EAFNOSUPPORT);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	close(diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loopback_is_no_device),
	    cmocka_unit_test(what_is_no_connection_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
