// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* The configuration file: what it means, and what is said about each mistake. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "groups.h"
#include "pki.h"
#include "skipping.h"

#define DAEMON "[daemon]\nuser = 65534\n" // two lines

static struct config *read_text(const char *text)
{
	struct problem problem = {};
	struct config *config = NULL;

	if (config_read(pki_write_text("test.conf", text), &config, &problem) < 0)
		fail_msg("%s", problem.text);
	return config;
}

static const char *refusal(const char *text)
{
	static struct problem problem;
	struct config *config;

	problem.text[0] = '\0';
	if (config_read(pki_write_text("test.conf", text), &config, &problem) == 0) {
		config_free(config);
		fail_msg("accepted: %s", text);
	}
	return problem.text;
}

static void assert_says(const char *sentence, const char *part)
{
	if (!strstr(sentence, part))
		fail_msg("\"%s\" does not say \"%s\"", sentence, part);
}

static int teardown(void **state)
{
	(void)state;
	pki_directory_remove();
	return 0;
}

static void has_defaults(void **state)
{
	struct config *config = read_text(DAEMON "[profile default]\n");
	const struct config_profile *profile = config_find_profile(config, "default");

	(void)state;
	assert_true(config->workers >= 1);
	assert_int_equal(config->relays, 1);
	assert_string_equal(config->socket, "/run/handshaked/socket");
	assert_int_equal(config->socket_mode, 0666);
	assert_true(config->socket_group == (gid_t)-1);
	assert_int_equal(config->handshakes_total, 4096);
	assert_int_equal(config->handshakes_per_user, 1024);
	assert_int_equal(config->clients_total, 1024);
	assert_int_equal(config->relayed_total, 1024);
	assert_int_equal(config->relayed_per_user, 256);
	assert_int_equal(config->stop_timeout_ms, 5000);
	assert_int_equal(config->log_level, CONFIG_LOG_INFO);
	assert_non_null(profile);
	assert_int_equal(profile->roles, CONFIG_ROLE_CLIENT | CONFIG_ROLE_SERVER);
	assert_int_equal(profile->timeout_ms, 10000);
	assert_int_equal(profile->records, CONFIG_RECORDS_AUTO);
	assert_int_equal(profile->min_version, CONFIG_TLS12);
	assert_false(profile->tls12_only);
	assert_false(profile->zero_copy);
	assert_int_equal(profile->client_certificates, CONFIG_CLIENT_NONE);
	assert_int_equal(profile->cipher_count, 4);
	assert_int_equal(profile->ciphers[0], CONFIG_AES_128_GCM);
	assert_true(profile->group_count >= 10);
	assert_false(profile->insecure_rsa_key_exchange);
	assert_null(profile->trust);
	assert_false(profile->insecure_no_verification);
	assert_false(profile->unknown_name_refused);
	// Root and the daemon's own user.
	assert_false(profile->allow.everyone);
	assert_int_equal(profile->allow.user_count, 2);
	assert_int_equal(profile->allow.users[0], 0);
	assert_int_equal(profile->allow.users[1], config->uid);
	assert_null(config_find_profile(config, "absent"));
	config_free(config);
}

