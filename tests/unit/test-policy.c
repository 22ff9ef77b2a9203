// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* Who may ask for what: a request tightens its profile, and never loosens it. */
#include "policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "pki.h"

#define PSK "00112233445566778899aabbccddeeff"

static struct loaded *loaded;
static struct decision decision;
static struct failure failure;

static const char text[] =
    "[daemon]\nuser = 65534\n"
    "[profile default]\nrole = client\ntrust = trust.pem\n"
    "[profile web]\nrole = server\ncertificate = one.pem\nprivate-key = one.key\n"
    "trust = trust.pem\nalpn = h2, http/1.1\nallow = user:1000 group:200\nrecords = kernel\n"
    "timeout-ms = 3000\n"
    "[profile mutual]\nrole = server\ncertificate = one.pem\nprivate-key = one.key\n"
    "trust = trust.pem\nclient-certificates = require\nallow = everyone\nrecords = relay\n"
    "alpn = h2\nalpn-required = yes\n"
    "[profile plain]\nrole = server\ncertificate = one.pem\nprivate-key = one.key\n"
    "allow = everyone\n"
    "[profile blind]\ninsecure-no-verification = yes\nallow = everyone\n"
    "[profile keys]\npsk-file = keys.psk\nallow = everyone\n"
    "[profile alice]\nrole = client\npsk-file = keys.psk\npsk-identity = alice\n"
    "allow = everyone\n"
    "[profile one-key]\npsk-file = one.psk\ncertificate = one.pem\nprivate-key = one.key\n"
    "trust = trust.pem\nallow = everyone\n"
    "[profile pinned]\nrole = client\nallow = everyone\npeer-public-key ="
    " sha256:0000000000000000000000000000000000000000000000000000000000000000\n";

