// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Text in HTML and XML. Touches the stream that it is given; never lets a byte of the text become markup.
 */
#include "markup.h"

void markup_write(FILE *stream, const char *text, size_t size)
{
	for (size_t i = 0; i < size && text[i]; i++) {
		switch (text[i]) {
		case '&':
			fputs("&amp;", stream);
			break;
		case '<':
			fputs("&lt;", stream);
			break;
		case '>':
			fputs("&gt;", stream);
			break;
		case '"':
			fputs("&quot;", stream);
			break;
		case '\'':
			fputs("&#39;", stream);
			break;
		default:
			fputc((unsigned char)text[i] < 0x20 ? '?' : text[i], stream);
		}
	}
}
