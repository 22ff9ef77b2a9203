// SPDX-License-Identifier: LGPL-2.1-or-later
// A worker's surroundings for one handshake task at a time.
#include "engine-fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "credentials.h"
#include "descriptors.h"
#include "priorities.h"
#include "signer.h"
#include "signing.h"
#include "trust.h"

static void engine_make_trust(struct engine *engine)
{
	struct problem problem = {""};
	char path[128];

	snprintf(path, sizeof(path), "%s/authority.pem", engine->directory);
	engine_certificate_write(&engine->authority, path);
	if (trust_new(path, NULL, &engine->profile.trust, &problem) < 0)
		fail_msg("%s", problem.text);
	unlink(path);
}

int engine_setup(void **state)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	struct problem problem = {""};
	int pair[2];

	if (engine == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	engine->surroundings.base = event_base_new();
	engine->surroundings.kernel = &engine->kernel;
	offload_nic_open(&engine->nic);
	engine->surroundings.nic = &engine->nic;
	engine->surroundings.relay_socket = pair[0];
	engine->relay = pair[1];
	snprintf(engine->kernel.reason, sizeof(engine->kernel.reason), "this kernel has no TLS");
	snprintf(engine->directory, sizeof(engine->directory), "/tmp/engine-XXXXXX");
	if (mkdtemp(engine->directory) == NULL)
		return -1;
	engine_authority(&engine->authority, "Engine Authority");
	engine_authority(&engine->stranger, "Engine Stranger");
	engine_leaf(&engine->server, &engine->authority,
		    &(struct engine_leaf){.common_name = "the server", .dns = ENGINE_NAME});
	engine_leaf(&engine->client, &engine->authority,
		    &(struct engine_leaf){
			.common_name = "the client", .dns = ENGINE_CLIENT_NAME, .client = true});
	engine_make_trust(engine);
	engine->config.name = (char *)"test";
	engine->config.min_version = CONFIG_TLS12;
	engine->config.timeout_ms = 10000;
	for (int i = 0; i < CONFIG_CIPHERS; i++)
		engine->config.ciphers[i] = (enum config_cipher)i;
	engine->config.cipher_count = CONFIG_CIPHERS;
	for (int group = CONFIG_X25519; group < CONFIG_GROUPS; group++)
		engine->config.groups[engine->config.group_count++] = (enum config_group)group;
	engine->profile.config = &engine->config;
	outcome_init(&engine->outcome);
	if (signer_new(NULL, &engine->signer, &problem) < 0)
		return -1;
	*state = engine;
	return 0;
}

static void engine_forget_profile(struct engine *engine)
{
	credentials_free(engine->profile.credentials);
	engine->profile.credentials = NULL;
	if (engine->profile.priority_server != NULL)
		gnutls_priority_deinit(engine->profile.priority_server);
	if (engine->profile.priority_client != NULL)
		gnutls_priority_deinit(engine->profile.priority_client);
	engine->profile.server = engine->profile.client = NULL;
	engine->profile.priority_server = engine->profile.priority_client = NULL;
}

int engine_teardown(void **state)
{
	struct engine *engine = *state;

	engine_forget_profile(engine);
	signing_free(engine->surroundings.signing);
	signer_free(engine->signer);
	outcome_done(&engine->outcome);
	trust_unref(engine->profile.trust);
	engine_certificate_done(&engine->client);
	engine_certificate_done(&engine->server);
	engine_certificate_done(&engine->stranger);
	engine_certificate_done(&engine->authority);
	offload_nic_close(&engine->nic);
	rmdir(engine->directory);
	if (engine->surroundings.relay_socket >= 0)
		close(engine->surroundings.relay_socket);
	if (engine->relay >= 0)
		close(engine->relay);
	event_base_free(engine->surroundings.base);
	free(engine);
	return 0;
}

