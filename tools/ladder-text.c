// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The ladder in a terminal. Touches the stream that it is given. Never writes a byte that the terminal could
 * take for a command but its own colours, and none of those where there is no terminal.
 */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "ladder.h"

enum {
	WIDTH_MIN = 56,
	WIDTH_MAX = 120,
	WIDTH_DEFAULT = 96, /* where nobody says */
	TIME_WIDTH = 9,
	LEFT = TIME_WIDTH + 2, /* column of the client's lifeline */
	KEY_WIDTH = 13,
	INDENT = 3, /* of notes, from the lifeline */
};

/* One column: a character, or nothing where a wide one before it reaches into it. */
struct cell {
	char bytes[8];
	bool taken;
	unsigned char paint;
};

enum paint { NONE, BOLD, DIM, GREEN, RED, YELLOW, CYAN };

static const char *const paints[] = {"\033[0m",    "\033[1m",    "\033[2m", "\033[32m",
				     "\033[1;31m", "\033[1;33m", "\033[36m"};

static const struct characters {
	const char *life, *line, *secret, *from_left, *from_right, *to_right, *to_left, *mark,
	    *top_left, *top_right, *bottom_left, *bottom_right, *down;
} drawn = {"│", "─", "═", "├", "┤", "▶", "◀", "●", "╭", "╮", "╰", "╯", "┬"},
  typed = {"|", "-", "=", "+", "+", ">", "<", "*", "+", "+", "+", "+", "+"};

struct canvas {
	struct cell *cells;
	unsigned width;
	const struct characters *characters;
	const struct ladder_style *style;
	FILE *stream;
	bool failed;
};

static unsigned right_of(const struct canvas *canvas)
{
	return canvas->width - 2;
}

static void canvas_clear(struct canvas *canvas)
{
	memset(canvas->cells, 0, canvas->width * sizeof(*canvas->cells));
}

/* ---- Characters and columns ---------------------------------------------------------------- */

/* The next character of the text: its length in bytes and columns. What has no width is left out. */
static size_t character_read(const char *text, unsigned *ret_columns)
{
	mbstate_t state = {0};
	wchar_t character;
	size_t length = mbrtowc(&character, text, MB_CUR_MAX, &state);
	int columns;

	*ret_columns = 1;
	if (length == 0 || length > 6)
		return 1; /* another locale's bytes */
	columns = wcwidth(character);
	*ret_columns = columns > 0 ? (unsigned)columns : 0;
	return length;
}

static unsigned columns_of(const char *text)
{
	unsigned total = 0, columns;

	while (*text) {
		text += character_read(text, &columns);
		total += columns;
	}
	return total;
}

/* Writes up to limit; returns the column behind. */
static unsigned canvas_put(struct canvas *canvas, unsigned at, unsigned limit, enum paint paint,
			   const char *text, size_t size)
{
	const char *end = text + size;

	while (text < end && *text) {
		unsigned columns;
		size_t length = character_read(text, &columns);
		bool plain = length == 1 && (unsigned char)*text < 0x80;
		struct cell *cell = &canvas->cells[at];

		if (columns == 0) {
			text += length;
			continue;
		}
		if (at + columns > limit)
			break;
		memset(cell, 0, sizeof(*cell));
		if (plain || canvas->style->utf8)
			memcpy(cell->bytes, text, length);
		else
			cell->bytes[0] = '?';
		cell->paint = (unsigned char)paint;
		for (unsigned i = 1; i < columns; i++)
			canvas->cells[at + i].taken = true;
		at += columns;
		text += length;
	}
	return at;
}

/* One of the characters that the ladder itself is made of. */
static void canvas_set(struct canvas *canvas, unsigned at, enum paint paint, const char *character)
{
	memset(&canvas->cells[at], 0, sizeof(canvas->cells[at]));
	snprintf(canvas->cells[at].bytes, sizeof(canvas->cells[at].bytes), "%s", character);
	canvas->cells[at].paint = (unsigned char)paint;
}

static void canvas_flush(struct canvas *canvas)
{
	unsigned end = canvas->width, paint = NONE;

	while (end > 0 && !canvas->cells[end - 1].bytes[0] && !canvas->cells[end - 1].taken)
		end--;
	for (unsigned i = 0; i < end; i++) {
		const struct cell *cell = &canvas->cells[i];

		if (cell->taken)
			continue;
		if (canvas->style->colour && cell->bytes[0] && cell->paint != paint) {
			fputs(paints[NONE], canvas->stream);
			if (cell->paint != NONE)
				fputs(paints[cell->paint], canvas->stream);
			paint = cell->paint;
		}
		fputs(cell->bytes[0] ? cell->bytes : " ", canvas->stream);
	}
	if (paint != NONE)
		fputs(paints[NONE], canvas->stream);
	canvas->failed |= fputc('\n', canvas->stream) == EOF;
	canvas_clear(canvas);
}

