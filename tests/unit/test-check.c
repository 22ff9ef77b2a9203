// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* handshaked --check: a line for each thing, one run for all of them, the right exit status. */
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "pki.h"

enum { DAY = 24 * 3600 };

static char *output;
static size_t output_size;

static void pair_write(const char *word, const struct pki_entity *entity)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.pem", word);
	pki_write_chain(name, &entity, 1);
	snprintf(name, sizeof(name), "%s.key", word);
	pki_write_key(name, entity);
}

static int setup(void **state)
{
	struct pki_entity *root =
	    pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	struct pki_entity *good =
	    pki_new(&(struct pki_wish){.issuer = root, .names = {"good.test"}});
	struct pki_entity *old = pki_new(&(struct pki_wish){
	    .issuer = root, .names = {"old.test"}, .from = -9 * DAY, .until = -DAY});
	struct pki_entity *soon = pki_new(&(struct pki_wish){
	    .issuer = root, .names = {"soon.test"}, .from = -DAY, .until = 13 * DAY});
	struct pki_entity *foreign = pki_new(&(struct pki_wish){
	    .issuer = root, .names = {"client.test"}, .purpose = GNUTLS_KP_TLS_WWW_CLIENT});

	(void)state;
	pki_write_chain("trust.pem", (const struct pki_entity *[]){root}, 1);
	pair_write("good", good);
	pair_write("old", old);
	pair_write("soon", soon);
	pair_write("client", foreign);
	pki_write_list("good.crl", root, &old->serial, 1, -DAY, 9 * DAY);
	pki_write_list("old.crl", root, NULL, 0, -9 * DAY, -DAY);
	pki_free(foreign);
	pki_free(soon);
	pki_free(old);
	pki_free(good);
	pki_free(root);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(output);
	pki_directory_remove();
	return 0;
}

static int check(const char *lines)
{
	char text[2048];
	FILE *out;
	int status;

	snprintf(text, sizeof(text), "[daemon]\nuser = 65534\nsocket = socket\n%s", lines);
	free(output);
	output = NULL;
	out = open_memstream(&output, &output_size);
	status = check_run(&(struct config_source){.path = pki_write_text("test.conf", text)}, out);
	fclose(out);
	return status;
}

// A line that begins with level has this in it.
static void assert_line(const char *level, const char *part)
{
	const char *line = output;

	while (*line) {
		const char *end = strchr(line, '\n'), *found = strstr(line, part);

		assert_non_null(end);
		if (!strncmp(line, level, strlen(level)) && found && found < end)
			return;
		line = end + 1;
	}
	fail_msg("no \"%s\" line has \"%s\" in:\n%s", level, part, output);
}

#define SERVER(word) "role = server\ncertificate = " word ".pem\nprivate-key = " word ".key\n"

static void is_content_with_what_is_right(void **state)
{
	(void)state;
	assert_int_equal(check("[profile a]\nrecords = relay\n" SERVER(
			     "good") "trust = trust.pem\nrevocation-list = good.crl\n"),
			 0);
	assert_line("ok ", "1 profile");
	assert_line("ok ", "good.test: valid until");
	assert_line("ok ", "good.key: matches the certificate, permissions are right");
	assert_line("ok ", "trust.pem: 1 authority");
	assert_line("ok ", "revocation-list of CN=root: 1 revoked, holds until");
	assert_line("ok ", "/socket: mode 0666");
	assert_null(strstr(output, "warning"));
	assert_null(strstr(output, "error"));
}

static void warns_before_a_certificate_expires(void **state)
{
	(void)state;
	assert_int_equal(check("[profile a]\nrecords = relay\n" SERVER("soon")), 0);
	assert_line("warning ", "soon.test: expires soon, on");
}

static void tells_all_errors_in_one_run(void **state)
{
	(void)state;
	chmod(pki_path("good.key"), 0644);
	assert_int_equal(check("[profile a]\nrecords = relay\n" SERVER(
			     "old") "trust = trust.pem\n"
				    "revocation-list = old.crl\n"
				    "[profile b]\nrecords = relay\n" SERVER(
					"good") "[profile c]\nrecords = relay\nrole = server\n"
						"certificate = old.pem\nprivate-key = soon.key\n"
						"[profile d]\nrecords = relay\n" SERVER(
						    "client") "[profile e]\nrecords = relay\nrole "
							      "= client\ntrust = absent.pem\n"),
			 1);
	assert_line("error ", "old.test: expired on");
	assert_line("error ", "revocation-list of CN=root: expired on");
	assert_line("error ", "[profile b] private-key");
	assert_line("error ", "everybody on this machine");
	assert_line("error ", "is not the key of certificate");
	assert_line("error ", "not for servers");
	assert_line("error ", "absent.pem\" cannot be opened");
	chmod(pki_path("good.key"), 0600);
}

static void tells_a_broken_configuration(void **state)
{
	(void)state;
	assert_int_equal(check("[profile a]\nrole = sever\n"), 1);
	assert_line("error ", "did you mean \"server\"?");
}

static void warns_of_what_is_insecure(void **state)
{
	(void)state;
	assert_int_equal(check("[profile a]\nrecords = relay\nrole = client\n"
			       "insecure-no-verification = yes\n"),
			 0);
	assert_line("warning ", "any server is believed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(is_content_with_what_is_right),
	    cmocka_unit_test(warns_before_a_certificate_expires),
	    cmocka_unit_test(tells_all_errors_in_one_run),
	    cmocka_unit_test(tells_a_broken_configuration),
	    cmocka_unit_test(warns_of_what_is_insecure),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
