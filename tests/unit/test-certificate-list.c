// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* What a directory of certificates is read as. */
#include "certificate-list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/certificate-list-XXXXXX";
static struct config_profile profile = {.roles = CONFIG_ROLE_SERVER};

static int setup(void **state)
{
	(void)state;
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	profile.certificate_directory = directory;
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

static void make(const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
}

static void refused(const char *words)
{
	struct certificate_list list;
	struct problem problem = {};

	assert_int_equal(certificate_list_new(&profile, &list, &problem), -1);
	if (!strstr(problem.text, words))
		fail_msg("%s", problem.text);
	assert_non_null(strstr(problem.text, directory));
}

static void pairs_come_in_the_order_of_their_names(void **state)
{
	static const char *const names[] = {"b.crt",   "b.key",   "a.pem",  "a.key",  "a.ocsp",
					    "a.b.pem", "a.b.key", ".c.pem", "README", "d.csr"};
	static const char *const order[] = {"a.pem", "a.b.pem", "b.crt"};
	struct certificate_list list;
	struct problem problem = {};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		make(names[i]);
	assert_int_equal(certificate_list_new(&profile, &list, &problem), 0);
	assert_int_equal(list.count, 3);
	assert_int_equal(list.named, 0);
	assert_int_equal(list.orphan_count, 0);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(strrchr(list.items[i].certificate, '/') + 1, order[i]);
	assert_string_equal(strrchr(list.items[0].private_key, '/') + 1, "a.key");
	assert_string_equal(strrchr(list.items[0].staple, '/') + 1, "a.ocsp");
	assert_null(list.items[1].staple);
	certificate_list_done(&list);
}

static void named_ones_come_first(void **state)
{
	struct config_certificate named = {
	    .certificate = (char *)"/n.pem", .private_key = (char *)"/n.key", .line = 7};
	struct config_profile both = profile;
	struct certificate_list list;
	struct problem problem = {};

	(void)state;
	both.certificates = &named;
	both.certificate_count = 1;
	make("a.pem");
	make("a.key");
	assert_int_equal(certificate_list_new(&both, &list, &problem), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.named, 1);
	assert_string_equal(list.items[0].certificate, "/n.pem");
	assert_int_equal(list.items[0].line, 7);
	certificate_list_done(&list);
}

static void keys_and_staples_alone_are_told(void **state)
{
	struct certificate_list list;
	struct problem problem = {};

	(void)state;
	make("a.pem");
	make("a.key");
	make("b.key");
	make("c.ocsp");
	assert_int_equal(certificate_list_new(&profile, &list, &problem), 0);
	assert_int_equal(list.count, 1);
	assert_int_equal(list.orphan_count, 2);
	assert_string_equal(strrchr(list.orphans[0], '/') + 1, "b.key");
	certificate_list_done(&list);
}

static void certificate_without_key_is_refused(void **state)
{
	(void)state;
	make("a.pem");
	make("a.ocsp");
	refused("\"a.pem\" has no private key; put it beside it as \"a.key\"");
}

static void two_of_one_name_are_refused(void **state)
{
	(void)state;
	make("a.pem");
	make("a.crt");
	make("a.key");
	refused("both \"a.pem\" and \"a.crt\"");
}

static void empty_one_is_refused_for_a_server(void **state)
{
	struct certificate_list list;
	struct problem problem = {};

	(void)state;
	refused("has no certificate");
	profile.roles = CONFIG_ROLE_SERVER | CONFIG_ROLE_CLIENT;
	assert_int_equal(certificate_list_new(&profile, &list, &problem), 0);
	certificate_list_done(&list);
	profile.roles = CONFIG_ROLE_SERVER;
}

static void open_one_is_refused(void **state)
{
	(void)state;
	make("a.pem");
	make("a.key");
	chmod(directory, 0777);
	refused("everybody on this machine may write to it");
}

static void absent_one_is_refused(void **state)
{
	(void)state;
	rmdir(directory);
	refused("cannot be opened: No such file");
	assert_int_equal(mkdir(directory, 0700), 0);
}

static void many_are_listed(void **state)
{
	struct certificate_list list;
	struct problem problem = {};
	char name[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%04d.pem", i);
		make(name);
		snprintf(name, sizeof(name), "%04d.key", i);
		make(name);
	}
	assert_int_equal(certificate_list_new(&profile, &list, &problem), 0);
	assert_int_equal(list.count, 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "/%04d.pem", i);
		assert_non_null(strstr(list.items[i].certificate, name));
	}
	certificate_list_done(&list);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pairs_come_in_the_order_of_their_names),
	    TEST(named_ones_come_first),
	    TEST(keys_and_staples_alone_are_told),
	    TEST(certificate_without_key_is_refused),
	    TEST(two_of_one_name_are_refused),
	    TEST(empty_one_is_refused_for_a_server),
	    TEST(open_one_is_refused),
	    TEST(absent_one_is_refused),
	    TEST(many_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