/* ---- Parts of the drawing ------------------------------------------------------------------ */

static enum paint paint_of(enum ladder_tone tone)
{
	switch (tone) {
	case LADDER_QUIET:
		return DIM;
	case LADDER_GOOD:
		return GREEN;
	case LADDER_BAD:
		return RED;
	case LADDER_KEYS:
		return YELLOW;
	case LADDER_PLAIN:
		break;
	}
	return NONE;
}

static void draw_lifelines(struct canvas *canvas)
{
	canvas_set(canvas, LEFT, DIM, canvas->characters->life);
	canvas_set(canvas, right_of(canvas), DIM, canvas->characters->life);
}

static void draw_time(struct canvas *canvas, uint64_t us)
{
	char time[32];
	unsigned length;

	ladder_time(us, time, sizeof(time));
	length = (unsigned)strlen(time);
	canvas_put(canvas, length < TIME_WIDTH ? TIME_WIDTH - length : 0, LEFT, DIM, time,
		   strlen(time));
}

/* How much of the text fits into the columns, cut at a blank where there is one. */
static size_t line_fit(const char *text, unsigned room)
{
	size_t at = 0, blank = 0;
	unsigned used = 0;

	while (text[at]) {
		unsigned columns;
		size_t length = character_read(text + at, &columns);

		if (used + columns > room)
			return blank ? blank : at ? at : length;
		used += columns;
		at += length;
		if (text[at] == ' ')
			blank = at;
	}
	return at;
}

static void draw_note(struct canvas *canvas, const struct ladder_note *note)
{
	const char *rest = note->value;
	unsigned from = LEFT + 1 + INDENT, limit = right_of(canvas) - 1;
	unsigned value_at = from + KEY_WIDTH + 1;

	for (bool first = true; *rest; first = false) {
		size_t length = line_fit(rest, limit - value_at);

		draw_lifelines(canvas);
		if (first)
			canvas_put(canvas, from, value_at, DIM, note->key, strlen(note->key));
		canvas_put(canvas, value_at, limit, paint_of(note->tone), rest, length);
		canvas_flush(canvas);
		rest += length;
		while (*rest == ' ')
			rest++;
	}
}

static void draw_arrow(struct canvas *canvas, const struct ladder_row *row)
{
	const struct characters *c = canvas->characters;
	unsigned right = right_of(canvas), at, size = columns_of(row->size);
	enum paint paint = row->tone == LADDER_PLAIN ? CYAN : paint_of(row->tone);
	enum paint text = row->tone == LADDER_PLAIN ? BOLD : paint_of(row->tone);

	draw_time(canvas, row->us);
	draw_lifelines(canvas);
	for (unsigned i = LEFT + 1; i < right; i++)
		canvas_set(canvas, i, paint, row->encrypted ? c->secret : c->line);
	canvas_set(canvas, row->to_server ? LEFT : right, DIM,
		   row->to_server ? c->from_left : c->from_right);
	canvas_set(canvas, row->to_server ? right - 1 : LEFT + 1, paint,
		   row->to_server ? c->to_right : c->to_left);
	at = LEFT + INDENT;
	canvas_set(canvas, at++, NONE, " ");
	at = canvas_put(canvas, at, right - size - 8, text, row->label, strlen(row->label));
	canvas_set(canvas, at, NONE, " ");
	if (size == 0)
		return canvas_flush(canvas);
	at = right - 4 - size;
	canvas_set(canvas, at - 1, NONE, " ");
	at = canvas_put(canvas, at, right - 3, NONE, row->size, strlen(row->size));
	canvas_set(canvas, at, NONE, " ");
	canvas_flush(canvas);
}

/* On the lifeline of this machine, toward the middle. */
static void draw_mark(struct canvas *canvas, const struct ladder *ladder,
		      const struct ladder_row *row)
{
	unsigned right = right_of(canvas), columns = columns_of(row->label);
	unsigned at = LEFT + 1 + INDENT;

	if (ladder->is_server && columns < right - at - 2)
		at = right - 2 - columns;
	draw_time(canvas, row->us);
	draw_lifelines(canvas);
	canvas_set(canvas, ladder->is_server ? right : LEFT, paint_of(row->tone),
		   canvas->characters->mark);
	canvas_put(canvas, at, right, paint_of(row->tone), row->label, strlen(row->label));
	canvas_flush(canvas);
}

static void draw_row(struct canvas *canvas, const struct ladder *ladder,
		     const struct ladder_row *row)
{
	if (row->kind == LADDER_ARROW)
		draw_arrow(canvas, row);
	else
		draw_mark(canvas, ladder, row);
	for (size_t i = 0; i < row->note_count; i++)
		draw_note(canvas, &row->notes[i]);
}

