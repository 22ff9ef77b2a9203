// SPDX-License-Identifier: LGPL-2.1-or-later
/* Request targets and paths. */
/* links: tools/serve-path.o */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve-path.h"

static void assert_path(const char *target, const char *text, bool directory)
{
	struct serve_path path;

	assert_int_equal(serve_path_read(target, &path), 0);
	assert_string_equal(path.text, text);
	assert_int_equal(path.directory, directory);
}

static void assert_refused(const char *target, int error)
{
	struct serve_path path;

	assert_int_equal(serve_path_read(target, &path), error);
}

static void targets_become_relative_paths(void **state)
{
	(void)state;
	assert_path("/", ".", true);
	assert_path("/a", "a", false);
	assert_path("/a/", "a", true);
	assert_path("/a/b.txt", "a/b.txt", false);
	assert_path("/a//b", "a//b", false);
	assert_path("///", ".", true);
	assert_path("//host/a", "host/a", false);
	assert_path("/a?b/c?d", "a", false);
	assert_path("/?x", ".", true);
	assert_path("/../x", "../x", false);
}

static void escapes_are_undone_once(void **state)
{
	(void)state;
	assert_path("/a%20b", "a b", false);
	assert_path("/%41%62", "Ab", false);
	assert_path("/%2541", "%41", false);
	assert_path("/%3F", "?", false);
	assert_path("/%c3%a4", "\xc3\xa4", false);
	assert_path("/%2e%2E/", "..", true);
	assert_path("/a%0ab", "a\nb", false);
}

static void absolute_form_is_taken(void **state)
{
	(void)state;
	assert_path("https://host/a?b", "a", false);
	assert_path("HTTP://host:80/a/", "a", true);
	assert_path("https://host", ".", true);
	assert_path("https://host?x", ".", true);
}

static void what_no_file_can_be_called_is_not_found(void **state)
{
	(void)state;
	assert_refused("/a%00", -ENOENT);
	assert_refused("/%00", -ENOENT);
	assert_refused("/a%2fb", -ENOENT);
	assert_refused("/a%2Fb", -ENOENT);
}

static void broken_targets_are_refused(void **state)
{
	char target[SERVE_PATH_SIZE + 10];

	(void)state;
	assert_refused("", -EINVAL);
	assert_refused("a", -EINVAL);
	assert_refused("*", -EINVAL);
	assert_refused("host:443", -EINVAL);
	assert_refused("/%", -EINVAL);
	assert_refused("/%4", -EINVAL);
	assert_refused("/%4g", -EINVAL);
	assert_refused("/a b", -EINVAL);
	assert_refused("/a#b", -EINVAL);
	assert_refused("/a\x01", -EINVAL);
	assert_refused("/a\x7f", -EINVAL);
	memset(target, 'a', sizeof(target));
	target[0] = '/';
	target[sizeof(target) - 1] = '\0';
	assert_refused(target, -ENAMETOOLONG);
}

static void links_come_back_as_they_were(void **state)
{
	char name[256], link[1024];
	struct serve_path path;
	size_t length = 0;

	(void)state;
	for (int byte = 1; byte < 256; byte++)
		if (byte != '/')
			name[length++] = (char)byte;
	name[length] = '\0';
	assert_int_equal(serve_path_link(name, false, link, sizeof(link)), 0);
	assert_int_equal(strspn(link, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-._~/%"),
			 strlen(link));
	assert_int_equal(serve_path_read(link, &path), 0);
	assert_string_equal(path.text, name);
}

static void links_name_no_other_host(void **state)
{
	char link[64];
	struct serve_path path;

	(void)state;
	assert_int_equal(serve_path_read("//evil.example", &path), 0);
	assert_int_equal(serve_path_link(path.text, true, link, sizeof(link)), 0);
	assert_string_equal(link, "/evil.example/");
	assert_int_equal(serve_path_link(".", true, link, sizeof(link)), 0);
	assert_string_equal(link, "/");
}

static void links_fit_or_fail(void **state)
{
	(void)state;
	for (size_t size = 0; size < 40; size++) {
		char *link = malloc(size + 1); /* exact, for the sanitizers */
		int r = serve_path_link("a b/c%d\xff", true, link, size);

		assert_true(r == 0 || r == -ENAMETOOLONG);
		if (r == 0)
			assert_true(strlen(link) < size);
		free(link);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(targets_become_relative_paths),
	    cmocka_unit_test(escapes_are_undone_once),
	    cmocka_unit_test(absolute_form_is_taken),
	    cmocka_unit_test(what_no_file_can_be_called_is_not_found),
	    cmocka_unit_test(broken_targets_are_refused),
	    cmocka_unit_test(links_come_back_as_they_were),
	    cmocka_unit_test(links_name_no_other_host),
	    cmocka_unit_test(links_fit_or_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