static void reads_everything(void **state)
{
	struct config *config = read_text(
	    "\xEF\xBB\xBF; a comment\r\n[daemon]\r\nworkers = 3 ; three\nrelays=2\n"
	    "socket = here/socket\nsocket-mode = 0660\nsocket-group = 0\nuser = 65534\n"
	    "handshakes-total = 10\nhandshakes-per-user = 9\nclients-total = 8\n"
	    "relayed-total = 7\nrelayed-per-user = 6\nstop-timeout-ms = 0\nlog-level = debug\n"
	    "state-directory = state\nticket-key-rotation-s = 60\nsession-cache-size = 2000000\n"
	    "[ profile web ]\nrole = server\ncertificate = a.pem\nprivate-key = /keys/a.key\n"
	    "certificate = b.pem\nprivate-key = b.key\ntrust = ca.pem\n"
	    "revocation-list = ca.crl\nclient-certificates = require\nalpn = h2, http/1.1\n"
	    "# another\n  h3\nalpn-required = yes\nmin-version = TLS1.3\n"
	    "ciphers = CHACHA20-POLY1305 AES-128-GCM\ncipher-order = client\n"
	    "allow = user:root,user:12345 group:root\ntimeout-ms = 600000\nrecords = kernel\n"
	    "unknown-server-name = refuse\n"
	    "[profile out]\nrole = client\ninsecure-no-verification = yes\nallow = everyone\n"
	    "[profile third]\nrole = both\ntrust = system\nmax-version = TLS1.2\n"
	    "zero-copy-sendfile = yes");
	const struct config_profile *web = config_find_profile(config, "web");
	const struct config_profile *out = config_find_profile(config, "out");
	const struct config_profile *third = config_find_profile(config, "third");
	char path[256];

	(void)state;
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->relays, 2);
	snprintf(path, sizeof(path), "%s/here/socket", pki_directory());
	assert_string_equal(config->socket, path);
	snprintf(path, sizeof(path), "%s/state", pki_directory());
	assert_string_equal(config->state_directory, path);
	assert_int_equal(config->ticket_rotation_s, 60);
	assert_int_equal(config->session_cache_bytes, 2000000);
	assert_int_equal(config->socket_mode, 0660);
	assert_int_equal(config->socket_group, 0);
	assert_int_equal(config->handshakes_total, 10);
	assert_int_equal(config->relayed_per_user, 6);
	assert_int_equal(config->stop_timeout_ms, 0);
	assert_int_equal(config->log_level, CONFIG_LOG_DEBUG);
	assert_int_equal(config->profile_count, 3);
	assert_non_null(web);
	assert_int_equal(web->roles, CONFIG_ROLE_SERVER);
	assert_int_equal(web->certificate_count, 2);
	assert_string_equal(web->certificates[0].private_key, "/keys/a.key");
	snprintf(path, sizeof(path), "%s/b.pem", pki_directory());
	assert_string_equal(web->certificates[1].certificate, path);
	assert_int_equal(web->client_certificates, CONFIG_CLIENT_REQUIRE);
	assert_int_equal(web->alpn_count, 3);
	assert_string_equal(web->alpn[1], "http/1.1");
	assert_string_equal(web->alpn[2], "h3");
	assert_null(web->alpn[3]);
	assert_true(web->alpn_required);
	assert_int_equal(web->min_version, CONFIG_TLS13);
	assert_true(third->tls12_only);
	assert_true(third->zero_copy);
	assert_int_equal(web->cipher_count, 2);
	assert_int_equal(web->ciphers[0], CONFIG_CHACHA20_POLY1305);
	assert_true(web->client_order);
	assert_int_equal(web->allow.user_count, 2);
	assert_int_equal(web->allow.users[1], 12345);
	assert_int_equal(web->allow.group_count, 1);
	assert_int_equal(web->timeout_ms, 600000);
	assert_int_equal(web->records, CONFIG_RECORDS_KERNEL);
	assert_true(web->unknown_name_refused);
	assert_true(out->insecure_no_verification);
	assert_true(out->allow.everyone);
	assert_int_equal(out->allow.user_count, 0);
	assert_string_equal(config_find_profile(config, "third")->trust, "system");
	config_free(config);
}

