// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The ladder as a picture. Touches the stream that it is given. Refers to nothing outside of the document,
 * and writes no text of a peer that is not escaped.
 */
#include <stdlib.h>
#include <string.h>

#include "ladder.h"
#include "markup.h"

enum { /* in pixels */
       WIDTH = 960,
       LEFT = 110,
       RIGHT = WIDTH - 60,
       HEAD = 148,        /* above the first row */
       ROW = 30,          /* of an arrow or a mark */
       NOTE = 17,         /* of a line of notes */
       GAP = 8,           /* behind notes */
       NOTE_AT = 26,      /* from the lifeline */
       VALUE_AT = 130,    /* from the lifeline */
       NOTE_COLUMNS = 94, /* characters of a value */
       END = 60,
};

static void put_label(FILE *stream, int x, int y, const char *class, const char *text, size_t size)
{
	fprintf(stream, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
	markup_write(stream, text, size);
	fputs("</text>\n", stream);
}

static bool continues(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* How many bytes of the text make a line, cut at a blank where there is one. */
static size_t line_fit(const char *text)
{
	size_t at = 0, blank = 0, columns = 0;

	while (text[at]) {
		if (++columns > NOTE_COLUMNS)
			return blank ? blank : at;
		do
			at++;
		while (continues(text[at]));
		if (text[at] == ' ')
			blank = at;
	}
	return at;
}

static int note_lines(const struct ladder_note *note)
{
	const char *rest = note->value;
	int lines = 0;

	while (*rest) {
		rest += line_fit(rest);
		while (*rest == ' ')
			rest++;
		lines++;
	}
	return lines;
}

static int row_height(const struct ladder_row *row)
{
	int height = ROW;

	for (size_t i = 0; i < row->note_count; i++)
		height += NOTE * note_lines(&row->notes[i]);
	return height + (row->note_count ? GAP : 0);
}

static const char *tone_class(enum ladder_tone tone)
{
	switch (tone) {
	case LADDER_QUIET:
		return "quiet";
	case LADDER_GOOD:
		return "good";
	case LADDER_BAD:
		return "bad";
	case LADDER_KEYS:
		return "keys";
	case LADDER_PLAIN:
		break;
	}
	return "plain";
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static void put_time(FILE *stream, int y, uint64_t us)
{
	char time[32];

	ladder_time(us, time, sizeof(time));
	put_label(stream, LEFT - 14, y + 4, "time", time, strlen(time));
}

static void put_notes(FILE *stream, const struct ladder_row *row, int x, int y)
{
	char class[32];

	for (size_t i = 0; i < row->note_count; i++) {
		const struct ladder_note *note = &row->notes[i];
		const char *rest = note->value, *key = note->key;

		if (*key)
			put_label(stream, x + NOTE_AT + (*key == ' ' ? 12 : 0), y, "note quiet",
				  key + strspn(key, " "), strlen(key));
		snprintf(class, sizeof(class), "note %s", tone_class(note->tone));
		while (*rest) {
			size_t length = line_fit(rest);

			put_label(stream, x + VALUE_AT, y, class, rest, length);
			rest += length;
			while (*rest == ' ')
				rest++;
			y += NOTE;
		}
	}
}

static void put_arrow(FILE *stream, const struct ladder_row *row, int y)
{
	const char *tone = tone_class(row->tone);
	int tip = row->to_server ? RIGHT - 2 : LEFT + 2, back = row->to_server ? -11 : 11;
	char class[48];

	fprintf(stream, "<path class=\"arrow %s%s\" d=\"M%d %dH%d\"/>\n", tone,
		row->encrypted ? " secret" : "", row->to_server ? LEFT : RIGHT, y,
		tip + back * 4 / 5);
	fprintf(stream, "<path class=\"tip %s\" d=\"M%d %dl%d -5v10z\"/>\n", tone, tip, y, back);
	snprintf(class, sizeof(class), "label %s", tone);
	put_label(stream, LEFT + NOTE_AT, y - 5, class, row->label, strlen(row->label));
	if (*row->size)
		put_label(stream, RIGHT - NOTE_AT, y - 5, "size", row->size, strlen(row->size));
}

static void put_mark(FILE *stream, const struct ladder *ladder, const struct ladder_row *row, int y)
{
	const char *tone = tone_class(row->tone);
	char class[48];

	fprintf(stream, "<circle class=\"dot %s\" cx=\"%d\" cy=\"%d\" r=\"6\"/>\n", tone,
		ladder->is_server ? RIGHT : LEFT, y);
	snprintf(class, sizeof(class), "label %s%s", tone, ladder->is_server ? " end" : "");
	put_label(stream, ladder->is_server ? RIGHT - NOTE_AT : LEFT + NOTE_AT, y + 4, class,
		  row->label, strlen(row->label));
}

/* ---- Around them --------------------------------------------------------------------------- */

static const char style[] =
    "<style>\n"
    ".paper{fill:#fff}.life{stroke:#b5bdc9;stroke-width:2}\n"
    ".box{fill:#eef2f8;stroke:#b5bdc9}\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;"
    "fill:#1d2733;font-size:13px}\n"
    ".title{font-size:18px;font-weight:600}.name{font-weight:600;text-anchor:middle}\n"
    ".place{font-size:12px;text-anchor:middle}.label{font-weight:600}.end{text-anchor:end}\n"
    ".time,.size{font-size:12px;text-anchor:end;fill:#6a7686}\n"
    ".note{font-size:12px;font-family:ui-monospace,'DejaVu Sans Mono',Menlo,monospace}\n"
    "text.quiet{fill:#6a7686}text.good{fill:#1a7f37}text.bad{fill:#c22b33}"
    "text.keys{fill:#9a6700}\n"
    ".arrow{stroke:#2f6feb;stroke-width:2;fill:none}.secret{stroke-width:4}\n"
    ".arrow.quiet{stroke:#97a3b4;stroke-dasharray:5 4}.arrow.bad{stroke:#c22b33}\n"
    ".tip{fill:#2f6feb}.tip.quiet{fill:#97a3b4}.tip.bad{fill:#c22b33}\n"
    ".dot.good{fill:#1a7f37}.dot.bad{fill:#c22b33}.dot.keys{fill:#d4a72c}"
    ".dot.quiet{fill:#97a3b4}\n"
    "@media (prefers-color-scheme:dark){\n"
    ".paper{fill:#12171f}.life{stroke:#47525f}.box{fill:#1d2530;stroke:#47525f}\n"
    "text{fill:#e4e9f0}.time,.size,text.quiet{fill:#93a0b1}\n"
    "text.good{fill:#4fc46a}text.bad{fill:#ff7b79}text.keys{fill:#e3b341}\n"
    ".arrow{stroke:#6ba0ff}.tip{fill:#6ba0ff}.arrow.quiet{stroke:#66717f}"
    ".tip.quiet{fill:#66717f}\n"
    ".arrow.bad{stroke:#ff7b79}.tip.bad,.dot.bad{fill:#ff7b79}.dot.good{fill:#4fc46a}\n"
    "}\n</style>\n";

static void put_participant(FILE *stream, int x, const char *name, const char *place)
{
	fprintf(stream,
		"<rect class=\"box\" x=\"%d\" y=\"68\" width=\"184\" height=\"46\" rx=\"8\"/>\n",
		x);
	put_label(stream, x + 92, 87, "name", name, strlen(name));
	put_label(stream, x + 92, 105, "place", place, strlen(place));
}

static void put_head(FILE *stream, const struct ladder *ladder, int height)
{
	fprintf(stream,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
		WIDTH, height, WIDTH, height);
	markup_write(stream, ladder->title, strlen(ladder->title));
	fprintf(stream, "</title>\n%s", style);
	fprintf(stream, "<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n", WIDTH,
		height);
	put_label(stream, 24, 32, ladder->end.tone == LADDER_BAD ? "title bad" : "title",
		  ladder->title, strlen(ladder->title));
	put_label(stream, 24, 54, "quiet", ladder->subtitle, strlen(ladder->subtitle));
	fprintf(stream, "<path class=\"life\" d=\"M%d 114V%dM%d 114V%d\"/>\n", LEFT,
		height - END - (int)(NOTE * ladder->end.note_count), RIGHT,
		height - END - (int)(NOTE * ladder->end.note_count));
	put_participant(stream, LEFT - 92, ladder->is_server ? "client" : "client, this machine",
			ladder->client);
	put_participant(stream, WIDTH - 184 - 16,
			ladder->is_server ? "server, this machine" : "server", ladder->server);
	put_label(stream, LEFT - 14, 132, "time", "ms", 2);
}

int ladder_draw_svg(const struct ladder *ladder, FILE *stream)
{
	static const char legend[] = "thin: in the clear, thick: encrypted";
	int height = HEAD + END, y = HEAD, end_lines = 0;
	char class[32];

	for (size_t i = 0; i < ladder->row_count; i++)
		height += row_height(&ladder->rows[i]);
	for (size_t i = 0; i < ladder->end.note_count; i++)
		end_lines += note_lines(&ladder->end.notes[i]);
	height += NOTE * end_lines;
	put_head(stream, ladder, height);
	for (size_t i = 0; i < ladder->row_count; i++) {
		const struct ladder_row *row = &ladder->rows[i];

		put_time(stream, y, row->us);
		if (row->kind == LADDER_ARROW)
			put_arrow(stream, row, y);
		else
			put_mark(stream, ladder, row, y);
		put_notes(stream, row, LEFT, y + NOTE + (row->kind == LADDER_MARK ? 5 : 0));
		y += row_height(row);
	}
	y += 22;
	snprintf(class, sizeof(class), "label %s", tone_class(ladder->end.tone));
	put_label(stream, 24, y, class, ladder->end.label, strlen(ladder->end.label));
	put_label(stream, RIGHT, y, "size", legend, strlen(legend));
	put_notes(stream, &ladder->end, 0, y + NOTE + 2);
	fputs("</svg>\n", stream);
	return ferror(stream) ? -1 : 0;
}
