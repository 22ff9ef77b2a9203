// SPDX-License-Identifier: LGPL-2.1-or-later
// Which requests may be answered although they came as early data.
/* links: tools/serve-early-head.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve-early-head.h"

static bool safe(const char *text)
{
	return serve_early_head_is_safe(text, strlen(text));
}

static void takes_whole_requests_without_content(void **state)
{
	(void)state;
	assert_true(safe("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_true(safe("HEAD /x?y HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n"));
	assert_true(safe("GET / HTTP/1.0\r\n\r\n"));
}

static void refuses_all_else(void **state)
{
	static const char *const texts[] = {
	    "",
	    "GET ",
	    "GET / HTTP/1.1",
	    "GET / HTTP/1.1\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n\r",
	    "GET / HTTP/1.1\r\nHost: a\r\n\r\nG",
	    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "PUT / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\ncontent-length:1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n Content-Length: 1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost a\r\n\r\n",
	    "GET / HTTP/1.1\nHost: a\n\n",
	    "GET / HTTP/1.1\r\nHost: a\rContent-Length: 1\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\n",
	};
	static const char zero[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
	char *large = malloc(SERVE_EARLY_HEAD + 64);

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(safe(texts[i]));
	assert_false(serve_early_head_is_safe(zero, sizeof(zero) - 1));
	assert_false(serve_early_head_is_safe(NULL, 0));
	assert_non_null(large);
	strcpy(large, "GET / HTTP/1.1\r\nHost: ");
	memset(large + 22, 'a', SERVE_EARLY_HEAD);
	memcpy(large + SERVE_EARLY_HEAD - 4, "\r\n\r\n", 4);
	assert_true(serve_early_head_is_safe(large, SERVE_EARLY_HEAD));
	memcpy(large + SERVE_EARLY_HEAD - 4, "a\r\n\r\n", 5);
	assert_false(serve_early_head_is_safe(large, SERVE_EARLY_HEAD + 1));
	free(large);
}

static void tells_the_name_of_any(void **state)
{
	char method[8], *target;

	(void)state;
	serve_early_head_name("POST /a HTTP/1.1", 16, method, sizeof(method), &target);
	assert_string_equal(method, "POST");
	assert_string_equal(target, "/a");
	free(target);
	serve_early_head_name("POST /a", 7, method, sizeof(method), &target);
	assert_string_equal(method, "POST");
	assert_null(target);
	serve_early_head_name("a method that is long", 21, method, sizeof(method), &target);
	assert_string_equal(method, "a");
	free(target);
	serve_early_head_name("ABCDEFGHIJK x y", 15, method, sizeof(method), &target);
	assert_string_equal(method, "");
	assert_null(target);
	serve_early_head_name(NULL, 0, method, sizeof(method), &target);
	assert_string_equal(method, "");
	serve_early_head_name("GET", 3, method, sizeof(method), &target);
	assert_string_equal(method, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_whole_requests_without_content),
	    cmocka_unit_test(refuses_all_else),
	    cmocka_unit_test(tells_the_name_of_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
