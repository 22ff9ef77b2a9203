/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a test of the handshake engine expects of an outcome and of the peer. */
#ifndef ENGINE_CHECKS_H
#define ENGINE_CHECKS_H

#include "engine-fixture.h"

struct engine_expectation {
	enum outcome_state state;
	enum failure_class class;
	enum alert_direction direction;
	int alert;            /* -1: none */
	int peer_alert;       /* that the peer saw; -1: none */
	const char *sentence; /* a part of it */
};

/* Runs both ends, and moves a record each way with the keys that the relay got. */
void engine_run_established(struct engine *engine, struct engine_peer *peer, int fd);
/* Runs both ends; the handshake must fail as is expected. */
void engine_run_failing(struct engine *engine, struct engine_peer *peer, int fd,
			const struct engine_expectation *expected);
/* Of the last run; peer: NULL if there was none. */
void engine_expect(struct engine *engine, const struct engine_peer *peer,
		   const struct engine_expectation *expected);

#endif
