// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Conditional and range requests. Touches text alone. Never lets a field that it cannot read change
 * what would be sent without it.
 */
#include "serve-condition.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- Dates --------------------------------------------------------------------------------- */

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void serve_date_write(time_t date, char ret_text[SERVE_DATE_SIZE])
{
	struct tm parts;

	gmtime_r(&date, &parts);
	/* Not strftime: the words are English in every locale. */
	snprintf(ret_text, SERVE_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT",
		 days[parts.tm_wday], parts.tm_mday, months[parts.tm_mon],
		 (parts.tm_year + 1900) % 10000, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

int serve_date_read(const char *text, time_t *ret_date)
{
	/* The command never calls setlocale(3), so the words are English. */
	static const char *const forms[] = {
	    "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
	    "%a %b %d %H:%M:%S %Y",                                   /* asctime */
	};
	const time_t now = time(NULL);
	struct tm parts, today;

	gmtime_r(&now, &today);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const char *end;

		parts = (struct tm){0};
		end = strptime(text, forms[i], &parts);
		if (!end || *end)
			continue;
		/* A year of two digits that lies more than 50 years ahead is a past one. */
		if (i == 1 && parts.tm_year > today.tm_year + 50)
			parts.tm_year -= 100;
		*ret_date = timegm(&parts);
		return 0;
	}
	return -EINVAL;
}

/* ---- Entity tags --------------------------------------------------------------------------- */

/* Whether the list of a field (RFC 9110, 13.1.1) has the tag, which is strong. A weak one of the list
 * counts where the comparison is weak. */
static bool etags_have(const char *list, const char *etag, bool weakly)
{
	const char *at = list;

	while (*at) {
		bool weak;
		const char *end;

		at += strspn(at, " \t,");
		if (*at == '*')
			return true;
		weak = strncmp(at, "W/", 2) == 0;
		at += weak ? 2 : 0;
		end = *at == '"' ? strchr(at + 1, '"') : NULL;
		if (!end)
			return false;
		end++;
		if ((weakly || !weak) && (size_t)(end - at) == strlen(etag) &&
		    memcmp(at, etag, strlen(etag)) == 0)
			return true;
		at = end;
	}
	return false;
}

/* RFC 9110, 13.1.5: a tag or a date; the date must be the very one that was told. */
static bool range_still_fits(const char *if_range, const struct serve_entity *entity)
{
	time_t date;

	if (*if_range == '"' || strncmp(if_range, "W/", 2) == 0)
		return strcmp(if_range, entity->etag) == 0;
	return serve_date_read(if_range, &date) == 0 && date == entity->modified;
}

/* ---- Ranges -------------------------------------------------------------------------------- */

static bool number_read(const char **text, uint64_t *ret_number)
{
	bool any = false;

	*ret_number = 0;
	for (; isdigit((unsigned char)**text); (*text)++) {
		/* More than any file has is as good as the most there is. */
		if (__builtin_mul_overflow(*ret_number, 10, ret_number) ||
		    __builtin_add_overflow(*ret_number, (uint64_t)(**text - '0'), ret_number))
			*ret_number = UINT64_MAX / 16;
		any = true;
	}
	return any;
}

/* RFC 9110, 14.1.2. One range is followed; several, another unit or what breaks the grammar are
 * ignored, as a server may (14.2). Leaves the part alone then. */
static void range_read(const char *range, uint64_t size, struct serve_part *part)
{
	uint64_t first, last = UINT64_MAX;
	bool has_first, has_last;

	if (strncmp(range, "bytes=", 6) != 0)
		return;
	range += 6;
	range += strspn(range, " \t");
	has_first = number_read(&range, &first);
	if (*range++ != '-')
		return;
	has_last = number_read(&range, &last);
	range += strspn(range, " \t");
	if (*range || (!has_first && !has_last) || (has_first && has_last && last < first))
		return;
	if (!has_first) { /* the last so many */
		first = last < size ? size - last : 0;
		if (last == 0)
			first = size;
	}
	if (!has_first || !has_last || last >= size)
		last = size ? size - 1 : 0;
	if (first >= size) {
		part->status = 416;
		return;
	}
	part->status = 206;
	part->first = first;
	part->length = last - first + 1;
}

/* ---- The order of RFC 9110, 13.2.2 --------------------------------------------------------- */

void serve_condition_judge(const struct serve_condition *condition,
			   const struct serve_entity *entity, struct serve_part *ret_part)
{
	time_t date;

	*ret_part = (struct serve_part){.status = 200, .length = entity->size};
	if (condition->if_match) {
		if (!etags_have(condition->if_match, entity->etag, false))
			ret_part->status = 412;
	} else if (condition->if_unmodified_since &&
		   serve_date_read(condition->if_unmodified_since, &date) == 0 &&
		   entity->modified > date) {
		ret_part->status = 412;
	}
	if (ret_part->status == 412)
		return;
	if (condition->if_none_match) {
		if (etags_have(condition->if_none_match, entity->etag, true))
			ret_part->status = 304;
	} else if (condition->if_modified_since &&
		   serve_date_read(condition->if_modified_since, &date) == 0 &&
		   entity->modified <= date) {
		ret_part->status = 304;
	}
	if (ret_part->status == 304 || !condition->range || !condition->is_get)
		return;
	if (!condition->if_range || range_still_fits(condition->if_range, entity))
		range_read(condition->range, entity->size, ret_part);
}
