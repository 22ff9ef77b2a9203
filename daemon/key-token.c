// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Seals and opens tokens. Touches memory, and a socket with getsockopt and getsockname alone. Must never
 * tell by its answers more of a forged token than that it is one, and never leave a secret behind.
 *
 * A token is: format (1), key id (4), salt (24), sealed content, tag (16). Each token has a key and a
 * nonce of its own, derived from the epoch's secret with the salt, so that no number of tokens wears
 * that secret out (NIST SP 800-38D, 8.3 bounds random nonces under one key).
 */
#include "key-token.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/crypto.h>

#include "key-schedule.h"

enum {
	FORMAT = 1,
	ID_AT = 1,
	SALT_AT = ID_AT + 4,
	SALT_SIZE = 24,
	HEADER_SIZE = SALT_AT + SALT_SIZE,
	TAG_SIZE = 16,
	SECRET_MAX = 48,
	/* cipher, role, secrets' size; uid, made, cookie; addresses; secrets */
	CONTENT_SIZE = 3 + 4 + 8 + 8 + 2 * KEY_TOKEN_ADDRESS_SIZE + 2 * SECRET_MAX,
	TOKEN_SIZE = HEADER_SIZE + CONTENT_SIZE + TAG_SIZE,
	KEY_SIZE = 32,
	NONCE_SIZE = 12,
};

static const uint64_t made_max = UINT64_C(1) << 40; /* seconds: no clock shows that */

_Static_assert((TOKEN_SIZE + 2) / 3 * 4 < TOKEN_TEXT_SIZE, "a token fits its text");

void key_token_wipe(struct key_token *token)
{
	explicit_bzero(token, sizeof(*token));
}

/* ---- The socket ---------------------------------------------------------------------------- */

static int address_read(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
			uint8_t ret_address[KEY_TOKEN_ADDRESS_SIZE])
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	} address;
	socklen_t size = sizeof(address);

	memset(&address, 0, sizeof(address));
	memset(ret_address, 0, KEY_TOKEN_ADDRESS_SIZE);
	if (get(fd, &address.any, &size) < 0)
		return -errno;
	ret_address[0] = (uint8_t)address.any.sa_family;
	if (address.any.sa_family == AF_INET) {
		memcpy(ret_address + 1, &address.in.sin_port, 2);
		memcpy(ret_address + 3, &address.in.sin_addr, 4);
	} else if (address.any.sa_family == AF_INET6) {
		memcpy(ret_address + 1, &address.in6.sin6_port, 2);
		memcpy(ret_address + 3, &address.in6.sin6_addr, 16);
	} else {
		return -EAFNOSUPPORT;
	}
	return 0;
}

static int get_local(int fd, struct sockaddr *address, socklen_t *size)
{
	return getsockname(fd, address, size);
}

static int get_remote(int fd, struct sockaddr *address, socklen_t *size)
{
	return getpeername(fd, address, size);
}

int key_token_identify_socket(int fd, struct key_token_socket *ret_socket)
{
	struct key_token_socket identity;
	socklen_t size = sizeof(identity.cookie);
	int error;

	memset(&identity, 0, sizeof(identity));
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &identity.cookie, &size) < 0)
		return -errno;
	error = address_read(fd, get_local, identity.local);
	if (error == 0)
		error = address_read(fd, get_remote, identity.remote);
	if (error == 0)
		*ret_socket = identity;
	return error;
}

bool key_token_same_socket(const struct key_token_socket *one, const struct key_token_socket *other)
{
	return one->cookie == other->cookie &&
	       memcmp(one->local, other->local, sizeof(one->local)) == 0 &&
	       memcmp(one->remote, other->remote, sizeof(one->remote)) == 0;
}

