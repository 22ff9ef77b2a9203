// SPDX-License-Identifier: LGPL-2.1-or-later
/* Requests of the kernel's consumers: they take turns, each has its share whatever the others do, and each is found
 * and freed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel-queue.h"

enum { NFS, NFSD };

static char one, two; /* namespaces: any address does */
static uint64_t last_id;

static int queue_setup(void **state)
{
	*state = kernel_queue_new();
	last_id = 0;
	return *state == NULL;
}

static int queue_teardown(void **state)
{
	kernel_queue_free(*state);
	return 0;
}

static struct kernel_pending *add(struct kernel_queue *queue, void *network, unsigned consumer)
{
	last_id++;
	return kernel_queue_add(queue, network, consumer, last_id, (int64_t)last_id * 10);
}

static unsigned add_many(struct kernel_queue *queue, void *network, unsigned consumer,
			 unsigned count)
{
	unsigned added = 0;

	while (added < count && add(queue, network, consumer))
		added++;
	return added;
}

static void lanes_take_turns(void **state)
{
	struct kernel_queue *queue = *state;
	uint64_t order[6];

	kernel_queue_limit(queue, 100, 4);
	add_many(queue, &one, NFS, 50); /* 1 to 50, a flood */
	add(queue, &one, NFSD);         /* 51 */
	add_many(queue, &two, NFS, 2);  /* 52, 53 */
	for (int i = 0; i < 6; i++) {
		struct kernel_pending *pending = kernel_queue_next(queue);

		order[i] = pending->request.id;
		kernel_queue_given(queue, pending, 1);
	}
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 51);
	assert_int_equal(order[2], 52);
	assert_int_equal(order[3], 2);
	assert_int_equal(order[4], 53);
	assert_int_equal(order[5], 3);
}

/* Nobody took it: it stays the next, and nobody overtakes within the lane. */
static void what_is_not_given_stays_first(void **state)
{
	struct kernel_queue *queue = *state;
	struct kernel_pending *first;

	kernel_queue_limit(queue, 10, 1);
	first = add(queue, &one, NFS);
	add(queue, &one, NFS);
	assert_ptr_equal(kernel_queue_next(queue), first);
	assert_ptr_equal(kernel_queue_next(queue), first);
	kernel_queue_remove(queue, first);
	assert_int_equal(kernel_queue_next(queue)->request.id, 2);
}

static unsigned all_of(struct kernel_queue *queue)
{
	unsigned count = 0;

	for (struct kernel_pending *each = kernel_queue_first(queue); each;
	     each = kernel_queue_after(each))
		count++;
	return count;
}

static void a_flood_leaves_the_others_their_share(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 80, 4); /* 10 each, 40 for whoever comes first */
	assert_int_equal(add_many(queue, &one, NFS, 1000), 50);
	assert_false(kernel_queue_has_room(queue, &one, NFS));
	assert_int_equal(add_many(queue, &one, NFSD, 1000), 10);
	assert_int_equal(add_many(queue, &two, NFS, 1000), 10);
	assert_int_equal(add_many(queue, &two, NFSD, 1000), 10);
	assert_int_equal(all_of(queue), 80);
}

/* A thousand mounts after a reboot: the only one that can ask is not held back by shares. */
static void a_single_lane_may_have_all(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 1024, 1);
	assert_int_equal(add_many(queue, &one, NFS, 2000), 1024);
}

static void what_ends_makes_room(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 4, 2); /* 1 each, 2 for whoever comes first */
	assert_int_equal(add_many(queue, &one, NFS, 9), 3);
	kernel_queue_remove(queue, kernel_queue_first(queue));
	assert_non_null(add(queue, &one, NFS));
	assert_null(add(queue, &one, NFS));
	assert_non_null(add(queue, &two, NFS));
}

/* More lanes than requests: nobody has anything for itself, and all goes in turn. */
static void more_lanes_than_requests(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 3, 100);
	assert_int_equal(add_many(queue, &one, NFS, 9), 3);
	kernel_queue_limit(queue, 0, 0);
	assert_false(kernel_queue_has_room(queue, &two, NFS));
}

/* A reload may lower the bound below what is under way: nothing is lost, nothing new comes. */
static void a_lower_bound_waits(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 10, 1);
	add_many(queue, &one, NFS, 10);
	kernel_queue_limit(queue, 2, 1);
	for (int left = 10; left > 2; left--) {
		assert_false(kernel_queue_has_room(queue, &one, NFS));
		kernel_queue_remove(queue, kernel_queue_first(queue));
	}
	kernel_queue_remove(queue, kernel_queue_first(queue));
	assert_true(kernel_queue_has_room(queue, &one, NFS));
}

