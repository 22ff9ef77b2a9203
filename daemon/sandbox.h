/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a worker or relay gives up before it sees a byte from a network. Fails closed. */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "config.h"
#include "problem.h"

enum sandbox_kind {
	SANDBOX_WORKER,
	SANDBOX_RELAY,
	SANDBOX_SIGNER,
	SANDBOX_TOKEN_SIGNER, /* with a PKCS#11 module, which opens files and local sockets */
};

/* No privileges (user, groups, capabilities, no_new_privs) and only the system calls that the kind
 * needs. uid 0 in the arguments is refused when running as root, but for a signer of tokens: that stays
 * root, without capabilities. 0 or -1 with a sentence. */
int sandbox_enter(enum sandbox_kind kind, uid_t uid, gid_t gid, struct problem *problem);
/* The same in two steps, for who has to open something with the privileges that remain: all but the filter
 * of system calls, then that. */
int sandbox_drop(enum sandbox_kind kind, uid_t uid, gid_t gid, struct problem *problem);
int sandbox_close(enum sandbox_kind kind, struct problem *problem);

#endif
