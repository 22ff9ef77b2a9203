// SPDX-License-Identifier: LGPL-2.1-or-later
// The words of the configuration file, and which known word somebody may have meant. Plain tables
// and plain computation; knows nothing of files or lines.
#include "config-words.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config.h"

const struct config_word config_role_words[] = {
    {"client", CONFIG_ROLE_CLIENT},
    {"server", CONFIG_ROLE_SERVER},
    {"both", CONFIG_ROLE_CLIENT | CONFIG_ROLE_SERVER},
    {},
};

const struct config_word config_client_certificates_words[] = {
    {"none", CONFIG_CLIENT_NONE},
    {"request", CONFIG_CLIENT_REQUEST},
    {"require", CONFIG_CLIENT_REQUIRE},
    {},
};

const struct config_word config_revocation_words[] = {
    {"none", CONFIG_REVOCATION_NONE},
    {"crl", CONFIG_REVOCATION_CRL},
    {"staple", CONFIG_REVOCATION_STAPLE},
    {"require", CONFIG_REVOCATION_REQUIRE},
    {},
};

const struct config_word config_records_words[] = {
    {"kernel", CONFIG_RECORDS_KERNEL},
    {"relay", CONFIG_RECORDS_RELAY},
    {"auto", CONFIG_RECORDS_AUTO},
    {},
};

const struct config_word config_version_words[] = {
    {"TLS1.2", CONFIG_TLS12},
    {"TLS1.3", CONFIG_TLS13},
    {},
};

const struct config_word config_cipher_words[] = {
    {"AES-128-GCM", CONFIG_AES_128_GCM},
    {"AES-256-GCM", CONFIG_AES_256_GCM},
    {"CHACHA20-POLY1305", CONFIG_CHACHA20_POLY1305},
    {"AES-128-CCM", CONFIG_AES_128_CCM},
    {},
};

const struct config_word config_order_words[] = {
    {"server", 0},
    {"client", 1},
    {},
};

const struct config_word config_boolean_words[] = {
    {"yes", 1},
    {"no", 0},
    {},
};

const struct config_word config_unknown_words[] = {
    {"refuse", 1},
    {"default-certificate", 0},
    {},
};

const struct config_word config_engine_words[] = {
    {"auto", CONFIG_ENGINE_AUTO},
    {"gnutls", CONFIG_ENGINE_GNUTLS},
    {"openssl", CONFIG_ENGINE_OPENSSL},
    {},
};

const struct config_word config_log_level_words[] = {
    {"error", CONFIG_LOG_ERROR},
    {"warning", CONFIG_LOG_WARNING},
    {"info", CONFIG_LOG_INFO},
    {"debug", CONFIG_LOG_DEBUG},
    {},
};

const struct config_word *config_word_find(const struct config_word *words, const char *text)
{
	for (; words->word; words++)
		if (!strcmp(words->word, text))
			return words;
	return NULL;
}

const char *config_word_of(const struct config_word *words, int value)
{
	for (; words->word; words++)
		if (words->value == value)
			return words->word;
	return "?";
}

static unsigned minimum(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

enum { WORD_SIZE = 64 };

// Edits (insert, remove, replace, swap two neighbours) that turn a into b; case does not count.
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_SIZE + 1];
	size_t a_length = strlen(a), b_length = strlen(b);

	if (a_length > WORD_SIZE || b_length > WORD_SIZE)
		return WORD_SIZE;
	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3];
		const unsigned *two_above = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			bool same = lower(a[i - 1]) == lower(b[j - 1]);

			row[j] = minimum(minimum(above[j], row[j - 1]) + 1,
					 above[j - 1] + (same ? 0 : 1));
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				row[j] = minimum(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

const char *config_nearest(const char *text, const char *const *words, size_t count)
{
	const char *best = NULL;
	// Beyond a third of the word's length a suggestion is a guess and misleads.
	unsigned best_distance = (unsigned)strlen(text) / 3 + 2;

	for (size_t i = 0; i < count; i++) {
		unsigned distance = edit_distance(text, words[i]);

		// "cert" for "certificate": a beginning of at least three letters counts as near.
		if (strlen(text) >= 3 && !strncasecmp(text, words[i], strlen(text)))
			distance = minimum(distance, 2);
		if (distance < best_distance && distance < strlen(words[i])) {
			best_distance = distance;
			best = words[i];
		}
	}
	return best;
}

const char *config_word_nearest(const struct config_word *words, const char *text)
{
	const char *list[16];
	size_t count = 0;

	for (; words->word && count < 16; words++)
		list[count++] = words->word;
	return config_nearest(text, list, count);
}

const char *config_words_list(const struct config_word *words, char *buffer, size_t size)
{
	size_t length = 0;

	buffer[0] = '\0';
	for (size_t i = 0; words[i].word && length < size; i++) {
		const char *separator = i == 0 ? "" : words[i + 1].word ? ", " : " or ";
		int n = snprintf(buffer + length, size - length, "%s%s", separator, words[i].word);

		length += n > 0 ? (size_t)n : 0;
	}
	return buffer;
}

const char *config_cipher_word(enum config_cipher cipher)
{
	return config_word_of(config_cipher_words, cipher);
}

const char *config_records_word(enum config_records records)
{
	return config_word_of(config_records_words, records);
}

const char *config_revocation_word(enum config_revocation revocation)
{
	return config_word_of(config_revocation_words, revocation);
}

const char *config_client_certificates_word(enum config_client_certificates value)
{
	return config_word_of(config_client_certificates_words, value);
}
