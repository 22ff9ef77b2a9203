// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* Pins of raw public keys, and which kinds of certificates a profile shows and takes. */
#include "raw-public-key.h"

#include <gnutls/abstract.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "pki.h"

static int teardown(void **state)
{
	(void)state;
	pki_directory_remove();
	return 0;
}

// A new key's public part as PEM text, and the digest of its DER.
static void key_make(char *pem, size_t size, unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE])
{
	gnutls_privkey_t key;
	gnutls_pubkey_t public_key;
	gnutls_datum_t text, der;

	assert_int_equal(gnutls_privkey_init(&key), 0);
	assert_int_equal(gnutls_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0), 0);
	assert_int_equal(gnutls_pubkey_init(&public_key), 0);
	assert_int_equal(gnutls_pubkey_import_privkey(public_key, key, 0, 0), 0);
	assert_int_equal(gnutls_pubkey_export2(public_key, GNUTLS_X509_FMT_PEM, &text), 0);
	assert_int_equal(gnutls_pubkey_export2(public_key, GNUTLS_X509_FMT_DER, &der), 0);
	snprintf(pem, size, "%.*s", (int)text.size, (char *)text.data);
	assert_int_equal(raw_public_key_digest(&der, NULL, digest), 0);
	gnutls_free(text.data);
	gnutls_free(der.data);
	gnutls_pubkey_deinit(public_key);
	gnutls_privkey_deinit(key);
}

static void reads_digests_in_either_case(void **state)
{
	unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE];
	char text[80] = "sha256:";

	(void)state;
	for (int i = 0; i < RAW_PUBLIC_KEY_DIGEST_SIZE; i++)
		snprintf(text + 7 + 2 * i, 3, i % 2 ? "%02X" : "%02x", 0xa0 + i);
	assert_true(pins_parse(text, digest));
	for (int i = 0; i < RAW_PUBLIC_KEY_DIGEST_SIZE; i++)
		assert_int_equal(digest[i], 0xa0 + i);
	text[70] = '\0';
	assert_false(pins_parse(text, digest));
	assert_false(pins_parse("sha256:", digest));
	assert_false(pins_parse("", digest));
	memset(text + 7, 'g', 64);
	text[71] = '\0';
	assert_false(pins_parse(text, digest));
}

static void knows_the_keys_of_files_and_digests_alone(void **state)
{
	unsigned char one[RAW_PUBLIC_KEY_DIGEST_SIZE], other[RAW_PUBLIC_KEY_DIGEST_SIZE];
	char pem[1024], text[80] = "sha256:", *values[2];
	struct config_raw config = {.pins = values, .pin_count = 2};
	struct problem problem = {};
	struct pins *pins;

	(void)state;
	key_make(pem, sizeof(pem), one);
	memset(other, 7, sizeof(other));
	for (int i = 0; i < RAW_PUBLIC_KEY_DIGEST_SIZE; i++)
		snprintf(text + 7 + 2 * i, 3, "07");
	values[0] = (char *)pki_write_text("peer.pub", pem);
	values[1] = text;
	if (pins_new(&config, &pins, &problem) < 0)
		fail_msg("%s", problem.text);
	assert_true(pins_have(pins, one));
	assert_true(pins_have(pins, other));
	other[31] ^= 1;
	assert_false(pins_have(pins, other));
	pins_free(pins);
	assert_false(pins_have(NULL, one));
}

static void says_what_is_no_public_key(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "has no public key in it"},
	    {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	     "has no public key in it"},
	    {"-----BEGIN PRIVATE"
	     " KEY-----\nAAAA\n-----END PRIVATE"
	     " KEY-----\n",
	     "has a private key in it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *values[1] = {(char *)pki_write_text("peer.pub", cases[i].text)};
		struct config_raw config = {.pins = values, .pin_count = 1};
		struct problem problem = {};
		struct pins *pins;

		assert_int_equal(pins_new(&config, &pins, &problem), -1);
		assert_null(pins);
		if (!strstr(problem.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", problem.text, cases[i].says);
	}
}

static void pins_alone_leave_no_certificate(void **state)
{
	char *pin = (char *)"sha256:";
	struct config_profile profile = {.raw = {.pins = &pin, .pin_count = 1}};

	(void)state;
	assert_false(config_takes_x509(&profile));
	profile.trust = (char *)"system";
	assert_true(config_takes_x509(&profile));
	assert_true(config_shows_x509(&profile));
	profile.raw.private_key = (char *)"key";
	assert_false(config_shows_x509(&profile));
	profile.certificate_count = 1;
	assert_true(config_shows_x509(&profile));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_digests_in_either_case),
	    cmocka_unit_test(knows_the_keys_of_files_and_digests_alone),
	    cmocka_unit_test(says_what_is_no_public_key),
	    cmocka_unit_test(pins_alone_leave_no_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
