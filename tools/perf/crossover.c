// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The search for a crossover: halves what is left of the range, since each question costs seconds. Touches
 * nothing.
 */
#include "crossover.h"

uint64_t crossover_find(uint64_t least, uint64_t most, crossover_pays *pays, void *context)
{
	unsigned low = 0, high = 0; /* exponents above least's; at high it pays */

	while (least << high < most)
		high++;
	if (!pays(context, most))
		return 0;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (pays(context, least << middle))
			high = middle;
		else
			low = middle + 1;
	}
	return least << high;
}
