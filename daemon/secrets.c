// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon's own secrets, in memory that its processes share. The supervisor alone writes, there and in
 * the state directory. Must never leave a secret where others can read it, nor use one that they could.
 */
#include "secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file.h"

#define FILE_HEAD "handshaked secrets 1\n"

enum {
	FILE_MAX = 16384, /* bytes */
	TOKEN_ROTATION_S = 7 * 24 * 60 * 60,
	TICKET_EPOCHS = 2,
	TRIES_MAX = 1 << 24, /* some tenths of a second */
};

struct epochs {
	unsigned count;
	struct secret items[SECRET_EPOCHS]; /* newest first */
};

struct shared {
	/* Odd while the supervisor writes. */
	_Atomic uint32_t sequence;
	struct epochs kinds[SECRET_KINDS];
};

struct secrets {
	char *directory; /* NULL: none */
	unsigned ticket_rotation_s;
	/* The supervisor's: what is shown below a worker may have written to. */
	struct epochs *kinds;
	struct shared *shared;
};

static const char *const kind_words[SECRET_KINDS] = {"token", "ticket"};

static unsigned kind_epochs(enum secret_kind kind)
{
	return kind == SECRET_TICKET ? TICKET_EPOCHS : SECRET_EPOCHS;
}

static unsigned kind_rotation_s(const struct secrets *secrets, enum secret_kind kind)
{
	return kind == SECRET_TICKET ? secrets->ticket_rotation_s : TOKEN_ROTATION_S;
}

/* ---- Epochs -------------------------------------------------------------------------------- */

static bool id_is_taken(const struct epochs *epochs, uint32_t id)
{
	for (unsigned i = 0; i < epochs->count; i++)
		if (epochs->items[i].id == id)
			return true;
	return false;
}

/* A new newest one. false: the machine has no randomness to give. */
static bool epochs_push(struct epochs *epochs, int64_t now)
{
	struct secret fresh = {.made = now};

	if (gnutls_rnd(GNUTLS_RND_KEY, fresh.key, sizeof(fresh.key)) < 0)
		return false;
	do {
		if (gnutls_rnd(GNUTLS_RND_NONCE, &fresh.id, sizeof(fresh.id)) < 0)
			return false;
	} while (id_is_taken(epochs, fresh.id));
	memmove(&epochs->items[1], &epochs->items[0],
		sizeof(epochs->items) - sizeof(epochs->items[0]));
	epochs->items[0] = fresh;
	if (epochs->count < SECRET_EPOCHS)
		epochs->count++;
	explicit_bzero(&fresh, sizeof(fresh));
	return true;
}

/* What was replaced longer ago than the schedule lets it be accepted, as after a long stop. */
static void epochs_prune(struct epochs *epochs, unsigned most, unsigned rotation_s, int64_t now)
{
	unsigned keep = 1;

	while (keep < epochs->count && keep < most &&
	       now - epochs->items[keep].made < (int64_t)rotation_s * most)
		keep++;
	if (epochs->count <= keep)
		return;
	explicit_bzero(&epochs->items[keep], (epochs->count - keep) * sizeof(epochs->items[0]));
	epochs->count = keep;
}

/* Seconds until the newest is to be replaced; 0 also where the clock was set back behind it. */
static int64_t epochs_due(const struct epochs *epochs, unsigned rotation_s, int64_t now)
{
	int64_t age = epochs->count ? now - epochs->items[0].made : -1;

	return age < 0 || age >= (int64_t)rotation_s ? 0 : (int64_t)rotation_s - age;
}

/* ---- The state directory ------------------------------------------------------------------- */

static int directory_check(const char *directory, struct problem *problem)
{
	struct stat status;

	if (stat(directory, &status) < 0)
		return problem_set(problem, "state-directory \"%s\" cannot be used: %s%s",
				   directory, strerror(errno),
				   errno == ENOENT ? "; make it (mkdir -p -m 700)" : "");
	if (!S_ISDIR(status.st_mode))
		return problem_set(problem, "state-directory \"%s\" is no directory", directory);
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return problem_set(
		    problem,
		    "state-directory \"%s\" belongs to user %u, who can replace the secrets in it;"
		    " chown it to root or to the user that starts the daemon (%u)",
		    directory, (unsigned)status.st_uid, (unsigned)geteuid());
	if (status.st_mode & (S_IWGRP | S_IWOTH))
		return problem_set(
		    problem,
		    "state-directory \"%s\": others may write to it (mode %04o); chmod"
		    " 700 it",
		    directory, (unsigned)status.st_mode & 07777);
	return 0;
}

