// SPDX-License-Identifier: LGPL-2.1-or-later
// Alerts: names, numbers, and which one an error deserves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>

#include "alert.h"

static void knows_names_and_numbers(void **state)
{
	unsigned known = 0;

	(void)state;
	assert_string_equal(alert_name(48), "unknown_ca");
	assert_string_equal(alert_name(0), "close_notify");
	assert_string_equal(alert_name(120), "no_application_protocol");
	assert_null(alert_name(1));
	assert_null(alert_name(255));
	assert_string_equal(alert_name(116), "certificate_required");
	for (int number = 0; number < 256; number++)
		known += alert_name((uint8_t)number) != NULL;
	assert_true(known > 30);
}

/* RFC 8446, 6.2. */
static void chooses_the_alert_for_an_error(void **state)
{
	static const struct {
		int error;
		int alert;
	} cases[] = {
	    {GNUTLS_E_FATAL_ALERT_RECEIVED, -1},
	    {GNUTLS_E_PREMATURE_TERMINATION, -1},
	    {GNUTLS_E_PULL_ERROR, -1},
	    {GNUTLS_E_PUSH_ERROR, -1},
	    {GNUTLS_E_SESSION_EOF, -1},
	    {GNUTLS_E_NO_APPLICATION_PROTOCOL, 120},
	    {GNUTLS_E_UNRECOGNIZED_NAME, 112},
	    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, 70},
	    {GNUTLS_E_NO_CIPHER_SUITES, 40},
	    {GNUTLS_E_INSUFFICIENT_SECURITY, 71},
	    {GNUTLS_E_PK_SIG_VERIFY_FAILED, 51},
	    {GNUTLS_E_DECRYPTION_FAILED, 20},
	    {GNUTLS_E_RECORD_OVERFLOW, 22},
	    {GNUTLS_E_UNEXPECTED_PACKET, 10},
	    {GNUTLS_E_UNEXPECTED_PACKET_LENGTH, 50},
	    {GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER, 47},
	    {GNUTLS_E_MISSING_EXTENSION, 109},
	    {GNUTLS_E_INAPPROPRIATE_FALLBACK, 86},
	    {GNUTLS_E_INTERNAL_ERROR, 80},
	    {GNUTLS_E_MEMORY_ERROR, 80},
	};
	gnutls_session_t session;

	(void)state;
	assert_int_equal(gnutls_init(&session, GNUTLS_SERVER), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int alert = alert_for_error(session, cases[i].error);

		if (alert != cases[i].alert)
			fail_msg("%s: %d", gnutls_strerror_name(cases[i].error), alert);
	}
	gnutls_deinit(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(knows_names_and_numbers),
	    cmocka_unit_test(chooses_the_alert_for_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
