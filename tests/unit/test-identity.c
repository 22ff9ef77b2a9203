// SPDX-License-Identifier: LGPL-2.1-or-later
// A peer's certificate as text, ordinary and hostile.
/* links: tests/unit/engine-pki.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine-pki.h"
#include "handshake-protocol.h"
#include "identity.h"

struct made {
	struct engine_certificate authority;
	gnutls_x509_crt_t crt;
	gnutls_datum_t der[2];
	struct identity identity;
};

static int setup(void **state)
{
	struct made *made = calloc(1, sizeof(*made));
	unsigned char serial = 7;

	engine_authority(&made->authority, "Identity Authority, \"quoted\"");
	gnutls_x509_crt_init(&made->crt);
	gnutls_x509_crt_set_version(made->crt, 3);
	gnutls_x509_crt_set_serial(made->crt, &serial, 1);
	gnutls_x509_crt_set_key(made->crt, made->authority.key);
	gnutls_x509_crt_set_activation_time(made->crt, time(NULL));
	gnutls_x509_crt_set_expiration_time(made->crt, time(NULL) + 3600);
	*state = made;
	return 0;
}

static int teardown(void **state)
{
	struct made *made = *state;

	identity_done(&made->identity);
	gnutls_free(made->der[0].data);
	gnutls_free(made->der[1].data);
	gnutls_x509_crt_deinit(made->crt);
	engine_certificate_done(&made->authority);
	free(made);
	return 0;
}

static void add_name(struct made *made, gnutls_x509_subject_alt_name_t type, const void *name,
		     size_t size)
{
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(made->crt, type, name, (unsigned)size,
							      GNUTLS_FSAN_APPEND),
			 0);
}

static void set_common_name(struct made *made, const char *name, size_t size)
{
	assert_int_equal(gnutls_x509_crt_set_dn_by_oid(made->crt, GNUTLS_OID_X520_COMMON_NAME, 0,
						       name, (unsigned)size),
			 0);
}

static void read_made(struct made *made)
{
	assert_int_equal(gnutls_x509_crt_sign2(made->crt, made->authority.certificate,
					       made->authority.key, GNUTLS_DIG_SHA256, 0),
			 0);
	assert_int_equal(gnutls_x509_crt_export2(made->crt, GNUTLS_X509_FMT_DER, &made->der[0]), 0);
	assert_int_equal(gnutls_x509_crt_export2(made->authority.certificate, GNUTLS_X509_FMT_DER,
						 &made->der[1]),
			 0);
	assert_int_equal(identity_read(made->der, 2, &made->identity), 0);
	assert_true(made->identity.present);
	assert_false(made->identity.authenticated);
}

static void tells_names_issuer_fingerprint_and_chain(void **state)
{
	static const unsigned char address[] = {192, 0, 2, 7};
	static const unsigned char address6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	struct made *made = *state;
	struct identity *identity = &made->identity;
	unsigned char digest[32];
	size_t size = sizeof(digest);
	char hexadecimal[65];
	const char *first;

	set_common_name(made, "a name", 6);
	add_name(made, GNUTLS_SAN_DNSNAME, "www.example", 11);
	add_name(made, GNUTLS_SAN_DNSNAME, "*.example", 9);
	add_name(made, GNUTLS_SAN_IPADDRESS, address, sizeof(address));
	add_name(made, GNUTLS_SAN_IPADDRESS, address6, sizeof(address6));
	add_name(made, GNUTLS_SAN_RFC822NAME, "me@example", 10);
	add_name(made, GNUTLS_SAN_URI, "spiffe://example/x%20y", 22);
	read_made(made);
	assert_string_equal(identity->subject, "CN=a name");
	assert_string_equal(identity->issuer, "CN=Identity Authority\\, \\\"quoted\\\"");
	assert_int_equal(identity->name_count, 6);
	assert_string_equal(identity->names[0], "dns:www.example");
	assert_string_equal(identity->names[1], "dns:*.example");
	assert_string_equal(identity->names[2], "ip:192.0.2.7");
	assert_string_equal(identity->names[3], "ip:2001:db8::1");
	assert_string_equal(identity->names[4], "email:me@example");
	assert_string_equal(identity->names[5], "uri:spiffe://example/x%20y");
	assert_int_equal(gnutls_fingerprint(GNUTLS_DIG_SHA256, &made->der[0], digest, &size), 0);
	for (int i = 0; i < 32; i++)
		sprintf(hexadecimal + 2 * i, "%02x", digest[i]);
	assert_string_equal(identity->sha256, hexadecimal);
	first = strstr(identity->chain, "-----BEGIN CERTIFICATE-----");
	assert_ptr_equal(first, identity->chain);
	assert_non_null(strstr(first + 1, "-----BEGIN CERTIFICATE-----"));
}

/* The extension by hand, since GnuTLS makes no certificate with such names (RFC 5280, 4.2.1.6). */
struct raw_names {
	unsigned char bytes[512];
	size_t size;
};

static void raw_name_add(struct raw_names *names, unsigned char tag, const char *name, size_t size)
{
	assert_true(names->size + 2 + size < sizeof(names->bytes));
	names->bytes[names->size++] = tag;
	names->bytes[names->size++] = (unsigned char)size;
	memcpy(names->bytes + names->size, name, size);
	names->size += size;
}

static void raw_names_set(struct raw_names *names, struct made *made)
{
	unsigned char extension[514] = {0x30, (unsigned char)names->size};

	assert_true(names->size < 128);
	memcpy(extension + 2, names->bytes, names->size);
	assert_int_equal(gnutls_x509_crt_set_extension_by_oid(made->crt, "2.5.29.17", extension,
							      2 + names->size, 0),
			 0);
}

