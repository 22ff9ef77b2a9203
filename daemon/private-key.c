// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Private keys. The only code that touches one; it runs in the signer alone. Never gives a key out, and
 * never tells by its answer or its time whether what it decrypted was well made.
 */
#include "private-key.h"

#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine-openssl.h"
#include "file.h"
#include "token.h"

enum { KEY_FILE_MAX = 1 << 20 };

struct private_key {
	atomic_uint references;
	gnutls_privkey_t handle;
	struct engine_key *engine; /* NULL: GnuTLS signs */
	gnutls_pk_algorithm_t algorithm;
	bool on_token;
};

/* A lack of memory passes: it says nothing of the key. */
static void error_judge(int error, struct signer_report *report)
{
	if (error == GNUTLS_E_MEMORY_ERROR)
		report->verdict = SIGNER_FULL;
}

static int memory_problem(struct signer_report *report)
{
	report->verdict = SIGNER_FULL;
	return problem_set(&report->problem, "out of memory");
}

/* ---- From a file --------------------------------------------------------------------------- */

/* A group may read (Debian's ssl-cert); nobody but the owner may write, and others may do nothing. */
static int permissions_check(const char *path, const struct stat *status, struct problem *problem)
{
	if (status->st_mode & S_IRWXO)
		return problem_set(problem,
				   "private-key \"%s\": everybody on this machine may use the file"
				   " (mode %04o); chmod 600 it, and replace the key if others had"
				   " access",
				   path, (unsigned)status->st_mode & 07777);
	if (status->st_mode & S_IWGRP)
		return problem_set(
		    problem,
		    "private-key \"%s\": its group may write to the file (mode %04o);"
		    " chmod 640 or 600 it",
		    path, (unsigned)status->st_mode & 07777);
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return problem_set(
		    problem,
		    "private-key \"%s\" belongs to user %u, who can replace it; chown"
		    " it to root or to the user that starts the daemon (%u)",
		    path, (unsigned)status->st_uid, (unsigned)geteuid());
	return 0;
}

static int text_import(gnutls_x509_privkey_t key, const struct file *file, const char *path,
		       struct signer_report *report)
{
	gnutls_datum_t text = {(unsigned char *)file->data, (unsigned)file->size};
	struct problem *problem = &report->problem;
	size_t size = sizeof(report->id);
	int error;

	error =
	    gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
	error_judge(error, report);
	if (error == GNUTLS_E_DECRYPTION_FAILED || strstr(file->data, "BEGIN ENCRYPTED"))
		return problem_set(
		    problem,
		    "private-key \"%s\" is protected by a passphrase, which nobody can"
		    " enter when the daemon starts; store it without (openssl pkey)",
		    path);
	if (error < 0 && !strstr(file->data, "PRIVATE KEY-----"))
		return problem_set(problem,
				   "private-key \"%s\" has no private key in it; PEM text with"
				   " a block \"PRIVATE KEY\" is expected",
				   path);
	if (error < 0)
		return problem_set(problem, "private-key \"%s\" cannot be read: %s", path,
				   gnutls_strerror(error));
	error = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, report->id, &size);
	error_judge(error, report);
	if (error < 0)
		return problem_set(problem, "private-key \"%s\" has no usable public part: %s",
				   path, gnutls_strerror(error));
	return 0;
}

/* file: what was read, whose status is not looked at. */
static int file_import(struct private_key *key, const struct file *file, const char *path,
		       struct signer_report *report)
{
	gnutls_x509_privkey_t x509;
	int error;

	if (gnutls_x509_privkey_init(&x509) < 0)
		return memory_problem(report);
	error = text_import(x509, file, path, report);
	if (error == 0) {
		error = gnutls_privkey_import_x509(key->handle, x509,
						   GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE);
		if (error == 0)
			return 0;
		error_judge(error, report);
		problem_set(&report->problem, "private-key \"%s\" cannot be used: %s", path,
			    gnutls_strerror(error));
	}
	gnutls_x509_privkey_deinit(x509);
	return -1;
}

static int file_load(struct private_key *key, const char *path, bool engine,
		     struct signer_report *report)
{
	struct file file;
	int error;

	if (file_read(path, "private-key", KEY_FILE_MAX, &file, &report->problem) < 0)
		return -1;
	error = permissions_check(path, &file.status, &report->problem);
	if (error == 0)
		error = file_import(key, &file, path, report);
	if (error == 0 && engine)
		key->engine = engine_key_new(key->handle);
	file_done(&file);
	return error;
}

