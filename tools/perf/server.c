// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The server's end: a daemon of its own, a child that serves what is measured, and
 * the CPU time of both. Touches what it starts itself; never lets the other end choose a file, a program
 * or a line of the configuration.
 */
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../options.h"
#include "cpu.h"
#include "ending.h"
#include "machine.h"
#include "rate-server.h"
#include "rate.h"
#include "tcp.h"
#include "throughput.h"
#include "values.h"

enum { ASKED_EVERY = 3600 /* seconds without a word until the other end is given up */ };

/* One child under measurement. */
struct served {
	pid_t pid;
	struct link control;
	struct streams streams; /* of a throughput, instead */
	struct cpu_parts parts;
};

void priorities_write(char *text, size_t size, const char *tls, const char *cipher,
		      const char *group)
{
	snprintf(text, size,
		 "NONE:+VERS-TLS%s:+%s:+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-%s:+SIGN-ALL:"
		 "+CTYPE-X509:%%SERVER_PRECEDENCE",
		 tls, cipher, group);
}

static json_t *refuse(const char *sentence)
{
	return json_pack("{s:s}", "error", sentence);
}

/* A word of the other end that is to be one of those. NULL: it is none. */
static const char *word_of(const json_t *question, const char *key, const char *const *words)
{
	const char *value = json_string_value(json_object_get(question, key));
	int found = value ? value_find(value, words) : -1;

	return found < 0 ? NULL : words[found];
}

/* ---- What is asked ------------------------------------------------------------------------- */

/* The first question: what the daemon is to be like. */
static json_t *follow_begin(struct server *server, const json_t *question)
{
	const char *trust = json_string_value(json_object_get(question, "trust"));
	json_int_t workers = json_integer_value(json_object_get(question, "workers"));
	struct own_settings settings = {
	    .key_type = word_of(question, "key", value_key_types),
	    .tls = word_of(question, "tls", value_versions),
	    /* Its name goes into a configuration and into GnuTLS's priorities. */
	    .cipher = word_of(question, "cipher", value_ciphers),
	    .records = word_of(question, "records", value_records),
	    .trust = trust ? trust : "",
	    .post_quantum = json_is_true(json_object_get(question, "post-quantum")),
	    .workers = (unsigned)workers,
	};
	char error[1280];

	if (server->daemon.pid > 0)
		return refuse("it has begun already");
	if (!settings.key_type || !settings.tls || !settings.cipher || !settings.records ||
	    workers < 1 || workers > 128)
		return refuse("it does not know this key, version, cipher, record path or number "
			      "of workers");
	if (own_daemon_start(&settings, &server->daemon, error, sizeof(error)) < 0)
		return refuse(error);
	server->socket = server->daemon.socket;
	server->certificate = server->daemon.certificate;
	server->key = server->daemon.key;
	snprintf(server->tls, sizeof(server->tls), "%s", settings.tls);
	snprintf(server->cipher, sizeof(server->cipher), "%s", settings.cipher);
	return json_pack("{s:o}", "machine", machine_describe());
}

static void served_end(struct served *served)
{
	if (served->pid > 0) {
		link_done(&served->control);
		waitpid(served->pid, NULL, 0);
	}
	streams_end(&served->streams);
	*served = (struct served){.pid = -1};
}

/* Serves until its parent is gone: what is measured runs in a process of its own. */
static void serve_rate(const struct server *server, const char *by, const struct rate_kind *kind,
		       int listener, int control)
{
	char priorities[512], trust[128];
	const struct rate_server rate = {
	    .by = by,
	    .listener = listener,
	    .control = control,
	    .socket = server->socket,
	    .profile = kind->name,
	    .certificate = server->certificate,
	    .key = server->key,
	    .priorities = priorities,
	    .trust = kind->mutual ? trust : NULL,
	    .tickets = kind->resume,
	};

	priorities_write(priorities, sizeof(priorities), server->tls, server->cipher,
			 kind->post_quantum ? GROUP_POST_QUANTUM : GROUP_CLASSICAL);
	snprintf(trust, sizeof(trust), "%s/trust.pem", server->daemon.directory);
	rate_server_run(&rate);
}

static json_t *follow_rate(struct server *server, struct served *served, const json_t *question)
{
	const char *by = word_of(question, "by", rate_ways);
	const char *name = json_string_value(json_object_get(question, "kind"));
	const struct rate_kind *kind = name ? rate_kind_find(name) : NULL;
	unsigned port;
	int pair[2], listener;

	if (!by || !kind || !server->socket)
		return refuse("it does not know this kind of handshake");
	served_end(served);
	listener = tcp_listen(server->host, &port);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return refuse(strerror(errno));
	served->pid = fork();
	if (served->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		close(pair[0]);
		close(server->link->fd);
		serve_rate(server, by, kind, listener, pair[1]);
	}
	close(pair[1]);
	close(listener);
	link_init(&served->control, pair[0]);
	if (served->pid < 0)
		return refuse(strerror(errno));
	cpu_parts_add(&served->parts, served->pid, "program");
	if (strcmp(by, "gnutls") != 0)
		cpu_parts_add_daemon(&served->parts, server->daemon.pid);
	return json_pack("{s:i}", "port", (int)port);
}

