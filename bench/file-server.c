// SPDX-License-Identifier: LGPL-2.1-or-later
// The least that can send files over HTTP, without the daemon: over plain TCP, with records by GnuTLS in this
// process, or with records by the kernel, whose keys this process has made with GnuTLS itself. Single threaded,
// everything non-blocking; files are opened once. The measure for servers that do more; nothing to put anywhere
// but on loopback.

#include "measure.h"

#include <dirent.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum mode { MODE_PLAIN, MODE_GNUTLS, MODE_KERNEL };

struct file {
	char name[64];
	int fd;
	const char *data; /* mapped, for GnuTLS */
	off_t size;
};

enum state { STATE_HANDSHAKE, STATE_REQUEST, STATE_ANSWER };

struct connection {
	gnutls_session_t
	    session; /* none when plain, and none any more once the kernel has the keys */
	int fd;
	enum state state;
	char request[8192]; /* what has come and is not answered yet */
	size_t request_size;
	char head[256];
	size_t head_size;
	const struct file *file;
	off_t offset;
	bool last;
};

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;
static enum mode mode;
static struct file files[64];
static unsigned files_count;

static void files_open(const char *root)
{
	DIR *directory = opendir(root);
	struct dirent *entry;

	if (!directory)
		die("cannot open the directory %s: %s", root, strerror(errno));
	while ((entry = readdir(directory))) {
		struct file *file = &files[files_count];
		struct stat stat;
		void *data;

		if (entry->d_name[0] == '.')
			continue;
		if (files_count == sizeof(files) / sizeof(files[0]) ||
		    strlen(entry->d_name) >= sizeof(file->name))
			die("too many files or too long a name in %s", root);
		stpcpy(file->name, entry->d_name);
		file->fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
		if (file->fd < 0 || fstat(file->fd, &stat) || !stat.st_size)
			die("cannot use %s/%s", root, entry->d_name);
		file->size = stat.st_size;
		if (mode == MODE_GNUTLS) {
			data = mmap(NULL, (size_t)stat.st_size, PROT_READ,
				    MAP_SHARED | MAP_POPULATE, file->fd, 0);
			if (data == MAP_FAILED)
				die("cannot map %s/%s: %s", root, entry->d_name, strerror(errno));
			file->data = data;
		}
		files_count++;
	}
	closedir(directory);
}

static void connection_free(struct connection *connection)
{
	if (connection->session)
		gnutls_deinit(connection->session);
	close(connection->fd);
	free(connection);
}

/* Documentation/networking/tls.rst; a TLS 1.3 IV is salt and iv of the kernel (RFC 8446, 5.3). */
static bool keys_install(struct connection *connection, bool read)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
	    .info = {.version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};
	gnutls_datum_t mac, iv, key;
	unsigned char sequence[8];

	if (gnutls_record_get_state(connection->session, read, &mac, &iv, &key, sequence) ||
	    gnutls_cipher_get(connection->session) != GNUTLS_CIPHER_AES_128_GCM || iv.size != 12 ||
	    key.size != sizeof(info.key))
		return false;
	memcpy(info.salt, iv.data, sizeof(info.salt));
	memcpy(info.iv, iv.data + sizeof(info.salt), sizeof(info.iv));
	memcpy(info.key, key.data, sizeof(info.key));
	memcpy(info.rec_seq, sequence, sizeof(sequence));
	return !setsockopt(connection->fd, SOL_TLS, read ? TLS_RX : TLS_TX, &info, sizeof(info));
}

static bool established(struct connection *connection)
{
	connection->state = STATE_REQUEST;
	if (mode != MODE_KERNEL)
		return true;
	/* Without it the bytes would go out as they are: no figure at all is better. */
	if (!keys_install(connection, false) || !keys_install(connection, true))
		die("the kernel does not take the keys: %s", strerror(errno));
	gnutls_deinit(connection->session);
	connection->session = NULL;
	return true;
}

