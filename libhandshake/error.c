// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The sentence about what went wrong, and the errno that stands for a class of failure. Touches the
 * object alone. Never replaces a sentence by a later one, which knows less.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *class;
	int error;
} errors[] = {
    {HANDSHAKE_CLASS_REQUEST, EINVAL},
    {HANDSHAKE_CLASS_DENIED, EACCES},
    {HANDSHAKE_CLASS_BUSY, EBUSY},
    {HANDSHAKE_CLASS_UNSUPPORTED, EOPNOTSUPP},
    {HANDSHAKE_CLASS_TIMEOUT, ETIMEDOUT},
    {HANDSHAKE_CLASS_CANCELLED, ECANCELED},
    {HANDSHAKE_CLASS_CLOSED, ECONNRESET},
    {HANDSHAKE_CLASS_ALERT, EPROTO},
    {HANDSHAKE_CLASS_NEGOTIATION, EPROTO},
    {HANDSHAKE_CLASS_VERIFICATION, EKEYREJECTED},
    {HANDSHAKE_CLASS_PROTOCOL, EPROTO},
    {HANDSHAKE_CLASS_INTERNAL, EIO},
    {HANDSHAKE_CLASS_UNAVAILABLE, ECONNREFUSED},
};

int error_of_class(const char *class)
{
	for (size_t i = 0; class && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(class, errors[i].class) == 0)
			return errors[i].error;
	return EIO; /* a class that a later daemon has */
}

void error_format(char *ret_text, size_t size, const char *format, va_list arguments)
{
	int wanted = vsnprintf(ret_text, size, format, arguments);
	size_t end;

	if (wanted < 0) {
		ret_text[0] = '\0';
		return;
	}
	if ((size_t)wanted < size)
		return;
	/* Back to the first byte of the character that was cut through, if one was. */
	end = size - 1;
	while (end > 0 && ((unsigned char)ret_text[end - 1] & 0xc0) == 0x80)
		end--;
	if (end > 0 && (unsigned char)ret_text[end - 1] >= 0xc0)
		ret_text[end - 1] = '\0';
}

int error_set(struct handshake *handshake, int error, const char *format, ...)
{
	va_list arguments;

	if (handshake->error[0] == '\0') {
		va_start(arguments, format);
		error_format(handshake->error, sizeof(handshake->error), format, arguments);
		va_end(arguments);
	}
	return -error;
}

void error_clear(struct handshake *handshake)
{
	handshake->error[0] = '\0';
}
