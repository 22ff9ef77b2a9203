// SPDX-License-Identifier: LGPL-2.1-or-later
/* Groups of key exchange by name, and the priorities that come of them. */
#include "groups.h"

#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "key-exchange.h"
#include "priorities.h"

static void finds_the_names_of_gnutls_iana_and_nist(void **state)
{
	(void)state;
	assert_int_equal(groups_find("X25519"), CONFIG_X25519);
	assert_int_equal(groups_find("x25519"), CONFIG_X25519);
	assert_int_equal(groups_find("secp256r1"), CONFIG_SECP256R1);
	assert_int_equal(groups_find("P-256"), CONFIG_SECP256R1);
	assert_int_equal(groups_find("ffdhe8192"), CONFIG_FFDHE8192);
	assert_int_equal(groups_find("X25519MLKEM768"), CONFIG_X25519_MLKEM768);
	assert_int_equal(groups_find("x25519-mlkem768"), CONFIG_X25519_MLKEM768);
	assert_int_equal(groups_find("SecP384r1MLKEM1024"), CONFIG_SECP384R1_MLKEM1024);
	assert_int_equal(groups_find("SECP192R1"), -1);
	assert_int_equal(groups_find(""), -1);
	assert_string_equal(groups_nearest("X25591"), "X25519");
	assert_null(groups_nearest("something"));
}

static void knows_what_every_gnutls_has(void **state)
{
	(void)state;
	for (int group = CONFIG_X25519; group < CONFIG_GROUPS; group++) {
		assert_true(groups_available((enum config_group)group));
		assert_int_not_equal(gnutls_group_get_id(groups_name((enum config_group)group)),
				     GNUTLS_GROUP_INVALID);
	}
}

static void chooses_by_the_server_s_order_unless_told_otherwise(void **state)
{
	const uint16_t offered[] = {0x1a1a, 0x001d, 0x11ec, 0x0017};
	struct config_profile config = {
	    .groups = {CONFIG_X25519_MLKEM768, CONFIG_SECP256R1, CONFIG_X25519},
	    .group_count = 3,
	};

	(void)state;
	assert_int_equal(groups_choose(&config, offered, 4), CONFIG_X25519_MLKEM768);
	assert_int_equal(groups_choose(&config, offered, 2), CONFIG_X25519);
	assert_int_equal(groups_choose(&config, offered, 1), -1);
	assert_int_equal(groups_choose(&config, offered, 0), -1);
	config.client_order = true;
	assert_int_equal(groups_choose(&config, offered, 4), CONFIG_X25519);
	assert_int_equal(groups_choose(&config, offered, 1), -1);
	assert_true(groups_is_hybrid(CONFIG_X25519_MLKEM768));
	assert_false(groups_is_hybrid(CONFIG_X25519));
}

static gnutls_priority_t priority_of(const struct config_profile *config)
{
	struct problem problem = {};
	gnutls_priority_t priority;

	if (priorities_new(config, CONFIG_ROLE_SERVER, NULL, &priority, &problem) < 0)
		fail_msg("%s", problem.text);
	return priority;
}

static void priorities_have_the_groups_in_order(void **state)
{
	const struct config_profile config = {
	    .name = (char *)"test",
	    .ciphers = {CONFIG_AES_128_GCM},
	    .cipher_count = 1,
	    .groups = {CONFIG_FFDHE3072, CONFIG_X448, CONFIG_SECP384R1},
	    .group_count = 3,
	};
	gnutls_priority_t priority = priority_of(&config);
	const unsigned *list;
	int count = gnutls_priority_group_list(priority, &list);

	(void)state;
	assert_int_equal(count, 3);
	assert_int_equal(list[0], GNUTLS_GROUP_FFDHE3072);
	assert_int_equal(list[1], GNUTLS_GROUP_X448);
	assert_int_equal(list[2], GNUTLS_GROUP_SECP384R1);
	gnutls_priority_deinit(priority);
}

// The key exchanges of TLS 1.2 that the list of groups and the switch for RSA leave.
static bool has_exchange(const struct config_profile *config, gnutls_kx_algorithm_t exchange)
{
	gnutls_priority_t priority = priority_of(config);
	const unsigned *list;
	int count = gnutls_priority_kx_list(priority, &list);
	bool found = false;

	for (int i = 0; i < count; i++)
		found = found || list[i] == exchange;
	gnutls_priority_deinit(priority);
	return found;
}

static void exchanges_follow_the_groups(void **state)
{
	struct config_profile config = {
	    .name = (char *)"test",
	    .ciphers = {CONFIG_AES_128_GCM},
	    .cipher_count = 1,
	    .groups = {CONFIG_X25519},
	    .group_count = 1,
	};

	(void)state;
	assert_true(has_exchange(&config, GNUTLS_KX_ECDHE_RSA));
	assert_false(has_exchange(&config, GNUTLS_KX_DHE_RSA));
	assert_false(has_exchange(&config, GNUTLS_KX_RSA));
	config.groups[0] = CONFIG_FFDHE2048;
	assert_false(has_exchange(&config, GNUTLS_KX_ECDHE_RSA));
	assert_true(has_exchange(&config, GNUTLS_KX_DHE_RSA));
	config.insecure_rsa_key_exchange = true;
	assert_true(has_exchange(&config, GNUTLS_KX_RSA));
}

static void smallest_finite_field_is_the_known_one(void **state)
{
	struct config_profile config = {
	    .groups = {CONFIG_FFDHE4096, CONFIG_X25519, CONFIG_FFDHE3072},
	    .group_count = 3,
	};
	gnutls_dh_params_t parameters;
	gnutls_datum_t prime, generator;
	unsigned bits = 0;

	(void)state;
	assert_int_equal(key_exchange_finite_bits(&config), 3072);
	assert_int_equal(key_exchange_parameters(&config, &parameters), 0);
	assert_non_null(parameters);
	assert_int_equal(gnutls_dh_params_export_raw(parameters, &prime, &generator, &bits), 0);
	assert_true(prime.size == 3072 / 8 || prime.size == 3072 / 8 + 1);
	gnutls_free(prime.data);
	gnutls_free(generator.data);
	gnutls_dh_params_deinit(parameters);
	config.groups[0] = CONFIG_X448;
	config.group_count = 2;
	assert_int_equal(key_exchange_parameters(&config, &parameters), 0);
	assert_null(parameters);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_the_names_of_gnutls_iana_and_nist),
	    cmocka_unit_test(knows_what_every_gnutls_has),
	    cmocka_unit_test(chooses_by_the_server_s_order_unless_told_otherwise),
	    cmocka_unit_test(priorities_have_the_groups_in_order),
	    cmocka_unit_test(exchanges_follow_the_groups),
	    cmocka_unit_test(smallest_finite_field_is_the_known_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
