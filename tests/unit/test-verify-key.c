// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/tls-pair.o tests/unit/pki.o */
// A peer's key of thousands of bytes, with an exponent of as many, costs nobody minutes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <gnutls/abstract.h>

#include "pki.h"
#include "tls-pair.h"
#include "verify.h"

enum { SIZE_MAX_TEST = 4096 };

static unsigned char modulus[SIZE_MAX_TEST], exponent[SIZE_MAX_TEST];
static unsigned key_size;
static struct verification verification;
static bool guarded;

static int info(gnutls_privkey_t key, unsigned flags, void *context)
{
	(void)key, (void)context;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return GNUTLS_PK_RSA;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)key_size * 8;
	return flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO ? 1 : -1;
}

/* Of the right size, and nothing else. */
static int sign(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *context,
		unsigned flags, const gnutls_datum_t *hash, gnutls_datum_t *ret_signature)
{
	(void)key, (void)algorithm, (void)context, (void)flags, (void)hash;
	ret_signature->data = gnutls_malloc(key_size);
	memset(ret_signature->data, 0x55, key_size);
	ret_signature->size = key_size;
	return 0;
}

static int hook(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
		const gnutls_datum_t *message)
{
	(void)when, (void)message;
	if (guarded && incoming && type == GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY &&
	    !verify_key(tls, &verification))
		return GNUTLS_E_CERTIFICATE_ERROR;
	return 0;
}

static gnutls_certificate_credentials_t credentials_make(unsigned exponent_size)
{
	const struct pki_wish wish = {.kind = PKI_ECDSA, .common_name = "a", .names = {"a"}};
	struct pki_entity *other = pki_new(&wish);
	const gnutls_datum_t n = {modulus, key_size}, e = {exponent, exponent_size};
	gnutls_certificate_credentials_t credentials;
	gnutls_x509_crt_t certificate;
	gnutls_privkey_t key, signer;
	gnutls_pubkey_t public;
	gnutls_pcert_st shown;

	memset(modulus, 0xff, sizeof(modulus));
	memset(exponent, 0xff, sizeof(exponent));
	exponent[0] = 0x7f;
	gnutls_pubkey_init(&public);
	assert_int_equal(gnutls_pubkey_import_rsa_raw(public, &n, &e), 0);
	gnutls_x509_crt_init(&certificate);
	gnutls_x509_crt_set_version(certificate, 3);
	gnutls_x509_crt_set_serial(certificate, "\1", 1);
	gnutls_x509_crt_set_dn(certificate, "CN=a", NULL);
	gnutls_x509_crt_set_activation_time(certificate, time(NULL) - 60);
	gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + 3600);
	assert_int_equal(gnutls_x509_crt_set_pubkey(certificate, public), 0);
	gnutls_privkey_init(&signer);
	gnutls_privkey_import_x509(signer, other->key, 0);
	assert_int_equal(gnutls_x509_crt_privkey_sign(certificate, other->certificate, signer,
						      GNUTLS_DIG_SHA256, 0),
			 0);
	gnutls_privkey_deinit(signer);
	gnutls_pubkey_deinit(public);
	gnutls_privkey_init(&key);
	gnutls_privkey_import_ext4(key, NULL, sign, sign, NULL, NULL, info, 0);
	gnutls_pcert_import_x509(&shown, certificate, 0);
	gnutls_x509_crt_deinit(certificate);
	pki_free(other);
	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_certificate_set_flags(credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	assert_true(gnutls_certificate_set_key(credentials, NULL, 0, &shown, 1, key) >= 0);
	return credentials;
}

/* How long the client works, in milliseconds of the processor. */
static long handshake(unsigned size, unsigned exponent_size, int *ret_error)
{
	gnutls_certificate_credentials_t server, client;
	struct tls_pair pair;
	clock_t begun;

	key_size = size;
	memset(&verification, 0, sizeof(verification));
	server = credentials_make(exponent_size);
	gnutls_certificate_allocate_credentials(&client);
	tls_pair_open(&pair, 0, 0);
	gnutls_priority_set_direct(pair.client, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
	gnutls_priority_set_direct(pair.server, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
	gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, server);
	gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, client);
	gnutls_handshake_set_hook_function(pair.client, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
					   hook);
	begun = clock();
	tls_pair_run(&pair);
	*ret_error = pair.client_error;
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(server);
	gnutls_certificate_free_credentials(client);
	return (clock() - begun) / (CLOCKS_PER_SEC / 1000);
}

static void a_large_exponent_is_refused_before_it_is_used(void **state)
{
	long without, with;
	int error;

	(void)state;
	guarded = false;
	without = handshake(1024, 1024, &error);
	assert_int_equal(error, GNUTLS_E_PK_SIG_VERIFY_FAILED);
	guarded = true;
	with = handshake(1024, 1024, &error);
	assert_int_equal(error, GNUTLS_E_CERTIFICATE_ERROR);
	assert_int_equal(verification.alert, GNUTLS_A_BAD_CERTIFICATE);
	assert_non_null(strstr(verification.words, "too large"));
	assert_true(with < without);
}

static void a_large_modulus_is_refused(void **state)
{
	int error;

	(void)state;
	guarded = true;
	handshake(SIZE_MAX_TEST, 3, &error);
	assert_int_equal(error, GNUTLS_E_CERTIFICATE_ERROR);
	assert_true(verification.present);
}

static void the_largest_usual_key_is_looked_at(void **state)
{
	int error;

	(void)state;
	guarded = true;
	handshake(2048, 32, &error);
	assert_int_equal(error, GNUTLS_E_PK_SIG_VERIFY_FAILED);
	assert_int_equal(verification.alert, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_large_exponent_is_refused_before_it_is_used),
	    cmocka_unit_test(a_large_modulus_is_refused),
	    cmocka_unit_test(the_largest_usual_key_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
