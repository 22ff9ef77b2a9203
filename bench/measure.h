/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the programs of bench/ share beyond the parts of handshake-perf that they are linked with. */
#ifndef MEASURE_H
#define MEASURE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "perf/cpu.h"
#include "perf/ending.h"
#include "perf/tcp.h"

#define LOOPBACK "127.0.0.1"
/* GnuTLS's, where a program has no others; servers.py knows the same. */
#define PRIORITIES "NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ALL:+CTYPE-X509"

enum { PORT_MAX = 65535 };

/* The value of an option, at least that. */
static inline unsigned long number(const char *text, uint64_t least, uint64_t most)
{
	struct options_problem problem;
	uint64_t value;

	if (options_read_number(text, least, most, &value, &problem) < 0)
		die("%s", problem.text);
	return value;
}

#endif
