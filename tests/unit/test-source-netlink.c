// SPDX-License-Identifier: LGPL-2.1-or-later
/* Requests of an NVMe target with a large ring: what they may cost in time and memory. The kernel, its keys and its
 * network namespaces are this test's own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernel-queue.h"
#include "source-netlink.h"
#include "upcall-certificate.h"
#include "upcall-keys.h"

enum { NAMESPACES = 3 };

/* ---- The network namespaces ---- */

static struct network_list list = TAILQ_HEAD_INITIALIZER(list);
static struct network all[NAMESPACES];

int networks_new(struct networks **ret_networks, struct problem *problem)
{
	(void)problem;
	TAILQ_INIT(&list);
	for (int i = 0; i < NAMESPACES; i++) {
		/* Only compared, and given back. */
		all[i] = (struct network){.upcall = (struct upcall *)&all[i], .more = true};
		TAILQ_INSERT_TAIL(&list, &all[i], entry);
	}
	*ret_networks = NULL;
	return 0;
}

void networks_free(struct networks *networks)
{
	(void)networks;
}

void networks_configure(struct networks *networks, const struct config_kernel *config)
{
	(void)networks, (void)config;
}

void networks_stop(struct networks *networks)
{
	(void)networks;
}

struct network_list *networks_list(struct networks *networks)
{
	(void)networks;
	return &list;
}

unsigned networks_count(const struct networks *networks)
{
	(void)networks;
	return NAMESPACES;
}

const struct network_tally *networks_tally(const struct networks *networks)
{
	(void)networks;
	return NULL;
}

void networks_note(struct networks *networks, const struct network *network)
{
	(void)networks, (void)network;
}

void networks_poll(const struct networks *networks, struct pollfd *ret_polled)
{
	(void)networks, (void)ret_polled;
}

void networks_polled(struct networks *networks, const struct pollfd *polled)
{
	(void)networks, (void)polled;
}

int64_t networks_tend(struct networks *networks, int64_t now)
{
	(void)networks, (void)now;
	return INT64_MAX;
}

/* ---- The kernel ---- */

static struct {
	struct upcall_request request;
	int taken[NAMESPACES];
	int most; /* of each namespace */
	int read_ms;
	int key_count;
	bool forgotten; /* what the former request had brought */
	int answers[2]; /* 0: any but ETIMEDOUT */
	int status;     /* the last one */
} kernel;

int upcall_accept(struct upcall *upcall, struct upcall_request *ret_request)
{
	const long namespace = (struct network *)upcall - all;

	assert_true(kernel.forgotten);
	if (kernel.taken[namespace] == kernel.most)
		return 0;
	kernel.taken[namespace]++;
	*ret_request = kernel.request;
	ret_request->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(ret_request->fd >= 0);
	kernel.forgotten = false;
	return 1;
}

int upcall_done(struct upcall *upcall, int fd, int status, int32_t identity)
{
	(void)upcall, (void)identity;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	kernel.answers[status == ETIMEDOUT]++;
	kernel.status = status;
	return 0;
}

void upcall_keys_forget(void)
{
	kernel.forgotten = true;
}

bool upcall_keys_may_retry(int error)
{
	return error == ENOMEM;
}

int upcall_keys_read(const struct upcall_request *request, struct consumer_keys **ret_keys,
		     bool *ret_retry, struct problem *problem)
{
	const struct timespec time = {.tv_nsec = kernel.read_ms * 1000000L};
	char identity[CONSUMER_KEY_IDENTITY_MAX];
	struct consumer_keys *keys = consumer_keys_new();

	(void)request, (void)problem;
	*ret_retry = false;
	nanosleep(&time, NULL);
	memset(identity, 'i', sizeof(identity));
	for (int i = 0; i < kernel.key_count; i++) {
		const struct consumer_key key = {
		    .serial = i + 1,
		    .identity = (unsigned char *)identity,
		    .identity_size = sizeof(identity),
		    .key = (const unsigned char *)"a key of thirty-two bytes, at all",
		    .key_size = 32,
		};

		assert_int_equal(consumer_keys_add(keys, &key), 0);
	}
	*ret_keys = keys;
	return 0;
}

bool upcall_names_certificate(const struct upcall_request *request)
{
	(void)request;
	return false;
}

