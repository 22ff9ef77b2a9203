// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bounds, looked at before a handshake begins. Touches the counters. A connection that no relay can take
 * is refused while its socket is untouched, not when the handshake is over.
 */
#include "places.h"

static bool relay_is_expected(const struct worker *worker, const struct decision *decision)
{
	return decision->records == CONFIG_RECORDS_RELAY ||
	       (decision->records == CONFIG_RECORDS_AUTO && !worker->setup->kernel->available);
}

int places_take(struct worker *worker, uid_t uid, const struct decision *decision, bool *ret_relay,
		struct failure *failure)
{
	const struct config *config = worker->config;
	struct counters *counters = worker->setup->counters;

	*ret_relay = false;
	if (!counters_take_place(counters, PLACE_HANDSHAKE, uid, config->handshakes_per_user,
				 config->handshakes_total)) {
		failure_set(
		    failure, FAILURE_BUSY, true,
		    "As many handshakes are under way as [daemon] handshakes-per-user (%u) or "
		    "handshakes-total (%u) allows: try again",
		    config->handshakes_per_user, config->handshakes_total);
		return -1;
	}
	if (!relay_is_expected(worker, decision))
		return 0;
	*ret_relay = counters_take_place(counters, PLACE_RELAY_EXPECTED, uid,
					 config->relayed_per_user, config->relayed_total);
	if (*ret_relay)
		return 0;
	counters_give_place(counters, PLACE_HANDSHAKE, uid);
	failure_set(
	    failure, FAILURE_BUSY, true,
	    "As many connections are relayed as [daemon] relayed-per-user (%u) or relayed-total "
	    "(%u) allows: try again",
	    config->relayed_per_user, config->relayed_total);
	return -1;
}

void places_give_relay(struct worker *worker, uid_t uid, bool relay, enum outcome_state state)
{
	/* Where a relay was expected, an established connection is with it, and the place, too. */
	if (relay && state != OUTCOME_ESTABLISHED)
		counters_give_place(worker->setup->counters, PLACE_RELAY_EXPECTED, uid);
}
