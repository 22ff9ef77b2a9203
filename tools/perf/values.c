// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Values of options. Touches what it is given; never takes a value that it does not understand whole.
 */
#include "values.h"

#include <stdio.h>
#include <string.h>

const char *const value_versions[] = {"1.2", "1.3", NULL};
const char *const value_key_types[] = {"ecdsa", "rsa", NULL};
const char *const value_ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305",
				     "AES-128-CCM", NULL};
const char *const value_records[] = {"auto", "kernel", "relay", NULL};

int value_find(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

int value_read_word(const char *text, const char *const *words, struct options_problem *problem)
{
	int found = value_find(text, words);
	char known[160] = "";
	size_t used = 0;

	for (int i = 0; words[i] && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 words[i]);
	if (found < 0)
		snprintf(problem->text, sizeof(problem->text), "\"%.100s\" is none of %s", text,
			 known);
	return found;
}

int value_read_name(const char *text, const char *const *words, const char **ret_name,
		    struct options_problem *problem)
{
	int found = value_read_word(text, words, problem);

	if (found < 0)
		return -1;
	*ret_name = words[found];
	return 0;
}

int value_read_count(const char *text, uint64_t most, unsigned *ret_count,
		     struct options_problem *problem)
{
	uint64_t number;

	if (options_read_number(text, 1, most, &number, problem) < 0)
		return -1;
	*ret_count = (unsigned)number;
	return 0;
}

int value_read_seconds(const char *text, double *ret_seconds, struct options_problem *problem)
{
	uint64_t ms;

	if (options_read_time(text, 1000, 1, 3600000, &ms, problem) < 0)
		return -1;
	*ret_seconds = (double)ms / 1000;
	return 0;
}

int value_read_list(const char *text, unsigned most, value_take *take, void *context,
		    struct options_problem *problem)
{
	char copy[256], *rest = copy, *word;

	if (strlen(text) >= sizeof(copy)) {
		snprintf(problem->text, sizeof(problem->text), "\"%.100s...\" is too long", text);
		return -1;
	}
	snprintf(copy, sizeof(copy), "%s", text);
	for (unsigned at = 0; (word = strsep(&rest, ",")); at++) {
		if (at == most) {
			snprintf(problem->text, sizeof(problem->text),
				 "\"%.200s\" has more than %u parts", text, most);
			return -1;
		}
		if (take(context, word, at, problem) < 0)
			return -1;
	}
	return 0;
}
