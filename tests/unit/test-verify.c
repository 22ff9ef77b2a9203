// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o tests/unit/tls-pair.o */
/* The check of a peer's certificate, in sessions: what is refused, with which alert and words. */
#include "verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "loaded.h"
#include "pki.h"
#include "revocation.h"
#include "tls-pair.h"

// Made with openssl ca -gencrl -crlexts: GnuTLS cannot make such lists.
static const char partial_list[] =
    "-----BEGIN X509 CRL-----\n"
    "MIG5MGACAQEwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFbGlzdHMXDTI2MTEyMTEy\n"
    "MDUxNVoXDTM1MDIwNzEyMDUxNVqgHzAdMA8GA1UdHAEB/wQFMAOBAf8wCgYDVR0U\n"
    "BAMCAQEwCgYIKoZIzj0EAwIDSQAwRgIhAMB/EGcD4z04DaLg35Jo45+Qyy/Ngfkz\n"
    "bIlTxho6nE9xAiEA3W2TD3VHLekXwnfnEBH82t1lsMQ63+44vYXTmJlw90c=\n"
    "-----END X509 CRL-----\n";

static const char indirect_list[] =
    "-----BEGIN X509 CRL-----\n"
    "MIG4MGACAQEwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFbGlzdHMXDTI2MTEyMTEy\n"
    "MDUxNVoXDTM1MDIwNzEyMDUxNVqgHzAdMA8GA1UdHAEB/wQFMAOEAf8wCgYDVR0U\n"
    "BAMCAQIwCgYIKoZIzj0EAwIDSAAwRQIgZkhgKRBLbAAfYeE3xj+9hIrEFSey2Wgb\n"
    "rRroyIlH3YQCIQD8HSBgZgAzYvMDK/WAqsvNFn2YvzD5lbet+GBdLH501w==\n"
    "-----END X509 CRL-----\n";

static const char delta_list[] =
    "-----BEGIN X509 CRL-----\n"
    "MIG2MF4CAQEwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFbGlzdHMXDTI2MTEyMTEy\n"
    "MDUxNVoXDTM1MDIwNzEyMDUxNVqgHTAbMA0GA1UdGwEB/wQDAgEBMAoGA1UdFAQD\n"
    "AgEDMAoGCCqGSM49BAMCA0gAMEUCIQD7nkFsbCkvqmxfKBRwG+P/GzZATtAiar3q\n"
    "RIIBO2ZRmwIgM3BeL+FoiMAHM5DuFPCJKp1uCZPOgE7SG2izKocZ71Q=\n"
    "-----END X509 CRL-----\n";

static const char odd_list[] = "-----BEGIN X509 CRL-----\n"
			       "MIG1MF4CAQEwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFbGlzdHMXDTI2MTEyMTEy\n"
			       "MDUxNVoXDTM1MDIwNzEyMDUxNVqgHTAbMA0GBCoDBAUBAf8EAgUAMAoGA1UdFAQD\n"
			       "AgEEMAoGCCqGSM49BAMCA0cAMEQCIHHDNSaosmmZUY2lMTgYD2Qe3KSZumKtZ4O8\n"
			       "mnTB746RAiAX3NjBU4EW8Ut8D0KdCWQQ3JZa71YE3QtPOpVdZsRUKw==\n"
			       "-----END X509 CRL-----\n";

enum { DAY = 24 * 3600 };

static struct pki_entity *root, *intermediate, *stranger, *server, *client;

static int setup(void **state)
{
	(void)state;
	root = pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	intermediate = pki_new(
	    &(struct pki_wish){.authority = true, .common_name = "intermediate", .issuer = root});
	stranger = pki_new(&(struct pki_wish){.authority = true, .common_name = "stranger"});
	server = pki_new(&(struct pki_wish){
	    .issuer = intermediate, .names = {"server.test"}, .purpose = GNUTLS_KP_TLS_WWW_SERVER});
	client = pki_new(&(struct pki_wish){
	    .issuer = intermediate, .names = {"client.test"}, .purpose = GNUTLS_KP_TLS_WWW_CLIENT});
	pki_write_chain("trust.pem", (const struct pki_entity *[]){root}, 1);
	pki_write_chain("server.pem", (const struct pki_entity *[]){server, intermediate}, 2);
	pki_write_key("server.key", server);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(root);
	pki_free(intermediate);
	pki_free(stranger);
	pki_free(server);
	pki_free(client);
	pki_directory_remove();
	return 0;
}

