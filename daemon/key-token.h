/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sealed token of a connection: what its key updates need, in the program's keeping, so that the
 * daemon keeps nothing. Opaque to the program, bound to the socket and to its user. */
#ifndef KEY_TOKEN_H
#define KEY_TOKEN_H

#include <sys/types.h>

#include "outcome.h"
#include "secrets.h"
#include "traffic-keys.h"

enum {
	KEY_TOKEN_ADDRESS_SIZE = 1 + 2 + 16, /* family, port, address */
	/* The key that a token is sealed with is forgotten at about the same time. */
	KEY_TOKEN_LIFETIME_S = 7 * 7 * 24 * 60 * 60,
};

/* Which socket it is: SO_COOKIE, and as cookies begin anew with each boot, its addresses. */
struct key_token_socket {
	uint64_t cookie;
	uint8_t local[KEY_TOKEN_ADDRESS_SIZE];
	uint8_t remote[KEY_TOKEN_ADDRESS_SIZE];
};

struct key_token {
	/* TLS 1.3; of each direction the secret alone is kept, key and nonce follow from it. */
	struct traffic_keys keys;
	uid_t uid;    /* of the program that asked for the handshake */
	int64_t made; /* seconds, as time(2) */
	struct key_token_socket socket;
};

/* 0 or -errno. */
int key_token_identify_socket(int fd, struct key_token_socket *ret_socket);
bool key_token_same_socket(const struct key_token_socket *one,
			   const struct key_token_socket *other);
/* Writes base64 text with its NUL. 0, or -EIO. */
int key_token_seal(const struct secrets *secrets, const struct key_token *token,
		   char ret_text[TOKEN_TEXT_SIZE]);
/* Opens it and derives the keys. 0, or -1 with a failure. The token is the caller's to wipe. */
int key_token_open(const struct secrets *secrets, const char *text, int64_t now,
		   struct key_token *ret_token, struct failure *failure);
void key_token_wipe(struct key_token *token);

#endif
