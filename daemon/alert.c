// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Alerts: names, numbers, the choice for an error, and sending through the session. Touches the
 * session it is given; must never send once the traffic keys belong to somebody else.
 */
#include "alert.h"

#include "alert-names.h"

const char *alert_name(uint8_t number)
{
	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].number == number)
			return alerts[i].name;
	return NULL;
}

int alert_for_error(gnutls_session_t session, int error)
{
	switch (error) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_SESSION_EOF:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return -1;
	/* What gnutls_error_to_alert() maps to internal_error or to something less telling: */
	case GNUTLS_E_NO_APPLICATION_PROTOCOL:
		return GNUTLS_A_NO_APPLICATION_PROTOCOL;
	case GNUTLS_E_UNRECOGNIZED_NAME:
		return GNUTLS_A_UNRECOGNIZED_NAME;
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		/* RFC 8446, 4.4.2.4; TLS 1.2 has no word of its own for it (RFC 5246, 7.4.6). */
		return gnutls_protocol_get_version(session) >= GNUTLS_TLS1_3
			   ? GNUTLS_A_CERTIFICATE_REQUIRED
			   : GNUTLS_A_HANDSHAKE_FAILURE;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		return GNUTLS_A_PROTOCOL_VERSION;
	case GNUTLS_E_PK_SIG_VERIFY_FAILED:
		return GNUTLS_A_DECRYPT_ERROR;
	default:
		return gnutls_error_to_alert(error, NULL);
	}
}

static int alert_try(gnutls_session_t session, gnutls_alert_level_t level, uint8_t number)
{
	int error;

	do
		error = gnutls_alert_send(session, level, (gnutls_alert_description_t)number);
	while (error == GNUTLS_E_INTERRUPTED);
	return error;
}

int alert_send(gnutls_session_t session, uint8_t number)
{
	return alert_try(session, GNUTLS_AL_FATAL, number);
}

int alert_send_cancelled(gnutls_session_t session)
{
	int error = alert_try(session, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED);

	if (error == 0)
		error = alert_try(session, GNUTLS_AL_WARNING, GNUTLS_A_CLOSE_NOTIFY);
	return error;
}
