/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures as a drawing: panels of lines over a logarithmic axis, with the spread of each point. */
#ifndef PERF_PLOT_H
#define PERF_PLOT_H

#include <stdio.h>

#include "statistics.h"

enum { PLOT_SERIES_MAX = 40, PLOT_POINTS_MAX = 40 };

struct plot_series {
	char name[64];
	double x[PLOT_POINTS_MAX]; /* above 0, rising */
	struct spread y[PLOT_POINTS_MAX];
	unsigned count;
};

struct plot_panel {
	const char *title; /* with the unit of y */
	const char *x_label;
	struct plot_series series[PLOT_SERIES_MAX];
	unsigned count;
};

/* Adds the point to the series of that name, which is made where there is none. What is too much is left
 * out. */
void plot_add(struct plot_panel *panel, const char *name, double x, struct spread y);
/* The whole drawing; what is text may be any text. 0, or -1: the stream failed. */
int plot_draw(FILE *stream, const char *title, const char *subtitle,
	      const struct plot_panel *panels, unsigned count);

#endif