/* ---- Content ------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> 8 * (size - 1 - i));
	return at + size;
}

static const uint8_t *get(const uint8_t *at, uint64_t *ret_value, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | at[i];
	*ret_value = value;
	return at + size;
}

static void content_write(const struct key_token *token, uint8_t content[CONTENT_SIZE])
{
	uint8_t *at = content;

	at = put(at, token->keys.cipher, 1);
	at = put(at, token->keys.is_server, 1);
	at = put(at, token->keys.secret_size, 1);
	at = put(at, token->uid, 4);
	at = put(at, (uint64_t)token->made, 8);
	at = put(at, token->socket.cookie, 8);
	memcpy(at, token->socket.local, KEY_TOKEN_ADDRESS_SIZE);
	at += KEY_TOKEN_ADDRESS_SIZE;
	memcpy(at, token->socket.remote, KEY_TOKEN_ADDRESS_SIZE);
	at += KEY_TOKEN_ADDRESS_SIZE;
	memcpy(at, token->keys.transmit.secret, SECRET_MAX);
	memcpy(at + SECRET_MAX, token->keys.receive.secret, SECRET_MAX);
}

/* 0 or -EINVAL: no token of this program has such a content. */
static int content_read(const uint8_t content[CONTENT_SIZE], struct key_token *token)
{
	static const uint8_t key_sizes[CONFIG_CIPHERS] = {
	    [CONFIG_AES_128_GCM] = 16,
	    [CONFIG_AES_256_GCM] = 32,
	    [CONFIG_CHACHA20_POLY1305] = 32,
	    [CONFIG_AES_128_CCM] = 16,
	};
	const uint8_t *at = content;
	uint64_t cipher, is_server, secret_size, uid, made;

	at = get(at, &cipher, 1);
	at = get(at, &is_server, 1);
	at = get(at, &secret_size, 1);
	at = get(at, &uid, 4);
	at = get(at, &made, 8);
	at = get(at, &token->socket.cookie, 8);
	if (cipher >= CONFIG_CIPHERS || is_server > 1 || made > made_max ||
	    (secret_size != 32 && secret_size != 48))
		return -EINVAL;
	memcpy(token->socket.local, at, KEY_TOKEN_ADDRESS_SIZE);
	at += KEY_TOKEN_ADDRESS_SIZE;
	memcpy(token->socket.remote, at, KEY_TOKEN_ADDRESS_SIZE);
	at += KEY_TOKEN_ADDRESS_SIZE;
	memcpy(token->keys.transmit.secret, at, SECRET_MAX);
	memcpy(token->keys.receive.secret, at + SECRET_MAX, SECRET_MAX);
	token->uid = (uid_t)uid;
	token->made = (int64_t)made;
	token->keys.version = CONFIG_TLS13;
	token->keys.cipher = (enum config_cipher)cipher;
	token->keys.key_size = key_sizes[cipher];
	token->keys.secret_size = (uint8_t)secret_size;
	token->keys.is_server = is_server;
	return 0;
}

/* ---- The seal ------------------------------------------------------------------------------ */

struct seal {
	uint8_t key[KEY_SIZE];
	uint8_t nonce[NONCE_SIZE];
};

static int seal_derive(const struct secret *secret, const uint8_t salt[SALT_SIZE],
		       struct seal *ret_seal)
{
	static const char label[] = "handshaked token 1";
	uint8_t info[sizeof(label) + SALT_SIZE];
	gnutls_datum_t key = {(uint8_t *)secret->key, sizeof(secret->key)};
	gnutls_datum_t info_datum = {info, sizeof(info)};

	memcpy(info, label, sizeof(label));
	memcpy(info + sizeof(label), salt, SALT_SIZE);
	return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info_datum, ret_seal,
				  sizeof(*ret_seal)) < 0
		   ? -EIO
		   : 0;
}

/* Encrypts or decrypts; the header is authenticated with it. 0 or -EIO, -EBADMSG. */
static int seal_apply(const struct seal *seal, bool open, const uint8_t *header, const uint8_t *in,
		      size_t in_size, uint8_t *out, size_t out_size)
{
	gnutls_datum_t key = {(uint8_t *)seal->key, sizeof(seal->key)};
	gnutls_aead_cipher_hd_t aead;
	size_t size = out_size;
	int r;

	if (gnutls_aead_cipher_init(&aead, GNUTLS_CIPHER_AES_256_GCM, &key) < 0)
		return -EIO;
	r = open ? gnutls_aead_cipher_decrypt(aead, seal->nonce, NONCE_SIZE, header, HEADER_SIZE,
					      TAG_SIZE, in, in_size, out, &size)
		 : gnutls_aead_cipher_encrypt(aead, seal->nonce, NONCE_SIZE, header, HEADER_SIZE,
					      TAG_SIZE, in, in_size, out, &size);
	gnutls_aead_cipher_deinit(aead);
	if (r < 0 || size != out_size)
		return open ? -EBADMSG : -EIO;
	return 0;
}

static int text_encode(const uint8_t *bytes, size_t size, char ret_text[TOKEN_TEXT_SIZE])
{
	gnutls_datum_t in = {(uint8_t *)bytes, (unsigned)size}, out = {NULL, 0};

	if (gnutls_base64_encode2(&in, &out) < 0)
		return -EIO;
	if (out.size < TOKEN_TEXT_SIZE) {
		memcpy(ret_text, out.data, out.size);
		ret_text[out.size] = '\0';
	}
	gnutls_free(out.data);
	return out.size < TOKEN_TEXT_SIZE ? 0 : -EIO;
}