static void tells_file_line_and_the_nearest_word(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {DAEMON "[profile web]\n\n; x\ncertifcate = a\n",
	     "test.conf:6: unknown key \"certifcate\" in [profile web]; did you mean "
	     "\"certificate\"?"},
	    {DAEMON "wrokers = 3\n", ":3: unknown key \"wrokers\" in [daemon]; did you mean"
				     " \"workers\"?"},
	    {DAEMON "banana = 3\n", ":3: unknown key \"banana\" in [daemon]; see"},
	    {"[deamon]\n", ":1: unknown section [deamon]; did you mean [daemon]?"},
	    {"[porfile web]\n", ":1: unknown section [porfile web]; did you mean [profile NAME]?"},
	    {"[x]\n", ":1: unknown section [x]; known: [daemon], [kernel] and [profile NAME]"},
	    {DAEMON "[profile a]\nrole = sever\n",
	     ":4: role: unknown value \"sever\"; did you mean \"server\"? Known: client, server"
	     " or both"},
	    {DAEMON "[profile a]\nrecords = kernal\n", "did you mean \"kernel\"?"},
	    {DAEMON "[profile a]\nmin-version = TLS1.1\n", "did you mean \"TLS1."},
	    {DAEMON "[profile a]\nmin-version = SSLv3\n",
	     "unknown value \"SSLv3\"; known: TLS1.2 or TLS1.3"},
	    {DAEMON "[profile a]\nciphers = AES-128-GMC\n", "did you mean \"AES-128-GCM\"?"},
	    {DAEMON "[profile a]\nciphers = AES-128-GCM AES-128-GCM\n", "is there twice"},
	    {DAEMON "[profile a]\nciphers =\n", ":4: ciphers has no value"},
	    {DAEMON "[profile a]\ngroups = X25591\n",
	     ":4: groups: unknown group \"X25591\"; did you mean \"X25519\"?"},
	    {DAEMON "[profile a]\ngroups = brainpoolP256r1\n",
	     "unknown group \"brainpoolP256r1\"; see handshaked.conf(5)"},
	    {DAEMON "[profile a]\ngroups = P-256, X25519 secp256r1\n",
	     "\"secp256r1\" is there twice"},
	    {DAEMON "[profile a]\ngroups =\n", ":4: groups has no value"},
	    {DAEMON "[profile a]\ngroups = ?\n", "unknown group \"?\""},
	    {DAEMON "[profile a]\nmin-version = TLS1.3\ninsecure-rsa-key-exchange = yes\n",
	     ":3: [profile a]: insecure-rsa-key-exchange is for TLS 1.2"},
	    {DAEMON "[profile a]\nmin-version = TLS1.3\nmax-version = TLS1.2\n",
	     ":3: [profile a]: max-version = TLS1.2 and min-version = TLS1.3 leave no version"},
	    {DAEMON "[profile a]\nmax-version = TLS1.2\nearly-data = 1024\n",
	     ":3: [profile a]: early-data is for TLS 1.3, and max-version = TLS1.2"},
	    {DAEMON "[profile a]\nrecords = relay\nzero-copy-sendfile = yes\n",
	     ":3: [profile a]: zero-copy-sendfile is for the kernel's records, and records"},
	    {DAEMON "[profile a]\nmin-version = TLS1.3\nzero-copy-sendfile = yes\n",
	     ":3: [profile a]: zero-copy-sendfile would do nothing: NICs take TLS 1.2 with "
	     "AES-GCM, which"
	     " the profile's versions leave out"},
	    {DAEMON "[profile a]\nciphers = CHACHA20-POLY1305\nzero-copy-sendfile = yes\n",
	     "which the profile's ciphers leave out"},
	    {DAEMON "[profile a]\nalpn-required = maybe\n", "known: yes or no"},
	    {DAEMON "[profile a]\nalpn-required = yes\n", "needs \"alpn\""},
	    {DAEMON "[profile a]\nalpn = 12345678901234567890123456789012\n", "too long"},
	    {DAEMON "[profile a]\nalpn = a b c d e f g h i\n", "\"i\" is one too many"},
	    {DAEMON "[profile a]\ntimeout-ms = 0\n", "from 1 to 600000"},
	    {DAEMON "[profile a]\ntimeout-ms = 600001\n", "\"600001\""},
	    {DAEMON "[profile a]\ntimeout-ms = 10s\n", "\"10s\""},
	    {DAEMON "[profile a]\nallow = root\n", "write user:NAME, group:NAME"},
	    {DAEMON "[profile a]\nallow = user:no-such-user\n", "no user \"no-such-user\""},
	    {DAEMON "[profile a]\nallow = group:no-such-group\n", "no group \"no-such-group\""},
	    {DAEMON "[profile a]\nallow = user:\n", "not understood"},
	    {"[daemon]\nworkers = -1\n", "\"-1\""},
	    {"[daemon]\nworkers = many\n", "\"auto\""},
	    {"[daemon]\nsocket-mode = 999\n", "octal"},
	    {"[daemon]\nsocket-mode = 01777\n", "octal"},
	    {"[daemon]\nhandshakes-total = 99999999999999999999\n", "99999999999999999999"},
	    {"[daemon]\nlog-level = verbose\n", "known: error, warning, info or debug"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_says(refusal(cases[i].text), cases[i].says);
}

static void groups_may_be_optional(void **state)
{
	const char *text = DAEMON "[profile a]\ngroups = X25519MLKEM768? X25519\n  P-384?\n";
	struct config *config = read_text(text);
	const struct config_profile *profile = config_find_profile(config, "a");
	bool hybrid = groups_available(CONFIG_X25519_MLKEM768);

	(void)state;
	assert_int_equal(profile->group_count, hybrid ? 3 : 2);
	assert_int_equal(profile->groups[hybrid], CONFIG_X25519);
	assert_int_equal(profile->groups[hybrid + 1], CONFIG_SECP384R1);
	config_free(config);
	if (hybrid)
		return;
	assert_says(refusal(DAEMON "[profile a]\ngroups = X25519MLKEM768\n"),
		    "does not have \"X25519MLKEM768\"; take it out, or write"
		    " \"X25519MLKEM768?\"");
	assert_says(refusal(DAEMON "[profile a]\ngroups = X25519MLKEM768?\n"),
		    "has none of its groups");
}

static void refuses_what_is_there_twice_with_both_lines(void **state)
{
	(void)state;
	assert_says(refusal(DAEMON "[profile a]\nrole = client\ntrust = x\nrole = server\n"),
		    ":6: role = \"server\": the key is in [profile a] already, in line 4");
	assert_says(refusal(DAEMON "[profile a]\n[profile b]\n[profile a]\n"),
		    ":5: [profile a] is there already, in line 3");
	assert_says(refusal("[daemon]\n[profile a]\n[daemon]\n"),
		    ":3: [daemon] is there already, in line 1");
}

static void wants_each_certificate_with_its_key(void **state)
{
	(void)state;
	assert_says(refusal(DAEMON "[profile a]\ncertificate = a\ncertificate = b\n"),
		    ":5: certificate = \"b\": the certificate in line 4 has no private-key");
	assert_says(refusal(DAEMON "[profile a]\nprivate-key = b\n"), "no certificate before it");
	assert_says(refusal(DAEMON "[profile a]\ncertificate = a\nprivate-key = b\n"
				   "private-key = c\n"),
		    "has its private-key already");
	assert_says(refusal(DAEMON "[profile a]\ncertificate = a\n[profile b]\n"),
		    ":4: certificate = ");
	assert_says(refusal(DAEMON "[profile a]\ncertificate = \n"), "certificate has no value");
	assert_says(refusal(DAEMON "[profile a]\ntrust = ca.pem # ours\n"), "begins with \" ;\"");
}

static void refuses_profiles_that_make_no_sense(void **state)
{
	(void)state;
	assert_says(refusal(DAEMON), "there is no profile");
	assert_says(refusal(""), "there is no profile");
	assert_says(refusal(DAEMON "[profile]\n"), "has no name");
	assert_says(refusal(DAEMON "[profile a b]\n"), "has \" \" in it");
	assert_says(refusal(DAEMON "[profile a/b]\n"), "has \"/\" in it");
	assert_says(refusal(DAEMON "[profile 1234567890123456789012345678901234567890"
				   "123456789012345678901234]\n"),
		    "too long");
	assert_says(refusal(DAEMON "[profile a]\nrole = server\n"), ":3: [profile a] is a server's"
								    " and has no certificate");
	assert_says(refusal(DAEMON "[profile a]\ncertificate = a\nprivate-key = b\n"
				   "client-certificates = request\n"),
		    "client-certificates = request needs \"trust\"");
	assert_says(refusal(DAEMON "[profile a]\nrole = client\ntrust = t\n"
				   "client-certificates = require\n"),
		    "is for servers");
	assert_says(refusal(DAEMON "[profile a]\nrole = server\ncertificate = a\nprivate-key = b\n"
				   "revocation-list = l\n"),
		    "needs \"trust\"");
	assert_says(refusal(DAEMON "[profile a]\nrole = server\ncertificate = a\nprivate-key = b\n"
				   "insecure-no-verification = yes\n"),
		    "is for clients");
	assert_says(refusal(DAEMON "[profile a]\nrole = client\ntrust = a\n"
				   "insecure-no-verification = yes\n"),
		    "contradiction");
}

static void keys_of_the_kernel_go_with_nothing_else(void **state)
{
	struct config *config = read_text(DAEMON "[kernel]\nnvme = a\nnvmet = a\n[profile a]\n"
						 "kernel-psk = yes\nciphers = AES-256-GCM\n");

	(void)state;
	assert_true(config->profiles[0].psk.kernel);
	assert_int_equal(config->profiles[0].min_version, CONFIG_TLS13);
	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NVMET], "a");
	config_free(config);
	assert_says(refusal(DAEMON "[kernel]\nnvme = a\n[profile a]\ntrust = system\n"),
		    ":4: nvme = \"a\": the profile does not say kernel-psk = yes");
	assert_says(refusal(DAEMON "[kernel]\nnfs = a\n[profile a]\nkernel-psk = yes\n"),
		    ":4: nfs = \"a\": the profile says kernel-psk = yes");
	assert_says(
	    refusal(DAEMON "[kernel]\nnvmet = a\n[profile a]\nkernel-psk = yes\nrole = client\n"),
	    "does not allow a server");
	assert_says(refusal(DAEMON "[profile a]\nkernel-psk = yes\ntrust = system\n"),
		    ":3: [profile a]: kernel-psk = yes with trust is a contradiction");
	assert_says(refusal(DAEMON "[profile a]\nkernel-psk = yes\npsk-file = a\n"),
		    "with psk-file is a contradiction");
	assert_says(refusal(DAEMON "[profile a]\nkernel-psk = yes\nmin-version = TLS1.2\n"),
		    "needs TLS 1.3");
}

