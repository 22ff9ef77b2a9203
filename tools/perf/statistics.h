/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Samples and what is said of them: percentiles of one run, median and spread of several runs. */
#ifndef PERF_STATISTICS_H
#define PERF_STATISTICS_H

#include <stddef.h>

struct samples {
	double *values;
	size_t count, room;
};

/* The percentiles that are told of a latency. */
enum { PERCENTILE_COUNT = 4 };
extern const double percentile_parts[PERCENTILE_COUNT];      /* 0.5, 0.9, … */
extern const char *const percentile_names[PERCENTILE_COUNT]; /* "p50", "p90", … */

struct spread {
	double median, lowest, highest;
};

/* 0 or -1: no memory. */
int samples_add(struct samples *samples, double value);
/* Moves all of from behind those of to. 0 or -1: no memory; from keeps its own then. */
int samples_join(struct samples *to, struct samples *from);
void samples_sort(struct samples *samples);
/* The nearest rank (the smallest value that at least this part, above 0 to 1, does not exceed) of sorted
 * samples; 0 where there are none. */
double samples_percentile(const struct samples *sorted, double part);
void samples_done(struct samples *samples);

/* Of count values in any order, at least one. An even count's median lies between the middle two. */
struct spread spread_of(const double *values, size_t count);

#endif
