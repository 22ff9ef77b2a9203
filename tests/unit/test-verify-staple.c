// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o tests/unit/ocsp-maker.o tests/unit/tls-pair.o */
/* What a client makes of a stapled response, and of a list of allowed peers, in sessions. */
#include "verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "alert.h"
#include "loaded.h"
#include "ocsp-maker.h"
#include "pki.h"
#include "tls-pair.h"

enum { HOUR = 3600 };

static struct pki_entity *root, *issuer, *server, *strict, *other;
static struct verification result;
static const struct decision *judged;

static int setup(void **state)
{
	(void)state;
	root = pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	issuer =
	    pki_new(&(struct pki_wish){.authority = true, .common_name = "issuer", .issuer = root});
	server = pki_new(&(struct pki_wish){.issuer = issuer, .names = {"server.test"}});
	strict = pki_new(
	    &(struct pki_wish){.issuer = issuer, .names = {"server.test"}, .must_staple = true});
	other = pki_new(&(struct pki_wish){.issuer = issuer, .names = {"other.test"}});
	pki_write_chain("trust.pem", (const struct pki_entity *[]){root}, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(root);
	pki_free(issuer);
	pki_free(server);
	pki_free(strict);
	pki_free(other);
	pki_directory_remove();
	return 0;
}

static int verify(gnutls_session_t session)
{
	verify_peer(session, judged, &result);
	return result.alert ? -1 : 0;
}

static int staple(gnutls_session_t session, void *wish, gnutls_datum_t *ret_response)
{
	(void)session;
	*ret_response = ocsp_make(wish);
	return 0;
}

// The server shows the entity, with the response unless there is none.
static void meet(const struct decision *decision, const struct pki_entity *entity,
		 struct ocsp_wish *wish, const char *version)
{
	gnutls_x509_crt_t chain[] = {entity->certificate, issuer->certificate};
	gnutls_certificate_credentials_t credentials;
	char priorities[64];
	struct tls_pair pair;

	assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
	assert_int_equal(gnutls_certificate_set_x509_key(credentials, chain, 2, entity->key), 0);
	if (wish)
		gnutls_certificate_set_ocsp_status_request_function2(credentials, 0, staple, wish);
	snprintf(priorities, sizeof(priorities), "NORMAL:-VERS-ALL:+VERS-%s", version);
	memset(&result, 0xff, sizeof(result));
	judged = decision;
	tls_pair_open(&pair, 0, 0);
	gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, decision->profile->client);
	gnutls_priority_set(pair.client, decision->profile->priority_client);
	gnutls_session_set_verify_function(pair.client, verify);
	gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, credentials);
	assert_int_equal(gnutls_priority_set_direct(pair.server, priorities, NULL), 0);
	tls_pair_run(&pair);
	assert_int_equal(pair.client_error, result.alert ? GNUTLS_E_CERTIFICATE_ERROR : 0);
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(credentials);
}

// In both versions; alert 0: good.
static void judge(const char *lines, const struct pki_entity *entity, struct ocsp_wish *wish,
		  int alert, const char *words)
{
	static const char *const versions[] = {"TLS1.3", "TLS1.2"};
	struct problem problem = {};
	struct decision decision = {.role = REQUEST_CLIENT, .peer_name = "server.test"};
	struct loaded *loaded;
	char text[512];

	snprintf(text, sizeof(text),
		 "[daemon]\nuser = 65534\n[profile p]\nrole = client\ntrust = trust.pem\n%s",
		 lines);
	if (loaded_new(&(struct config_source){.path = pki_write_text("test.conf", text)}, &loaded,
		       &problem) < 0)
		fail_msg("%s", problem.text);
	decision.profile = &loaded->profiles[0];
	if (wish) {
		wish->issuer = issuer;
		wish->certificate = wish->certificate ? wish->certificate : entity;
	}
	for (size_t i = 0; i < 2; i++) {
		meet(&decision, entity, wish, versions[i]);
		if (result.alert != alert || !strstr(result.words, words) ||
		    result.authenticated != (alert == 0))
			fail_msg("%s: alert %d, \"%s\"", versions[i], result.alert, result.words);
	}
	loaded_free(loaded);
}

