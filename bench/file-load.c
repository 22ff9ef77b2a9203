// SPDX-License-Identifier: LGPL-2.1-or-later
// Asks a server on loopback for one file many times over one connection, and discards what TCP brings,
// unopened, so that the receiver's deciphering is no part of what is measured. The requests go out together at
// the beginning (RFC 9112, 9.3.2), as a receiver that does not look cannot tell where an answer ends. With
// --verify it does open and compares each byte, and measures nothing.

#include "client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
	PATIENCE = 120, /* seconds */
	/* More requests than the sockets' buffers hold would wait for a server that waits for us. */
	COUNT_MAX = 1000,
};

static gnutls_session_t session; /* none: plain TCP */
static int fd;

static void ask(const char *path, unsigned long count)
{
	char request[256];
	char *all = NULL;
	size_t size, sent = 0;
	FILE *stream = open_memstream(&all, &size);

	if (!stream)
		die("out of memory");
	for (unsigned long i = 0; i < count; i++) {
		int length = snprintf(request, sizeof(request),
				      "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path,
				      i + 1 == count ? "Connection: close\r\n" : "");

		if (length < 0 || (size_t)length >= sizeof(request))
			die("the path \"%s\" is too long", path);
		fputs(request, stream);
	}
	fclose(stream);
	while (sent < size) {
		size_t part = size - sent > 16384 ? 16384 : size - sent;
		ssize_t done = session ? gnutls_record_send(session, all + sent, part)
				       : send(fd, all + sent, part, MSG_NOSIGNAL);

		if (done <= 0)
			die("cannot send the requests");
		sent += (size_t)done;
	}
	free(all);
}

static ssize_t receive(char *to, size_t size)
{
	ssize_t got;

	if (!session)
		return recv(fd, to, size, 0);
	do
		got = gnutls_record_recv(session, to, size);
	while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
	return got;
}

/* Reads count answers and compares their bodies with the file. */
static void verify(const char *path, unsigned long count)
{
	static char buffer[1 << 16];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0, offset, size, part;
	struct stat stat;
	const char *data;
	ssize_t got;

	if (file < 0 || fstat(file, &stat))
		die("cannot open %s: %s", path, strerror(errno));
	size = (size_t)stat.st_size;
	data = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
	if (data == MAP_FAILED)
		die("cannot map %s: %s", path, strerror(errno));
	for (unsigned long i = 0; i < count; i++) {
		char *end;

		while (!(end = memmem(buffer, have, "\r\n\r\n", 4))) {
			got = have < sizeof(buffer) ? receive(buffer + have, sizeof(buffer) - have)
						    : -1;
			if (got <= 0)
				die("answer %lu has no end of its head", i);
			have += (size_t)got;
		}
		if (strncmp(buffer, "HTTP/1.1 200", 12))
			die("answer %lu: %.*s", i, (int)strcspn(buffer, "\r\n"), buffer);
		end += 4;
		have -= (size_t)(end - buffer);
		memmove(buffer, end, have);
		for (offset = 0; offset < size; offset += part) {
			if (!have) {
				got = receive(buffer, sizeof(buffer));
				if (got <= 0)
					die("answer %lu ended after %zu of %zu bytes", i, offset,
					    size);
				have = (size_t)got;
			}
			part = have < size - offset ? have : size - offset;
			if (memcmp(buffer, data + offset, part))
				die("answer %lu differs from %s at about %zu", i, path, offset);
			have -= part;
			memmove(buffer, buffer + part, have);
		}
	}
	puts("{\"verified\": true}");
}

static void measure(unsigned long count, unsigned long long least)
{
	double seconds = 0, began = clock_seconds(), cpu = cpu_own();
	unsigned long long received = 0;
	ssize_t got;

	/* MSG_TRUNC on TCP discards without copying: tcp(7). When a server closes is its own affair: the time
	 * ends where as many bytes have come as the files have. */
	while ((got = recv(fd, NULL, 1 << 20, MSG_TRUNC)) > 0) {
		received += (unsigned long long)got;
		if (received >= least && seconds == 0)
			seconds = clock_seconds() - began;
	}
	if (got < 0 && !(errno == ECONNRESET && received >= least))
		die("after %llu bytes: %s", received, strerror(errno));
	if (received < least)
		die("the server sent %llu bytes, and the files have %llu", received, least);
	printf("{\"files\": %lu, \"bytes\": %llu, \"wire\": %llu, \"seconds\": %.6f, "
	       "\"client_cpu\": %.6f}\n",
	       count, least, received, seconds, cpu_own() - cpu);
}

static const char usage[] =
    "usage: file-load --port N --path /NAME --size BYTES [--count N] [--plain] [--verify FILE]\n"
    "Asks count times (at most 1000) for the file of that size. Prints a line of JSON.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"port", required_argument, NULL, 'o'}, {"path", required_argument, NULL, 'p'},
	    {"size", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'n'},
	    {"plain", no_argument, NULL, 'l'},      {"verify", required_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},       {0},
	};
	unsigned long port = 0, size = 0, count = 1;
	const char *path = NULL, *file = NULL;
	bool plain = false;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'o':
			port = number(optarg, 1, PORT_MAX);
			break;
		case 'p':
			path = optarg;
			break;
		case 's':
			size = number(optarg, 1, INT64_MAX);
			break;
		case 'n':
			count = number(optarg, 1, COUNT_MAX);
			break;
		case 'l':
			plain = true;
			break;
		case 'v':
			file = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!port || !path || !size) {
		fputs(usage, stderr);
		return 2;
	}
	fd = loopback_connect(port, 0);
	patience_set(fd, PATIENCE);
	if (!plain) {
		session = session_new(fd, 0);
		gnutls_server_name_set(session, GNUTLS_NAME_DNS, "localhost", strlen("localhost"));
		session_establish(session);
	}
	ask(path, count);
	if (file)
		verify(file, count);
	else
		measure(count, (unsigned long long)size * count);
	close(fd);
	return 0;
}
