/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said to the signer: the supervisor's orders, each with a report, on one SOCK_SEQPACKET pair; a
 * worker's requests and their answers on another, several in one packet, answered in any order. Both
 * sides are the same program. */
#ifndef SIGNER_PROTOCOL_H
#define SIGNER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "problem.h"

/* ---- The supervisor's orders ---- */

enum signer_command {
	SIGNER_SETUP = 1, /* first: who to become, what to sign with; no report */
	SIGNER_MODULE,    /* another PKCS#11 module (source); no report */
	SIGNER_LOAD,      /* a key: its file or URL (source), its PIN's file or "" */
	SIGNER_SEAL,      /* no more keys: give up privileges and files */
	SIGNER_CONNECT,   /* with a descriptor: another worker's end; no report */
	SIGNER_LEND,      /* a key that came with a request, for as long as that lasts */
	SIGNER_FORGET,    /* the end of that; no report */
};

enum { SIGNER_SOURCE_SIZE = 4096, SIGNER_PUBLIC_MAX = 8192, SIGNER_ID_SIZE = 32 };
/* Numbers of keys that are lent begin here, above those of all that are loaded. */
#define SIGNER_LENT_FIRST (1u << 31)
enum { SIGNER_LENT_MAX = 1024, SIGNER_LENT_SIZE_MAX = 2 * SIGNER_SOURCE_SIZE };

struct signer_order {
	uint32_t command;
	uint32_t uid, gid;  /* with SETUP: of the user that it becomes; as root stays root: uid 0 */
	uint32_t log_level; /* enum config_log_level */
	uint32_t engine;    /* enum config_signer_engine */
	uint32_t threads;   /* for each worker */
	uint32_t number;    /* with LOAD, LEND, FORGET: the key's, by which requests name it */
	uint32_t size;      /* with LEND: of key */
	union {
		struct {
			char source[SIGNER_SOURCE_SIZE];
			char pin_file[SIGNER_SOURCE_SIZE];
		};
		uint8_t key[SIGNER_LENT_SIZE_MAX]; /* with LEND: DER or PEM; to be wiped */
	};
};

enum signer_verdict {
	SIGNER_GOOD,
	SIGNER_BAD,       /* the problem says why */
	SIGNER_PIN_WRONG, /* likewise, and trying again may lock the token */
	SIGNER_FULL, /* likewise, and says nothing of the key: later there may be room for it */
};

struct signer_report {
	uint32_t command,
	    number; /* the order's: one that nobody waits for any more is known by them */
	uint32_t verdict;
	/* Of a key: */
	uint32_t algorithm;         /* gnutls_pk_algorithm_t */
	uint32_t bits;              /* as gnutls_privkey_get_pk_algorithm() tells them */
	uint32_t token;             /* 1: it lies on a PKCS#11 token */
	uint32_t pss;               /* 1: an RSA key that also signs by RSASSA-PSS */
	uint8_t id[SIGNER_ID_SIZE]; /* SHA-256 of the public key */
	uint32_t public_size;
	uint8_t public_key[SIGNER_PUBLIC_MAX]; /* SubjectPublicKeyInfo, DER */
	struct problem problem;
};

/* fd goes with it, unless -1. Waits at most a second for room. 0 or -errno. */
int signer_order_send(int control, const struct signer_order *order, int fd);
/* The same without a descriptor and without waiting. 0, -EAGAIN: there is no room, or -errno. */
int signer_order_try(int control, const struct signer_order *order);
/* Waits for the next. 1, 0: the supervisor is gone, or -errno. ret_fd: the caller's, -1 where none. */
int signer_order_receive(int control, struct signer_order *ret_order, int *ret_fd);

/* ---- A worker's requests ---- */

enum {
	SIGNER_PACKET_MAX = 32 * 1024, /* bytes */
	SIGNER_DATA_MAX = 8 * 1024,    /* of one request or answer */
	SIGNER_BATCH_MAX = 8,          /* requests in one packet, so that threads share the work */
	SIGNER_PREMASTER_SIZE = 48,    /* RFC 5246, 7.4.7.1 */
};

enum signer_kind {
	SIGNER_SIGN_HASH = 1,
	SIGNER_SIGN_DATA,
	SIGNER_DECRYPT, /* a premaster secret: whatever was encrypted, 48 bytes are the answer */
};

/* Each followed by size bytes, then padding to a multiple of eight. */
struct signer_request {
	uint64_t id;
	uint32_t key; /* its number */
	uint32_t kind;
	uint32_t algorithm; /* gnutls_sign_algorithm_t */
	uint32_t size;
};

struct signer_answer {
	uint64_t id;
	int32_t error; /* a GnuTLS error, or 0 */
	uint32_t size;
};

struct signer_packet {
	size_t size; /* bytes that are filled */
	unsigned count;
	_Alignas(8) uint8_t bytes[SIGNER_PACKET_MAX];
};

/* Appends head (of either kind) and its bytes. false: it does not fit any more. */
bool signer_packet_add(struct signer_packet *packet, const void *head, size_t head_size,
		       const void *data, size_t size);
/* Takes the next request or answer at *position. 1, 0 at the end, -1: this is none. The bytes are the
 * packet's. */
int signer_packet_request(const struct signer_packet *packet, size_t *position,
			  struct signer_request *ret_request, const uint8_t **ret_data);
int signer_packet_answer(const struct signer_packet *packet, size_t *position,
			 struct signer_answer *ret_answer, const uint8_t **ret_data);
/* One packet, with flags as MSG_DONTWAIT. send: 0 or -errno. receive: 1, 0 at the end, -errno. */
int signer_packet_send(int fd, const struct signer_packet *packet, int flags);
int signer_packet_receive(int fd, struct signer_packet *ret_packet, int flags);

#endif
