// SPDX-License-Identifier: LGPL-2.1-or-later
/* Showing text that a peer chose. */
/* links: tools/display.o libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "display.h"

static void assert_shown(const char *text, const char *shown)
{
	char *page = NULL;
	size_t size;
	FILE *stream = open_memstream(&page, &size);

	display_text(stream, text);
	fclose(stream);
	assert_string_equal(page, shown);
	free(page);
}

static void assert_json(json_t *value, const char *shown)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);

	assert_string_equal(text, shown);
	free(text);
	json_decref(value);
}

static void plain_text_is_left_alone(void **state)
{
	(void)state;
	assert_shown("", "");
	assert_shown("CN=a, O=b", "CN=a, O=b");
	assert_shown("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92",
		     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x92");
}

static void nothing_commands_the_terminal(void **state)
{
	(void)state;
	assert_shown("a\x1b[2Jb", "a\\x1B[2Jb");
	assert_shown("a\nb\rc\td\x7f", "a\\x0Ab\\x0Dc\\x09d\\x7F");
	assert_shown("\\x41", "\\x5Cx41");
	assert_shown("\xc2\x9b", "\\xC2\\x9B");          /* C1: CSI */
	assert_shown("\xe2\x80\xae", "\\xE2\\x80\\xAE"); /* right-to-left override */
	assert_shown("\xff\xc3", "\\xFF\\xC3");          /* no UTF-8 */
	assert_shown("\xc0\xaf", "\\xC0\\xAF");          /* overlong */
	assert_shown("\xed\xa0\x80", "\\xED\\xA0\\x80"); /* surrogate */
	assert_shown("\xf4\x90\x80\x80", "\\xF4\\x90\\x80\\x80");
}

static void json_is_always_valid(void **state)
{
	(void)state;
	assert_json(display_json_string("a\"b\\\n"), "\"a\\\"b\\\\\\n\"");
	assert_json(display_json_string("\xc3\xbc"), "\"\xc3\xbc\"");
	assert_json(display_json_string("a\xff"), "\"a\xef\xbf\xbd\"");
	assert_json(display_json_string("\xed\xa0\x80"),
		    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_json(display_json_string(""), "\"\"");
}

static void digits_are_numbers_in_json(void **state)
{
	(void)state;
	assert_json(display_json_value("0"), "0");
	assert_json(display_json_value("12"), "12");
	assert_json(display_json_value("007"), "\"007\"");
	assert_json(display_json_value("-1"), "\"-1\"");
	assert_json(display_json_value("1.5"), "\"1.5\"");
	assert_json(display_json_value(""), "\"\"");
	assert_json(display_json_value("99999999999999999999"), "\"99999999999999999999\"");
	assert_json(display_json_value("kernel"), "\"kernel\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_text_is_left_alone),
	    cmocka_unit_test(nothing_commands_the_terminal),
	    cmocka_unit_test(json_is_always_valid),
	    cmocka_unit_test(digits_are_numbers_in_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