static struct verification result;
static const struct decision *judged;

static int verify(gnutls_session_t session)
{
	verify_peer(session, judged, &result);
	return result.alert ? -1 : 0;
}

struct peer {
	const struct pki_entity *chain[4]; // up to a NULL; none: no certificate
	const char *priorities;
};

static gnutls_certificate_credentials_t peer_credentials(const struct peer *peer)
{
	gnutls_certificate_credentials_t credentials;
	gnutls_x509_crt_t chain[4];
	int count = 0;

	assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
	while (count < 4 && peer->chain[count]) {
		chain[count] = peer->chain[count]->certificate;
		count++;
	}
	if (count)
		assert_int_equal(
		    gnutls_certificate_set_x509_key(credentials, chain, count, peer->chain[0]->key),
		    0);
	return credentials;
}

// Lets the daemon's side judge the peer; the handshake's end must agree with the judgement.
static void judge(const struct decision *decision, const struct peer *peer)
{
	bool is_server = decision->role == REQUEST_SERVER;
	const struct profile *profile = decision->profile;
	gnutls_certificate_credentials_t credentials = peer_credentials(peer);
	gnutls_session_t own, others;
	struct tls_pair pair;

	memset(&result, 0xff, sizeof(result));
	judged = decision;
	tls_pair_open(&pair, is_server ? GNUTLS_FORCE_CLIENT_CERT : 0, 0);
	own = is_server ? pair.server : pair.client;
	others = is_server ? pair.client : pair.server;
	gnutls_credentials_set(own, GNUTLS_CRD_CERTIFICATE,
			       is_server ? profile->server : profile->client);
	gnutls_priority_set(own, is_server ? profile->priority_server : profile->priority_client);
	gnutls_session_set_verify_function(own, verify);
	if (is_server)
		gnutls_certificate_server_set_request(own, GNUTLS_CERT_REQUEST);
	gnutls_credentials_set(others, GNUTLS_CRD_CERTIFICATE, credentials);
	assert_int_equal(gnutls_priority_set_direct(
			     others, peer->priorities ? peer->priorities : "NORMAL", NULL),
			 0);
	tls_pair_run(&pair);
	// Where the peer sends no certificate the library does not ask: the session does, after it.
	if (is_server && !peer->chain[0])
		verify_peer(own, decision, &result);
	else if (result.alert == 0)
		assert_int_equal(pair.client_error, 0);
	else
		assert_int_equal(is_server ? pair.server_error : pair.client_error,
				 GNUTLS_E_CERTIFICATE_ERROR);
	assert_true(result.alert != 0 || result.words[0] == '\0');
	assert_true(result.alert == 0 || result.words[0] != '\0');
	assert_false(result.alert != 0 && result.authenticated);
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(credentials);
}

static struct loaded *load(const char *lines)
{
	struct problem problem = {};
	struct loaded *loaded;
	char text[1024];

	snprintf(text, sizeof(text), "[daemon]\nuser = 65534\n[profile p]\n%s", lines);
	if (loaded_new(&(struct config_source){.path = pki_write_text("test.conf", text)}, &loaded,
		       &problem) < 0)
		fail_msg("%s", problem.text);
	return loaded;
}

static void judge_server_with(const char *lines, const char *name, const struct peer *peer)
{
	struct loaded *loaded = load(lines);
	struct decision decision = {.profile = &loaded->profiles[0], .role = REQUEST_CLIENT};

	snprintf(decision.peer_name, sizeof(decision.peer_name), "%s", name);
	judge(&decision, peer);
	loaded_free(loaded);
}

static void judge_server(const char *name, const struct peer *peer)
{
	judge_server_with("role = client\ntrust = trust.pem\n", name, peer);
}

static void judge_client(enum config_client_certificates wanted, const struct peer *peer)
{
	struct loaded *loaded = load("role = server\ntrust = trust.pem\n"
				     "certificate = server.pem\nprivate-key = server.key\n");
	struct decision decision = {
	    .profile = &loaded->profiles[0], .role = REQUEST_SERVER, .client_certificates = wanted};

	judge(&decision, peer);
	loaded_free(loaded);
}

#define assert_refused(number, part)                                              \
	do {                                                                      \
		if (result.alert != (number) || !strstr(result.words, part))      \
			fail_msg("alert %d, \"%s\"", result.alert, result.words); \
	} while (0)

#define assert_good()                                                             \
	do {                                                                      \
		if (result.alert || !result.authenticated || !result.present)     \
			fail_msg("alert %d, \"%s\"", result.alert, result.words); \
	} while (0)

