/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the workers remember together: sessions, tickets, and what must not come twice. Bounded, and each
 * entry with a time at which it ends. */
#ifndef SHARED_STORE_H
#define SHARED_STORE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "problem.h"

enum shared_table {
	SHARED_SESSIONS, /* of our servers, TLS 1.2, by session ID */
	SHARED_TICKETS,  /* of our clients */
	SHARED_REPLAY, /* of early data: never forgets an entry before its time, refuses instead */
	SHARED_TABLES,
};

enum {
	SHARED_VALUE_MAX = 65536, /* bytes of an entry */
	SHARED_BYTES_MIN = 1 << 20,
};

struct shared_store;

/*
 * The supervisor's, before it starts workers: makes the directory with an empty store for the workers of this
 * user and group. With keep, what an earlier daemon left there stays, unless it is damaged, or the machine was
 * started anew meanwhile: what was not written to the disk would be missing. Another process reads it, as that
 * user: a worker that was taken over may have written anything. 0, or -1 and a sentence.
 */
int shared_store_prepare(const char *directory, bool keep, uid_t uid, gid_t gid,
			 struct problem *problem);
/* The files are for the workers of another user from now on; those that have them open keep them. */
int shared_store_give(const char *directory, uid_t uid, gid_t gid, struct problem *problem);
/* Removes the directory with the store. */
void shared_store_remove(const char *directory);

/* A way to the directory for who will have no privileges. path is good while fd, the caller's, is open. */
struct shared_store_way {
	int fd;
	char path[32];
};

int shared_store_reach(const char *directory, struct shared_store_way *ret_way,
		       struct problem *problem);
/* A worker's, after fork(), without privileges, before its filter of system calls. bytes: what all tables may take, half of it sessions. 0, or
 * -1 and a sentence. */
int shared_store_open(const char *directory, size_t bytes, struct shared_store **ret_store,
		      struct problem *problem);
/* Reads all that is there. 0, or -1: something is missing. */
int shared_store_walk(struct shared_store *store);
/* NULL is fine. */
void shared_store_close(struct shared_store *store);

/* Keys are of any size. expires is as time(2). Each call sees and changes all or nothing, whatever others
 * do; none waits for more than another's call. */

/* Puts or replaces; with only_if_new, an entry that is there already stays: -EEXIST. Returns how many others
 * were dropped before their time for it (those nearest to it first), or -ENOSPC (no room), -EFBIG (it alone is
 * too large), -EIO (the reason is in the log). */
int shared_store_put(struct shared_store *store, enum shared_table table, const void *key,
		     size_t key_size, const void *value, size_t size, int64_t expires,
		     bool only_if_new);
/* A copy, to be freed with gnutls_free(). 0, or -ENOENT (also: its time is over), -ENOMEM, -EIO. */
int shared_store_get(struct shared_store *store, enum shared_table table, const void *key,
		     size_t key_size, gnutls_datum_t *ret_value);
/* The same and deletes it: of many that take, one gets it. */
int shared_store_take(struct shared_store *store, enum shared_table table, const void *key,
		      size_t key_size, gnutls_datum_t *ret_value);
int shared_store_remove_entry(struct shared_store *store, enum shared_table table, const void *key,
			      size_t key_size);
/* How many entries there are; some may have ended. */
uint64_t shared_store_count(struct shared_store *store, enum shared_table table);

#endif
