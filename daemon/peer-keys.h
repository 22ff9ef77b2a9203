/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The certificates of peers as keys of the kernel, so that a consumer is told not only that its peer was
 * authenticated but also who it is. */
#ifndef PEER_KEYS_H
#define PEER_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum {
	PEER_KEYS_MAX = 512,
	PEER_KEYS_LIFE_S = 60,            /* a consumer looks at once, or takes a reference */
	PEER_CERTIFICATE_MAX = 16 * 1024, /* bytes */
};

struct peer_keys;

/* NULL: out of memory. */
struct peer_keys *peer_keys_new(void);
void peer_keys_free(struct peer_keys *peers);
/* A key of the type user with the certificate (DER) in it, "handshaked:peer:" and its SHA-256 in hexadecimal
 * digits as description; the same one for the same certificate. fd: a sealed memfd of a worker, borrowed; -1: the
 * peer has shown none. The key's serial number; that of the keyring where it would lie if it cannot be made
 * (*ret_error: 0, or -errno, why); 0: no keys can be made at all. */
int32_t peer_keys_add(struct peer_keys *peers, int fd, int *ret_error);

#endif
