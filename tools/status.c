// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake status": the daemon's state and counters, in groups for a person or as JSON. Touches
 * the daemon's socket and stdout. Never changes anything.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon-status.h"
#include "display.h"
#include "options.h"
#include "tool.h"

#define TOOL      "handshake status"
#define INDENT    "  "
#define KEY_WIDTH 28
/* "NAME requests=N …": one line for each network namespace whose consumers the daemon serves. */
#define KEY_NAMESPACE "kernel-namespace"

/* A key belongs to the first group that has a word which the key is or begins with. What belongs to
 * none, as from a newer daemon, comes last. */
enum { WORDS = 8 };

static const struct group {
	const char *title;
	const char *words[WORDS + 1];
} groups[] = {
    {"Daemon",
     {"version", "gnutls", "pid", "uptime", "generation", "profile", "config", "key-log", NULL}},
    {"Kernel", {"kernel-tls", "kernel-key-updates", "kernel-reason", "kernel-cipher", NULL}},
    {"Certificates", {"certificate", "staple", NULL}},
    {"Now",
     {"clients", "listenings", "handshakes-under-way", "kernel-requests-under-way", "relayed",
      "sessions-parked", NULL}},
    {"Kernel's consumers", {"kernel-requests", KEY_NAMESPACE, NULL}},
    {"Handshakes", {"handshakes-", "handshake-", "connections-", "early-data-", NULL}},
    {"Resumption", {"resumption-", "resumed-", "tickets-", "sessions-", NULL}},
    {"Failures", {"failed-", NULL}},
    {"Versions and records", {"tls1", "kernel-records", "relay-", "nic-", "zero-copy-", NULL}},
    {"Key updates", {"key-updates-", NULL}},
    {"Processes", {"worker", "relay", "reload", NULL}},
};
enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };

struct settings {
	const char *socket;
	bool json;
	uint64_t watch_ms; /* 0: once */
};

static void usage(void)
{
	printf("Usage: handshake status [OPTIONS]\n\n"
	       "Shows the daemon's state and counters.\n\n"
	       "  --json           as one JSON object on one line\n"
	       "  --watch SECONDS  again and again, until interrupted\n"
	       "  --socket PATH    the daemon's socket (default: $HANDSHAKED_SOCKET, else\n"
	       "                   %s)\n"
	       "  --help           this text\n",
	       HANDSHAKE_SOCKET_DEFAULT);
}

/* The position of the key's group, GROUPS if it has none. The longest word decides, so that
 * "handshakes-under-way" is no "handshakes-". */
static size_t group_find(const char *key)
{
	size_t found = GROUPS, longest = 0;

	for (size_t i = 0; i < GROUPS; i++) {
		for (size_t j = 0; j < WORDS && groups[i].words[j]; j++) {
			size_t length = strlen(groups[i].words[j]);

			if (length > longest && strncmp(key, groups[i].words[j], length) == 0) {
				longest = length;
				found = i;
			}
		}
	}
	return found;
}

static bool field_hidden(const char *key)
{
	return strcmp(key, HANDSHAKE_KEY_ID) == 0;
}

static void status_print(const struct message *message)
{
	bool first = true;

	for (size_t group = 0; group <= GROUPS; group++) {
		bool titled = false;

		for (size_t i = 0; i < message->field_count; i++) {
			const char *key = message->fields[i].key;

			if (field_hidden(key) || group_find(key) != group)
				continue;
			if (!titled)
				printf("%s%s\n", first ? "" : "\n",
				       group < GROUPS ? groups[group].title : "More");
			titled = true;
			first = false;
			printf(INDENT);
			display_text(stdout, key);
			printf(":%*s", (int)(strlen(key) < KEY_WIDTH ? KEY_WIDTH - strlen(key) : 1),
			       "");
			display_text(stdout, message->fields[i].value);
			putchar('\n');
		}
	}
}

/* The name under "name", and each word behind it by itself. */
static json_t *namespace_json(const char *value)
{
	size_t length = strcspn(value, " ");
	json_t *object = json_object();
	char *name = strndup(value, length);

	/* A file's name, which need not be UTF-8. */
	json_object_set_new(object, "name", name ? display_json_string(name) : NULL);
	free(name);
	for (value += length; *value; value += length) {
		char word[64], *equals;

		value += strspn(value, " ");
		length = strcspn(value, " ");
		snprintf(word, sizeof(word), "%.*s", (int)length, value);
		equals = strchr(word, '=');
		if (!equals)
			continue;
		*equals = '\0';
		json_object_set_new(object, word, display_json_value(equals + 1));
	}
	return object;
}