static json_t *follow_throughput(struct server *server, struct served *served,
				 const json_t *question)
{
	const char *path = word_of(question, "path", throughput_paths);
	const char *direction = word_of(question, "direction", throughput_directions);
	json_int_t size = json_integer_value(json_object_get(question, "size"));
	json_int_t count = json_integer_value(json_object_get(question, "streams"));
	enum throughput_path which = PATH_PLAIN;
	unsigned port;
	json_t *counters;
	int listener;

	if (!path || !direction || !server->socket || count < 1 || count > STREAMS_MAX ||
	    size < 1 || (uint64_t)size > STREAM_SIZE_MAX)
		return refuse("it does not know this path, direction, size or number of streams");
	while (throughput_paths[which] != path)
		which++;
	served_end(served);
	listener = tcp_listen(server->host, &port);
	counters = machine_tls_counters();
	throughput_serve(server, which, strcmp(direction, "up") == 0, (uint64_t)size,
			 (unsigned)count, listener, &served->streams);
	close(listener);
	for (unsigned i = 0; i < served->streams.count; i++)
		cpu_parts_add(&served->parts, served->streams.pids[i], "program");
	if (which != PATH_PLAIN && which != PATH_GNUTLS)
		cpu_parts_add_daemon(&served->parts, server->daemon.pid);
	return json_pack("{s:i, s:o}", "port", (int)port, "tls-counters", counters);
}

/* What the streams moved by now. */
static void tell_streams(const struct streams *streams, json_t *answer)
{
	uint64_t bytes, calls;

	streams_read(streams, &bytes, &calls);
	json_object_set_new(answer, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(answer, "calls", json_integer((json_int_t)calls));
}

/* 'b' and 'e': CPU time and counters at this moment, and of the child what it counted until then. */
static json_t *follow_mark(struct served *served, char word)
{
	struct cpu_reading reading;
	json_t *parts = json_object(), *tallied = NULL, *answer;

	if (!served->parts.count || cpu_parts_read(&served->parts, &reading) < 0) {
		json_decref(parts);
		return refuse(
		    "the server under measurement, or a process of the daemon, has ended");
	}
	if (served->pid > 0 && send(served->control.fd, &word, 1, MSG_NOSIGNAL) == 1)
		tallied = link_receive(&served->control, 30);
	for (unsigned i = 0; i < reading.count; i++)
		json_object_set_new(parts, reading.names[i], json_real(reading.seconds[i]));
	answer = json_pack("{s:o, s:o}", "cpu", parts, "tls-counters", machine_tls_counters());
	if (served->streams.count)
		tell_streams(&served->streams, answer);
	if (tallied)
		json_object_set_new(answer, "counted", tallied);
	return answer;
}

static json_t *follow(struct server *server, struct served *served, const json_t *question)
{
	static const char *const words[] = {"begin", "rate",    "throughput",
					    "count", "counted", NULL};
	const char *word = word_of(question, "do", words);

	if (!word)
		return refuse("it does not know what to do: it is another version");
	if (strcmp(word, "begin") == 0)
		return follow_begin(server, question);
	if (strcmp(word, "rate") == 0)
		return follow_rate(server, served, question);
	if (strcmp(word, "throughput") == 0)
		return follow_throughput(server, served, question);
	return follow_mark(served, strcmp(word, "count") == 0 ? 'b' : 'e');
}

/* ---- The other end ------------------------------------------------------------------------- */

void server_run(struct link *link, const char *host)
{
	struct server server = {.link = link, .daemon.pid = -1};
	struct served served = {.pid = -1};
	json_t *question;

	snprintf(server.host, sizeof(server.host), "%s", host);
	while ((question = link_receive(link, ASKED_EVERY))) {
		json_t *answer = follow(&server, &served, question);

		json_decref(question);
		if (link_send(link, answer) < 0)
			break;
	}
	served_end(&served);
	own_daemon_stop(&server.daemon);
	link_done(link);
}

/* Asked to end, it does so in order, as when the other end is gone. */
static int ending_fd = -1;

static void end_orderly(int number)
{
	(void)number;
	shutdown(ending_fd, SHUT_RDWR);
}

/* A child of its own for one other end; fd is taken, also_close is the parent's. */
static pid_t server_fork(int fd, int also_close, const char *host)
{
	struct link link;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid != 0) {
		close(fd);
		return pid;
	}
	close(also_close);
	ending_fd = fd;
	signal(SIGINT, end_orderly);
	signal(SIGTERM, end_orderly);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	link_init(&link, fd);
	server_run(&link, host);
	exit(TOOL_OK);
}

pid_t server_start(struct link *ret_link)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("cannot make a pair of sockets: %s", strerror(errno));
	pid = server_fork(pair[1], pair[0], "127.0.0.1");
	if (pid < 0)
		die("cannot start a process: %s", strerror(errno));
	link_init(ret_link, pair[0]);
	return pid;
}

void server_listen(const char *text)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct options_address address;
	struct options_problem problem;
	struct sockaddr_storage local;
	socklen_t size = sizeof(local);
	char host[64] = "", port[16] = "";
	struct addrinfo *found = NULL;
	const int on = 1;
	int listener;

	if (options_read_address(text, &address, &problem) < 0)
		die("%s", problem.text);
	if (getaddrinfo(*address.host ? address.host : NULL, address.port, &hints, &found) != 0 ||
	    !found)
		die("cannot find the address \"%s\"", text);
	listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) < 0 ||
	    listen(listener, 4) < 0)
		die("cannot listen on \"%s\": %s", text, strerror(errno));
	freeaddrinfo(found);
	getsockname(listener, (struct sockaddr *)&local, &size);
	getnameinfo((const struct sockaddr *)&local, size, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	printf("The server's end waits at %s:%s\n", host, port);
	fflush(stdout);
	for (;;) {
		pid_t pid;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		size = sizeof(local);
		/* The servers listen where the other end has found this one. */
		getsockname(fd, (struct sockaddr *)&local, &size);
		getnameinfo((const struct sockaddr *)&local, size, host, sizeof(host), NULL, 0,
			    NI_NUMERICHOST);
		pid = server_fork(fd, listener, host);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}
