// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The GnuTLS session of one handshake. Touches the session and, through it, the credentials of the
 * profile for reading; must never send or receive by itself.
 */
#include "session.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "credentials.h"
#include "key-exchange.h"
#include "key-log.h"
#include "resumption-client.h"
#include "session-priorities.h"
#include "trace.h"

/* ---- What the library calls back ----------------------------------------------------------- */

static int session_keylog(gnutls_session_t tls, const char *label, const gnutls_datum_t *secret)
{
	struct session *session = gnutls_session_get_ptr(tls);

	traffic_secrets_take(&session->secrets, label, secret);
	key_log_write(session->key_log, tls, label, secret);
	return 0;
}

static void session_judge(struct session *session)
{
	trace_verification_begin(session->trace);
	verify_peer(session->tls, session->decision, &session->verification);
	trace_verification_end(session->trace, session->tls, &session->verification);
	session->verified = true;
}

/* -1 makes the handshake fail with GNUTLS_E_CERTIFICATE_ERROR and sends nothing: the alert that the
 * refusal deserves stands in the verification. */
static int session_verify(gnutls_session_t tls)
{
	struct session *session = gnutls_session_get_ptr(tls);

	session_judge(session);
	return session->verification.alert == 0 ? 0 : -1;
}

/* What sessions are bound to was read by hello.c: the library must have read the same. */
static bool session_has_server_name(const struct session *session)
{
	char name[sizeof(session->hello.server_name)];
	size_t size = sizeof(name);
	unsigned type = 0;

	if (gnutls_server_name_get(session->tls, name, &size, &type, 0) < 0 ||
	    type != GNUTLS_NAME_DNS || memchr(name, '\0', sizeof(name)) == NULL)
		name[0] = '\0';
	return strcmp(name, session->hello.server_name) == 0;
}

static int session_hook(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
			const gnutls_datum_t *message)
{
	struct session *session = gnutls_session_get_ptr(tls);
	int error;

	(void)when;
	trace_message(session->trace, type, incoming != 0, message);
	if (incoming != 0)
		hello_read(&session->hello, type, message);
	/* What comes next is worked on with the key in the peer's certificate, in TLS 1.3 before that is judged. */
	if (incoming != 0 &&
	    (type == GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY ||
	     type == GNUTLS_HANDSHAKE_SERVER_KEY_EXCHANGE ||
	     type == GNUTLS_HANDSHAKE_SERVER_HELLO_DONE) &&
	    !verify_key(tls, &session->verification))
		return GNUTLS_E_CERTIFICATE_ERROR;
	if (type == GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST)
		return early_data_retry(&session->early, incoming != 0);
	if (incoming == 0 || type != GNUTLS_HANDSHAKE_CLIENT_HELLO)
		return 0;
	error = session_priorities_hello(session);
	if (error == 0)
		error = psk_session_hello(session);
	if (error < 0)
		return error;
	early_data_hello(&session->early, message);
	return resumption_hello(session);
}

/* Left alone, the library calls it a lack of common suites. */
static bool session_has_version(const struct session *session)
{
	const struct config_profile *config = session->decision->profile->config;

	return !session->hello.seen || (session->hello.tls13 && !config->tls12_only) ||
	       (session->hello.tls12 && config->min_version == CONFIG_TLS12);
}

/* Before the server answers a ClientHello: what must be refused while it is still an answer. */
static int session_client_hello(gnutls_session_t tls)
{
	struct session *session = gnutls_session_get_ptr(tls);
	gnutls_datum_t protocol;
	int error;

	if (!session_has_server_name(session))
		return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
	session->server_name = session->hello.server_name;
	if (!session_has_version(session))
		return GNUTLS_E_UNSUPPORTED_VERSION_PACKET;
	error = session->decision->psk_only || session->decision->certificate
		    ? 0
		    : credentials_select(tls, session->decision->profile);
	if (error < 0)
		return error;
	/* GNUTLS_ALPN_MANDATORY refuses a client that offers none of ours; this, one that offers none. */
	if (session->decision->alpn_required &&
	    gnutls_alpn_get_selected_protocol(tls, &protocol) < 0)
		return GNUTLS_E_NO_APPLICATION_PROTOCOL;
	return 0;
}

/* ---- Making it ----------------------------------------------------------------------------- */

