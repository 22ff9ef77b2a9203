// SPDX-License-Identifier: LGPL-2.1-or-later
/* The index of names: as many as a large server has, each found at once. */
#include "server-names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void finds_one_of_ten_thousand_names(void **state)
{
	struct server_names *names = server_names_new();
	struct timespec before, after;
	int found = 0;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		gnutls_x509_crt_t certificate;
		char name[64];

		snprintf(name, sizeof(name), "host%u.example.com", i);
		gnutls_x509_crt_init(&certificate);
		gnutls_x509_crt_set_version(certificate, 3);
		gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					      (unsigned)strlen(name));
		assert_int_equal(server_names_add(names, certificate, i), 0);
		gnutls_x509_crt_deinit(certificate);
	}
	assert_int_equal(server_names_finish(names), 0);
	assert_int_equal(server_names_group_count(names), 10000);
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (unsigned i = 0; i < 10000; i++) {
		char name[64];
		unsigned count;
		int group;

		snprintf(name, sizeof(name), "HOST%u.example.com", i);
		group = server_names_find(names, name);
		assert_true(group >= 0);
		found += *server_names_group(names, (unsigned)group, &count) == i && count == 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	print_message("%.2f us per name\n", ((double)(after.tv_sec - before.tv_sec) * 1e9 +
					     (double)(after.tv_nsec - before.tv_nsec)) /
						1e7);
	assert_int_equal(found, 10000);
	assert_int_equal(server_names_find(names, "host10000.example.com"), -1);
	assert_int_equal(server_names_find(names, ""), -1);
	assert_int_equal(server_names_find(names, "."), -1);
	assert_int_equal(server_names_find(names, ".example.com"), -1);
	server_names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_one_of_ten_thousand_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