/* The next whole request of those that have come. False: there is none, or none that can be answered. */
static bool request_take(struct connection *connection, bool *ret_bad)
{
	char *end = memmem(connection->request, connection->request_size, "\r\n\r\n", 4);
	char name[64] = "";
	size_t used;

	*ret_bad = false;
	if (!end) {
		*ret_bad = connection->request_size == sizeof(connection->request);
		return false;
	}
	*end = 0;
	used = (size_t)(end - connection->request) + 4;
	connection->last = strstr(connection->request, "Connection: close") ||
			   strstr(connection->request, " HTTP/1.0\r\n");
	connection->file = NULL;
	if (!strncmp(connection->request, "GET / ", 6))
		stpcpy(name, "index.html");
	if (*name || sscanf(connection->request, "GET /%63s HTTP/1.", name) == 1)
		for (unsigned i = 0; i < files_count; i++)
			if (!strcmp(files[i].name, name))
				connection->file = &files[i];
	*ret_bad = !connection->file;
	if (*ret_bad)
		return false;
	connection->request_size -= used;
	memmove(connection->request, connection->request + used, connection->request_size);
	connection->offset = 0;
	connection->head_size = (size_t)snprintf(
	    connection->head, sizeof(connection->head),
	    "HTTP/1.1 200 OK\r\nServer: file-server\r\nContent-Type: "
	    "application/octet-stream\r\nContent-Length: %lld\r\nConnection: %s\r\n\r\n",
	    (long long)connection->file->size, connection->last ? "close" : "keep-alive");
	return true;
}

/* 1: more has come; 0: not now; -1: it has ended. */
static int request_read(struct connection *connection)
{
	char *to = connection->request + connection->request_size;
	size_t space = sizeof(connection->request) - connection->request_size;
	ssize_t got;

	if (connection->session) {
		got = gnutls_record_recv(connection->session, to, space);
		if (got < 0 && !gnutls_error_is_fatal((int)got))
			return 0;
	} else {
		got = recv(connection->fd, to, space, 0);
		/* EIO: a close_notify, which a plain read does not get. */
		if (got < 0 && errno == EAGAIN)
			return 0;
	}
	if (got <= 0)
		return -1;
	connection->request_size += (size_t)got;
	return 1;
}

/* 1: all is sent; 0: not now; -1: it failed. */
static int answer_gnutls(struct connection *connection)
{
	const struct file *file = connection->file;
	ssize_t sent;

	while (connection->head_size) {
		sent = gnutls_record_send(connection->session, connection->head,
					  connection->head_size);
		if (sent <= 0)
			return gnutls_error_is_fatal((int)sent) ? -1 : 0;
		connection->head_size = 0;
	}
	/* As a careful program does it: from the mapped file, whole records, no copy of its own. */
	while (connection->offset < file->size) {
		off_t left = file->size - connection->offset;

		sent = gnutls_record_send(connection->session, file->data + connection->offset,
					  left > 16384 ? 16384 : (size_t)left);
		if (sent <= 0)
			return gnutls_error_is_fatal((int)sent) ? -1 : 0;
		connection->offset += sent;
	}
	return 1;
}

