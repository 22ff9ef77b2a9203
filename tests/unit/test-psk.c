// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* The store of pre-shared keys: what a file may say, and that a key is found by its whole identity. */
#include "psk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "pki.h"

#define KEY "00112233445566778899aabbccddeeff"

static int teardown(void **state)
{
	(void)state;
	pki_directory_remove();
	return 0;
}

static const char *write_file(const char *text)
{
	const char *path = pki_write_text("psk", text);

	chmod(path, 0600);
	return path;
}

static struct psk *read_text(const char *text)
{
	struct config_psk config = {.file = (char *)write_file(text)};
	struct problem problem = {};
	struct psk *psk = NULL;

	if (psk_new(&config, &psk, &problem) < 0)
		fail_msg("%s", problem.text);
	return psk;
}

static const char *refusal(const char *text)
{
	struct config_psk config = {.file = (char *)write_file(text)};
	static struct problem problem;
	struct psk *psk;

	problem.text[0] = '\0';
	assert_int_equal(psk_new(&config, &psk, &problem), -1);
	assert_null(psk);
	return problem.text;
}

static void assert_says(const char *sentence, const char *part)
{
	if (!strstr(sentence, part))
		fail_msg("\"%s\" does not say \"%s\"", sentence, part);
}

static bool has(const struct psk *psk, const char *identity, size_t size)
{
	gnutls_datum_t key;

	return psk_find(psk, identity, size, &key);
}

static void finds_whole_identities_only(void **state)
{
	struct psk *psk = read_text("bob:" KEY "\nalice:" KEY "00\r\n\nhost:1 of nqn:2:" KEY
				    "\n#616c006963:" KEY "aabb");
	gnutls_datum_t key;

	(void)state;
	assert_int_equal(psk_count(psk), 4);
	assert_true(psk_find(psk, "alice", 5, &key));
	assert_int_equal(key.size, 17);
	assert_memory_equal(key.data, "\x00\x11\x22\x33", 4);
	assert_true(has(psk, "bob", 3));
	assert_true(has(psk, "host:1 of nqn:2", 15));
	assert_true(has(psk, "al\0ic", 5));
	assert_false(has(psk, "al", 2));
	assert_false(has(psk, "alic", 4));
	assert_false(has(psk, "alice\0", 6));
	assert_false(has(psk, "alice2", 6));
	assert_false(has(psk, "Alice", 5));
	assert_false(has(psk, "", 0));
	assert_false(has(psk, "bob:", 4));
	psk_free(psk);
	psk_free(NULL);
}

static void is_none_where_none_is_named(void **state)
{
	struct config_psk config = {};
	struct problem problem = {};
	struct psk *psk;

	(void)state;
	assert_int_equal(psk_new(&config, &psk, &problem), 0);
	assert_null(psk);
}

static void refuses_what_is_no_key(void **state)
{
	char text[2 * 600 + 16];

	(void)state;
	assert_says(refusal("alice\n"), "line 1: the line has no \":\"");
	assert_says(refusal("a:" KEY "\nb:" KEY "0\n"), "line 2: the key has 33 hexadecimal");
	assert_says(refusal("a:" KEY "0g\n"), "the first other sign is digit 34");
	assert_says(refusal("a: " KEY "0\n"), "the first other sign is digit 1");
	assert_says(refusal("a:\n"), "the key of \"a\" has 0 bytes");
	assert_says(refusal("a:0011\n"), "has 2 bytes and can be guessed");
	assert_says(refusal(":" KEY "\n"), "the identity \"\" is not possible");
	assert_says(refusal("#:" KEY "\n"), "the identity \"#\" is not possible");
	assert_says(refusal("#6:" KEY "\n"), "is not possible");
	assert_says(refusal(""), "has no key in it");
	assert_says(refusal("a:" KEY "\nb:" KEY "\na:" KEY "00\n"),
		    "the pre-shared key of \"a\" is there twice");
	snprintf(text, sizeof(text), "%0129d:" KEY "\n", 0);
	assert_says(refusal(text), "is not possible");
	snprintf(text, sizeof(text), "a:%01026d\n", 0);
	assert_says(refusal(text), "has 513 bytes; at most 512");
}

