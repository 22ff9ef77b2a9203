// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A key and a certificate for one measurement. Touches the two files that it is told; never lets anybody
 * but this user read the key.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "own-daemon.h"

#define DAY ((time_t)86400)

static int file_write(const char *path, const gnutls_datum_t *text, char *error, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t written = fd < 0 ? -1 : write(fd, text->data, text->size);

	if (written != (ssize_t)text->size)
		snprintf(error, size, "cannot write \"%s\": %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return written == (ssize_t)text->size ? 0 : -1;
}

/* 0 or a GnuTLS error. */
static int certificate_fill(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key)
{
	static const char name[] = "localhost";
	const unsigned char serial[] = {1};
	time_t now = time(NULL);
	int error = gnutls_x509_crt_set_version(certificate, 3);

	if (error == 0)
		error = gnutls_x509_crt_set_key(certificate, key);
	if (error == 0)
		error = gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
	if (error == 0)
		error = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
						      name, sizeof(name) - 1);
	if (error == 0)
		error = gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
							     sizeof(name) - 1, GNUTLS_FSAN_SET);
	if (error == 0)
		error = gnutls_x509_crt_set_basic_constraints(certificate, 1, -1);
	if (error == 0)
		error = gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE |
								       GNUTLS_KEY_KEY_CERT_SIGN);
	if (error == 0)
		error = gnutls_x509_crt_set_activation_time(certificate, now - DAY);
	if (error == 0)
		error = gnutls_x509_crt_set_expiration_time(certificate, now + 30 * DAY);
	if (error == 0)
		error = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
	return error;
}

int own_certificate_make(const char *key_type, const char *certificate_path, const char *key_path,
			 char *error, size_t size)
{
	int rsa = strcmp(key_type, "rsa") == 0, r;
	gnutls_datum_t certificate_text = {NULL, 0}, key_text = {NULL, 0};
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t certificate = NULL;

	r = gnutls_x509_privkey_init(&key);
	if (r == 0)
		r = gnutls_x509_crt_init(&certificate);
	if (r == 0)
		r = gnutls_x509_privkey_generate(
		    key, rsa ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA,
		    rsa ? 2048 : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (r == 0)
		r = certificate_fill(certificate, key);
	if (r == 0)
		r = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &certificate_text);
	if (r == 0)
		r = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
						      GNUTLS_PKCS_PLAIN, &key_text);
	if (r < 0)
		snprintf(error, size, "cannot make a certificate: %s", gnutls_strerror(r));
	else if (file_write(certificate_path, &certificate_text, error, size) < 0 ||
		 file_write(key_path, &key_text, error, size) < 0)
		r = -1;
	gnutls_free(certificate_text.data);
	gnutls_free(key_text.data);
	if (certificate)
		gnutls_x509_crt_deinit(certificate);
	if (key)
		gnutls_x509_privkey_deinit(key);
	return r < 0 ? -1 : 0;
}
