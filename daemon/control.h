/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What supervisor and worker say to each other on their SOCK_SEQPACKET pair: packets of one struct, as
 * both are the same program in memory. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel-request.h"
#include "request.h"

enum control_kind {
	CONTROL_READY = 1, /* worker: in its sandbox, accepting */
	CONTROL_LISTEN, /* worker: a program asks for this; supervisor: accept for this one. Descriptors:
			      the listening socket, the program's connection */
	CONTROL_FINISH,    /* supervisor: take no more, end within timeout_ms */
	CONTROL_PROGRAM,   /* worker that finishes: another may serve this; supervisor: serve this.
			    Descriptor: the program's connection */
	CONTROL_SIGNER,    /* supervisor: another signer has come. Descriptor: the socket to it */
	CONTROL_NO_SIGNER, /* supervisor: there is none, and none is coming soon */
	CONTROL_TRACE,  /* worker: a program wants to see all handshakes; supervisor: show them this
			    one. Descriptor: the program's connection */
	CONTROL_KERNEL, /* supervisor: a kernel consumer's handshake. Descriptor: its socket */
	CONTROL_KERNEL_KEYS, /* the same, one with pre-shared keys. Descriptors: its socket, the keys */
	CONTROL_KERNEL_DONE, /* worker: how it ended */
	CONTROL_KERNEL_PEER, /* the same, with an authenticated peer. Descriptor: its certificate (DER), a
				sealed memfd */
};

enum { CONTROL_FDS = 2 };

struct control {
	enum control_kind kind;
	uint32_t timeout_ms;
	bool hand_over; /* with CONTROL_FINISH: programs go to others with CONTROL_PROGRAM */
	struct kernel_answer kernel_answer;
	struct kernel_request kernel_request;
	struct caller caller;
	struct request request;
};

/* Never wait. The descriptors (as many as the kind has) stay the caller's. 0 or -errno (-EAGAIN: the
 * queue is full). */
int control_send(int fd, const struct control *control, const int *fds);
/* 1, 0 at the end of the other process, or -errno (-EAGAIN: nothing is there; -EPROTO: a packet that
 * does not belong here; -EMFILE: one whose descriptors this process had no room for. What came of them is
 * closed). ret_fds: the caller's, -1 where there is none. */
int control_receive(int fd, struct control *ret_control, int ret_fds[CONTROL_FDS]);

#endif
