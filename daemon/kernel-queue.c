// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Turns and shares of the kernel's consumers. Touches its own memory alone. Must never let one consumer, or one
 * network namespace, take what another needs to get on.
 */
#include "kernel-queue.h"

#include <stdlib.h>

enum { BUCKETS = 1024 };

/* Exists while it has requests. */
struct kernel_lane {
	TAILQ_ENTRY(kernel_lane) turn; /* while one of its requests waits */
	LIST_ENTRY(kernel_lane) entry;
	void *network;
	unsigned consumer;
	unsigned count; /* those that wait and those that were given */
	struct kernel_pendings waiting;
};

struct kernel_queue {
	TAILQ_HEAD(kernel_turns, kernel_lane) turns; /* the first is next */
	LIST_HEAD(kernel_lanes, kernel_lane) lanes;
	struct kernel_pendings all;
	LIST_HEAD(kernel_bucket, kernel_pending) buckets[BUCKETS];
	unsigned count;
	unsigned total, own; /* own: what each lane has for itself */
	unsigned common;     /* what is left for all */
	size_t keys_size;    /* of all */
	int64_t earliest;    /* or later; never earlier than this */
};

struct kernel_queue *kernel_queue_new(void)
{
	struct kernel_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	TAILQ_INIT(&queue->turns);
	LIST_INIT(&queue->lanes);
	TAILQ_INIT(&queue->all);
	queue->earliest = INT64_MAX;
	return queue;
}

void kernel_queue_free(struct kernel_queue *queue)
{
	struct kernel_pending *pending, *next;

	if (!queue)
		return;
	for (pending = TAILQ_FIRST(&queue->all); pending; pending = next) {
		next = TAILQ_NEXT(pending, all);
		kernel_queue_remove(queue, pending);
	}
	free(queue);
}

void kernel_queue_limit(struct kernel_queue *queue, unsigned total, unsigned lanes)
{
	queue->total = total;
	queue->own = lanes ? total / 2 / lanes : 0;
	queue->common = total - queue->own * lanes;
}

/* ---- Lanes --------------------------------------------------------------------------------- */

static struct kernel_lane *lane_find(const struct kernel_queue *queue, const void *network,
				     unsigned consumer)
{
	struct kernel_lane *lane;

	LIST_FOREACH(lane, &queue->lanes, entry)
	if (lane->network == network && lane->consumer == consumer)
		return lane;
	return NULL;
}

static struct kernel_lane *lane_make(struct kernel_queue *queue, void *network, unsigned consumer)
{
	struct kernel_lane *lane = lane_find(queue, network, consumer);

	if (lane)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return NULL;
	lane->network = network;
	lane->consumer = consumer;
	TAILQ_INIT(&lane->waiting);
	LIST_INSERT_HEAD(&queue->lanes, lane, entry);
	return lane;
}

static void lane_unlink(struct kernel_queue *queue, struct kernel_lane *lane,
			struct kernel_pending *pending)
{
	TAILQ_REMOVE(&lane->waiting, pending, turn);
	if (TAILQ_EMPTY(&lane->waiting))
		TAILQ_REMOVE(&queue->turns, lane, turn);
}

/* ---- Coming -------------------------------------------------------------------------------- */

bool kernel_queue_has_room(const struct kernel_queue *queue, const void *network, unsigned consumer)
{
	const struct kernel_lane *lane = lane_find(queue, network, consumer);
	unsigned used = 0;

	if (queue->count >= queue->total)
		return false;
	if ((lane ? lane->count : 0) < queue->own)
		return true;
	LIST_FOREACH(lane, &queue->lanes, entry)
	if (lane->count > queue->own)
		used += lane->count - queue->own;
	return used < queue->common;
}