/* One that is not there is made, if there is where to make it. */
static int directory_make(const char *directory, struct problem *problem)
{
	if (mkdir(directory, 0700) < 0 && errno != EEXIST && errno != ENOENT)
		return problem_set(problem, "state-directory \"%s\" cannot be made: %s", directory,
				   strerror(errno));
	return directory_check(directory, problem);
}

static int path_make(const char *directory, const char *name, char **ret_path,
		     struct problem *problem)
{
	if (asprintf(ret_path, "%s/%s", directory, name) < 0)
		return problem_set(problem, "out of memory");
	return 0;
}

static bool hex_read(const char *text, uint8_t *bytes, size_t size)
{
	const gnutls_datum_t hex = {(unsigned char *)text, (unsigned)strlen(text)};
	size_t read = size;

	return hex.size == 2 * size && gnutls_hex_decode(&hex, bytes, &read) == 0 && read == size;
}

static bool number_read(const char *text, int base, long long *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoll(text, &end, base);
	return errno == 0 && end != text && *end == '\0';
}

/* "KIND ID SECONDS KEY" */
static bool line_read(char *line, struct epochs kinds[SECRET_KINDS])
{
	const char *words[4];
	struct secret secret;
	struct epochs *epochs = NULL;
	long long id = -1, made = 0;
	bool good = true;

	for (int i = 0; i < 4; i++)
		words[i] = strsep(&line, " ");
	good = words[3] != NULL && line == NULL && number_read(words[1], 16, &id) && id >= 0 &&
	       id <= UINT32_MAX && number_read(words[2], 10, &made) &&
	       hex_read(words[3], secret.key, sizeof(secret.key));
	for (int kind = 0; good && kind < SECRET_KINDS; kind++)
		if (strcmp(words[0], kind_words[kind]) == 0)
			epochs = &kinds[kind];
	good =
	    epochs != NULL && epochs->count < SECRET_EPOCHS && !id_is_taken(epochs, (uint32_t)id);
	if (good) {
		secret.id = (uint32_t)id;
		secret.made = made;
		epochs->items[epochs->count++] = secret;
	}
	explicit_bzero(&secret, sizeof(secret));
	return good;
}

static int text_read(char *text, const char *path, struct epochs kinds[SECRET_KINDS],
		     struct problem *problem)
{
	char *rest = text + strlen(FILE_HEAD), *line;
	bool good = strncmp(text, FILE_HEAD, strlen(FILE_HEAD)) == 0;

	while (good && (line = strsep(&rest, "\n")) != NULL && *line != '\0')
		good = line_read(line, kinds);
	if (good)
		return 0;
	return problem_set(problem,
			   "secrets \"%s\" is not what the daemon wrote; remove it, and tickets and"
			   " tokens from before are worth nothing any more",
			   path);
}

/* What an earlier daemon kept, if there was one. */
static int state_read(const char *directory, struct epochs kinds[SECRET_KINDS],
		      struct problem *problem)
{
	struct file file = {0};
	char *path = NULL;
	int error = -1;

	if (path_make(directory, "secrets", &path, problem) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT) {
		free(path);
		return 0;
	}
	if (file_read(path, "secrets", FILE_MAX, &file, problem) < 0)
		goto out;
	if (file.status.st_mode & (S_IRWXG | S_IRWXO))
		problem_set(
		    problem,
		    "secrets \"%s\": others may use the file (mode %04o), so its secrets are"
		    " none; remove it",
		    path, (unsigned)file.status.st_mode & 07777);
	else if (file.status.st_uid != geteuid())
		problem_set(problem,
			    "secrets \"%s\" belongs to user %u, not to the user that starts the"
			    " daemon (%u); remove it",
			    path, (unsigned)file.status.st_uid, (unsigned)geteuid());
	else
		error = text_read(file.data, path, kinds, problem);
out:
	file_done(&file);
	free(path);
	return error;
}

static size_t text_write(const struct epochs kinds[SECRET_KINDS], char *text, size_t size)
{
	size_t length = (size_t)snprintf(text, size, "%s", FILE_HEAD);

	for (int kind = 0; kind < SECRET_KINDS; kind++)
		for (unsigned i = 0; i < kinds[kind].count; i++) {
			const struct secret *secret = &kinds[kind].items[i];

			length +=
			    (size_t)snprintf(text + length, size - length, "%s %08x %lld ",
					     kind_words[kind], secret->id, (long long)secret->made);
			for (size_t j = 0; j < SECRET_SIZE; j++)
				length += (size_t)snprintf(text + length, size - length, "%02x",
							   secret->key[j]);
			length += (size_t)snprintf(text + length, size - length, "\n");
		}
	return length;
}

