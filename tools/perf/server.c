// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The server's end: a daemon of its own (or the one that runs), a child that serves what is measured, and
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

enum { ASKED_EVERY = 3600 /* seconds without a word until the other end is given up */ };

/* One child under measurement. */
struct served {
	pid_t pid;
	struct link control;
	struct cpu_parts parts;
};

void priorities_write(char *text, size_t size, const char *tls, const char *cipher,
		      const char *groups)
{
	snprintf(text, size,
		 "NONE:+VERS-TLS%s:+%s:+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:%s+GROUP-X25519:+SIGN-ALL:"
		 "+CTYPE-X509:%%SERVER_PRECEDENCE",
		 tls, cipher, groups);
}

int server_socket(const char *host, unsigned *ret_port)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	struct addrinfo *found;
	int fd = -1;

	if (getaddrinfo(host, "0", &hints, &found) != 0)
		die("cannot listen on \"%s\"", host);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
		die("cannot listen on \"%s\": %s", host, strerror(errno));
	freeaddrinfo(found);
	/* Both families have the port at the same place. */
	*ret_port = ntohs(((const struct sockaddr_in *)&bound)->sin_port);
	return fd;
}

static json_t *refuse(const char *sentence)
{
	return json_pack("{s:s}", "error", sentence);
}

/* A word of the other end that is to be one of those. NULL: it is none. */
static const char *word_of(const json_t *question, const char *key, const char *const *words)
{
	const char *value = json_string_value(json_object_get(question, key));

	for (; value && *words; words++)
		if (strcmp(*words, value) == 0)
			return *words;
	return NULL;
}

/* ---- What is asked ------------------------------------------------------------------------- */

/* The ciphers' names go into a configuration and into GnuTLS's priorities. */
static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305",
				      "AES-128-CCM", NULL};
static const char *const versions[] = {"1.2", "1.3", NULL};
static const char *const key_types[] = {"ecdsa", "rsa", NULL};
static const char *const record_paths[] = {"auto", "kernel", "relay", NULL};
static const char *const kinds[] = {"full",       "resumed",      "mutual",
				    "early-data", "post-quantum", NULL};
static const char *const ways[] = {"gnutls", "listen", "handshake", NULL};

/* The first question: what the daemon is to be like. */
static json_t *follow_begin(struct server *server, const json_t *question)
{
	const char *trust = json_string_value(json_object_get(question, "trust"));
	json_int_t workers = json_integer_value(json_object_get(question, "workers"));
	struct own_settings settings = {
	    .key_type = word_of(question, "key", key_types),
	    .tls = word_of(question, "tls", versions),
	    .cipher = word_of(question, "cipher", ciphers),
	    .kernel_records = word_of(question, "records", record_paths),
	    .trust = trust ? trust : "",
	    .groups =
		json_is_true(json_object_get(question, "post-quantum")) ? "X25519-MLKEM768" : "",
	    .workers = (unsigned)workers,
	};
	char error[1280];

	if (server->daemon.pid > 0)
		return refuse("it has begun already");
	if (!settings.key_type || !settings.tls || !settings.cipher || !settings.kernel_records ||
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
	*served = (struct served){.pid = -1};
}

static json_t *follow_rate(struct server *server, struct served *served, const json_t *question)
{
	const char *by = word_of(question, "by", ways);
	const char *kind = word_of(question, "kind", kinds);
	unsigned port;
	int pair[2], listener;

	if (!by || !kind || !server->socket)
		return refuse("it does not know this kind of handshake");
	served_end(served);
	listener = server_socket(server->host, &port);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return refuse(strerror(errno));
	served->pid = fork();
	if (served->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(pair[0]);
		close(server->link->fd);
		rate_server_run(server, by, kind, listener, pair[1]);
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

/* 'b' and 'e': CPU time and counters at this moment, and of the child what it counted. */
static json_t *follow_mark(struct served *served, char word)
{
	struct cpu_reading reading;
	json_t *parts = json_object(), *tallied = NULL, *answer;

	if (served->pid <= 0 || cpu_parts_read(&served->parts, &reading) < 0) {
		json_decref(parts);
		return refuse(
		    "the server under measurement, or a process of the daemon, has ended");
	}
	if (send(served->control.fd, &word, 1, MSG_NOSIGNAL) == 1 && word == 'e')
		tallied = link_receive(&served->control, 30);
	for (unsigned i = 0; i < reading.count; i++)
		json_object_set_new(parts, reading.names[i], json_real(reading.seconds[i]));
	answer = json_pack("{s:o, s:o}", "cpu", parts, "tls-counters", machine_tls_counters());
	if (tallied)
		json_object_set_new(answer, "counted", tallied);
	return answer;
}

static json_t *follow(struct server *server, struct served *served, const json_t *question)
{
	static const char *const words[] = {"begin", "rate", "count", "counted", NULL};
	const char *word = word_of(question, "do", words);

	if (!word)
		return refuse("it does not know what to do: it is another version");
	if (strcmp(word, "begin") == 0)
		return follow_begin(server, question);
	if (strcmp(word, "rate") == 0)
		return follow_rate(server, served, question);
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

pid_t server_start(struct link *ret_link)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		die("cannot make a pair of sockets: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("cannot start a process: %s", strerror(errno));
	if (pid == 0) {
		struct link link;

		/* An interrupt from the terminal reaches both; this one ends in order, by its link. */
		signal(SIGINT, SIG_IGN);
		close(pair[0]);
		link_init(&link, pair[1]);
		server_run(&link, "127.0.0.1");
		exit(TOOL_OK);
	}
	close(pair[1]);
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
	struct addrinfo *found;
	const int on = 1;
	int listener;

	if (options_read_address(text, &address, &problem) < 0)
		die("%s", problem.text);
	if (getaddrinfo(*address.host ? address.host : NULL, address.port, &hints, &found) != 0)
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
		struct link link;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		size = sizeof(local);
		/* The servers listen where the other end has found this one. */
		getsockname(fd, (struct sockaddr *)&local, &size);
		getnameinfo((const struct sockaddr *)&local, size, host, sizeof(host), NULL, 0,
			    NI_NUMERICHOST);
		link_init(&link, fd);
		server_run(&link, host);
	}
}
