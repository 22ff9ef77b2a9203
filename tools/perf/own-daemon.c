// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A daemon for one measurement. Touches a directory of its own below $TMPDIR and the process it starts,
 * which ends with this one; never the daemon of this machine.
 */
#include "own-daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../daemon-status.h"
#include "cpu.h"

enum { START_TIMEOUT = 60 /* seconds */, PROGRAM_SIZE = 4096 };

int own_directory_make(char *path, size_t path_size, char *error, size_t size)
{
	const char *temporary = getenv("TMPDIR");

	/* The daemon's socket lies in it, whose path has 108 bytes at most. */
	if (!temporary || strlen(temporary) > 32)
		temporary = "/tmp";
	snprintf(path, path_size, "%s/handshake-perf-XXXXXX", temporary);
	/* The workers are another user, and read nothing here but through the supervisor. */
	if (mkdtemp(path) && chmod(path, 0755) == 0)
		return 0;
	snprintf(error, size, "cannot make the directory \"%s\": %s", path, strerror(errno));
	return -1;
}

static void tree_remove(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	while (entries && (entry = readdir(entries))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(entries), entry->d_name, 0) < 0)
			tree_remove(dirfd(entries), entry->d_name);
	}
	if (entries)
		closedir(entries);
	unlinkat(parent, name, AT_REMOVEDIR);
}

void own_directory_remove(const char *path)
{
	tree_remove(AT_FDCWD, path);
}

/* ---- Its configuration --------------------------------------------------------------------- */

static void profile_write(FILE *file, const struct own_daemon *daemon,
			  const struct own_settings *settings, const char *name, const char *more)
{
	fprintf(file,
		"\n[profile %s]\nrole = server\ncertificate = %s\nprivate-key = %s\n"
		"min-version = TLS%s\nciphers = %s\nallow = everyone\ntimeout-ms = 60000\n%s",
		name, daemon->certificate, daemon->key, settings->tls, settings->cipher, more);
	if (!strstr(more, "records"))
		fprintf(file, "records = %s\n", settings->records);
}

static int configuration_write(const struct own_daemon *daemon, const struct own_settings *settings,
			       const char *path)
{
	char mutual[160];
	FILE *file = fopen(path, "wxe");
	int bad;

	if (!file)
		return -1;
	fprintf(file,
		"[daemon]\nworkers = %u\nrelays = 1\nsocket = %s\nstate-directory = %s/state\n"
		"watch = no\nlog-level = warning\nhandshakes-total = 40000\n"
		"handshakes-per-user = 40000\nrelayed-total = 40000\nrelayed-per-user = 40000\n%s",
		settings->workers, daemon->socket, daemon->directory,
		geteuid() == 0 ? "user = nobody\n" : "");
	snprintf(mutual, sizeof(mutual), "client-certificates = require\ntrust = %s/trust.pem\n",
		 daemon->directory);
	profile_write(file, daemon, settings, "full", "");
	profile_write(file, daemon, settings, "resumed", "");
	profile_write(file, daemon, settings, "early-data", "early-data = 16384\n");
	/* For throughput, where the way of the records is what is measured. */
	profile_write(file, daemon, settings, "relay", "records = relay\n");
	profile_write(file, daemon, settings, "kernel", "records = kernel\n");
	if (settings->trust[0])
		profile_write(file, daemon, settings, "mutual", mutual);
	if (settings->post_quantum)
		profile_write(file, daemon, settings, "post-quantum",
			      "groups = " GROUP_POST_QUANTUM "\n");
	bad = ferror(file);
	return fclose(file) != 0 || bad ? -1 : 0;
}

/* ---- Its process --------------------------------------------------------------------------- */

/* Beside this program, or where it is installed from there. */
static void program_find(char *path, size_t size)
{
	static const char *const places[] = {"/handshaked", "/../sbin/handshaked"};
	char self[PROGRAM_SIZE - 64];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length < 0 ? 0 : length] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, size, "%s%s", self, places[i]);
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, size, "handshaked");
}

