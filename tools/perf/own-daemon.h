/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A handshaked of the measurement's own, with a certificate of its own, in a directory of its own. */
#ifndef PERF_OWN_DAEMON_H
#define PERF_OWN_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

/* The groups of the key exchange, by GnuTLS's names. */
#define GROUP_CLASSICAL    "X25519"
#define GROUP_POST_QUANTUM "X25519-MLKEM768"

struct own_settings {
	const char *key_type;     /* "ecdsa" or "rsa" */
	const char *tls, *cipher; /* "1.3", "AES-128-GCM" */
	const char *trust;        /* PEM: whom mutual authentication believes */
	const char *records;      /* "auto", "kernel", "relay" */
	bool post_quantum;        /* with a profile for it */
	unsigned workers;
};

struct own_daemon {
	pid_t pid;
	char directory[64];
	char socket[96], certificate[96], key[96];
};

/* Makes certificate and key as files (PEM) in the directory, where mode 0600 keeps the key. 0, or -1 with a
 * sentence. */
int own_certificate_make(const char *key_type, const char *certificate, const char *key,
			 char *error, size_t size);
/* A directory that ends with this process, for the files of one end. 0 or -1 with a sentence. */
int own_directory_make(char *path, size_t path_size, char *error, size_t size);
void own_directory_remove(const char *path);
/* Starts it and waits until it serves. 0, or -1 with a sentence. */
int own_daemon_start(const struct own_settings *settings, struct own_daemon *ret_daemon,
		     char *error, size_t size);
/* Ends it and removes its directory. */
void own_daemon_stop(struct own_daemon *daemon);

#endif