static void good_one_is_taken(void **state)
{
	struct ocsp_wish wish = {.status = 'g'};

	(void)state;
	judge("", server, &wish, 0, "");
	judge("revocation = staple\n", server, &wish, 0, "");
	judge("revocation = require\n", server, &wish, 0, "");
	wish.certificate = NULL;
	judge("revocation = require\n", strict, &wish, 0, "");
}

static void absent_one_counts_where_it_must_be_there(void **state)
{
	(void)state;
	judge("", server, NULL, 0, "");
	judge("revocation = staple\n", server, NULL, 0, "");
	judge("revocation = none\n", strict, NULL, 0, "");
	judge("revocation = staple\n", strict, NULL, ALERT_BAD_CERTIFICATE_STATUS_RESPONSE,
	      "must-staple");
	judge("", strict, NULL, ALERT_BAD_CERTIFICATE_STATUS_RESPONSE, "must-staple");
	judge("revocation = require\n", server, NULL, ALERT_BAD_CERTIFICATE_STATUS_RESPONSE,
	      "one is required");
}

static void revoked_is_revoked(void **state)
{
	struct ocsp_wish wish = {.status = 'r'};

	(void)state;
	judge("", server, &wish, GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked, on 20");
	judge("revocation = require\n", server, &wish, GNUTLS_A_CERTIFICATE_REVOKED, "revoked");
	// The end of its time does not make it good again.
	wish.from = -2 * HOUR;
	wish.until = -HOUR;
	judge("", server, &wish, GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked");
	judge("revocation = none\n", server, &wish, 0, "");
}

static void bad_ones_are_refused(void **state)
{
	struct {
		struct ocsp_wish wish;
		const char *words;
	} cases[] = {
	    {{.from = -2 * HOUR, .until = -HOUR}, "has expired, on"},
	    {{.from = HOUR, .until = 2 * HOUR}, "not yet valid, only from"},
	    {{.status = 'u'}, "does not know"},
	    {{.certificate = other}, "is for another certificate"},
	    {{.signer = other}, "signed neither by"},
	    {{.signer = other, .enclosed = other}, "not made for that"},
	    {{.endless = true}, "until when it holds"},
	    {{.critical = true}, "critical extension"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		judge("", server, &cases[i].wish, ALERT_BAD_CERTIFICATE_STATUS_RESPONSE,
		      cases[i].words);
		judge("revocation = require\n", server, &cases[i].wish,
		      ALERT_BAD_CERTIFICATE_STATUS_RESPONSE, cases[i].words);
		judge("revocation = none\n", server, &cases[i].wish, 0, "");
	}
}

static void allowed_peers_come_last(void **state)
{
	struct ocsp_wish wish = {.status = 'r'};

	(void)state;
	judge("allow-peer = dns:server.test\n", server, NULL, 0, "");
	judge("allow-peer = dns:nobody.test\nallow-peer = issuer:CN=issuer\n", server, NULL, 0, "");
	judge("allow-peer = dns:nobody.test\n", server, NULL, GNUTLS_A_ACCESS_DENIED,
	      "none of those that allow-peer names; it has dns:server.test, issuer:CN=issuer");
	judge("allow-peer = dns:server.test\n", server, &wish, GNUTLS_A_CERTIFICATE_REVOKED,
	      "revoked");
	judge("allow-peer = dns:other.test\n", other, NULL, GNUTLS_A_BAD_CERTIFICATE,
	      "not for the name");
}

// ---- Resumed sessions ----

static gnutls_datum_t ticket_key, session_data;

// One side of a pair that keeps tickets, which tls_pair_open() does not.
static gnutls_session_t side_new(unsigned flags, int fd, const char *version)
{
	char priorities[64];
	gnutls_session_t session;

	snprintf(priorities, sizeof(priorities), "NORMAL:-VERS-ALL:+VERS-%s", version);
	assert_int_equal(gnutls_init(&session, flags | GNUTLS_NONBLOCK), 0);
	assert_int_equal(gnutls_priority_set_direct(session, priorities, NULL), 0);
	gnutls_transport_set_int(session, fd);
	gnutls_handshake_set_timeout(session, 0);
	return session;
}

// As the first of two visits, or as the second, which resumes the first.
static void visit(const struct decision *decision, const char *version, bool second)
{
	struct ocsp_wish wish = {.certificate = strict, .issuer = issuer};
	gnutls_x509_crt_t chain[] = {strict->certificate, issuer->certificate};
	gnutls_certificate_credentials_t credentials;
	struct tls_pair pair = {.client_error = GNUTLS_E_AGAIN, .server_error = GNUTLS_E_AGAIN};
	char byte;

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.fds), 0);
	pair.client = side_new(GNUTLS_CLIENT, pair.fds[0], version);
	pair.server = side_new(GNUTLS_SERVER, pair.fds[1], version);
	assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
	assert_int_equal(gnutls_certificate_set_x509_key(credentials, chain, 2, strict->key), 0);
	gnutls_certificate_set_ocsp_status_request_function2(credentials, 0, staple, &wish);
	gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, decision->profile->client);
	gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, credentials);
	assert_int_equal(gnutls_session_ticket_enable_server(pair.server, &ticket_key), 0);
	if (second)
		assert_int_equal(
		    gnutls_session_set_data(pair.client, session_data.data, session_data.size), 0);
	tls_pair_run(&pair);
	assert_int_equal(pair.client_error, 0);
	assert_int_equal(pair.server_error, 0);
	assert_int_equal(gnutls_session_is_resumed(pair.client) != 0, second);
	gnutls_record_recv(pair.client, &byte, 1); // the ticket of TLS 1.3
	verify_peer(pair.client, decision, &result);
	if (!second)
		assert_int_equal(gnutls_session_get_data2(pair.client, &session_data), 0);
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(credentials);
}

