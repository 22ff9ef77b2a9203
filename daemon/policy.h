/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may ask for what: a caller's request and the administrator's profile become a decision. A
 * request may tighten its profile, never loosen it. */
#ifndef POLICY_H
#define POLICY_H

#include <gnutls/gnutls.h>

#include "consumer-keys.h"
#include "kernel-request.h"
#include "loaded.h"
#include "outcome.h"
#include "psk.h"
#include "request.h"

/* Everything that one handshake needs to know. Plain data, copied by value; alpn points into itself
 * by index, profile into the generation's struct loaded. */
struct decision {
	const struct profile *profile;
	enum request_role role;
	char peer_name[HANDSHAKE_PEER_NAME_SIZE];
	char alpn[REQUEST_ALPN_MAX][REQUEST_ALPN_SIZE];
	unsigned alpn_count;
	bool alpn_required;
	enum config_client_certificates client_certificates;
	bool psk;                         /* pre-shared keys are offered or taken */
	bool psk_only;                    /* and no certificates */
	struct psk_identity psk_identity; /* of a client */
	enum config_records records;
	bool zero_copy; /* sendfile may send what the file has later */
	/* Sessions may be taken up again and tickets sent and asked for: not where the caller cannot meet a
	 * ticket later, as the kernel's own clients. */
	bool resume;
	uid_t uid;            /* of the program */
	uint32_t timeout_ms;  /* never 0 */
	bool trace;           /* the program wants to see it */
	bool unauthenticated; /* client: show no certificate, whatever the profile has */
	const struct consumer_keys
	    *keys; /* lent: of the request itself, instead of the profile's */
	/* Borrowed: that came with the request, instead of the profile's; NULL: none did. */
	gnutls_certificate_credentials_t certificate;
};

/* 0, or -1 with a failure of class request, denied or unsupported. */
int policy_decide(const struct loaded *loaded, const struct caller *caller,
		  const struct request *request, struct decision *ret_decision,
		  struct failure *failure);
/* May the caller see the handshakes of all users? 0, or -1 with a failure of class denied. */
int policy_decide_trace(const struct loaded *loaded, const struct caller *caller,
			struct failure *failure);
/* The same for a request of the kernel's own consumers: [kernel] in the configuration allows it. keys: that came
 * with it, or NULL; the decision refers to them. */
int policy_decide_kernel(const struct loaded *loaded, const struct kernel_request *request,
			 const struct consumer_keys *keys, struct decision *ret_decision,
			 struct failure *failure);

#endif
