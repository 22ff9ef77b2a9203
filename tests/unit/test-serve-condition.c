// SPDX-License-Identifier: LGPL-2.1-or-later
/* Conditional and range requests. */
/* links: tools/serve-condition.o */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "serve-condition.h"

#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE     "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER  "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER    "Sun, 06 Nov 1994 08:49:38 GMT"
#define ETAG     "\"tag\""

static const struct serve_entity entity = {.size = 1000, .modified = MODIFIED, .etag = ETAG};

static struct serve_part judged(const struct serve_condition *condition)
{
	struct serve_part part;

	serve_condition_judge(condition, &entity, &part);
	return part;
}

#define STATUS(...) (judged(&(struct serve_condition){.is_get = true, __VA_ARGS__}).status)

static void assert_range(const char *range, unsigned int status, uint64_t first, uint64_t length)
{
	struct serve_part part = judged(&(struct serve_condition){.is_get = true, .range = range});

	assert_int_equal(part.status, status);
	if (status == 416)
		return;
	assert_int_equal(part.first, first);
	assert_int_equal(part.length, length);
}

static void dates_of_all_three_forms_are_read(void **state)
{
	static const char *const forms[] = {
	    DATE,
	    "Sunday, 06-Nov-94 08:49:37 GMT",
	    "Sun Nov  6 08:49:37 1994",
	};
	char text[SERVE_DATE_SIZE];
	time_t date;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(serve_date_read(forms[i], &date), 0);
		assert_int_equal(date, MODIFIED);
	}
	serve_date_write(MODIFIED, text);
	assert_string_equal(text, DATE);
	assert_int_equal(serve_date_read("Friday, 01-Jan-27 00:00:00 GMT", &date), 0);
	serve_date_write(date, text);
	assert_string_equal(text, "Fri, 01 Jan 2027 00:00:00 GMT");
}

static void what_is_no_date_is_refused(void **state)
{
	static const char *const wrong[] = {
	    "",
	    "now",
	    "Sun, 06 Nov 1994 08:49:37",
	    "Sun, 06 Nov 1994 08:49:37 CET",
	    "Sun, 06 Foo 1994 08:49:37 GMT",
	    "Sun, 32 Nov 1994 08:49:37 GMT",
	    "Sun, 06 Nov 1994 24:49:37 GMT",
	    "Sun, 06 Nov 1994 08:49:37 GMT x",
	    ",",
	    "784111777",
	    "Sun, -6 Nov 1994 08:49:37 GMT",
	    "Sun, 06 Nov 1994 08:-9:37 GMT",
	};
	time_t date;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(serve_date_read(wrong[i], &date), -EINVAL);
}

static void nothing_asked_gives_all(void **state)
{
	struct serve_part part = judged(&(struct serve_condition){.is_get = true});

	(void)state;
	assert_int_equal(part.status, 200);
	assert_int_equal(part.first, 0);
	assert_int_equal(part.length, 1000);
}

static void dates_decide_whether_it_was_modified(void **state)
{
	(void)state;
	assert_int_equal(STATUS(.if_modified_since = DATE), 304);
	assert_int_equal(STATUS(.if_modified_since = LATER), 304);
	assert_int_equal(STATUS(.if_modified_since = EARLIER), 200);
	assert_int_equal(STATUS(.if_modified_since = "rubbish"), 200);
	assert_int_equal(STATUS(.if_unmodified_since = DATE), 200);
	assert_int_equal(STATUS(.if_unmodified_since = EARLIER), 412);
	assert_int_equal(STATUS(.if_unmodified_since = "rubbish"), 200);
}

