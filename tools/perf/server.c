// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The server's end: a daemon of its own, a child that serves what is measured, and
 * the CPU time of both. Touches what it starts itself; never lets the other end choose a file, a program
 * or a line of the configuration.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "ending.h"
#include "machine.h"
#include "rate-server.h"
#include "rate.h"
#include "tcp.h"
#include "throughput.h"
#include "values.h"

/* Seconds without a word until the other end is given up: a run lasts an hour at most, and tcp_keep() finds out
 * about a host that is not there. */
enum { ASKED_EVERY = 7200 };

/* One child under measurement. */
struct served {
	pid_t pid;
	struct link control;
	struct streams streams; /* of a throughput, instead */
	struct cpu_parts parts;
	int said; /* a file that the children's sentences go to; -1: there is none */
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
	char error[1280], client[TCP_TEXT_SIZE];

	if (json_integer_value(json_object_get(question, "protocol")) != SERVER_PROTOCOL)
		return refuse("it is handshake " VERSION ", and this end is of another version: "
			      "both ends must be of the same");
	if (server->daemon.pid > 0)
		return refuse("it has begun already");
	if (!settings.key_type || !settings.tls || !settings.cipher || !settings.records ||
	    workers < 1 || workers > 128)
		return refuse("it does not know this key, version, cipher, record path or number "
			      "of workers");
	if (own_daemon_start(&settings, &server->daemon, error, sizeof(error)) < 0)
		return refuse(error);
	/* Of a listening socket no program is told why nothing comes. */
	if (strcmp(settings.records, "kernel") == 0 && !machine_has_kernel_tls())
		return refuse(
		    "Kernel records are asked for, but this host's kernel has no TLS: load "
		    "its module with \"modprobe tls\"");
	server->socket = server->daemon.socket;
	server->certificate = server->daemon.certificate;
	server->key = server->daemon.key;
	snprintf(server->tls, sizeof(server->tls), "%s", settings.tls);
	snprintf(server->cipher, sizeof(server->cipher), "%s", settings.cipher);
	tcp_write_peer(server->link->fd, client, sizeof(client));
	return json_pack("{s:o, s:i, s:s}", "machine", machine_describe(), "protocol",
			 SERVER_PROTOCOL, "client", client);
}

/* ---- What becomes of the children ---------------------------------------------------------- */

/* In the child: what it says last is for the other end too, where somebody looks. */
static void said_enter(int said)
{
	if (said >= 0)
		dup2(said, STDERR_FILENO);
}

/* The first sentence of those that have been said, without who says so. elsewhere: that is told on another host, and
 * all of them here too. */
static void said_take(const struct served *served, bool elsewhere, char *sentence, size_t size)
{
	static const char who[] = "handshake perf: ";
	char text[1024];
	ssize_t length = served->said < 0 ? 0 : pread(served->said, text, sizeof(text) - 1, 0);
	const char *first = text;

	text[length < 0 ? 0 : length] = '\0';
	if (elsewhere)
		fputs(text, stderr);
	if (strncmp(first, who, strlen(who)) == 0)
		first += strlen(who);
	snprintf(sentence, size, "%.*s", (int)strcspn(first, "\n"), first);
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid;
}

/* NULL, or what is to be told of a child that has ended. */
static json_t *served_judge(const struct served *served, bool elsewhere, bool daemon_is_there)
{
	bool ended = served->pid > 0 && has_ended(served->pid);
	char sentence[512];

	for (unsigned i = 0; i < served->streams.count; i++)
		ended = ended || has_ended(served->streams.pids[i]);
	said_take(served, elsewhere, sentence, sizeof(sentence));
	if (*sentence)
		return refuse(sentence);
	if (ended)
		return refuse("the server under measurement has ended");
	return daemon_is_there ? NULL : refuse("a process of the daemon has ended");
}

static void served_end(struct served *served)
{
	if (served->pid > 0) {
		link_done(&served->control);
		waitpid(served->pid, NULL, 0);
	}
	streams_end(&served->streams);
	if (served->said >= 0)
		close(served->said);
	*served = (struct served){.pid = -1, .said = -1};
}

static void served_begin(struct served *served)
{
	served_end(served);
	served->said = memfd_create("handshake-perf-said", MFD_CLOEXEC);
	if (served->said >= 0)
		fcntl(served->said, F_SETFL, O_APPEND);
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
	served_begin(served);
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
		said_enter(served->said);
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
	served_begin(served);
	listener = tcp_listen(server->host, &port);
	counters = machine_tls_counters();
	throughput_serve(server, which, strcmp(direction, "up") == 0, (uint64_t)size,
			 (unsigned)count, listener, served->said, &served->streams);
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
	json_object_set_new(answer, "by-nic", json_integer(streams_by_nic(streams)));
	json_object_set_new(answer, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(answer, "calls", json_integer((json_int_t)calls));
}

/* 'b' and 'e': CPU time and counters at this moment, and of the child what it counted until then. */
static json_t *follow_mark(const struct server *server, struct served *served, char word)
{
	struct cpu_reading reading;
	json_t *parts, *tallied = NULL, *answer;

	if (!served->parts.count)
		return refuse("it was not told what to measure");
	answer = served_judge(served, *server->link->peer != '\0',
			      cpu_parts_read(&served->parts, &reading) == 0);
	if (answer)
		return answer;
	parts = json_object();
	if (served->pid > 0 && send(served->control.fd, &word, 1, MSG_NOSIGNAL) == 1)
		tallied = link_receive(&served->control, 30);
	for (unsigned i = 0; i < reading.count; i++)
		json_object_set_new(parts, reading.names[i], json_real(reading.seconds[i]));
	answer = json_pack("{s:o, s:o, s:f}", "cpu", parts, "tls-counters", machine_tls_counters(),
			   "clock", clock_seconds());
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
	return follow_mark(server, served, strcmp(word, "count") == 0 ? 'b' : 'e');
}

/* ---- The other end ------------------------------------------------------------------------- */

/* Serves one other end over the link and returns when that is gone. */
static void server_run(struct link *link, const char *host)
{
	struct server server = {.link = link, .daemon.pid = -1};
	struct served served = {.pid = -1, .said = -1};
	json_t *question;

	snprintf(server.host, sizeof(server.host), "%s", host);
	while ((question = link_receive(link, ASKED_EVERY))) {
		json_t *answer = follow(&server, &served, question);

		json_decref(question);
		if (link_send(link, answer) < 0)
			break;
	}
	if (*link->peer)
		printf("The client's end%s %s\n", link->peer, link->problem);
	fflush(stdout);
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

pid_t server_fork(int fd, int also_close, const char *host)
{
	struct link link;
	sigset_t none;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid != 0) {
		close(fd);
		return pid;
	}
	close(also_close);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ending_fd = fd;
	signal(SIGINT, end_orderly);
	signal(SIGTERM, end_orderly);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	link_init(&link, fd);
	if (*link.peer)
		printf("Measuring for the client's end%s\n", link.peer);
	fflush(stdout);
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
