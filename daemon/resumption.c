// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Resumption as the TLS library does it, held to what a session is bound to. Touches the session and the
 * store that the workers share. Must never let a ticket in that was made under another name or policy: what
 * is not known leads to a full handshake.
 */
#include "resumption.h"

#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#include "resumption-client.h"
#include "resumption-policy.h"
#include "session.h"

enum {
	TICKETS_FULL = 2,    /* a browser opens more than one connection */
	TICKETS_RESUMED = 1, /* in place of the one that was used */
};

static unsigned lifetime_s(const struct session *session)
{
	return session->decision->profile->config->resumption.ticket_lifetime_s;
}

static void count(const struct session *session, enum counter counter, int64_t amount)
{
	if (session->resumption.surroundings->counters != NULL)
		counters_add(session->resumption.surroundings->counters, counter, amount);
}

bool resumption_is_enabled(const struct decision *decision,
			   const struct handshake_surroundings *surroundings)
{
	return surroundings != NULL && surroundings->secrets != NULL &&
	       surroundings->store != NULL && decision->resume &&
	       /* The library would take a ticket that it does not know for a key's identity, and end the
		* handshake. */
	       !decision->psk &&
	       /* Nor does it tell, when a session is taken up again, that the peer showed a raw key. */
	       decision->profile->pins == NULL && decision->profile->config->resumption.enabled;
}

/* Whether all that the client showed is valid for as long as its session would be: who comes back with a
 * certificate that has expired meanwhile is to show its new one. */
static bool peer_outlasts(const struct session *session)
{
	time_t until = time(NULL) + (time_t)lifetime_s(session);
	const gnutls_datum_t *chain;
	unsigned count = 0;
	bool lasts = true;

	chain = gnutls_certificate_get_peers(session->tls, &count);
	for (unsigned i = 0; chain != NULL && i < count && lasts; i++) {
		gnutls_x509_crt_t certificate;

		if (gnutls_x509_crt_init(&certificate) < 0)
			return false;
		lasts = gnutls_x509_crt_import(certificate, &chain[i], GNUTLS_X509_FMT_DER) == 0 &&
			gnutls_x509_crt_get_expiration_time(certificate) > until;
		gnutls_x509_crt_deinit(certificate);
	}
	return lasts;
}

/* ---- TLS 1.2's session IDs ----------------------------------------------------------------- */

/* A session is found under its own name and policy only. false: it has an ID that is none. */
static bool store_key(const struct session *session, gnutls_datum_t id,
		      uint8_t key[TICKET_CONTEXT_SIZE + 32])
{
	if (!session->resumption.bound || id.size > 32)
		return false;
	memset(key, 0, TICKET_CONTEXT_SIZE + 32);
	memcpy(key, session->resumption.context, TICKET_CONTEXT_SIZE);
	memcpy(key + TICKET_CONTEXT_SIZE, id.data, id.size);
	return true;
}

static int session_store(void *context, gnutls_datum_t id, gnutls_datum_t data)
{
	const struct session *session = context;
	uint8_t key[TICKET_CONTEXT_SIZE + 32];
	int dropped;

	if (!store_key(session, id, key) || !peer_outlasts(session))
		return 0;
	dropped = shared_store_put(session->resumption.surroundings->store, SHARED_SESSIONS, key,
				   sizeof(key), data.data, data.size,
				   time(NULL) + (time_t)lifetime_s(session), false);
	if (dropped < 0)
		return 0;
	count(session, COUNTER_SESSIONS_STORED, 1);
	count(session, COUNTER_SESSIONS_EVICTED, dropped);
	return 0;
}

static gnutls_datum_t session_retrieve(void *context, gnutls_datum_t id)
{
	const struct session *session = context;
	uint8_t key[TICKET_CONTEXT_SIZE + 32];
	gnutls_datum_t data = {NULL, 0};

	if (store_key(session, id, key))
		shared_store_get(session->resumption.surroundings->store, SHARED_SESSIONS, key,
				 sizeof(key), &data);
	return data;
}

static int session_remove(void *context, gnutls_datum_t id)
{
	const struct session *session = context;
	uint8_t key[TICKET_CONTEXT_SIZE + 32];

	if (store_key(session, id, key))
		shared_store_remove_entry(session->resumption.surroundings->store, SHARED_SESSIONS,
					  key, sizeof(key));
	return 0;
}

/* ---- Ticket keys --------------------------------------------------------------------------- */

/* The secrets that tickets may be of, newest first. */
static unsigned secrets_list(const struct session *session,
			     uint8_t secrets[SECRET_EPOCHS][TICKET_SECRET_SIZE])
{
	const struct resumption_policy *policy = session->decision->profile->resumption;
	struct secret own[SECRET_EPOCHS];
	unsigned count;

	if (policy->secret_count > 0) {
		count = policy->secret_count < SECRET_EPOCHS ? policy->secret_count : SECRET_EPOCHS;
		memcpy(secrets, policy->secrets, count * sizeof(secrets[0]));
		return count;
	}
	count = secrets_get(session->resumption.surroundings->secrets, SECRET_TICKET, own);
	for (unsigned i = 0; i < count; i++)
		memcpy(secrets[i], own[i].key, sizeof(secrets[i]));
	explicit_bzero(own, sizeof(own));
	return count;
}

