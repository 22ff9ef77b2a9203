/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of the kernel's consumers between their coming and their answer: who is next, and who may have
 * how many. A lane is one consumer in one network namespace; lanes take turns, and each has a share that no
 * other can use up. Plain data: nothing here waits, sends or closes. */
#ifndef KERNEL_QUEUE_H
#define KERNEL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "kernel-request.h"

enum { KERNEL_QUEUE_KEYS_MAX = 256 * 1024 * 1024 }; /* bytes, but for the last ring's */

struct kernel_lane;

struct kernel_pending {
	TAILQ_ENTRY(kernel_pending) turn; /* while it waits: in its lane */
	TAILQ_ENTRY(kernel_pending) all;
	LIST_ENTRY(kernel_pending) same; /* id, nearly */
	struct kernel_lane *lane;
	/* The caller's: */
	struct kernel_request request;
	int fd;           /* kept until the answer: it can be given even if the worker dies */
	int keys_fd;      /* until it is given; -1: there are none */
	size_t keys_size; /* kernel_queue_count_keys() */
	int32_t *serials; /* of these keys, which the answer may name; ends with 0; NULL: none */
	struct signer *signer; /* that has the private key of request.own; NULL: none */
	pid_t worker;          /* 0: waits for one; set by kernel_queue_given() */
	int64_t deadline;
};

TAILQ_HEAD(kernel_pendings, kernel_pending);

struct kernel_queue;

/* NULL: no memory. */
struct kernel_queue *kernel_queue_new(void);
/* Frees what is left in it, without a word. NULL is fine. */
void kernel_queue_free(struct kernel_queue *queue);
/* So many requests at once, for so many lanes, whether they ask or not: half of the requests is divided among the
 * lanes, each of which has its part for itself; the other half goes to whoever comes first. */
void kernel_queue_limit(struct kernel_queue *queue, unsigned total, unsigned lanes);

/* Whether this consumer in this namespace (any pointer) may have one more. */
bool kernel_queue_has_room(const struct kernel_queue *queue, const void *network,
			   unsigned consumer);
/* A new one at the end of its lane, with the deadline given and all else zero: the queue's until
 * kernel_queue_remove(). NULL: no room, or no memory. */
struct kernel_pending *kernel_queue_add(struct kernel_queue *queue, void *network,
					unsigned consumer, uint64_t id, int64_t deadline);
void *kernel_pending_network(const struct kernel_pending *pending);

/* Whether one more may bring a whole ring of keys: who has such a request keeps them until it has ended, and
 * whoever connects to a target makes one. */
bool kernel_queue_has_room_for_keys(const struct kernel_queue *queue);
/* So many bytes of keys are this one's until its end. Once. */
void kernel_queue_count_keys(struct kernel_queue *queue, struct kernel_pending *pending,
			     size_t size);

/* Whose turn it is. NULL: none waits. */
struct kernel_pending *kernel_queue_next(const struct kernel_queue *queue);
/* It waits no more, and it is the turn of the next lane. worker: not 0. */
void kernel_queue_given(struct kernel_queue *queue, struct kernel_pending *pending, pid_t worker);
/* The one that this worker was given under this id, or NULL. */
struct kernel_pending *kernel_queue_find(const struct kernel_queue *queue, pid_t worker,
					 uint64_t id);
/* Frees it. */
void kernel_queue_remove(struct kernel_queue *queue, struct kernel_pending *pending);

/* All, in the order of their coming; NULL at the end. */
struct kernel_pending *kernel_queue_first(const struct kernel_queue *queue);
struct kernel_pending *kernel_queue_after(const struct kernel_pending *pending);
/* No deadline ends earlier; INT64_MAX: there is none. */
int64_t kernel_queue_earliest(struct kernel_queue *queue, int64_t now);

#endif
