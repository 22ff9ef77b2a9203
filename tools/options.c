// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading command lines. Touches argv and, to refuse, stderr. Never resolves a name and never
 * guesses what was meant.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define PORT_MAX 65535

static int problem_set(struct options_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int problem_set(struct options_problem *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
	return -1;
}

/* Digits alone: strtoull takes signs and spaces too. */
static int digits_read(const char *text, size_t length, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (length == 0)
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i]) ||
		    __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
			return -1;
	}
	*ret_number = number;
	return 0;
}

int options_read_address(const char *text, struct options_address *ret_address,
			 struct options_problem *problem)
{
	const char *host = text, *colon = strrchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : 0;
	uint64_t port;

	if (!colon)
		return problem_set(problem, "\"%.200s\" has no port: it is written HOST:PORT",
				   text);
	if (digits_read(colon + 1, strlen(colon + 1), &port) < 0 || port > PORT_MAX)
		return problem_set(
		    problem, "\"%.100s\" in \"%.150s\" is no port: it is a number from 0 to 65535",
		    colon + 1, text);
	if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
		if (!memchr(host, ':', length))
			return problem_set(problem,
					   "\"%.200s\" has no IPv6 address in its brackets", text);
	} else if (memchr(host, ':', length)) {
		return problem_set(problem,
				   "\"%.200s\" has several colons: an IPv6 address is written in "
				   "brackets, [ADDRESS]:PORT",
				   text);
	} else if (length && strcspn(host, "[]") < length) {
		return problem_set(problem, "\"%.200s\" has a bracket without its other half",
				   text);
	}
	if (length == 1 && host[0] == '*')
		length = 0;
	if (length >= sizeof(ret_address->host))
		return problem_set(problem, "\"%.60s…\" is no host: a name has at most 253 bytes",
				   text);
	memcpy(ret_address->host, host, length);
	ret_address->host[length] = '\0';
	snprintf(ret_address->port, sizeof(ret_address->port), "%u", (unsigned int)port);
	return 0;
}

int options_read_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number,
			struct options_problem *problem)
{
	uint64_t number;

	if (digits_read(text, strlen(text), &number) < 0 || number < least || number > most)
		return problem_set(problem, "\"%.200s\" is not a whole number from %llu to %llu",
				   text, (unsigned long long)least, (unsigned long long)most);
	*ret_number = number;
	return 0;
}

int options_read_time(const char *text, uint64_t unit_ms, uint64_t least_ms, uint64_t most_ms,
		      uint64_t *ret_ms, struct options_problem *problem)
{
	static const struct {
		const char *word;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
	size_t digits = strspn(text, "0123456789");
	uint64_t number, factor = 0;

	if (text[digits] == '\0')
		factor = unit_ms;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text + digits, units[i].word) == 0)
			factor = units[i].ms;
	if (factor == 0 || digits_read(text, digits, &number) < 0)
		return problem_set(
		    problem,
		    "\"%.200s\" is no length of time: it is a whole number of %s, or one "
		    "with ms, s, min or h behind it",
		    text, unit_ms == 1 ? "milliseconds" : "seconds");
	if (__builtin_mul_overflow(number, factor, &number) || number < least_ms ||
	    number > most_ms)
		return problem_set(problem, "\"%.200s\" is not from %llums to %llums", text,
				   (unsigned long long)least_ms, (unsigned long long)most_ms);
	*ret_ms = number;
	return 0;
}

int options_read_records(const char *text, enum handshake_records *ret_records,
			 struct options_problem *problem)
{
	if (strcmp(text, "kernel") == 0)
		*ret_records = HANDSHAKE_RECORDS_KERNEL;
	else if (strcmp(text, "relay") == 0)
		*ret_records = HANDSHAKE_RECORDS_RELAY;
	else
		return problem_set(
		    problem,
		    "\"%.200s\" is no record path: it is \"kernel\" or \"relay\", and "
		    "without the option the profile decides",
		    text);
	return 0;
}

/* The long options have values of at least 256, so that optopt tells them from a letter. */
static const char *option_name(int value, const struct option *options)
{
	for (; options->name; options++)
		if (options->val == value)
			return options->name;
	return NULL;
}

int options_next(const char *tool, int argc, char **argv, const struct option *options)
{
	int index = optind ? optind : 1, value;

	opterr = 0;
	value = getopt_long(argc, argv, ":h", options, NULL);
	if (value == ':')
		options_refuse(tool, "the option \"--%s\" needs a value",
			       option_name(optopt, options));
	else if (value == '?' && optopt >= 256)
		options_refuse(tool, "the option \"--%s\" takes no value",
			       option_name(optopt, options));
	else if (value == '?' && optopt)
		options_refuse(tool, "there is no option \"-%c\"", optopt);
	else if (value == '?')
		options_refuse(tool, "there is no option \"%s\", or several begin so",
			       argv[optind > index ? optind - 1 : index]);
	return value == ':' ? '?' : value;
}

int options_refuse(const char *tool, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", tool);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "; \"%s --help\" tells what there is\n", tool);
	return TOOL_USAGE;
}
