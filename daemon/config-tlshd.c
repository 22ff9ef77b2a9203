// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads a configuration of tlshd (ktls-utils 1.4, tlshd.conf(5)) and says it in the words of [kernel] and of
// profiles, one for each role and way. Opens that one file and looks for tags.d beside it; passes over nothing that it does not know.
#include "config-reader.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

#define CLIENT_PROFILE "tlshd-client"
#define SERVER_PROFILE "tlshd-server"

enum { TLSHD_SIZE_MAX = 1 << 20, LEVEL_MAX = 1000000 };

// The material of one role; in this order in words[] below.
enum { TRUST, CRL, CERTIFICATE, PRIVATE_KEY, PQ_CERTIFICATE, PQ_PRIVATE_KEY, MATERIALS };

struct value {
	char *text; // NULL: not given
	unsigned line;
};

struct role {
	const char *section;
	unsigned line; // of the section
	struct value values[MATERIALS];
};

struct tlshd {
	struct value log_level, tls_level, netlink_level, keyrings;
	struct role client, server;
};

static const char *const words[MATERIALS] = {
    [TRUST] = "x509.truststore",
    [CRL] = "x509.crl",
    [CERTIFICATE] = "x509.certificate",
    [PRIVATE_KEY] = "x509.private_key",
    [PQ_CERTIFICATE] = "x509.pq.certificate",
    [PQ_PRIVATE_KEY] = "x509.pq.private_key",
};

static const char *const sections[] = {"debug", "authenticate", "authenticate.client",
				       "authenticate.server"};
enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

// ---- Lines ----
// As GLib's key files have them: "[section]", "key=value", and lines that begin with '#'. A comment behind
// a value is part of it.

// The keys of a section and where their values go; returns how many.
static size_t section_keys(struct tlshd *tlshd, const char *section, const char **ret_names,
			   struct value **ret_values)
{
	struct role *role = !strcmp(section, tlshd->client.section)   ? &tlshd->client
			    : !strcmp(section, tlshd->server.section) ? &tlshd->server
								      : NULL;
	size_t count = 0;

	if (role)
		for (; count < MATERIALS; count++) {
			ret_names[count] = words[count];
			ret_values[count] = &role->values[count];
		}
	else if (!strcmp(section, "authenticate"))
		ret_names[count] = "keyrings", ret_values[count++] = &tlshd->keyrings;
	else {
		ret_names[count] = "loglevel", ret_values[count++] = &tlshd->log_level;
		ret_names[count] = "tls", ret_values[count++] = &tlshd->tls_level;
		ret_names[count] = "nl", ret_values[count++] = &tlshd->netlink_level;
	}
	return count;
}

static int section_take(struct config_reader *reader, struct tlshd *tlshd, char *line)
{
	size_t length = strlen(line), known = 0;
	const char *nearest;

	if (line[length - 1] != ']')
		return config_problem(reader, "\"%s\" has no closing \"]\"", line);
	line[length - 1] = '\0';
	line++;
	while (known < SECTIONS && strcmp(sections[known], line) != 0)
		known++;
	if (known == SECTIONS) {
		nearest = config_nearest(line, sections, SECTIONS);
		if (nearest)
			return config_problem(reader, "unknown section [%s]; did you mean [%s]?",
					      line, nearest);
		return config_problem(reader,
				      "unknown section [%s]; tlshd 1.4 has [debug], [authenticate],"
				      " [authenticate.client] and [authenticate.server]",
				      line);
	}
	snprintf(reader->section, sizeof(reader->section), "%s", line);
	if (!strcmp(line, tlshd->client.section))
		tlshd->client.line = reader->line;
	if (!strcmp(line, tlshd->server.section))
		tlshd->server.line = reader->line;
	return 0;
}

static int key_unknown(struct config_reader *reader, const char *name, const char *const *names,
		       size_t count)
{
	const char *nearest = config_nearest(name, names, count);

	if (nearest)
		return config_problem(reader, "unknown key \"%s\" in [%s]; did you mean \"%s\"?",
				      name, reader->section, nearest);
	return config_problem(reader,
			      "unknown key \"%s\" in [%s]; those of tlshd 1.4 are known"
			      " (handshaked(8), \"The configuration of tlshd\")",
			      name, reader->section);
}

