// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [daemon], their defaults, and the user that workers become. May look users and groups
// up; opens nothing, and never lets workers be root.
#include "config-reader.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "handshake-protocol.h"

#define DEFAULT_USER "handshaked"

enum {
	MOST_PROCESSES = 256,
	MOST_PLACES = 1000000,
	MOST_STOP_MS = 600000,
};

static int read_workers(struct config_reader *reader, const char *value)
{
	if (!strcmp(value, "auto")) {
		reader->config->workers = 0;
		return 0;
	}
	if (value[0] < '0' || value[0] > '9')
		return config_problem(reader,
				      "workers = \"%s\": a whole number from 1 to %d, or \"auto\""
				      " (one per processor), is needed",
				      value, MOST_PROCESSES);
	return config_value_number(reader, value, 0, MOST_PROCESSES, &reader->config->workers);
}

static int read_relays(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PROCESSES, &reader->config->relays);
}

static int read_socket(struct config_reader *reader, const char *value)
{
	if (config_value_path(reader, value, &reader->config->socket) < 0)
		return -1;
	if (strlen(reader->config->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return config_problem(
		    reader, "socket = \"%s\": a Unix socket's path has at most %zu bytes",
		    reader->config->socket, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return 0;
}

static int read_socket_mode(struct config_reader *reader, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (value[0] < '0' || value[0] > '7' || *end || mode > 0777)
		return config_problem(reader,
				      "socket-mode = \"%s\": an octal number such as 0660 is"
				      " needed, at most 0777",
				      value);
	reader->config->socket_mode = (mode_t)mode;
	return 0;
}

static int read_socket_group(struct config_reader *reader, const char *value)
{
	return config_value_group(reader, value, &reader->config->socket_group);
}

static int read_user(struct config_reader *reader, const char *value)
{
	if (!*value)
		return config_problem(reader, "user has no value; write a user's name");
	reader->user = strdup(value);
	if (!reader->user)
		return config_problem(reader, "out of memory");
	reader->user_line = reader->line;
	return 0;
}

static int read_handshakes_total(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PLACES,
				   &reader->config->handshakes_total);
}

static int read_handshakes_per_user(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PLACES,
				   &reader->config->handshakes_per_user);
}

static int read_clients_total(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PLACES, &reader->config->clients_total);
}

static int read_relayed_total(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PLACES, &reader->config->relayed_total);
}

static int read_relayed_per_user(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, MOST_PLACES,
				   &reader->config->relayed_per_user);
}

static int read_stop_timeout(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 0, MOST_STOP_MS,
				   &reader->config->stop_timeout_ms);
}

static int read_log_level(struct config_reader *reader, const char *value)
{
	int level;

	if (config_value_word(reader, value, config_log_level_words, &level) < 0)
		return -1;
	reader->config->log_level = (enum config_log_level)level;
	return 0;
}

static int read_watch(struct config_reader *reader, const char *value)
{
	return config_value_boolean(reader, value, config_boolean_words, &reader->config->watch);
}

const struct config_key config_daemon_keys[] = {
    {.name = "workers", .read = read_workers},
    {.name = "relays", .read = read_relays},
    {.name = "socket", .read = read_socket},
    {.name = "socket-mode", .read = read_socket_mode},
    {.name = "socket-group", .read = read_socket_group},
    {.name = "user", .read = read_user},
    {.name = "handshakes-total", .read = read_handshakes_total},
    {.name = "handshakes-per-user", .read = read_handshakes_per_user},
    {.name = "clients-total", .read = read_clients_total},
    {.name = "relayed-total", .read = read_relayed_total},
    {.name = "relayed-per-user", .read = read_relayed_per_user},
    {.name = "stop-timeout-ms", .read = read_stop_timeout},
    {.name = "log-level", .read = read_log_level},
    {.name = "watch", .read = read_watch},
    {},
};

int config_daemon_defaults(struct config_reader *reader)
{
	struct config *config = reader->config;

	config->relays = 1;
	config->watch = true;
	config->socket = strdup(HANDSHAKE_SOCKET_DEFAULT);
	config->socket_mode =
	    0666; // Who may do what is each profile's "allow", not the socket's mode.
	config->socket_group = (gid_t)-1;
	config->handshakes_total = 4096;
	config->handshakes_per_user = 1024;
	config->clients_total = 1024;
	config->relayed_total = 1024;
	config->relayed_per_user = 256;
	config->stop_timeout_ms = 5000;
	config->log_level = CONFIG_LOG_INFO;
	config_resumption_defaults(config);
	return config->socket ? 0 : problem_set(reader->problem, "out of memory");
}

static unsigned processor_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return 1;
}

// What workers become. Only root can become somebody else: otherwise the daemon stays who it is.
static int user_find(struct config_reader *reader)
{
	struct config *config = reader->config;

	config->user = reader->user ? reader->user : strdup(DEFAULT_USER);
	if (!config->user)
		return problem_set(reader->problem, "out of memory");
	if (geteuid() != 0) {
		config->uid = geteuid();
		config->gid = getegid();
		reader->user = NULL;
		return 0;
	}
	if (!reader->user) {
		struct problem ignored = {};
		struct config_reader quiet = *reader;

		quiet.problem = &ignored;
		quiet.word = "user";
		if (config_value_user(&quiet, DEFAULT_USER, &config->uid, &config->gid) < 0)
			return problem_set(reader->problem,
					   "%s: there is no user \"" DEFAULT_USER "\" for the"
					   " workers, which may not run as root; create it (useradd"
					   " --system --shell /usr/sbin/nologin " DEFAULT_USER
					   ") or set \"user\" in [daemon]",
					   config->path);
	} else {
		reader->user = NULL; // The configuration owns it now.
		reader->word = "user";
		reader->line = reader->user_line;
		if (config_value_user(reader, config->user, &config->uid, &config->gid) < 0)
			return -1;
	}
	if (config->uid == 0)
		return config_problem_at(reader, reader->user_line,
					 "user = \"%s\" is root; workers meet the network and must"
					 " not be root",
					 config->user);
	return 0;
}

int config_daemon_finish(struct config_reader *reader)
{
	struct config *config = reader->config;

	if (config->workers == 0)
		config->workers = processor_count();
	if (config->workers > MOST_PROCESSES)
		config->workers = MOST_PROCESSES;
	if (user_find(reader) < 0)
		return -1;
	config_signer_finish(config);
	return 0;
}
