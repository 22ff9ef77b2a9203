// SPDX-License-Identifier: LGPL-2.1-or-later
// Keys of the kernel's keyrings as bytes: one behind the other, in memory and in the memfd that carries
// them. Holds secrets: wipes whatever it lets go of, compares identities whole, and writes nothing else.
#include "consumer-keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct record { // the identity and the key follow
	int32_t serial;
	uint16_t identity_size;
	uint16_t key_size;
};

enum { SIZE_MAX_PACKED = CONSUMER_KEYS_MAX * (sizeof(struct record) + 521 + CONSUMER_KEY_MAX) };

struct consumer_keys {
	unsigned char *bytes;
	size_t size, room;
	unsigned count;
};

bool consumer_key_is_nvme(const void *identity, size_t size, bool *ret_sha384)
{
	const char *text = identity;

	if (size < 10 || size > CONSUMER_KEY_IDENTITY_MAX || memcmp(text, "NVMe", 4) != 0 ||
	    (text[4] != '0' && text[4] != '1') || (text[5] != 'R' && text[5] != 'G') ||
	    text[6] != '0' || (text[7] != '1' && text[7] != '2') || text[8] != ' ')
		return false;
	*ret_sha384 = text[7] == '2';
	return true;
}

// ---- A set ----

struct consumer_keys *consumer_keys_new(void)
{
	return calloc(1, sizeof(struct consumer_keys));
}

static void bytes_free(unsigned char *bytes, size_t size)
{
	if (bytes)
		explicit_bzero(bytes, size);
	free(bytes);
}

void consumer_keys_free(struct consumer_keys *keys)
{
	if (!keys)
		return;
	bytes_free(keys->bytes, keys->size);
	free(keys);
}

// Not by realloc(), which leaves a copy behind.
static int room_make(struct consumer_keys *keys, size_t needed)
{
	size_t room = keys->room ? keys->room : 1024;
	unsigned char *larger;

	while (room < keys->size + needed)
		room *= 2;
	if (room == keys->room)
		return 0;
	larger = malloc(room);
	if (!larger)
		return -ENOMEM;
	if (keys->size)
		memcpy(larger, keys->bytes, keys->size);
	bytes_free(keys->bytes, keys->size);
	keys->bytes = larger;
	keys->room = room;
	return 0;
}

static bool sizes_fit(size_t identity_size, size_t key_size)
{
	return identity_size > 0 && identity_size <= CONSUMER_KEY_IDENTITY_MAX &&
	       key_size >= CONSUMER_KEY_MIN && key_size <= CONSUMER_KEY_MAX;
}

int consumer_keys_add(struct consumer_keys *keys, const struct consumer_key *key)
{
	struct record record = {
	    .serial = key->serial,
	    .identity_size = (uint16_t)key->identity_size,
	    .key_size = (uint16_t)key->key_size,
	};
	int error;

	if (!sizes_fit(key->identity_size, key->key_size))
		return -EINVAL;
	if (keys->count == CONSUMER_KEYS_MAX)
		return -E2BIG;
	error = room_make(keys, sizeof(record) + key->identity_size + key->key_size);
	if (error < 0)
		return error;
	memcpy(keys->bytes + keys->size, &record, sizeof(record));
	keys->size += sizeof(record);
	memcpy(keys->bytes + keys->size, key->identity, key->identity_size);
	keys->size += key->identity_size;
	memcpy(keys->bytes + keys->size, key->key, key->key_size);
	keys->size += key->key_size;
	keys->count++;
	return 0;
}

// The one at a place, and the place of the next. false: there is none, or it is none.
static bool key_at(const struct consumer_keys *keys, size_t *at, struct consumer_key *ret_key)
{
	size_t left = keys->size - *at;
	struct record record;

	if (left < sizeof(record))
		return false;
	memcpy(&record, keys->bytes + *at, sizeof(record));
	left -= sizeof(record);
	if (!sizes_fit(record.identity_size, record.key_size) ||
	    (size_t)record.identity_size + record.key_size > left)
		return false;
	ret_key->serial = record.serial;
	ret_key->identity = keys->bytes + *at + sizeof(record);
	ret_key->identity_size = record.identity_size;
	ret_key->key = ret_key->identity + record.identity_size;
	ret_key->key_size = record.key_size;
	*at += sizeof(record) + record.identity_size + record.key_size;
	return true;
}