static void tags_come_before_dates(void **state)
{
	(void)state;
	assert_int_equal(STATUS(.if_none_match = ETAG), 304);
	assert_int_equal(STATUS(.if_none_match = "W/" ETAG), 304);
	assert_int_equal(STATUS(.if_none_match = "\"a\", \"b\" ,W/\"c\"," ETAG), 304);
	assert_int_equal(STATUS(.if_none_match = "*"), 304);
	assert_int_equal(STATUS(.if_none_match = "\"ta\""), 200);
	assert_int_equal(STATUS(.if_none_match = "\"tag"), 200);
	assert_int_equal(STATUS(.if_none_match = "tag"), 200);
	assert_int_equal(STATUS(.if_none_match = ""), 200);
	assert_int_equal(STATUS(.if_none_match = "\"x\"", .if_modified_since = DATE), 200);
	assert_int_equal(STATUS(.if_match = ETAG), 200);
	assert_int_equal(STATUS(.if_match = "*"), 200);
	assert_int_equal(STATUS(.if_match = "W/" ETAG), 412);
	assert_int_equal(STATUS(.if_match = "\"x\""), 412);
	assert_int_equal(STATUS(.if_match = ETAG, .if_unmodified_since = EARLIER), 200);
	assert_int_equal(STATUS(.if_match = ETAG, .if_none_match = ETAG), 304);
}

static void ranges_name_the_bytes(void **state)
{
	(void)state;
	assert_range("bytes=0-0", 206, 0, 1);
	assert_range("bytes=0-", 206, 0, 1000);
	assert_range("bytes=10-19", 206, 10, 10);
	assert_range("bytes=999-", 206, 999, 1);
	assert_range("bytes=990-5000", 206, 990, 10);
	assert_range("bytes=-1", 206, 999, 1);
	assert_range("bytes=-5000", 206, 0, 1000);
	assert_range("bytes=5-99999999999999999999999", 206, 5, 995);
}

static void ranges_beyond_the_end_cannot_be_given(void **state)
{
	(void)state;
	assert_range("bytes=1000-", 416, 0, 0);
	assert_range("bytes=1000-1001", 416, 0, 0);
	assert_range("bytes=99999999999999999999999-", 416, 0, 0);
	assert_range("bytes=-0", 416, 0, 0);
}

static void an_empty_file_has_no_ranges(void **state)
{
	const struct serve_entity empty = {.etag = ETAG};
	struct serve_part part;

	(void)state;
	serve_condition_judge(&(struct serve_condition){.is_get = true, .range = "bytes=0-0"},
			      &empty, &part);
	assert_int_equal(part.status, 416);
	serve_condition_judge(&(struct serve_condition){.is_get = true, .range = "bytes=-5"},
			      &empty, &part);
	assert_int_equal(part.status, 416);
}

static void what_is_no_single_range_is_ignored(void **state)
{
	static const char *const ranges[] = {
	    "",          "bytes",      "bytes=",        "bytes=-",   "bytes=1",
	    "bytes=a-b", "bytes=2-1",  "bytes=1-2,4-5", "lines=1-2", "bytes=1-2x",
	    "bytes=--1", "bytes=+1-2", "bytes 1-2",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		assert_range(ranges[i], 200, 0, 1000);
	assert_int_equal(
	    judged(&(struct serve_condition){.is_get = false, .range = "bytes=0-1"}).status, 200);
}

static void a_range_of_another_state_is_ignored(void **state)
{
	(void)state;
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = ETAG), 206);
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = "\"x\""), 200);
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = "W/" ETAG), 200);
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = DATE), 206);
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = LATER), 200);
	assert_int_equal(STATUS(.range = "bytes=0-1", .if_range = "rubbish"), 200);
	assert_int_equal(STATUS(.range = "bytes=5000-", .if_range = "\"x\""), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(dates_of_all_three_forms_are_read),
	    cmocka_unit_test(what_is_no_date_is_refused),
	    cmocka_unit_test(nothing_asked_gives_all),
	    cmocka_unit_test(dates_decide_whether_it_was_modified),
	    cmocka_unit_test(tags_come_before_dates),
	    cmocka_unit_test(ranges_name_the_bytes),
	    cmocka_unit_test(ranges_beyond_the_end_cannot_be_given),
	    cmocka_unit_test(an_empty_file_has_no_ranges),
	    cmocka_unit_test(what_is_no_single_range_is_ignored),
	    cmocka_unit_test(a_range_of_another_state_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
