// SPDX-License-Identifier: LGPL-2.1-or-later
// Pre-shared keys in one handshake. Touches the session; never goes on without a key where one was
// offered, and shows identities only as text that is safe to print.
#include "psk-session.h"

#include <stdio.h>
#include <string.h>

#include "consumer-keys.h"
#include "credentials.h"
#include "key-exchange.h"
#include "loaded.h"
#include "session.h"

// Of a request of the kernel: by the whole identity, and by the hash that the identity says.
static bool kernel_find(struct session *session, const gnutls_datum_t *identity,
			gnutls_datum_t *ret_key)
{
	struct consumer_key key;
	bool sha384;

	if (!consumer_keys_find(session->decision->keys, identity->data, identity->size, &key) ||
	    !consumer_key_is_nvme(key.identity, key.identity_size, &sha384) ||
	    sha384 != session->psk.sha384)
		return false;
	session->psk.serial = key.serial;
	ret_key->data = (unsigned char *)key.key;
	ret_key->size = (unsigned)key.key_size;
	return true;
}

static bool key_find(struct session *session, const gnutls_datum_t *identity,
		     gnutls_datum_t *ret_key)
{
	const struct decision *decision = session->decision;

	if (decision->keys)
		return kernel_find(session, identity, ret_key);
	return decision->psk &&
	       psk_find(decision->profile->psk, identity->data, identity->size, ret_key);
}

// Called by the library with what a client offers. A negative result ends the handshake: a client that
// means a key is never served with a certificate instead.
static int find(gnutls_session_t tls, const gnutls_datum_t *identity, gnutls_datum_t *ret_key)
{
	struct session *session = gnutls_session_get_ptr(tls);
	struct psk_session *psk = &session->psk;
	gnutls_datum_t key;

	psk->asked = true;
	psk_identity_show(identity->data, identity->size, psk->identity);
	psk->found = key_find(session, identity, &key);
	if (!psk->found)
		return -1;
	ret_key->data = gnutls_malloc(key.size); // The library frees it.
	psk->no_memory = !ret_key->data;
	if (psk->no_memory)
		return -1;
	memcpy(ret_key->data, key.data, key.size);
	ret_key->size = key.size;
	return 0;
}

int psk_session_credentials(struct profile *profile, struct problem *problem)
{
	const struct config_psk *config = &profile->config->psk;
	gnutls_dh_params_t dh = credentials_dh(profile->credentials);

	if (psk_server_new(config->sha384, dh, find, &profile->psk_server, problem) < 0)
		return -1;
	if (!config->kernel || !psk_knows_sha384())
		return 0;
	return psk_server_new(true, dh, find, &profile->psk_server_sha384, problem);
}

// The library wants to know the hash before it asks for a key: the first identity of NVMe/TCP says it.
int psk_session_hello(struct session *session)
{
	const struct decision *decision = session->decision;
	const struct hello *hello = &session->hello;
	bool known = false;

	if (!decision->keys)
		return 0;
	session->psk.sha384 = false;
	for (unsigned i = 0; i < hello->ticket_count && !known; i++)
		known = consumer_key_is_nvme(hello->tickets[i], sizeof(hello->tickets[i]),
					     &session->psk.sha384);
	if (!session->psk.sha384)
		return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK,
					      decision->profile->psk_server);
	if (!decision->profile->psk_server_sha384) {
		session->psk.too_new = true;
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	}
	return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK,
				      decision->profile->psk_server_sha384);
}

static int client_set(struct session *session, const gnutls_datum_t *identity,
		      const gnutls_datum_t *key, bool sha384)
{
	struct problem problem = {""};
	int error = psk_client_new(sha384, identity, key, &session->psk.client, &problem);

	if (error < 0) {
		session->psk.client = NULL;
		session->psk.too_new = sha384 && !psk_knows_sha384();
		return error == GNUTLS_E_MEMORY_ERROR ? error : GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	}
	psk_identity_show(identity->data, identity->size, session->psk.identity);
	return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK, session->psk.client);
}

static int kernel_client_set(struct session *session)
{
	gnutls_datum_t identity, secret;
	struct consumer_key key;

	if (!consumer_keys_first(session->decision->keys, &key) ||
	    !consumer_key_is_nvme(key.identity, key.identity_size, &session->psk.sha384))
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	identity = (gnutls_datum_t){(unsigned char *)key.identity, (unsigned)key.identity_size};
	secret = (gnutls_datum_t){(unsigned char *)key.key, (unsigned)key.key_size};
	session->psk.serial = key.serial;
	return client_set(session, &identity, &secret, session->psk.sha384);
}

int psk_session_set(struct session *session)
{
	const struct decision *decision = session->decision;
	gnutls_datum_t identity = {(unsigned char *)decision->psk_identity.bytes,
				   (unsigned)decision->psk_identity.size};
	gnutls_datum_t key;

	if (!decision->psk)
		return 0;
	if (decision->role == REQUEST_SERVER)
		return gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK,
					      decision->profile->psk_server);
	if (decision->keys)
		return kernel_client_set(session);
	if (!psk_find(decision->profile->psk, identity.data, identity.size, &key))
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	return client_set(session, &identity, &key, decision->profile->config->psk.sha384);
}

bool psk_session_used(const struct session *session)
{
	return session->decision->psk && key_exchange_is_psk(session->tls);
}

bool psk_session_too_new(const struct session *session, struct failure *failure)
{
	if (!session->psk.too_new)
		return false;
	failure_set(
	    failure, FAILURE_UNSUPPORTED, false,
	    "The identity of the pre-shared key says SHA-384 (02), which needs GnuTLS 3.8.11"
	    " or newer; this system has %s: make the key with --hmac=1, for SHA-256",
	    gnutls_check_version(NULL));
	return true;
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

	if (psk_session_too_new(session, failure)) {
		*ret_alert = GNUTLS_A_UNKNOWN_PSK_IDENTITY;
		return true;
	}
	if (!psk->asked)
		return false;
	// Left alone, the library has an error for it that says nothing.
	if (psk->no_memory) {
		*ret_alert = GNUTLS_A_INTERNAL_ERROR;
		failure_set(failure, FAILURE_INTERNAL, true,
			    "There is not enough memory for the pre-shared key");
		return true;
	}
	if (!psk->found) {
		// RFC 4279, 2; RFC 8446, 6.2.
		*ret_alert = GNUTLS_A_UNKNOWN_PSK_IDENTITY;
		snprintf(failure->verification, sizeof(failure->verification),
			 "the identity of the pre-shared key is not known");
		failure_set(
		    failure, FAILURE_VERIFICATION, false,
		    session->decision->keys
			? "The client offers a pre-shared key with the identity \"%s\", which the"
			  " keyring does not have (profile \"%s\")"
			: "The client offers a pre-shared key with the identity \"%s\", which the"
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
