/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys that came with a request of the kernel: in the signer for as long as that lasts. */
#ifndef SIGNER_LENT_H
#define SIGNER_LENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "problem.h"
#include "signer-protocol.h"

struct signer;
struct signer_key;
struct private_key;

/* What a worker needs to know to ask for signatures. */
struct signer_lent {
	uint32_t number; /* 0: none */
	uint32_t algorithm;
	uint32_t bits;
	uint32_t pss;
	uint8_t id[SIGNER_ID_SIZE];
};

/* ---- The supervisor ---- */

/* Gives the signer a private key (DER or PEM), which is not kept here. 0, or -1 and a sentence: it is none, or
 * the signer is not there or has no room for it now (*ret_retry). */
int signer_lend(struct signer *signer, const void *key, size_t size, struct signer_lent *ret_lent,
		bool *ret_retry, struct problem *problem);
/* Never waits: signer_tend() says it once more where the signer could not be told. */
void signer_forget_lent(struct signer *signer, uint32_t number);

/* ---- A worker ---- */

/* For signer_key_handle(); to be freed after every handle of it. NULL: no memory. */
struct signer_key *signer_lent_key(const struct signer_lent *lent);

/* ---- The signer itself, which keeps others out meanwhile ---- */

/* Takes the key. -1: there are too many. */
int lent_keep(uint32_t number, struct private_key *key);
/* NULL: it is not there (any more). */
struct private_key *lent_find(uint32_t number);
void lent_forget(uint32_t number);
void lent_forget_all(void);

#endif
