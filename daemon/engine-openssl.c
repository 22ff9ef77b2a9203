// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Signing by OpenSSL's libcrypto, inside of the signer. Touches private keys that GnuTLS has read; never
 * reads a file, and leaves all that is rare or delicate (decryption) to GnuTLS.
 */
#include "engine-openssl.h"

#ifdef HAVE_OPENSSL
#include <gnutls/crypto.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

/* An EVP_PKEY under another name. */
#define PKEY(key) ((EVP_PKEY *)(void *)(key))

bool engine_openssl_is_there(void)
{
	return true;
}

/* ---- A key ---------------------------------------------------------------------------------- */

/* The numbers that a key consists of go over as such: to write and read it as text once more takes a third of
 * a millisecond, of each of thousands of keys. */
enum { NUMBERS_MAX = 8, POINT_MAX = 1 + 2 * 66 };

struct numbers {
	OSSL_PARAM_BLD *build;
	BIGNUM *kept[NUMBERS_MAX]; /* the build refers to them */
	unsigned count;
	bool good;
};

/* Wipes the datum. */
static void number_add(struct numbers *numbers, const char *name, gnutls_datum_t *datum)
{
	BIGNUM *number = BN_secure_new(); /* "secure": it is wiped wherever it was */

	numbers->good = numbers->good && number &&
			BN_bin2bn(datum->data, (int)datum->size, number) &&
			OSSL_PARAM_BLD_push_BN(numbers->build, name, number) > 0;
	numbers->kept[numbers->count++] = number;
	gnutls_memset(datum->data, 0, datum->size);
	gnutls_free(datum->data);
}

static EVP_PKEY *numbers_join(struct numbers *numbers, const char *kind)
{
	OSSL_PARAM *parameters = numbers->good ? OSSL_PARAM_BLD_to_param(numbers->build) : NULL;
	EVP_PKEY_CTX *context = parameters ? EVP_PKEY_CTX_new_from_name(NULL, kind, NULL) : NULL;
	EVP_PKEY *key = NULL;

	if (context && EVP_PKEY_fromdata_init(context) > 0 &&
	    EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters) <= 0)
		key = NULL;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(parameters);
	return key;
}

static void numbers_done(struct numbers *numbers)
{
	for (unsigned i = 0; i < numbers->count; i++)
		BN_clear_free(numbers->kept[i]);
	OSSL_PARAM_BLD_free(numbers->build);
	ERR_clear_error();
}

static EVP_PKEY *rsa_key(struct numbers *numbers, gnutls_privkey_t handle)
{
	static const char *const names[] = {
	    OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
	    OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
	    OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
	    OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2,
	};
	gnutls_datum_t parts[NUMBERS_MAX];

	if (gnutls_privkey_export_rsa_raw2(handle, &parts[0], &parts[1], &parts[2], &parts[3],
					   &parts[4], &parts[5], &parts[6], &parts[7], 0) < 0)
		return NULL;
	for (unsigned i = 0; i < NUMBERS_MAX; i++)
		number_add(numbers, names[i], &parts[i]);
	return numbers_join(numbers, "RSA");
}

/* Uncompressed (SEC 1, 2.3.3). Its size in bytes, 0: it is none. */
static size_t point_write(unsigned char *point, size_t field, const gnutls_datum_t *x,
			  const gnutls_datum_t *y)
{
	if (x->size > field || y->size > field)
		return 0;
	memset(point, 0, 1 + 2 * field);
	point[0] = POINT_CONVERSION_UNCOMPRESSED;
	memcpy(point + 1 + field - x->size, x->data, x->size);
	memcpy(point + 1 + 2 * field - y->size, y->data, y->size);
	return 1 + 2 * field;
}

static EVP_PKEY *ec_key(struct numbers *numbers, gnutls_privkey_t handle)
{
	static const struct {
		gnutls_ecc_curve_t curve;
		const char *name;
		size_t field; /* bytes */
	} curves[] = {
	    {GNUTLS_ECC_CURVE_SECP256R1, "P-256", 32},
	    {GNUTLS_ECC_CURVE_SECP384R1, "P-384", 48},
	    {GNUTLS_ECC_CURVE_SECP521R1, "P-521", 66},
	};
	unsigned char point[POINT_MAX];
	gnutls_ecc_curve_t curve;
	gnutls_datum_t x, y, k;
	size_t known = 0, size = 0;

	if (gnutls_privkey_export_ecc_raw2(handle, &curve, &x, &y, &k, GNUTLS_EXPORT_FLAG_NO_LZ) <
	    0)
		return NULL;
	while (known < sizeof(curves) / sizeof(curves[0]) && curves[known].curve != curve)
		known++;
	if (known < sizeof(curves) / sizeof(curves[0]))
		size = point_write(point, curves[known].field, &x, &y);
	gnutls_free(x.data);
	gnutls_free(y.data);
	number_add(numbers, OSSL_PKEY_PARAM_PRIV_KEY, &k);
	if (size == 0 ||
	    OSSL_PARAM_BLD_push_utf8_string(numbers->build, OSSL_PKEY_PARAM_GROUP_NAME,
					    curves[known].name, 0) <= 0 ||
	    OSSL_PARAM_BLD_push_octet_string(numbers->build, OSSL_PKEY_PARAM_PUB_KEY, point,
					     size) <= 0)
		return NULL;
	return numbers_join(numbers, "EC");
}