// The escapes of key files: \s \n \t \r \\.
static int unescape(struct config_reader *reader, const char *name, char *value)
{
	static const char from[] = "sntr\\", to[] = " \n\t\r\\";
	char *out = value;

	for (const char *in = value; *in; in++) {
		const char *found;

		if (*in != '\\') {
			*out++ = *in;
			continue;
		}
		found = in[1] ? strchr(from, in[1]) : NULL;
		if (!found)
			return config_problem(
			    reader, "%s = \"%s\": a backslash is written \"\\\\\"", name, value);
		*out++ = to[found - from];
		in++;
	}
	*out = '\0';
	return 0;
}

static int key_take(struct config_reader *reader, struct tlshd *tlshd, const char *name,
		    char *value)
{
	struct value *values[MATERIALS];
	const char *names[MATERIALS];
	size_t count, i = 0;

	if (!reader->section[0])
		return config_problem(reader, "\"%s = %s\" stands before the first section", name,
				      value);
	count = section_keys(tlshd, reader->section, names, values);
	while (i < count && strcmp(names[i], name) != 0)
		i++;
	if (i == count)
		return key_unknown(reader, name, names, count);
	if (values[i]->text)
		return config_problem(reader,
				      "%s = \"%s\": the key is in [%s] already, in line %u; tlshd"
				      " would take the last one",
				      name, value, reader->section, values[i]->line);
	if (!*value)
		return config_problem(reader, "%s has no value; remove the line, or give it one",
				      name);
	if (unescape(reader, name, value) < 0)
		return -1;
	values[i]->text = strdup(value);
	values[i]->line = reader->line;
	return values[i]->text ? 0 : config_problem(reader, "out of memory");
}

static char *trim(char *text)
{
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
	return text;
}

static int line_take(struct config_reader *reader, struct tlshd *tlshd, char *line)
{
	char *equals;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	if (*line == '[')
		return section_take(reader, tlshd, line);
	equals = strchr(line, '=');
	if (!equals)
		return config_problem(reader, "\"%s\" is neither [section] nor key=value", line);
	*equals = '\0';
	return key_take(reader, tlshd, trim(line), trim(equals + 1));
}

static int file_take(struct config_reader *reader, struct tlshd *tlshd)
{
	struct file file = {};
	char *cursor, *line;
	int error;

	error = file_read(reader->path, "tlshd's configuration", TLSHD_SIZE_MAX, &file,
			  reader->problem);
	if (error == 0 && strlen(file.data) != file.size)
		error = problem_set(reader->problem, "%s: there is a NUL byte in the file",
				    reader->path);
	if (error == 0)
		error = file_check_writers(&file, reader->path, "tlshd's configuration",
					   reader->problem);
	reader->section[0] = '\0';
	reader->line = 0;
	for (cursor = file.data; error == 0 && (line = strsep(&cursor, "\n"));) {
		reader->line++;
		error = line_take(reader, tlshd, line);
	}
	file_done(&file);
	return error;
}

// ---- Values ----

static int level_read(struct config_reader *reader, const char *name, const struct value *value,
		      unsigned *ret_level)
{
	*ret_level = 0;
	if (!value->text)
		return 0;
	reader->line = value->line;
	reader->word = name;
	return config_value_number(reader, value->text, 0, LEVEL_MAX, ret_level);
}

// What the libraries would say is not what an administrator wants to know; there are better ways to see it.
static int debug_apply(struct config_reader *reader, const struct tlshd *tlshd)
{
	unsigned level;

	if (level_read(reader, "loglevel", &tlshd->log_level, &level) < 0)
		return -1;
	if (level)
		reader->config->log_level = CONFIG_LOG_DEBUG;
	if (level_read(reader, "tls", &tlshd->tls_level, &level) < 0)
		return -1;
	if (level)
		return config_problem(reader,
				      "tls = %u: the TLS library's own messages are not logged"
				      " here, as they can have secrets in them; write 0, and see"
				      " each handshake with \"handshake trace\"",
				      level);
	if (level_read(reader, "nl", &tlshd->netlink_level, &level) < 0)
		return -1;
	if (level)
		return config_problem(reader,
				      "nl = %u: the netlink library's own messages are not logged"
				      " here; write 0, and see each request of the kernel with"
				      " loglevel=1",
				      level);
	return 0;
}

