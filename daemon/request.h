/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a program asks for, read from its packet and checked for form; nothing is decided here. */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "handshake-protocol.h"
#include "message.h"
#include "outcome.h"
#include "psk.h"

enum request_operation {
	REQUEST_HANDSHAKE,
	REQUEST_LISTEN,
	REQUEST_UPDATE_KEY,
	REQUEST_CANCEL,
	REQUEST_STATUS,
	REQUEST_TRACE,
};

enum request_role {
	REQUEST_CLIENT = CONFIG_ROLE_CLIENT,
	REQUEST_SERVER = CONFIG_ROLE_SERVER,
};

enum { REQUEST_ALPN_MAX = 8, REQUEST_ALPN_SIZE = 32 }; /* what GnuTLS 3.7 can hold */

enum { REQUEST_ADDRESS_SIZE = 64 };

struct request {
	enum request_operation operation;
	uint64_t id; /* 0: none could be read */
	enum request_role role;
	char profile[HANDSHAKE_PROFILE_NAME_SIZE];
	char peer_name[HANDSHAKE_PEER_NAME_SIZE]; /* "" if none */
	char alpn[REQUEST_ALPN_MAX][REQUEST_ALPN_SIZE];
	unsigned alpn_count; /* 0: the profile's */
	uint32_t timeout_ms; /* 0: the profile's */
	bool records_given;
	enum config_records records; /* kernel or relay, if given */
	bool require_client_certificate;
	bool early_data; /* the second descriptor is a memfd: what to send in the first flight */
	struct psk_identity psk_identity; /* size 0: the profile's */
	/* update-key: */
	char token[TOKEN_TEXT_SIZE]; /* "" if none */
	bool update_receive, update_transmit;
	bool request_update;
	bool trace;
	/* Of the operation trace, with role and profile if they are given: */
	bool role_given, profile_given, trace_user_given, trace_failed;
	uid_t trace_user;
	char trace_peer[REQUEST_ADDRESS_SIZE]; /* "" if none */
	bool no_resume;                        /* resume=no */
};

/* Who asks, as the kernel says (SO_PEERCRED, SO_PEERGROUPS), never as the caller says. */
struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	gid_t groups[256];
	unsigned group_count;
};

/* Reads a parsed message. 0, or -1 with a failure of class request; ret_request->id is set as soon
 * as it could be read, so that the refusal can name it. */
int request_read(const struct message *message, struct request *ret_request,
		 struct failure *failure);
/* 0 or -errno. */
int caller_identify(int unix_socket, struct caller *ret_caller);

#endif