static int session_set_alpn(struct session *session)
{
	const struct decision *decision = session->decision;
	gnutls_datum_t protocols[REQUEST_ALPN_MAX];
	unsigned flags = 0;

	if (decision->alpn_count == 0)
		return 0;
	for (unsigned i = 0; i < decision->alpn_count; i++) {
		protocols[i].data = (unsigned char *)decision->alpn[i];
		protocols[i].size = (unsigned)strlen(decision->alpn[i]);
	}
	if (decision->role == REQUEST_SERVER) {
		if (!decision->profile->config->client_order)
			flags |= GNUTLS_ALPN_SERVER_PRECEDENCE;
		if (decision->alpn_required)
			flags |= GNUTLS_ALPN_MANDATORY;
	}
	return gnutls_alpn_set_protocols(session->tls, protocols, decision->alpn_count, flags);
}

static int session_set_server(struct session *session)
{
	const struct decision *decision = session->decision;

	gnutls_handshake_set_post_client_hello_function(session->tls, session_client_hello);
	switch (decision->client_certificates) {
	case CONFIG_CLIENT_NONE:
		gnutls_certificate_server_set_request(session->tls, GNUTLS_CERT_IGNORE);
		break;
	case CONFIG_CLIENT_REQUEST:
		gnutls_certificate_server_set_request(session->tls, GNUTLS_CERT_REQUEST);
		break;
	case CONFIG_CLIENT_REQUIRE:
		/* The library then refuses a client without one before its own last flight. */
		gnutls_certificate_server_set_request(session->tls, GNUTLS_CERT_REQUIRE);
		break;
	}
	return 0;
}

static bool is_address(const char *name)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int session_set_client(struct session *session)
{
	const char *name = session->decision->peer_name;

	/* No address goes into server_name (RFC 6066, 3). */
	if (name[0] == '\0' || is_address(name))
		return 0;
	session->server_name = name;
	return gnutls_server_name_set(session->tls, GNUTLS_NAME_DNS, name, strlen(name));
}

/* What the session shows of itself. */
static int session_set_credentials(struct session *session)
{
	const struct decision *decision = session->decision;
	gnutls_certificate_credentials_t chosen = decision->role == REQUEST_SERVER
						      ? decision->profile->server
						      : decision->profile->client;
	int error = 0;

	if (decision->certificate)
		chosen = decision->certificate;
	if (decision->unauthenticated) {
		error = gnutls_certificate_allocate_credentials(&session->none);
		chosen = session->none;
	}
	return error < 0 ? error
			 : gnutls_credentials_set(session->tls, GNUTLS_CRD_CERTIFICATE, chosen);
}

static int session_set(struct session *session, const struct kernel_tls *kernel)
{
	const struct decision *decision = session->decision;
	const struct profile *profile = decision->profile;
	bool server = decision->role == REQUEST_SERVER;
	int error = session_priorities_set(session, kernel);

	if (error == 0)
		error = psk_session_set(session);
	if (error == 0 && !decision->psk_only)
		error = session_set_credentials(session);
	key_exchange_set(session->tls, profile->config);
	if (error == 0)
		error = session_set_alpn(session);
	if (error == 0)
		error = server ? session_set_server(session) : session_set_client(session);
	if (error == 0)
		error = resumption_open(session);
	gnutls_handshake_set_hook_function(session->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
					   session_hook);
	gnutls_session_set_verify_function(session->tls, session_verify);
	gnutls_session_set_keylog_function(session->tls, session_keylog);
	gnutls_handshake_set_timeout(session->tls, 0); /* the task has a deadline of its own */
	return error;
}

int session_open(struct session *session, const struct decision *decision,
		 const struct handshake_surroundings *surroundings, const struct kernel_tls *kernel,
		 struct transport *transport, struct failure *failure)
{
	/* What is not read during the handshake must stay with the caller. Tickets are sent
	 * when all else is done, by resumption_complete(). The certificate of a profile is there to be shown,
	 * whatever issuers a server names. */
	unsigned flags =
	    GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_AUTO_REKEY;
	int error;

