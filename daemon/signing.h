/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker's way to the signer. GnuTLS can only wait for a signature, and the worker must not: so each
 * gnutls_handshake() that may sign runs on a stack of its own, which is put aside while the signer works. */
#ifndef SIGNING_H
#define SIGNING_H

#include <event2/event.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "signer-protocol.h"

struct signing;
struct fiber;

/* Handshakes of one worker that may be within the library at once; more wait their turn. */
enum { SIGNING_STACKS = 256 };

/* What signing_handshake() returns when the handshake waits for the signer: no GnuTLS error. */
enum { SIGNING_PENDING = 1 };

typedef void signing_resumed(void *context, int result);

/* One task's use of it; lies in the task. */
struct signing_call {
	struct signing *signing; /* NULL: the session signs nothing, or not by a signer */
	gnutls_session_t tls;
	signing_resumed *resumed;
	void *context;
	struct fiber *fiber; /* NULL: not within the library */
	bool queued;         /* for a fiber */
	bool cancelled;
	int result;
	const char *failure; /* why the key could not be used, for a person; NULL */
	struct signing_request *request;
	TAILQ_ENTRY(signing_call) link;
};

/* fd: this worker's socket to the signer (taken), -1: there is none. stacks: at most so many handshakes
 * wait within the library. NULL: no memory. */
struct signing *signing_new(struct event_base *base, int fd, unsigned stacks);
/* After every call has ended. NULL is fine. */
void signing_free(struct signing *signing);
/* Another signer has come: what waits for the former one fails, what was not sent yet goes to this one.
 * fd is taken; -1: there is none, and none may come. */
void signing_change(struct signing *signing, int fd);

/* gnutls_handshake(), and its result; or SIGNING_PENDING: resumed is then called once from the event loop
 * with the result, unless signing_cancel() comes first. The session must be left alone meanwhile. */
int signing_handshake(struct signing_call *call, gnutls_session_t tls);
/* Ends what is pending: the library's call returns with an error before this does. May be called always. */
void signing_cancel(struct signing_call *call);
bool signing_is_pending(const struct signing_call *call);

/* From within the library, on a fiber: puts the handshake aside until the signer has answered. request
 * needs no id. 0 or a GnuTLS error. */
int signing_ask(const struct signer_request *request, const gnutls_datum_t *data,
		gnutls_datum_t *ret_answer);

#endif