int upcall_certificate_read(const struct upcall_request *request, struct signer *signer,
			    int *ret_fd, struct signer_lent *ret_lent, bool *ret_retry,
			    struct problem *problem)
{
	(void)request, (void)signer, (void)ret_fd, (void)ret_lent, (void)ret_retry, (void)problem;
	return -1;
}

/* ---- The tests ---- */

static char nfsd[] = "nfsd", nvme[] = "nvme", nvmet[] = "nvmet";
static const struct config_kernel config = {
    .line = 1,
    .profiles = {[CONFIG_CONSUMER_NFSD] = nfsd,
		 [CONFIG_CONSUMER_NVME] = nvme,
		 [CONFIG_CONSUMER_NVMET] = nvmet},
    .requests_total = 4096,
};
static struct counters *counters;

static pid_t give(void *context, const struct kernel_request *request, const int fds[2])
{
	(void)context, (void)request;
	assert_true(fds[0] >= 0);
	return 7;
}

static int source_setup(void **state)
{
	struct problem problem = {""};
	struct source_netlink *source;

	memset(&kernel, 0, sizeof(kernel));
	kernel.request.is_server = true;
	kernel.request.authentication = UPCALL_PSK;
	kernel.request.timeout_ms = 1000000; /* however slow this machine is */
	kernel.key_count = 1;
	counters = counters_new();
	assert_non_null(counters);
	assert_int_equal(source_netlink_new(counters, give, NULL, &source, &problem), 0);
	source_netlink_configure(source, &config, NULL);
	*state = source;
	return 0;
}

static int source_teardown(void **state)
{
	source_netlink_free(*state);
	counters_free(counters);
	return 0;
}

/* As the supervisor's loop does, until there are none. */
static void take_all(struct source_netlink *source)
{
	for (int i = 0; i < NAMESPACES; i++)
		all[i].more = true;
	for (int turn = 0; source_netlink_tend(source, 1) == 1; turn++)
		assert_in_range(turn, 0, 1000);
}

static void a_large_ring_does_not_keep_others_waiting(void **state)
{
	kernel.most = 100;
	kernel.read_ms = 25;
	for (int turn = 1; turn <= 2 * NAMESPACES; turn++) {
		int taken = 0;

		/* It comes back at once, and takes one of each namespace in turn. */
		assert_true(source_netlink_tend(*state, 1) == 1);
		for (int i = 0; i < NAMESPACES; i++)
			taken += kernel.taken[i];
		assert_int_equal(taken, turn);
		assert_in_range(kernel.taken[0] - kernel.taken[NAMESPACES - 1], 0, 1);
		assert_in_range(kernel.taken[0] - kernel.taken[1], 0, 1);
	}
	kernel.read_ms = 0;
	kernel.most = 4;
	take_all(*state);
	for (int i = 0; i < NAMESPACES; i++)
		assert_int_equal(kernel.taken[i], 4);
}

static void keys_under_way_are_bounded(void **state)
{
	const size_t one = CONSUMER_KEYS_MAX * (CONSUMER_KEY_IDENTITY_MAX + 32);
	const int room = (int)(KERNEL_QUEUE_KEYS_MAX / one) + 1;
	int turned_away;

	kernel.key_count = CONSUMER_KEYS_MAX;
	kernel.most = room;
	take_all(*state);
	turned_away = kernel.answers[1];
	assert_in_range(NAMESPACES * room - turned_away, room / 2, room);
	assert_int_equal(kernel.answers[0], 0);
	assert_int_equal(kernel.status, ETIMEDOUT);

	/* Others are served: a host, which names its key, and all without keys. */
	kernel.key_count = 1;
	kernel.request.is_server = false;
	kernel.most++;
	take_all(*state);
	kernel.request.is_server = true;
	kernel.request.authentication = UPCALL_X509;
	kernel.most++;
	take_all(*state);
	assert_int_equal(kernel.taken[0], room + 2);
	assert_int_equal(kernel.answers[1], turned_away);

	/* And when they have ended there is room again. */
	source_netlink_died(*state, 7);
	assert_int_equal(kernel.answers[1], NAMESPACES * (room + 2));
	kernel.request.authentication = UPCALL_PSK;
	kernel.most++;
	take_all(*state);
	assert_int_equal(kernel.taken[0], room + 3);
	assert_int_equal(kernel.answers[1], NAMESPACES * (room + 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_large_ring_does_not_keep_others_waiting, source_setup,
					    source_teardown),
	    cmocka_unit_test_setup_teardown(keys_under_way_are_bounded, source_setup,
					    source_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
