// SPDX-License-Identifier: LGPL-2.1-or-later
/* Files beneath a root, and its listing. */
/* links: tools/markup.o tools/serve-file.o tools/serve-index.o tools/serve-path.o */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "serve-file.h"
#include "serve-index.h"

static char base[] = "/tmp/test-serve-file-XXXXXX";
static int root = -1;

static void file_make(const char *name, const char *text)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void link_make(const char *target, const char *name)
{
	assert_int_equal(symlinkat(target, root, name), 0);
}

static int tree_make(void **state)
{
	char path[256];

	(void)state;
	if (!mkdtemp(base))
		return -1;
	snprintf(path, sizeof(path), "%s/root", base);
	mkdir(path, 0755);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	file_make("../secret", "secret");
	file_make("file", "0123456789");
	file_make("a\"b<c>&'d.txt", "");
	mkdirat(root, "sub", 0755);
	file_make("sub/inner", "x");
	link_make("file", "link");
	link_make("../file", "sub/up");
	link_make("../secret", "out");
	link_make("/etc/passwd", "absolute");
	link_make("..", "sub/parent");
	link_make("../..", "sub/grandparent");
	link_make("loop", "loop");
	link_make("/proc/self/root", "magic");
	mkfifoat(root, "fifo", 0644);
	return 0;
}

static int tree_remove(void **state)
{
	char command[300];

	(void)state;
	close(root);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

static int opened(const char *path)
{
	struct serve_file file;
	int r = serve_file_open(root, path, &file);

	if (r == 0)
		close(file.fd);
	return r;
}

static void files_and_links_inside_are_opened(void **state)
{
	struct serve_file file;
	char text[16] = "";

	(void)state;
	assert_int_equal(opened("."), 0);
	assert_int_equal(opened("sub/inner"), 0);
	assert_int_equal(opened("sub/../file"), 0);
	assert_int_equal(opened("sub/up"), 0);
	assert_int_equal(opened("sub/parent/file"), 0);
	assert_int_equal(serve_file_open(root, "link", &file), 0);
	assert_false(file.directory);
	assert_int_equal(file.entity.size, 10);
	assert_int_equal(read(file.fd, text, sizeof(text)), 10);
	assert_string_equal(text, "0123456789");
	assert_true(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
	close(file.fd);
}

static void nothing_leads_out_of_the_root(void **state)
{
	static const char *const paths[] = {
	    "..",          "../secret",        "out",
	    "absolute",    "sub/../../secret", "sub/grandparent/secret",
	    "/etc/passwd", "magic/etc/passwd", "magic",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(opened(paths[i]), -EXDEV);
}

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(opened("none"), -ENOENT);
	assert_int_equal(opened("file/x"), -ENOENT);
	assert_int_equal(opened("loop"), -EACCES);
	assert_int_equal(opened("fifo"), -EACCES);
}

static void tags_change_with_the_file(void **state)
{
	struct serve_file before, after;
	int fd;

	(void)state;
	assert_int_equal(serve_file_open(root, "sub/inner", &before), 0);
	fd = openat(root, "sub/inner", O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "y", 1), 1);
	close(fd);
	assert_int_equal(serve_file_open(root, "sub/inner", &after), 0);
	assert_string_not_equal(before.entity.etag, after.entity.etag);
	close(before.fd);
	close(after.fd);
}

static void types_follow_the_last_ending(void **state)
{
	(void)state;
	assert_string_equal(serve_file_type("a/b.html"), "text/html; charset=utf-8");
	assert_string_equal(serve_file_type("B.PNG"), "image/png");
	assert_string_equal(serve_file_type("x.tar.gz"), "application/gzip");
	assert_string_equal(serve_file_type("dir.html/file"), "application/octet-stream");
	assert_string_equal(serve_file_type("file"), "application/octet-stream");
	assert_string_equal(serve_file_type("file."), "application/octet-stream");
	assert_string_equal(serve_file_type(".."), "application/octet-stream");
}

static void listings_are_escaped_and_keep_the_outside_out(void **state)
{
	struct serve_file file;
	char *page;
	size_t size;

	(void)state;
	assert_int_equal(serve_file_open(root, ".", &file), 0);
	assert_true(file.directory);
	assert_int_equal(serve_index_make(root, file.fd, ".", &page, &size), 0);
	assert_int_equal(strlen(page), size);
	assert_non_null(strstr(page, "<a href=\"./a%22b%3Cc%3E%26%27d.txt\">"
				     "a&quot;b&lt;c&gt;&amp;&#39;d.txt</a>"));
	assert_non_null(strstr(page, "<a href=\"./sub/\">sub/</a>"));
	assert_non_null(strstr(page, "./link"));
	assert_null(strstr(page, "./out"));
	assert_null(strstr(page, "absolute"));
	assert_null(strstr(page, "magic"));
	assert_null(strstr(page, "fifo"));
	assert_null(strstr(page, "\"../\""));
	free(page);
	close(file.fd);
	assert_int_equal(serve_file_open(root, "sub", &file), 0);
	assert_int_equal(serve_index_make(root, file.fd, "sub", &page, &size), 0);
	assert_non_null(strstr(page, "./up"));
	assert_non_null(strstr(page, "./parent/"));
	assert_null(strstr(page, "grandparent"));
	assert_non_null(strstr(page, "\"../\""));
	free(page);
	close(file.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_and_links_inside_are_opened),
	    cmocka_unit_test(nothing_leads_out_of_the_root),
	    cmocka_unit_test(what_is_no_file_is_refused),
	    cmocka_unit_test(tags_change_with_the_file),
	    cmocka_unit_test(types_follow_the_last_ending),
	    cmocka_unit_test(listings_are_escaped_and_keep_the_outside_out),
	};

	return cmocka_run_group_tests(tests, tree_make, tree_remove);
}
