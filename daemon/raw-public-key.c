// SPDX-License-Identifier: LGPL-2.1-or-later
// Raw public keys: pins of peers' keys from the configuration and its files, and the own key's public
// part. Reads public keys only; never judges by anything but the whole digest.
#include "raw-public-key.h"

#include <gnutls/abstract.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

enum { KEY_FILE_MAX = 65536 };

struct pins {
	unsigned char (*digests)[RAW_PUBLIC_KEY_DIGEST_SIZE];
	size_t count;
};

bool pins_parse(const char *text, unsigned char ret_digest[RAW_PUBLIC_KEY_DIGEST_SIZE])
{
	const char *digits = "0123456789abcdef0123456789ABCDEF";

	if (strncmp(text, "sha256:", 7) != 0 ||
	    strlen(text + 7) != (size_t)2 * RAW_PUBLIC_KEY_DIGEST_SIZE)
		return false;
	for (size_t i = 0; i < RAW_PUBLIC_KEY_DIGEST_SIZE; i++) {
		const char *high = strchr(digits, text[7 + 2 * i]);
		const char *low = strchr(digits, text[8 + 2 * i]);

		if (!high || !low)
			return false;
		ret_digest[i] = (unsigned char)((high - digits) % 16 << 4 | (low - digits) % 16);
	}
	return true;
}

// The DER of a public key in a PEM file, as GnuTLS writes it: the digest must be that of what a peer shows.
static int file_digest(const char *path, unsigned char *ret_digest, struct problem *problem)
{
	gnutls_datum_t text, der = {NULL, 0};
	gnutls_pubkey_t key = NULL;
	struct file file;
	int error;

	if (file_read(path, "peer-public-key", KEY_FILE_MAX, &file, problem) < 0)
		return -1;
	text.data = (unsigned char *)file.data;
	text.size = (unsigned)file.size;
	error = gnutls_pubkey_init(&key);
	if (file_check_writers(&file, path, "peer-public-key", problem) < 0)
		error = -1;
	else if (strstr(file.data, "PRIVATE KEY-----"))
		error =
		    problem_set(problem,
				"peer-public-key \"%s\" has a private key in it; a peer's public"
				" key is wanted (openssl pkey -pubout)",
				path);
	if (error == 0)
		error = gnutls_pubkey_import(key, &text, GNUTLS_X509_FMT_PEM);
	if (error == 0)
		error = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
	if (error == 0)
		error = raw_public_key_digest(&der, NULL, ret_digest);
	if (error < 0)
		problem_set(problem,
			    "peer-public-key \"%s\" has no public key in it; PEM text with a block"
			    " \"PUBLIC KEY\" is expected",
			    path);
	gnutls_free(der.data);
	if (key)
		gnutls_pubkey_deinit(key);
	file_done(&file);
	return error < 0 ? -1 : 0;
}

int pins_new(const struct config_raw *config, struct pins **ret_pins, struct problem *problem)
{
	struct pins *pins;

	*ret_pins = NULL;
	if (!config->pin_count)
		return 0;
	pins = calloc(1, sizeof(*pins));
	if (pins)
		pins->digests = calloc(config->pin_count, sizeof(*pins->digests));
	if (!pins || !pins->digests) {
		pins_free(pins);
		return problem_set(problem, "out of memory");
	}
	for (; pins->count < config->pin_count; pins->count++) {
		const char *value = config->pins[pins->count];

		if (!pins_parse(value, pins->digests[pins->count]) &&
		    file_digest(value, pins->digests[pins->count], problem) < 0) {
			pins_free(pins);
			return -1;
		}
	}
	*ret_pins = pins;
	return 0;
}

void pins_free(struct pins *pins)
{
	if (!pins)
		return;
	free(pins->digests);
	free(pins);
}

bool pins_have(const struct pins *pins, const unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE])
{
	for (size_t i = 0; pins && i < pins->count; i++)
		if (!memcmp(pins->digests[i], digest, RAW_PUBLIC_KEY_DIGEST_SIZE))
			return true;
	return false;
}

int raw_public_key_give(gnutls_certificate_credentials_t credentials, const struct signer_key *key)
{
	gnutls_privkey_t handle = NULL;
	gnutls_pubkey_t public_key;
	gnutls_pcert_st shown;
	int error = gnutls_pubkey_init(&public_key);

	if (error < 0)
		return error;
	error = gnutls_pubkey_import(public_key, signer_key_public(key), GNUTLS_X509_FMT_DER);
	if (error == 0)
		error = gnutls_pcert_import_rawpk(&shown, public_key, 0);
	if (error < 0) {
		gnutls_pubkey_deinit(public_key);
		return error;
	}
	// The public key is the pcert's now.
	error = signer_key_handle(key, &handle);
	if (error < 0) {
		gnutls_pcert_deinit(&shown);
		return error;
	}
	// Takes the handle and the list's element, as with certificates.
	return gnutls_certificate_set_key(credentials, NULL, 0, &shown, 1, handle);
}

bool raw_public_key_shown(gnutls_session_t session)
{
	return gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK;
}

int raw_public_key_digest(const gnutls_datum_t *shown, char *ret_text,
			  unsigned char ret_digest[RAW_PUBLIC_KEY_DIGEST_SIZE])
{
	size_t size = RAW_PUBLIC_KEY_DIGEST_SIZE;
	int error = gnutls_fingerprint(GNUTLS_DIG_SHA256, shown, ret_digest, &size);

	for (size_t i = 0; error == 0 && ret_text && i < size; i++)
		sprintf(ret_text + 2 * i, "%02x", ret_digest[i]);
	return error;
}