/* The profile as the daemon itself makes it, from files. */
static void engine_load_profile(struct engine *engine, enum request_role role)
{
	const struct engine_certificate *own = engine->own;
	struct config_certificate files = {.line = 1};
	struct problem problem = {""};
	char certificate[128], key[128];

	if (own == NULL && role == REQUEST_SERVER)
		own = &engine->server;
	snprintf(certificate, sizeof(certificate), "%s/own.pem", engine->directory);
	snprintf(key, sizeof(key), "%s/own.key", engine->directory);
	if (own != NULL) {
		engine_certificate_write(own, certificate);
		engine_key_write(own, key);
	}
	files.certificate = certificate;
	files.private_key = key;
	engine->config.roles = (unsigned)role;
	engine->config.certificates = own != NULL ? &files : NULL;
	engine->config.certificate_count = own != NULL;
	if (credentials_new(&engine->config, engine->profile.trust, engine->signer,
			    &engine->profile.credentials, &problem) < 0 ||
	    priorities_new(&engine->config, CONFIG_ROLE_SERVER, NULL,
			   &engine->profile.priority_server, &problem) < 0 ||
	    priorities_new(&engine->config, CONFIG_ROLE_CLIENT, NULL,
			   &engine->profile.priority_client, &problem) < 0)
		fail_msg("%s", problem.text);
	if (engine->surroundings.signing == NULL && signer_is_there(engine->signer))
		engine->surroundings.signing = signing_new(
		    engine->surroundings.base, signer_connect(engine->signer), SIGNING_STACKS);
	engine->profile.server = credentials_server(engine->profile.credentials);
	engine->profile.client = credentials_client(engine->profile.credentials);
	engine->config.certificates = NULL;
	engine->config.certificate_count = 0;
	unlink(certificate);
	unlink(key);
}

void engine_decide(struct engine *engine, enum request_role role)
{
	struct decision *decision = &engine->decision;

	engine_forget_profile(engine);
	engine_load_profile(engine, role);
	memset(decision, 0, sizeof(*decision));
	decision->profile = &engine->profile;
	decision->role = role;
	decision->client_certificates = engine->config.client_certificates;
	decision->alpn_required = engine->config.alpn_required;
	decision->records = CONFIG_RECORDS_RELAY;
	decision->timeout_ms = engine->config.timeout_ms;
	if (role == REQUEST_CLIENT)
		snprintf(decision->peer_name, sizeof(decision->peer_name), "%s", ENGINE_NAME);
}

static void engine_note(void *context, struct outcome *outcome)
{
	struct engine *engine = context;

	assert_false(engine->ended);
	engine->ended = true;
	close(engine->fd);
	engine->outcome = *outcome;
	outcome->relay_fd = -1;
	outcome->relay_state_fd = -1;
	memset(&outcome->identity, 0, sizeof(outcome->identity)); /* taken */
	clock_gettime(CLOCK_MONOTONIC, &engine->ended_at);
	event_base_loopbreak(engine->surroundings.base);
}

struct handshake_task *engine_start(struct engine *engine, int fd)
{
	struct handshake_task *task;

	outcome_done(&engine->outcome);
	outcome_init(&engine->outcome);
	engine->ended = false;
	engine->fd = fd;
	task = handshake_task_start(&engine->surroundings, &engine->decision, 1234, fd, engine_note,
				    engine);
	assert_non_null(task);
	assert_false(engine->ended);
	return task;
}

void engine_wait(struct engine *engine)
{
	while (!engine->ended)
		assert_true(event_base_loop(engine->surroundings.base, EVLOOP_ONCE) >= 0);
}

void engine_run(struct engine *engine, int fd)
{
	engine_start(engine, fd);
	engine_wait(engine);
}

void engine_peer_init(struct engine *engine, struct engine_peer *peer, int fd)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = fd;
	peer->server = engine->decision.role == REQUEST_CLIENT;
	peer->priority = "NORMAL";
	peer->credentials = engine_credentials(peer->server ? &engine->server : NULL, NULL);
	if (!peer->server)
		peer->server_name = ENGINE_NAME;
}

void engine_peer_done(struct engine_peer *peer)
{
	engine_peer_join(peer);
	gnutls_certificate_free_credentials(peer->credentials);
}

int engine_take_relayed(struct engine *engine, struct relay_request *ret_request)
{
	struct iovec part = {.iov_base = ret_request, .iov_len = sizeof(*ret_request)};
	int fds[RELAY_REQUEST_FDS], flags = MSG_DONTWAIT;
	size_t count = RELAY_REQUEST_FDS;
	ssize_t size = descriptors_receive(engine->relay, &part, 1, &flags, fds, &count);

	if (size < 0)
		return -1;
	assert_int_equal(size, sizeof(*ret_request));
	assert_int_equal(ret_request->version, RELAY_REQUEST_VERSION);
	/* Nothing here awaits tickets. */
	assert_int_equal(count, 4);
	close(fds[1]);
	close(fds[2]);
	close(fds[3]);
	return fds[0];
}