unsigned consumer_keys_count(const struct consumer_keys *keys)
{
	return keys->count;
}

size_t consumer_keys_size(const struct consumer_keys *keys)
{
	return keys->size;
}

bool consumer_keys_find(const struct consumer_keys *keys, const void *identity, size_t size,
			struct consumer_key *ret_key)
{
	struct consumer_key key;
	size_t at = 0;

	while (key_at(keys, &at, &key)) {
		if (key.identity_size != size || memcmp(key.identity, identity, size) != 0)
			continue;
		*ret_key = key;
		return true;
	}
	return false;
}

bool consumer_keys_first(const struct consumer_keys *keys, struct consumer_key *ret_key)
{
	size_t at = 0;

	return key_at(keys, &at, ret_key);
}

int consumer_keys_serials(const struct consumer_keys *keys, int32_t **ret_serials)
{
	int32_t *serials = calloc(keys->count + 1, sizeof(*serials));
	struct consumer_key key;
	size_t at = 0;

	if (!serials)
		return -ENOMEM;
	for (unsigned i = 0; i < keys->count && key_at(keys, &at, &key); i++)
		serials[i] = key.serial;
	*ret_serials = serials;
	return 0;
}

// ---- On its way ----

static int memory_write(int fd, const unsigned char *bytes, size_t size)
{
	size_t written = 0;

	while (written < size) {
		ssize_t n = pwrite(fd, bytes + written, size - written, (off_t)written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		written += (size_t)n;
	}
	return 0;
}

static int memory_read(int fd, unsigned char *bytes, size_t size)
{
	size_t taken = 0;

	while (taken < size) {
		ssize_t n = pread(fd, bytes + taken, size - taken, (off_t)taken);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		taken += (size_t)n;
	}
	return 0;
}

static void memory_wipe(int fd, size_t size)
{
	static const unsigned char nothing[4096];

	for (size_t at = 0; at < size; at += sizeof(nothing)) {
		size_t part = size - at < sizeof(nothing) ? size - at : sizeof(nothing);

		if (pwrite(fd, nothing, part, (off_t)at) < 0)
			return;
	}
}

int consumer_keys_pack(const struct consumer_keys *keys)
{
	int fd = memfd_create("handshake-keys", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error = fd < 0 ? -errno : memory_write(fd, keys->bytes, keys->size);

	// Not against writing: who reads it wipes it.
	if (error == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		error = -errno;
	if (error == 0)
		return fd;
	if (fd >= 0)
		consumer_keys_discard(fd);
	return error;
}

static int keys_check(struct consumer_keys *keys)
{
	struct consumer_key key;
	size_t at = 0;

	while (key_at(keys, &at, &key))
		keys->count++;
	return at == keys->size && keys->count <= CONSUMER_KEYS_MAX ? 0 : -EPROTO;
}

int consumer_keys_unpack(int fd, struct consumer_keys **ret_keys)
{
	struct consumer_keys *keys = consumer_keys_new();
	off_t size = lseek(fd, 0, SEEK_END);
	int error = keys ? 0 : -ENOMEM;

	if (error == 0 && (size < 0 || size > SIZE_MAX_PACKED))
		error = -EPROTO;
	if (error == 0) {
		keys->room = keys->size = (size_t)size;
		keys->bytes = malloc(keys->size + 1);
		error = keys->bytes ? memory_read(fd, keys->bytes, keys->size) : -ENOMEM;
	}
	if (error == 0)
		error = keys_check(keys);
	consumer_keys_discard(fd);
	if (error == 0)
		*ret_keys = keys;
	else
		consumer_keys_free(keys);
	return error;
}

void consumer_keys_discard(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size > 0)
		memory_wipe(fd, (size_t)size);
	close(fd);
}
