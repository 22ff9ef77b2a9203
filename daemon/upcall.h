/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's handshake upcall (generic netlink family "handshake", Documentation/netlink/specs/
 * handshake.yaml): requests of the kernel's own consumers, in one network namespace. */
#ifndef UPCALL_H
#define UPCALL_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake-protocol.h"
#include "problem.h"

enum { UPCALL_IDENTITIES_MAX = 5 };

enum upcall_authentication { /* HANDSHAKE_AUTH_… */
			     UPCALL_UNAUTHENTICATED = 1,
			     UPCALL_PSK = 2,
			     UPCALL_X509 = 3,
};

/* What a consumer asks for. Serial numbers of keys; 0: none. */
struct upcall_request {
	int fd; /* close-on-exec; shares the consumer's file, whose flags are not ours to change */
	bool is_server;
	enum upcall_authentication authentication;
	uint32_t timeout_ms; /* 0: the consumer says nothing */
	int32_t identities[UPCALL_IDENTITIES_MAX];
	unsigned identity_count;
	int32_t certificate;
	int32_t private_key;
	int32_t keyring;
	char peer_name[HANDSHAKE_PEER_NAME_SIZE]; /* "": none */
};

struct upcall;

/* Becomes an agent of the calling thread's network namespace. 0 and a new object, or -errno with a sentence
 * (-ENOENT: this kernel has no handshake service). */
int upcall_new(struct upcall **ret_upcall, struct problem *problem);
void upcall_free(struct upcall *upcall);

/* Whether consumers are told that somebody serves them (upcall_new() does it): without, and without another agent,
 * they hear ESRCH at once. 0, or -errno. */
int upcall_attend(struct upcall *upcall, bool on);
/* Readable when requests may be waiting: then upcall_listen() and upcall_accept() until it gives 0. */
int upcall_fd(const struct upcall *upcall);
/* Takes the notifications that have come. true: some were lost (the socket's queue overflowed), which costs
 * nothing, as requests are asked for until there are none. Never waits. */
bool upcall_listen(struct upcall *upcall);

/* Takes the next request; the descriptor is the caller's until upcall_done. 1, 0: none waits, or -errno
 * (-EIO: the kernel has failed one that could not be handed over; go on; -EPERM: without CAP_NET_ADMIN;
 * -EPROTO: a request that makes no sense, which has been answered). Never waits. */
int upcall_accept(struct upcall *upcall, struct upcall_request *ret_request);
/* Answers a request: exactly once. status: 0 or a positive errno. identity: the key that the peer was
 * authenticated with, 0: none. Closes nothing. 0, or -errno (-EBUSY: the consumer gave up meanwhile). */
int upcall_done(struct upcall *upcall, int fd, int status, int32_t identity);

#endif
