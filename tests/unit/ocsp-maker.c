// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes OCSP responses (RFC 6960, 4.2.1) for tests. Touches memory only; never used by the daemon.
#include "ocsp-maker.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct der {
	unsigned char bytes[8192];
	size_t size;
};

static void must(int error, const char *what)
{
	if (error >= 0)
		return;
	fprintf(stderr, "ocsp-maker: %s: %s\n", what, gnutls_strerror(error));
	abort();
}

static void add_raw(struct der *der, const void *bytes, size_t size)
{
	if (size > sizeof(der->bytes) - der->size)
		abort();
	memcpy(der->bytes + der->size, bytes, size);
	der->size += size;
}

static void add(struct der *der, unsigned char tag, const void *bytes, size_t size)
{
	unsigned char head[4] = {tag, 0x82, (unsigned char)(size >> 8), (unsigned char)size};

	if (size < 128) {
		head[1] = (unsigned char)size;
		add_raw(der, head, 2);
	} else if (size < 256) {
		head[1] = 0x81;
		head[2] = (unsigned char)size;
		add_raw(der, head, 3);
	} else {
		add_raw(der, head, 4);
	}
	add_raw(der, bytes, size);
}

static void add_der(struct der *der, unsigned char tag, const struct der *inner)
{
	add(der, tag, inner->bytes, inner->size);
}

static void add_time(struct der *der, time_t when)
{
	struct tm parts;
	char text[32];

	gmtime_r(&when, &parts);
	strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &parts);
	add(der, 0x18, text, strlen(text));
}

static void add_sha1(struct der *der, const void *bytes, size_t size)
{
	unsigned char digest[20];

	must(gnutls_hash_fast(GNUTLS_DIG_SHA1, bytes, size, digest), "SHA-1");
	add(der, 0x04, digest, sizeof(digest));
}

// The public key as it stands in the certificate's bit string: an uncompressed point.
static void add_key_hash(struct der *der, gnutls_x509_crt_t certificate)
{
	unsigned char point[1 + 2 * 32] = {4};
	gnutls_ecc_curve_t curve;
	gnutls_datum_t x, y;

	must(gnutls_x509_crt_get_pk_ecc_raw(certificate, &curve, &x, &y), "point");
	for (unsigned i = 0; i < 32 && i < x.size; i++)
		point[32 - i] = x.data[x.size - 1 - i];
	for (unsigned i = 0; i < 32 && i < y.size; i++)
		point[64 - i] = y.data[y.size - 1 - i];
	gnutls_free(x.data);
	gnutls_free(y.data);
	add_sha1(der, point, sizeof(point));
}

static void add_certificate_id(struct der *der, const struct ocsp_wish *wish)
{
	static const unsigned char sha1[] = {0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e,
					     0x03, 0x02, 0x1a, 0x05, 0x00};
	unsigned char serial[32], padded[33] = {0};
	size_t size = sizeof(serial), zeros = 0;
	struct der id = {};
	gnutls_datum_t name;

	must(gnutls_x509_crt_get_raw_dn(wish->issuer->certificate, &name), "name");
	must(gnutls_x509_crt_get_serial(wish->certificate->certificate, serial, &size), "serial");
	while (zeros + 1 < size && !serial[zeros])
		zeros++;
	memcpy(padded + 1, serial + zeros, size - zeros);
	add_raw(&id, sha1, sizeof(sha1));
	add_sha1(&id, name.data, name.size);
	add_key_hash(&id, wish->issuer->certificate);
	if (padded[1] & 0x80)
		add(&id, 0x02, padded, size - zeros + 1);
	else
		add(&id, 0x02, padded + 1, size - zeros);
	gnutls_free(name.data);
	add_der(der, 0x30, &id);
}

static void add_single(struct der *der, const struct ocsp_wish *wish)
{
	bool usual = !wish->from && !wish->until;
	struct der single = {}, when = {}, revoked = {};
	time_t now = time(NULL);

	add_certificate_id(&single, wish);
	if (wish->status == 'r') {
		add_time(&revoked, now - 600);
		add_der(&single, 0xa1, &revoked);
	} else {
		add(&single, wish->status == 'u' ? 0x82 : 0x80, "", 0);
	}
	add_time(&single, now + (usual ? -3600 : wish->from));
	if (!wish->endless) {
		add_time(&when, now + (usual ? 86400 : wish->until));
		add_der(&single, 0xa0, &when);
	}
	add_der(der, 0x30, &single);
}