struct engine_key *engine_key_new(gnutls_privkey_t handle)
{
	struct numbers numbers = {.build = OSSL_PARAM_BLD_new(), .good = true};
	EVP_PKEY *key = NULL;

	/* The kinds with restrictions of their own (RSA-PSS keys) are GnuTLS's. */
	if (numbers.build)
		switch (gnutls_privkey_get_pk_algorithm(handle, NULL)) {
		case GNUTLS_PK_RSA:
			key = rsa_key(&numbers, handle);
			break;
		case GNUTLS_PK_ECDSA:
			key = ec_key(&numbers, handle);
			break;
		default:
			break;
		}
	numbers_done(&numbers);
	return (struct engine_key *)(void *)key;
}

void engine_key_free(struct engine_key *key)
{
	EVP_PKEY_free(PKEY(key));
}

/* ---- Its signature -------------------------------------------------------------------------- */

/* Padding and hash. 0 or a GnuTLS error. */
static int context_set(EVP_PKEY_CTX *context, bool rsa, gnutls_sign_algorithm_t algorithm)
{
	const EVP_MD *digest = NULL;

	switch (algorithm) {
	case GNUTLS_SIGN_RSA_RAW:
		return rsa && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0
			   ? 0
			   : GNUTLS_E_UNIMPLEMENTED_FEATURE;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA256:
		digest = EVP_sha256();
		break;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA384:
		digest = EVP_sha384();
		break;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA512:
		digest = EVP_sha512();
		break;
	case GNUTLS_SIGN_ECDSA_SHA256:
	case GNUTLS_SIGN_ECDSA_SHA384:
	case GNUTLS_SIGN_ECDSA_SHA512:
	case GNUTLS_SIGN_ECDSA_SECP256R1_SHA256:
	case GNUTLS_SIGN_ECDSA_SECP384R1_SHA384:
	case GNUTLS_SIGN_ECDSA_SECP521R1_SHA512:
		return rsa ? GNUTLS_E_UNIMPLEMENTED_FEATURE : 0;
	default:
		return GNUTLS_E_UNIMPLEMENTED_FEATURE;
	}
	/* RFC 8446, 4.2.3: the salt is as long as the hash, and MGF1 has the same hash. */
	return rsa && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
		       EVP_PKEY_CTX_set_signature_md(context, digest) > 0 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0
		   ? 0
		   : GNUTLS_E_UNIMPLEMENTED_FEATURE;
}

int engine_key_sign(const struct engine_key *key, gnutls_sign_algorithm_t algorithm,
		    const gnutls_datum_t *hash, gnutls_datum_t *ret_signature)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(PKEY(key), NULL);
	unsigned char *signature = NULL;
	size_t size = (size_t)EVP_PKEY_size(PKEY(key));
	int error = GNUTLS_E_PK_SIGN_FAILED;

	if (context && EVP_PKEY_sign_init(context) > 0)
		error =
		    context_set(context, EVP_PKEY_base_id(PKEY(key)) == EVP_PKEY_RSA, algorithm);
	if (error == 0) {
		signature = gnutls_malloc(size);
		error = signature ? 0 : GNUTLS_E_MEMORY_ERROR;
	}
	if (error == 0 && EVP_PKEY_sign(context, signature, &size, hash->data, hash->size) <= 0)
		error = GNUTLS_E_PK_SIGN_FAILED;
	EVP_PKEY_CTX_free(context);
	ERR_clear_error();
	if (error < 0) {
		gnutls_free(signature);
		return error;
	}
	ret_signature->data = signature;
	ret_signature->size = (unsigned)size;
	return 0;
}

#else

bool engine_openssl_is_there(void)
{
	return false;
}

struct engine_key *engine_key_new(gnutls_privkey_t handle)
{
	(void)handle;
	return NULL;
}

void engine_key_free(struct engine_key *key)
{
	(void)key;
}

int engine_key_sign(const struct engine_key *key, gnutls_sign_algorithm_t algorithm,
		    const gnutls_datum_t *hash, gnutls_datum_t *ret_signature)
{
	(void)key, (void)algorithm, (void)hash, (void)ret_signature;
	return GNUTLS_E_UNIMPLEMENTED_FEATURE;
}
#endif
