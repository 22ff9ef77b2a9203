// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Signing by OpenSSL's libcrypto, inside of the signer. Touches private keys that it is given as text; never
 * reads a file, and leaves all that is rare or delicate (decryption) to GnuTLS.
 */
#include "engine-openssl.h"

#ifdef HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* An EVP_PKEY under another name. */
#define PKEY(key) ((EVP_PKEY *)(void *)(key))

bool engine_openssl_is_there(void)
{
	return true;
}

/* GnuTLS has refused what has a passphrase; nobody shall be asked on a terminal. */
static int passphrase_refuse(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

struct engine_key *engine_key_new(const char *text, size_t size)
{
	BIO *memory = size < (1 << 30) ? BIO_new_mem_buf(text, (int)size) : NULL;
	EVP_PKEY *key =
	    memory ? PEM_read_bio_PrivateKey(memory, NULL, passphrase_refuse, NULL) : NULL;

	BIO_free(memory);
	ERR_clear_error();
	/* The kinds with restrictions of their own (RSA-PSS keys) are GnuTLS's. */
	if (key && EVP_PKEY_base_id(key) != EVP_PKEY_RSA && EVP_PKEY_base_id(key) != EVP_PKEY_EC) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return (struct engine_key *)(void *)key;
}

bool engine_key_fits(const struct engine_key *key, const unsigned char *der, size_t size)
{
	unsigned char *own = NULL;
	int length = i2d_PUBKEY(PKEY(key), &own);
	bool fits = length > 0 && (size_t)length == size && memcmp(own, der, size) == 0;

	OPENSSL_free(own);
	ERR_clear_error();
	return fits;
}

void engine_key_free(struct engine_key *key)
{
	EVP_PKEY_free(PKEY(key));
}

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

struct engine_key *engine_key_new(const char *text, size_t size)
{
	(void)text, (void)size;
	return NULL;
}

bool engine_key_fits(const struct engine_key *key, const unsigned char *der, size_t size)
{
	(void)key, (void)der, (void)size;
	return false;
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
