// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* The keys of [kernel] about keyrings, and which profile a request comes to by them. */
#include <keyutils.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"
#include "consumer.h"
#include "pki.h"

#define BEGIN "[daemon]\nuser = 65534\n[profile a]\n[profile b]\n[kernel]\n" // five lines

static struct problem problem;

static struct config *read_text(const char *text)
{
	struct config *config = NULL;

	problem.text[0] = '\0';
	return config_read(pki_write_text("test.conf", text), &config, &problem) == 0 ? config
										      : NULL;
}

static int teardown(void **state)
{
	(void)state;
	pki_directory_remove();
	return 0;
}

static void assert_refused(const char *text, const char *part)
{
	struct config *config = read_text(text);

	if (config) {
		config_free(config);
		fail_msg("accepted: %s", text);
	}
	if (!strstr(problem.text, part))
		fail_msg("\"%s\" does not say \"%s\"", problem.text, part);
}

static void reads_keyrings(void **state)
{
	struct config *config = read_text(BEGIN "keyring = .backup a\nkeyring = other  b\n"
						"link-keyring = .more\nlink-keyring = 17\n");

	(void)state;
	assert_non_null(config);
	assert_int_equal(config->kernel.keyring_count, 2);
	assert_string_equal(config->kernel.keyrings[0].name, ".backup");
	assert_string_equal(config->kernel.keyrings[0].profile, "a");
	assert_string_equal(config->kernel.keyrings[1].name, "other");
	assert_string_equal(config->kernel.keyrings[1].profile, "b");
	assert_int_equal(config->kernel.link_count, 2);
	assert_string_equal(config->kernel.links[1], "17");
	config_free(config);
}

static void refuses_what_is_wrong(void **state)
{
	(void)state;
	assert_refused(BEGIN "keyring = .backup\n", ":6: keyring = \".backup\": the name of a");
	assert_refused(BEGIN "keyring = .backup a b\n", "such as \"keyring = .backup backup\"");
	assert_refused(BEGIN "keyring = x a\nkeyring = x b\n", "is in line 6 already");
	assert_refused(BEGIN "keyring = x web\n", ":6: keyring = \"x web\": there is no such");
	assert_refused(BEGIN "keyring = x c\n[profile c]\nrecords = relay\n",
		       ":6: keyring = \"x c\": the profile says records = relay");
	assert_refused(BEGIN "link-keyring =\n", ":6: link-keyring has no value");
	assert_refused(BEGIN "link-keyring = x\n", "[kernel] names no profile for any consumer");
}

static bool retry;

static const char *profile_of(const struct config *config, const struct upcall_request *request)
{
	problem.text[0] = '\0';
	return consumer_profile(&config->kernel, request, &retry, &problem);
}

static void tells_consumers_apart(void **state)
{
	struct config *config = read_text(BEGIN "nfs = a\nkeyring = handshaked-test b\n");
	struct upcall_request request = {.authentication = UPCALL_X509};

	(void)state;
	assert_non_null(config);
	assert_string_equal(profile_of(config, &request), "a");
	request.is_server = true;
	assert_null(profile_of(config, &request));
	assert_non_null(strstr(problem.text, "add \"nfsd\""));
	request.keyring = 0x7ffffff0;
	assert_null(profile_of(config, &request));
	assert_non_null(strstr(problem.text, "its keyring 2147483632 cannot be looked at"));
	assert_false(retry);

	request.keyring = add_key("keyring", "handshaked-test", NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	if (request.keyring > 0) { /* else the test's own sandbox forbids keys */
		assert_string_equal(profile_of(config, &request), "b");
		request.keyring =
		    add_key("keyring", "unknown-test", NULL, 0, KEY_SPEC_PROCESS_KEYRING);
		assert_true(request.keyring > 0);
		assert_null(profile_of(config, &request));
		assert_non_null(strstr(problem.text, "its keyring is \"unknown-test\""));
		keyctl_clear(KEY_SPEC_PROCESS_KEYRING);
	}
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_keyrings),
	    cmocka_unit_test(refuses_what_is_wrong),
	    cmocka_unit_test(tells_consumers_apart),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
