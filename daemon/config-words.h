/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the configuration file: finding one, and the nearest to one that is not known. */
#ifndef CONFIG_WORDS_H
#define CONFIG_WORDS_H

#include <stddef.h>

struct config_word {
	const char *word; /* NULL ends a list */
	int value;
};

extern const struct config_word config_role_words[];
extern const struct config_word config_client_certificates_words[];
extern const struct config_word config_revocation_words[];
extern const struct config_word config_records_words[];
extern const struct config_word config_version_words[];
extern const struct config_word config_cipher_words[];
extern const struct config_word config_order_words[];   /* 1: client */
extern const struct config_word config_boolean_words[]; /* yes, no */
extern const struct config_word config_unknown_words[]; /* 1: refuse */
extern const struct config_word config_engine_words[];
extern const struct config_word config_log_level_words[];

/* The word's entry, or NULL. Exact: case counts. */
const struct config_word *config_word_find(const struct config_word *words, const char *text);
/* The word of a value, or "?". */
const char *config_word_of(const struct config_word *words, int value);
/* The known word that is nearest to text, or NULL when none is near enough to be meant. words has
 * count strings. */
const char *config_nearest(const char *text, const char *const *words, size_t count);
const char *config_word_nearest(const struct config_word *words, const char *text);
/* "kernel, relay or auto" into buffer. */
const char *config_words_list(const struct config_word *words, char *buffer, size_t size);

#endif
