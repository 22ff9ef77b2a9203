// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake serve": an HTTPS file server that contains no TLS. The daemon makes the connections,
 * libmicrohttpd speaks HTTP on them, here both are set up and the loop turns. Touches the listening
 * socket, signals and the process's limits. Never accepts a connection itself.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "display.h"
#include "handshake-protocol.h"
#include "serve-file.h"
#include "tool.h"

#define STOP_MS          10000 /* what SIGTERM gives to responses under way */
#define TIMEOUT_MS       60000 /* unless --timeout says otherwise */
#define HTTP_MEMORY      32768 /* bytes for a connection's request and response header */
#define HTTP_TURNS       16    /* of the HTTP library before new connections have theirs */
#define FDS_OTHER        64    /* descriptors that no connection needs */
#define FDS_A_CONNECTION 3     /* the connection, its file, a relay's state */
#define FDS_WANTED       (FDS_OTHER + 20000 * FDS_A_CONNECTION)

static void usage(void)
{
	printf("Usage: handshake serve --listen ADDR:PORT --root DIR [OPTIONS]\n\n"
	       "Serves the files beneath DIR over HTTPS.\n\n"
	       "  --listen ADDR:PORT            where; [ADDR6]:PORT, and :PORT for all addresses\n"
	       "  --root DIR                    what\n"
	       "  --profile NAME                the daemon's profile (default: \"default\")\n"
	       "  --records PATH                kernel or relay (default: as the profile says)\n"
	       "  --require-client-certificate  although the profile does not\n"
	       "  --early-data                  answer GET and HEAD that come as such (0-RTT)\n"
	       "  --timeout SECONDS             for connections on which nothing moves (60)\n"
	       "  --update-after RECORDS        the key it sends with, sooner than it wears\n"
	       "  --log [FILE]                  a line for each request, to FILE or stdout\n"
	       "  --trace                       draw the handshake of each connection on stderr\n"
	       "  --quiet                       no line when ready, no notices\n"
	       "  --socket PATH                 the daemon's socket (default: $HANDSHAKED_SOCKET,\n"
	       "                                else %s)\n"
	       "  --help                        this text\n",
	       HANDSHAKE_SOCKET_DEFAULT);
}

void serve_say(const struct serve *serve, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	if (serve->settings->quiet)
		return;
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	/* A target is what a peer wrote, and its query may have any byte. */
	fprintf(stderr, "%s: ", SERVE_TOOL);
	display_text(stderr, text);
	fputc('\n', stderr);
	free(text);
}

/* ---- The command line ---------------------------------------------------------------------- */

enum {
	LISTEN = 256,
	ROOT,
	PROFILE,
	RECORDS,
	REQUIRE,
	TIMEOUT,
	LOG,
	QUIET,
	SOCKET,
	EARLY,
	UPDATE,
	TRACE
};

