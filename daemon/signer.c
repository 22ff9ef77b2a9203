// SPDX-License-Identifier: LGPL-2.1-or-later
// Holds private keys: reads them from files that only the right people can read, and gives out
// handles that sign. Never gives a key out, and never sees a byte from a network.
#include "signer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

enum { KEY_FILE_MAX = 1 << 20, KEY_ID_SIZE = 32 };

struct signer_key {
	gnutls_x509_privkey_t key;
	unsigned char id[KEY_ID_SIZE]; // SHA-256 of the public key
};

// A group may read (Debian's ssl-cert); nobody but the owner may write, and others may do nothing.
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

static int import(struct signer_key *key, const struct file *file, const char *path,
		  struct problem *problem)
{
	gnutls_datum_t text = {(unsigned char *)file->data, (unsigned)file->size};
	size_t size = sizeof(key->id);
	int error;

	error = gnutls_x509_privkey_init(&key->key);
	if (error < 0)
		return problem_set(problem, "out of memory");
	error = gnutls_x509_privkey_import2(key->key, &text, GNUTLS_X509_FMT_PEM, NULL,
					    GNUTLS_PKCS_PLAIN);
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
	error = gnutls_x509_privkey_get_key_id(key->key, GNUTLS_KEYID_USE_SHA256, key->id, &size);
	if (error < 0)
		return problem_set(problem, "private-key \"%s\" has no usable public part: %s",
				   path, gnutls_strerror(error));
	return 0;
}

int signer_key_read(const char *path, struct signer_key **ret_key, struct problem *problem)
{
	struct signer_key *key;
	struct file file;
	int error;

	if (file_read(path, "private-key", KEY_FILE_MAX, &file, problem) < 0)
		return -1;
	key = calloc(1, sizeof(*key));
	if (!key)
		error = problem_set(problem, "out of memory");
	else if ((error = permissions_check(path, &file.status, problem)) == 0)
		error = import(key, &file, path, problem);
	file_done(&file);
	if (error) {
		signer_key_free(key);
		return -1;
	}
	*ret_key = key;
	return 0;
}

void signer_key_free(struct signer_key *key)
{
	if (!key)
		return;
	if (key->key)
		gnutls_x509_privkey_deinit(key->key); // wipes
	free(key);
}

int signer_key_matches(const struct signer_key *key, gnutls_x509_crt_t certificate)
{
	unsigned char id[KEY_ID_SIZE];
	size_t size = sizeof(id);

	return gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, id, &size) == 0 &&
	       size == sizeof(id) && !memcmp(id, key->id, sizeof(id));
}

int signer_key_handle(const struct signer_key *key, gnutls_privkey_t *ret_handle)
{
	gnutls_privkey_t handle;
	int error;

	error = gnutls_privkey_init(&handle);
	if (error < 0)
		return error;
	// Refers to the key, does not copy it: one key in memory, however many handles.
	error = gnutls_privkey_import_x509(handle, key->key, 0);
	if (error < 0) {
		gnutls_privkey_deinit(handle);
		return error;
	}
	*ret_handle = handle;
	return 0;
}
