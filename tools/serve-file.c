// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files beneath the root. Touches the file system below the root's descriptor, reading. Never judges
 * a path by its text: links and dots are the kernel's to follow, and to refuse.
 */
#include "serve-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define RACE_TRIES 8 /* openat2(2): EAGAIN when a rename ran beside it */

static const struct type {
	const char *ending;
	const char *type;
} types[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"deb", "application/vnd.debian.binary-package"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", "text/plain; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"html", "text/html; charset=utf-8"},
    {"ico", "image/vnd.microsoft.icon"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"log", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"ogg", "audio/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"rtf", "application/rtf"},
    {"sh", "text/plain; charset=utf-8"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

const char *serve_file_type(const char *path)
{
	const char *name = strrchr(path, '/');
	const char *ending = strrchr(name ? name + 1 : path, '.');

	for (size_t i = 0; ending && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(ending + 1, types[i].ending) == 0)
			return types[i].type;
	return "application/octet-stream";
}

/* O_NONBLOCK: a FIFO's open must not wait for its other end. */
static int open_beneath(int root_fd, const char *path)
{
	struct open_how how = {
	    .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	int tries = 0;

	do
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < RACE_TRIES)));
	return fd < 0 ? -errno : (int)fd;
}

static int open_error(int error)
{
	switch (error) {
	case -ENOTDIR:
	case -ENAMETOOLONG:
	case -ENXIO: /* a socket, or a FIFO or device without its other end */
		return -ENOENT;
	case -EPERM:
	case -ELOOP:
		return -EACCES;
	default:
		return error;
	}
}

int serve_file_open(int root_fd, const char *path, struct serve_file *ret_file)
{
	_cleanup_close_ int fd = open_beneath(root_fd, path);
	struct stat status;
	time_t now = time(NULL);

	if (fd < 0)
		return open_error(fd);
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		return -EACCES;
	ret_file->directory = S_ISDIR(status.st_mode);
	ret_file->type = serve_file_type(path);
	ret_file->entity.size = (uint64_t)status.st_size;
	/* RFC 9110, 8.8.2.1: never later than the answer itself. */
	ret_file->entity.modified = status.st_mtime < now ? status.st_mtime : now;
	snprintf(ret_file->entity.etag, sizeof(ret_file->entity.etag), "\"%llx-%llx-%lx\"",
		 (unsigned long long)status.st_size, (unsigned long long)status.st_mtim.tv_sec,
		 (unsigned long)status.st_mtim.tv_nsec);
	ret_file->fd = fd_take(&fd);
	return 0;
}