static int settings_take(struct serve_settings *settings, int option, bool *listen_given)
{
	struct options_problem problem;

	switch (option) {
	case LISTEN:
		if (options_read_address(optarg, &settings->address, &problem) < 0)
			return options_refuse(SERVE_TOOL, "--listen: %s", problem.text);
		*listen_given = true;
		break;
	case ROOT:
		settings->root = optarg;
		break;
	case PROFILE:
		settings->profile = optarg;
		break;
	case RECORDS:
		if (options_read_records(optarg, &settings->records, &problem) < 0)
			return options_refuse(SERVE_TOOL, "--records: %s", problem.text);
		break;
	case TRACE:
		settings->trace = true;
		break;
	case REQUIRE:
		settings->require_client_certificate = true;
		break;
	case EARLY:
		settings->early_data = true;
		break;
	case TIMEOUT:
		if (options_read_time(optarg, 1000, 1000, 86400000, &settings->timeout_ms,
				      &problem) < 0)
			return options_refuse(SERVE_TOOL, "--timeout: %s", problem.text);
		break;
	case UPDATE:
		if (options_read_number(optarg, 1, UINT32_MAX, &settings->update_after, &problem) <
		    0)
			return options_refuse(SERVE_TOOL, "--update-after: %s", problem.text);
		break;
	case LOG:
		settings->log = optarg ? optarg : "-";
		break;
	case QUIET:
		settings->quiet = true;
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
static int settings_read(int argc, char **argv, struct serve_settings *settings)
{
	static const struct option options[] = {
	    {"listen", required_argument, NULL, LISTEN},
	    {"root", required_argument, NULL, ROOT},
	    {"profile", required_argument, NULL, PROFILE},
	    {"records", required_argument, NULL, RECORDS},
	    {"require-client-certificate", no_argument, NULL, REQUIRE},
	    {"early-data", no_argument, NULL, EARLY},
	    {"timeout", required_argument, NULL, TIMEOUT},
	    {"update-after", required_argument, NULL, UPDATE},
	    {"log", optional_argument, NULL, LOG},
	    {"trace", no_argument, NULL, TRACE},
	    {"quiet", no_argument, NULL, QUIET},
	    {"socket", required_argument, NULL, SOCKET},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	bool listen_given = false;
	int option;

	while ((option = options_next(SERVE_TOOL, argc, argv, options)) != -1) {
		int r;

		/* "--log FILE": getopt takes an optional value with "=" alone. */
		if (option == LOG && !optarg && optind < argc &&
		    (argv[optind][0] != '-' || !argv[optind][1]))
			optarg = argv[optind++];
		r = settings_take(settings, option, &listen_given);
		if (r)
			return r;
	}
	if (optind < argc)
		return options_refuse(SERVE_TOOL, "\"%s\" is too much: there are options alone",
				      argv[optind]);
	if (!listen_given)
		return options_refuse(SERVE_TOOL, "--listen ADDR:PORT is missing");
	if (!settings->root[0])
		return options_refuse(SERVE_TOOL, "--root DIR is missing");
	return 0;
}

/* ---- Setting up ---------------------------------------------------------------------------- */

static int serve_fail(const char *what, const char *value)
{
	fprintf(stderr, "%s: %s \"%s\": %s\n", SERVE_TOOL, what, value, strerror(errno));
	return -1;
}

static int root_open(struct serve *serve)
{
	const char *root = serve->settings->root;
	struct serve_file file;
	int r;

	serve->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (serve->root_fd < 0)
		return serve_fail("cannot serve the directory", root);
	r = serve_file_open(serve->root_fd, ".", &file);
	if (r < 0) {
		errno = -r;
		return serve_fail(r == -ENOSYS
				      ? "this kernel has no openat2(2), which keeps requests "
					"beneath the directory"
				      : "cannot read the directory",
				  root);
	}
	close(file.fd);
	return 0;
}

/* How many connections there can be, after raising the limit of descriptors as far as it goes. */
static unsigned int limit_raise(void)
{
	struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < FDS_WANTED && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < FDS_WANTED ? limit.rlim_max : FDS_WANTED;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur > FDS_WANTED)
		limit.rlim_cur = FDS_WANTED;
	return limit.rlim_cur > FDS_OTHER + FDS_A_CONNECTION
		   ? (unsigned int)((limit.rlim_cur - FDS_OTHER) / FDS_A_CONNECTION)
		   : 1;
}

static int listening_bind(const struct addrinfo *address)
{
	const int one = 1, zero = 0;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (address->ai_family == AF_INET6) /* "all addresses" is IPv4 too */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	/* Connections inherit it, and with relay records it cannot be set later. A response's content would
	 * wait for the peer's delayed acknowledgement of its head: 40 ms. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	close(fd);
	return -1;
}

static int listening_open(struct serve *serve)
{
	const struct options_address *address = &serve->settings->address;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	const char *host = address->host[0] ? address->host : NULL;
	int r;

	/* One socket for all addresses, where there is IPv6; getaddrinfo names IPv4 first. */
	if (!host)
		hints.ai_family = AF_INET6;
	r = getaddrinfo(host, address->port, &hints, &list);
	if (r != 0) {
		fprintf(stderr, "%s: cannot listen on \"%s\": %s\n", SERVE_TOOL, address->host,
			r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return -1;
	}
	for (const struct addrinfo *i = list; i && serve->listening_fd < 0; i = i->ai_next)
		serve->listening_fd = listening_bind(i);
	freeaddrinfo(list);
	if (serve->listening_fd < 0 && !host && errno == EAFNOSUPPORT) {
		struct sockaddr_in any = {
		    .sin_family = AF_INET,
		    .sin_port = htons((in_port_t)strtoul(address->port, NULL, 10)),
		};
		const struct addrinfo four = {
		    .ai_family = AF_INET,
		    .ai_addr = (struct sockaddr *)&any,
		    .ai_addrlen = sizeof(any),
		};

		serve->listening_fd = listening_bind(&four);
	}
	if (serve->listening_fd < 0)
		return serve_fail("cannot listen on port", address->port);
	return 0;
}

/* The library's complaints are about what peers do; the log has what matters of it. */
static void http_silence(void *context, const char *format, va_list arguments)
{
	(void)context;
	(void)format;
	(void)arguments;
}

/* Escapes are left in: the library would cut the target at "%00". */
static size_t http_keep_escapes(void *context, struct MHD_Connection *http, char *text)
{
	(void)context;
	(void)http;
	return strlen(text);
}

/* Newer libraries would put a connection that is added into a queue, and tell of its start only later:
 * serve_connection_start wants to hear of it before the call returns. */
#if MHD_VERSION >= 0x00097707
#define HTTP_ONE_THREAD MHD_USE_NO_THREAD_SAFETY
#else
#define HTTP_ONE_THREAD 0
#endif

static int http_start(struct serve *serve)
{
	/* Without the flag of SIGPIPE the library would not use sendfile. */
	serve->http = MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_TURBO | MHD_USE_ERROR_LOG |
		HTTP_ONE_THREAD | (serve->settings->early_data ? MHD_ALLOW_SUSPEND_RESUME : 0),
	    0, NULL, NULL, serve_response_handle, serve, MHD_OPTION_EXTERNAL_LOGGER, http_silence,
	    NULL, MHD_OPTION_CONNECTION_LIMIT, serve->limit + 1, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned int)((serve->settings->timeout_ms + 999) / 1000),
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
	    serve_connection_notify, serve, MHD_OPTION_NOTIFY_COMPLETED, serve_connection_complete,
	    serve, MHD_OPTION_URI_LOG_CALLBACK, serve_connection_begin, serve,
	    MHD_OPTION_UNESCAPE_CALLBACK, http_keep_escapes, NULL,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	if (!serve->http) {
		fprintf(stderr, "%s: libmicrohttpd cannot be started: %s\n", SERVE_TOOL,
			strerror(errno));
		return -1;
	}
	return 0;
}

static void ready_tell(const struct serve *serve)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const char *profile = serve->settings->profile;
	bool six;

	if (serve->settings->quiet ||
	    getsockname(serve->listening_fd, (struct sockaddr *)&address, &length) < 0 ||
	    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	six = strchr(host, ':');
	printf("serving %s on https://%s%s%s:%s/ (profile %s)\n", serve->settings->root,
	       six ? "[" : "", host, six ? "]" : "", port, profile ? profile : "default");
	fflush(stdout);
}

/* ---- The loop ------------------------------------------------------------------------------ */

struct watched {
	struct serve_watch watch;
	struct serve *serve;
	int fd;
};

static void signal_ready(struct serve_watch *watch, uint32_t events)
{
	struct watched *signals = (struct watched *)watch;
	struct serve *serve = signals->serve;
	struct signalfd_siginfo info;

	(void)events;
	if (read(signals->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (serve->stopping) { /* a second signal has no patience */
		serve->stop_deadline = 0;
		return;
	}
	serve->stopping = true;
	serve->stop_deadline = clock_ms() + STOP_MS;
	serve_listening_free(serve->listening);
	serve->listening = NULL;
	serve_connections_stop(serve);
}

static void http_ready(struct serve_watch *watch, uint32_t events)
{
	(void)events;
	((struct watched *)watch)->serve->run_http = true;
}

static int watch_add(const struct serve *serve, struct watched *watched)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &watched->watch};

	if (watched->fd >= 0 && epoll_ctl(serve->epoll, EPOLL_CTL_ADD, watched->fd, &event) == 0)
		return 0;
	fprintf(stderr, "%s: cannot begin: %s\n", SERVE_TOOL, strerror(errno));
	return -1;
}

/* Milliseconds that epoll may wait, -1: without an end. */
static int wait_length(struct serve *serve)
{
	uint64_t now = clock_ms(), until = serve_listening_tick(serve->listening, now), other;
	MHD_UNSIGNED_LONG_LONG http;

	other = serve_connections_tick(serve, now);
	until = other < until ? other : until;
	if (serve->stopping && serve->stop_deadline < until)
		until = serve->stop_deadline;
	if (MHD_get_timeout(serve->http, &http) == MHD_YES && now + http < until)
		until = now + http;
	if (serve->run_http || until <= now)
		return 0;
	return until == UINT64_MAX ? -1 : until - now > 60000 ? 60000 : (int)(until - now);
}

static bool http_due(const struct serve *serve)
{
	MHD_UNSIGNED_LONG_LONG due;

	return serve->run_http || (MHD_get_timeout(serve->http, &due) == MHD_YES && due == 0);
}

static void serve_loop(struct serve *serve)
{
	struct epoll_event event;

	while (!serve->stopping || (serve->count && clock_ms() < serve->stop_deadline)) {
		/* One at a time: what is called may free what a next one would be about. */
		int count = epoll_wait(serve->epoll, &event, 1, wait_length(serve));

		if (count > 0) {
			struct serve_watch *watch = event.data.ptr;

			watch->ready(watch, event.events);
		}
		for (int i = 0; i < HTTP_TURNS && http_due(serve); i++) {
			serve->run_http = false;
			MHD_run(serve->http);
		}
	}
}

static int serve_run(struct serve *serve)
{
	struct watched signals = {.watch.ready = signal_ready, .serve = serve, .fd = -1};
	struct watched http = {.watch.ready = http_ready, .serve = serve, .fd = -1};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signals.fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	serve->epoll = epoll_create1(EPOLL_CLOEXEC);
	serve->limit = limit_raise();
	if (root_open(serve) < 0 || serve_log_open(serve) < 0 || listening_open(serve) < 0 ||
	    http_start(serve) < 0 || watch_add(serve, &signals) < 0)
		return -1;
	http.fd = MHD_get_daemon_info(serve->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	if (watch_add(serve, &http) < 0)
		return -1;
	serve->listening = serve_listening_new(serve);
	if (!serve->listening)
		return -1;
	ready_tell(serve);
	serve_loop(serve);
	return 0;
}

int serve_main(int argc, char **argv)
{
	struct serve_settings settings = {.root = "", .timeout_ms = TIMEOUT_MS};
	struct serve serve = {
	    .settings = &settings,
	    .epoll = -1,
	    .root_fd = -1,
	    .listening_fd = -1,
	};
	int r = settings_read(argc, argv, &settings);

	if (r)
		return r < 0 ? TOOL_OK : r;
	setlocale(LC_CTYPE, "");
	r = serve_run(&serve);
	serve_listening_free(serve.listening);
	serve.listening = NULL;
	if (serve.http)
		MHD_stop_daemon(serve.http);
	serve_connections_free(&serve);
	serve_records_done();
	if (serve.listening_fd >= 0)
		close(serve.listening_fd);
	if (serve.root_fd >= 0)
		close(serve.root_fd);
	if (serve.epoll >= 0)
		close(serve.epoll);
	if (serve.log && serve.log != stdout)
		fclose(serve.log);
	return r < 0 ? TOOL_FAILURE : TOOL_OK;
}