static void refuses_lines_that_are_none(void **state)
{
	char text[1024];

	(void)state;
	assert_says(refusal(DAEMON "[profile a]\nhello world\nrole = sever\n"),
		    ":4: \"hello world\" is neither [section] nor key = value");
	assert_says(refusal("workers = 2\n"),
		    ":1: \"workers = 2\" stands before the first section");
	assert_says(refusal("[daemon\n"), ":1: \"[daemon\" has no closing \"]\"");
	assert_says(refusal("[daemon] workers = 2\n"), "behind the section's \"]\"");
	assert_says(refusal(DAEMON "  [profile a]\n"), "must begin in the first column");
	assert_says(refusal(DAEMON "[profile a]\nrole = client\n  trust = x\n"),
		    ":5: \"trust = x\" is indented and so continues the value of \"role\"");
	assert_says(refusal(DAEMON "[profile a]\nalpn = h2\n  trust = x\n"), "is indented");
	snprintf(text, sizeof(text), DAEMON "[profile a]\ntrust = %0300d\n", 0);
	assert_says(refusal(text), ":4: the line is too long (308 bytes");
	snprintf(text, sizeof(text), "[%0300d]\n", 0);
	assert_says(refusal(text), ":1: the line is too long");
}

static void refuses_a_nul_byte(void **state)
{
	struct problem problem = {};
	struct config *config;
	FILE *file = fopen(pki_write_text("test.conf", ""), "w");

	(void)state;
	fwrite("[daemon]\0\n", 1, 10, file);
	fclose(file);
	assert_int_equal(config_read(pki_path("test.conf"), &config, &problem), -1);
	assert_says(problem.text, "NUL byte");
}