	memset(session, 0, sizeof(*session));
	session->server_name = "";
	session->decision = decision;
	session->resumption.surroundings = surroundings;
	session->resumption.enabled = resumption_is_enabled(decision, surroundings);
	if (!decision->psk_only &&
	    (decision->role == REQUEST_SERVER ? decision->profile->server
					      : decision->profile->client) == NULL) {
		failure_set(failure, FAILURE_UNSUPPORTED, false,
			    "The profile \"%s\" is not made for the role of a %s",
			    decision->profile->config->name,
			    decision->role == REQUEST_SERVER ? "server: give it \"certificate\" "
							       "and \"private-key\""
							     : "client");
		return -1;
	}
	flags |= early_data_flags(decision);
	if (decision->profile->pins != NULL || decision->profile->config->raw.private_key != NULL)
		flags |= GNUTLS_ENABLE_RAWPK;
	flags |= decision->role == REQUEST_SERVER ? GNUTLS_SERVER
						  : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
	if (!session->resumption.enabled)
		flags |= GNUTLS_NO_TICKETS;
	error = gnutls_init(&session->tls, flags);
	if (error < 0)
		session->tls = NULL;
	if (error == 0) {
		gnutls_session_set_ptr(session->tls, session);
		error = session_set(session, kernel);
	}
	if (error == 0)
		error =
		    early_data_open(&session->early, session->tls, decision,
				    session->priority != NULL ? session->priority
							      : decision->profile->priority_server,
				    surroundings != NULL ? surroundings->early_data : NULL);
	if (error == 0 && decision->role == REQUEST_CLIENT)
		error = resumption_client_offer(session, transport->fd);
	if (error == 0) {
		transport_bind(transport, session->tls);
		return 0;
	}
	psk_session_too_new(session, failure);
	if (error == GNUTLS_E_NO_CIPHER_SUITES)
		failure_set(failure, FAILURE_UNSUPPORTED, false,
			    "The kernel has none of the ciphers that the profile \"%s\" allows",
			    decision->profile->config->name);
	failure_set(failure, FAILURE_INTERNAL, error == GNUTLS_E_MEMORY_ERROR,
		    "No TLS session can be made: %s", gnutls_strerror(error));
	session_close(session);
	return -1;
}

static int session_finish(struct session *session)
{
	gnutls_datum_t protocol;

	if (session->decision->alpn_required &&
	    gnutls_alpn_get_selected_protocol(session->tls, &protocol) < 0)
		return GNUTLS_E_NO_APPLICATION_PROTOCOL;
	return early_data_finish(&session->early);
}

int session_check(struct session *session)
{
	key_log_write_resumed(session->key_log, session->tls);
	/* A pre-shared key says who both are. */
	if (psk_session_used(session)) {
		session->verified = true;
		return session_finish(session);
	}
	/* Of a server whose session was taken up again the library asks nothing: it was judged before. */
	if (session->decision->role == REQUEST_CLIENT && session->resumption.offered &&
	    gnutls_session_is_resumed(session->tls) != 0) {
		session->verification = session->resumption.verification;
		session->verified = true;
	}
	/* A client that sent no certificate never made the library ask. */
	if (!session->verified)
		session_judge(session);
	if (session->verification.alert != 0)
		return session->verification.present ? GNUTLS_E_CERTIFICATE_ERROR
						     : GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (session->decision->psk_only)
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	return session_finish(session);
}

static const char *client_certificate_word(const struct session *session)
{
	if (session->decision->role != REQUEST_CLIENT)
		return NULL;
	if (gnutls_certificate_client_get_request_status(session->tls) == 0)
		return "not-asked";
	return gnutls_certificate_get_ours(session->tls) != NULL ? "sent" : "none";
}

void session_describe(struct session *session, struct outcome *outcome)
{
	const char *suite = gnutls_ciphersuite_get(session->tls);
	gnutls_datum_t protocol;

	outcome->version =
	    gnutls_protocol_get_version(session->tls) == GNUTLS_TLS1_3 ? "TLS1.3" : "TLS1.2";
	outcome->cipher = gnutls_cipher_get_name(gnutls_cipher_get(session->tls));
	snprintf(outcome->suite, sizeof(outcome->suite), "%s", suite != NULL ? suite : "");
	outcome->key_exchange = key_exchange_word(session->tls);
	key_exchange_group(session->tls, outcome->group, sizeof(outcome->group));
	if (gnutls_alpn_get_selected_protocol(session->tls, &protocol) == 0)
		snprintf(outcome->alpn, sizeof(outcome->alpn), "%.*s", (int)protocol.size,
			 (const char *)protocol.data);
	snprintf(outcome->server_name, sizeof(outcome->server_name), "%s", session->server_name);
	outcome->client_certificate = client_certificate_word(session);
	if (psk_session_used(session)) {
		snprintf(outcome->psk_identity, sizeof(outcome->psk_identity), "%s",
			 session->psk.identity);
		outcome->key_serial = session->psk.serial;
	}
	outcome->resumed = gnutls_session_is_resumed(session->tls) != 0;
}

void session_close(struct session *session)
{
	early_data_close(&session->early);
	if (session->tls != NULL)
		gnutls_deinit(session->tls);
	session->tls = NULL;
	psk_session_done(&session->psk);
	if (session->none != NULL)
		gnutls_certificate_free_credentials(session->none);
	session->none = NULL;
	session_priorities_done(session);
	traffic_secrets_wipe(&session->secrets);
}
