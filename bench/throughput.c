// SPDX-License-Identifier: LGPL-2.1-or-later
// Sends one file many times over a loopback connection in one of three ways, and tells what it cost:
// plain TCP with sendfile, sendfile over TLS that handshaked set up, and GnuTLS in this process. The
// receiver is the same in each: it performs its handshake and then discards what TCP brings, unopened.

#include "measure.h"

#include <fcntl.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "handshake-protocol.h"
#include "handshake.h"

enum mode { MODE_PLAIN, MODE_SERVICE, MODE_GNUTLS };

struct options {
	enum mode mode;
	const char *mode_name;
	const char *file;
	const char *priorities;
	const char *certificate;
	const char *key;
	const char *profile;
	const char *also; /* processes whose CPU time counts as the sender's */
	unsigned long long bytes;
};

/* ---- The receiver, a process of its own ---- */

static void receiver_handshake(int fd, const char *priorities)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	int result;

	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_TICKETS);
	result = gnutls_priority_set_direct(session, priorities, NULL);
	if (result)
		die("priorities \"%s\": %s", priorities, gnutls_strerror(result));
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(session, fd);
	do
		result = gnutls_handshake(session);
	while (result < 0 && !gnutls_error_is_fatal(result));
	if (result < 0)
		die("the receiver's handshake failed: %s", gnutls_strerror(result));
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(credentials);
}

static void receiver_run(const struct sockaddr_in *address, const struct options *options)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned long long received = 0;
	double began;
	ssize_t got;

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)))
		die("the receiver cannot connect: %s", strerror(errno));
	if (options->mode != MODE_PLAIN)
		receiver_handshake(fd, options->priorities);
	began = usage_seconds(RUSAGE_SELF);
	/* MSG_TRUNC on TCP discards without copying: tcp(7). */
	while ((got = recv(fd, NULL, 1 << 20, MSG_TRUNC)) > 0)
		received += (unsigned long long)got;
	if (got < 0 || received < options->bytes)
		die("the receiver got %llu of %llu bytes: %s", received, options->bytes,
		    got < 0 ? strerror(errno) : "end of file");
	printf("%.6f %llu\n", usage_seconds(RUSAGE_SELF) - began, received);
	fflush(stdout);
	close(fd);
	_exit(0);
}

/* ---- The three senders ---- */

static void send_by_sendfile(int fd, int file, unsigned long long bytes, off_t file_size)
{
	while (bytes) {
		off_t offset = 0;

		while (bytes && offset < file_size) {
			size_t count = (size_t)(file_size - offset);
			ssize_t sent;

			if (count > bytes)
				count = (size_t)bytes;
			sent = sendfile(fd, file, &offset, count);
			if (sent <= 0)
				die("sendfile: %s",
				    sent ? strerror(errno) : "the file has become shorter");
			bytes -= (unsigned long long)sent;
		}
	}
}

static gnutls_session_t sender_handshake(int fd, const struct options *options)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	int result;

	gnutls_certificate_allocate_credentials(&credentials);
	result = gnutls_certificate_set_x509_key_file(credentials, options->certificate,
						      options->key, GNUTLS_X509_FMT_PEM);
	if (result < 0)
		die("cannot load %s and %s: %s", options->certificate, options->key,
		    gnutls_strerror(result));
	gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NO_TICKETS);
	gnutls_priority_set_direct(session, options->priorities, NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(session, fd);
	do
		result = gnutls_handshake(session);
	while (result < 0 && !gnutls_error_is_fatal(result));
	if (result < 0)
		die("the sender's handshake failed: %s", gnutls_strerror(result));
	return session;
}

/* As a careful program does it: from the mapped file, whole records, no copy of its own. */
static void send_by_gnutls(gnutls_session_t session, const char *data, size_t file_size,
			   unsigned long long bytes)
{
	while (bytes) {
		size_t offset = 0;

		while (bytes && offset < file_size) {
			size_t count = file_size - offset;
			ssize_t sent;

			if (count > 16384)
				count = 16384;
			if (count > bytes)
				count = (size_t)bytes;
			sent = gnutls_record_send(session, data + offset, count);
			if (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED)
				continue;
			if (sent <= 0)
				die("gnutls_record_send: %s", gnutls_strerror((int)sent));
			offset += (size_t)sent;
			bytes -= (unsigned long long)sent;
		}
	}
}

