// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Figures as SVG 1.1. Touches the stream it is given; never lets a name through unescaped, and never
 * draws what was not measured.
 */
#include "plot.h"

#include <math.h>
#include <string.h>

#include "../markup.h"

enum {
	WIDTH = 860,
	HEAD = 76,
	LEFT = 84,
	RIGHT = 200, /* for the legend */
	PANEL = 330,
	TOP = 34, /* within a panel */
	BOTTOM = 52,
	COLOURS = 8,
};

void plot_add(struct plot_panel *panel, const char *name, double x, struct spread y)
{
	struct plot_series *series = panel->series;
	unsigned i = 0;

	while (i < panel->count && strcmp(series[i].name, name) != 0)
		i++;
	if (i == PLOT_SERIES_MAX || (i < panel->count && series[i].count == PLOT_POINTS_MAX))
		return;
	if (i == panel->count) {
		panel->count++;
		series[i].count = 0;
		snprintf(series[i].name, sizeof(series[i].name), "%s", name);
	}
	series[i].x[series[i].count] = x;
	series[i].y[series[i].count++] = y;
}

static void put_text(FILE *stream, double x, double y, const char *class, const char *text)
{
	fprintf(stream, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	markup_write(stream, text, strlen(text));
	fputs("</text>\n", stream);
}

/* ---- Axes ---------------------------------------------------------------------------------- */

struct frame {
	double x_least, x_most, y_most;
	double top; /* of the drawing's area */
};

static double frame_x(const struct frame *frame, double x)
{
	double width = WIDTH - LEFT - RIGHT;

	if (frame->x_most <= frame->x_least)
		return LEFT + width / 2;
	return LEFT + width * (log2(x) - log2(frame->x_least)) /
			  (log2(frame->x_most) - log2(frame->x_least));
}

static double frame_y(const struct frame *frame, double y)
{
	double height = PANEL - TOP - BOTTOM;

	return frame->top + height - height * y / frame->y_most;
}

/* 1, 2 or 5 times a power of ten, so that there are four to ten of them. */
static double step_for(double most)
{
	double power = pow(10, floor(log10(most)));

	if (most / power >= 5)
		return power;
	return most / power >= 2 ? power / 2 : power / 5;
}

static void number_write(char *text, size_t size, double number)
{
	static const char *const units[] = {"", "Ki", "Mi", "Gi"};
	unsigned unit = 0;

	/* Sizes and numbers of connections: powers of two read better so. */
	while (number >= 1024 && fmod(number, 1024) == 0 && unit < 3) {
		number /= 1024;
		unit++;
	}
	snprintf(text, size, "%g%s%s", number, unit ? " " : "", units[unit]);
}

static struct frame frame_of(const struct plot_panel *panel, double top)
{
	struct frame frame = {.x_least = INFINITY, .top = top + TOP};
	double step;

	for (unsigned i = 0; i < panel->count; i++)
		for (unsigned j = 0; j < panel->series[i].count; j++) {
			frame.x_least = fmin(frame.x_least, panel->series[i].x[j]);
			frame.x_most = fmax(frame.x_most, panel->series[i].x[j]);
			frame.y_most = fmax(frame.y_most, panel->series[i].y[j].highest);
		}
	if (frame.y_most <= 0)
		frame.y_most = 1;
	step = step_for(frame.y_most);
	frame.y_most = ceil(frame.y_most / step) * step;
	return frame;
}

static void axes_draw(FILE *stream, const struct plot_panel *panel, const struct frame *frame)
{
	double step = step_for(frame->y_most), last = -100;
	char text[32];

	for (unsigned i = 0; i * step <= frame->y_most * 1.0001; i++) {
		double y = i * step;

		fprintf(stream, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT,
			frame_y(frame, y), WIDTH - RIGHT);
		snprintf(text, sizeof(text), "%g", y);
		put_text(stream, LEFT - 8, frame_y(frame, y) + 4, "end", text);
	}
	for (unsigned i = 0; i < panel->count; i++)
		for (unsigned j = 0; j < panel->series[i].count; j++) {
			double x = frame_x(frame, panel->series[i].x[j]);

			/* The x of one series are those of the others, or lie between them. */
			if (i > 0 || x - last < 44)
				continue;
			number_write(text, sizeof(text), panel->series[i].x[j]);
			put_text(stream, x, frame_y(frame, 0) + 18, "middle", text);
			last = x;
		}
	put_text(stream, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, frame_y(frame, 0) + 38,
		 "middle quiet", panel->x_label);
	put_text(stream, LEFT, frame->top - 14, "name", panel->title);
}

/* ---- Lines --------------------------------------------------------------------------------- */

static void series_draw(FILE *stream, const struct plot_series *series, const struct frame *frame,
			unsigned number)
{
	unsigned colour = number % COLOURS;
	double y = frame->top + 8 + 20 * number;

	fprintf(stream, "<g class=\"s%u%s\">\n<path class=\"line\" d=\"", colour,
		number >= COLOURS ? " second" : "");
	for (unsigned i = 0; i < series->count; i++)
		fprintf(stream, "%s%.1f %.1f", i ? "L" : "M", frame_x(frame, series->x[i]),
			frame_y(frame, series->y[i].median));
	fputs("\"/>\n", stream);
	for (unsigned i = 0; i < series->count; i++) {
		double x = frame_x(frame, series->x[i]);

		fprintf(stream,
			"<path class=\"spread\" d=\"M%.1f %.1fV%.1f\"/>\n"
			"<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n",
			x, frame_y(frame, series->y[i].lowest),
			frame_y(frame, series->y[i].highest), x,
			frame_y(frame, series->y[i].median));
	}
	fprintf(stream, "<path class=\"line\" d=\"M%d %.1fh18\"/>\n", WIDTH - RIGHT + 16, y - 4);
	fputs("</g>\n", stream);
	put_text(stream, WIDTH - RIGHT + 40, y, "legend", series->name);
}

static const char style[] =
    "<style>\n"
    ".paper{fill:#fff}.grid{stroke:#dfe4ec;stroke-width:1}\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;"
    "fill:#1d2733;font-size:12px}\n"
    ".title{font-size:18px;font-weight:600}.name{font-weight:600;font-size:13px}\n"
    "text.quiet{fill:#6a7686}.middle{text-anchor:middle}.end{text-anchor:end}\n"
    ".line{fill:none;stroke-width:2}.spread{stroke-width:5;opacity:.3}\n"
    ".second .line{stroke-dasharray:5 3}\n"
    ".s0{stroke:#2f6feb;fill:#2f6feb}.s1{stroke:#1a7f37;fill:#1a7f37}"
    ".s2{stroke:#c2410c;fill:#c2410c}.s3{stroke:#8250df;fill:#8250df}\n"
    ".s4{stroke:#0e7490;fill:#0e7490}.s5{stroke:#b45309;fill:#b45309}"
    ".s6{stroke:#be185d;fill:#be185d}.s7{stroke:#57606a;fill:#57606a}\n"
    "@media (prefers-color-scheme:dark){\n"
    ".paper{fill:#12171f}.grid{stroke:#2b343f}text{fill:#e4e9f0}text.quiet{fill:#93a0b1}\n"
    ".s0{stroke:#6ba0ff;fill:#6ba0ff}.s1{stroke:#4fc46a;fill:#4fc46a}"
    ".s2{stroke:#ff9a62;fill:#ff9a62}.s3{stroke:#c297ff;fill:#c297ff}\n"
    ".s4{stroke:#4cc3dc;fill:#4cc3dc}.s5{stroke:#e3b341;fill:#e3b341}"
    ".s6{stroke:#ff7eb6;fill:#ff7eb6}.s7{stroke:#a3adb8;fill:#a3adb8}\n"
    "}\n</style>\n";

int plot_draw(FILE *stream, const char *title, const char *subtitle,
	      const struct plot_panel *panels, unsigned count)
{
	int height = HEAD + PANEL * (int)count;

	fprintf(stream,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"viewBox=\"0 0 %d %d\" role=\"img\">\n%s"
		"<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n",
		WIDTH, height, WIDTH, height, style, WIDTH, height);
	put_text(stream, 24, 32, "title", title);
	put_text(stream, 24, 54, "quiet", subtitle);
	for (unsigned i = 0; i < count; i++) {
		struct frame frame = frame_of(&panels[i], HEAD + PANEL * (double)i);

		axes_draw(stream, &panels[i], &frame);
		for (unsigned j = 0; j < panels[i].count; j++)
			series_draw(stream, &panels[i].series[j], &frame, j);
	}
	fputs("</svg>\n", stream);
	return ferror(stream) ? -1 : 0;
}
