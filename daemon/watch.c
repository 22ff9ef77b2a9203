// SPDX-License-Identifier: LGPL-2.1-or-later
// Watches the configuration's files. inotify on their directories says that something may have happened
// (files are replaced by rename, links are turned); what has, is found by looking at the files' status.
// Opens none of them and reads nothing of them; bounded in watches, in wake-ups and in looks.
#include "watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certificate-list.h"
#include "config-files.h"
#include "log.h"

enum {
	QUIET_MS = 300,     // how long nothing must have happened
	PATIENCE_MS = 3000, // but no longer than that after the first change
	REST_MS = 1000,     // between two loads, at least; slow ones get as long as they took
	DIRECTORIES_MAX = 32768,
	LINKS_MAX = 40, // as the kernel (path_resolution(7))
	TICK_MS = 20,   // a file's times lag behind the clock by so much
};

struct watch {
	const struct config *config; // NULL: nothing is watched
	int fd;                      // of inotify; -1
	unsigned directories;
	bool told;        // that not all can be watched
	bool lost;        // a watched directory is no more where it was
	bool deaf;        // until the next look
	uint64_t known;   // the files' state, as loaded or as found bad
	uint64_t before;  // at watch_begin()
	uint64_t doubted; // the state for which a load was done twice
	int64_t since;    // the first change that was not looked at; 0: none
	int64_t due;
	int64_t begun; // watch_begin()
	struct timespec begun_real;
	int64_t rest_until;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct watch *watch_new(void)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->fd = -1;
	watch->due = INT64_MAX;
	return watch;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch);
}

// ---- The state of the files ----

struct look {
	uint64_t hash; // FNV-1a
	struct timespec newest;
};

static void hash_add(struct look *look, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		look->hash = (look->hash ^ bytes[i]) * 0x100000001b3u;
}

static void file_look(struct look *look, const char *path)
{
	struct stat status;

	hash_add(look, path, strlen(path) + 1);
	if (stat(path, &status) < 0) {
		hash_add(look, &errno, sizeof(errno));
		return;
	}
	hash_add(look, &status.st_dev, sizeof(status.st_dev));
	hash_add(look, &status.st_ino, sizeof(status.st_ino));
	hash_add(look, &status.st_size, sizeof(status.st_size));
	hash_add(look, &status.st_mtim, sizeof(status.st_mtim));
	// Moves with permissions and owner too, which a load looks at.
	hash_add(look, &status.st_ctim, sizeof(status.st_ctim));
	if (status.st_ctim.tv_sec > look->newest.tv_sec ||
	    (status.st_ctim.tv_sec == look->newest.tv_sec &&
	     status.st_ctim.tv_nsec > look->newest.tv_nsec))
		look->newest = status.st_ctim;
}

static void directory_look(struct look *look, const char *path)
{
	const struct config_profile only = {
	    .roles = CONFIG_ROLE_CLIENT,
	    .certificate_directory = (char *)path,
	};
	struct certificate_list list;
	struct problem problem = {};

	if (certificate_list_new(&only, &list, &problem) < 0) {
		hash_add(look, problem.text, strlen(problem.text) + 1);
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		file_look(look, list.items[i].certificate);
		file_look(look, list.items[i].private_key);
		if (list.items[i].staple)
			file_look(look, list.items[i].staple);
	}
	certificate_list_done(&list);
}

static void path_look(void *context, const char *path, enum config_file_kind kind)
{
	if (kind == CONFIG_DIRECTORY)
		directory_look(context, path);
	else
		file_look(context, path);
}

static struct look files_look(const struct config *config)
{
	struct look look = {.hash = 0xcbf29ce484222325u};

	if (config)
		config_files_each(config, path_look, &look);
	return look;
}

// ---- Where something can happen ----

static void directory_add(struct watch *watch, const char *path)
{
	const uint32_t events = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
				IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

	if (watch->directories < DIRECTORIES_MAX &&
	    inotify_add_watch(watch->fd, path, events | IN_ONLYDIR) >= 0) {
		watch->directories++;
		return;
	}
	if (watch->told)
		return;
	watch->told = true;
	if (watch->directories >= DIRECTORIES_MAX)
		log_warning("files lie in more than %d directories: what changes in others is seen"
			    " at a reload only",
			    DIRECTORIES_MAX);
	else
		log_warning("the directory \"%s\" cannot be watched: %s; what changes there is seen"
			    " at a reload only%s",
			    path, strerror(errno),
			    errno == ENOSPC ? "; raise fs.inotify.max_user_watches" : "");
}

// Cuts the last component off; of "/" nothing.
static void path_up(char *path)
{
	char *slash = strrchr(path, '/');

	slash[slash == path] = '\0';
}

// Watches each directory in which a link on the way can be turned, and the last one; where the way
// ends early, the directory in which it may be mended.
static void path_follow(struct watch *watch, const char *path)
{
	char done[PATH_MAX] = "/", rest[PATH_MAX], link[PATH_MAX], joined[PATH_MAX];
	unsigned links = 0;
	struct stat status;

	if (strlen(path) >= sizeof(rest))
		return;
	memcpy(rest, path, strlen(path) + 1);
	for (;;) {
		char *name = rest + strspn(rest, "/");
		size_t length = strcspn(name, "/"), left;
		ssize_t size;
		bool gone;

		if (!length)
			return;
		if ((length == 1 && name[0] == '.') || (length == 2 && !memcmp(name, "..", 2))) {
			if (length == 2)
				path_up(done);
			memmove(rest, name + length, strlen(name + length) + 1);
			continue;
		}
		left = strlen(done);
		if (left + 1 + length >= sizeof(done))
			return;
		memcpy(joined, done, left);
		if (left > 1)
			joined[left++] = '/';
		memcpy(joined + left, name, length);
		joined[left + length] = '\0';
		name += length;
		gone = lstat(joined, &status) < 0;
		if (gone || !name[strspn(name, "/")])
			directory_add(watch, done);
		if (gone)
			return;
		if (!S_ISLNK(status.st_mode)) {
			memcpy(done, joined, strlen(joined) + 1);
			memmove(rest, name, strlen(name) + 1);
			continue;
		}
		directory_add(watch, done);
		size = readlink(joined, link, sizeof(link) - 1);
		if (size <= 0 || ++links > LINKS_MAX ||
		    (size_t)size + 1 + strlen(name) >= sizeof(rest))
			return;
		link[size] = '\0';
		if (link[0] == '/')
			strcpy(done, "/");
		memmove(rest + size + 1, name, strlen(name) + 1);
		memcpy(rest, link, (size_t)size);
		rest[size] = '/';
	}
}

