/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets that the daemon makes itself and all its workers share: what seals tokens, what ticket keys
 * are derived from. They rotate on a schedule, and former ones are accepted for a while. */
#ifndef SECRETS_H
#define SECRETS_H

#include <stdint.h>

#include "problem.h"

enum secret_kind {
	SECRET_TOKEN,  /* a week each, seven former ones: connections live long */
	SECRET_TICKET, /* rotates as configured, with one former one */
	SECRET_KINDS,
};

enum {
	SECRET_SIZE = 32,  /* bytes */
	SECRET_EPOCHS = 8, /* the most that are accepted at a time, of any kind */
};

/* Wiped by whoever got it. */
struct secret {
	uint8_t key[SECRET_SIZE];
	uint32_t id;  /* random; no two of a kind at a time are the same */
	int64_t made; /* seconds, as time(2) */
};

struct secrets;

/*
 * The supervisor's: reads what the directory keeps (the file "secrets", 0600), makes what is missing or due,
 * writes it there. NULL as directory: in memory alone. The memory is mapped shared, so that processes forked
 * from now on see each rotation. 0, or -1 and a sentence.
 */
int secrets_new(const char *directory, unsigned rotation_s, struct secrets **ret_secrets,
		struct problem *problem);
/* Whether secrets_new() would take the directory, for handshaked --check. 0, or -1 and a sentence. */
int secrets_check(const char *directory, struct problem *problem);
/* A reload's: another schedule of tickets, or another directory, into which all are written. 0, or -1 and a
 * sentence: then all stays as it was. */
int secrets_change(struct secrets *secrets, const char *directory, unsigned rotation_s,
		   struct problem *problem);
/* When the next rotation is due: seconds from now, 0 if it is. */
int64_t secrets_rotate_due(const struct secrets *secrets);
/* Rotates what is due and drops what is too old. -1 and a sentence where it cannot be kept in the directory;
 * it holds until the daemon ends nevertheless. */
int secrets_rotate(struct secrets *secrets, struct problem *problem);
/* A worker's, after fork(): it only reads from now on. */
void secrets_protect(struct secrets *secrets);
/* The accepted ones, newest first; how many: 0 only where the memory is not what the supervisor leaves there.
 * Takes no lock; sees all of a rotation or nothing. */
unsigned secrets_get(const struct secrets *secrets, enum secret_kind kind,
		     struct secret ret_secrets[SECRET_EPOCHS]);
/* Unmaps them from this process. NULL is fine. */
void secrets_free(struct secrets *secrets);

#endif
