/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditional and range requests (RFC 9110, 13 and 14): header fields against a file's state. */
#ifndef SERVE_CONDITION_H
#define SERVE_CONDITION_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { SERVE_ETAG_SIZE = 64, SERVE_DATE_SIZE = 32 };

/* Header fields of a request; NULL: not there. */
struct serve_condition {
	const char *if_match, *if_none_match;
	const char *if_modified_since, *if_unmodified_since;
	const char *range, *if_range;
	bool is_get; /* a range has a meaning with GET alone (RFC 9110, 14.2) */
};

struct serve_entity {
	uint64_t size; /* bytes */
	time_t modified;
	char etag[SERVE_ETAG_SIZE]; /* strong, with its quotes */
};

struct serve_part {
	unsigned int status;    /* 200, 206, 304, 412 or 416 */
	uint64_t first, length; /* bytes to send with 200 and 206 */
};

void serve_condition_judge(const struct serve_condition *condition,
			   const struct serve_entity *entity, struct serve_part *ret_part);
/* An IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT". */
void serve_date_write(time_t date, char ret_text[SERVE_DATE_SIZE]);
/* Reads any of the three forms of RFC 9110, 5.6.7. 0 or -EINVAL. */
int serve_date_read(const char *text, time_t *ret_date);

#endif
