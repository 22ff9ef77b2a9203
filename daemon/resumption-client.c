// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The cache of a client's sessions. Touches the session and the store that the workers share. A ticket of TLS
 * 1.3 is used once (RFC 8446, C.4), and none whose server would not be believed today.
 */
#include "resumption-client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "certificate-file.h"
#include "parking.h"
#include "resumption-policy.h"
#include "session.h"

enum { TLS12 = 12, TLS13 = 13, TLS12_SLOT = 255 };

/* Before the library's data: version, whether there was a HelloRetryRequest, length and bytes of the ALPN, count of certificates, and each with its
 * length in four bytes. */
struct head {
	uint8_t version;
	bool retried;
	char alpn[REQUEST_ALPN_SIZE];
	gnutls_datum_t chain[CERTIFICATE_CHAIN_MAX];
	unsigned count;
};

/* ---- The head ------------------------------------------------------------------------------ */

static uint8_t *head_write(const struct head *head, size_t *ret_size)
{
	size_t alpn = strlen(head->alpn), size = 4 + alpn;
	uint8_t *bytes, *at;

	for (unsigned i = 0; i < head->count; i++)
		size += 4 + head->chain[i].size;
	at = bytes = malloc(size);
	if (bytes == NULL)
		return NULL;
	*at++ = head->version;
	*at++ = head->retried;
	*at++ = (uint8_t)alpn;
	memcpy(at, head->alpn, alpn);
	at += alpn;
	*at++ = (uint8_t)head->count;
	for (unsigned i = 0; i < head->count; i++) {
		uint32_t length = htonl(head->chain[i].size);

		memcpy(at, &length, 4);
		memcpy(at + 4, head->chain[i].data, head->chain[i].size);
		at += 4 + head->chain[i].size;
	}
	*ret_size = size;
	return bytes;
}

/* Points into the value. What is left is the library's. false: it is not what head_write() made. */
static bool head_read(const gnutls_datum_t *value, struct head *ret, gnutls_datum_t *ret_data)
{
	const uint8_t *at = value->data, *end = at + value->size;
	size_t alpn;

	memset(ret, 0, sizeof(*ret));
	if (end - at < 4)
		return false;
	ret->version = *at++;
	ret->retried = *at++ != 0;
	alpn = *at++;
	if (alpn >= sizeof(ret->alpn) || (size_t)(end - at) <= alpn)
		return false;
	memcpy(ret->alpn, at, alpn);
	at += alpn;
	ret->count = *at++;
	if (ret->count > CERTIFICATE_CHAIN_MAX)
		return false;
	for (unsigned i = 0; i < ret->count; i++) {
		uint32_t length;

		if (end - at < 4)
			return false;
		memcpy(&length, at, 4);
		length = ntohl(length);
		at += 4;
		if ((size_t)(end - at) < length)
			return false;
		ret->chain[i].data = (unsigned char *)at;
		ret->chain[i].size = length;
		at += length;
	}
	ret_data->data = (unsigned char *)at;
	ret_data->size = (unsigned)(end - at);
	return true;
}

/* What there is to say of the session's server. false: it is none to remember. */
static bool head_fill(const struct session *session, struct head *ret)
{
	gnutls_datum_t protocol;
	const gnutls_datum_t *chain;

	memset(ret, 0, sizeof(*ret));
	if (gnutls_certificate_type_get2(session->tls, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_X509)
		return false;
	ret->version = gnutls_protocol_get_version(session->tls) == GNUTLS_TLS1_3 ? TLS13 : TLS12;
	ret->retried = session->early.retried;
	if (gnutls_alpn_get_selected_protocol(session->tls, &protocol) == 0)
		snprintf(ret->alpn, sizeof(ret->alpn), "%.*s", (int)protocol.size,
			 (const char *)protocol.data);
	chain = gnutls_certificate_get_peers(session->tls, &ret->count);
	if (chain == NULL || ret->count == 0 || ret->count > CERTIFICATE_CHAIN_MAX)
		return false;
	memcpy(ret->chain, chain, ret->count * sizeof(*chain));
	return true;
}

/* ---- Before the handshake ------------------------------------------------------------------ */

/* "NAME ADDRESS PORT USER": a session is the user's, with this server. */
static bool peer_text(const struct session *session, int fd, char *text, size_t size)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t length = sizeof(address);
	char host[INET6_ADDRSTRLEN];
	unsigned port;

	if (getpeername(fd, (struct sockaddr *)&address, &length) < 0)
		return false;
	if (address.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&address;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		port = ntohs(in->sin_port);
	} else if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		port = ntohs(in6->sin6_port);
	} else {
		return false;
	}
	snprintf(text, size, "%s %s %u %u", session->decision->peer_name, host, port,
		 (unsigned)session->decision->uid);
	return true;
}

