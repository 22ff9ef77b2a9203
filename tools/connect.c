// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake connect": standard input and output over a TLS connection that the daemon made. Touches
 * the resolver, one TCP socket and the standard streams. Never calls a cut-off connection a success.
 */
#include "connect.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "display.h"
#include "handshake-protocol.h"
#include "options.h"
#include "tool.h"
#include "trace-show.h"

#define TOOL            "handshake connect"
#define DIAL_TIMEOUT_MS 30000 /* unless --timeout-ms says otherwise */

struct settings {
	struct options_address address;
	const char *peer_name; /* NULL: the host */
	const char *profile, *alpn, *psk_identity, *socket, *early_data, *svg;
	enum handshake_records records;
	uint64_t timeout_ms; /* 0: the profile's */
	bool info, json, no_data, keep_open, no_resume, trace;
};

static void usage(void)
{
	printf(
	    "Usage: handshake connect HOST:PORT [OPTIONS]\n\n"
	    "Connects standard input and output to a TLS server.\n\n"
	    "  --peer-name NAME   the name that the server must prove (default: HOST)\n"
	    "  --profile NAME     the daemon's profile (default: \"default\")\n"
	    "  --alpn LIST        application protocols, separated by commas\n"
	    "  --psk-identity ID  which of the profile's pre-shared keys to use\n"
	    "  --timeout-ms N     for connecting and for the handshake, each\n"
	    "  --records PATH     kernel or relay (default: as the profile says)\n"
	    "  --no-resume        take up no session again, and keep none for later\n"
	    "  --early-data FILE  send it with the first flight if the profile and a ticket allow\n"
	    "                     it, else as the first data\n"
	    "  --info             tell all that is known about the connection on stderr\n"
	    "  --json             the same as one JSON object\n"
	    "  --trace            draw the handshake, on stderr (with --no-data: stdout); with "
	    "--json\n"
	    "                     put its events into the object instead\n"
	    "  --svg FILE         draw the handshake into this file\n"
	    "  --no-data          connect, tell on stdout, close; no data is moved\n"
	    "  --keep-open        send no close_notify when standard input ends\n"
	    "  --socket PATH      the daemon's socket (default: $HANDSHAKED_SOCKET, else\n"
	    "                     %s)\n"
	    "  --help             this text\n\n"
	    "Exits with 0 when the peer ended the connection with close_notify, 1 on other ends,\n"
	    "2 on wrong usage, 3 when the handshake left the connection untouched, 4 when it\n"
	    "left it poisoned.\n",
	    HANDSHAKE_SOCKET_DEFAULT);
}

enum {
	PEER_NAME = 256,
	PROFILE,
	ALPN,
	TIMEOUT,
	RECORDS,
	EARLY_DATA,
	NO_RESUME,
	PSK_IDENTITY,
	INFO,
	JSON,
	NO_DATA,
	KEEP_OPEN,
	TRACE,
	SVG,
	SOCKET
};

