// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the configuration file: libinih splits the lines, the tables of config-daemon.c and
// config-profile.c say what they mean. Opens that one file; never guesses what a line may mean.
#include "config.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config-reader.h"
#include "file.h"

enum { CONFIG_SIZE_MAX = 8 << 20 }; // bytes; 10,000 pairs of certificates take about 1 MiB

int config_problem_at(struct config_reader *reader, unsigned line, const char *format, ...)
{
	char text[sizeof(reader->problem->text)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (!reader->problem->text[0])
		reader->problem_line = line;
	return problem_set(reader->problem, "%s:%u: %s", reader->path, line, text);
}

int config_problem(struct config_reader *reader, const char *format, ...)
{
	char text[sizeof(reader->problem->text)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return config_problem_at(reader, reader->line, "%s", text);
}

bool config_seen(const struct config_reader *reader, const char *key)
{
	for (size_t i = 0; reader->keys[i].name; i++)
		if (!strcmp(reader->keys[i].name, key))
			return reader->seen[i] != 0;
	return false;
}

// ---- Sections ----

int config_section_end(struct config_reader *reader)
{
	int error = reader->profile ? config_profile_finish(reader) : 0;

	reader->profile = NULL;
	return error;
}

// clang-format off
static const struct config_key *const daemon_tables[] = {
    config_daemon_keys,
    config_resumption_daemon_keys,
    config_signer_daemon_keys,
    config_observation_keys,
    NULL,
};
static const struct config_key *const kernel_tables[] = {
    config_kernel_keys,
    config_keyring_keys,
    config_namespace_keys,
    NULL,
};
static const struct config_key *const profile_tables[] = {
    config_profile_keys,
    config_authentication_keys,
    config_early_data_keys,
    config_key_exchange_keys,
    config_peer_keys,
    config_signer_keys,
    config_psk_keys,
    config_records_keys,
    config_resumption_keys,
    config_raw_public_key_keys,
    NULL,
};
// clang-format on

static int keys_choose(struct config_reader *reader, const struct config_key *const *tables)
{
	size_t count = 0;

	for (; *tables; tables++)
		for (const struct config_key *key = *tables; key->name; key++) {
			if (count == CONFIG_KEYS_MAX)
				return config_problem(reader, "this build has too many keys");
			reader->keys[count++] = *key;
		}
	reader->keys[count] = (struct config_key){0};
	return 0;
}

int config_section_begin(struct config_reader *reader, const char *name)
{
	static const char *const known[] = {"daemon", "kernel", "profile NAME"};

	if (config_section_end(reader) < 0)
		return -1;
	memset(reader->seen, 0, sizeof(reader->seen));
	reader->key = NULL;
	snprintf(reader->section, sizeof(reader->section), "%s", name);
	if (!strcmp(name, "daemon")) {
		if (reader->daemon_line)
			return config_problem(reader,
					      "[daemon] is there already, in line %u; put all its"
					      " keys there",
					      reader->daemon_line);
		reader->daemon_line = reader->line;
		return keys_choose(reader, daemon_tables);
	}
	if (!strcmp(name, "kernel")) {
		if (reader->config->kernel.line)
			return config_problem(reader,
					      "[kernel] is there already, in line %u; put all its"
					      " keys there",
					      reader->config->kernel.line);
		reader->config->kernel.line = reader->line;
		return keys_choose(reader, kernel_tables);
	}
	if (!strcmp(name, "profile") || !strncmp(name, "profile ", 8)) {
		if (keys_choose(reader, profile_tables) < 0)
			return -1;
		name += strlen("profile");
		return config_profile_begin(reader, name + strspn(name, " \t"));
	}
	// "[porfile web]" is near "profile NAME" by its first word only.
	{
		char first[32];
		const char *nearest;

		snprintf(first, sizeof(first), "%.*s", (int)strcspn(name, " \t"), name);
		nearest =
		    config_nearest(first, (const char *const[]){"daemon", "kernel", "profile"}, 3);
		if (nearest)
			return config_problem(reader, "unknown section [%s]; did you mean [%s]?",
					      name,
					      !strcmp(nearest, "profile") ? known[2] : nearest);
	}
	return config_problem(reader, "unknown section [%s]; known: [%s], [%s] and [%s]", name,
			      known[0], known[1], known[2]);
}

// A line that begins with '[': libinih keeps only 49 bytes of it, does not say where a section
// begins, and nothing at all of one without keys.
static int section_line(struct config_reader *reader, const char *line)
{
	char name[sizeof(reader->section)];
	const char *end = strchr(line, ']'), *rest;
	size_t length;

	if (!end)
		return config_problem(reader, "\"%s\" has no closing \"]\"", line);
	rest = end + 1 + strspn(end + 1, " \t\r");
	if (*rest && *rest != ';' && *rest != '#')
		return config_problem(reader, "\"%s\" stands behind the section's \"]\"", rest);
	line += 1 + strspn(line + 1, " \t");
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	length = end > line ? (size_t)(end - line) : 0;
	if (length >= sizeof(name))
		return config_problem(reader, "the section's name \"%.*s\" is too long",
				      (int)length, line);
	memcpy(name, line, length);
	name[length] = '\0';
	return config_section_begin(reader, name);
}

// ---- Lines ----

// libinih's fgets: hands it one line, and keeps count of them, which it does not tell its handler.
static char *line_read(char *buffer, int size, void *stream)
{
	struct config_reader *reader = stream;
	size_t length = strcspn(reader->position, "\n");
	const char *start;

	if (!*reader->position || reader->problem->text[0])
		return NULL;
	reader->line++;
	if (length + 2 > (size_t)size) {
		config_problem(reader,
			       "the line is too long (%zu bytes; at most %d); lists may go on in"
			       " the next line, indented",
			       length, size - 2);
		return NULL;
	}
	memcpy(buffer, reader->position, length);
	buffer[length] = '\0';
	reader->position += length;
	if (*reader->position == '\n')
		reader->position++;
	if (length && buffer[length - 1] == '\r')
		buffer[--length] = '\0';

	start = buffer;
	if (reader->line == 1 && !strncmp(start, "\xEF\xBB\xBF", 3))
		start += 3;
	reader->indented = *start == ' ' || *start == '\t';
	start += strspn(start, " \t");
	if (*start == '[') {
		if (reader->indented)
			config_problem(reader, "\"%s\" must begin in the first column", start);
		else
			section_line(reader, start);
	}
	return reader->problem->text[0] ? NULL : buffer;
}

static int key_unknown(struct config_reader *reader, const char *name)
{
	const char *words[CONFIG_KEYS_MAX], *nearest;
	size_t count = 0;

	for (; reader->keys[count].name; count++)
		words[count] = reader->keys[count].name;
	nearest = config_nearest(name, words, count);
	if (nearest)
		return config_problem(reader, "unknown key \"%s\" in [%s]; did you mean \"%s\"?",
				      name, reader->section, nearest);
	return config_problem(reader, "unknown key \"%s\" in [%s]; see handshaked.conf(5)", name,
			      reader->section);
}

int config_key_set(struct config_reader *reader, const char *name, const char *value)
{
	const struct config_key *key = reader->keys;
	size_t i = 0;

	for (; key->name && strcmp(key->name, name) != 0; key++)
		i++;
	if (!key->name)
		return key_unknown(reader, name);
	if (reader->seen[i] && !key->repeated)
		return config_problem(reader, "%s = \"%s\": the key is in [%s] already, in line %u",
				      name, value, reader->section, reader->seen[i]);
	reader->seen[i] = reader->line;
	reader->key = key;
	reader->word = key->name;
	if (reader->profile)
		config_resumption_note(reader->profile, key->name, value);
	return key->read(reader, value);
}

// An indented line goes on with the value of the line before, as in Python's configparser.
static int continuation_read(struct config_reader *reader, const char *value)
{
	if (!reader->key->list || strchr(value, '='))
		return config_problem(reader,
				      "\"%s\" is indented and so continues the value of \"%s\""
				      "%s; begin a key in the first column",
				      value, reader->key->name,
				      reader->key->list ? "" : ", which has only one");
	reader->word = reader->key->name;
	if (reader->profile)
		config_resumption_note(reader->profile, reader->key->name, value);
	return reader->key->read(reader, value);
}

static int line_handle(void *user, const char *section, const char *name, const char *value)
{
	struct config_reader *reader = user;

	(void)section; // Cut off at 49 bytes; reader->section is whole.
	if (reader->problem->text[0])
		return 0;
	if (!reader->section[0])
		config_problem(reader,
			       "\"%s = %s\" stands before the first section; write [daemon]"
			       " or [profile NAME] above it",
			       name, value);
	else if (reader->indented && reader->key)
		continuation_read(reader, value);
	else
		config_key_set(reader, name, value);
	return reader->problem->text[0] ? 0 : 1;
}

// A line that libinih could not split: it tells the number only.
static int line_broken(struct config_reader *reader, unsigned line)
{
	const char *start = reader->text;

	for (unsigned i = 1; i < line && *start; i++)
		start += strcspn(start, "\n") + 1;
	start += strspn(start, " \t");
	reader->problem->text[0] = '\0'; // A problem of a later line gives way to this one.
	return config_problem_at(reader, line, "\"%.*s\" is neither [section] nor key = value",
				 (int)strcspn(start, "\r\n"), start);
}

// ---- The file ----

static int file_parse(struct config_reader *reader, const struct file *file)
{
	int line;

	if (strlen(file->data) != file->size)
		return problem_set(reader->problem, "%s: there is a NUL byte in the file",
				   reader->config->path);
	// Who writes this file chooses the keys and the trust of everybody.
	if (file->status.st_mode & 0002)
		return problem_set(reader->problem,
				   "%s: everybody may write to the configuration; chmod o-w it",
				   reader->config->path);
	reader->text = reader->position = file->data;
	line = ini_parse_stream(line_read, reader, line_handle, reader);
	if (line < 0)
		return problem_set(reader->problem, "%s: out of memory", reader->config->path);
	if (line > 0 && (!reader->problem->text[0] || (unsigned)line < reader->problem_line))
		return line_broken(reader, (unsigned)line);
	if (reader->problem->text[0] || config_section_end(reader) < 0)
		return -1;
	return 0;
}

static int profiles_check(const struct config_reader *reader)
{
	if (reader->config->profile_count)
		return 0;
	return problem_set(reader->problem,
			   "%s: there is no profile; add a section such as [profile default]",
			   reader->config->path);
}

// No "allow": root and whoever the daemon runs as.
static int allow_defaults(struct config *config, struct problem *problem)
{
	for (size_t i = 0; i < config->profile_count; i++) {
		struct config_allow *allow = &config->profiles[i].allow;

		if (allow->everyone || allow->user_count || allow->group_count)
			continue;
		allow->users = calloc(2, sizeof(*allow->users));
		if (!allow->users)
			return problem_set(problem, "out of memory");
		allow->users[allow->user_count++] = 0;
		allow->users[allow->user_count++] = config->uid;
	}
	return 0;
}

static int path_set(struct config_reader *reader, const char *path)
{
	char *slash, *directory;

	// Absolute, so that a reload finds it whatever the current directory has become.
	reader->config->path = realpath(path, NULL);
	if (!reader->config->path)
		return problem_set(reader->problem, "configuration \"%s\" cannot be opened: %m",
				   path);
	directory = strdup(reader->config->path);
	if (!directory)
		return problem_set(reader->problem, "out of memory");
	slash = strrchr(directory, '/');
	slash[1] = '\0';
	reader->directory = directory;
	return 0;
}

static int file_take(struct config_reader *reader)
{
	struct file file = {};
	int error =
	    file_read(reader->path, "configuration", CONFIG_SIZE_MAX, &file, reader->problem);

	if (error == 0)
		error = file_parse(reader, &file);
	file_done(&file);
	return error;
}

static int source_take(struct config_reader *reader, const struct config_source *source)
{
	reader->path = reader->config->path;
	if (source->path && file_take(reader) < 0)
		return -1;
	if (source->tlshd && config_tlshd_read(reader, source->tlshd) < 0)
		return -1;
	reader->path = reader->config->path;
	return profiles_check(reader);
}

int config_source_read(const struct config_source *source, struct config **ret_config,
		       struct problem *problem)
{
	struct config_reader reader = {.problem = problem};
	int error = -1;

	reader.config = calloc(1, sizeof(*reader.config));
	if (!reader.config)
		return problem_set(problem, "out of memory");
	config_kernel_defaults(reader.config);
	if (path_set(&reader, source->path ? source->path : source->tlshd) < 0 ||
	    config_daemon_defaults(&reader) < 0 || source_take(&reader, source) < 0 ||
	    config_daemon_finish(&reader) < 0 || config_kernel_finish(&reader) < 0 ||
	    allow_defaults(reader.config, problem) < 0)
		goto out;
	*ret_config = reader.config;
	reader.config = NULL;
	error = 0;
out:
	free(reader.user);
	free(reader.directory);
	config_free(reader.config);
	return error;
}

int config_read(const char *path, struct config **ret_config, struct problem *problem)
{
	return config_source_read(&(struct config_source){.path = path}, ret_config, problem);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->profile_count; i++)
		config_profile_done(&config->profiles[i]);
	free(config->profiles);
	config_kernel_done(config);
	free(config->path);
	free(config->tlshd_path);
	free(config->socket);
	free(config->state_directory);
	config_observation_done(config);
	free(config->user);
	config_signer_done(config);
	free(config);
}

const struct config_profile *config_find_profile(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->profile_count; i++)
		if (!strcmp(config->profiles[i].name, name))
			return &config->profiles[i];
	return NULL;
}
