// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One packet of the protocol: building, sending, receiving, reading. Touches the Unix socket it is
 * given and the descriptors that travel on it. Never allocates, never judges what a key means.
 */
#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"

#define QUOTE_SIZE 64 /* bytes of a wrong line that an error sentence shows */

/* The length of the UTF-8 sequence (RFC 3629, 4) at text, 0 if there is none within size bytes. */
static size_t utf8_length(const unsigned char *text, size_t size)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (text[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (text[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (text[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (text[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (size < length || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return length;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void writer_put(struct message_writer *writer, const void *bytes, size_t size)
{
	if (writer->overflow || size > sizeof(writer->text) - writer->length) {
		writer->overflow = true;
		return;
	}
	memcpy(writer->text + writer->length, bytes, size);
	writer->length += size;
}

static void writer_put_escaped(struct message_writer *writer, unsigned char byte)
{
	static const char digits[] = "0123456789ABCDEF";
	const char escaped[3] = {'%', digits[byte >> 4], digits[byte & 15]};

	writer_put(writer, escaped, sizeof(escaped));
}

/* Stands for itself in a value. */
static bool is_plain(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x7f && byte != '%';
}

void message_begin(struct message_writer *writer, const char *operation)
{
	writer->length = 0;
	writer->overflow = false;
	writer->invalid = false;
	writer_put(writer, HANDSHAKE_PROTOCOL " ", strlen(HANDSHAKE_PROTOCOL " "));
	writer_put(writer, operation, strlen(operation));
	writer_put(writer, "\n", 1);
}

void message_add_bytes(struct message_writer *writer, const char *key, const void *value,
		       size_t size)
{
	const unsigned char *bytes = value;
	size_t length, plain;

	if (size && memchr(value, 0, size)) {
		writer->invalid = true;
		return;
	}
	writer_put(writer, key, strlen(key));
	writer_put(writer, "=", 1);
	for (size_t i = 0; i < size && !writer->overflow; i += length) {
		for (plain = i; plain < size && is_plain(bytes[plain]);)
			plain++;
		if (plain > i) {
			length = plain - i;
			writer_put(writer, bytes + i, length);
			continue;
		}
		length = utf8_length(bytes + i, size - i);
		if (length == 0 || bytes[i] < 0x20 || bytes[i] == '%' || bytes[i] == 0x7f) {
			length = 1;
			writer_put_escaped(writer, bytes[i]);
		} else {
			writer_put(writer, bytes + i, length);
		}
	}
	writer_put(writer, "\n", 1);
}

void message_add(struct message_writer *writer, const char *key, const char *value)
{
	if (value)
		message_add_bytes(writer, key, value, strlen(value));
}

void message_add_number(struct message_writer *writer, const char *key, uint64_t value)
{
	char digits[24], *first = digits + sizeof(digits);

	do
		*--first = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	message_add_bytes(writer, key, first, (size_t)(digits + sizeof(digits) - first));
}

int message_send(int fd, const struct message_writer *writer, const int *fds, size_t fd_count)
{
	if (writer->invalid)
		return -EINVAL;
	if (writer->overflow)
		return -EMSGSIZE;
	if (fd_count > HANDSHAKE_DESCRIPTORS_MAX + 1)
		return -E2BIG;
	return descriptors_send(fd, writer->text, writer->length, fds, fd_count);
}

/* ---- Reading ------------------------------------------------------------------------------- */

int message_receive(int fd, struct message *message)
{
	const size_t room = sizeof(message->fds) / sizeof(message->fds[0]);
	struct iovec vector = {.iov_base = message->text, .iov_len = HANDSHAKE_PACKET_SIZE};
	int flags = MSG_DONTWAIT;
	ssize_t received;

	message->length = 0;
	message->text[0] = '\0';
	message->fd_count = room;
	message->too_large = false;
	message->too_many_fds = false;
	message->lost_fds = false;
	message->operation[0] = '\0';
	message->field_count = 0;
	received = descriptors_receive(fd, &vector, 1, &flags, message->fds, &message->fd_count);
	if (received < 0)
		return -errno;
	/* Room that was left over says that the process had no descriptor free (unix(7)). */
	if (flags & MSG_CTRUNC) {
		message->lost_fds = message->fd_count < room;
		message->too_many_fds = !message->lost_fds;
	}
	message->too_large = flags & MSG_TRUNC;
	message->length = (size_t)received;
	message->text[received] = '\0';
	return (int)received;
}

/* Writes the sentence with the wrong text in quotes, made printable and cut short. Gives -EINVAL. */
static int parse_error(char *ret_error, size_t size, const char *what, const char *text,
		       size_t length)
{
	char quote[QUOTE_SIZE + 1];
	size_t shown = length < QUOTE_SIZE ? length : QUOTE_SIZE;

	for (size_t i = 0; i < shown; i++)
		quote[i] = text[i] < 0x20 || text[i] > 0x7e ? '?' : text[i];
	quote[shown] = '\0';
	if (size)
		snprintf(ret_error, size, "%s: \"%s\"%s", what, quote, shown < length ? "…" : "");
	return -EINVAL;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

/* Decodes the escapes in place. NULL, or what is wrong. */
static const char *value_decode(char *value)
{
	char *out = value;

	while (*value) {
		int high, low;

		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return "a value has a control character that is not escaped";
		if (*value != '%') {
			*out++ = *value++;
			continue;
		}
		high = hex_digit(value[1]);
		low = high < 0 ? -1 : hex_digit(value[2]);
		if (low < 0)
			return "a value has a '%' that two hexadecimal digits do not follow";
		if (high == 0 && low == 0)
			return "a value has a NUL";
		*out++ = (char)(high << 4 | low);
		value += 3;
	}
	*out = '\0';
	return NULL;
}

/* What is wrong with a packet's text as a whole, NULL if nothing. *ret_at is where. */
static const char *text_check(const struct message *message, size_t *ret_at)
{
	const unsigned char *text = (const unsigned char *)message->text;
	size_t length;

	*ret_at = 0;
	if (message->length == 0)
		return "the message is empty";
	if (message->text[message->length - 1] != '\n')
		return "the message does not end with a line feed";
	for (size_t i = 0; i < message->length; i += length) {
		*ret_at = i;
		if (text[i] == 0)
			return "the message has a NUL";
		length = utf8_length(text + i, message->length - i);
		if (length == 0)
			return "the message is not UTF-8";
	}
	return NULL;
}

static int parse_first_line(struct message *message, const char *line, size_t length,
			    char *ret_error, size_t size)
{
	static const char start[] = HANDSHAKE_PROTOCOL " ";
	size_t start_length = sizeof(start) - 1;
	const char *operation = line + start_length;

	if (length < start_length || memcmp(line, start, start_length) != 0)
		return parse_error(ret_error, size,
				   "the message does not begin with \"" HANDSHAKE_PROTOCOL
				   " OPERATION\"",
				   line, length);
	if (length == start_length || length - start_length >= sizeof(message->operation) ||
	    strspn(operation, "abcdefghijklmnopqrstuvwxyz0123456789-") < length - start_length)
		return parse_error(ret_error, size, "the operation is not a word", line, length);
	memcpy(message->operation, operation, length - start_length);
	message->operation[length - start_length] = '\0';
	return 0;
}

static int parse_field(struct message *message, char *line, size_t length, char *ret_error,
		       size_t size)
{
	char *equals = memchr(line, '=', length);
	const char *wrong;

	if (message->field_count == sizeof(message->fields) / sizeof(message->fields[0]))
		return parse_error(ret_error, size, "the message has too many lines", line, length);
	if (!equals || equals == line)
		return parse_error(ret_error, size, "a line is not key=value", line, length);
	for (const char *key = line; key < equals; key++)
		if (*key <= 0x20 || *key > 0x7e)
			return parse_error(ret_error, size, "a key is not a word", line, length);
	*equals = '\0';
	line[length] = '\0';
	wrong = value_decode(equals + 1);
	if (wrong)
		return parse_error(ret_error, size, wrong, line, strlen(line));
	message->fields[message->field_count].key = line;
	message->fields[message->field_count].value = equals + 1;
	message->field_count++;
	return 0;
}

int message_parse(struct message *message, char *ret_error, size_t size)
{
	char *line = message->text, *end = message->text + message->length;
	const char *wrong;
	size_t at;

	message->field_count = 0;
	if (message->too_large)
		return parse_error(ret_error, size, "the message is larger than 16384 bytes",
				   message->text, message->length);
	wrong = text_check(message, &at);
	if (wrong)
		return parse_error(ret_error, size, wrong, message->text + at,
				   message->length - at);
	while (line < end) {
		char *feed = memchr(line, '\n', (size_t)(end - line));
		size_t length = (size_t)(feed - line);
		int r;

		if (line == message->text)
			r = parse_first_line(message, line, length, ret_error, size);
		else
			r = parse_field(message, line, length, ret_error, size);
		if (r < 0)
			return r;
		line = feed + 1;
	}
	return 0;
}

const char *message_get(const struct message *message, const char *key, size_t n)
{
	for (size_t i = 0; i < message->field_count; i++)
		if (strcmp(message->fields[i].key, key) == 0 && n-- == 0)
			return message->fields[i].value;
	return NULL;
}

int message_take_fd(struct message *message, size_t i)
{
	int fd;

	if (i >= message->fd_count)
		return -1;
	fd = message->fds[i];
	message->fds[i] = -1;
	return fd;
}

void message_done(struct message *message)
{
	for (size_t i = message->fd_count; i > 0; i--)
		if (message->fds[i - 1] >= 0)
			close(message->fds[i - 1]);
	message->fd_count = 0;
}
