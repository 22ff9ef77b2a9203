// SPDX-License-Identifier: LGPL-2.1-or-later
// Pre-shared keys in one handshake. Touches the session; never goes on without a key where one was
// offered, and shows identities only as text that is safe to print.
#include "psk-session.h"

#include <stdio.h>
#include <string.h>

#include "credentials.h"
#include "key-exchange.h"
#include "loaded.h"
#include "session.h"

// Called by the library with what a client offers. A negative result ends the handshake: a client that
// means a key is never served with a certificate instead.
static int find(gnutls_session_t tls, const gnutls_datum_t *identity, gnutls_datum_t *ret_key)
{
	struct session *session = gnutls_session_get_ptr(tls);
	struct psk_session *psk = &session->psk;
	gnutls_datum_t key;

	psk->asked = true;
	psk_identity_show(identity->data, identity->size, psk->identity);
	psk->found = session->decision->psk && psk_find(session->decision->profile->psk,
							identity->data, identity->size, &key);
	if (!psk->found)
		return -1;
	ret_key->data = gnutls_malloc(key.size); // The library frees it.
	if (!ret_key->data)
		return -1;
	memcpy(ret_key->data, key.data, key.size);
	ret_key->size = key.size;
	return 0;
}

int psk_session_credentials(struct profile *profile, struct problem *problem)
{
	return psk_server_new(&profile->config->psk, credentials_dh(profile->credentials), find,
			      &profile->psk_server, problem);
}

int psk_session_set(struct session *session)
{
	const struct decision *decision = session->decision;
	const struct psk_identity *identity = &decision->psk_identity;
	struct problem problem = {""};
	gnutls_datum_t key;

	if (!decision->psk)
		return 0;
	if (decision->role == REQUEST_SERVER)
		return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK,
					      decision->profile->psk_server);
	if (!psk_find(decision->profile->psk, identity->bytes, identity->size, &key) ||
	    psk_client_new(&decision->profile->config->psk, identity, &key, &session->psk.client,
			   &problem) < 0) {
		session->psk.client = NULL;
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	}
	psk_identity_show(identity->bytes, identity->size, session->psk.identity);
	return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK, session->psk.client);
}

bool psk_session_used(const struct session *session)
{
	return session->decision->psk && key_exchange_is_psk(session->tls);
}

// The library knows the name only once the client's proof was good.
static bool is_proved(gnutls_session_t tls)
{
	gnutls_datum_t name;

	return gnutls_psk_server_get_username2(tls, &name) == 0;
}

bool psk_session_tell(struct failure *failure, int error, const struct session *session,
		      int *ret_alert)
{
	const struct psk_session *psk = &session->psk;
	bool tls13;

	if (!psk->asked)
		return false;
	if (!psk->found) {
		// RFC 4279, 2; RFC 8446, 6.2.
		*ret_alert = GNUTLS_A_UNKNOWN_PSK_IDENTITY;
		snprintf(failure->verification, sizeof(failure->verification),
			 "the identity of the pre-shared key is not known");
		failure_set(failure, FAILURE_VERIFICATION, false,
			    "The client offers a pre-shared key with the identity \"%s\", which the"
			    " profile \"%s\" does not know",
			    psk->identity, session->decision->profile->config->name);
		return true;
	}
	tls13 = gnutls_protocol_get_version(session->tls) == GNUTLS_TLS1_3;
	if (tls13
		? error != GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER || is_proved(session->tls)
		: error != GNUTLS_E_DECRYPTION_FAILED && error != GNUTLS_E_ERROR_IN_FINISHED_PACKET)
		return false;
	// TLS 1.2 sees records that cannot be decrypted; its alert is the library's.
	if (tls13)
		*ret_alert = GNUTLS_A_DECRYPT_ERROR;
	snprintf(failure->verification, sizeof(failure->verification),
		 "the peer does not have the pre-shared key of its identity");
	failure_set(failure, FAILURE_VERIFICATION, false,
		    "The client does not have the pre-shared key of the identity \"%s\" that it"
		    " claims",
		    psk->identity);
	return true;
}

void psk_session_done(struct psk_session *psk)
{
	if (psk->client)
		gnutls_psk_free_client_credentials(psk->client);
	psk->client = NULL;
}