static void believes_the_right_server_in_both_versions(void **state)
{
	(void)state;
	judge_server("server.test", &(struct peer){.chain = {server, intermediate}});
	assert_good();
	judge_server("SERVER.test", &(struct peer){.chain = {server, intermediate, root}});
	assert_good();
	judge_server("server.test", &(struct peer){.chain = {server, intermediate},
						   .priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2"});
	assert_good();
}

static void refuses_an_unknown_authority(void **state)
{
	struct pki_entity *foreign =
	    pki_new(&(struct pki_wish){.issuer = stranger, .names = {"server.test"}});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {foreign, stranger}});
	assert_refused(GNUTLS_A_UNKNOWN_CA, "no authority that is trusted");
	judge_server("server.test", &(struct peer){.chain = {foreign}});
	assert_refused(GNUTLS_A_UNKNOWN_CA, "no authority that is trusted");
	// The intermediate is missing, so nothing leads to the root.
	judge_server("server.test", &(struct peer){.chain = {server}});
	assert_refused(GNUTLS_A_UNKNOWN_CA, "no authority that is trusted");
	pki_free(foreign);
}

static void refuses_by_date(void **state)
{
	struct pki_entity *expired = pki_new(&(struct pki_wish){
	    .issuer = intermediate, .names = {"server.test"}, .from = -2 * DAY, .until = -DAY});
	struct pki_entity *early = pki_new(&(struct pki_wish){
	    .issuer = intermediate, .names = {"server.test"}, .from = DAY, .until = 2 * DAY});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {expired, intermediate}});
	assert_refused(GNUTLS_A_CERTIFICATE_EXPIRED, "the certificate has expired, on 20");
	judge_server("server.test", &(struct peer){.chain = {early, intermediate}});
	assert_refused(GNUTLS_A_CERTIFICATE_EXPIRED, "the certificate is not yet valid, only from");
	pki_free(expired);
	pki_free(early);
}

static void refuses_an_expired_authority(void **state)
{
	struct pki_entity *old = pki_new(&(struct pki_wish){.authority = true,
							    .issuer = root,
							    .common_name = "old authority",
							    .from = -2 * DAY,
							    .until = -DAY});
	struct pki_entity *leaf =
	    pki_new(&(struct pki_wish){.issuer = old, .names = {"server.test"}});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {leaf, old}});
	assert_refused(GNUTLS_A_CERTIFICATE_EXPIRED, "an authority's certificate has expired");
	assert_refused(GNUTLS_A_CERTIFICATE_EXPIRED, "old authority");
	pki_free(leaf);
	pki_free(old);
}

static void refuses_an_issuer_that_is_no_authority(void **state)
{
	struct pki_entity *leaf =
	    pki_new(&(struct pki_wish){.issuer = server, .names = {"victim.test"}});

	(void)state;
	judge_server("victim.test", &(struct peer){.chain = {leaf, server, intermediate}});
	assert_true(result.alert != 0);
	pki_free(leaf);
}

static void refuses_a_forged_signature(void **state)
{
	struct pki_entity *twin = pki_new(&(struct pki_wish){
	    .authority = true, .common_name = "intermediate", .issuer = stranger});
	struct pki_entity *leaf =
	    pki_new(&(struct pki_wish){.issuer = twin, .names = {"server.test"}});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {leaf, intermediate}});
	assert_true(result.alert == GNUTLS_A_BAD_CERTIFICATE ||
		    result.alert == GNUTLS_A_UNKNOWN_CA);
	pki_free(leaf);
	pki_free(twin);
}

static void refuses_a_weak_key(void **state)
{
	struct pki_entity *weak = pki_new(&(struct pki_wish){
	    .kind = PKI_RSA_WEAK, .issuer = intermediate, .names = {"server.test"}});

	(void)state;
	judge_server(
	    "server.test",
	    &(struct peer){.chain = {weak, intermediate},
			   .priorities = "NORMAL:%PROFILE_VERY_WEAK:-VERS-ALL:+VERS-TLS1.2"});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "too weak");
	pki_free(weak);
}

static void refuses_a_wrong_purpose(void **state)
{
	struct pki_entity *masquerade = pki_new(&(struct pki_wish){
	    .issuer = intermediate, .names = {"server.test"}, .purpose = GNUTLS_KP_TLS_WWW_CLIENT});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {masquerade, intermediate}});
	assert_refused(GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for this purpose");
	judge_client(CONFIG_CLIENT_REQUIRE, &(struct peer){.chain = {server, intermediate}});
	assert_refused(GNUTLS_A_UNSUPPORTED_CERTIFICATE, "not for this purpose");
	pki_free(masquerade);
}

