// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o tests/unit/tls-pair.o */
/* Pre-shared keys in a handshake where memory ends: that is told as what it is, never as a wrong key. */
#include "psk-session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "credentials.h"
#include "loaded.h"
#include "pki.h"
#include "session.h"
#include "tls-pair.h"

/* Of a size that nothing else has. */
enum { KEY_SIZE = 61 };
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:+DHE-PSK:+PSK"

static struct config_profile config;
static struct profile profile;
static struct decision decision;
static struct session session;
static struct failure failure;
static unsigned char key[KEY_SIZE];
static bool memory_ends;

gnutls_dh_params_t credentials_dh(const struct credentials *credentials)
{
	(void)credentials;
	return NULL;
}

static gnutls_alloc_function malloc_of_library;

static void *malloc_failing(size_t size)
{
	return memory_ends && size == KEY_SIZE ? NULL : malloc_of_library(size);
}

static int setup(void **state)
{
	char text[2 * KEY_SIZE + 16] = "client:", *end = text + strlen(text);
	struct problem problem = {""};

	(void)state;
	memset(&config, 0, sizeof(config));
	memset(&profile, 0, sizeof(profile));
	memset(&decision, 0, sizeof(decision));
	memset(&session, 0, sizeof(session));
	memset(&failure, 0, sizeof(failure));
	memset(key, 0xa5, sizeof(key));
	for (int i = 0; i < KEY_SIZE; i++, end += 2)
		memcpy(end, "a5", 2);
	strcpy(end, "\n");
	config.name = (char *)"test";
	config.psk.file = (char *)pki_write_text("psk", text);
	chmod(config.psk.file, 0600);
	profile.config = &config;
	decision.profile = &profile;
	decision.psk = decision.psk_only = true;
	assert_int_equal(psk_identity_read("client", &decision.psk_identity), 0);
	session.decision = &decision;
	if (psk_new(&config.psk, &profile.psk, &problem) < 0 ||
	    psk_session_credentials(&profile, &problem) < 0)
		fail_msg("%s", problem.text);
	malloc_of_library = gnutls_malloc;
	gnutls_malloc = malloc_failing;
	memory_ends = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gnutls_malloc = malloc_of_library;
	psk_session_done(&session.psk);
	gnutls_psk_free_server_credentials(profile.psk_server);
	psk_free(profile.psk);
	pki_directory_remove();
	return 0;
}

/* The client has had its own. */
static int memory_end(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
		      const gnutls_datum_t *message)
{
	(void)tls, (void)type, (void)when, (void)incoming, (void)message;
	memory_ends = true;
	return 0;
}

/* A handshake with a client that has the key. */
static void serve(struct tls_pair *pair, bool without_memory)
{
	const gnutls_datum_t identity = {(unsigned char *)"client", 6}, secret = {key, KEY_SIZE};
	gnutls_psk_client_credentials_t client;

	decision.role = REQUEST_SERVER;
	tls_pair_open(pair, 0, 0);
	session.tls = pair->server;
	gnutls_session_set_ptr(pair->server, &session);
	assert_int_equal(gnutls_psk_allocate_client_credentials(&client), 0);
	assert_int_equal(
	    gnutls_psk_set_client_credentials2(client, &identity, &secret, GNUTLS_PSK_KEY_RAW), 0);
	gnutls_credentials_set(pair->client, GNUTLS_CRD_PSK, client);
	gnutls_priority_set_direct(pair->client, PRIORITY, NULL);
	gnutls_priority_set_direct(pair->server, PRIORITY, NULL);
	assert_int_equal(psk_session_set(&session), 0);
	if (without_memory)
		gnutls_handshake_set_hook_function(pair->server, GNUTLS_HANDSHAKE_CLIENT_HELLO,
						   GNUTLS_HOOK_PRE, memory_end);
	tls_pair_run(pair);
	memory_ends = false;
	gnutls_psk_free_client_credentials(client);
}

static void a_server_finds_the_key(void **state)
{
	struct tls_pair pair;

	(void)state;
	serve(&pair, false);
	assert_int_equal(pair.server_error, 0);
	assert_int_equal(pair.client_error, 0);
	assert_true(psk_session_used(&session));
	tls_pair_close(&pair);
}

static void a_server_tells_want_of_memory_from_a_wrong_key(void **state)
{
	struct tls_pair pair;
	int alert = -1;

	(void)state;
	serve(&pair, true);
	assert_true(pair.server_error < 0);
	assert_true(psk_session_tell(&failure, pair.server_error, &session, &alert));
	assert_int_equal(alert, GNUTLS_A_INTERNAL_ERROR);
	assert_int_equal(failure.class, FAILURE_INTERNAL);
	assert_true(failure.retry);
	assert_string_equal(failure.verification, "");
	assert_non_null(strstr(failure.sentence, "not enough memory"));
	tls_pair_close(&pair);
}

static void a_client_tells_want_of_memory_from_a_missing_key(void **state)
{
	(void)state;
	decision.role = REQUEST_CLIENT;
	assert_int_equal(gnutls_init(&session.tls, GNUTLS_CLIENT), 0);
	memory_ends = true;
	assert_int_equal(psk_session_set(&session), GNUTLS_E_MEMORY_ERROR);
	memory_ends = false;
	assert_int_equal(psk_session_set(&session), 0);
	decision.psk_identity.size--;
	assert_int_equal(psk_session_set(&session), GNUTLS_E_INSUFFICIENT_CREDENTIALS);
	gnutls_deinit(session.tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_server_finds_the_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_server_tells_want_of_memory_from_a_wrong_key, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_client_tells_want_of_memory_from_a_missing_key, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