static void add_data(struct der *der, const struct ocsp_wish *wish)
{
	static const unsigned char odd[] = {0xa1, 0x10, 0x30, 0x0e, 0x30, 0x0c, 0x06, 0x03, 0x2a,
					    0x03, 0x04, 0x01, 0x01, 0xff, 0x04, 0x02, 0x05, 0x00};
	const struct pki_entity *signer = wish->signer ? wish->signer : wish->issuer;
	struct der data = {}, singles = {};
	gnutls_datum_t name;

	must(gnutls_x509_crt_get_raw_dn(signer->certificate, &name), "name");
	add(&data, 0xa1, name.data, name.size);
	gnutls_free(name.data);
	add_time(&data, time(NULL));
	add_single(&singles, wish);
	add_der(&data, 0x30, &singles);
	if (wish->critical)
		add_raw(&data, odd, sizeof(odd));
	add_der(der, 0x30, &data);
}

static void add_signature(struct der *der, const struct ocsp_wish *wish, const struct der *data)
{
	// ecdsa-with-SHA256, ecdsa-with-SHA1
	static const unsigned char sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
					       0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
	static const unsigned char sha1[] = {0x30, 0x09, 0x06, 0x07, 0x2a, 0x86,
					     0x48, 0xce, 0x3d, 0x04, 0x01};
	const struct pki_entity *signer = wish->signer ? wish->signer : wish->issuer;
	gnutls_datum_t text = {(unsigned char *)data->bytes, (unsigned)data->size}, signature;
	struct der bits = {};
	gnutls_privkey_t key;

	must(gnutls_privkey_init(&key), "key");
	must(gnutls_privkey_import_x509(key, signer->key, 0), "key");
	must(gnutls_privkey_sign_data2(
		 key, wish->sha1 ? GNUTLS_SIGN_ECDSA_SHA1 : GNUTLS_SIGN_ECDSA_SHA256, 0, &text,
		 &signature),
	     "signature");
	gnutls_privkey_deinit(key);
	if (wish->sha1)
		add_raw(der, sha1, sizeof(sha1));
	else
		add_raw(der, sha256, sizeof(sha256));
	add_raw(&bits, "", 1);
	add_raw(&bits, signature.data, signature.size);
	gnutls_free(signature.data);
	add_der(der, 0x03, &bits);
}

static void add_enclosed(struct der *der, const struct pki_entity *enclosed)
{
	struct der list = {}, outer = {};
	gnutls_datum_t certificate;

	must(gnutls_x509_crt_export2(enclosed->certificate, GNUTLS_X509_FMT_DER, &certificate),
	     "certificate");
	add_raw(&list, certificate.data, certificate.size);
	gnutls_free(certificate.data);
	add_der(&outer, 0x30, &list);
	add_der(der, 0xa0, &outer);
}

gnutls_datum_t ocsp_make(const struct ocsp_wish *wish)
{
	static const unsigned char basic_type[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x05,
						   0x05, 0x07, 0x30, 0x01, 0x01};
	struct der data = {}, basic = {}, wrapped = {}, bytes = {}, typed = {}, response = {},
		   whole = {};
	gnutls_datum_t result;

	add_data(&data, wish);
	add_raw(&basic, data.bytes, data.size);
	add_signature(&basic, wish, &data);
	if (wish->enclosed)
		add_enclosed(&basic, wish->enclosed);
	add_der(&wrapped, 0x30, &basic);
	add_raw(&bytes, basic_type, sizeof(basic_type));
	add_der(&bytes, 0x04, &wrapped);
	add_der(&typed, 0x30, &bytes);
	add(&response, 0x0a, "", 1);
	add_der(&response, 0xa0, &typed);
	add_der(&whole, 0x30, &response);
	result.data = gnutls_malloc(whole.size);
	if (!result.data)
		abort();
	memcpy(result.data, whole.bytes, whole.size);
	result.size = (unsigned)whole.size;
	return result;
}