static void draw_side(struct canvas *canvas, bool server, const char *text, enum paint paint)
{
	unsigned columns = columns_of(text);
	unsigned at = server ? right_of(canvas) + 2 - (columns < canvas->width ? columns : 0)
			     : TIME_WIDTH - 1;

	canvas_put(canvas, at < canvas->width ? at : 0, canvas->width, paint, text, strlen(text));
}

static void draw_head(struct canvas *canvas, const struct ladder *ladder)
{
	bool good = ladder->end.tone == LADDER_GOOD;

	canvas_put(canvas, 0, canvas->width, good ? BOLD : RED, ladder->title,
		   strlen(ladder->title));
	canvas_flush(canvas);
	canvas_put(canvas, 0, canvas->width, DIM, ladder->subtitle, strlen(ladder->subtitle));
	canvas_flush(canvas);
	canvas_flush(canvas);
	draw_side(canvas, false, ladder->is_server ? "client" : "client, this machine", BOLD);
	draw_side(canvas, true, ladder->is_server ? "server, this machine" : "server", BOLD);
	canvas_flush(canvas);
	draw_side(canvas, false, ladder->client, DIM);
	draw_side(canvas, true, ladder->server, DIM);
	canvas_flush(canvas);
	canvas_put(canvas, TIME_WIDTH - 2, LEFT, DIM, "ms", 2);
	draw_lifelines(canvas);
	canvas_flush(canvas);
}

static void draw_end(struct canvas *canvas, const struct ladder *ladder)
{
	const struct characters *c = canvas->characters;
	char legend[160];

	draw_lifelines(canvas);
	canvas_flush(canvas);
	canvas_put(canvas, 0, canvas->width, paint_of(ladder->end.tone), ladder->end.label,
		   strlen(ladder->end.label));
	canvas_flush(canvas);
	for (size_t i = 0; i < ladder->end.note_count; i++) {
		const struct ladder_note *note = &ladder->end.notes[i];
		const char *rest = note->value;

		for (bool first = true; *rest; first = false) {
			size_t length = line_fit(rest, canvas->width - KEY_WIDTH);

			if (first)
				canvas_put(canvas, 2, KEY_WIDTH, DIM, note->key, strlen(note->key));
			canvas_put(canvas, KEY_WIDTH, canvas->width, paint_of(note->tone), rest,
				   length);
			canvas_flush(canvas);
			rest += length;
			while (*rest == ' ')
				rest++;
		}
	}
	if (ladder->lost) {
		snprintf(legend, sizeof(legend), "  %llu more events are not in the trace",
			 (unsigned long long)ladder->lost);
		canvas_put(canvas, 0, canvas->width, DIM, legend, strlen(legend));
		canvas_flush(canvas);
	}
	snprintf(legend, sizeof(legend), "%s%s in the clear   %s%s encrypted", c->line, c->line,
		 c->secret, c->secret);
	canvas_put(canvas, 2, canvas->width, DIM, legend, strlen(legend));
	canvas_flush(canvas);
}

struct ladder_style ladder_style_of(FILE *stream)
{
	struct ladder_style style = {.width = WIDTH_DEFAULT};
	struct winsize size;
	bool terminal = isatty(fileno(stream));
	const char *columns = getenv("COLUMNS"), *name = getenv("TERM");
	const char *plain = getenv("NO_COLOR");

	if (terminal && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		style.width = size.ws_col;
	else if (columns && strtoul(columns, NULL, 10) > 0 &&
		 strtoul(columns, NULL, 10) <= WIDTH_MAX)
		style.width = (unsigned)strtoul(columns, NULL, 10);
	style.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	/* https://no-color.org */
	style.colour = terminal && name && strcmp(name, "dumb") != 0 && (!plain || !*plain);
	return style;
}

int ladder_draw_text(const struct ladder *ladder, const struct ladder_style *style, FILE *stream)
{
	struct canvas canvas = {
	    .width = style->width < WIDTH_MIN   ? WIDTH_MIN
		     : style->width > WIDTH_MAX ? WIDTH_MAX
						: style->width,
	    .characters = style->utf8 ? &drawn : &typed,
	    .style = style,
	    .stream = stream,
	};

	canvas.cells = calloc(canvas.width + 2, sizeof(*canvas.cells));
	if (!canvas.cells)
		return -1;
	draw_head(&canvas, ladder);
	for (size_t i = 0; i < ladder->row_count; i++)
		draw_row(&canvas, ladder, &ladder->rows[i]);
	draw_end(&canvas, ladder);
	free(canvas.cells);
	return canvas.failed ? -1 : 0;
}
