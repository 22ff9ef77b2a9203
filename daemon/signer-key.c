// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Handles for GnuTLS of keys that lie elsewhere. Touches public keys only; each use is a request to the
 * signer, from within a worker's handshake or, elsewhere, by waiting for it.
 */
#include "signer-key.h"

#include <stdlib.h>
#include <string.h>

#include "fiber.h"
#include "signer-lent.h"
#include "signing.h"

struct signer_key *signer_key_new(const char *source, const char *pin_file)
{
	struct signer_key *key = calloc(1, sizeof(*key));

	if (!key)
		return NULL;
	key->source = strdup(source);
	key->pin_file = strdup(pin_file);
	if (key->source && key->pin_file)
		return key;
	signer_key_free(key);
	return NULL;
}

struct signer_key *signer_lent_key(const struct signer_lent *lent)
{
	struct signer_key *key = signer_key_new("", "");

	if (!key)
		return NULL;
	key->number = lent->number;
	key->algorithm = (gnutls_pk_algorithm_t)lent->algorithm;
	key->bits = lent->bits;
	key->pss = lent->pss != 0;
	memcpy(key->id, lent->id, sizeof(key->id));
	return key;
}

void signer_key_free(struct signer_key *key)
{
	if (!key)
		return;
	if (key->signer)
		signer_forget(key->signer, key);
	free(key->public_key.data);
	free(key->source);
	free(key->pin_file);
	free(key);
}

int signer_key_learn(struct signer_key *key, const struct signer_report *report,
		     struct problem *problem)
{
	key->public_key.data = malloc(report->public_size);
	if (!key->public_key.data)
		return problem_set(problem, "out of memory");
	memcpy(key->public_key.data, report->public_key, report->public_size);
	key->public_key.size = report->public_size;
	key->algorithm = (gnutls_pk_algorithm_t)report->algorithm;
	key->bits = report->bits;
	key->on_token = report->token != 0;
	key->pss = report->pss != 0;
	memcpy(key->id, report->id, sizeof(key->id));
	return 0;
}

int signer_key_matches(const struct signer_key *key, gnutls_x509_crt_t certificate)
{
	unsigned char id[SIGNER_ID_SIZE];
	size_t size = sizeof(id);
	int error = gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, id, &size);

	if (error < 0)
		return error;
	return size == sizeof(id) && !memcmp(id, key->id, sizeof(id));
}

const gnutls_datum_t *signer_key_public(const struct signer_key *key)
{
	return &key->public_key;
}

int signer_key_answer(const uint8_t *bytes, size_t size, gnutls_datum_t *ret_answer)
{
	ret_answer->data = gnutls_malloc(size + 1);
	if (!ret_answer->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(ret_answer->data, bytes, size);
	ret_answer->size = (unsigned)size;
	return 0;
}

/* ---- What GnuTLS calls --------------------------------------------------------------------- */

static int key_use(const struct signer_key *key, enum signer_kind kind,
		   gnutls_sign_algorithm_t algorithm, const gnutls_datum_t *data,
		   gnutls_datum_t *ret_answer)
{
	const struct signer_request request = {
	    .key = key->number,
	    .kind = kind,
	    .algorithm = (uint32_t)algorithm,
	    .size = data->size,
	};

	if (data->size > SIGNER_DATA_MAX)
		return GNUTLS_E_INVALID_REQUEST;
	return fiber_current() ? signing_ask(&request, data, ret_answer)
			       : signer_ask(key->signer, &request, data, ret_answer);
}

static int handle_sign_hash(gnutls_privkey_t handle, gnutls_sign_algorithm_t algorithm,
			    void *context, unsigned flags, const gnutls_datum_t *hash,
			    gnutls_datum_t *ret_signature)
{
	(void)handle, (void)flags;
	return key_use(context, SIGNER_SIGN_HASH, algorithm, hash, ret_signature);
}

static int handle_sign_data(gnutls_privkey_t handle, gnutls_sign_algorithm_t algorithm,
			    void *context, unsigned flags, const gnutls_datum_t *data,
			    gnutls_datum_t *ret_signature)
{
	const struct signer_key *key = context;

	(void)handle, (void)flags;
	/* GnuTLS gives its own DigestInfo here, too. */
	return key_use(key, algorithm == GNUTLS_SIGN_RSA_RAW ? SIGNER_SIGN_HASH : SIGNER_SIGN_DATA,
		       algorithm, data, ret_signature);
}

static int handle_decrypt(gnutls_privkey_t handle, void *context, const gnutls_datum_t *encrypted,
			  gnutls_datum_t *ret_text)
{
	(void)handle;
	return key_use(context, SIGNER_DECRYPT, GNUTLS_SIGN_UNKNOWN, encrypted, ret_text);
}

static bool key_signs(const struct signer_key *key, gnutls_sign_algorithm_t algorithm)
{
	if (key->algorithm == GNUTLS_PK_RSA && !key->pss &&
	    (algorithm == GNUTLS_SIGN_RSA_PSS_RSAE_SHA256 ||
	     algorithm == GNUTLS_SIGN_RSA_PSS_RSAE_SHA384 ||
	     algorithm == GNUTLS_SIGN_RSA_PSS_RSAE_SHA512))
		return false;
	return gnutls_sign_supports_pk_algorithm(algorithm, key->algorithm) != 0;
}

static int handle_info(gnutls_privkey_t handle, unsigned flags, void *context)
{
	const struct signer_key *key = context;

	(void)handle;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return (int)key->algorithm;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)key->bits;
	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
		return key_signs(key, GNUTLS_FLAGS_TO_SIGN_ALGO(flags));
	return -1;
}

int signer_key_handle(const struct signer_key *key, gnutls_privkey_t *ret_handle)
{
	gnutls_privkey_t handle;
	int error;

	error = gnutls_privkey_init(&handle);
	if (error < 0)
		return error;
	error = gnutls_privkey_import_ext4(handle, (void *)key, handle_sign_data, handle_sign_hash,
					   handle_decrypt, NULL, handle_info, 0);
	if (error < 0) {
		gnutls_privkey_deinit(handle);
		return error;
	}
	*ret_handle = handle;
	return 0;
}

/* ---- Whether it works ---------------------------------------------------------------------- */

int signer_key_try(const struct signer_key *key)
{
	static const gnutls_datum_t text = {(unsigned char *)"handshaked", 10};
	gnutls_datum_t signature = {NULL, 0};
	gnutls_privkey_t handle = NULL;
	gnutls_pubkey_t public = NULL;
	gnutls_digest_algorithm_t digest = GNUTLS_DIG_SHA256;
	gnutls_sign_algorithm_t algorithm;
	int error = signer_key_handle(key, &handle);

	if (error == 0)
		error = gnutls_pubkey_init(&public);
	if (error == 0)
		error = gnutls_pubkey_import(public, &key->public_key, GNUTLS_X509_FMT_DER);
	if (error == 0)
		error = gnutls_pubkey_get_preferred_hash_algorithm(public, &digest, NULL);
	if (error == 0) {
		algorithm = gnutls_pk_to_sign(key->algorithm, digest);
		error = gnutls_privkey_sign_data2(handle, algorithm, 0, &text, &signature);
	}
	if (error == 0)
		error = gnutls_pubkey_verify_data2(public, algorithm, 0, &text, &signature);
	gnutls_free(signature.data);
	if (public)
		gnutls_pubkey_deinit(public);
	if (handle)
		gnutls_privkey_deinit(handle);
	return error < 0 ? error : 0;
}