static int keyrings_apply(struct config_reader *reader, const struct tlshd *tlshd)
{
	char *cursor = tlshd->keyrings.text, *name;
	int error = 0;

	reader->line = tlshd->keyrings.line;
	while (error == 0 && (name = strsep(&cursor, ";"))) {
		name = trim(name);
		if (*name)
			error = config_key_set(reader, "link-keyring", name);
	}
	return error;
}

static int paths_check(struct config_reader *reader, const struct role *role)
{
	for (int i = 0; i < MATERIALS; i++) {
		const struct value *value = &role->values[i];

		reader->line = value->line;
		if (value->text && value->text[0] != '/')
			return config_problem(reader,
					      "%s = \"%s\": a path from the root on is needed, for"
					      " it depends on nobody's current directory",
					      words[i], value->text);
		if (value->text && (strstr(value->text, " #") || strstr(value->text, " ;")))
			return config_problem(reader,
					      "%s = \"%s\": in this file a comment has a line of"
					      " its own; behind a value it is part of it",
					      words[i], value->text);
	}
	return 0;
}

static int set(struct config_reader *reader, unsigned line, const char *key, const char *value)
{
	reader->line = line;
	return config_key_set(reader, key, value);
}

static int pair_apply(struct config_reader *reader, const struct role *role, int certificate)
{
	const struct value *own = &role->values[certificate], *key = own + 1;

	if (!own->text && !key->text)
		return 0;
	reader->line = own->text ? own->line : key->line;
	if (!own->text || !key->text)
		return config_problem(reader, "%s = \"%s\" needs %s beside it in [%s]",
				      words[own->text ? certificate : certificate + 1],
				      own->text ? own->text : key->text,
				      words[own->text ? certificate + 1 : certificate],
				      role->section);
	return set(reader, own->line, "certificate", own->text) < 0
		   ? -1
		   : set(reader, key->line, "private-key", key->text);
}

static int role_apply(struct config_reader *reader, const struct role *role, const char *word)
{
	if (paths_check(reader, role) < 0)
		return -1;
	reader->line = role->line;
	// tlshd knows no other version, and no records but the kernel's.
	if (config_key_set(reader, "role", word) < 0 ||
	    config_key_set(reader, "min-version", "TLS1.3") < 0 ||
	    config_key_set(reader, "records", "kernel") < 0 ||
	    // Before the other, to be taken where both would do.
	    pair_apply(reader, role, PQ_CERTIFICATE) < 0 ||
	    pair_apply(reader, role, CERTIFICATE) < 0)
		return -1;
	return role->values[CRL].text
		   ? set(reader, role->values[CRL].line, "revocation-list", role->values[CRL].text)
		   : 0;
}

static int client_apply(struct config_reader *reader, const struct role *role)
{
	const struct value *trust = &role->values[TRUST];

	reader->line = role->line;
	if (config_section_begin(reader, "profile " CLIENT_PROFILE) < 0 ||
	    role_apply(reader, role, "client") < 0 ||
	    set(reader, trust->line, "trust", trust->text ? trust->text : "system") < 0)
		return -1;
	return 0;
}

// Whose keys lie in .nvme: nothing of the file is about them.
static int nvme_apply(struct config_reader *reader)
{
	static const char *const profiles[][2] = {{"profile tlshd-nvme", "client"},
						  {"profile tlshd-nvmet", "server"}};

	for (int i = 0; i < 2; i++)
		if (config_section_begin(reader, profiles[i][0]) < 0 ||
		    config_key_set(reader, "role", profiles[i][1]) < 0 ||
		    config_key_set(reader, "kernel-psk", "yes") < 0 ||
		    config_key_set(reader, "min-version", "TLS1.3") < 0 ||
		    config_key_set(reader, "records", "kernel") < 0)
			return -1;
	return 0;
}

