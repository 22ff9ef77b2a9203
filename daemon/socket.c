// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Judging a descriptor that somebody handed over. Touches nothing but what getsockopt() and fstat()
 * show; must never read from it, write to it or wait on it: it may be anything.
 */
#include "socket.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static const char *file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a pipe";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	default:
		return "no socket";
	}
}

static const char *domain_word(int domain)
{
	switch (domain) {
	case AF_UNIX:
		return "a Unix socket";
	case AF_NETLINK:
		return "a netlink socket";
	case AF_PACKET:
		return "a packet socket";
	case AF_VSOCK:
		return "a vsock socket";
	default:
		return "a socket of another family";
	}
}

/* Of a socket, an option that is an int; -1 with errno. */
static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static int refuse_kind(struct failure *failure, const char *wanted, const char *found)
{
	failure_set(failure, FAILURE_REQUEST, false,
		    "The descriptor is %s, but a %s TCP socket is needed: send that one", found,
		    wanted);
	return -1;
}

static bool is_tcp(int fd)
{
	int domain = socket_option(fd, SO_DOMAIN);

	return (domain == AF_INET || domain == AF_INET6) &&
	       socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	       socket_option(fd, SO_PROTOCOL) == IPPROTO_TCP;
}

/* Is it TCP over IPv4 or IPv6? If not, says what it is. */
static int check_tcp(int fd, const char *wanted, struct failure *failure)
{
	struct stat status;
	int domain;

	if (is_tcp(fd))
		return 0;
	if (fstat(fd, &status) < 0) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "The descriptor cannot be examined: %s", strerror(errno));
		return -1;
	}
	if (!S_ISSOCK(status.st_mode))
		return refuse_kind(failure, wanted, file_kind(status.st_mode));
	domain = socket_option(fd, SO_DOMAIN);
	if (domain != AF_INET && domain != AF_INET6)
		return refuse_kind(failure, wanted, domain_word(domain));
	if (socket_option(fd, SO_TYPE) == SOCK_DGRAM)
		return refuse_kind(failure, wanted, "a UDP socket");
	if (socket_option(fd, SO_PROTOCOL) == IPPROTO_MPTCP) {
		failure_set(
		    failure, FAILURE_UNSUPPORTED, false,
		    "The descriptor is an MPTCP socket, which no kernel can do TLS on: make it "
		    "with IPPROTO_TCP");
		return -1;
	}
	return refuse_kind(failure, wanted, "a socket of another protocol");
}

/* Does the kernel already do TLS in the direction of the option? Asks with room for the cipher's name
 * alone: with more, it would show the key. */
static bool has_kernel_keys(int fd, int option)
{
	struct tls_crypto_info info;
	socklen_t size = sizeof(info);

	return getsockopt(fd, SOL_TLS, option, &info, &size) == 0;
}

/* Is there another protocol over TCP already? Attached without keys is as good as new. */
static int check_plain(int fd, struct failure *failure)
{
	char name[16 + 1] = "";
	socklen_t size = sizeof(name) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &size) < 0 || size == 0 || name[0] == '\0')
		return 0;
	if (strcmp(name, "tls") != 0) {
		failure_set(failure, FAILURE_UNSUPPORTED, false,
			    "The socket already has \"%s\" over TCP, which leaves no place for TLS",
			    name);
		return -1;
	}
	if (has_kernel_keys(fd, TLS_TX) || has_kernel_keys(fd, TLS_RX)) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket is already upgraded to TLS: use it as it is");
		return -1;
	}
	return 0;
}

static int check_state(int fd, struct failure *failure)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket's state cannot be examined: %s", strerror(errno));
		return -1;
	}
	switch (info.tcpi_state) {
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return 0;
	case TCP_LISTEN:
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket is listening: send a connected one, or ask for \"listen\"");
		return -1;
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket is still connecting: wait until it is connected");
		return -1;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_LAST_ACK:
	case TCP_CLOSING:
	case TCP_TIME_WAIT:
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket has been shut down for writing: connect a new one");
		return -1;
	default:
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket is not connected: connect it before the handshake");
		return -1;
	}
}

int socket_check_connected(int fd, struct failure *failure)
{
	if (check_tcp(fd, "connected", failure) < 0)
		return -1;
	if (check_state(fd, failure) < 0)
		return -1;
	return check_plain(fd, failure);
}

int socket_check_listening(int fd, struct failure *failure)
{
	if (check_tcp(fd, "listening", failure) < 0)
		return -1;
	if (socket_option(fd, SO_ACCEPTCONN) != 1) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "The socket is not listening: call listen() on it before");
		return -1;
	}
	return check_plain(fd, failure);
}

void socket_close(int fd)
{
	struct linger linger = {0};
	socklen_t size = sizeof(linger);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff != 0 &&
	    linger.l_linger > 0) {
		linger.l_onoff = 0;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	close(fd);
}