// The response that came then is judged again: as long as it holds the session can be resumed.
static void resumed_sessions_are_judged_by_what_came_first(void **state)
{
	static const char *const versions[] = {"TLS1.3", "TLS1.2"};
	struct problem problem = {};
	struct decision decision = {.role = REQUEST_CLIENT, .peer_name = "server.test"};
	struct loaded *loaded;

	(void)state;
	pki_write_text("test.conf", "[daemon]\nuser = 65534\n[profile p]\nrole = client\n"
				    "trust = trust.pem\nrevocation = require\n");
	if (loaded_new(&(struct config_source){.path = pki_path("test.conf")}, &loaded, &problem) <
	    0)
		fail_msg("%s", problem.text);
	decision.profile = &loaded->profiles[0];
	assert_int_equal(gnutls_session_ticket_key_generate(&ticket_key), 0);
	for (size_t i = 0; i < 2; i++)
		for (int second = 0; second < 2; second++) {
			visit(&decision, versions[i], second);
			if (result.alert || !result.authenticated)
				fail_msg("%s, visit %d: %s", versions[i], second + 1, result.words);
			if (second)
				gnutls_free(session_data.data);
		}
	gnutls_free(ticket_key.data);
	loaded_free(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_one_is_taken),
	    cmocka_unit_test(absent_one_counts_where_it_must_be_there),
	    cmocka_unit_test(revoked_is_revoked),
	    cmocka_unit_test(bad_ones_are_refused),
	    cmocka_unit_test(allowed_peers_come_last),
	    cmocka_unit_test(resumed_sessions_are_judged_by_what_came_first),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
