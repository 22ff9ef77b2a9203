// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Messages for the administrator. Touches standard error alone. Never waits for whoever reads it, and
 * never writes a byte that a terminal or the journal could take for something else than text.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_SIZE = 2048,
	RATE_PER_SECOND = 10
}; /* a line is below PIPE_BUF: it stays in one piece */

static enum config_log_level log_level = CONFIG_LOG_INFO;
static char log_name[32];
static unsigned log_dropped;

void log_set_level(enum config_log_level level)
{
	log_level = level;
}

void log_set_name(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(log_name, sizeof(log_name), format, arguments);
	va_end(arguments);
}

/* Whether standard error goes to the journal: systemd.exec(5), $JOURNAL_STREAM is "DEVICE:INODE". */
static bool log_to_journal(void)
{
	static int known = -1;
	const char *stream;
	struct stat status;
	char expected[64];

	if (known >= 0)
		return known;
	known = 0;
	stream = getenv("JOURNAL_STREAM");
	if (stream && fstat(STDERR_FILENO, &status) == 0) {
		snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)status.st_dev,
			 (uintmax_t)status.st_ino);
		known = strcmp(stream, expected) == 0;
	}
	return known;
}

/* Bytes of the UTF-8 sequence at text (RFC 3629, 4; a NUL ends it), 0 if there is none. Says so of the
 * C1 controls too, which some terminals obey. */
static size_t text_sequence(const unsigned char *text)
{
	size_t length = text[0] < 0x80   ? 1
			: text[0] < 0xc2 ? 0
			: text[0] < 0xe0 ? 2
			: text[0] < 0xf0 ? 3
			: text[0] < 0xf5 ? 4
					 : 0;

	if (length == 1)
		return text[0] >= 0x20 && text[0] != 0x7f;
	for (size_t i = 1; i < length; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90) ||
	    (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f) ||
	    (text[0] == 0xc2 && text[1] < 0xa0))
		return 0;
	return length;
}

/* Appends text to line, made printable, as far as it fits. */
static size_t line_append(char *line, size_t length, size_t size, const char *text)
{
	while (*text) {
		size_t sequence = text_sequence((const unsigned char *)text);

		if (length + 5 > size)
			break;
		if (sequence) {
			memcpy(line + length, text, sequence);
			length += sequence;
			text += sequence;
		} else {
			snprintf(line + length, 5, "\\x%02x", (unsigned char)*text++);
			length += 4;
		}
	}
	return length;
}

static bool line_write(const char *line, size_t length)
{
	struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (poll(&polled, 1, 0) != 1 || !(polled.revents & POLLOUT))
		return false;
	return write(STDERR_FILENO, line, length) == (ssize_t)length;
}

static size_t line_begin(char *line, size_t size, enum config_log_level level)
{
	static const char *const words[] = {"error: ", "warning: ", "", ""};
	static const unsigned priorities[] = {3, 4, 6, 7}; /* sd-daemon(3) */
	int length = 0;

	if (log_to_journal())
		length = snprintf(line, size, "<%u>", priorities[level]);
	length += snprintf(line + length, size - (size_t)length, "handshaked%s%s: %s",
			   log_name[0] ? " " : "", log_name, words[level]);
	return (size_t)length;
}

__attribute__((format(printf, 2, 0))) static void log_line(enum config_log_level level,
							   const char *format, va_list arguments)
{
	char text[LINE_SIZE / 2], line[LINE_SIZE];
	size_t length;
	int saved = errno;

	if (level > log_level)
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	if (log_dropped) {
		length = line_begin(line, sizeof(line), CONFIG_LOG_WARNING);
		length += (size_t)snprintf(line + length, sizeof(line) - length,
					   "%u lines before this one could not be written\n",
					   log_dropped);
		if (line_write(line, length))
			log_dropped = 0;
	}
	length = line_begin(line, sizeof(line), level);
	length = line_append(line, length, sizeof(line) - 1, text);
	line[length++] = '\n';
	if (!line_write(line, length))
		log_dropped++;
	errno = saved;
}

#define LOG_FUNCTION(name, level)                   \
	void name(const char *format, ...)          \
	{                                           \
		va_list arguments;                  \
                                                    \
		va_start(arguments, format);        \
		log_line(level, format, arguments); \
		va_end(arguments);                  \
	}

LOG_FUNCTION(log_error, CONFIG_LOG_ERROR)
LOG_FUNCTION(log_warning, CONFIG_LOG_WARNING)
LOG_FUNCTION(log_info, CONFIG_LOG_INFO)
LOG_FUNCTION(log_debug, CONFIG_LOG_DEBUG)

bool log_allowed(struct log_rate *rate)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (rate->second != now.tv_sec) {
		rate->second = now.tv_sec;
		rate->count = 0;
	}
	return rate->count++ < RATE_PER_SECOND;
}