/* "good.example\0.evil" must never be seen as "good.example". */
static void leaves_out_names_that_would_deceive(void **state)
{
	enum { EMAIL = 0x81, DNS = 0x82, URI = 0x86 };
	struct raw_names names = {.size = 0};
	struct made *made = *state;

	set_common_name(made, "x", 1);
	raw_name_add(&names, DNS, "good.example\0.evil", 18);
	raw_name_add(&names, DNS, "line\nbreak.example", 18);
	raw_name_add(&names, DNS, "two names", 9);
	raw_name_add(&names, URI, "http://\x1b[31mred", 15);
	raw_name_add(&names, URI, "http://caf\xe9", 11);
	raw_name_add(&names, EMAIL, "\xc3\xa9@e", 4);
	raw_name_add(&names, DNS, "last.example", 12);
	raw_names_set(&names, made);
	read_made(made);
	assert_int_equal(made->identity.name_count, 1);
	assert_string_equal(made->identity.names[0], "dns:last.example");
}

static void escapes_a_subject(void **state)
{
	struct made *made = *state;
	const char *subject;

	set_common_name(made, "one\nline+two\x7f", 13);
	read_made(made);
	subject = made->identity.subject;
	assert_null(strchr(subject, '\n'));
	assert_null(strchr(subject, '\x7f'));
	assert_string_equal(subject, "CN=one\\0Aline\\+two\\7F");
}

static void is_not_fooled_by_a_nul_in_a_subject(void **state)
{
	struct made *made = *state;

	set_common_name(made, "good\0evil", 9);
	read_made(made);
	assert_string_not_equal(made->identity.subject, "CN=good");
}

static void leaves_out_what_is_too_long(void **state)
{
	struct made *made = *state;
	char name[4000];

	set_common_name(made, "x", 1);
	memset(name, 'a', sizeof(name));
	add_name(made, GNUTLS_SAN_DNSNAME, name, 300);
	add_name(made, GNUTLS_SAN_URI, name, sizeof(name));
	add_name(made, GNUTLS_SAN_DNSNAME, name, 250);
	read_made(made);
	assert_int_equal(made->identity.name_count, 1);
	assert_int_equal(strlen(made->identity.names[0]), 4 + 250);
}

static void bounds_the_number_and_the_sum_of_names(void **state)
{
	struct made *made = *state;
	size_t total = 0;

	set_common_name(made, "x", 1);
	for (int i = 0; i < 200; i++) {
		char name[128];
		int size = snprintf(name, sizeof(name), "%d.%0100d.example", i, i);

		add_name(made, GNUTLS_SAN_DNSNAME, name, (size_t)size);
	}
	read_made(made);
	assert_int_equal(made->identity.name_count, IDENTITY_NAMES_MAX);
	for (unsigned i = 0; i < made->identity.name_count; i++)
		total += strlen(made->identity.names[i]);
	assert_true(total < IDENTITY_NAMES_SIZE + 4 * IDENTITY_NAMES_MAX);
}

static void counts_a_percent_sign_as_what_it_takes_in_a_packet(void **state)
{
	struct made *made = *state;
	char name[240];

	set_common_name(made, "x", 1);
	memset(name, '%', sizeof(name));
	for (int i = 0; i < 20; i++)
		add_name(made, GNUTLS_SAN_URI, name, sizeof(name));
	read_made(made);
	assert_true(made->identity.name_count * 3 * sizeof(name) <= IDENTITY_NAMES_SIZE);
	assert_true(made->identity.name_count > 0);
}

static void refuses_what_is_no_certificate(void **state)
{
	unsigned char garbage[] = {0x30, 0x03, 0x02, 0x01, 0x00};
	gnutls_datum_t der = {garbage, sizeof(garbage)};
	struct made *made = *state;

	assert_true(identity_read(&der, 1, &made->identity) < 0);
	assert_true(identity_read(&der, 0, &made->identity) < 0);
	assert_false(made->identity.present);
	assert_null(made->identity.chain);
}

static void leaves_out_a_chain_that_is_too_long(void **state)
{
	/* Three bytes of it are four of PEM. */
	static unsigned char large[HANDSHAKE_CHAIN_SIZE];
	struct made *made = *state;
	gnutls_datum_t chain[2] = {{0}, {large, HANDSHAKE_CHAIN_SIZE / 2}};

	read_made(made);
	identity_done(&made->identity);
	chain[0] = made->der[0];
	assert_int_equal(identity_read(chain, 2, &made->identity), 0);
	assert_non_null(made->identity.chain);
	assert_true(strlen(made->identity.chain) <= HANDSHAKE_CHAIN_SIZE);
	identity_done(&made->identity);
	chain[1].size = HANDSHAKE_CHAIN_SIZE;
	assert_int_equal(identity_read(chain, 2, &made->identity), 0);
	assert_true(made->identity.present);
	assert_null(made->identity.chain);
}

#define made_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    made_test(tells_names_issuer_fingerprint_and_chain),
	    made_test(leaves_out_names_that_would_deceive),
	    made_test(escapes_a_subject),
	    made_test(is_not_fooled_by_a_nul_in_a_subject),
	    made_test(leaves_out_what_is_too_long),
	    made_test(bounds_the_number_and_the_sum_of_names),
	    made_test(counts_a_percent_sign_as_what_it_takes_in_a_packet),
	    made_test(refuses_what_is_no_certificate),
	    made_test(leaves_out_a_chain_that_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