static void never_shows_a_key(void **state)
{
	(void)state;
	assert_null(strstr(refusal("a:" KEY "zz\n"), "0011"));
	assert_null(strstr(refusal("a:" KEY "\na:" KEY "\n"), "0011"));
	assert_null(strstr(refusal(KEY "\n"), "0011"));
}

static void refuses_a_file_that_others_may_use(void **state)
{
	struct config_psk config = {.file = (char *)write_file("a:" KEY "\n")};
	struct problem problem = {};
	struct psk *psk;

	(void)state;
	chmod(config.file, 0604);
	assert_int_equal(psk_new(&config, &psk, &problem), -1);
	assert_says(problem.text, "may use it (mode 0604)");
	problem.text[0] = '\0';
	chmod(config.file, 0660);
	assert_int_equal(psk_new(&config, &psk, &problem), -1);
	assert_says(problem.text, "may write to it (mode 0660)");
	problem.text[0] = '\0';
	chmod(config.file, 0640);
	assert_int_equal(psk_new(&config, &psk, &problem), 0);
	psk_free(psk);
	config.insecure_short = true;
	write_file("a:00\n");
	assert_int_equal(psk_new(&config, &psk, &problem), 0);
	psk_free(psk);
}

static void shows_identities_as_they_can_be_read_again(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *text;
	} cases[] = {
	    {"alice", 5, "alice"},
	    {"two words", 9, "two words"},
	    {"#1", 2, "#2331"},
	    {"a\nb", 3, "#610a62"},
	    {"\xc3\xbc", 2, "#c3bc"},
	    {"\0", 1, "#00"},
	    {"100% of \"x\"", 11, "100% of \"x\""},
	};
	unsigned char most[PSK_IDENTITY_MAX];
	char text[PSK_IDENTITY_TEXT_SIZE];
	struct psk_identity identity;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		psk_identity_show(cases[i].bytes, cases[i].size, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(psk_identity_read(text, &identity), 0);
		assert_int_equal(identity.size, cases[i].size);
		assert_memory_equal(identity.bytes, cases[i].bytes, identity.size);
	}
	memset(most, 0xff, sizeof(most));
	psk_identity_show(most, sizeof(most), text);
	assert_int_equal(strlen(text), PSK_IDENTITY_TEXT_SIZE - 1);
	assert_int_equal(psk_identity_read(text, &identity), 0);
	assert_int_equal(identity.size, sizeof(most));
	assert_int_equal(psk_identity_read("", &identity), -1);
}

static void knows_its_only_identity(void **state)
{
	struct psk *psk = read_text("one:" KEY "\n");
	struct psk_identity identity;

	(void)state;
	assert_true(psk_only(psk, &identity));
	assert_int_equal(identity.size, 3);
	assert_memory_equal(identity.bytes, "one", 3);
	psk_free(psk);
	psk = read_text("one:" KEY "\ntwo:" KEY "\n");
	assert_false(psk_only(psk, &identity));
	psk_free(psk);
}

static void names_the_keyring_that_is_not_there(void **state)
{
	struct config_psk config = {.keyring = (char *)"no-such-keyring-here"};
	struct problem problem = {};
	struct psk *psk;

	(void)state;
	assert_int_equal(psk_new(&config, &psk, &problem), -1);
	assert_says(problem.text, "psk-keyring \"no-such-keyring-here\": there is no such keyring");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_whole_identities_only),
	    cmocka_unit_test(is_none_where_none_is_named),
	    cmocka_unit_test(refuses_what_is_no_key),
	    cmocka_unit_test(never_shows_a_key),
	    cmocka_unit_test(refuses_a_file_that_others_may_use),
	    cmocka_unit_test(shows_identities_as_they_can_be_read_again),
	    cmocka_unit_test(knows_its_only_identity),
	    cmocka_unit_test(names_the_keyring_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
