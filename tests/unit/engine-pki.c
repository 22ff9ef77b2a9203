// SPDX-License-Identifier: LGPL-2.1-or-later
// Authorities and certificates for the handshake engine's tests. Asserts that each step succeeds.
#include "engine-pki.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY = 86400 };

static void key_make(gnutls_x509_privkey_t *ret_key, gnutls_pk_algorithm_t algorithm)
{
	unsigned bits = algorithm == GNUTLS_PK_RSA ? 2048
			: algorithm == GNUTLS_PK_ECDSA
			    ? GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)
			    : 0;

	assert_int_equal(gnutls_x509_privkey_init(ret_key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(*ret_key, algorithm, bits, 0), 0);
}

static void certificate_begin(struct engine_certificate *certificate, const char *common_name,
			      int starts, int ends)
{
	static uint32_t serial = 1000;
	uint8_t bytes[4];
	gnutls_x509_crt_t crt;

	assert_int_equal(gnutls_x509_crt_init(&certificate->certificate), 0);
	crt = certificate->certificate;
	serial++;
	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(serial >> (24 - 8 * i));
	assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(crt, bytes, sizeof(bytes)), 0);
	assert_int_equal(gnutls_x509_crt_set_key(crt, certificate->key), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(crt, time(NULL) + starts * DAY), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + ends * DAY), 0);
	assert_int_equal(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
						       common_name, (unsigned)strlen(common_name)),
			 0);
}

void engine_authority(struct engine_certificate *ret_authority, const char *common_name)
{
	key_make(&ret_authority->key, GNUTLS_PK_ECDSA);
	certificate_begin(ret_authority, common_name, -2, 20);
	assert_int_equal(gnutls_x509_crt_set_basic_constraints(ret_authority->certificate, 1, -1),
			 0);
	assert_int_equal(
	    gnutls_x509_crt_set_key_usage(ret_authority->certificate,
					  GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN),
	    0);
	assert_int_equal(gnutls_x509_crt_sign2(ret_authority->certificate,
					       ret_authority->certificate, ret_authority->key,
					       GNUTLS_DIG_SHA256, 0),
			 0);
}

void engine_leaf(struct engine_certificate *ret_leaf, const struct engine_certificate *authority,
		 const struct engine_leaf *what)
{
	gnutls_x509_crt_t crt;

	key_make(&ret_leaf->key, what->algorithm != 0 ? what->algorithm : GNUTLS_PK_ECDSA);
	certificate_begin(ret_leaf, what->common_name, what->starts != 0 ? what->starts : -1,
			  what->ends != 0 ? what->ends : 10);
	crt = ret_leaf->certificate;
	if (what->dns != NULL)
		assert_int_equal(gnutls_x509_crt_set_subject_alt_name(
				     crt, GNUTLS_SAN_DNSNAME, what->dns,
				     (unsigned)strlen(what->dns), GNUTLS_FSAN_SET),
				 0);
	assert_int_equal(
	    gnutls_x509_crt_set_key_purpose_oid(
		crt, what->client ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER, 0),
	    0);
	assert_int_equal(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE), 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, authority->certificate, authority->key,
					       GNUTLS_DIG_SHA256, 0),
			 0);
}

void engine_certificate_done(struct engine_certificate *certificate)
{
	gnutls_x509_crt_deinit(certificate->certificate);
	gnutls_x509_privkey_deinit(certificate->key);
}

void engine_key_write(const struct engine_certificate *certificate, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	gnutls_datum_t pem;

	assert_true(fd >= 0);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(certificate->key, GNUTLS_X509_FMT_PEM,
							   NULL, GNUTLS_PKCS_PLAIN, &pem),
			 0);
	assert_int_equal(write(fd, pem.data, pem.size), pem.size);
	close(fd);
	gnutls_free(pem.data);
}

void engine_certificate_write(const struct engine_certificate *certificate, const char *path)
{
	FILE *file = fopen(path, "w");
	gnutls_datum_t pem;

	assert_non_null(file);
	assert_int_equal(
	    gnutls_x509_crt_export2(certificate->certificate, GNUTLS_X509_FMT_PEM, &pem), 0);
	assert_int_equal(fwrite(pem.data, 1, pem.size, file), pem.size);
	assert_int_equal(fclose(file), 0);
	gnutls_free(pem.data);
}

gnutls_certificate_credentials_t engine_credentials(const struct engine_certificate *certificate,
						    const struct engine_certificate *authority)
{
	gnutls_certificate_credentials_t credentials;

	assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
	if (certificate != NULL) {
		gnutls_x509_crt_t chain[1] = {certificate->certificate};

		assert_true(
		    gnutls_certificate_set_x509_key(credentials, chain, 1, certificate->key) >= 0);
	}
	if (authority != NULL) {
		gnutls_x509_crt_t list[1] = {authority->certificate};

		assert_int_equal(gnutls_certificate_set_x509_trust(credentials, list, 1), 1);
	}
	return credentials;
}