static void refuses_a_file_that_everybody_may_write(void **state)
{
	struct problem problem = {};
	struct config *config;

	(void)state;
	chmod(pki_write_text("test.conf", DAEMON "[profile a]\n"), 0666);
	assert_int_equal(config_read(pki_path("test.conf"), &config, &problem), -1);
	assert_says(problem.text, "chmod o-w");
	problem.text[0] = '\0';
	assert_int_equal(config_read(pki_path("absent.conf"), &config, &problem), -1);
	assert_says(problem.text, "absent.conf\" cannot be opened: No such file");
	problem.text[0] = '\0';
	assert_int_equal(config_read(pki_directory(), &config, &problem), -1);
	assert_says(problem.text, "is a directory");
}

static void never_makes_workers_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip_because("needs root");
	assert_says(refusal("[daemon]\nuser = root\n[profile a]\n"), ":2: user = \"root\" is root");
	assert_says(refusal("[daemon]\nuser = 0\n[profile a]\n"), "is root");
	assert_says(refusal("[daemon]\nuser = no-such-user\n[profile a]\n"),
		    ":2: user: there is no user \"no-such-user\"");
}

static void reads_who_may_look_and_never_everyone(void **state)
{
	struct config *config =
	    read_text(DAEMON "trace-allow = user:root, user:12345\ntrace-allow = group:root\n"
			     "key-log = keys.log\n[profile out]\nrole = client\n");

	(void)state;
	assert_int_equal(config->trace_allow.user_count, 2);
	assert_int_equal(config->trace_allow.users[1], 12345);
	assert_int_equal(config->trace_allow.group_count, 1);
	assert_non_null(strstr(config->key_log, "/keys.log"));
	config_free(config);
	assert_says(refusal(DAEMON "trace-allow = everyone\n[profile out]\nrole = client\n"),
		    "every user");
}