static bool key_fits(const struct session *session, const uint8_t key[TICKET_KEY_SIZE], time_t now)
{
	for (unsigned i = 0; i < session->hello.ticket_count; i++)
		if (ticket_key_has(key, session->hello.tickets[i], now, lifetime_s(session)))
			return true;
	return false;
}

/* The key of the ticket that the client brings, if it is one of ours, or else the newest. The library knows
 * one at a time. */
static int key_choose(const struct session *session, uint8_t ret_key[TICKET_KEY_SIZE])
{
	uint8_t secrets[SECRET_EPOCHS][TICKET_SECRET_SIZE], key[TICKET_KEY_SIZE];
	const uint8_t *context = session->resumption.context;
	unsigned count = secrets_list(session, secrets);
	int error = count > 0 ? ticket_key_derive(secrets[0], context, ret_key) : -1;
	time_t now = time(NULL);

	if (error == 0 && session->hello.ticket_count > 0 && !key_fits(session, ret_key, now))
		for (unsigned i = 1; i < count && error == 0; i++) {
			error = ticket_key_derive(secrets[i], context, key);
			if (error == 0 && key_fits(session, key, now)) {
				memcpy(ret_key, key, sizeof(key));
				break;
			}
		}
	explicit_bzero(secrets, sizeof(secrets));
	explicit_bzero(key, sizeof(key));
	return error < 0 ? GNUTLS_E_INTERNAL_ERROR : 0;
}

/* Whether the client could use a session, one that it has or one that it is given now: TLS 1.3 has it say so
 * (RFC 8446, 4.2.9). For one that does not, nothing is derived. */
static bool client_resumes(const struct hello *hello)
{
	return !hello->tls13 || hello->psk_dhe || hello->ticket_count > 0;
}

int resumption_hello(struct session *session)
{
	struct resumption *resumption = &session->resumption;
	uint8_t context[TICKET_CONTEXT_SIZE], key[TICKET_KEY_SIZE];
	gnutls_datum_t datum = {key, sizeof(key)};
	int error;

	if (!resumption->enabled || (!resumption->bound && !client_resumes(&session->hello)))
		return 0;
	if (resumption_context(session->decision, session->hello.server_name, session->early.alpn,
			       context) < 0)
		return GNUTLS_E_INTERNAL_ERROR;
	/* The second hello, after a HelloRetryRequest, may not ask for another name (RFC 8446, 4.1.2). */
	if (resumption->bound)
		return memcmp(context, resumption->context, sizeof(context)) == 0
			   ? 0
			   : GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
	memcpy(resumption->context, context, sizeof(context));
	resumption->bound = true;
	resumption->offered =
	    session->hello.ticket_count > 0 || (session->hello.session_id && !session->hello.tls13);
	error = key_choose(session, key);
	if (error == 0)
		error = gnutls_session_ticket_enable_server(session->tls, &datum);
	explicit_bzero(key, sizeof(key));
	return error;
}

/* ---- A session ----------------------------------------------------------------------------- */

int resumption_open(struct session *session)
{
	if (!session->resumption.enabled || session->decision->role != REQUEST_SERVER)
		return 0;
	/* All workers must say the same: the library's keys depend on it. */
	gnutls_db_set_cache_expiration(session->tls, (int)lifetime_s(session));
	gnutls_db_set_ptr(session->tls, session);
	gnutls_db_set_store_function(session->tls, session_store);
	gnutls_db_set_retrieve_function(session->tls, session_retrieve);
	gnutls_db_set_remove_function(session->tls, session_remove);
	return 0;
}

static int tickets_send(struct session *session, bool resumed)
{
	unsigned tickets = resumed ? TICKETS_RESUMED : TICKETS_FULL;
	int error;

	/* RFC 8446, 4.2.9: none that the client could not use. */
	if (gnutls_protocol_get_version(session->tls) != GNUTLS_TLS1_3 || !session->hello.psk_dhe ||
	    !peer_outlasts(session))
		return 0;
	error = gnutls_session_ticket_send(session->tls, tickets, 0);
	if (error == 0)
		count(session, COUNTER_TICKETS_SENT, tickets);
	return error;
}

int resumption_complete(struct session *session)
{
	struct resumption *resumption = &session->resumption;
	bool server = session->decision->role == REQUEST_SERVER;
	bool resumed = gnutls_session_is_resumed(session->tls) != 0;

	if (!resumption->enabled)
		return 0;
	if (resumption->offered)
		count(session, server ? COUNTER_OFFERED_SERVER : COUNTER_OFFERED_CLIENT, 1);
	if (resumed)
		count(session, server ? COUNTER_RESUMED_SERVER : COUNTER_RESUMED_CLIENT, 1);
	if (server)
		return tickets_send(session, resumed);
	resumption_client_keep(session);
	return 0;
}
