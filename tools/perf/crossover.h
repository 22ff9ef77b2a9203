/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The size from which something pays. */
#ifndef PERF_CROSSOVER_H
#define PERF_CROSSOVER_H

#include <stdbool.h>
#include <stdint.h>

/* Measures one size: does it pay there? */
typedef bool crossover_pays(void *context, uint64_t size);

/* The smallest power of two from least to most (which are such) where it pays, if from there on it always
 * does; each is asked once at most, and as few as it takes. 0: it does not pay at most either. */
uint64_t crossover_find(uint64_t least, uint64_t most, crossover_pays *pays, void *context);

#endif
