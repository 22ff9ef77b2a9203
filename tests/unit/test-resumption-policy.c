// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a session is bound to: a change of anything that matters, and of nothing else, is another binding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config-reader.h"
#include "resumption-policy.h"

static struct config_profile config;
static struct resumption_policy policy;
static struct profile profile;
static struct decision decision;

static int setup(void **state)
{
	(void)state;
	memset(&config, 0, sizeof(config));
	memset(&policy, 0, sizeof(policy));
	memset(&profile, 0, sizeof(profile));
	memset(&decision, 0, sizeof(decision));
	config.name = "web";
	profile.config = &config;
	profile.resumption = &policy;
	decision.profile = &profile;
	decision.role = REQUEST_SERVER;
	strcpy(decision.alpn[0], "h2");
	strcpy(decision.alpn[1], "http/1.1");
	decision.alpn_count = 2;
	return 0;
}

struct binding {
	uint8_t bytes[TICKET_CONTEXT_SIZE];
};

static struct binding bind_to(const char *peer)
{
	struct binding binding;

	assert_int_equal(resumption_context(&decision, peer, "", binding.bytes), 0);
	return binding;
}

static void assert_differs(const struct binding *before, const char *peer)
{
	struct binding now = bind_to(peer);

	assert_memory_not_equal(before->bytes, now.bytes, sizeof(now.bytes));
	setup(NULL);
	now = bind_to("a.example");
	assert_memory_equal(before->bytes, now.bytes, sizeof(now.bytes));
}

static void whatever_matters_is_in_it(void **state)
{
	struct binding before = bind_to("a.example");

	(void)state;
	assert_differs(&before, "b.example");
	assert_differs(&before, "");
	config.name = "mail";
	assert_differs(&before, "a.example");
	decision.role = REQUEST_CLIENT;
	assert_differs(&before, "a.example");
	decision.alpn_count = 1;
	assert_differs(&before, "a.example");
	strcpy(decision.alpn[0], "http/1.1");
	strcpy(decision.alpn[1], "h2");
	assert_differs(&before, "a.example");
	strcpy(decision.alpn[0], "h2h");
	strcpy(decision.alpn[1], "ttp/1.1");
	assert_differs(&before, "a.example");
	decision.alpn_required = true;
	assert_differs(&before, "a.example");
	decision.client_certificates = CONFIG_CLIENT_REQUEST;
	assert_differs(&before, "a.example");
	policy.settings[0] = 1;
	assert_differs(&before, "a.example");
}

static void a_name_is_the_same_in_any_letters(void **state)
{
	struct binding one = bind_to("a.example"), other = bind_to("A.Example");

	(void)state;
	assert_memory_equal(one.bytes, other.bytes, sizeof(one.bytes));
}

static void trust_matters_to_who_believes(void **state)
{
	struct binding before = bind_to("a.example"), after;

	(void)state;
	policy.trust[0] = 1;
	policy.certificates[0] = 1;
	after = bind_to("a.example");
	assert_memory_equal(before.bytes, after.bytes, sizeof(after.bytes));
	decision.client_certificates = CONFIG_CLIENT_REQUIRE;
	before = bind_to("a.example");
	policy.trust[0] = 2;
	after = bind_to("a.example");
	assert_memory_not_equal(before.bytes, after.bytes, sizeof(after.bytes));
	decision.role = REQUEST_CLIENT;
	decision.client_certificates = CONFIG_CLIENT_NONE;
	before = bind_to("a.example");
	policy.certificates[0] = 2;
	after = bind_to("a.example");
	assert_memory_not_equal(before.bytes, after.bytes, sizeof(after.bytes));
	policy.certificates[0] = 1;
	decision.unauthenticated = true;
	after = bind_to("a.example");
	assert_memory_not_equal(before.bytes, after.bytes, sizeof(after.bytes));
}

static void a_line_counts_unless_it_is_known_to_be_harmless(void **state)
{
	uint8_t before[sizeof(config.resumption.settings)];
	static const char *const harmless[] = {"allow",          "timeout-ms",  "records",
					       "certificate",    "private-key", "trust",
					       "ticket-key-file"};

	(void)state;
	config_resumption_note(&config, "min-version", "TLS1.2");
	memcpy(before, config.resumption.settings, sizeof(before));
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		config_resumption_note(&config, harmless[i], "value");
		assert_memory_equal(before, config.resumption.settings, sizeof(before));
	}
	config_resumption_note(&config, "some-key-of-tomorrow", "value");
	assert_memory_not_equal(before, config.resumption.settings, sizeof(before));
	memset(&config.resumption, 0, sizeof(config.resumption));
	config_resumption_note(&config, "min-version", "TLS1.3");
	assert_memory_not_equal(before, config.resumption.settings, sizeof(before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(whatever_matters_is_in_it, setup),
	    cmocka_unit_test_setup(a_name_is_the_same_in_any_letters, setup),
	    cmocka_unit_test_setup(trust_matters_to_who_believes, setup),
	    cmocka_unit_test_setup(a_line_counts_unless_it_is_known_to_be_harmless, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
