/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of options that both measurements take, and the words that both ends of one know. The readers judge form
 * only and print nothing. */
#ifndef PERF_VALUES_H
#define PERF_VALUES_H

#include "../options.h"

/* Each ends with NULL. */
extern const char *const value_versions[];  /* of TLS: "1.2", "1.3" */
extern const char *const value_key_types[]; /* of the server: "ecdsa", "rsa" */
extern const char *const value_ciphers[];   /* as GnuTLS and the configuration name them */
extern const char *const value_records[];   /* "auto", "kernel", "relay" */

/* Where the word stands among those; -1: nowhere. */
int value_find(const char *text, const char *const *words);
/* The same; -1 with a sentence that names them all. */
int value_read_word(const char *text, const char *const *words, struct options_problem *problem);
/* Takes it if it is one of those. 0 or -1. */
int value_read_name(const char *text, const char *const *words, const char **ret_name,
		    struct options_problem *problem);
/* From 1 to most. 0 or -1. */
int value_read_count(const char *text, uint64_t most, unsigned *ret_count,
		     struct options_problem *problem);
/* A time with its unit, from a millisecond to an hour; bare: seconds. 0 or -1. */
int value_read_seconds(const char *text, double *ret_seconds, struct options_problem *problem);

/* One part of a list, the at-th from 0. 0 or -1. */
typedef int value_take(void *context, const char *word, unsigned at,
		       struct options_problem *problem);
/* Parts that commas divide, most of them at most. 0, or -1: there are more, or take() refused one. */
int value_read_list(const char *text, unsigned most, value_take *take, void *context,
		    struct options_problem *problem);

#endif