static void refuses_a_wrong_name(void **state)
{
	struct pki_entity *many = pki_new(&(struct pki_wish){.issuer = intermediate,
							     .common_name = "common.test",
							     .names = {"*.wild.test", "exact.test"},
							     .address = "192.0.2.7"});

	(void)state;
	judge_server("other.test", &(struct peer){.chain = {server, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name \"other.test\"");
	judge_server("", &(struct peer){.chain = {server, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name \"\"");
	judge_server("a.wild.test", &(struct peer){.chain = {many, intermediate}});
	assert_good();
	judge_server("a.b.wild.test", &(struct peer){.chain = {many, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	judge_server("wild.test", &(struct peer){.chain = {many, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	judge_server("common.test", &(struct peer){.chain = {many, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	judge_server("192.0.2.7", &(struct peer){.chain = {many, intermediate}});
	assert_good();
	judge_server("192.0.2.8", &(struct peer){.chain = {many, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	judge_server("2001:db8::1", &(struct peer){.chain = {many, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	pki_free(many);
}

static void takes_no_name_from_the_subject(void **state)
{
	struct pki_entity *old =
	    pki_new(&(struct pki_wish){.issuer = intermediate, .common_name = "server.test"});
	struct pki_entity *text =
	    pki_new(&(struct pki_wish){.issuer = intermediate, .names = {"192.0.2.7"}});

	(void)state;
	judge_server("server.test", &(struct peer){.chain = {old, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	// An address is an address, not a DNS name that looks like one.
	judge_server("192.0.2.7", &(struct peer){.chain = {text, intermediate}});
	assert_refused(GNUTLS_A_BAD_CERTIFICATE, "not for the name");
	pki_free(old);
	pki_free(text);
}

static void believes_anybody_only_where_the_profile_is_insecure(void **state)
{
	struct pki_entity *foreign = pki_new(&(struct pki_wish){.issuer = stranger});

	(void)state;
	judge_server_with("role = client\ninsecure-no-verification = yes\n", "",
			  &(struct peer){.chain = {foreign, stranger}});
	assert_int_equal(result.alert, 0);
	assert_true(result.present);
	assert_false(result.authenticated);
	pki_free(foreign);
}

static void judges_a_client_by_what_is_wanted(void **state)
{
	struct pki_entity *foreign = pki_new(&(struct pki_wish){.issuer = stranger});

	(void)state;
	judge_client(CONFIG_CLIENT_REQUIRE, &(struct peer){.chain = {client, intermediate}});
	assert_good();
	judge_client(CONFIG_CLIENT_REQUEST, &(struct peer){.chain = {client, intermediate}});
	assert_good();
	judge_client(CONFIG_CLIENT_REQUEST, &(struct peer){});
	assert_int_equal(result.alert, 0);
	assert_false(result.present);
	assert_false(result.authenticated);
	judge_client(CONFIG_CLIENT_REQUIRE, &(struct peer){});
	assert_refused(GNUTLS_A_CERTIFICATE_REQUIRED, "one is required");
	judge_client(CONFIG_CLIENT_REQUIRE,
		     &(struct peer){.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2"});
	assert_refused(GNUTLS_A_HANDSHAKE_FAILURE, "one is required");
	// Asked for, sent, and wrong: refused, though none would have done.
	judge_client(CONFIG_CLIENT_REQUEST, &(struct peer){.chain = {foreign, stranger}});
	assert_refused(GNUTLS_A_UNKNOWN_CA, "no authority that is trusted");
	pki_free(foreign);
}

// ---- Revocation ----

// Puts the files into one.
static void write_lists(const char *const *names)
{
	char all[16384] = "", part[8192];

	for (; *names; names++) {
		FILE *file = fopen(pki_path(*names), "r");

		assert_non_null(file);
		part[fread(part, 1, sizeof(part) - 1, file)] = '\0';
		fclose(file);
		strcat(all, part);
	}
	pki_write_text("lists.pem", all);
}

#define WITH_LISTS "role = client\ntrust = trust.pem\nrevocation-list = lists.pem\n"

static void judge_with_lists(void)
{
	judge_server_with(WITH_LISTS, "server.test",
			  &(struct peer){.chain = {server, intermediate}});
}

static void refuses_what_is_revoked(void **state)
{
	const unsigned of_server[] = {1, server->serial, 77};
	const unsigned of_intermediate[] = {intermediate->serial};

	(void)state;
	pki_write_list("root.crl", root, NULL, 0, -DAY, DAY);
	pki_write_list("inter.crl", intermediate, (unsigned[]){1, 2, 3}, 3, -DAY, DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_good();
	pki_write_list("inter.crl", intermediate, of_server, 3, -DAY, DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked");
	// What was revoked stays revoked on a list that has expired.
	pki_write_list("inter.crl", intermediate, of_server, 3, -2 * DAY, -DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked");
	pki_write_list("root.crl", root, of_intermediate, 1, -DAY, DAY);
	pki_write_list("inter.crl", intermediate, NULL, 0, -DAY, DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked");
}

static void refuses_when_the_lists_do_not_tell(void **state)
{
	struct pki_entity *twin = pki_new(
	    &(struct pki_wish){.authority = true, .common_name = "intermediate", .issuer = root});

	(void)state;
	pki_write_list("root.crl", root, NULL, 0, -DAY, DAY);
	pki_write_list("inter.crl", intermediate, NULL, 0, -DAY, DAY);
	write_lists((const char *[]){"root.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "there is no revocation list");
	write_lists((const char *[]){"inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "there is no revocation list");
	pki_write_list("inter.crl", intermediate, NULL, 0, -2 * DAY, -DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "has expired or is not yet valid");
	pki_write_list("inter.crl", intermediate, NULL, 0, DAY, 2 * DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "has expired or is not yet valid");
	// Of the issuer's name, but signed by another key.
	pki_write_list("inter.crl", twin, NULL, 0, -DAY, DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "not signed by it");
	// Nor does its age make it believed.
	pki_write_list("inter.crl", twin, &server->serial, 1, -2 * DAY, -DAY);
	write_lists((const char *[]){"root.crl", "inter.crl", NULL});
	judge_with_lists();
	assert_refused(GNUTLS_A_CERTIFICATE_UNKNOWN, "not signed by it");
	pki_free(twin);
}

static void takes_the_current_list_beside_an_old_one(void **state)
{
	(void)state;
	pki_write_list("root.crl", root, NULL, 0, -DAY, DAY);
	pki_write_list("old.crl", intermediate, NULL, 0, -2 * DAY, -DAY);
	pki_write_list("inter.crl", intermediate, NULL, 0, -DAY, DAY);
	write_lists((const char *[]){"old.crl", "inter.crl", "root.crl", NULL});
	judge_with_lists();
	assert_good();
}

static void refuses_lists_that_say_less_than_they_seem_to(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {partial_list, "partial or indirect list"},
	    {indirect_list, "partial or indirect list"},
	    {delta_list, "delta list"},
	    {odd_list, "critical extension that is not known (1.2.3.4.5)"},
	    {"", "has no list in it"},
	    {"-----BEGIN X509 CRL-----\nAAAA\n", "has no end"},
	    {"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "cannot be read"},
	    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	     "not an \"X509 CRL\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct revocation *revocation;
		struct problem problem = {};

		pki_write_text("lists.pem", cases[i].text);
		assert_int_equal(revocation_read(pki_path("lists.pem"), &revocation, &problem), -1);
		if (!strstr(problem.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", problem.text, cases[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(believes_the_right_server_in_both_versions),
	    cmocka_unit_test(refuses_an_unknown_authority),
	    cmocka_unit_test(refuses_by_date),
	    cmocka_unit_test(refuses_an_expired_authority),
	    cmocka_unit_test(refuses_an_issuer_that_is_no_authority),
	    cmocka_unit_test(refuses_a_forged_signature),
	    cmocka_unit_test(refuses_a_weak_key),
	    cmocka_unit_test(refuses_a_wrong_purpose),
	    cmocka_unit_test(refuses_a_wrong_name),
	    cmocka_unit_test(takes_no_name_from_the_subject),
	    cmocka_unit_test(believes_anybody_only_where_the_profile_is_insecure),
	    cmocka_unit_test(judges_a_client_by_what_is_wanted),
	    cmocka_unit_test(refuses_what_is_revoked),
	    cmocka_unit_test(refuses_when_the_lists_do_not_tell),
	    cmocka_unit_test(takes_the_current_list_beside_an_old_one),
	    cmocka_unit_test(refuses_lists_that_say_less_than_they_seem_to),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
