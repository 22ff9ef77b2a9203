// SPDX-License-Identifier: LGPL-2.1-or-later
// The store of pre-shared keys, and GnuTLS's credentials of them. Holds secrets: wipes what it frees,
// shows identities only, and finds a key by its whole identity or not at all.
#include "psk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	unsigned char *bytes; // the identity, then the key
	size_t identity_size, key_size;
	char source[64]; // for the complaint about a second one
};

struct psk {
	struct entry *entries; // in order of their identities once all are read
	size_t count, room;
	bool short_allowed;
};

static int compare(const void *a_identity, size_t a_size, const void *b_identity, size_t b_size)
{
	int order = memcmp(a_identity, b_identity, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;

	return compare(one->bytes, one->identity_size, other->bytes, other->identity_size);
}

// ---- Identities as text ----

void psk_identity_show(const void *identity, size_t size, char *text)
{
	const unsigned char *bytes = identity;
	bool plain = size > 0 && bytes[0] != '#';
	size_t length = 0;

	// Those of NVMe/TCP are longer, and plain.
	if (size > PSK_IDENTITY_TEXT_SIZE - 1)
		size = PSK_IDENTITY_TEXT_SIZE - 1;
	for (size_t i = 0; i < size; i++)
		plain = plain && bytes[i] >= 0x20 && bytes[i] < 0x7f;
	if (plain) {
		memcpy(text, bytes, size);
		text[size] = '\0';
		return;
	}
	if (size > PSK_IDENTITY_MAX)
		size = PSK_IDENTITY_MAX;
	text[length++] = '#';
	for (size_t i = 0; i < size; i++)
		length += (size_t)sprintf(text + length, "%02x", bytes[i]);
	text[length] = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int psk_identity_read(const char *text, struct psk_identity *ret_identity)
{
	struct psk_identity identity = {.size = strlen(text)};

	if (text[0] != '#') {
		if (identity.size == 0 || identity.size > PSK_IDENTITY_MAX)
			return -1;
		memcpy(identity.bytes, text, identity.size);
		*ret_identity = identity;
		return 0;
	}
	if (identity.size < 3 || identity.size % 2 == 0 || identity.size / 2 > PSK_IDENTITY_MAX)
		return -1;
	identity.size /= 2;
	for (size_t i = 0; i < identity.size; i++) {
		int high = digit(text[1 + 2 * i]), low = digit(text[2 + 2 * i]);

		if (high < 0 || low < 0)
			return -1;
		identity.bytes[i] = (unsigned char)(high << 4 | low);
	}
	*ret_identity = identity;
	return 0;
}

// ---- Filling ----

static int room_make(struct psk *psk, struct problem *problem)
{
	struct entry *larger;
	size_t room = psk->room ? psk->room * 2 : 16;

	if (psk->count < psk->room)
		return 0;
	larger = reallocarray(psk->entries, room, sizeof(*larger));
	if (!larger)
		return problem_set(problem, "out of memory");
	psk->entries = larger;
	psk->room = room;
	return 0;
}

int psk_add(struct psk *psk, const char *source, const void *identity, size_t identity_size,
	    const void *key, size_t key_size, struct problem *problem)
{
	char text[PSK_IDENTITY_TEXT_SIZE];
	struct entry *entry;

	psk_identity_show(identity, identity_size, text);
	if (!identity_size || identity_size > PSK_IDENTITY_MAX)
		return problem_set(problem, "%s: the identity has %zu bytes; 1 to %d are needed",
				   source, identity_size, PSK_IDENTITY_MAX);
	if (!key_size || key_size > PSK_KEY_MAX)
		return problem_set(problem,
				   "%s: the key of \"%s\" has %zu bytes; 1 to %d are needed",
				   source, text, key_size, PSK_KEY_MAX);
	if (key_size < PSK_KEY_MIN && !psk->short_allowed)
		return problem_set(
		    problem,
		    "%s: the key of \"%s\" has %zu bytes and can be guessed; take at"
		    " least %d random ones (psktool), or say insecure-short-psk = yes",
		    source, text, key_size, PSK_KEY_MIN);
	if (psk->count == PSK_COUNT_MAX)
		return problem_set(problem, "%s: \"%s\" is one too many; at most %d keys", source,
				   text, PSK_COUNT_MAX);
	if (room_make(psk, problem) < 0)
		return -1;
	entry = &psk->entries[psk->count];
	entry->bytes = malloc(identity_size + key_size);
	if (!entry->bytes)
		return problem_set(problem, "out of memory");
	memcpy(entry->bytes, identity, identity_size);
	memcpy(entry->bytes + identity_size, key, key_size);
	entry->identity_size = identity_size;
	entry->key_size = key_size;
	snprintf(entry->source, sizeof(entry->source), "%s",
		 strlen(source) < sizeof(entry->source)
		     ? source
		     : source + strlen(source) - sizeof(entry->source) + 1);
	psk->count++;
	return 0;
}

static int order(struct psk *psk, struct problem *problem)
{
	char text[PSK_IDENTITY_TEXT_SIZE];

	qsort(psk->entries, psk->count, sizeof(*psk->entries), compare_entries);
	for (size_t i = 1; i < psk->count; i++) {
		const struct entry *one = &psk->entries[i - 1], *other = &psk->entries[i];

		if (compare_entries(one, other) != 0)
			continue;
		psk_identity_show(one->bytes, one->identity_size, text);
		return problem_set(problem,
				   "the pre-shared key of \"%s\" is there twice (%s and %s); an"
				   " identity has one key",
				   text, one->source, other->source);
	}
	return 0;
}

int psk_new(const struct config_psk *config, struct psk **ret_psk, struct problem *problem)
{
	struct psk *psk;

	*ret_psk = NULL;
	if (!config->file && !config->keyring)
		return 0;
	psk = calloc(1, sizeof(*psk));
	if (!psk)
		return problem_set(problem, "out of memory");
	psk->short_allowed = config->insecure_short;
	if ((config->file && psk_file_read(psk, config->file, problem) < 0) ||
	    (config->keyring && psk_keyring_read(psk, config->keyring, problem) < 0) ||
	    order(psk, problem) < 0) {
		psk_free(psk);
		return -1;
	}
	*ret_psk = psk;
	return 0;
}

void psk_free(struct psk *psk)
{
	if (!psk)
		return;
	for (size_t i = 0; i < psk->count; i++) {
		struct entry *entry = &psk->entries[i];

		explicit_bzero(entry->bytes, entry->identity_size + entry->key_size);
		free(entry->bytes);
	}
	free(psk->entries);
	free(psk);
}

// ---- Finding ----

size_t psk_count(const struct psk *psk)
{
	return psk->count;
}

bool psk_find(const struct psk *psk, const void *identity, size_t size, gnutls_datum_t *ret_key)
{
	size_t low = 0, high = psk->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct entry *entry = &psk->entries[middle];
		int found = compare(identity, size, entry->bytes, entry->identity_size);

		if (found == 0) {
			ret_key->data = entry->bytes + entry->identity_size;
			ret_key->size = (unsigned)entry->key_size;
			return true;
		}
		if (found < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

bool psk_only(const struct psk *psk, struct psk_identity *ret_identity)
{
	if (psk->count != 1)
		return false;
	memcpy(ret_identity->bytes, psk->entries[0].bytes, psk->entries[0].identity_size);
	ret_identity->size = psk->entries[0].identity_size;
	return true;
}

// ---- GnuTLS's form ----

// Until 3.8.11 GnuTLS takes every key of TLS 1.3 for one of SHA-256.
static int server_allocate(bool sha384, gnutls_psk_server_credentials_t *ret_credentials)
{
	int (*allocate)(gnutls_psk_server_credentials_t *, gnutls_mac_algorithm_t);
	void *symbol;

	if (!sha384)
		return gnutls_psk_allocate_server_credentials(ret_credentials);
	symbol = dlsym(RTLD_DEFAULT, "gnutls_psk_allocate_server_credentials2");
	memcpy(&allocate, &symbol, sizeof(allocate));
	return symbol ? allocate(ret_credentials, GNUTLS_MAC_SHA384)
		      : GNUTLS_E_UNIMPLEMENTED_FEATURE;
}

static int client_allocate(bool sha384, gnutls_psk_client_credentials_t *ret_credentials)
{
	int (*allocate)(gnutls_psk_client_credentials_t *, gnutls_mac_algorithm_t);
	void *symbol;

	if (!sha384)
		return gnutls_psk_allocate_client_credentials(ret_credentials);
	symbol = dlsym(RTLD_DEFAULT, "gnutls_psk_allocate_client_credentials2");
	memcpy(&allocate, &symbol, sizeof(allocate));
	return symbol ? allocate(ret_credentials, GNUTLS_MAC_SHA384)
		      : GNUTLS_E_UNIMPLEMENTED_FEATURE;
}

bool psk_knows_sha384(void)
{
	return dlsym(RTLD_DEFAULT, "gnutls_psk_allocate_server_credentials2") != NULL;
}

static int allocation_failed(int error, struct problem *problem)
{
	if (error == GNUTLS_E_UNIMPLEMENTED_FEATURE)
		return problem_set(problem,
				   "psk-hash = SHA384 needs GnuTLS 3.8.11 or newer; this system has"
				   " %s",
				   gnutls_check_version(NULL));
	return problem_set(problem, "out of memory");
}

int psk_server_new(bool sha384, gnutls_dh_params_t dh,
		   gnutls_psk_server_credentials_function2 *find,
		   gnutls_psk_server_credentials_t *ret_credentials, struct problem *problem)
{
	int error = server_allocate(sha384, ret_credentials);

	if (error < 0)
		return allocation_failed(error, problem);
	gnutls_psk_set_server_credentials_function2(*ret_credentials, find);
	if (dh)
		gnutls_psk_set_server_dh_params(*ret_credentials, dh);
	return 0;
}

int psk_client_new(bool sha384, const gnutls_datum_t *identity, const gnutls_datum_t *key,
		   gnutls_psk_client_credentials_t *ret_credentials, struct problem *problem)
{
	int error = client_allocate(sha384, ret_credentials);

	if (error < 0) {
		allocation_failed(error, problem);
		return error;
	}
	error =
	    gnutls_psk_set_client_credentials2(*ret_credentials, identity, key, GNUTLS_PSK_KEY_RAW);
	if (error == 0)
		return 0;
	gnutls_psk_free_client_credentials(*ret_credentials);
	problem_set(problem, "the pre-shared key cannot be used: %s", gnutls_strerror(error));
	return error;
}
