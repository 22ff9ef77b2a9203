/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker's surroundings for one handshake task at a time: event loop, relay (played by the test),
 * certificates and a profile to change. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <event2/event.h>

#include "engine-peer.h"
#include "engine-pki.h"
#include "handshake-task.h"
#include "offload-relay.h"

#define ENGINE_NAME        "server.example"
#define ENGINE_CLIENT_NAME "client.example"

struct engine {
	struct handshake_surroundings surroundings;
	struct kernel_tls kernel;
	struct offload_nic nic;
	int relay; /* the relay process's end */
	struct signer *signer;
	char directory[64];
	struct engine_certificate authority;
	struct engine_certificate stranger; /* an authority that nobody trusts */
	struct engine_certificate server;
	struct engine_certificate client;
	/* What a test may change before engine_decide(): */
	struct config_profile config;
	struct profile profile;
	const struct engine_certificate *own; /* of our side; NULL: none */
	struct decision decision;
	/* Of the last task: */
	int fd; /* lent to it; closed when it has ended */
	bool ended;
	struct outcome outcome;
	struct timespec ended_at;
};

/* cmocka's setup and teardown: *state is a struct engine. */
int engine_setup(void **state);
int engine_teardown(void **state);
/* A decision for the role from the profile, with credentials and priorities made for it. */
void engine_decide(struct engine *engine, enum request_role role);
/* Runs a task on fd (taken) to its end; the outcome is the engine's until the next run. */
void engine_run(struct engine *engine, int fd);
struct handshake_task *engine_start(struct engine *engine, int fd);
void engine_wait(struct engine *engine);
/* A peer that fits the profile, in the other role. */
void engine_peer_init(struct engine *engine, struct engine_peer *peer, int fd);
void engine_peer_done(struct engine_peer *peer);
/* What the relay process gets of an established connection: the request and the TCP socket; -1 as the
 * return value: nothing came. */
int engine_take_relayed(struct engine *engine, struct relay_request *ret_request);

#endif