// Any beginning of a good file is judged without harm.
static void survives_a_cut_at_each_byte(void **state)
{
	static const char text[] =
	    DAEMON "workers = 2\n[profile web]\nrole = server\n"
		   "certificate = a\nprivate-key = b\nalpn = h2,\n  http/1.1\n"
		   "allow = user:root group:root everyone\n";

	(void)state;
	for (size_t length = 0; length < sizeof(text); length++) {
		char cut[sizeof(text)];
		struct problem problem = {};
		struct config *config = NULL;

		snprintf(cut, length + 1, "%s", text);
		if (config_read(pki_write_text("test.conf", cut), &config, &problem) == 0)
			config_free(config);
		else
			assert_true(problem.text[0] != '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(has_defaults),
	    cmocka_unit_test(reads_everything),
	    cmocka_unit_test(tells_file_line_and_the_nearest_word),
	    cmocka_unit_test(groups_may_be_optional),
	    cmocka_unit_test(refuses_what_is_there_twice_with_both_lines),
	    cmocka_unit_test(wants_each_certificate_with_its_key),
	    cmocka_unit_test(refuses_profiles_that_make_no_sense),
	    cmocka_unit_test(keys_of_the_kernel_go_with_nothing_else),
	    cmocka_unit_test(refuses_lines_that_are_none),
	    cmocka_unit_test(refuses_a_nul_byte),
	    cmocka_unit_test(refuses_a_file_that_everybody_may_write),
	    cmocka_unit_test(never_makes_workers_root),
	    cmocka_unit_test(reads_who_may_look_and_never_everyone),
	    cmocka_unit_test(survives_a_cut_at_each_byte),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