static void only_its_own_worker_finds_it(void **state)
{
	struct kernel_queue *queue = *state;
	struct kernel_pending *pending;

	kernel_queue_limit(queue, 5000, 1);
	add_many(queue, &one, NFS, 3000); /* several share a bucket */
	assert_null(kernel_queue_find(queue, 0, 2));
	for (int i = 0; i < 3000; i++)
		kernel_queue_given(queue, kernel_queue_next(queue), i % 2 ? 7 : 8);
	assert_null(kernel_queue_next(queue));
	pending = kernel_queue_find(queue, 7, 2);
	assert_non_null(pending);
	assert_ptr_equal(kernel_pending_network(pending), &one);
	assert_null(kernel_queue_find(queue, 8, 2));
	kernel_queue_remove(queue, pending);
	assert_null(kernel_queue_find(queue, 7, 2));
	assert_int_equal(kernel_queue_find(queue, 8, 1025)->request.id, 1025);
}

static void the_earliest_deadline_is_known(void **state)
{
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 10, 1);
	assert_int_equal(kernel_queue_earliest(queue, 0), INT64_MAX);
	add_many(queue, &one, NFS, 3); /* 10, 20, 30 */
	assert_int_equal(kernel_queue_earliest(queue, 0), 10);
	kernel_queue_remove(queue, kernel_queue_first(queue));
	assert_int_equal(kernel_queue_earliest(queue, 15), 20);
	assert_int_equal(kernel_queue_earliest(queue, 25), 20);
	kernel_queue_remove(queue, kernel_queue_first(queue));
	kernel_queue_remove(queue, kernel_queue_first(queue));
	assert_int_equal(kernel_queue_earliest(queue, 40), INT64_MAX);
}

/* A request has its keys until it has ended, whether it waits or was given. */
static void keys_are_bounded_over_all(void **state)
{
	const size_t quarter = KERNEL_QUEUE_KEYS_MAX / 4;
	struct kernel_queue *queue = *state;

	kernel_queue_limit(queue, 10, 1);
	assert_true(kernel_queue_has_room_for_keys(queue));
	for (int i = 0; i < 4; i++) {
		assert_true(kernel_queue_has_room_for_keys(queue));
		kernel_queue_count_keys(queue, add(queue, &one, NFS), quarter);
	}
	assert_false(kernel_queue_has_room_for_keys(queue));
	/* Others than those with keys have room. */
	assert_true(kernel_queue_has_room(queue, &one, NFS));
	add(queue, &one, NFS);
	kernel_queue_given(queue, kernel_queue_first(queue), 7);
	assert_false(kernel_queue_has_room_for_keys(queue));
	kernel_queue_remove(queue, kernel_queue_first(queue));
	assert_true(kernel_queue_has_room_for_keys(queue));
	while (kernel_queue_first(queue))
		kernel_queue_remove(queue, kernel_queue_first(queue));
	kernel_queue_count_keys(queue, add(queue, &one, NFS), KERNEL_QUEUE_KEYS_MAX - 1);
	assert_true(kernel_queue_has_room_for_keys(queue));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lanes_take_turns, queue_setup, queue_teardown),
	    cmocka_unit_test_setup_teardown(what_is_not_given_stays_first, queue_setup,
					    queue_teardown),
	    cmocka_unit_test_setup_teardown(a_flood_leaves_the_others_their_share, queue_setup,
					    queue_teardown),
	    cmocka_unit_test_setup_teardown(a_single_lane_may_have_all, queue_setup,
					    queue_teardown),
	    cmocka_unit_test_setup_teardown(what_ends_makes_room, queue_setup, queue_teardown),
	    cmocka_unit_test_setup_teardown(more_lanes_than_requests, queue_setup, queue_teardown),
	    cmocka_unit_test_setup_teardown(a_lower_bound_waits, queue_setup, queue_teardown),
	    cmocka_unit_test_setup_teardown(only_its_own_worker_finds_it, queue_setup,
					    queue_teardown),
	    cmocka_unit_test_setup_teardown(the_earliest_deadline_is_known, queue_setup,
					    queue_teardown),
	    cmocka_unit_test_setup_teardown(keys_are_bounded_over_all, queue_setup, queue_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
