// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* Which certificates an entry of allow-peer fits, and which entries are none. */
#include "allow-peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pki.h"

static gnutls_x509_crt_t certificate;
static struct pki_entity *authority, *entity;
static char fingerprint[65];

static void name_add(gnutls_x509_subject_alt_name_t type, const void *name, size_t size)
{
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(certificate, type, name,
							      (unsigned)size, GNUTLS_FSAN_APPEND),
			 0);
}

static int setup(void **state)
{
	unsigned char digest[32];
	size_t size = sizeof(digest);
	gnutls_datum_t der;

	(void)state;
	authority = pki_new(&(struct pki_wish){.authority = true, .common_name = "Some, CA"});
	entity = pki_new(&(struct pki_wish){.issuer = authority, .address = "192.0.2.7"});
	certificate = entity->certificate;
	name_add(GNUTLS_SAN_DNSNAME, "www.Example.com", 15);
	name_add(GNUTLS_SAN_DNSNAME, "*.wild.test", 11);
	name_add(GNUTLS_SAN_RFC822NAME, "Who@example.com", 15);
	name_add(GNUTLS_SAN_URI, "spiffe://example.org/ns/a/web", 29);
	name_add(GNUTLS_SAN_URI, "spiffe://example.org/up/../ns/b", 31);
	name_add(GNUTLS_SAN_URI, "spiffe://example.org/q/a%2e%2e", 30);
	name_add(GNUTLS_SAN_URI, "spiffe://example.org/e//x", 25);
	assert_int_equal(gnutls_x509_crt_sign2(certificate, authority->certificate, authority->key,
					       GNUTLS_DIG_SHA256, 0),
			 0);
	// Names are read from what was imported, not from what was set.
	assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der), 0);
	gnutls_x509_crt_deinit(certificate);
	assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
	assert_int_equal(gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER), 0);
	entity->certificate = certificate;
	gnutls_free(der.data);
	assert_int_equal(
	    gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &size), 0);
	for (size_t i = 0; i < size; i++)
		sprintf(fingerprint + 2 * i, "%02X", digest[i]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(entity);
	pki_free(authority);
	return 0;
}

static bool fits(const char *text)
{
	struct problem problem = {};
	struct allow_peer allow;
	bool result;

	if (allow_peer_parse(text, &allow, &problem) < 0)
		fail_msg("%s: %s", text, problem.text);
	assert_string_equal(allow.written, text);
	result = allow_peer_matches(&allow, 1, certificate);
	allow_peer_done(&allow);
	return result;
}

static void what_fits(void **state)
{
	static const char *const texts[] = {
	    "dns:www.example.com",
	    "dns:WWW.example.COM.",
	    "dns:*.example.com",
	    "dns:*.wild.test",
	    "ip:192.0.2.7",
	    "email:Who@EXAMPLE.com",
	    "uri:spiffe://example.org/ns/a/web",
	    "uri:spiffe://example.org/ns/a/*",
	    "uri:spiffe://example.org/ns/*",
	    "uri:spiffe://example.org/*",
	    "uri:spiffe://example.org/up/../ns/b",
	    "issuer:CN=Some\\, CA",
	};
	char text[80];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!fits(texts[i]))
			fail_msg("%s does not fit", texts[i]);
	snprintf(text, sizeof(text), "sha256:%s", fingerprint);
	assert_true(fits(text));
}

static void fingerprint_with_colons_fits(void **state)
{
	char text[128] = "sha256:";
	size_t length = strlen(text);

	(void)state;
	for (size_t i = 0; i < 32; i++)
		length +=
		    (size_t)sprintf(text + length, "%s%.2s", i ? ":" : "", fingerprint + 2 * i);
	assert_true(fits(text));
}

