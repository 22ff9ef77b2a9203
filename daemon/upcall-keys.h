/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keys that a request of the kernel names. Accepting a request gives this process possession of the
 * consumer's keyring (a link in the process keyring), and with it the right to read what is in there. */
#ifndef UPCALL_KEYS_H
#define UPCALL_KEYS_H

#include "consumer-keys.h"
#include "problem.h"
#include "upcall.h"

/* Gives up the possession of all that requests brought. Before a request is accepted, so that what is there
 * afterwards is its own, and when it has been read. */
void upcall_keys_forget(void);

/*
 * The pre-shared keys that may serve the request. A client's are those that it names, and must all be good;
 * a server's those of its keyring, or of .nvme if it brings none, but for those that have expired or are of
 * another kind. 0 and a new set, which a server's may be empty, or -1 and a sentence: *ret_retry, whether
 * another attempt may help.
 */
int upcall_keys_read(const struct upcall_request *request, struct consumer_keys **ret_keys,
		     bool *ret_retry, struct problem *problem);
/* Whether an errno of reading keys, or of passing them on, says nothing about them: there was no memory, or no
 * descriptor. */
bool upcall_keys_may_retry(int error);

#endif
