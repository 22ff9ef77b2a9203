// SPDX-License-Identifier: LGPL-2.1-or-later
// The values of the configuration's keys: numbers, words, paths, users, lists. May look users and
// groups up; opens no file that a value names.
#include "config-reader.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_COPY = 256 }; // libinih's lines are shorter

// All of text is decimal digits, and the number is at most most.
static bool number_read(const char *text, unsigned long most, unsigned long *ret_number)
{
	unsigned long number = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		number = number * 10 + (unsigned long)(*text - '0');
		if (number > most)
			return false;
	}
	*ret_number = number;
	return true;
}

int config_value_number(struct config_reader *reader, const char *value, unsigned least,
			unsigned most, unsigned *ret_number)
{
	unsigned long number;

	if (!number_read(value, most, &number) || number < least)
		return config_problem(reader, "%s = \"%s\": a whole number from %u to %u is needed",
				      reader->word, value, least, most);
	*ret_number = (unsigned)number;
	return 0;
}

int config_value_word(struct config_reader *reader, const char *value,
		      const struct config_word *words, int *ret_value)
{
	const struct config_word *found = config_word_find(words, value);
	const char *nearest;
	char list[128];

	if (found) {
		*ret_value = found->value;
		return 0;
	}
	config_words_list(words, list, sizeof(list));
	nearest = config_word_nearest(words, value);
	if (nearest)
		return config_problem(reader,
				      "%s: unknown value \"%s\"; did you mean \"%s\"? Known: %s",
				      reader->word, value, nearest, list);
	return config_problem(reader, "%s: unknown value \"%s\"; known: %s", reader->word, value,
			      list);
}

int config_value_path(struct config_reader *reader, const char *value, char **path)
{
	char *text;

	if (!*value)
		return config_problem(reader, "%s has no value; write a path behind the \"=\"",
				      reader->word);
	// Comments at a line's end begin with " ;" only: a '#' would become part of the name.
	if (strstr(value, " #"))
		return config_problem(reader,
				      "%s = \"%s\": a comment behind a value begins with \" ;\"",
				      reader->word, value);
	if (asprintf(&text, "%s%s", value[0] == '/' ? "" : reader->directory, value) < 0)
		return config_problem(reader, "out of memory");
	if (strlen(text) >= PATH_MAX) {
		free(text);
		return config_problem(reader, "%s = \"%s\": the path is too long", reader->word,
				      value);
	}
	free(*path);
	*path = text;
	return 0;
}

int config_value_user(struct config_reader *reader, const char *name, uid_t *ret_uid,
		      gid_t *ret_gid)
{
	struct passwd entry, *found = NULL;
	char buffer[16384];
	unsigned long number;
	int error;

	error = getpwnam_r(name, &entry, buffer, sizeof(buffer), &found);
	if (!found && number_read(name, UINT_MAX - 1, &number)) {
		error = getpwuid_r((uid_t)number, &entry, buffer, sizeof(buffer), &found);
		/* A number needs no entry: containers have users without one. */
		if (!found && (!error || error == ENOENT)) {
			*ret_uid = (uid_t)number;
			*ret_gid = (gid_t)number;
			return 0;
		}
	}
	if (!found && error && error != ENOENT)
		return config_problem(reader, "%s: user \"%s\" cannot be looked up: %s",
				      reader->word, name, strerror(error));
	if (!found)
		return config_problem(reader,
				      "%s: there is no user \"%s\" on this system; correct the name"
				      " or create the user",
				      reader->word, name);
	*ret_uid = found->pw_uid;
	*ret_gid = found->pw_gid;
	return 0;
}

int config_value_group(struct config_reader *reader, const char *name, gid_t *ret_gid)
{
	struct group entry, *found = NULL;
	char *buffer;
	size_t size = 1 << 20; // A group's list of members can be long.
	unsigned long number;
	int error;

	buffer = malloc(size);
	if (!buffer)
		return config_problem(reader, "out of memory");
	error = getgrnam_r(name, &entry, buffer, size, &found);
	if (found)
		*ret_gid = found->gr_gid;
	free(buffer);
	if (found)
		return 0;
	if (number_read(name, UINT_MAX - 1, &number)) {
		*ret_gid = (gid_t)number;
		return 0;
	}
	if (error && error != ENOENT)
		return config_problem(reader, "%s: group \"%s\" cannot be looked up: %s",
				      reader->word, name, strerror(error));
	return config_problem(reader,
			      "%s: there is no group \"%s\" on this system; correct the name or"
			      " create the group",
			      reader->word, name);
}

char *config_value_next(char **cursor)
{
	char *word = *cursor + strspn(*cursor, ", \t");
	size_t length = strcspn(word, ", \t");

	if (!length)
		return NULL;
	*cursor = word + length;
	if (**cursor)
		*(*cursor)++ = '\0';
	return word;
}

int config_value_list(struct config_reader *reader, const char *value,
		      int (*add)(struct config_reader *, const char *))
{
	char copy[LINE_COPY], *cursor = copy, *word;

	if (strlen(value) >= sizeof(copy))
		return config_problem(reader, "%s: the line is too long", reader->word);
	memcpy(copy, value, strlen(value) + 1);
	if (!*value)
		return config_problem(reader, "%s has no value", reader->word);
	while ((word = config_value_next(&cursor)))
		if (add(reader, word) < 0)
			return -1;
	return 0;
}

int config_value_boolean(struct config_reader *reader, const char *value,
			 const struct config_word *words, bool *ret_value)
{
	int found = 0;

	if (config_value_word(reader, value, words, &found) < 0)
		return -1;
	*ret_value = found != 0;
	return 0;
}

void *config_grow(struct config_reader *reader, void *array, size_t count, size_t size)
{
	char *larger = array;

	if (!larger || (count & (count - 1)) == 0) { // at each power of two the room is full
		larger = reallocarray(array, count ? count * 2 : 1, size);
		if (!larger) {
			config_problem(reader, "out of memory");
			return NULL;
		}
	}
	memset(larger + count * size, 0, size);
	return larger;
}
