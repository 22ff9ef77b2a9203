// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The library's errors in plain words, with the class and the alert that they deserve. Touches the
 * session only to send that alert; must never show more of the peer's bytes than their first five.
 */
#include "handshake-failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alert.h"

/* What is not named here is the peer's breach of the protocol. */
static const struct {
	int error;
	enum failure_class class;
	const char *sentence;
} causes[] = {
    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, FAILURE_NEGOTIATION,
     "There is no TLS version that the peer and the profile have in common"},
    {GNUTLS_E_NO_CIPHER_SUITES, FAILURE_NEGOTIATION,
     "There is no cipher suite that the peer and the profile have in common"},
    {GNUTLS_E_UNKNOWN_CIPHER_SUITE, FAILURE_NEGOTIATION,
     "The peer chose a cipher suite that the profile does not allow"},
    {GNUTLS_E_INSUFFICIENT_SECURITY, FAILURE_NEGOTIATION,
     "What the peer offers is weaker than the profile allows"},
    {GNUTLS_E_NO_COMMON_KEY_SHARE, FAILURE_NEGOTIATION,
     "There is no key exchange group that the peer and the profile have in common"},
    {GNUTLS_E_ECC_UNSUPPORTED_CURVE, FAILURE_NEGOTIATION,
     "There is no key exchange group that the peer and the profile have in common"},
    {GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM, FAILURE_NEGOTIATION,
     "There is no signature algorithm that the peer and the profile have in common"},
    {GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY, FAILURE_NEGOTIATION,
     "There is no signature algorithm that fits the certificate's key"},
    {GNUTLS_E_UNWANTED_ALGORITHM, FAILURE_NEGOTIATION,
     "The peer wants an algorithm that the profile does not allow"},
    {GNUTLS_E_INSUFFICIENT_CREDENTIALS, FAILURE_NEGOTIATION,
     "No certificate of the profile fits what the peer offers"},
    {GNUTLS_E_NO_APPLICATION_PROTOCOL, FAILURE_NEGOTIATION,
     "There is no application protocol (ALPN) that the peer and the profile have in common"},
    {GNUTLS_E_INAPPROPRIATE_FALLBACK, FAILURE_NEGOTIATION,
     "The peer fell back to an older TLS version without need"},
    {GNUTLS_E_MISSING_EXTENSION, FAILURE_NEGOTIATION,
     "The peer left out an extension that its TLS version requires"},
    {GNUTLS_E_SAFE_RENEGOTIATION_FAILED, FAILURE_NEGOTIATION,
     "The peer does not know secure renegotiation (RFC 5746)"},
    {GNUTLS_E_DH_PRIME_UNACCEPTABLE, FAILURE_NEGOTIATION,
     "The peer's Diffie-Hellman group is too weak"},
    {GNUTLS_E_EARLY_DATA_REJECTED, FAILURE_NEGOTIATION,
     "The server asks for another key share, which the TLS library cannot give once early data was "
     "sent; "
     "the next attempt sends none with this ticket"},
    {GNUTLS_E_CERTIFICATE_REQUIRED, FAILURE_VERIFICATION, NULL},
    {GNUTLS_E_NO_CERTIFICATE_FOUND, FAILURE_VERIFICATION, NULL},
    {GNUTLS_E_CERTIFICATE_ERROR, FAILURE_VERIFICATION, NULL},
    {GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR, FAILURE_VERIFICATION, NULL},
    {GNUTLS_E_PK_SIG_VERIFY_FAILED, FAILURE_VERIFICATION,
     "The peer could not prove that it has the key of its certificate"},
    {GNUTLS_E_KEY_USAGE_VIOLATION, FAILURE_VERIFICATION,
     "The peer's certificate is not made for this use of its key"},
    {GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE, FAILURE_VERIFICATION,
     "The peer's certificate is of a type that is not supported"},
    {GNUTLS_E_CERTIFICATE_LIST_UNSORTED, FAILURE_VERIFICATION,
     "The peer's chain of certificates is out of order"},
    {GNUTLS_E_ASN1_DER_ERROR, FAILURE_VERIFICATION, "The peer's certificate cannot be read"},
    {GNUTLS_E_ASN1_TAG_ERROR, FAILURE_VERIFICATION, "The peer's certificate cannot be read"},
    {GNUTLS_E_ASN1_SYNTAX_ERROR, FAILURE_VERIFICATION, "The peer's certificate cannot be read"},
    {GNUTLS_E_ASN1_ELEMENT_NOT_FOUND, FAILURE_VERIFICATION,
     "The peer's certificate cannot be read"},
    {GNUTLS_E_ASN1_VALUE_NOT_FOUND, FAILURE_VERIFICATION, "The peer's certificate cannot be read"},
    {GNUTLS_E_ASN1_GENERIC_ERROR, FAILURE_VERIFICATION, "The peer's certificate cannot be read"},
    {GNUTLS_E_PK_SIGN_FAILED, FAILURE_INTERNAL, "The private key could not be used"},
    {GNUTLS_E_MEMORY_ERROR, FAILURE_INTERNAL, "There is not enough memory for the handshake"},
    {GNUTLS_E_INTERNAL_ERROR, FAILURE_INTERNAL, "The TLS library failed by itself"},
    {GNUTLS_E_RANDOM_FAILED, FAILURE_INTERNAL, "The TLS library has no random numbers"},
    {GNUTLS_E_LIB_IN_ERROR_STATE, FAILURE_INTERNAL, "The TLS library has given up"},
};

void handshake_failure_send(struct failure *failure, const struct session *session,
			    struct transport *transport, uint8_t alert)
{
	if (failure->alert_direction != ALERT_NONE || alert_send(session->tls, alert) < 0 ||
	    transport_flush(transport) < 0)
		return;
	failure->alert_direction = ALERT_SENT;
	failure->alert = alert;
	transport_drain(transport);
}