static int setup(void **state)
{
	struct pki_entity *root = pki_new(&(struct pki_wish){.authority = true});
	struct pki_entity *one = pki_new(&(struct pki_wish){.issuer = root, .names = {"one.test"}});
	struct problem problem = {};

	(void)state;
	pki_write_chain("trust.pem", (const struct pki_entity *[]){root}, 1);
	pki_write_chain("one.pem", (const struct pki_entity *[]){one}, 1);
	pki_write_key("one.key", one);
	chmod(pki_write_text("keys.psk", "alice:" PSK "\nbob:" PSK "\n"), 0600);
	chmod(pki_write_text("one.psk", "alice:" PSK "\n"), 0600);
	pki_free(one);
	pki_free(root);
	if (loaded_new(&(struct config_source){.path = pki_write_text("test.conf", text)}, &loaded,
		       &problem) < 0)
		fail_msg("%s", problem.text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loaded_free(loaded);
	pki_directory_remove();
	return 0;
}

static const struct caller root_user = {.uid = 0};
static const struct caller member = {
    .uid = 1001, .gid = 100, .groups = {100, 200}, .group_count = 2};
static const struct caller nobody_special = {.uid = 1002, .gid = 102};

static int decide(const struct caller *caller, const struct request *request)
{
	memset(&failure, 0, sizeof(failure));
	memset(&decision, 0xff, sizeof(decision));
	return policy_decide(loaded, caller, request, &decision, &failure);
}

static void assert_allowed(const struct caller *caller, const struct request *request)
{
	if (decide(caller, request) < 0)
		fail_msg("%s", failure.sentence);
}

static void assert_refused(const struct caller *caller, const struct request *request,
			   enum failure_class class, const char *part)
{
	assert_int_equal(decide(caller, request), -1);
	assert_int_equal(failure.class, class);
	if (!strstr(failure.sentence, part))
		fail_msg("\"%s\" does not say \"%s\"", failure.sentence, part);
}

#define AS_CLIENT(...) \
	(&(struct request){.role = REQUEST_CLIENT, .peer_name = "a.test", __VA_ARGS__})
#define NAMELESS(name) (&(struct request){.role = REQUEST_CLIENT, .profile = name})
#define AS_SERVER(...) (&(struct request){.role = REQUEST_SERVER, __VA_ARGS__})

static void takes_what_the_profile_says(void **state)
{
	(void)state;
	assert_allowed(&root_user, AS_CLIENT(.profile = "default"));
	assert_ptr_equal(decision.profile, loaded_find_profile(loaded, "default"));
	assert_string_equal(decision.peer_name, "a.test");
	assert_int_equal(decision.timeout_ms, 10000);
	assert_int_equal(decision.records, CONFIG_RECORDS_AUTO);
	assert_int_equal(decision.alpn_count, 0);
	assert_allowed(&member, AS_SERVER(.profile = "web"));
	assert_int_equal(decision.alpn_count, 2);
	assert_string_equal(decision.alpn[0], "h2");
	assert_string_equal(decision.alpn[1], "http/1.1");
	assert_false(decision.alpn_required);
	assert_int_equal(decision.timeout_ms, 3000);
	assert_int_equal(decision.records, CONFIG_RECORDS_KERNEL);
	assert_int_equal(decision.client_certificates, CONFIG_CLIENT_NONE);
	assert_allowed(&member, AS_SERVER(.profile = "mutual"));
	assert_int_equal(decision.client_certificates, CONFIG_CLIENT_REQUIRE);
	assert_true(decision.alpn_required);
}

static void lets_in_whom_the_profile_allows(void **state)
{
	const struct caller user = {.uid = 1000, .gid = 1}, primary = {.uid = 5, .gid = 200};
	const struct caller daemon = {.uid = loaded->config->uid, .gid = 1};

	(void)state;
	assert_allowed(&user, AS_SERVER(.profile = "web"));
	assert_allowed(&primary, AS_SERVER(.profile = "web"));
	assert_allowed(&daemon, AS_CLIENT(.profile = "default"));
	assert_refused(&nobody_special, AS_SERVER(.profile = "web"), FAILURE_DENIED, "user 1002");
	assert_refused(&nobody_special, AS_CLIENT(.profile = "default"), FAILURE_DENIED,
		       "\"default\"");
	// A list replaces the default, root included.
	assert_refused(&root_user, AS_SERVER(.profile = "web"), FAILURE_DENIED, "user 0");
	assert_allowed(&nobody_special, AS_SERVER(.profile = "mutual"));
}

static void suggests_only_profiles_that_the_caller_may_use(void **state)
{
	(void)state;
	assert_refused(&member, AS_SERVER(.profile = "wbe"), FAILURE_REQUEST,
		       "did you mean \"web\"?");
	assert_int_equal(decide(&nobody_special, AS_SERVER(.profile = "wbe")), -1);
	assert_int_equal(failure.class, FAILURE_REQUEST);
	assert_non_null(strstr(failure.sentence, "\"wbe\""));
	assert_null(strstr(failure.sentence, "web"));
}

static void keeps_the_role(void **state)
{
	(void)state;
	assert_refused(&root_user, AS_SERVER(.profile = "default"), FAILURE_DENIED,
		       "does not allow role=server; its role is client");
	assert_refused(&member, AS_CLIENT(.profile = "web"), FAILURE_DENIED, "role=client");
	assert_refused(&root_user, AS_SERVER(.profile = "blind"), FAILURE_UNSUPPORTED,
		       "has no certificate");
}

static void wants_a_peer_name_unless_insecure(void **state)
{
	(void)state;
	assert_refused(&root_user, NAMELESS("default"), FAILURE_REQUEST, "no peer-name");
	assert_allowed(&root_user, NAMELESS("blind"));
}

static void only_shortens_the_timeout(void **state)
{
	(void)state;
	assert_allowed(&member, AS_SERVER(.profile = "web", .timeout_ms = 5));
	assert_int_equal(decision.timeout_ms, 5);
	assert_allowed(&member, AS_SERVER(.profile = "web", .timeout_ms = 999999));
	assert_int_equal(decision.timeout_ms, 3000);
}

static void takes_alpn_out_of_the_profile_only(void **state)
{
	(void)state;
	assert_allowed(&member, AS_SERVER(.profile = "web", .alpn = {"http/1.1"}, .alpn_count = 1));
	assert_int_equal(decision.alpn_count, 1);
	assert_string_equal(decision.alpn[0], "http/1.1");
	assert_refused(&member,
		       AS_SERVER(.profile = "web", .alpn = {"h2", "smtp"}, .alpn_count = 2),
		       FAILURE_DENIED, "alpn=smtp");
	assert_allowed(&root_user,
		       AS_CLIENT(.profile = "default", .alpn = {"smtp"}, .alpn_count = 1));
	assert_string_equal(decision.alpn[0], "smtp");
	assert_allowed(&member, AS_SERVER(.profile = "mutual", .alpn = {"h2"}, .alpn_count = 1));
	assert_true(decision.alpn_required);
}

static void lets_the_profile_choose_the_records(void **state)
{
	(void)state;
	assert_allowed(&member, AS_SERVER(.profile = "web", .records_given = true,
					  .records = CONFIG_RECORDS_KERNEL));
	assert_refused(
	    &member,
	    AS_SERVER(.profile = "web", .records_given = true, .records = CONFIG_RECORDS_RELAY),
	    FAILURE_DENIED, "says records = kernel");
	assert_refused(
	    &member,
	    AS_SERVER(.profile = "mutual", .records_given = true, .records = CONFIG_RECORDS_KERNEL),
	    FAILURE_DENIED, "says records = relay");
	for (int i = 0; i < 2; i++) {
		enum config_records records = i ? CONFIG_RECORDS_KERNEL : CONFIG_RECORDS_RELAY;

		assert_allowed(&root_user, AS_CLIENT(.profile = "default", .records_given = true,
						     .records = records));
		assert_int_equal(decision.records, records);
	}
}

static void requires_client_certificates_only_with_trust(void **state)
{
	(void)state;
	assert_allowed(&member, AS_SERVER(.profile = "web", .require_client_certificate = true));
	assert_int_equal(decision.client_certificates, CONFIG_CLIENT_REQUIRE);
	assert_refused(&member, AS_SERVER(.profile = "plain", .require_client_certificate = true),
		       FAILURE_DENIED, "has no \"trust\"");
}

#define IDENTITY(name) .psk_identity = {.bytes = name, .size = sizeof(name) - 1}

static void assert_identity(const char *name)
{
	assert_int_equal(decision.psk_identity.size, strlen(name));
	assert_memory_equal(decision.psk_identity.bytes, name, strlen(name));
}

static void client_takes_the_key_that_is_meant(void **state)
{
	(void)state;
	assert_allowed(&nobody_special, NAMELESS("alice"));
	assert_true(decision.psk && decision.psk_only);
	assert_identity("alice");
	assert_allowed(&nobody_special, AS_CLIENT(.profile = "keys", IDENTITY("bob")));
	assert_identity("bob");
	assert_allowed(&nobody_special, AS_CLIENT(.profile = "one-key"));
	assert_true(decision.psk && !decision.psk_only);
	assert_identity("alice");
	// With trust, the server may show a certificate: its name must be known.
	assert_refused(&nobody_special, NAMELESS("one-key"), FAILURE_REQUEST, "no peer-name");
	assert_refused(&nobody_special, NAMELESS("keys"), FAILURE_REQUEST,
		       "has 2 pre-shared keys; say which with psk-identity");
	assert_refused(&nobody_special, AS_CLIENT(.profile = "keys", IDENTITY("ali")),
		       FAILURE_REQUEST, "has no key of this identity");
	assert_refused(&nobody_special, AS_CLIENT(.profile = "alice", IDENTITY("bob")),
		       FAILURE_DENIED, "says another one");
	assert_allowed(&nobody_special, AS_CLIENT(.profile = "alice", IDENTITY("alice")));
	assert_refused(&nobody_special, AS_CLIENT(.profile = "blind", IDENTITY("bob")),
		       FAILURE_DENIED, "has no pre-shared keys");
}

static void key_never_stands_in_for_a_required_certificate(void **state)
{
	(void)state;
	assert_allowed(&nobody_special, AS_SERVER(.profile = "keys"));
	assert_true(decision.psk && decision.psk_only);
	assert_allowed(&nobody_special, AS_SERVER(.profile = "one-key"));
	assert_true(decision.psk && !decision.psk_only);
	assert_allowed(&nobody_special,
		       AS_SERVER(.profile = "one-key", .require_client_certificate = true));
	assert_false(decision.psk);
	assert_int_equal(decision.client_certificates, CONFIG_CLIENT_REQUIRE);
	assert_refused(&nobody_special,
		       AS_SERVER(.profile = "keys", .require_client_certificate = true),
		       FAILURE_DENIED, "client-certificates=require");
}

static void client_that_pins_a_key_needs_no_name(void **state)
{
	(void)state;
	assert_allowed(&nobody_special, NAMELESS("pinned"));
	assert_null(decision.profile->trust);
	assert_false(decision.psk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_what_the_profile_says),
	    cmocka_unit_test(lets_in_whom_the_profile_allows),
	    cmocka_unit_test(suggests_only_profiles_that_the_caller_may_use),
	    cmocka_unit_test(keeps_the_role),
	    cmocka_unit_test(wants_a_peer_name_unless_insecure),
	    cmocka_unit_test(only_shortens_the_timeout),
	    cmocka_unit_test(takes_alpn_out_of_the_profile_only),
	    cmocka_unit_test(lets_the_profile_choose_the_records),
	    cmocka_unit_test(requires_client_certificates_only_with_trust),
	    cmocka_unit_test(client_takes_the_key_that_is_meant),
	    cmocka_unit_test(key_never_stands_in_for_a_required_certificate),
	    cmocka_unit_test(client_that_pins_a_key_needs_no_name),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
