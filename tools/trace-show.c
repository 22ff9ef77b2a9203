// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Shows a trace. Touches the stream and the file that it is given. Never leaves half a picture under the
 * file's name.
 */
#include "trace-show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "display.h"
#include "ladder.h"

static int picture_fail(const char *tool, const char *path, const char *temporary)
{
	fprintf(stderr, "%s: cannot write \"%s\": %s\n", tool, path, strerror(errno));
	if (temporary)
		unlink(temporary);
	return -1;
}

static int picture_write(const char *tool, const struct ladder *ladder, const char *path)
{
	char *temporary;
	FILE *file;
	int r;

	if (asprintf(&temporary, "%s.new", path) < 0)
		return picture_fail(tool, path, NULL);
	file = fopen(temporary, "we");
	if (!file) {
		r = picture_fail(tool, path, NULL);
		free(temporary);
		return r;
	}
	r = ladder_draw_svg(ladder, file);
	if (fclose(file) == EOF || r < 0 || rename(temporary, path) < 0)
		r = picture_fail(tool, path, temporary);
	free(temporary);
	return r;
}

int trace_show(const char *tool, const char *text, size_t size, FILE *stream, const char *svg)
{
	char error[256];
	struct ladder *ladder = ladder_new(text, size, error, sizeof(error));
	struct ladder_style style;
	int r = 0;

	if (!ladder) {
		/* It quotes what is wrong. */
		fprintf(stderr, "%s: ", tool);
		display_text(stderr, error);
		fputc('\n', stderr);
		return -1;
	}
	if (stream) {
		style = ladder_style_of(stream);
		r = ladder_draw_text(ladder, &style, stream);
		if (fflush(stream) == EOF || r < 0) {
			fprintf(stderr, "%s: cannot write the drawing: %s\n", tool,
				strerror(errno));
			r = -1;
		}
	}
	if (svg && picture_write(tool, ladder, svg) < 0)
		r = -1;
	ladder_free(ladder);
	return r;
}