static int answer_kernel(struct connection *connection)
{
	ssize_t sent;

	while (connection->head_size) {
		sent = send(connection->fd, connection->head, connection->head_size,
			    MSG_MORE | MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN ? 0 : -1;
		connection->head_size -= (size_t)sent;
		memmove(connection->head, connection->head + sent, connection->head_size);
	}
	while (connection->offset < connection->file->size) {
		sent = sendfile(connection->fd, connection->file->fd, &connection->offset,
				(size_t)(connection->file->size - connection->offset));
		if (sent <= 0)
			return sent && errno == EAGAIN ? 0 : -1;
	}
	return 1;
}

static void say_farewell(struct connection *connection)
{
	char control[CMSG_SPACE(1)] = {0}, alert[2] = {1, 0}; /* close_notify: RFC 8446, 6.1 */
	struct iovec part = {alert, sizeof(alert)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (mode == MODE_KERNEL) {
		header->cmsg_level = SOL_TLS;
		header->cmsg_type = TLS_SET_RECORD_TYPE;
		header->cmsg_len = CMSG_LEN(1);
		*CMSG_DATA(header) = 21;
		if (sendmsg(connection->fd, &message, MSG_NOSIGNAL) < 0)
			return;
	} else if (connection->session) {
		gnutls_bye(connection->session, GNUTLS_SHUT_WR);
	}
	shutdown(connection->fd, SHUT_WR);
}

/* Whether the connection lives on; it then waits for its descriptor. */
static bool connection_move(struct connection *connection)
{
	int result;
	bool bad;

	for (;;)
		switch (connection->state) {
		case STATE_HANDSHAKE:
			result = gnutls_handshake(connection->session);
			if (result < 0)
				return !gnutls_error_is_fatal(result);
			if (!established(connection))
				return false;
			break;
		case STATE_REQUEST:
			if (request_take(connection, &bad)) {
				connection->state = STATE_ANSWER;
				break;
			}
			result = bad ? -1 : request_read(connection);
			if (result <= 0)
				return !result;
			break;
		case STATE_ANSWER:
			result = connection->session ? answer_gnutls(connection)
						     : answer_kernel(connection);
			if (result <= 0)
				return !result;
			if (connection->last) {
				say_farewell(connection);
				return false;
			}
			connection->state = STATE_REQUEST;
			break;
		}
}

static void connection_new(int epoll, int fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
	const int on = 1;

	if (!connection)
		die("out of memory");
	connection->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (mode == MODE_KERNEL && setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		die("this kernel has no TLS: %s", strerror(errno));
	if (mode == MODE_PLAIN) {
		connection->state = STATE_REQUEST;
	} else {
		gnutls_init(&connection->session,
			    GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);
		gnutls_priority_set(connection->session, priorities);
		gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE, credentials);
		gnutls_transport_set_int(connection->session, fd);
	}
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll: %s", strerror(errno));
}

static void serve(int listener)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("epoll: %s", strerror(errno));
	for (;;) {
		struct epoll_event events[64];
		int fd, count = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.ptr) {
				if (!connection_move(events[i].data.ptr))
					connection_free(events[i].data.ptr);
			} else {
				while ((fd = accept4(listener, NULL, NULL,
						     SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
					connection_new(epoll, fd);
			}
	}
}

static void credentials_load(const char *certificate, const char *key)
{
	int result;

	gnutls_certificate_allocate_credentials(&credentials);
	result = gnutls_certificate_set_x509_key_file(credentials, certificate, key,
						      GNUTLS_X509_FMT_PEM);
	if (result >= 0)
		result = gnutls_priority_init(&priorities, PRIORITIES, NULL);
	if (result < 0)
		die("cannot load %s and %s: %s", certificate, key, gnutls_strerror(result));
}

static const char usage[] =
    "usage: file-server --mode plain|gnutls|kernel --root DIR [--certificate FILE --key FILE]\n"
    "Prints its port, then serves the files of DIR until it is ended.\n";

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"mode", required_argument, NULL, 'm'},
	    {"root", required_argument, NULL, 'r'},
	    {"certificate", required_argument, NULL, 'c'},
	    {"key", required_argument, NULL, 'k'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	static const char *const modes[] = {"plain", "gnutls", "kernel"};
	const char *root = NULL, *certificate = NULL, *key = NULL;
	bool known = false;
	unsigned port;
	int c, listener;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'm':
			for (unsigned i = 0; i < 3; i++)
				if (!strcmp(optarg, modes[i])) {
					mode = (enum mode)i;
					known = true;
				}
			break;
		case 'r':
			root = optarg;
			break;
		case 'c':
			certificate = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	if (!known || !root || (mode != MODE_PLAIN && (!certificate || !key))) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	files_open(root);
	if (mode != MODE_PLAIN)
		credentials_load(certificate, key);
	listener = tcp_listen(LOOPBACK, &port);
	if (fcntl(listener, F_SETFL, O_NONBLOCK))
		die("fcntl: %s", strerror(errno));
	printf("%u\n", port);
	fflush(stdout);
	serve(listener);
}