static void what_does_not_fit(void **state)
{
	static const char *const texts[] = {
	    "dns:example.com",
	    "dns:a.www.example.com",
	    "dns:*.com",
	    "dns:*.www.example.com",
	    "dns:a.wild.test", // The certificate's star is no wildcard here.
	    "dns:192.0.2.7",
	    "ip:192.0.2.8",
	    "ip:::ffff:192.0.2.7",
	    "email:who@example.com",
	    "email:Who@example.org",
	    "uri:spiffe://example.org/ns/a",
	    "uri:spiffe://example.org/ns/A/web",
	    "uri:spiffe://example.org/ns/a/web/*",
	    "uri:spiffe://example.org/up/*",
	    "uri:spiffe://example.org/q/*",
	    "uri:spiffe://example.org/e/*",
	    "uri:spiffe://example.com/*",
	    "issuer:CN=Some",
	    "issuer:CN=Some\\, CA,O=x",
	    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (fits(texts[i]))
			fail_msg("%s fits", texts[i]);
}

static void one_of_several_is_enough(void **state)
{
	struct allow_peer list[3];
	struct problem problem = {};

	(void)state;
	assert_int_equal(allow_peer_parse("dns:a.test", &list[0], &problem), 0);
	assert_int_equal(allow_peer_parse("ip:192.0.2.1", &list[1], &problem), 0);
	assert_int_equal(allow_peer_parse("dns:www.example.com", &list[2], &problem), 0);
	assert_true(allow_peer_matches(list, 3, certificate));
	assert_false(allow_peer_matches(list, 2, certificate));
	assert_false(allow_peer_matches(list, 0, certificate));
	for (size_t i = 0; i < 3; i++)
		allow_peer_done(&list[i]);
}

static void what_is_no_entry(void **state)
{
	static const struct {
		const char *text, *words;
	} wrong[] = {
	    {"www.example.com", "write dns:NAME"},
	    {"DNS:www.example.com", "write dns:NAME"},
	    {"dns:", "no DNS name"},
	    {"dns:a b", "no DNS name"},
	    {"dns:www.*.com", "first label"},
	    {"dns:w*.example.com", "first label"},
	    {"dns:*", "first label"},
	    {"ip:192.0.2", "no address"},
	    {"ip:192.0.2.0/24", "no address"},
	    {"email:nobody", "no mail address"},
	    {"uri:nothing", "no URI"},
	    {"uri:spiffe://*", "behind a slash of the path"},
	    {"uri:spiffe://exa*", "behind a slash of the path"},
	    {"uri:spiffe://example.org/a*", "behind a slash of the path"},
	    {"uri:spiffe://example.org/*/b", "behind a slash of the path"},
	    {"issuer:", "no name of an issuer"},
	    {"issuer:Some CA", "no name of an issuer"},
	    {"sha256:12ab", "64 hexadecimal digits"},
	    {"sha256:zz00000000000000000000000000000000000000000000000000000000000000", "64"},
	    {"sha256:000000000000000000000000000000000000000000000000000000000000000000", "64"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct problem problem = {};
		struct allow_peer allow;

		if (allow_peer_parse(wrong[i].text, &allow, &problem) == 0)
			fail_msg("%s is taken", wrong[i].text);
		if (!strstr(problem.text, wrong[i].words))
			fail_msg("%s: %s", wrong[i].text, problem.text);
		allow_peer_done(&allow);
	}
}

static void description_names_all_and_fits(void **state)
{
	char text[1024];

	(void)state;
	allow_peer_describe(certificate, text, sizeof(text));
	assert_non_null(strstr(text, "dns:www.Example.com"));
	assert_non_null(strstr(text, "ip:192.0.2.7"));
	assert_non_null(strstr(text, "email:Who@example.com"));
	assert_non_null(strstr(text, "uri:spiffe://example.org/ns/a/web"));
	assert_non_null(strstr(text, "issuer:CN=Some\\, CA"));
	assert_non_null(strstr(text, "sha256:"));
	for (size_t size = 1; size < 300; size++) {
		memset(text, 'x', sizeof(text));
		allow_peer_describe(certificate, text, size);
		assert_true(strnlen(text, sizeof(text)) < size);
	}
	allow_peer_describe(certificate, text, 60);
	assert_non_null(strstr(text, "…"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_fits),         cmocka_unit_test(fingerprint_with_colons_fits),
	    cmocka_unit_test(what_does_not_fit), cmocka_unit_test(one_of_several_is_enough),
	    cmocka_unit_test(what_is_no_entry),  cmocka_unit_test(description_names_all_and_fits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