struct kernel_pending *kernel_queue_add(struct kernel_queue *queue, void *network,
					unsigned consumer, uint64_t id, int64_t deadline)
{
	struct kernel_pending *pending;
	struct kernel_lane *lane;

	if (!kernel_queue_has_room(queue, network, consumer))
		return NULL;
	pending = calloc(1, sizeof(*pending));
	lane = pending ? lane_make(queue, network, consumer) : NULL;
	if (!lane) {
		free(pending);
		return NULL;
	}
	pending->lane = lane;
	pending->request.id = id;
	pending->fd = pending->keys_fd = -1;
	pending->deadline = deadline;
	if (deadline < queue->earliest)
		queue->earliest = deadline;
	if (TAILQ_EMPTY(&lane->waiting))
		TAILQ_INSERT_TAIL(&queue->turns, lane, turn);
	TAILQ_INSERT_TAIL(&lane->waiting, pending, turn);
	TAILQ_INSERT_TAIL(&queue->all, pending, all);
	LIST_INSERT_HEAD(&queue->buckets[id % BUCKETS], pending, same);
	lane->count++;
	queue->count++;
	return pending;
}

bool kernel_queue_has_room_for_keys(const struct kernel_queue *queue)
{
	return queue->keys_size < KERNEL_QUEUE_KEYS_MAX;
}

void kernel_queue_count_keys(struct kernel_queue *queue, struct kernel_pending *pending,
			     size_t size)
{
	pending->keys_size = size;
	queue->keys_size += size;
}

void *kernel_pending_network(const struct kernel_pending *pending)
{
	return pending->lane->network;
}

/* ---- Going --------------------------------------------------------------------------------- */

struct kernel_pending *kernel_queue_next(const struct kernel_queue *queue)
{
	const struct kernel_lane *lane = TAILQ_FIRST(&queue->turns);

	return lane ? TAILQ_FIRST(&lane->waiting) : NULL;
}

void kernel_queue_given(struct kernel_queue *queue, struct kernel_pending *pending, pid_t worker)
{
	struct kernel_lane *lane = pending->lane;

	lane_unlink(queue, lane, pending);
	pending->worker = worker;
	if (TAILQ_EMPTY(&lane->waiting))
		return;
	TAILQ_REMOVE(&queue->turns, lane, turn);
	TAILQ_INSERT_TAIL(&queue->turns, lane, turn);
}

struct kernel_pending *kernel_queue_find(const struct kernel_queue *queue, pid_t worker,
					 uint64_t id)
{
	struct kernel_pending *pending;

	LIST_FOREACH(pending, &queue->buckets[id % BUCKETS], same)
	if (worker && pending->request.id == id && pending->worker == worker)
		return pending;
	return NULL;
}

void kernel_queue_remove(struct kernel_queue *queue, struct kernel_pending *pending)
{
	struct kernel_lane *lane = pending->lane;

	if (!pending->worker)
		lane_unlink(queue, lane, pending);
	TAILQ_REMOVE(&queue->all, pending, all);
	LIST_REMOVE(pending, same);
	queue->count--;
	queue->keys_size -= pending->keys_size;
	if (--lane->count == 0) {
		LIST_REMOVE(lane, entry);
		free(lane);
	}
	free(pending);
}

/* ---- All ----------------------------------------------------------------------------------- */

struct kernel_pending *kernel_queue_first(const struct kernel_queue *queue)
{
	return TAILQ_FIRST(&queue->all);
}

struct kernel_pending *kernel_queue_after(const struct kernel_pending *pending)
{
	return TAILQ_NEXT(pending, all);
}

/* All are gone through only when one may be over, not at each turn of the loop. */
int64_t kernel_queue_earliest(struct kernel_queue *queue, int64_t now)
{
	const struct kernel_pending *pending;

	if (now < queue->earliest)
		return queue->earliest;
	queue->earliest = INT64_MAX;
	TAILQ_FOREACH(pending, &queue->all, all)
	if (pending->deadline < queue->earliest)
		queue->earliest = pending->deadline;
	return queue->earliest;
}