/* As PEM: a "PRIVATE KEY" (PKCS #8), or one of the older forms that GnuTLS tells apart itself. */
static int der_encode(const gnutls_datum_t *der, gnutls_datum_t *ret_text,
		      struct signer_report *report)
{
	gnutls_x509_privkey_t key;
	int error = gnutls_x509_privkey_init(&key);

	if (error < 0)
		return memory_problem(report);
	error = gnutls_x509_privkey_import2(key, der, GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN);
	if (error == 0)
		error = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
							  GNUTLS_PKCS_PLAIN, ret_text);
	gnutls_x509_privkey_deinit(key);
	error_judge(error, report);
	return error == 0
		   ? 0
		   : problem_set(&report->problem,
				 "private-key of the request has no private key in it that can be"
				 " read (DER or PEM, without a passphrase): %s",
				 gnutls_strerror(error));
}

/* ---- What is told of it -------------------------------------------------------------------- */

static int public_tell(struct private_key *key, const char *source, struct signer_report *report)
{
	gnutls_datum_t der = {NULL, 0};
	gnutls_pubkey_t public = NULL;
	size_t size = sizeof(report->id);
	int error = gnutls_pubkey_init(&public);

	if (error == 0)
		error = gnutls_pubkey_import_privkey(public, key->handle, 0, 0);
	if (error == 0)
		error = gnutls_pubkey_export2(public, GNUTLS_X509_FMT_DER, &der);
	if (error == 0 && key->on_token)
		error =
		    gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, report->id, &size);
	if (error == 0 && der.size > sizeof(report->public_key))
		error = GNUTLS_E_SHORT_MEMORY_BUFFER;
	if (error == 0) {
		memcpy(report->public_key, der.data, der.size);
		report->public_size = der.size;
	}
	gnutls_free(der.data);
	if (public)
		gnutls_pubkey_deinit(public);
	if (error == 0)
		return 0;
	error_judge(error, report);
	return problem_set(
	    &report->problem, "private-key \"%s\" has no usable public part: %s%s", source,
	    gnutls_strerror(error),
	    key->on_token ? "; put the public key on the token, too, with the same id" : "");
}

/* Some tokens know no RSASSA-PSS, and some keys there may only decrypt: nothing but a try tells. */
static bool pss_signs(const struct private_key *key)
{
	unsigned char hash[32] = {0};
	const gnutls_datum_t datum = {hash, sizeof(hash)};
	gnutls_datum_t signature;

	if (!key->on_token)
		return true;
	if (gnutls_privkey_sign_hash2(key->handle, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 0, &datum,
				      &signature) < 0)
		return false;
	gnutls_free(signature.data);
	return true;
}

static struct private_key *key_new(struct signer_report *report)
{
	struct private_key *key = calloc(1, sizeof(*key));

	memset(report, 0, sizeof(*report));
	report->verdict = SIGNER_BAD;
	if (key && gnutls_privkey_init(&key->handle) == 0) {
		atomic_init(&key->references, 1);
		return key;
	}
	free(key);
	memory_problem(report);
	return NULL;
}

/* Takes the key; r: whether it was read. */
static int key_finish(struct private_key *key, const char *source, int r,
		      struct private_key **ret_key, struct signer_report *report)
{
	unsigned bits = 0;

	if (r == 0)
		r = public_tell(key, source, report);
	if (r < 0) {
		private_key_free(key);
		return -1;
	}
	key->algorithm = (gnutls_pk_algorithm_t)gnutls_privkey_get_pk_algorithm(key->handle, &bits);
	report->verdict = SIGNER_GOOD;
	report->algorithm = (uint32_t)key->algorithm;
	report->bits = bits;
	report->token = key->on_token;
	report->pss = key->algorithm == GNUTLS_PK_RSA && pss_signs(key);
	*ret_key = key;
	return 0;
}

int private_key_read(const char *source, const char *pin_file, enum config_signer_engine engine,
		     struct private_key **ret_key, struct signer_report *report)
{
	struct private_key *key = key_new(report);
	int r;

	if (!key)
		return -1;
	key->on_token = token_is_url(source);
	r = key->on_token ? token_load(key->handle, source, pin_file, report)
			  : file_load(key, source, engine != CONFIG_ENGINE_GNUTLS, report);
	return key_finish(key, source, r, ret_key, report);
}

int private_key_import(const void *bytes, size_t size, enum config_signer_engine engine,
		       struct private_key **ret_key, struct signer_report *report)
{
	struct private_key *key = key_new(report);
	gnutls_datum_t der = {(unsigned char *)bytes, (unsigned)size}, text = {NULL, 0};
	struct file file = {0};
	int r = 0;