static int settings_take(struct settings *settings, int option)
{
	struct options_problem problem;

	switch (option) {
	case PEER_NAME:
		settings->peer_name = optarg;
		break;
	case PROFILE:
		settings->profile = optarg;
		break;
	case ALPN:
		settings->alpn = optarg;
		break;
	case PSK_IDENTITY:
		settings->psk_identity = optarg;
		break;
	case TIMEOUT:
		if (options_read_time(optarg, 1, 1, INT32_MAX, &settings->timeout_ms, &problem) < 0)
			return options_refuse(TOOL, "--timeout-ms: %s", problem.text);
		break;
	case RECORDS:
		if (options_read_records(optarg, &settings->records, &problem) < 0)
			return options_refuse(TOOL, "--records: %s", problem.text);
		break;
	case EARLY_DATA:
		settings->early_data = optarg;
		break;
	case NO_RESUME:
		settings->no_resume = true;
		break;
	case INFO:
		settings->info = true;
		break;
	case JSON:
		settings->json = true;
		break;
	case NO_DATA:
		settings->no_data = true;
		break;
	case KEEP_OPEN:
		settings->keep_open = true;
		break;
	case TRACE:
		settings->trace = true;
		break;
	case SVG:
		settings->svg = optarg;
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
	return 0;
}

/* 0, an exit status, or -1: help was asked for and given. */
static int settings_read(int argc, char **argv, struct settings *settings)
{
	static const struct option options[] = {
	    {"peer-name", required_argument, NULL, PEER_NAME},
	    {"profile", required_argument, NULL, PROFILE},
	    {"alpn", required_argument, NULL, ALPN},
	    {"psk-identity", required_argument, NULL, PSK_IDENTITY},
	    {"timeout-ms", required_argument, NULL, TIMEOUT},
	    {"records", required_argument, NULL, RECORDS},
	    {"early-data", required_argument, NULL, EARLY_DATA},
	    {"no-resume", no_argument, NULL, NO_RESUME},
	    {"info", no_argument, NULL, INFO},
	    {"json", no_argument, NULL, JSON},
	    {"no-data", no_argument, NULL, NO_DATA},
	    {"keep-open", no_argument, NULL, KEEP_OPEN},
	    {"trace", no_argument, NULL, TRACE},
	    {"svg", required_argument, NULL, SVG},
	    {"socket", required_argument, NULL, SOCKET},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct options_problem problem;
	int option;

	while ((option = options_next(TOOL, argc, argv, options)) != -1) {
		int r = settings_take(settings, option);
		if (r)
			return r;
	}
	if (optind + 1 != argc)
		return options_refuse(TOOL,
				      optind < argc ? "\"%s\" is too much: one HOST:PORT is wanted"
						    : "HOST:PORT is missing%s",
				      optind < argc ? argv[optind + 1] : "");
	if (options_read_address(argv[optind], &settings->address, &problem) < 0)
		return options_refuse(TOOL, "%s", problem.text);
	if (!settings->address.host[0] || strcmp(settings->address.port, "0") == 0)
		return options_refuse(TOOL, "\"%s\" names no host and port to connect to",
				      argv[optind]);
	return 0;
}

/* What the daemon would refuse for its form is refused here already. 0 or an exit status. */
static int request_prepare(struct handshake *handshake, const struct settings *settings,
			   struct connect_early *ret_early)
{
	const char *name = settings->peer_name ? settings->peer_name : settings->address.host;
	char plain[sizeof(settings->address.host)];

	if (!settings->peer_name) {
		/* The name as certificates have it: no final dot (RFC 6066, 3), no zone of an address. */
		snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(name, "%"), name);
		if (plain[0] && plain[strlen(plain) - 1] == '.')
			plain[strlen(plain) - 1] = '\0';
		name = plain;
	}
	if (handshake_set_peer_name(handshake, name) < 0)
		return options_refuse(TOOL, "\"%s\" cannot be a peer's name: %s", name,
				      handshake_error(handshake));
	if (settings->profile && handshake_set_profile(handshake, settings->profile) < 0)
		return options_refuse(TOOL, "\"%s\" cannot be a profile's name: %s",
				      settings->profile, handshake_error(handshake));
	if (settings->alpn && handshake_set_alpn(handshake, settings->alpn) < 0)
		return options_refuse(TOOL, "\"%s\" is no list of application protocols: %s",
				      settings->alpn, handshake_error(handshake));
	if (settings->psk_identity &&
	    handshake_set_psk_identity(handshake, settings->psk_identity) < 0)
		return options_refuse(TOOL, "\"%s\" cannot be the identity of a pre-shared key: %s",
				      settings->psk_identity, handshake_error(handshake));
	if (handshake_set_timeout(handshake, (uint32_t)settings->timeout_ms) < 0 ||
	    handshake_set_records(handshake, settings->records) < 0 ||
	    (settings->no_resume && handshake_set_resume(handshake, 0) < 0) ||
	    handshake_set_trace(handshake, settings->trace || settings->svg) < 0)
		return options_refuse(TOOL, "the request cannot be made: %s", strerror(errno));
	return settings->early_data
		   ? connect_early_prepare(handshake, settings->early_data, ret_early)
		   : 0;
}

/* What was drawn into a file that cannot be written is told, and is no reason to end. */
static void trace_tell(const struct handshake *handshake, const struct settings *settings)
{
	size_t size;
	const char *text = handshake_trace(handshake, &size);
	FILE *stream = settings->no_data ? stdout : stderr;

	if (text && (settings->svg || (settings->trace && !settings->json)))
		trace_show(TOOL, text, size, settings->trace && !settings->json ? stream : NULL,
			   settings->svg);
}

static int failure_tell(const struct handshake *handshake, const struct settings *settings)
{
	const enum handshake_outcome outcome = handshake_outcome(handshake);
	static const char *const keys[] = {
	    HANDSHAKE_KEY_CLASS,        HANDSHAKE_KEY_ALERT, HANDSHAKE_KEY_ALERT_DIRECTION,
	    HANDSHAKE_KEY_VERIFICATION, HANDSHAKE_KEY_RETRY,
	};

	fprintf(stderr, "%s: ", TOOL);
	display_text(stderr, handshake_error(handshake));
	fprintf(stderr, "\noutcome: %s\n",
		outcome == HANDSHAKE_POISONED ? "poisoned" : "untouched");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = handshake_result(handshake, keys[i], 0);

		if (!value)
			continue;
		fprintf(stderr, "%s: ", keys[i]);
		display_text(stderr, value);
		fputc('\n', stderr);
	}
	trace_tell(handshake, settings);
	if (settings->json)
		display_result_json(settings->no_data ? stdout : stderr, handshake);
	return outcome == HANDSHAKE_POISONED ? TOOL_POISONED : TOOL_UNTOUCHED;
}

