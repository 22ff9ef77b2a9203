// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake trace": the handshakes of the daemon as they end, drawn. Touches the daemon's socket, standard
 * output and the picture. Never changes anything, and never holds the daemon up: what it does not take in
 * time is lost, and told.
 */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "daemon-status.h"
#include "display.h"
#include "handshake-protocol.h"
#include "options.h"
#include "tool.h"
#include "trace-show.h"

#define TOOL "handshake trace"

struct settings {
	const char *profile, *peer, *role, *svg, *socket;
	bool user_given, failed, json;
	uid_t user;
	uint64_t count; /* 0: until interrupted */
};

static void usage(void)
{
	printf(
	    "Usage: handshake trace [OPTIONS]\n\n"
	    "Draws the daemon's handshakes, those of all programs, as they end; for root and "
	    "those\n"
	    "whom the daemon's configuration names in \"trace-allow\".\n\n"
	    "  --user USER     only those that this user's programs asked for\n"
	    "  --profile NAME  only those of this profile\n"
	    "  --peer ADDRESS  only those with this peer: ADDRESS, ADDRESS:PORT, [ADDRESS6]:PORT\n"
	    "  --role ROLE     only those as client, or as server\n"
	    "  --failed        only those that came to no connection\n"
	    "  --count N       end after so many\n"
	    "  --json          each as one JSON object on one line\n"
	    "  --svg FILE      draw each into this file, too: the last one stays\n"
	    "  --socket PATH   the daemon's socket (default: $HANDSHAKED_SOCKET, else\n"
	    "                  %s)\n"
	    "  --help          this text\n",
	    HANDSHAKE_SOCKET_DEFAULT);
}

static int user_read(const char *text, struct settings *settings)
{
	struct options_problem problem;
	uint64_t number;
	const struct passwd *entry = getpwnam(text);

	if (entry)
		settings->user = entry->pw_uid;
	else if (options_read_number(text, 0, UINT32_MAX - 1, &number, &problem) == 0)
		settings->user = (uid_t)number;
	else
		return options_refuse(TOOL, "--user: there is no user \"%s\"", text);
	settings->user_given = true;
	return 0;
}

enum { USER = 256, PROFILE, PEER, ROLE, FAILED, COUNT, JSON, SVG, SOCKET };

static int settings_take(struct settings *settings, int option)
{
	struct options_problem problem;

	switch (option) {
	case USER:
		return user_read(optarg, settings);
	case PROFILE:
		settings->profile = optarg;
		return 0;
	case PEER:
		settings->peer = optarg;
		return 0;
	case ROLE:
		settings->role = optarg;
		return 0;
	case FAILED:
		settings->failed = true;
		return 0;
	case COUNT:
		if (options_read_number(optarg, 1, INT32_MAX, &settings->count, &problem) < 0)
			return options_refuse(TOOL, "--count: %s", problem.text);
		return 0;
	case JSON:
		settings->json = true;
		return 0;
	case SVG:
		settings->svg = optarg;
		return 0;
	case SOCKET:
		settings->socket = optarg;
		return 0;
	case 'h':
		usage();
		return -1;
	default:
		return TOOL_USAGE;
	}
}

/* 0, an exit status, or -1: help was asked for and given. */
static int settings_read(int argc, char **argv, struct settings *settings)
{
	static const struct option options[] = {
	    {"user", required_argument, NULL, USER},
	    {"profile", required_argument, NULL, PROFILE},
	    {"peer", required_argument, NULL, PEER},
	    {"role", required_argument, NULL, ROLE},
	    {"failed", no_argument, NULL, FAILED},
	    {"count", required_argument, NULL, COUNT},
	    {"json", no_argument, NULL, JSON},
	    {"svg", required_argument, NULL, SVG},
	    {"socket", required_argument, NULL, SOCKET},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	int option, r;

	while ((option = options_next(TOOL, argc, argv, options)) != -1) {
		r = settings_take(settings, option);
		if (r)
			return r;
	}
	if (optind < argc)
		return options_refuse(TOOL, "\"%s\" is too much: there are options alone",
				      argv[optind]);
	return 0;
}

/* ---- What the daemon sends ----------------------------------------------------------------- */

static int fail(const char *what)
{
	fprintf(stderr, "%s: ", TOOL);
	display_text(stderr, what);
	fputc('\n', stderr);
	return -1;
}

/* The trace's text, to be freed; NULL after it was said what is wrong. */
static char *text_read(int fd, size_t *ret_size)
{
	struct stat status;
	char *text;

	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
	    status.st_size > HANDSHAKE_TRACE_SIZE)
		return fail("the daemon sent no trace that can be read"), NULL;
	text = malloc((size_t)status.st_size + 1);
	if (!text)
		return fail("there is no memory for the trace"), NULL;
	if (pread(fd, text, (size_t)status.st_size, 0) != status.st_size) {
		free(text);
		return fail("the trace cannot be read"), NULL;
	}
	text[status.st_size] = '\0';
	*ret_size = (size_t)status.st_size;
	return text;
}