	if (!key)
		return -1;
	/* DER is put into the words of a file: all that follows knows them. */
	if (size > 0 && der.data[0] == 0x30)
		r = der_encode(&der, &text, report);
	file.size = text.data ? text.size : size;
	file.data = r == 0 ? malloc(file.size + 1) : NULL;
	if (file.data) {
		memcpy(file.data, text.data ? text.data : bytes, file.size);
		file.data[file.size] = '\0';
		r = file_import(key, &file, "of the request", report);
		if (r == 0 && engine != CONFIG_ENGINE_GNUTLS)
			key->engine = engine_key_new(key->handle);
	} else if (r == 0) {
		r = memory_problem(report);
	}
	if (text.data)
		gnutls_memset(text.data, 0, text.size);
	gnutls_free(text.data);
	file_done(&file);
	return key_finish(key, "of the request", r, ret_key, report);
}

struct private_key *private_key_hold(struct private_key *key)
{
	atomic_fetch_add(&key->references, 1);
	return key;
}

void private_key_free(struct private_key *key)
{
	if (!key || atomic_fetch_sub(&key->references, 1) != 1)
		return;
	engine_key_free(key->engine);
	gnutls_privkey_deinit(key->handle); /* both wipe */
	free(key);
}

bool private_key_on_token(const struct private_key *key)
{
	return key->on_token;
}

/* ---- Use ----------------------------------------------------------------------------------- */

/* RFC 5246, 7.4.7.1: what is not well made becomes random bytes, in the same time. */
static int premaster_decrypt(const struct private_key *key, const gnutls_datum_t *encrypted,
			     gnutls_datum_t *ret_premaster)
{
	unsigned char *premaster = gnutls_malloc(SIGNER_PREMASTER_SIZE);
	int error;

	if (!premaster)
		return GNUTLS_E_MEMORY_ERROR;
	error = gnutls_rnd(GNUTLS_RND_RANDOM, premaster, SIGNER_PREMASTER_SIZE);
	if (error < 0) {
		gnutls_free(premaster);
		return error;
	}
	/* On failure the random bytes stay. */
	(void)gnutls_privkey_decrypt_data2(key->handle, 0, encrypted, premaster,
					   SIGNER_PREMASTER_SIZE);
	ret_premaster->data = premaster;
	ret_premaster->size = SIGNER_PREMASTER_SIZE;
	return 0;
}

static int hash_sign(const struct private_key *key, gnutls_sign_algorithm_t algorithm,
		     const gnutls_datum_t *hash, gnutls_datum_t *ret_signature)
{
	int error = key->engine ? engine_key_sign(key->engine, algorithm, hash, ret_signature)
				: GNUTLS_E_UNIMPLEMENTED_FEATURE;

	if (error != GNUTLS_E_UNIMPLEMENTED_FEATURE)
		return error;
	/* As GnuTLS hands TLS 1.2's RSA signatures to those who sign for it: the DigestInfo is made. */
	if (algorithm == GNUTLS_SIGN_RSA_RAW)
		return gnutls_privkey_sign_hash2(
		    key->handle, algorithm, GNUTLS_PRIVKEY_SIGN_FLAG_TLS1_RSA, hash, ret_signature);
	return gnutls_privkey_sign_hash2(key->handle, algorithm, 0, hash, ret_signature);
}

int private_key_use(const struct private_key *key, const struct signer_request *request,
		    const uint8_t *data, gnutls_datum_t *ret_answer)
{
	const gnutls_datum_t datum = {(unsigned char *)data, request->size};
	gnutls_sign_algorithm_t algorithm = (gnutls_sign_algorithm_t)request->algorithm;
	int error;

	switch (request->kind) {
	case SIGNER_SIGN_HASH:
		error = hash_sign(key, algorithm, &datum, ret_answer);
		break;
	case SIGNER_SIGN_DATA:
		error = gnutls_privkey_sign_data2(key->handle, algorithm, 0, &datum, ret_answer);
		break;
	case SIGNER_DECRYPT:
		if (key->algorithm != GNUTLS_PK_RSA)
			return GNUTLS_E_INVALID_REQUEST;
		error = premaster_decrypt(key, &datum, ret_answer);
		break;
	default:
		return GNUTLS_E_INVALID_REQUEST;
	}
	if (error == 0 && ret_answer->size > SIGNER_DATA_MAX) {
		gnutls_free(ret_answer->data);
		return GNUTLS_E_INTERNAL_ERROR;
	}
	return error;
}