// In a directory of certificates only links lead elsewhere.
static void link_follow(struct watch *watch, const char *path)
{
	struct stat status;

	if (path && lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
		path_follow(watch, path);
}

static void directory_follow(struct watch *watch, const char *path)
{
	const struct config_profile only = {
	    .roles = CONFIG_ROLE_CLIENT,
	    .certificate_directory = (char *)path,
	};
	struct certificate_list list;
	struct problem problem = {};

	path_follow(watch, path);
	directory_add(watch, path);
	if (certificate_list_new(&only, &list, &problem) < 0)
		return;
	for (size_t i = 0; i < list.count; i++) {
		link_follow(watch, list.items[i].certificate);
		link_follow(watch, list.items[i].private_key);
		link_follow(watch, list.items[i].staple);
	}
	certificate_list_done(&list);
}

static void path_watch(void *context, const char *path, enum config_file_kind kind)
{
	if (kind == CONFIG_DIRECTORY)
		directory_follow(context, path);
	else
		path_follow(context, path);
}

// Anew each time: watches of directories that no longer matter go with the descriptor.
static void directories_watch(struct watch *watch)
{
	if (watch->fd >= 0)
		close(watch->fd);
	watch->fd = -1;
	watch->directories = 0;
	watch->lost = false;
	watch->deaf = false;
	if (!watch->config)
		return;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd >= 0) {
		config_files_each(watch->config, path_watch, watch);
	} else if (!watch->told) {
		watch->told = true;
		log_warning("files cannot be watched: %s; what changes is seen at a reload only",
			    strerror(errno));
	}
}

// ---- Loads ----

void watch_begin(struct watch *watch)
{
	watch->before = files_look(watch->config).hash;
	watch->begun = clock_ms();
	clock_gettime(CLOCK_REALTIME, &watch->begun_real);
}

static bool is_newer(const struct timespec *time, const struct timespec *than)
{
	int64_t ms =
	    (time->tv_sec - than->tv_sec) * 1000 + (time->tv_nsec - than->tv_nsec) / 1000000;

	return ms >= -TICK_MS;
}

static void look_again(struct watch *watch, int64_t now)
{
	watch->since = now;
	watch->due = now + QUIET_MS;
}

void watch_set(struct watch *watch, const struct config *config, bool taken)
{
	int64_t now = clock_ms(), took = now - watch->begun;
	struct look look;

	watch->config = config && config->watch ? config : NULL;
	directories_watch(watch);
	watch->since = 0;
	watch->due = INT64_MAX;
	watch->rest_until = now + (took > REST_MS ? took : REST_MS);
	if (!watch->config)
		return;
	// The watches came first: what changes while this looks is heard.
	look = files_look(watch->config);
	watch->known = taken ? look.hash : watch->before;
	// Changed while they were read: which of both was read nobody knows. Once only, for a file may
	// come from a future of another clock.
	if (taken && is_newer(&look.newest, &watch->begun_real) && look.hash != watch->doubted) {
		watch->doubted = look.hash;
		watch->known = 0;
	}
	if (watch->known != look.hash)
		look_again(watch, now);
}

// ---- Changes ----

int watch_fd(const struct watch *watch)
{
	return watch->deaf ? -1 : watch->fd;
}

int64_t watch_due(const struct watch *watch)
{
	if (watch->due == INT64_MAX)
		return watch->due;
	return watch->due > watch->rest_until ? watch->due : watch->rest_until;
}

// What waits to be heard, at most so much at once. true: there was something.
static bool events_read(struct watch *watch)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;

	for (unsigned i = 0; i < 256; i++) {
		ssize_t size = read(watch->fd, buffer, sizeof(buffer));

		if (size <= 0)
			break;
		any = true;
		for (char *at = buffer; at < buffer + size;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			if (event->mask &
			    (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_Q_OVERFLOW))
				watch->lost = true;
			at += sizeof(*event) + event->len;
		}
	}
	return any;
}

// From the first change on nothing is heard until the moment of quiet is over: however busy a directory
// is, it wakes nobody more often.
void watch_hear(struct watch *watch, int64_t now)
{
	if (!events_read(watch))
		return;
	watch->deaf = true;
	look_again(watch, watch->since ? watch->since : now);
	watch->due = now + QUIET_MS;
}

bool watch_look(struct watch *watch, int64_t now)
{
	if (!watch->config || watch_due(watch) > now)
		return false;
	if (watch->fd >= 0 && events_read(watch) && now - watch->since < PATIENCE_MS) {
		watch->due = now + QUIET_MS;
		return false;
	}
	watch->deaf = false;
	watch->since = 0;
	watch->due = INT64_MAX;
	if (watch->lost)
		directories_watch(watch);
	return files_look(watch->config).hash != watch->known;
}