/* Written anew: in ASCII alone, as a peer's words may have what a terminal takes for a command. */
static int trace_print_json(const char *text, size_t size)
{
	json_t *trace = json_loadb(text, size, JSON_ALLOW_NUL, NULL);

	if (!trace)
		return fail("the daemon sent a trace that is no JSON");
	return display_json(stdout, trace) < 0 ? fail("cannot write to standard output") : 0;
}

static int trace_take(const struct settings *settings, struct message *message)
{
	const char *lost = message_get(message, HANDSHAKE_KEY_LOST, 0);
	_cleanup_close_ int fd = message->fd_count > 0 ? message_take_fd(message, 0) : -1;
	size_t size;
	char *text;
	int r = 0;

	if (lost && strcmp(lost, "0") != 0) {
		fprintf(stderr, "%s: ", TOOL);
		display_text(stderr, lost);
		fprintf(stderr, " handshakes before this one came too fast and are lost\n");
	}
	text = text_read(fd, &size);
	if (!text)
		return -1;
	if (settings->json)
		r = trace_print_json(text, size);
	if (r == 0)
		r = trace_show(TOOL, text, size, settings->json ? NULL : stdout, settings->svg);
	if (r == 0 && !settings->json)
		putchar('\n');
	free(text);
	return r;
}

static int trace_ask(int fd, const struct settings *settings)
{
	struct message_writer writer;
	int r;

	message_begin(&writer, HANDSHAKE_OP_TRACE);
	message_add_number(&writer, HANDSHAKE_KEY_ID, 1);
	if (settings->user_given)
		message_add_number(&writer, HANDSHAKE_KEY_USER, settings->user);
	message_add(&writer, HANDSHAKE_KEY_PROFILE, settings->profile);
	message_add(&writer, HANDSHAKE_KEY_ROLE, settings->role);
	message_add(&writer, HANDSHAKE_KEY_PEER, settings->peer);
	message_add(&writer, HANDSHAKE_KEY_FAILED, settings->failed ? "yes" : NULL);
	r = message_send(fd, &writer, NULL, 0);
	if (r == 0)
		return 0;
	fprintf(stderr, "%s: cannot ask the daemon: %s\n", TOOL, strerror(-r));
	return -1;
}

/* Waits for a packet. 1, or -1 after it was said what is wrong. */
static int packet_await(int fd, struct message *message)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	char wrong[256];
	int r;

	do {
		while (poll(&polled, 1, -1) < 0 && errno == EINTR)
			;
		r = message_receive(fd, message);
	} while (r == -EAGAIN);
	if (r <= 0)
		return fail("the daemon has ended the tracing");
	if (message_parse(message, wrong, sizeof(wrong)) < 0)
		return fail(wrong);
	return 1;
}

static int trace_follow(int fd, const struct settings *settings)
{
	struct message message;
	uint64_t count = 0;
	int r = 0;

	while (r == 0 && (!settings->count || count < settings->count)) {
		const char *error;

		r = packet_await(fd, &message) < 0 ? -1 : 0;
		error = r == 0 ? message_get(&message, HANDSHAKE_KEY_ERROR, 0) : NULL;
		if (error) {
			r = fail(error);
		} else if (r == 0 && strcmp(message.operation, HANDSHAKE_OP_TRACE) == 0) {
			r = trace_take(settings, &message);
			count++;
		}
		message_done(&message);
	}
	return r;
}

int trace_main(int argc, char **argv)
{
	struct settings settings = {0};
	char error[512];
	_cleanup_close_ int fd = -1;
	int r = settings_read(argc, argv, &settings);

	if (r)
		return r < 0 ? TOOL_OK : r;
	setlocale(LC_CTYPE, "");
	fd = daemon_connect(settings.socket, error, sizeof(error));
	if (fd < 0)
		return fail(error), TOOL_FAILURE;
	if (trace_ask(fd, &settings) < 0 || trace_follow(fd, &settings) < 0)
		return TOOL_FAILURE;
	return TOOL_OK;
}
