// SPDX-License-Identifier: LGPL-2.1-or-later
/* Makes connections for the tests of the record path. Touches loopback alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine-pki.h"
#include "hello.h"
#include "relay-fixture.h"

static void connect_pair(int *ret_one, int *ret_other)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int yes = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	*ret_one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_one, (struct sockaddr *)&address, size), 0);
	*ret_other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_other >= 0);
	setsockopt(*ret_one, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(*ret_other, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	close(listener);
}

/* What is seen of our handshake, as the daemon sees it. */
struct sight {
	struct traffic_secrets secrets;
	struct hello hello;
};

static int keylog(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
	struct sight *sight = gnutls_session_get_ptr(session);

	if (sight)
		traffic_secrets_take(&sight->secrets, label, secret);
	return 0;
}

static int hook(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
		const gnutls_datum_t *message)
{
	struct sight *sight = gnutls_session_get_ptr(session);

	(void)when;
	if (incoming)
		hello_read(&sight->hello, type, message);
	return 0;
}

static const char *cipher_name(enum config_cipher cipher)
{
	static const char *const names[CONFIG_CIPHERS] = {
	    [CONFIG_AES_128_GCM] = "AES-128-GCM",
	    [CONFIG_AES_256_GCM] = "AES-256-GCM",
	    [CONFIG_CHACHA20_POLY1305] = "CHACHA20-POLY1305",
	    [CONFIG_AES_128_CCM] = "AES-128-CCM",
	};

	return names[cipher];
}

static gnutls_session_t session_new(bool server, int fd, const char *priority)
{
	static gnutls_certificate_credentials_t credentials;

	gnutls_session_t session;

	assert_int_equal(gnutls_init(&session, server ? GNUTLS_SERVER : GNUTLS_CLIENT), 0);
	assert_int_equal(gnutls_priority_set_direct(session, priority, NULL), 0);
	if (!credentials) {
		struct engine_certificate authority, leaf;
		engine_authority(&authority, "Authority");
		engine_leaf(&leaf, &authority, &(struct engine_leaf){.common_name = "server"});
		credentials = engine_credentials(&leaf, NULL);
		engine_certificate_done(&leaf);
		engine_certificate_done(&authority);
	}
	assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
	gnutls_transport_set_int(session, fd);
	gnutls_handshake_set_timeout(session, GNUTLS_INDEFINITE_TIMEOUT);
	return session;
}

static void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Both sides' handshakes, in turn. */
static void shake_hands(gnutls_session_t ours, gnutls_session_t peer)
{
	int our_result = GNUTLS_E_AGAIN;
	int peer_result = GNUTLS_E_AGAIN;

	while (our_result == GNUTLS_E_AGAIN || peer_result == GNUTLS_E_AGAIN) {
		if (our_result == GNUTLS_E_AGAIN)
			our_result = gnutls_handshake(ours);
		if (peer_result == GNUTLS_E_AGAIN)
			peer_result = gnutls_handshake(peer);
		assert_true(our_result == 0 || our_result == GNUTLS_E_AGAIN);
		assert_true(peer_result == 0 || peer_result == GNUTLS_E_AGAIN);
	}
	assert_int_equal(our_result, 0);
	assert_int_equal(peer_result, 0);
}

void fixture_link_open_limited(struct fixture_link *link, enum config_version version,
			       enum config_cipher cipher, bool we_are_server, unsigned limit)
{
	struct sight sight = {.secrets = {.client_size = 0}};
	char priority[256];

	snprintf(priority, sizeof(priority), "NORMAL:-VERS-ALL:+VERS-TLS1.%d:-CIPHER-ALL:+%s",
		 version == CONFIG_TLS13 ? 3 : 2, cipher_name(cipher));
	connect_pair(&link->our_fd, &link->peer_fd);
	set_blocking(link->our_fd, false);
	set_blocking(link->peer_fd, false);
	gnutls_session_t ours = session_new(we_are_server, link->our_fd, priority);
	link->peer = session_new(!we_are_server, link->peer_fd, priority);
	if (limit)
		assert_int_equal(gnutls_record_set_max_recv_size(link->peer, limit), 0);
	gnutls_session_set_ptr(ours, &sight);
	gnutls_session_set_keylog_function(ours, keylog);
	gnutls_handshake_set_hook_function(ours, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, hook);
	shake_hands(ours, link->peer);
	assert_int_equal(traffic_keys_export(ours, we_are_server, &sight.secrets, &link->keys), 0);
	assert_int_equal(link->keys.cipher, cipher);
	assert_int_equal(link->keys.version, version);
	link->keys.record_limit =
	    hello_record_limit(&sight.hello, we_are_server, version == CONFIG_TLS13);
	gnutls_deinit(ours);
	set_blocking(link->our_fd, true);
	set_blocking(link->peer_fd, true);
}

void fixture_link_open(struct fixture_link *link, enum config_version version,
		       enum config_cipher cipher, bool we_are_server)
{
	fixture_link_open_limited(link, version, cipher, we_are_server, 0);
}

void fixture_link_close(struct fixture_link *link)
{
	if (link->peer)
		gnutls_deinit(link->peer);
	if (link->our_fd >= 0)
		close(link->our_fd);
	if (link->peer_fd >= 0)
		close(link->peer_fd);
	link->peer = NULL;
	link->our_fd = link->peer_fd = -1;
}

int fixture_lingering_socket(int *ret_peer)
{
	static const char chunk[100000];
	struct fixture_link link;

	fixture_link_open(&link, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	setsockopt(link.our_fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 1000},
		   sizeof(struct linger));
	while (send(link.our_fd, chunk, sizeof(chunk), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	gnutls_deinit(link.peer);
	*ret_peer = link.peer_fd;
	return link.our_fd;
}

void fixture_text(unsigned char *bytes, size_t size, size_t place, unsigned text)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t mixed = ((place + i) / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) * (text + 1);
		bytes[i] = (unsigned char)((mixed ^ mixed >> 29) >> (place + i) % 8 * 8);
	}
}
