// SPDX-License-Identifier: LGPL-2.1-or-later
// A stand-in for leancrypto, for tests alone: GnuTLS's post-quantum algorithms, computed by OpenSSL 3.5
// and newer. Everything that opens files happens when the library is loaded, since GnuTLS may be in a
// sandbox later; never reads OpenSSL's configuration.
#include "leancrypto.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

struct lc_rng_ctx *lc_seeded_rng;
static OSSL_LIB_CTX *context;

enum { OF_PK, OF_SK, OF_CT, OF_SS, OBJECTS };
struct algorithm {
	const char *name;
	size_t sizes[OBJECTS]; // signatures count as ciphertexts
};
static const struct algorithm kyber[] = {
    [LC_KYBER_768] = {"ML-KEM-768", {1184, 2400, 1088, 32}},
    [LC_KYBER_1024] = {"ML-KEM-1024", {1568, 3168, 1568, 32}},
};
static const struct algorithm dilithium[] = {
    [LC_DILITHIUM_44] = {"ML-DSA-44", {1312, 2560, 2420}},
    [LC_DILITHIUM_65] = {"ML-DSA-65", {1952, 4032, 3309}},
    [LC_DILITHIUM_87] = {"ML-DSA-87", {2592, 4896, 4627}},
};

__attribute__((constructor)) static void load(void)
{
	struct lc_kyber_pk pk;
	struct lc_kyber_sk sk;

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	context = OSSL_LIB_CTX_new();
	// The first use of the random generator and of each algorithm is the one that loads.
	lc_kyber_keypair(&pk, &sk, NULL, LC_KYBER_768);
}

int lc_init(unsigned int flags)
{
	(void)flags;
	return context ? 0 : -ENOMEM;
}

int lc_rng_set_seeded(struct lc_rng_ctx *rng)
{
	lc_seeded_rng = rng;
	return 0;
}

#define ACCESS(name, kind, table, object)                                       \
	int name##_load(struct name *to, const uint8_t *bytes, size_t size)     \
	{                                                                       \
		for (size_t i = 1; i < sizeof(table) / sizeof((table)[0]); i++) \
			if ((table)[i].sizes[object] == size) {                 \
				to->type = (int)i;                              \
				to->size = size;                                \
				memcpy(to->bytes, bytes, size);                 \
				return 0;                                       \
			}                                                       \
		return -EINVAL;                                                 \
	}                                                                       \
	int name##_ptr(uint8_t **bytes, size_t *size, struct name *of)          \
	{                                                                       \
		*bytes = of->bytes;                                             \
		*size = of->size;                                               \
		return 0;                                                       \
	}                                                                       \
	enum kind name##_type(const struct name *of)                            \
	{                                                                       \
		return (enum kind)of->type;                                     \
	}
ACCESS(lc_kyber_pk, lc_kyber_type, kyber, OF_PK)
ACCESS(lc_kyber_sk, lc_kyber_type, kyber, OF_SK)
ACCESS(lc_kyber_ct, lc_kyber_type, kyber, OF_CT)
ACCESS(lc_kyber_ss, lc_kyber_type, kyber, OF_SS)
ACCESS(lc_dilithium_pk, lc_dilithium_type, dilithium, OF_PK)
ACCESS(lc_dilithium_sk, lc_dilithium_type, dilithium, OF_SK)
ACCESS(lc_dilithium_sig, lc_dilithium_type, dilithium, OF_CT)

// The public key's bytes, and the private key's unless sk is NULL. Frees key; NULL is an error.
static int export(EVP_PKEY *key, uint8_t *pk, size_t pk_size, uint8_t *sk, size_t sk_size)
{
	const int done = key && EVP_PKEY_get_raw_public_key(key, pk, &pk_size) == 1 &&
			 (!sk || EVP_PKEY_get_raw_private_key(key, sk, &sk_size) == 1);

	EVP_PKEY_free(key);
	return done ? 0 : -EFAULT;
}

int lc_kyber_keypair(struct lc_kyber_pk *pk, struct lc_kyber_sk *sk, struct lc_rng_ctx *rng,
		     enum lc_kyber_type type)
{
	const struct algorithm *algorithm = &kyber[type];

	(void)rng;
	pk->type = sk->type = (int)type;
	pk->size = algorithm->sizes[OF_PK];
	sk->size = algorithm->sizes[OF_SK];
	return export(EVP_PKEY_Q_keygen(context, NULL, algorithm->name), pk->bytes, pk->size,
		      sk->bytes, sk->size);
}

