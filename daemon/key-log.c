// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The key log. Touches its file alone. Never waits, never keeps a secret in memory, and never writes
 * anywhere but to the file that the administrator named.
 */
#include "key-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

enum { RANDOM_SIZE = 32, SECRET_MAX = 64, LABEL_MAX = 64 };

static int file_check(int fd, const char *path, struct problem *problem)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return problem_set(problem, "key-log: \"%s\": %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return problem_set(problem, "key-log: \"%s\" is no regular file", path);
	if (status.st_uid != geteuid())
		return problem_set(problem,
				   "key-log: \"%s\" belongs to user %u: whoever reads it reads all "
				   "connections; it must be the daemon's own",
				   path, status.st_uid);
	if (status.st_mode & 077)
		return problem_set(problem,
				   "key-log: \"%s\" has the mode %04o: whoever reads it reads all "
				   "connections; chmod 600 it",
				   path, status.st_mode & 07777);
	return 0;
}

int key_log_open(const char *path, struct key_log *ret_log, struct problem *problem)
{
	int fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
	    0600);

	if (fd < 0)
		return problem_set(problem, "key-log: cannot open \"%s\": %s", path,
				   errno == ELOOP ? "it is a symbolic link" : strerror(errno));
	if (file_check(fd, path, problem) < 0) {
		close(fd);
		return -1;
	}
	ret_log->fd = fd;
	return 0;
}

void key_log_close(struct key_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}

static size_t hex_write(char *text, const unsigned char *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[data[i] >> 4];
		text[2 * i + 1] = digits[data[i] & 15];
	}
	return 2 * size;
}

void key_log_write(const struct key_log *log, gnutls_session_t session, const char *label,
		   const gnutls_datum_t *secret)
{
	static struct log_rate failures;
	char line[LABEL_MAX + 1 + 2 * RANDOM_SIZE + 1 + 2 * SECRET_MAX + 1];
	gnutls_datum_t client, server;
	size_t length;
	ssize_t written;

	if (!log || log->fd < 0 || strlen(label) > LABEL_MAX || secret->size > SECRET_MAX)
		return;
	gnutls_session_get_random(session, &client, &server);
	if (!client.data || client.size != RANDOM_SIZE)
		return;
	length = (size_t)snprintf(line, sizeof(line), "%s ", label);
	length += hex_write(line + length, client.data, client.size);
	line[length++] = ' ';
	length += hex_write(line + length, secret->data, secret->size);
	line[length++] = '\n';
	written = write(log->fd, line, length);
	if (written != (ssize_t)length && log_allowed(&failures))
		log_warning("the key log lacks a line: %s",
			    written < 0 ? strerror(errno) : "the disk is full");
	explicit_bzero(line, sizeof(line));
}

void key_log_write_resumed(const struct key_log *log, gnutls_session_t session)
{
	gnutls_datum_t secret = {NULL, 0};

	if (!log || log->fd < 0 || gnutls_protocol_get_version(session) != GNUTLS_TLS1_2 ||
	    !gnutls_session_is_resumed(session))
		return;
	gnutls_session_get_master_secret(session, &secret); /* the session's own memory */
	if (secret.data)
		key_log_write(log, session, "CLIENT_RANDOM", &secret);
}