static void measure(const struct options *options, int file, const char *data, off_t file_size)
{
	const char *records = "none", *cipher = "none";
	struct handshake *handshake = NULL;
	gnutls_session_t session = NULL;
	struct sockaddr_in address;
	int listener = loopback_listen(&address);
	double began, seconds, cpu, also, receiver_cpu = 0;
	unsigned long long received = 0;
	int pipe_fds[2], fd, status;
	FILE *report;
	pid_t child;

	if (pipe(pipe_fds))
		die("pipe: %s", strerror(errno));
	fflush(stdout);
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		close(listener);
		receiver_run(&address, options);
	}
	close(pipe_fds[1]);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		die("accept: %s", strerror(errno));
	close(listener);
	if (options->mode == MODE_SERVICE) {
		handshake = handshake_new();
		if (!handshake || handshake_set_role(handshake, HANDSHAKE_SERVER) ||
		    handshake_set_profile(handshake, options->profile))
			die("cannot make the request: %s", strerror(errno));
		if (handshake_perform(handshake, NULL, fd))
			die("the handshake failed: %s", handshake_error(handshake));
		records = handshake_result(handshake, HANDSHAKE_KEY_TRANSMIT, 0);
		cipher = handshake_result(handshake, HANDSHAKE_KEY_CIPHER, 0);
	} else if (options->mode == MODE_GNUTLS) {
		session = sender_handshake(fd, options);
		records = "user space";
		cipher = gnutls_cipher_get_name(gnutls_cipher_get(session));
	}
	also = processes_seconds(options->also);
	cpu = usage_seconds(RUSAGE_SELF);
	began = now_seconds();
	if (options->mode == MODE_GNUTLS)
		send_by_gnutls(session, data, (size_t)file_size, options->bytes);
	else
		send_by_sendfile(fd, file, options->bytes, file_size);
	/* Closed, not half-closed: a relay keeps the TCP connection open behind a half-close. */
	close(fd);
	report = fdopen(pipe_fds[0], "r");
	if (!report || fscanf(report, "%lf %llu", &receiver_cpu, &received) != 2)
		die("the receiver ended without a report");
	seconds = now_seconds() - began;
	cpu = usage_seconds(RUSAGE_SELF) - cpu;
	also = processes_seconds(options->also) - also;
	fclose(report);
	if (waitpid(child, &status, 0) < 0 || status)
		die("the receiver failed");
	printf("{\"mode\": \"%s\", \"records\": \"%s\", \"cipher\": \"%s\", \"bytes\": %llu, "
	       "\"bytes_on_wire\": %llu, \"seconds\": %.6f, \"sender_cpu\": %.6f, "
	       "\"service_cpu\": %.6f, \"receiver_cpu\": %.6f}\n",
	       options->mode_name, records, cipher, options->bytes, received, seconds, cpu, also,
	       receiver_cpu);
	fflush(stdout);
	handshake_free(handshake);
	if (session)
		gnutls_deinit(session);
}

static const char usage[] =
    "usage: throughput --mode plain|service|gnutls --file FILE [--bytes N] [--repeat N]\n"
    "  [--priorities STRING] [--certificate FILE --key FILE] [--profile NAME] [--also PID,PID]\n"
    "Prints a line of JSON for each run. $HANDSHAKED_SOCKET names the daemon's socket.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"mode", required_argument, NULL, 'm'},
	    {"file", required_argument, NULL, 'f'},
	    {"bytes", required_argument, NULL, 'b'},
	    {"repeat", required_argument, NULL, 'r'},
	    {"priorities", required_argument, NULL, 'p'},
	    {"key", required_argument, NULL, 'k'},
	    {"certificate", required_argument, NULL, 'c'},
	    {"profile", required_argument, NULL, 'P'},
	    {"also", required_argument, NULL, 'a'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct options options = {
	    .priorities =
		"NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-X509",
	    .profile = "default",
	};
	static const char *const modes[] = {"plain", "service", "gnutls"};
	unsigned long repeat = 1;
	bool mode_known = false;
	struct stat stat;
	void *data;
	int c, file;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'm':
			for (unsigned i = 0; i < 3; i++)
				if (!strcmp(optarg, modes[i])) {
					options.mode = (enum mode)i;
					options.mode_name = modes[i];
					mode_known = true;
				}
			if (!mode_known)
				die("unknown mode \"%s\"; there are: plain, service, gnutls",
				    optarg);
			break;
		case 'f':
			options.file = optarg;
			break;
		case 'b':
			options.bytes = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			repeat = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			options.priorities = optarg;
			break;
		case 'k':
			options.key = optarg;
			break;
		case 'c':
			options.certificate = optarg;
			break;
		case 'P':
			options.profile = optarg;
			break;
		case 'a':
			options.also = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!mode_known || !options.file ||
	    (options.mode == MODE_GNUTLS && (!options.certificate || !options.key))) {
		fputs(usage, stderr);
		return 2;
	}
	file = open(options.file, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &stat) || !stat.st_size)
		die("cannot use %s: %s", options.file, file < 0 ? strerror(errno) : "it is empty");
	if (!options.bytes)
		options.bytes = (unsigned long long)stat.st_size;
	data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (data == MAP_FAILED)
		die("cannot map %s: %s", options.file, strerror(errno));
	for (unsigned long i = 0; i < repeat; i++)
		measure(&options, file, data, stat.st_size);
	munmap(data, (size_t)stat.st_size);
	close(file);
	return 0;
}