/* An alert of the peer, fatal or not: it refuses. */
static void tell_alert(struct failure *failure, uint8_t number)
{
	const char *name = alert_name(number);

	failure->alert_direction = ALERT_RECEIVED;
	failure->alert = number;
	if (number == GNUTLS_A_CLOSE_NOTIFY || number == GNUTLS_A_USER_CANCELED)
		failure_set(failure, FAILURE_CLOSED, false,
			    "The peer gave the handshake up with the alert %s (%u)", name, number);
	else
		failure_set(failure, FAILURE_ALERT, number == GNUTLS_A_INTERNAL_ERROR,
			    "The peer refused with the alert %s (%u)",
			    name != NULL ? name : "of an unknown kind", number);
}

/* The connection ended under the handshake, or was ended because it had no end. */
static void tell_transport(struct failure *failure, const struct transport *transport)
{
	if (transport->too_much)
		failure_set(failure, FAILURE_PROTOCOL, false,
			    "The peer sent %d bytes and had not finished the handshake",
			    TRANSPORT_BYTES_MAX);
	else if (transport->error == ECONNRESET || transport->error == EPIPE)
		failure_set(failure, FAILURE_CLOSED, true, "The peer reset the TCP connection %s",
			    transport->bytes_in == 0 ? "before it sent a byte"
						     : "in the middle of the handshake");
	else if (transport->error != 0)
		failure_set(failure, FAILURE_CLOSED, true, "The TCP connection broke: %s",
			    strerror(transport->error));
	else if (transport->end)
		failure_set(failure, FAILURE_CLOSED, false, "The peer closed the TCP connection %s",
			    transport->bytes_in == 0 ? "before it sent a byte"
						     : "in the middle of the handshake");
}

static void tell_verification(struct failure *failure, int error,
			      const struct verification *verification)
{
	const char *words = verification->words;

	if (words[0] == '\0' &&
	    (error == GNUTLS_E_CERTIFICATE_REQUIRED || error == GNUTLS_E_NO_CERTIFICATE_FOUND))
		words = "the peer sent no certificate";
	if (words[0] == '\0')
		words = gnutls_strerror(error);
	snprintf(failure->verification, sizeof(failure->verification), "%s", words);
	if (verification->present || error == GNUTLS_E_CERTIFICATE_ERROR)
		failure_set(failure, FAILURE_VERIFICATION, false,
			    "The peer's certificate was refused: %s", words);
	else
		failure_set(failure, FAILURE_VERIFICATION, false,
			    "The peer must prove its identity, but %s", words);
}

/* The first bytes as a person can read them. */
static void tell_not_tls(struct failure *failure, const struct transport *transport)
{
	char text[4 * sizeof(transport->first) + 1];
	size_t length = 0;

	for (size_t i = 0; i < sizeof(transport->first) && i < transport->bytes_in; i++) {
		uint8_t byte = transport->first[i];

		length += (size_t)sprintf(
		    text + length, byte >= 0x20 && byte < 0x7f && byte != '"' ? "%c" : "\\x%02x",
		    byte);
	}
	text[length] = '\0';
	failure_set(failure, FAILURE_PROTOCOL, false,
		    "The peer does not speak TLS: what it sent begins with \"%s\"", text);
}

static void tell_error(struct failure *failure, int error, const struct session *session)
{
	const bool retry = error == GNUTLS_E_EARLY_DATA_REJECTED || error == GNUTLS_E_MEMORY_ERROR;

	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (causes[i].error != error)
			continue;
		if (causes[i].sentence == NULL)
			tell_verification(failure, error, &session->verification);
		else
			failure_set(failure, causes[i].class, retry, "%s", causes[i].sentence);
		if (causes[i].class == FAILURE_VERIFICATION && failure->verification[0] == '\0')
			snprintf(failure->verification, sizeof(failure->verification), "%s",
				 gnutls_strerror(error));
		return;
	}
	if (error == GNUTLS_E_UNRECOGNIZED_NAME)
		failure_set(failure, FAILURE_NEGOTIATION, false,
			    "The client asked for the server \"%s\", for which the profile has no "
			    "certificate",
			    session->server_name);
	else
		failure_set(failure, FAILURE_PROTOCOL, false, "The peer broke the TLS protocol: %s",
			    gnutls_strerror(error));
}

/* The alert that an error stands for, or -1. */
static int received_alert(int error, gnutls_session_t tls, const struct transport *transport)
{
	switch (error) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
	case GNUTLS_E_SESSION_EOF:
		return (int)gnutls_alert_get(tls);
	case GNUTLS_E_DECRYPTION_FAILED:
		/* OpenSSL as a client of TLS 1.3 refuses a server in plain, where its own keys
		 * should already be in use; the library tries to decrypt it. */
		return transport_plain_alert(transport);
	default:
		return -1;
	}
}

void handshake_failure_tell(struct failure *failure, int error, const struct session *session,
			    struct transport *transport)
{
	int alert = received_alert(error, session->tls, transport);

	if (alert >= 0) {
		tell_alert(failure, (uint8_t)alert);
		return;
	}
	if (!transport_looks_like_tls(transport))
		tell_not_tls(failure, transport);
	tell_transport(failure, transport);
	alert = alert_for_error(session->tls, error);
	if (!psk_session_tell(failure, error, session, &alert))
		tell_error(failure, error, session);
	if (session->verification.alert != 0)
		alert = session->verification.alert;
	if (transport->too_much)
		alert = GNUTLS_A_UNEXPECTED_MESSAGE;
	if (alert >= 0 && !transport->end && transport->error != ECONNRESET)
		handshake_failure_send(failure, session, transport, (uint8_t)alert);
}