/* 0 or -1. Without data, stdout is free for it and telling is the point. */
static int success_tell(const struct handshake *handshake, const struct settings *settings)
{
	FILE *stream = settings->no_data ? stdout : stderr;

	trace_tell(handshake, settings);
	if (settings->json)
		return display_result_json(stream, handshake);
	if (settings->info || (settings->no_data && !settings->trace))
		display_result(stream, handshake);
	return fflush(stream) == EOF ? -1 : 0;
}

static int end_tell(const struct connect_end *end)
{
	if (!end->error[0])
		return TOOL_OK;
	fprintf(stderr, "%s: ", TOOL);
	display_text(stderr, end->error);
	fprintf(stderr, " (%llu bytes were sent, %llu received)\n", (unsigned long long)end->sent,
		(unsigned long long)end->received);
	return TOOL_FAILURE;
}

static int connection_run(struct handshake *handshake, const struct settings *settings,
			  const struct connect_early *early)
{
	char error[512];
	struct connect_end end;
	_cleanup_close_ int fd = connect_dial(
	    settings->address.host, settings->address.port,
	    settings->timeout_ms ? settings->timeout_ms : DIAL_TIMEOUT_MS, error, sizeof(error));

	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", TOOL, error);
		return TOOL_FAILURE;
	}
	if (handshake_perform(handshake, settings->socket, fd) < 0)
		return failure_tell(handshake, settings);
	if (success_tell(handshake, settings) < 0) {
		fprintf(stderr, "%s: cannot write what is known: %s\n", TOOL, strerror(errno));
		return TOOL_FAILURE;
	}
	if (early->data && !settings->no_data && connect_early_send(handshake, fd, early) < 0)
		return TOOL_FAILURE;
	if (settings->no_data)
		return handshake_close_notify(handshake, fd) < 0 ? TOOL_FAILURE : TOOL_OK;
	connect_transfer(handshake, fd, settings->keep_open, &end);
	return end_tell(&end);
}

int connect_main(int argc, char **argv)
{
	struct settings settings = {0};
	struct connect_early early = {0};
	struct handshake *handshake;
	int status = settings_read(argc, argv, &settings);

	if (status)
		return status < 0 ? TOOL_OK : status;
	setlocale(LC_CTYPE, "");
	handshake = handshake_new();
	if (!handshake) {
		fprintf(stderr, "%s: %s\n", TOOL, strerror(errno));
		return TOOL_FAILURE;
	}
	status = request_prepare(handshake, &settings, &early);
	if (status == 0)
		status = connection_run(handshake, &settings, &early);
	handshake_free(handshake);
	free(early.data);
	return status;
}
