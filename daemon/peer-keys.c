// SPDX-License-Identifier: LGPL-2.1-or-later
// Puts peers' certificates into a keyring of this thread. Touches that keyring alone. Believes no descriptor
// to be what it should, and parses nothing of what is in it.
#include "peer-keys.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <keyutils.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_NAME "handshaked:peers"
#define KEY_NAME  "handshaked:peer:"

enum {
	DIGEST_SIZE = 32,
	ROOM = PEER_KEYS_MAX + 1, /* for a moment there is one too many */
	/* Public as they are: whoever is this user may look at them, too. */
	PERMISSIONS = KEY_POS_ALL | KEY_USR_VIEW | KEY_USR_READ,
};

struct peer_keys {
	key_serial_t ring; /* 0: not made yet */
	key_serial_t serials[ROOM];
	unsigned oldest, count; /* a ring in both senses */
};

struct peer_keys *peer_keys_new(void)
{
	return calloc(1, sizeof(struct peer_keys));
}

void peer_keys_free(struct peer_keys *peers)
{
	if (peers && peers->ring > 0)
		keyctl_unlink(peers->ring, KEY_SPEC_THREAD_KEYRING);
	free(peers);
}

static bool oldest_drop(struct peer_keys *peers)
{
	if (peers->count == 0)
		return false;
	keyctl_unlink(peers->serials[peers->oldest], peers->ring);
	peers->oldest = (peers->oldest + 1) % ROOM;
	peers->count--;
	return true;
}

// Behind all others: the last one to go.
static void serial_note(struct peer_keys *peers, key_serial_t serial)
{
	unsigned i = 0;

	while (i < peers->count && peers->serials[(peers->oldest + i) % ROOM] != serial)
		i++;
	for (; i + 1 < peers->count; i++)
		peers->serials[(peers->oldest + i) % ROOM] =
		    peers->serials[(peers->oldest + i + 1) % ROOM];
	if (i >= peers->count)
		peers->count++;
	peers->serials[(peers->oldest + peers->count - 1) % ROOM] = serial;
}

// What is sealed cannot change or make a reader wait.
static ssize_t certificate_read(int fd, unsigned char certificate[PEER_CERTIFICATE_MAX])
{
	const int needed = F_SEAL_SHRINK | F_SEAL_WRITE;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat status;

	if (seals < 0 || (seals & needed) != needed || fstat(fd, &status) < 0)
		return -EPROTO;
	if (status.st_size <= 0 || status.st_size > PEER_CERTIFICATE_MAX)
		return -EMSGSIZE;
	return pread(fd, certificate, (size_t)status.st_size, 0) == status.st_size ? status.st_size
										   : -EIO;
}

static int name_make(const unsigned char *certificate, size_t size, char *name, size_t room)
{
	unsigned char digest[DIGEST_SIZE];
	size_t length = strlen(KEY_NAME);

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, certificate, size, digest) < 0)
		return -EIO;
	snprintf(name, room, KEY_NAME);
	for (int i = 0; i < DIGEST_SIZE; i++, length += 2)
		snprintf(name + length, room - length, "%02x", digest[i]);
	return 0;
}

// Where this user's quota is used up, others make room.
static key_serial_t key_make(struct peer_keys *peers, const char *name,
			     const unsigned char *certificate, size_t size)
{
	key_serial_t serial;

	do
		serial = add_key("user", name, certificate, size, peers->ring);
	while (serial < 0 && errno == EDQUOT && oldest_drop(peers));
	return serial;
}

int32_t peer_keys_add(struct peer_keys *peers, int fd, int *ret_error)
{
	static unsigned char certificate[PEER_CERTIFICATE_MAX];
	char name[sizeof(KEY_NAME) + DIGEST_SIZE + DIGEST_SIZE];
	key_serial_t serial = -1;
	ssize_t size;

	if (peers->ring <= 0)
		peers->ring = add_key("keyring", RING_NAME, NULL, 0, KEY_SPEC_THREAD_KEYRING);
	if (peers->ring <= 0) {
		*ret_error = -errno;
		return 0;
	}
	*ret_error = 0;
	if (fd < 0)
		return peers->ring;
	size = certificate_read(fd, certificate);
	*ret_error =
	    size < 0 ? (int)size : name_make(certificate, (size_t)size, name, sizeof(name));
	if (*ret_error == 0) {
		serial = key_make(peers, name, certificate, (size_t)size);
		*ret_error = serial < 0 ? -errno : 0;
	}
	if (serial < 0)
		return peers->ring;
	keyctl_setperm(serial, PERMISSIONS);
	keyctl_set_timeout(serial, PEER_KEYS_LIFE_S);
	serial_note(peers, serial);
	if (peers->count > PEER_KEYS_MAX)
		oldest_drop(peers);
	return serial;
}
