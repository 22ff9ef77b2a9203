// SPDX-License-Identifier: LGPL-2.1-or-later
// Which certificates a profile has: what the configuration names, and the pairs of a directory. Reads
// that directory and no file in it; never leaves a certificate out in silence.
#include "certificate-list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ENTRIES_MAX = 100000, // of a directory
	CERTIFICATES_MAX = 20000,
};

enum ending { PEM, CRT, KEY, OCSP, ENDINGS };

static const char *const endings[] = {
    [PEM] = ".pem", [CRT] = ".crt", [KEY] = ".key", [OCSP] = ".ocsp"};

struct entry {
	char *name; // without its ending
	enum ending ending;
};

struct entries {
	struct entry *items;
	size_t count, room;
};

static bool entry_split(const char *name, size_t *ret_length, enum ending *ret_ending)
{
	size_t length = strlen(name);

	for (int i = 0; i < ENDINGS; i++) {
		size_t ending = strlen(endings[i]);

		if (length <= ending || strcmp(name + length - ending, endings[i]) != 0)
			continue;
		*ret_length = length - ending;
		*ret_ending = (enum ending)i;
		return true;
	}
	return false;
}

static int entry_add(struct entries *entries, const char *name, size_t length, enum ending ending)
{
	if (entries->count == entries->room) {
		size_t room = entries->room ? entries->room * 2 : 64;
		struct entry *larger = reallocarray(entries->items, room, sizeof(*larger));

		if (!larger)
			return -1;
		entries->items = larger;
		entries->room = room;
	}
	entries->items[entries->count].ending = ending;
	entries->items[entries->count].name = strndup(name, length);
	return entries->items[entries->count].name ? (int)entries->count++ : -1;
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (int)x->ending - (int)y->ending;
}

static int directory_fill(DIR *directory, const char *path, struct entries *entries,
			  struct problem *problem)
{
	const struct dirent *found;
	unsigned seen = 0;

	while (errno = 0, (found = readdir(directory))) {
		enum ending ending;
		size_t length;

		if (++seen > ENTRIES_MAX)
			return problem_set(problem,
					   "certificate-directory \"%s\" has more than %d files",
					   path, ENTRIES_MAX);
		if (found->d_name[0] == '.' || !entry_split(found->d_name, &length, &ending))
			continue;
		if (entry_add(entries, found->d_name, length, ending) < 0)
			return problem_set(problem, "out of memory");
	}
	if (errno)
		return problem_set(problem, "certificate-directory \"%s\" cannot be read: %s", path,
				   strerror(errno));
	if (entries->count)
		qsort(entries->items, entries->count, sizeof(*entries->items), entry_compare);
	return 0;
}

static int directory_read(const char *path, struct entries *entries, struct problem *problem)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = -1;
	struct stat status;
	DIR *directory;

	if (fd < 0)
		return problem_set(problem, "certificate-directory \"%s\" cannot be opened: %s",
				   path, strerror(errno));
	if (fstat(fd, &status) == 0 && (status.st_mode & S_IWOTH)) {
		problem_set(
		    problem,
		    "certificate-directory \"%s\": everybody on this machine may write to it"
		    " (mode %04o); chmod o-w it, and look at what is in it",
		    path, (unsigned)status.st_mode & 07777);
		close(fd);
		return -1;
	}
	directory = fdopendir(fd);
	if (!directory) {
		problem_set(problem, "certificate-directory \"%s\" cannot be read: %s", path,
			    strerror(errno));
		close(fd);
		return -1;
	}
	error = directory_fill(directory, path, entries, problem);
	closedir(directory);
	return error;
}

static char *path_join(const char *directory, const char *name, enum ending ending)
{
	char *path;

	return asprintf(&path, "%s/%s%s", directory, name, endings[ending]) < 0 ? NULL : path;
}

static int orphan_add(struct certificate_list *list, const char *directory,
		      const struct entry *entry, struct problem *problem)
{
	char **larger = reallocarray(list->orphans, list->orphan_count + 1, sizeof(*larger));

	if (!larger)
		return problem_set(problem, "out of memory");
	list->orphans = larger;
	larger[list->orphan_count] = path_join(directory, entry->name, entry->ending);
	if (!larger[list->orphan_count])
		return problem_set(problem, "out of memory");
	list->orphan_count++;
	return 0;
}

// Room for one more, zeroed.
static struct config_certificate *item_add(struct certificate_list *list, struct problem *problem)
{
	struct config_certificate *larger;