// Without a trust store tlshd takes any client that an authority of the system's store has certified. Here
// such a server asks for no certificate: "tls" works, and "mtls" is refused until the store is named.
static int server_apply(struct config_reader *reader, const struct role *role)
{
	const struct value *trust = &role->values[TRUST], *crl = &role->values[CRL];

	reader->line = crl->line;
	if (crl->text && !trust->text)
		return config_problem(reader,
				      "x509.crl = \"%s\": [authenticate.server] has no"
				      " x509.truststore, so no client is asked for a certificate;"
				      " name the authorities that certify your clients",
				      crl->text);
	reader->line = role->line;
	if (config_section_begin(reader, "profile " SERVER_PROFILE) < 0 ||
	    role_apply(reader, role, "server") < 0)
		return -1;
	if (!trust->text)
		return 0;
	return set(reader, trust->line, "trust", trust->text) < 0
		   ? -1
		   : set(reader, trust->line, "client-certificates", "request");
}

// Since 1.4 tlshd can be built to tell the kernel names ("tags") for what a peer's certificate says. No
// released kernel takes them, so that nothing would be decided by what they say.
static int tags_check(struct config_reader *reader)
{
	const char *end = strrchr(reader->path, '/') + 1;
	struct dirent *entry;
	char *path;
	DIR *directory;
	int error = 0;

	if (asprintf(&path, "%.*stags.d", (int)(end - reader->path), reader->path) < 0)
		return problem_set(reader->problem, "out of memory");
	directory = opendir(path);
	if (!directory && errno != ENOENT)
		error = problem_set(reader->problem, "\"%s\" cannot be looked at: %m", path);
	while (error == 0 && directory && (entry = readdir(directory))) {
		const char *suffix = strrchr(entry->d_name, '.');

		if (suffix && (!strcmp(suffix, ".yaml") || !strcmp(suffix, ".yml")))
			error = problem_set(
			    reader->problem,
			    "%s/%s defines session tags, which no released kernel takes, so that"
			    " nothing would keep to it; remove the file, and say whose"
			    " certificates are good with allow-peer in a profile of"
			    " handshaked.conf(5)",
			    path, entry->d_name);
	}
	if (directory)
		closedir(directory);
	free(path);
	return error;
}

static int apply(struct config_reader *reader, const struct tlshd *tlshd)
{
	const struct role *server = &tlshd->server;
	bool serves = server->values[CERTIFICATE].text || server->values[PRIVATE_KEY].text ||
		      server->values[PQ_CERTIFICATE].text || server->values[PQ_PRIVATE_KEY].text;

	if (tags_check(reader) < 0 || debug_apply(reader, tlshd) < 0)
		return -1;
	reader->line = 1;
	if (config_section_begin(reader, "kernel") < 0 ||
	    config_key_set(reader, "nfs", CLIENT_PROFILE) < 0 ||
	    (serves && config_key_set(reader, "nfsd", SERVER_PROFILE) < 0) ||
	    config_key_set(reader, "nvme", "tlshd-nvme") < 0 ||
	    config_key_set(reader, "nvmet", "tlshd-nvmet") < 0 ||
	    keyrings_apply(reader, tlshd) < 0 || nvme_apply(reader) < 0 ||
	    client_apply(reader, &tlshd->client) < 0 ||
	    (serves && server_apply(reader, server) < 0))
		return -1;
	reader->line = serves ? server->line : tlshd->client.line;
	return config_section_end(reader);
}

static void tlshd_done(struct tlshd *tlshd)
{
	for (int i = 0; i < MATERIALS; i++) {
		free(tlshd->client.values[i].text);
		free(tlshd->server.values[i].text);
	}
	free(tlshd->log_level.text);
	free(tlshd->tls_level.text);
	free(tlshd->netlink_level.text);
	free(tlshd->keyrings.text);
}

int config_tlshd_read(struct config_reader *reader, const char *path)
{
	struct tlshd tlshd = {
	    .client = {.section = "authenticate.client", .line = 1},
	    .server = {.section = "authenticate.server", .line = 1},
	};
	int error;

	if (reader->config->kernel.line)
		return config_problem_at(reader, reader->config->kernel.line,
					 "[kernel] is not for a configuration beside one of tlshd"
					 " (--tlshd-config), which says how the kernel is served;"
					 " remove one of the two");
	reader->config->tlshd_path = realpath(path, NULL);
	if (!reader->config->tlshd_path)
		return problem_set(reader->problem,
				   "tlshd's configuration \"%s\" cannot be opened: %m", path);
	reader->path = reader->config->tlshd_path;
	error = file_take(reader, &tlshd);
	if (error == 0)
		error = apply(reader, &tlshd);
	tlshd_done(&tlshd);
	return error;
}
