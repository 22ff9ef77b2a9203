/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the configuration's reading: the place in the file, and the values of keys. Only
 * config*.c include it. */
#ifndef CONFIG_READER_H
#define CONFIG_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "config-words.h"
#include "config.h"

enum { CONFIG_KEYS_MAX = 80 }; /* per kind of section */

struct config_reader;

struct config_key {
	const char *name; /* NULL ends a table */
	int (*read)(struct config_reader *reader, const char *value);
	bool list;     /* an indented line below continues it */
	bool repeated; /* may come several times */
};

struct config_reader {
	struct config *config;
	struct problem *problem;
	const char *path; /* of the file, for messages */
	char *directory;  /* of the file, with the final '/' */
	const char *text; /* the file; NUL-terminated */
	const char *position;
	unsigned line;
	unsigned problem_line;
	bool indented; /* the current line begins with a blank */
	/* The section that the current line is in: */
	char section[80];                            /* as it was written; "": none yet */
	struct config_key keys[CONFIG_KEYS_MAX + 1]; /* that may stand in it */
	const struct config_key *key;   /* of the line before; NULL behind a section's head */
	unsigned seen[CONFIG_KEYS_MAX]; /* line of each of keys, 0: not seen */
	struct config_profile *profile; /* NULL in [daemon] */
	unsigned daemon_line;
	char *user; /* the value of "user", looked up when everything is read */
	unsigned user_line;
	const char *word; /* the key that is being read, for messages */
};

/* Sets the problem with "PATH:LINE: " in front. Returns -1. */
int config_problem(struct config_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int config_problem_at(struct config_reader *reader, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For a file of another form whose content is put into the words of this one: begins a section, gives one of
 * its keys a value, and ends the last one. 0 or -1 with a problem, of reader->line. */
int config_section_begin(struct config_reader *reader, const char *name);
int config_key_set(struct config_reader *reader, const char *name, const char *value);
int config_section_end(struct config_reader *reader);
/* Reads a configuration of tlshd (config-tlshd.c). */
int config_tlshd_read(struct config_reader *reader, const char *path);

extern const struct config_key config_daemon_keys[];
extern const struct config_key config_kernel_keys[];
extern const struct config_key config_keyring_keys[]; /* of [kernel] */
int config_keyring_finish(struct config_reader *reader);
void config_keyring_done(struct config *config);
extern const struct config_key config_namespace_keys[]; /* of [kernel], too */
extern const struct config_key config_resumption_daemon_keys[];
extern const struct config_key config_signer_daemon_keys[];
extern const struct config_key config_signer_keys[];
extern const struct config_key config_resumption_keys[];
/* Those of a profile lie in one file for each thing that they are about; config.c lists the tables. */
extern const struct config_key config_profile_keys[];
extern const struct config_key config_authentication_keys[];
extern const struct config_key config_early_data_keys[];
extern const struct config_key config_key_exchange_keys[];
extern const struct config_key config_peer_keys[];
extern const struct config_key config_psk_keys[];
extern const struct config_key config_observation_keys[]; /* of [daemon] */
void config_observation_done(struct config *config);
extern const struct config_key config_raw_public_key_keys[];
extern const struct config_key config_records_keys[];

/* Starts [profile NAME]: a new profile with its defaults. 0 or -1 with a problem. */
int config_profile_begin(struct config_reader *reader, const char *name);
/* Judges the profile as a whole, when its section has ended. */
int config_profile_finish(struct config_reader *reader);
void config_profile_done(struct config_profile *profile);
/* The same, each for the keys of its file. */
int config_authentication_finish(struct config_reader *reader);
int config_early_data_finish(struct config_reader *reader);
void config_authentication_done(struct config_profile *profile);
int config_peer_finish(struct config_reader *reader);
void config_peer_done(struct config_profile *profile);
void config_resumption_defaults(struct config *config);
void config_resumption_profile_defaults(struct config_profile *profile);
/* Takes note of a line of a profile, so that sessions of before it was changed are not taken up again. */
void config_resumption_note(struct config_profile *profile, const char *key, const char *value);
int config_resumption_finish(struct config_reader *reader);
void config_resumption_done(struct config_profile *profile);
int config_key_exchange_finish(struct config_reader *reader);
void config_signer_finish(struct config *config);
void config_signer_done(struct config *config);
int config_psk_finish(struct config_reader *reader);
int config_raw_public_key_finish(struct config_reader *reader);
int config_records_finish(struct config_reader *reader);
void config_raw_public_key_done(struct config_profile *profile);
void config_psk_done(struct config_profile *profile);
/* Sets the defaults of [daemon], and judges it when the file has ended. */
int config_daemon_defaults(struct config_reader *reader);
int config_daemon_finish(struct config_reader *reader);
/* The same for [kernel]; to be judged when all profiles are known. */
void config_kernel_defaults(struct config *config);
int config_kernel_finish(struct config_reader *reader);
void config_kernel_done(struct config *config);
void config_namespaces_done(struct config *config);
bool config_seen(const struct config_reader *reader, const char *key);

/* Values. Each 0, or -1 with a problem that names reader->word and quotes the value. */
int config_value_number(struct config_reader *reader, const char *value, unsigned least,
			unsigned most, unsigned *ret_number);
int config_value_word(struct config_reader *reader, const char *value,
		      const struct config_word *words, int *ret_value);
/* Words that stand for 0 or something else. */
int config_value_boolean(struct config_reader *reader, const char *value,
			 const struct config_word *words, bool *ret_value);
/* Makes room for one more element, zeroed, in an array that grew by this alone. NULL with a problem. */
void *config_grow(struct config_reader *reader, void *array, size_t count, size_t size);
/* A new string; a relative path is taken from the directory of the file. Replaces *path. */
int config_value_path(struct config_reader *reader, const char *value, char **path);
int config_value_user(struct config_reader *reader, const char *name, uid_t *ret_uid,
		      gid_t *ret_gid);
int config_value_group(struct config_reader *reader, const char *name, gid_t *ret_gid);
/* Calls add for each word of the list that value is; the first failure ends it. */
int config_value_list(struct config_reader *reader, const char *value,
		      int (*add)(struct config_reader *, const char *));
/* Adds "user:NAME", "group:NAME" or "everyone". */
int config_allow_add(struct config_reader *reader, struct config_allow *allow, const char *word);
void config_allow_done(struct config_allow *allow);
/* Cuts the next word of a list (separated by commas or blanks) off *cursor; NULL at its end. */
char *config_value_next(char **cursor);

#endif
