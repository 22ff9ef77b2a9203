/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pre-shared keys that a request of the kernel may be served with, on their way from the supervisor,
 * which alone may read them, to a worker. */
#ifndef CONSUMER_KEYS_H
#define CONSUMER_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* "NVMe1R02 ", two names of 223 bytes, a digest of SHA-384 in Base64, and the blanks between. */
	CONSUMER_KEY_IDENTITY_MAX = 521,
	CONSUMER_KEY_MIN = 16,
	CONSUMER_KEY_MAX = 64,
	CONSUMER_KEYS_MAX = 4096,
};

struct consumer_key {
	int32_t serial;
	const unsigned char *identity;
	size_t identity_size;
	const unsigned char *key;
	size_t key_size;
};

struct consumer_keys;

/* NVMe TCP Transport Specification 1.0c, 3.6.1.3: "NVMe" with a version, R or G, the hash (01: SHA-256, 02:
 * SHA-384), and names. false: it is nothing of the kind. */
bool consumer_key_is_nvme(const void *identity, size_t size, bool *ret_sha384);

/* An empty set, or NULL: out of memory. */
struct consumer_keys *consumer_keys_new(void);
/* Wipes and frees; NULL is fine. */
void consumer_keys_free(struct consumer_keys *keys);
/* Copies. 0 or -errno (-EINVAL: sizes beyond the bounds; -E2BIG: there are too many). */
int consumer_keys_add(struct consumer_keys *keys, const struct consumer_key *key);
unsigned consumer_keys_count(const struct consumer_keys *keys);
/* The bytes that they take, here and in a worker. */
size_t consumer_keys_size(const struct consumer_keys *keys);
/* The key of exactly this identity; borrowed. false: there is none. */
bool consumer_keys_find(const struct consumer_keys *keys, const void *identity, size_t size,
			struct consumer_key *ret_key);
/* The first that was added; borrowed. false: there is none. */
bool consumer_keys_first(const struct consumer_keys *keys, struct consumer_key *ret_key);
/* Their serial numbers: an array of the caller's, to be freed. 0 or -ENOMEM. */
int consumer_keys_serials(const struct consumer_keys *keys, int32_t **ret_serials);

/* A new memfd with the set, or -errno. */
int consumer_keys_pack(const struct consumer_keys *keys);
/* Reads it, and wipes what it has read. Takes fd. 0 and a new set, or -errno (-EPROTO: no such thing). */
int consumer_keys_unpack(int fd, struct consumer_keys **ret_keys);
/* Wipes and closes one that nobody has read. */
void consumer_keys_discard(int fd);

#endif
