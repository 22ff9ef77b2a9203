/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server counts of its handshakes: how many, and where their time went. */
#ifndef PERF_RATE_TALLY_H
#define PERF_RATE_TALLY_H

#include <jansson.h>
#include <stdint.h>

#include "handshake.h"
#include "statistics.h"

enum tally_time {
	TALLY_TOTAL,
	TALLY_HAND_OVER, /* the program's wait beyond what the daemon accounts for */
	TALLY_QUEUE,
	TALLY_PEER,
	TALLY_COMPUTATION,
	TALLY_SIGNER,
	TALLY_KEYS,
	TALLY_COUNT,
};

/* Whatever is to be added to NULL is not counted. */
struct tally {
	uint64_t established, failed, resumed;
	struct samples times[TALLY_COUNT]; /* microseconds */
	char transmit[16], receive[16], suite[64], version[16], error[256];
};

void tally_begin(struct tally *tally);
/* Of a handshake by the daemon; began: when the program asked (seconds), 0: it did not, the daemon accepted. */
void tally_add(struct tally *tally, const struct handshake *handshake, double began);
/* Of one by GnuTLS in this process; microseconds. */
void tally_add_own(struct tally *tally, double total, double computation, int resumed);
void tally_fail(struct tally *tally, const char *sentence);
/* A new reference. */
json_t *tally_report(struct tally *tally);

#endif