static int text_store(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != (ssize_t)length)
		error = errno ? -errno : -ENOSPC;
	if (error == 0 && fsync(fd) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int directory_sync(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	error = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
	close(fd);
	return error;
}

/* All or nothing, whenever the power goes. */
static int state_write(const char *directory, const struct epochs kinds[SECRET_KINDS],
		       struct problem *problem)
{
	char *path = NULL, *fresh = NULL, text[FILE_MAX];
	size_t length;
	int error;

	if (path_make(directory, "secrets", &path, problem) < 0 ||
	    path_make(directory, "secrets.new", &fresh, problem) < 0) {
		free(path);
		return -1;
	}
	length = text_write(kinds, text, sizeof(text));
	unlink(fresh);
	errno = 0;
	error = text_store(fresh, text, length);
	explicit_bzero(text, sizeof(text));
	if (error == 0 && rename(fresh, path) < 0)
		error = -errno;
	if (error == 0)
		error = directory_sync(directory);
	else
		unlink(fresh);
	if (error < 0)
		problem_set(problem, "secrets \"%s\" cannot be written: %s", path,
			    strerror(-error));
	free(path);
	free(fresh);
	return error < 0 ? -1 : 0;
}

/* ---- What the processes share -------------------------------------------------------------- */

static void shared_publish(struct secrets *secrets, const struct epochs kinds[SECRET_KINDS])
{
	struct shared *shared = secrets->shared;
	uint32_t sequence = atomic_load_explicit(&shared->sequence, memory_order_relaxed) & ~1u;

	atomic_store_explicit(&shared->sequence, sequence + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy(shared->kinds, kinds, sizeof(shared->kinds));
	atomic_store_explicit(&shared->sequence, sequence + 2, memory_order_release);
	memcpy(secrets->kinds, kinds, sizeof(shared->kinds));
}

unsigned secrets_get(const struct secrets *secrets, enum secret_kind kind,
		     struct secret ret_secrets[SECRET_EPOCHS])
{
	const struct shared *shared = secrets->shared;
	struct epochs copy;
	uint32_t before, after;
	unsigned tries = TRIES_MAX;

	/* The writer needs a microsecond, every some hours. What never ends is the work of a worker that was
	 * taken over. */
	do {
		if (tries-- == 0) {
			explicit_bzero(&copy, sizeof(copy));
			return 0;
		}
		before = atomic_load_explicit(&shared->sequence, memory_order_acquire);
		memcpy(&copy, &shared->kinds[kind], sizeof(copy));
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&shared->sequence, memory_order_relaxed);
	} while (before != after || before % 2 != 0);
	if (copy.count > SECRET_EPOCHS)
		copy.count = SECRET_EPOCHS;
	memcpy(ret_secrets, copy.items, copy.count * sizeof(copy.items[0]));
	explicit_bzero(copy.items, sizeof(copy.items));
	return copy.count;
}

/* ---- Making and rotating ------------------------------------------------------------------- */

int64_t secrets_rotate_due(const struct secrets *secrets)
{
	int64_t now = time(NULL), next = INT64_MAX;

	for (int kind = 0; kind < SECRET_KINDS; kind++) {
		int64_t due = epochs_due(&secrets->kinds[kind],
					 kind_rotation_s(secrets, (enum secret_kind)kind), now);

		next = due < next ? due : next;
	}
	return next;
}

int secrets_check(const char *directory, struct problem *problem)
{
	struct epochs kinds[SECRET_KINDS];
	int error;

	memset(kinds, 0, sizeof(kinds));
	error = directory_check(directory, problem);
	if (error == 0)
		error = state_read(directory, kinds, problem);
	if (error == 0 && access(directory, W_OK | X_OK) < 0)
		error = problem_set(problem, "state-directory \"%s\": user %u may not write to it",
				    directory, (unsigned)geteuid());
	explicit_bzero(kinds, sizeof(kinds));
	return error;
}

/* On a copy: 1 if something changed, 0 if nothing did, -1 without randomness. */
static int kinds_rotate(const struct secrets *secrets, struct epochs kinds[SECRET_KINDS])
{
	int64_t now = time(NULL);
	int changed = 0;

	for (int i = 0; i < SECRET_KINDS; i++) {
		enum secret_kind kind = (enum secret_kind)i;
		unsigned rotation_s = kind_rotation_s(secrets, kind), before;

		if (epochs_due(&kinds[i], rotation_s, now) == 0) {
			if (!epochs_push(&kinds[i], now))
				return -1;
			changed = 1;
		}
		before = kinds[i].count;
		epochs_prune(&kinds[i], kind_epochs(kind), rotation_s, now);
		changed = changed || kinds[i].count != before;
	}
	return changed;
}

int secrets_rotate(struct secrets *secrets, struct problem *problem)
{
	struct epochs kinds[SECRET_KINDS];
	int changed, error = 0;

	memcpy(kinds, secrets->kinds, sizeof(kinds));
	changed = kinds_rotate(secrets, kinds);
	if (changed < 0) {
		error = problem_set(problem, "no new secret can be made: no randomness");
	} else if (changed > 0) {
		/* In use it goes in any case: an old secret is the greater evil. */
		if (secrets->directory != NULL)
			error = state_write(secrets->directory, kinds, problem);
		shared_publish(secrets, kinds);
	}
	explicit_bzero(kinds, sizeof(kinds));
	return error;
}

int secrets_change(struct secrets *secrets, const char *directory, unsigned rotation_s,
		   struct problem *problem)
{
	bool same =
	    directory == secrets->directory || (directory != NULL && secrets->directory != NULL &&
						strcmp(directory, secrets->directory) == 0);
	char *copy = NULL;

	if (!same && directory != NULL) {
		copy = strdup(directory);
		if (copy == NULL)
			return problem_set(problem, "out of memory");
		if (directory_make(directory, problem) < 0 ||
		    state_write(directory, secrets->kinds, problem) < 0) {
			free(copy);
			return -1;
		}
	}
	if (!same) {
		free(secrets->directory);
		secrets->directory = copy;
	}
	secrets->ticket_rotation_s = rotation_s;
	return 0;
}

static int secrets_fill(struct secrets *secrets, struct problem *problem)
{
	struct epochs kinds[SECRET_KINDS];
	int error = 0;

	memset(kinds, 0, sizeof(kinds));
	if (secrets->directory != NULL && (directory_make(secrets->directory, problem) < 0 ||
					   state_read(secrets->directory, kinds, problem) < 0))
		error = -1;
	if (error == 0) {
		shared_publish(secrets, kinds);
		error = secrets_rotate(secrets, problem);
	}
	explicit_bzero(kinds, sizeof(kinds));
	return error;
}

/* NULL: there is none. */
static void *memory_map(size_t size, int kind)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, size, MADV_DONTDUMP);
	return memory;
}

