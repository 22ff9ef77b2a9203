// SPDX-License-Identifier: LGPL-2.1-or-later
// Traffic keys: which secrets are kept, that wiping wipes. That exported keys are right is shown by
// test-handshake-task.c, which moves records with them.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "traffic-keys.h"

static void take(struct traffic_secrets *secrets, const char *label, unsigned char byte,
		 unsigned size)
{
	unsigned char bytes[64];
	gnutls_datum_t secret = {bytes, size};

	memset(bytes, byte, sizeof(bytes));
	traffic_secrets_take(secrets, label, &secret);
}

static void keeps_the_first_application_secrets_alone(void **state)
{
	struct traffic_secrets secrets = {.client_size = 0};

	(void)state;
	take(&secrets, "CLIENT_RANDOM", 1, 48);
	take(&secrets, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", 2, 32);
	take(&secrets, "EXPORTER_SECRET", 3, 32);
	assert_int_equal(secrets.client_size, 0);
	assert_int_equal(secrets.server_size, 0);
	take(&secrets, "CLIENT_TRAFFIC_SECRET_0", 4, 32);
	take(&secrets, "SERVER_TRAFFIC_SECRET_0", 5, 48);
	assert_int_equal(secrets.client_size, 32);
	assert_int_equal(secrets.client[31], 4);
	assert_int_equal(secrets.client[32], 0);
	assert_int_equal(secrets.server_size, 48);
	assert_int_equal(secrets.server[47], 5);
	traffic_secrets_wipe(&secrets);
}

static void takes_no_secret_that_is_too_long(void **state)
{
	struct traffic_secrets secrets = {.client_size = 0};

	(void)state;
	take(&secrets, "CLIENT_TRAFFIC_SECRET_0", 4, 49);
	assert_int_equal(secrets.client_size, 0);
}

static void wipes(void **state)
{
	static const struct traffic_keys no_keys;
	static const struct traffic_secrets no_secrets;
	struct traffic_secrets secrets;
	struct traffic_keys keys;

	(void)state;
	memset(&keys, 0xa5, sizeof(keys));
	memset(&secrets, 0xa5, sizeof(secrets));
	traffic_keys_wipe(&keys);
	traffic_secrets_wipe(&secrets);
	assert_memory_equal(&keys, &no_keys, sizeof(keys));
	assert_memory_equal(&secrets, &no_secrets, sizeof(secrets));
}

static void exports_nothing_before_a_handshake(void **state)
{
	static const struct traffic_secrets no_secrets;
	gnutls_session_t session;
	struct traffic_keys keys;

	(void)state;
	memset(&keys, 0xa5, sizeof(keys));
	assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT), 0);
	assert_true(traffic_keys_export(session, false, &no_secrets, &keys) < 0);
	assert_int_equal(keys.transmit.key[0], 0xa5); /* never written on failure */
	gnutls_deinit(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_the_first_application_secrets_alone),
	    cmocka_unit_test(takes_no_secret_that_is_too_long),
	    cmocka_unit_test(wipes),
	    cmocka_unit_test(exports_nothing_before_a_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
