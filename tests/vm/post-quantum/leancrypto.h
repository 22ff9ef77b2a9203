/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of leancrypto's interface that GnuTLS calls: ML-KEM and ML-DSA. For tests alone: Debian has no
 * leancrypto, and so its GnuTLS no post-quantum algorithms; its OpenSSL has, and leancrypto.c asks that. */
#ifndef LEANCRYPTO_H
#define LEANCRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define LC_KYBER_768_ENABLED
#define LC_KYBER_1024_ENABLED
#define LC_DILITHIUM_44_ENABLED
#define LC_DILITHIUM_65_ENABLED
#define LC_DILITHIUM_87_ENABLED

enum lc_kyber_type { LC_KYBER_UNKNOWN, LC_KYBER_768, LC_KYBER_1024 };
enum lc_dilithium_type { LC_DILITHIUM_UNKNOWN, LC_DILITHIUM_44, LC_DILITHIUM_65, LC_DILITHIUM_87 };

/* Keys, ciphertexts, secrets and signatures: which algorithm's, and the bytes of FIPS 203 and 204. */
#define LC_BYTES(name, maximum)         \
	struct name {                   \
		int type;               \
		size_t size;            \
		uint8_t bytes[maximum]; \
	}
LC_BYTES(lc_kyber_pk, 1568);
LC_BYTES(lc_kyber_sk, 3168);
LC_BYTES(lc_kyber_ct, 1568);
LC_BYTES(lc_kyber_ss, 32);
LC_BYTES(lc_dilithium_pk, 2592);
LC_BYTES(lc_dilithium_sk, 4896);
LC_BYTES(lc_dilithium_sig, 4627);

struct lc_rng {
	int (*generate)(void *state, const uint8_t *additional, size_t additional_size,
			uint8_t *out, size_t size);
	int (*seed)(void *state, const uint8_t *seed, size_t seed_size, const uint8_t *personal,
		    size_t personal_size);
	void (*zero)(void *state);
};
struct lc_rng_ctx {
	const struct lc_rng *rng;
	void *rng_state;
};
extern struct lc_rng_ctx *lc_seeded_rng;

/* All of them: 0, or negative. */
int lc_init(unsigned int flags);
int lc_rng_set_seeded(struct lc_rng_ctx *rng);

int lc_kyber_keypair(struct lc_kyber_pk *pk, struct lc_kyber_sk *sk, struct lc_rng_ctx *rng,
		     enum lc_kyber_type type);
int lc_kyber_enc(struct lc_kyber_ct *ct, struct lc_kyber_ss *ss, const struct lc_kyber_pk *pk);
int lc_kyber_dec(struct lc_kyber_ss *ss, const struct lc_kyber_ct *ct,
		 const struct lc_kyber_sk *sk);

int lc_dilithium_keypair_from_seed(struct lc_dilithium_pk *pk, struct lc_dilithium_sk *sk,
				   const uint8_t *seed, size_t size, enum lc_dilithium_type type);
int lc_dilithium_pk_from_sk(struct lc_dilithium_pk *pk, const struct lc_dilithium_sk *sk);
int lc_dilithium_sign(struct lc_dilithium_sig *sig, const uint8_t *message, size_t size,
		      const struct lc_dilithium_sk *sk, struct lc_rng_ctx *rng);
int lc_dilithium_verify(const struct lc_dilithium_sig *sig, const uint8_t *message, size_t size,
			const struct lc_dilithium_pk *pk);

/* Into and out of the structures; the algorithm is known by the size. */
#define LC_ACCESS(name, kind)                                                    \
	int name##_load(struct name *object, const uint8_t *bytes, size_t size); \
	int name##_ptr(uint8_t **bytes, size_t *size, struct name *object);      \
	enum kind name##_type(const struct name *object)
LC_ACCESS(lc_kyber_pk, lc_kyber_type);
LC_ACCESS(lc_kyber_sk, lc_kyber_type);
LC_ACCESS(lc_kyber_ct, lc_kyber_type);
LC_ACCESS(lc_kyber_ss, lc_kyber_type);
LC_ACCESS(lc_dilithium_pk, lc_dilithium_type);
LC_ACCESS(lc_dilithium_sk, lc_dilithium_type);
LC_ACCESS(lc_dilithium_sig, lc_dilithium_type);

#endif