int secrets_new(const char *directory, unsigned rotation_s, struct secrets **ret_secrets,
		struct problem *problem)
{
	struct secrets *secrets = calloc(1, sizeof(*secrets));

	if (secrets != NULL) {
		secrets->shared = memory_map(sizeof(struct shared), MAP_SHARED);
		secrets->kinds = memory_map(SECRET_KINDS * sizeof(struct epochs), MAP_PRIVATE);
	}
	if (secrets == NULL || secrets->shared == NULL || secrets->kinds == NULL) {
		secrets_free(secrets);
		return problem_set(problem, "out of memory");
	}
	/* No child has it. */
	madvise(secrets->kinds, SECRET_KINDS * sizeof(struct epochs), MADV_WIPEONFORK);
	secrets->ticket_rotation_s = rotation_s;
	if (directory != NULL)
		secrets->directory = strdup(directory);
	if (directory != NULL && secrets->directory == NULL)
		problem_set(problem, "out of memory");
	else if (secrets_fill(secrets, problem) == 0) {
		*ret_secrets = secrets;
		return 0;
	}
	secrets_free(secrets);
	return -1;
}

void secrets_protect(struct secrets *secrets)
{
	mprotect(secrets->shared, sizeof(*secrets->shared), PROT_READ);
}

void secrets_free(struct secrets *secrets)
{
	if (secrets == NULL)
		return;
	if (secrets->shared != NULL)
		munmap(secrets->shared, sizeof(*secrets->shared));
	if (secrets->kinds != NULL)
		munmap(secrets->kinds, SECRET_KINDS * sizeof(struct epochs));
	free(secrets->directory);
	free(secrets);
}
