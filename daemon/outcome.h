/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a handshake ended, and everything that is known about it: what a reply tells. */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake-protocol.h"
#include "phases.h"

enum outcome_state {
	OUTCOME_UNTOUCHED,
	OUTCOME_ESTABLISHED,
	OUTCOME_POISONED,
};

/* The classes of handshake-protocol.h, in its order. */
enum failure_class {
	FAILURE_NONE,
	FAILURE_REQUEST,
	FAILURE_DENIED,
	FAILURE_BUSY,
	FAILURE_UNSUPPORTED,
	FAILURE_TIMEOUT,
	FAILURE_CANCELLED,
	FAILURE_CLOSED,
	FAILURE_ALERT,
	FAILURE_NEGOTIATION,
	FAILURE_VERIFICATION,
	FAILURE_PROTOCOL,
	FAILURE_INTERNAL,
};

enum alert_direction {
	ALERT_NONE,
	ALERT_SENT,
	ALERT_RECEIVED,
};

struct failure {
	enum failure_class class;
	bool retry;
	enum alert_direction alert_direction;
	uint8_t alert; /* number; valid unless ALERT_NONE */
	char verification[256];
	char sentence[512];
};

enum { IDENTITY_NAMES_MAX = 32, IDENTITY_NAME_SIZE = 264 };
enum { RECORDS_REASON_SIZE = 256 };
enum { TOKEN_TEXT_SIZE = 320 }; /* bytes of a sealed token with its NUL; see key-token.h */

/* The peer's certificate. NULL and empty strings where there is none: most handshakes see no certificate, so
 * that what is large is not part of each one's memory. */
struct identity {
	bool present;
	bool authenticated; /* verified against the profile's trust */
	char *subject;      /* owned */
	char *issuer;       /* owned */
	char sha256[65];
	char public_key_sha256[65]; /* of a raw public key, which is shown without a certificate */
	char (*names)[IDENTITY_NAME_SIZE]; /* "dns:…", "ip:…", "email:…", "uri:…"; owned */
	unsigned name_count;
	char *chain; /* PEM of at most HANDSHAKE_CHAIN_SIZE bytes, owned; NULL: none */
};

struct outcome {
	enum outcome_state state;
	struct failure failure; /* class FAILURE_NONE when established */
	/* When established; words as in handshake-protocol.h: */
	const char *version;
	const char *cipher;
	char suite[64];
	const char *key_exchange;
	char group[32];
	char alpn[256];
	char server_name[256];
	bool resumed;
	char psk_identity[HANDSHAKE_PSK_IDENTITY_SIZE]; /* as text; "": none was used */
	int32_t key_serial;             /* of one that the kernel's request brought; 0: none */
	const char *client_certificate; /* client: "sent", "none", "not-asked"; NULL: as server */
	const char *transmit;           /* "nic", "kernel", "relay" */
	const char *receive;
	char records_reason
	    [RECORDS_REASON_SIZE]; /* why relay, or why it is not known whether nic; "" otherwise */
	const char *zero_copy;     /* "yes", "no"; NULL: the profile does not allow it */
	char zero_copy_reason[128]; /* why not, although it does */
	uint64_t microseconds;
	uint64_t phases[PHASE_COUNT]; /* microseconds; their sum is the above */
	struct identity identity;
	char token[TOKEN_TEXT_SIZE];   /* "": none */
	const char *early_data;        /* "accepted", "rejected"; NULL: none was offered */
	const char *early_data_reason; /* of a rejection, NULL where it is not known */
	/* Owned descriptors for the program, -1 where there is none: */
	int relay_fd;
	int relay_state_fd;
	int relay_control_fd;
	int tickets_fd;    /* for a server's tickets; see parking.h */
	int early_data_fd; /* a memfd: what a client sent */
	int trace_fd;      /* a memfd; also of a failure */
};

/* Records a failure unless there is one already; verification and alert stay as they are. */
void failure_set(struct failure *failure, enum failure_class class, bool retry, const char *format,
		 ...) __attribute__((format(printf, 4, 5)));

/* Frees what it owns. */
void identity_done(struct identity *identity);
/* Empty, UNTOUCHED, descriptors -1. */
void outcome_init(struct outcome *outcome);
/* Closes and frees what the outcome owns. */
void outcome_done(struct outcome *outcome);
/* Records the first failure; later ones are ignored. Does not touch the state. */
void outcome_fail(struct outcome *outcome, enum failure_class class, bool retry, const char *format,
		  ...) __attribute__((format(printf, 4, 5)));
const char *failure_class_word(enum failure_class class);
const char *outcome_state_word(enum outcome_state state);

#endif
