// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Percentiles, medians, spread. Touches only the numbers it is given; never invents one between two
 * samples of a latency.
 */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double percentile_parts[PERCENTILE_COUNT] = {0.5, 0.9, 0.99, 0.999};
const char *const percentile_names[PERCENTILE_COUNT] = {"p50", "p90", "p99", "p99.9"};

static int samples_reserve(struct samples *samples, size_t count)
{
	size_t room = samples->room ? samples->room : 1024;
	double *values;

	while (room < count)
		room *= 2;
	if (room == samples->room)
		return 0;
	values = reallocarray(samples->values, room, sizeof(*values));
	if (!values)
		return -1;
	samples->values = values;
	samples->room = room;
	return 0;
}

int samples_add(struct samples *samples, double value)
{
	if (samples_reserve(samples, samples->count + 1) < 0)
		return -1;
	samples->values[samples->count++] = value;
	return 0;
}

int samples_join(struct samples *to, struct samples *from)
{
	if (samples_reserve(to, to->count + from->count) < 0)
		return -1;
	if (from->count)
		memcpy(to->values + to->count, from->values, from->count * sizeof(*from->values));
	to->count += from->count;
	samples_done(from);
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void samples_sort(struct samples *samples)
{
	if (samples->count)
		qsort(samples->values, samples->count, sizeof(*samples->values), compare);
}

double samples_percentile(const struct samples *sorted, double part)
{
	size_t rank = (size_t)ceil(part * (double)sorted->count);

	if (!sorted->count)
		return 0;
	return sorted->values[rank ? rank - 1 : 0];
}

void samples_done(struct samples *samples)
{
	free(samples->values);
	*samples = (struct samples){0};
}

struct spread spread_of(const double *values, size_t count)
{
	struct spread spread = {0};
	double *sorted = calloc(count, sizeof(*sorted));

	if (!sorted || !count) {
		free(sorted);
		return spread;
	}
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	spread.lowest = sorted[0];
	spread.highest = sorted[count - 1];
	spread.median =
	    count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
	free(sorted);
	return spread;
}
