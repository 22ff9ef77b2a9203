// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * handshaked: the command line, and into the background. Touches the process's standard descriptors.
 * Knows nothing of what the daemon does.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "program.h"
#include "relay.h"
#include "signer-process.h"
#include "supervisor.h"

#define CONFIG_DEFAULT "/etc/handshaked/handshaked.conf"

enum { EXIT_USAGE = 2 };

struct options {
	struct config_source source;
	bool check;
	bool foreground;
};

static void usage(FILE *out)
{
	fputs("usage: handshaked [--config FILE] [--tlshd-config FILE] [--check | --foreground]\n"
	      "TLS handshakes for the programs of this machine.\n\n"
	      "  --config FILE        instead of " CONFIG_DEFAULT "\n"
	      "  --tlshd-config FILE  serve the kernel as this file of tlshd says; without "
	      "--config,\n"
	      "                       do nothing else\n"
	      "  --check              tell whether a start would work, and end: 0 if it would\n"
	      "  --foreground         do not detach from the terminal or service manager\n"
	      "  --version            show the version and end\n"
	      "  --help               show this and end\n\n"
	      "See handshaked(8) and handshaked.conf(5).\n",
	      out);
}

static int refuse(const char *what, const char *argument)
{
	fprintf(stderr, "handshaked: %s \"%s\"; \"handshaked --help\" tells what there is\n", what,
		argument);
	return EXIT_USAGE;
}

/* 0: go on; else *ret_status is the exit status. */
static int options_read(int argc, char **argv, struct options *ret, int *ret_status)
{
	static const struct option known[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"tlshd-config", required_argument, NULL, 't'},
	    {"check", no_argument, NULL, 'k'},
	    {"foreground", no_argument, NULL, 'f'},
	    {"version", no_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, ":c:", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret->source.path = optarg;
			continue;
		case 't':
			ret->source.tlshd = optarg;
			continue;
		case 'k':
			ret->check = true;
			continue;
		case 'f':
			ret->foreground = true;
			continue;
		case 'v':
			puts("handshaked " VERSION);
			*ret_status = EXIT_SUCCESS;
			return 1;
		case 'h':
			usage(stdout);
			*ret_status = EXIT_SUCCESS;
			return 1;
		case ':':
			*ret_status = refuse("a value is missing behind", argv[optind - 1]);
			return 1;
		default:
			*ret_status = refuse("there is no option", argv[optind - 1]);
			return 1;
		}
	}
	if (optind < argc) {
		*ret_status = refuse("nothing is known about", argv[optind]);
		return 1;
	}
	if (!ret->source.path && !ret->source.tlshd)
		ret->source.path = CONFIG_DEFAULT;
	return 0;
}

/* ---- Into the background ------------------------------------------------------------------- */

static void ready_in_foreground(void *context)
{
	(void)context;
}

/* Tells the parent, and lets go of the terminal. A log that goes elsewhere is kept. */
static void ready_in_background(void *context)
{
	const int *pipe_end = context;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (isatty(STDERR_FILENO))
			dup2(null, STDERR_FILENO);
		close(null);
	}
	if (write(*pipe_end, "", 1) != 1)
		_exit(EXIT_FAILURE);
	close(*pipe_end);
}

/* The parent's part: its exit status is the daemon's word, or its end. */
static int background_await(int pipe_end)
{
	char word;
	ssize_t got;

	do
		got = read(pipe_end, &word, 1);
	while (got < 0 && errno == EINTR);
	return got == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int background_run(const struct config_source *source)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "handshaked: cannot go into the background: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	if (pid > 0) {
		close(ends[1]);
		return background_await(ends[0]);
	}
	close(ends[0]);
	/* A session of its own, and not its leader: no terminal can become the daemon's again. */
	if (setsid() < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "handshaked: cannot go into the background: %s\n", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	if (pid > 0)
		_exit(EXIT_SUCCESS);
	return supervisor_run(source, ready_in_background, &ends[1]);
}

/* A relative path names the same file after the daemon has gone to the root directory. Links are not
 * followed here: a reload reads what they name then. */
static const char *path_make_absolute(const char *path)
{
	char directory[PATH_MAX], *absolute;

	if (!path || path[0] == '/' || !getcwd(directory, sizeof(directory)) ||
	    asprintf(&absolute, "%s/%s", directory, path) < 0)
		return path;
	return absolute; /* lives as long as the process */
}

/* 0, 1 and 2 are open, so that no other descriptor gets their numbers. */
static int standard_descriptors_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {};
	struct problem problem = {""};
	int status;

	if (standard_descriptors_open() < 0)
		return EXIT_FAILURE;
	/* Keys leave by the administrator's "key-log" alone, never by an environment. */
	unsetenv("SSLKEYLOGFILE");
	/* Not for people: the supervisor starts relays and signers so. See relay.h, signer-process.h. */
	if (argc > 1 && strcmp(argv[1], "--relay") == 0)
		return relay_main(argc - 2, argv + 2);
	if (argc == 2 && strcmp(argv[1], "--signer") == 0)
		return signer_main(SIGNER_CONTROL_FD);
	if (options_read(argc, argv, &options, &status))
		return status;
	if (options.check) {
		/* Without /proc the signer goes on as a copy of this process. */
		program_remember(&problem);
		return check_run(&options.source, stdout);
	}
	options.source.path = path_make_absolute(options.source.path);
	options.source.tlshd = path_make_absolute(options.source.tlshd);
	if (options.foreground)
		return supervisor_run(&options.source, ready_in_foreground, NULL);
	if (chdir("/") < 0)
		return EXIT_FAILURE;
	return background_run(&options.source);
}
