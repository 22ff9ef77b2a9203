// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a server counts. Touches its numbers alone; never makes up a time that nobody told.
 */
#include "rate-tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "ending.h"
#include "handshake-protocol.h"

static const char *const names[TALLY_COUNT] = {"total",       "hand-over", "queue", "peer",
					       "computation", "signer",    "keys"};

static void tally_time(struct tally *tally, enum tally_time time, double microseconds)
{
	if (samples_add(&tally->times[time], microseconds) < 0)
		die("out of memory");
}

void tally_begin(struct tally *tally)
{
	for (int i = 0; i < TALLY_COUNT; i++)
		tally->times[i].count = 0;
	tally->established = tally->failed = tally->resumed = 0;
}

static void tally_word(char *text, size_t size, const struct handshake *handshake, const char *key)
{
	const char *value = handshake_result(handshake, key, 0);

	snprintf(text, size, "%s", value ? value : "");
}

static double number(const struct handshake *handshake, const char *key)
{
	const char *value = handshake_result(handshake, key, 0);

	return value ? strtod(value, NULL) : -1;
}

void tally_add(struct tally *tally, const struct handshake *handshake, double began)
{
	static const char *const keys[TALLY_COUNT] = {
	    [TALLY_QUEUE] = HANDSHAKE_KEY_TIME_QUEUE_US,
	    [TALLY_PEER] = HANDSHAKE_KEY_TIME_PEER_US,
	    [TALLY_COMPUTATION] = HANDSHAKE_KEY_TIME_COMPUTATION_US,
	    [TALLY_SIGNER] = HANDSHAKE_KEY_TIME_SIGNER_US,
	    [TALLY_KEYS] = HANDSHAKE_KEY_TIME_KEYS_US,
	};
	const char *resumed;
	double total;

	if (!tally)
		return;
	total = number(handshake, HANDSHAKE_KEY_HANDSHAKE_US);
	resumed = handshake_result(handshake, HANDSHAKE_KEY_RESUMED, 0);
	if (handshake_outcome(handshake) != HANDSHAKE_ESTABLISHED) {
		tally_fail(tally, handshake_error(handshake));
		return;
	}
	if (began > 0) {
		double waited = (clock_seconds() - began) * 1e6;

		tally_time(tally, TALLY_HAND_OVER, waited > total ? waited - total : 0);
		total = waited;
	}
	tally_time(tally, TALLY_TOTAL, total);
	for (int i = TALLY_QUEUE; i < TALLY_COUNT; i++)
		tally_time(tally, (enum tally_time)i, number(handshake, keys[i]));
	if (!tally->transmit[0]) {
		tally_word(tally->transmit, sizeof(tally->transmit), handshake,
			   HANDSHAKE_KEY_TRANSMIT);
		tally_word(tally->receive, sizeof(tally->receive), handshake,
			   HANDSHAKE_KEY_RECEIVE);
		tally_word(tally->suite, sizeof(tally->suite), handshake, HANDSHAKE_KEY_SUITE);
		tally_word(tally->version, sizeof(tally->version), handshake,
			   HANDSHAKE_KEY_VERSION);
	}
	tally->established++;
	tally->resumed += resumed && strcmp(resumed, "yes") == 0;
}

void tally_add_own(struct tally *tally, double total, double computation, int resumed)
{
	if (!tally)
		return;
	tally_time(tally, TALLY_TOTAL, total);
	tally_time(tally, TALLY_COMPUTATION, computation);
	/* What is not its own computation: the peer, and others' turns. */
	tally_time(tally, TALLY_PEER, total - computation);
	tally->established++;
	tally->resumed += resumed != 0;
}

void tally_fail(struct tally *tally, const char *sentence)
{
	if (!tally)
		return;
	tally->failed++;
	if (!tally->error[0])
		snprintf(tally->error, sizeof(tally->error), "%s", sentence);
}

json_t *tally_report(struct tally *tally)
{
	json_t *times = json_object();
	json_t *report = json_pack(
	    "{s:I, s:I, s:I, s:o}", "established", (json_int_t)tally->established, "failed",
	    (json_int_t)tally->failed, "resumed", (json_int_t)tally->resumed, "times-us", times);

	for (int i = 0; i < TALLY_COUNT; i++) {
		json_t *one;

		if (!tally->times[i].count)
			continue;
		one = json_object();
		samples_sort(&tally->times[i]);
		for (int j = 0; j < PERCENTILE_COUNT; j++)
			json_object_set_new(
			    one, percentile_names[j],
			    json_real(samples_percentile(&tally->times[i], percentile_parts[j])));
		json_object_set_new(times, names[i], one);
	}
	json_object_set_new(report, "records", json_string(tally->transmit));
	if (tally->error[0])
		json_object_set_new(report, "first-error", json_string(tally->error));
	return report;
}