static int status_print_json(const struct message *message)
{
	json_t *object = json_object();

	for (size_t i = 0; i < message->field_count; i++) {
		const char *key = message->fields[i].key;
		bool is_namespace = strcmp(key, KEY_NAMESPACE) == 0;
		json_t *value, *before;

		if (field_hidden(key))
			continue;
		value = is_namespace ? namespace_json(message->fields[i].value)
				     : display_json_value(message->fields[i].value);
		before = json_object_get(object, key);
		/* A list, even if it is the only one. */
		if (is_namespace && !before) {
			before = json_array();
			json_object_set_new(object, key, before);
		}
		if (json_is_array(before)) {
			json_array_append_new(before, value);
		} else if (before) { /* a key that is repeated */
			json_t *array = json_array();

			json_array_append(array, before);
			json_array_append_new(array, value);
			json_object_set_new(object, key, array);
		} else {
			json_object_set_new(object, key, value);
		}
	}
	return display_json(stdout, object);
}

/* What must not be overlooked. */
static void status_warn(const struct message *message)
{
	const char *key_log = message_get(message, "key-log", 0);

	if (!key_log)
		return;
	printf("\nWARNING: the secrets of all connections are written to \"");
	display_text(stdout, key_log);
	printf("\" (key-log)\n");
}

static int settings_read(int argc, char **argv, struct settings *settings)
{
	enum { JSON = 256, WATCH, SOCKET };
	static const struct option options[] = {
	    {"json", no_argument, NULL, JSON},
	    {"watch", required_argument, NULL, WATCH},
	    {"socket", required_argument, NULL, SOCKET},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct options_problem problem;
	int option;

	while ((option = options_next(TOOL, argc, argv, options)) != -1) {
		switch (option) {
		case JSON:
			settings->json = true;
			break;
		case WATCH:
			if (options_read_time(optarg, 1000, 100, 86400000, &settings->watch_ms,
					      &problem) < 0)
				return options_refuse(TOOL, "--watch: %s", problem.text);
			break;
		case SOCKET:
			settings->socket = optarg;
			break;
		case 'h':
			usage();
			return -1;
		default:
			return TOOL_USAGE;
		}
	}
	if (optind < argc)
		return options_refuse(TOOL, "\"%s\" is too much: there are options alone",
				      argv[optind]);
	return TOOL_OK;
}

static int status_show(const struct settings *settings)
{
	struct message message;
	char error[512];
	int r = daemon_status_ask(settings->socket, &message, error, sizeof(error));

	if (r < 0) {
		fprintf(stderr, "%s: ", TOOL);
		display_text(stderr, error);
		fputc('\n', stderr);
	} else if (settings->json) {
		r = status_print_json(&message);
	} else {
		if (settings->watch_ms && isatty(STDOUT_FILENO))
			printf("\033[H\033[J");
		status_print(&message);
		status_warn(&message);
		if (settings->watch_ms && !isatty(STDOUT_FILENO))
			putchar('\n');
	}
	if (r == 0 && fflush(stdout) == EOF) {
		fprintf(stderr, "%s: cannot write to standard output: %m\n", TOOL);
		r = -1;
	}
	return r;
}

int status_main(int argc, char **argv)
{
	struct settings settings = {0};
	int r = settings_read(argc, argv, &settings);

	if (r)
		return r < 0 ? TOOL_OK : r;
	for (;;) {
		struct timespec pause = {
		    .tv_sec = (time_t)(settings.watch_ms / 1000),
		    .tv_nsec = (long)(settings.watch_ms % 1000) * 1000000,
		};

		r = status_show(&settings);
		/* While watching, a daemon that is away for a moment does not end it. */
		if (!settings.watch_ms || (r < 0 && ferror(stdout)))
			return r < 0 ? TOOL_FAILURE : TOOL_OK;
		nanosleep(&pause, NULL);
	}
}

int status_show_if_there(void)
{
	struct message message;
	char error[512];
	int r = daemon_status_ask(NULL, &message, error, sizeof(error));

	if (r == 0) {
		status_print(&message);
		status_warn(&message);
	}
	return r < 0 ? -1 : TOOL_OK;
}
