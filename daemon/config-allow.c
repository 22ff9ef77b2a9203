// SPDX-License-Identifier: LGPL-2.1-or-later
// Lists of users and groups who may do something. May look users and groups up; opens nothing.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

enum { ALLOW_MAX = 256 };

static int allow_user(struct config_reader *reader, struct config_allow *allow, const char *name)
{
	gid_t ignored;
	uid_t *larger;

	if (allow->user_count == ALLOW_MAX)
		return config_problem(reader, "%s: at most %d users; use a group", reader->word,
				      ALLOW_MAX);
	larger = config_grow(reader, allow->users, allow->user_count, sizeof(*larger));
	if (!larger)
		return -1;
	allow->users = larger;
	if (config_value_user(reader, name, &allow->users[allow->user_count], &ignored) < 0)
		return -1;
	allow->user_count++;
	return 0;
}

static int allow_group(struct config_reader *reader, struct config_allow *allow, const char *name)
{
	gid_t *larger;

	if (allow->group_count == ALLOW_MAX)
		return config_problem(reader, "%s: at most %d groups", reader->word, ALLOW_MAX);
	larger = config_grow(reader, allow->groups, allow->group_count, sizeof(*larger));
	if (!larger)
		return -1;
	allow->groups = larger;
	if (config_value_group(reader, name, &allow->groups[allow->group_count]) < 0)
		return -1;
	allow->group_count++;
	return 0;
}

int config_allow_add(struct config_reader *reader, struct config_allow *allow, const char *word)
{
	if (!strcmp(word, "everyone")) {
		allow->everyone = true;
		return 0;
	}
	if (!strncmp(word, "user:", 5) && word[5])
		return allow_user(reader, allow, word + 5);
	if (!strncmp(word, "group:", 6) && word[6])
		return allow_group(reader, allow, word + 6);
	return config_problem(reader,
			      "%s: \"%s\" is not understood; write user:NAME, group:NAME or"
			      " everyone",
			      reader->word, word);
}

void config_allow_done(struct config_allow *allow)
{
	free(allow->users);
	free(allow->groups);
}