/* TLS 1.3's are taken, TLS 1.2's can be used again. */
static bool value_find(const struct session *session, gnutls_datum_t *ret)
{
	struct shared_store *store = session->resumption.surroundings->store;
	uint8_t key[TICKET_CONTEXT_SIZE + 1];

	for (unsigned slot = 0; slot < PARKING_SLOTS; slot++) {
		parking_slot(session->resumption.context, slot, key);
		if (shared_store_take(store, SHARED_TICKETS, key, sizeof(key), ret) == 0)
			return true;
	}
	parking_slot(session->resumption.context, TLS12_SLOT, key);
	return shared_store_get(store, SHARED_TICKETS, key, sizeof(key), ret) == 0;
}

static void value_free(gnutls_datum_t *value)
{
	explicit_bzero(value->data, value->size);
	gnutls_free(value->data);
}

static void value_offer(struct session *session, const gnutls_datum_t *value)
{
	struct resumption *resumption = &session->resumption;
	struct verification verification;
	gnutls_datum_t data;
	struct head head;

	if (!head_read(value, &head, &data))
		return;
	/* As the library will not ask again, and a full handshake is still to be had now. */
	verify_chain(session->tls, head.chain, head.count, session->decision, &verification);
	if (verification.alert != 0 ||
	    gnutls_session_set_data(session->tls, data.data, data.size) < 0)
		return;
	resumption->offered = true;
	resumption->verification = verification;
	resumption->ticket = head.version == TLS13;
	resumption->retried = head.retried;
	memcpy(resumption->alpn, head.alpn, sizeof(resumption->alpn));
}

int resumption_client_offer(struct session *session, int fd)
{
	struct resumption *resumption = &session->resumption;
	char peer[HANDSHAKE_PEER_NAME_SIZE + 128];
	gnutls_datum_t value = {NULL, 0};

	if (!resumption->enabled || !peer_text(session, fd, peer, sizeof(peer)))
		return 0;
	if (resumption_context(session->decision, peer, "", resumption->context) < 0)
		return GNUTLS_E_INTERNAL_ERROR;
	resumption->bound = true;
	if (value_find(session, &value)) {
		value_offer(session, &value);
		value_free(&value);
	}
	return 0;
}

/* ---- Behind it ----------------------------------------------------------------------------- */

static unsigned lifetime_s(const struct session *session)
{
	return session->decision->profile->config->resumption.ticket_lifetime_s;
}

/* The server gave a ticket, or an ID (RFC 5246, 7.4.1.3). */
static bool is_resumable(gnutls_session_t tls)
{
	gnutls_datum_t id = {NULL, 0};

	if (gnutls_session_get_flags(tls) & GNUTLS_SFLAGS_SESSION_TICKET)
		return true;
	return gnutls_session_is_resumed(tls) == 0 && gnutls_session_get_id2(tls, &id) == 0 &&
	       id.size > 0;
}

void resumption_client_keep(struct session *session)
{
	struct resumption *resumption = &session->resumption;
	uint8_t key[TICKET_CONTEXT_SIZE + 1], *bytes = NULL, *whole;
	gnutls_datum_t data = {NULL, 0};
	struct head head;
	size_t size = 0;
	int dropped = -1;

	if (!resumption->bound || gnutls_protocol_get_version(session->tls) != GNUTLS_TLS1_2 ||
	    !is_resumable(session->tls) || !head_fill(session, &head))
		return;
	bytes = head_write(&head, &size);
	if (bytes == NULL || gnutls_session_get_data2(session->tls, &data) < 0) {
		free(bytes);
		return;
	}
	whole = realloc(bytes, size + data.size);
	if (whole != NULL) {
		bytes = whole;
		memcpy(bytes + size, data.data, data.size);
		parking_slot(resumption->context, TLS12_SLOT, key);
		dropped = shared_store_put(resumption->surroundings->store, SHARED_TICKETS, key,
					   sizeof(key), bytes, size + data.size,
					   time(NULL) + (time_t)lifetime_s(session), false);
		explicit_bzero(bytes + size, data.size);
	}
	free(bytes);
	value_free(&data);
	if (dropped >= 0 && resumption->surroundings->counters != NULL) {
		counters_add(resumption->surroundings->counters, COUNTER_SESSIONS_STORED, 1);
		counters_add(resumption->surroundings->counters, COUNTER_SESSIONS_EVICTED, dropped);
	}
}

bool resumption_client_awaits(const struct session *session, int ret_ends[2])
{
	const struct resumption *resumption = &session->resumption;

	return resumption->bound && session->decision->role == REQUEST_CLIENT &&
	       resumption->surroundings->parking != NULL &&
	       gnutls_protocol_get_version(session->tls) == GNUTLS_TLS1_3 &&
	       socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) == 0;
}

void resumption_client_park(struct session *session, int fd)
{
	struct parking_key key = {.lifetime_s = lifetime_s(session)};
	struct head head;

	if (head_fill(session, &head))
		key.head = head_write(&head, &key.head_size);
	if (key.head == NULL) {
		close(fd);
		return;
	}
	memcpy(key.context, session->resumption.context, sizeof(key.context));
	parking_add(session->resumption.surroundings->parking, session->tls, session->priority,
		    &key, fd);
	session->tls = NULL;
	session->priority = NULL;
}
