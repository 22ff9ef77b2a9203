/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The findings of "handshake doctor" and the examinations that make them, one file each. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum finding_state {
	FINDING_OK,
	FINDING_WARNING, /* works, but not as well as it could */
	FINDING_MISSING, /* does not work */
};

struct finding {
	enum finding_state state;
	char what[64];
	char detail[256];
	char remedy[256]; /* "": nothing to do */
};

enum { FINDINGS_MAX = 256 };

struct findings {
	size_t count;
	struct finding list[FINDINGS_MAX]; /* more are dropped */
};

/* Adds one; the caller fills what the result points to (never NULL). */
struct finding *findings_add(struct findings *findings, enum finding_state state, const char *what);
void finding_detail(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void finding_remedy(struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The running kernel: version, module, ciphers, rekeying, record limit, counters. True if at least one
 * cipher of TLS 1.3 can be used. */
bool doctor_kernel(struct findings *findings);
/* What the network devices and the handshake upcall offer. */
void doctor_network(struct findings *findings);
/* The TLS library, looked at without linking it. */
void doctor_library(struct findings *findings);
/* The daemon at the socket's path (NULL: the default). */
void doctor_daemon(struct findings *findings, const char *path);

#endif