	if (list->count == CERTIFICATES_MAX) {
		problem_set(problem, "a profile has at most %d certificates", CERTIFICATES_MAX);
		return NULL;
	}
	// Doubles: the count is a power of two whenever there is no room left.
	if ((list->count & (list->count - 1)) == 0) {
		larger =
		    reallocarray(list->items, list->count ? list->count * 2 : 1, sizeof(*larger));
		if (!larger) {
			problem_set(problem, "out of memory");
			return NULL;
		}
		list->items = larger;
	}
	memset(&list->items[list->count], 0, sizeof(*list->items));
	return &list->items[list->count++];
}

// All entries of one name, count of them.
static int pair_add(struct certificate_list *list, const char *directory,
		    const struct entry *entries, size_t count, struct problem *problem)
{
	const struct entry *found[ENDINGS] = {};
	struct config_certificate *item;
	enum ending own;

	for (size_t i = 0; i < count; i++)
		found[entries[i].ending] = &entries[i];
	if (found[PEM] && found[CRT])
		return problem_set(
		    problem,
		    "certificate-directory \"%s\" has both \"%s.pem\" and \"%s.crt\";"
		    " remove one",
		    directory, entries->name, entries->name);
	if (!found[PEM] && !found[CRT]) {
		for (size_t i = 0; i < count; i++)
			if (orphan_add(list, directory, &entries[i], problem) < 0)
				return -1;
		return 0;
	}
	own = found[PEM] ? PEM : CRT;
	if (!found[KEY])
		return problem_set(problem,
				   "certificate-directory \"%s\": the certificate \"%s%s\" has no"
				   " private key; put it beside it as \"%s.key\"",
				   directory, entries->name, endings[own], entries->name);
	item = item_add(list, problem);
	if (!item)
		return -1;
	item->certificate = path_join(directory, entries->name, own);
	item->private_key = path_join(directory, entries->name, KEY);
	if (found[OCSP])
		item->staple = path_join(directory, entries->name, OCSP);
	if (!item->certificate || !item->private_key || (found[OCSP] && !item->staple))
		return problem_set(problem, "out of memory");
	return 0;
}

static int directory_add(struct certificate_list *list, const char *path, struct problem *problem)
{
	struct entries entries = {};
	int error = directory_read(path, &entries, problem);

	for (size_t i = 0; error == 0 && i < entries.count;) {
		size_t next = i + 1;

		while (next < entries.count &&
		       !strcmp(entries.items[next].name, entries.items[i].name))
			next++;
		error = pair_add(list, path, &entries.items[i], next - i, problem);
		i = next;
	}
	for (size_t i = 0; i < entries.count; i++)
		free(entries.items[i].name);
	free(entries.items);
	return error;
}

static int named_add(struct certificate_list *list, const struct config_certificate *named,
		     struct problem *problem)
{
	struct config_certificate *item = item_add(list, problem);

	if (!item)
		return -1;
	item->line = named->line;
	item->certificate = strdup(named->certificate);
	item->private_key = strdup(named->private_key);
	item->pin_file = named->pin_file ? strdup(named->pin_file) : NULL;
	item->staple = named->staple ? strdup(named->staple) : NULL;
	if (!item->certificate || !item->private_key || (named->pin_file && !item->pin_file) ||
	    (named->staple && !item->staple))
		return problem_set(problem, "out of memory");
	return 0;
}

int certificate_list_new(const struct config_profile *config, struct certificate_list *ret_list,
			 struct problem *problem)
{
	struct certificate_list list = {};
	int error = 0;

	for (size_t i = 0; error == 0 && i < config->certificate_count; i++)
		error = named_add(&list, &config->certificates[i], problem);
	list.named = list.count;
	if (error == 0 && config->certificate_directory)
		error = directory_add(&list, config->certificate_directory, problem);
	if (error == 0 && !list.count && config->certificate_directory &&
	    config->roles == CONFIG_ROLE_SERVER)
		error = problem_set(problem,
				    "certificate-directory \"%s\" has no certificate (NAME.pem or"
				    " NAME.crt, each with its NAME.key), and a server needs one",
				    config->certificate_directory);
	if (error < 0) {
		certificate_list_done(&list);
		return -1;
	}
	*ret_list = list;
	return 0;
}

void certificate_list_done(struct certificate_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].certificate);
		free(list->items[i].private_key);
		free(list->items[i].pin_file);
		free(list->items[i].staple);
	}
	free(list->items);
	for (size_t i = 0; i < list->orphan_count; i++)
		free(list->orphans[i]);
	free(list->orphans);
	memset(list, 0, sizeof(*list));
}
