// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The listing of a directory. Touches the directory, reading names and sizes. Never lets a name be
 * anything but text in the page.
 */
#include "serve-index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "markup.h"
#include "serve-file.h"
#include "serve-path.h"

enum { ENTRIES_MAX = 20000 }; /* a page of more helps nobody and costs megabytes */

struct entry {
	char *name;
	bool directory;
	unsigned long long size;
	time_t modified;
};

struct entries {
	struct entry *list;
	size_t count, room;
	bool more; /* there were more than ENTRIES_MAX */
};

static void entries_free(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->list[i].name);
	free(entries->list);
}

static int entries_add(struct entries *entries, const char *name, const struct stat *status)
{
	if (entries->count == entries->room) {
		size_t room = entries->room ? entries->room * 2 : 64;
		struct entry *list = reallocarray(entries->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		entries->list = list;
		entries->room = room;
	}
	entries->list[entries->count] = (struct entry){
	    .name = strdup(name),
	    .directory = S_ISDIR(status->st_mode),
	    .size = (unsigned long long)status->st_size,
	    .modified = status->st_mtime,
	};
	return entries->list[entries->count++].name ? 0 : -ENOMEM;
}

/* Whether the entry would be served, and its state. A link is listed as what it leads to, and not at
 * all if that is not beneath the root: even the size of what lies outside is nobody's business. */
static bool entry_look(int root_fd, const char *path, int directory_fd, const char *name,
		       struct stat *ret_status)
{
	char full[SERVE_PATH_SIZE + 256];
	struct serve_file file;
	bool good;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    fstatat(directory_fd, name, ret_status, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!S_ISLNK(ret_status->st_mode))
		return S_ISREG(ret_status->st_mode) || S_ISDIR(ret_status->st_mode);
	snprintf(full, sizeof(full), "%s/%s", path, name);
	if (serve_file_open(root_fd, full, &file) < 0)
		return false;
	good = fstat(file.fd, ret_status) == 0;
	close(file.fd);
	return good;
}

static int entries_read(int root_fd, const char *path, DIR *directory, struct entries *entries)
{
	const struct dirent *entry;
	struct stat status;
	int r;

	while ((entry = readdir(directory))) {
		if (!entry_look(root_fd, path, dirfd(directory), entry->d_name, &status))
			continue;
		if (entries->count == ENTRIES_MAX) {
			entries->more = true;
			return 0;
		}
		r = entries_add(entries, entry->d_name, &status);
		if (r < 0)
			return r;
	}
	return 0;
}

static int entry_compare(const void *one, const void *other)
{
	return strcmp(((const struct entry *)one)->name, ((const struct entry *)other)->name);
}

static void entry_write(FILE *page, const struct entry *entry)
{
	char link[3 * 256 + 8], date[32];
	struct tm parts;

	if (serve_path_link(entry->name, entry->directory, link, sizeof(link)) < 0)
		return;
	gmtime_r(&entry->modified, &parts);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &parts);
	/* "./": a name with a colon is no scheme (RFC 3986, 4.2). */
	fprintf(page, "<tr><td><a href=\".%s\">", link);
	markup_write(page, entry->name, SIZE_MAX);
	fprintf(page, "%s</a></td><td>%s</td><td>", entry->directory ? "/" : "", date);
	if (!entry->directory)
		fprintf(page, "%llu", entry->size);
	fputs("</td></tr>\n", page);
}

static void page_write(FILE *page, const char *path, const struct entries *entries)
{
	const bool root = strcmp(path, ".") == 0;

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
	      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>/",
	      page);
	markup_write(page, root ? "" : path, SIZE_MAX);
	fputs("</title>\n<style>td{padding-right:2em}td:last-child{text-align:right}</style>"
	      "</head>\n<body>\n<h1>/",
	      page);
	markup_write(page, root ? "" : path, SIZE_MAX);
	fputs("</h1>\n<table>\n", page);
	if (!root)
		fputs("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n", page);
	for (size_t i = 0; i < entries->count; i++)
		entry_write(page, &entries->list[i]);
	fputs("</table>\n", page);
	if (entries->more)
		fprintf(page, "<p>There are more: only %d are shown.</p>\n", ENTRIES_MAX);
	fputs("</body>\n</html>\n", page);
}

int serve_index_make(int root_fd, int fd, const char *path, char **ret_page, size_t *ret_size)
{
	struct entries entries = {0};
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	FILE *page;

	*ret_page = NULL;
	if (!directory) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	r = entries_read(root_fd, path, directory, &entries);
	closedir(directory);
	page = r < 0 ? NULL : open_memstream(ret_page, ret_size);
	if (page) {
		if (entries.count)
			qsort(entries.list, entries.count, sizeof(entries.list[0]), entry_compare);
		page_write(page, path, &entries);
		if (fclose(page) == EOF) {
			free(*ret_page);
			*ret_page = NULL;
		}
	}
	entries_free(&entries);
	if (r < 0)
		return r;
	return *ret_page ? 0 : -ENOMEM;
}