int key_token_seal(const struct secrets *secrets, const struct key_token *token,
		   char ret_text[TOKEN_TEXT_SIZE])
{
	struct secret epochs[SECRET_EPOCHS];
	uint8_t bytes[TOKEN_SIZE], content[CONTENT_SIZE];
	struct seal seal;
	int error = -EIO;

	if (secrets_get(secrets, SECRET_TOKEN, epochs) == 0)
		return -ENOKEY;
	bytes[0] = FORMAT;
	put(bytes + ID_AT, epochs[0].id, 4);
	content_write(token, content);
	if (gnutls_rnd(GNUTLS_RND_NONCE, bytes + SALT_AT, SALT_SIZE) >= 0 &&
	    seal_derive(&epochs[0], bytes + SALT_AT, &seal) == 0)
		error = seal_apply(&seal, false, bytes, content, sizeof(content),
				   bytes + HEADER_SIZE, CONTENT_SIZE + TAG_SIZE);
	if (error == 0)
		error = text_encode(bytes, sizeof(bytes), ret_text);
	explicit_bzero(epochs, sizeof(epochs));
	explicit_bzero(content, sizeof(content));
	explicit_bzero(&seal, sizeof(seal));
	return error;
}

static int refuse(struct failure *failure, enum failure_class class, const char *sentence)
{
	failure_set(failure, class, false, "%s", sentence);
	return -1;
}

/* The text is taken only in the one form in which it was given out. */
static int text_decode(const char *text, uint8_t ret_bytes[TOKEN_SIZE])
{
	char again[TOKEN_TEXT_SIZE];
	gnutls_datum_t in = {(uint8_t *)text, (unsigned)strlen(text)}, out = {NULL, 0};
	bool good;

	if (in.size >= TOKEN_TEXT_SIZE || gnutls_base64_decode2(&in, &out) < 0)
		return -EINVAL;
	good = out.size == TOKEN_SIZE && text_encode(out.data, out.size, again) == 0 &&
	       strcmp(text, again) == 0;
	if (good)
		memcpy(ret_bytes, out.data, TOKEN_SIZE);
	gnutls_free(out.data);
	return good ? 0 : -EINVAL;
}

/* 0, -ENOKEY: nobody here has the key; -EBADMSG: forged or damaged. */
static int content_open(const struct secrets *secrets, const uint8_t bytes[TOKEN_SIZE],
			uint8_t ret_content[CONTENT_SIZE])
{
	struct secret epochs[SECRET_EPOCHS];
	unsigned count = secrets_get(secrets, SECRET_TOKEN, epochs);
	struct seal seal;
	uint64_t id;
	int error = -ENOKEY;

	get(bytes + ID_AT, &id, 4);
	for (unsigned i = 0; i < count && error == -ENOKEY; i++) {
		if (epochs[i].id != id)
			continue;
		error = seal_derive(&epochs[i], bytes + SALT_AT, &seal);
		if (error == 0)
			error = seal_apply(&seal, true, bytes, bytes + HEADER_SIZE,
					   CONTENT_SIZE + TAG_SIZE, ret_content, CONTENT_SIZE);
	}
	explicit_bzero(epochs, sizeof(epochs));
	explicit_bzero(&seal, sizeof(seal));
	return error;
}

int key_token_open(const struct secrets *secrets, const char *text, int64_t now,
		   struct key_token *ret_token, struct failure *failure)
{
	uint8_t bytes[TOKEN_SIZE], content[CONTENT_SIZE];
	struct key_token token;
	int error;

	if (text_decode(text, bytes) < 0 || bytes[0] != FORMAT)
		return refuse(failure, FAILURE_REQUEST,
			      "The token is not one of handshaked's: send it as the reply gave it");
	error = content_open(secrets, bytes, content);
	/* What was decrypted before the tag was judged. */
	if (error < 0)
		explicit_bzero(content, sizeof(content));
	if (error == -ENOKEY)
		return refuse(
		    failure, FAILURE_DENIED,
		    "The token's key is not known: it is damaged, older than seven weeks, "
		    "or of before a restart of a daemon without [daemon] state-directory; "
		    "open a new connection");
	if (error < 0)
		return refuse(failure, FAILURE_DENIED,
			      "The token is damaged or forged: send it as the reply gave it");
	memset(&token, 0, sizeof(token));
	error = content_read(content, &token);
	explicit_bzero(content, sizeof(content));
	if (error == 0)
		error = key_schedule_derive(&token.keys, &token.keys.transmit);
	if (error == 0)
		error = key_schedule_derive(&token.keys, &token.keys.receive);
	if (error == 0 && (now < token.made - 3600 || now - token.made > KEY_TOKEN_LIFETIME_S)) {
		key_token_wipe(&token);
		return refuse(failure, FAILURE_DENIED,
			      "The token is older than seven weeks: open a new connection");
	}
	if (error == 0)
		*ret_token = token;
	key_token_wipe(&token);
	if (error < 0)
		return refuse(failure, FAILURE_INTERNAL, "The token's keys cannot be derived");
	return 0;
}