static pid_t program_start(const struct own_daemon *daemon, const char *config)
{
	char program[PROGRAM_SIZE], log[128];
	pid_t pid;
	int fd;

	program_find(program, sizeof(program));
	snprintf(log, sizeof(log), "%s/log", daemon->directory);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		signal(SIGPIPE, SIG_DFL);
		if (fd >= 0) {
			dup2(fd, STDOUT_FILENO);
			dup2(fd, STDERR_FILENO);
		}
		execlp(program, program, "--foreground", "--config", config, (char *)NULL);
		fprintf(stderr, "cannot start \"%s\": %s\n", program, strerror(errno));
		_exit(127);
	}
	if (fd >= 0)
		close(fd);
	return pid;
}

static unsigned workers_there(pid_t pid)
{
	struct cpu_parts parts = {.count = 0};
	unsigned workers = 0;

	cpu_parts_add_daemon(&parts, pid);
	for (unsigned i = 0; i < parts.count; i++)
		workers += strcmp(parts.names[i], "worker") == 0;
	return workers;
}

/* The last lines of its log say what is wrong. */
static void tell_log(const struct own_daemon *daemon, char *error, size_t size)
{
	char path[128], text[1024] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", daemon->directory);
	file = fopen(path, "re");
	if (file) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	text[strcspn(text, "\n")] = '\0';
	snprintf(error, size, "the daemon did not start: %s", text);
}

static int own_daemon_wait(const struct own_daemon *daemon, unsigned workers, char *error,
			   size_t size)
{
	double end = clock_seconds() + START_TIMEOUT;
	struct message message;
	char silent[256];

	while (clock_seconds() < end && waitpid(daemon->pid, NULL, WNOHANG) == 0) {
		/* The first worker answers before the last one is there. */
		if (daemon_status_ask(daemon->socket, &message, silent, sizeof(silent)) == 0 &&
		    workers_there(daemon->pid) >= workers)
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	tell_log(daemon, error, size);
	return -1;
}

int own_daemon_start(const struct own_settings *settings, struct own_daemon *ret_daemon,
		     char *error, size_t size)
{
	struct own_daemon daemon = {.pid = -1};
	char config[128], path[128];
	FILE *trust;

	if (own_directory_make(daemon.directory, sizeof(daemon.directory), error, size) < 0)
		return -1;
	snprintf(daemon.socket, sizeof(daemon.socket), "%s/socket", daemon.directory);
	snprintf(daemon.certificate, sizeof(daemon.certificate), "%s/cert.pem", daemon.directory);
	snprintf(daemon.key, sizeof(daemon.key), "%s/key.pem", daemon.directory);
	snprintf(config, sizeof(config), "%s/handshaked.conf", daemon.directory);
	snprintf(path, sizeof(path), "%s/trust.pem", daemon.directory);
	trust = fopen(path, "wxe");
	if (trust) {
		fputs(settings->trust, trust);
		fclose(trust);
	}
	snprintf(path, sizeof(path), "%s/state", daemon.directory);
	if (own_certificate_make(settings->key_type, daemon.certificate, daemon.key, error, size) <
	    0) {
		own_daemon_stop(&daemon);
		return -1;
	}
	if (!trust || mkdir(path, 0700) < 0 || configuration_write(&daemon, settings, config) < 0) {
		snprintf(error, size, "cannot write into \"%s\": %s", daemon.directory,
			 strerror(errno));
		own_daemon_stop(&daemon);
		return -1;
	}
	daemon.pid = program_start(&daemon, config);
	if (daemon.pid < 0 || own_daemon_wait(&daemon, settings->workers, error, size) < 0) {
		own_daemon_stop(&daemon);
		return -1;
	}
	*ret_daemon = daemon;
	return 0;
}

void own_daemon_stop(struct own_daemon *daemon)
{
	if (daemon->pid > 0 && kill(daemon->pid, SIGTERM) == 0)
		waitpid(daemon->pid, NULL, 0);
	if (daemon->directory[0])
		own_directory_remove(daemon->directory);
	*daemon = (struct own_daemon){.pid = -1};
}