int lc_kyber_enc(struct lc_kyber_ct *ct, struct lc_kyber_ss *ss, const struct lc_kyber_pk *pk)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(context, kyber[pk->type].name, NULL,
						       pk->bytes, pk->size);
	EVP_PKEY_CTX *work = key ? EVP_PKEY_CTX_new_from_pkey(context, key, NULL) : NULL;
	int done;

	ct->type = ss->type = pk->type;
	ct->size = kyber[pk->type].sizes[OF_CT];
	ss->size = kyber[pk->type].sizes[OF_SS];
	done = work && EVP_PKEY_encapsulate_init(work, NULL) == 1 &&
	       EVP_PKEY_encapsulate(work, ct->bytes, &ct->size, ss->bytes, &ss->size) == 1;
	EVP_PKEY_CTX_free(work);
	EVP_PKEY_free(key);
	return done ? 0 : -EFAULT;
}

int lc_kyber_dec(struct lc_kyber_ss *ss, const struct lc_kyber_ct *ct, const struct lc_kyber_sk *sk)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(context, kyber[sk->type].name, NULL,
							sk->bytes, sk->size);
	EVP_PKEY_CTX *work = key ? EVP_PKEY_CTX_new_from_pkey(context, key, NULL) : NULL;
	int done;

	ss->type = sk->type;
	ss->size = kyber[sk->type].sizes[OF_SS];
	done = work && EVP_PKEY_decapsulate_init(work, NULL) == 1 &&
	       EVP_PKEY_decapsulate(work, ss->bytes, &ss->size, ct->bytes, ct->size) == 1;
	EVP_PKEY_CTX_free(work);
	EVP_PKEY_free(key);
	return done ? 0 : -EFAULT;
}

int lc_dilithium_keypair_from_seed(struct lc_dilithium_pk *pk, struct lc_dilithium_sk *sk,
				   const uint8_t *seed, size_t size, enum lc_dilithium_type type)
{
	const struct algorithm *algorithm = &dilithium[type];
	EVP_PKEY_CTX *work = EVP_PKEY_CTX_new_from_name(context, algorithm->name, NULL);
	EVP_PKEY *key = NULL;
	OSSL_PARAM parameters[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_ML_DSA_SEED, (void *)(uintptr_t)seed,
					      size),
	    OSSL_PARAM_construct_end(),
	};

	pk->type = sk->type = (int)type;
	pk->size = algorithm->sizes[OF_PK];
	sk->size = algorithm->sizes[OF_SK];
	if (!work || EVP_PKEY_fromdata_init(work) != 1 ||
	    EVP_PKEY_fromdata(work, &key, EVP_PKEY_KEYPAIR, parameters) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(work);
	return export(key, pk->bytes, pk->size, sk->bytes, sk->size);
}

int lc_dilithium_pk_from_sk(struct lc_dilithium_pk *pk, const struct lc_dilithium_sk *sk)
{
	pk->type = sk->type;
	pk->size = dilithium[sk->type].sizes[OF_PK];
	return export(EVP_PKEY_new_raw_private_key_ex(context, dilithium[sk->type].name, NULL,
						      sk->bytes, sk->size),
		      pk->bytes, pk->size, NULL, 0);
}

int lc_dilithium_sign(struct lc_dilithium_sig *sig, const uint8_t *message, size_t size,
		      const struct lc_dilithium_sk *sk, struct lc_rng_ctx *rng)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(context, dilithium[sk->type].name, NULL,
							sk->bytes, sk->size);
	EVP_MD_CTX *work = EVP_MD_CTX_new();
	int done;

	(void)rng;
	sig->type = sk->type;
	sig->size = dilithium[sk->type].sizes[OF_CT];
	done = key && work &&
	       EVP_DigestSignInit_ex(work, NULL, NULL, context, NULL, key, NULL) == 1 &&
	       EVP_DigestSign(work, sig->bytes, &sig->size, message, size) == 1;
	EVP_MD_CTX_free(work);
	EVP_PKEY_free(key);
	return done ? 0 : -EFAULT;
}

int lc_dilithium_verify(const struct lc_dilithium_sig *sig, const uint8_t *message, size_t size,
			const struct lc_dilithium_pk *pk)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(context, dilithium[pk->type].name, NULL,
						       pk->bytes, pk->size);
	EVP_MD_CTX *work = EVP_MD_CTX_new();
	const int done = key && work &&
			 EVP_DigestVerifyInit_ex(work, NULL, NULL, context, NULL, key, NULL) == 1 &&
			 EVP_DigestVerify(work, sig->bytes, sig->size, message, size) == 1;

	EVP_MD_CTX_free(work);
	EVP_PKEY_free(key);
	return done ? 0 : -EBADMSG;
}
