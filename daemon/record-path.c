// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The way of a connection's records. Touches its socket, but for its flags and its bytes, and the relay's
 * socket; must never let records go another way than the decision allows.
 */
#include "record-path.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "key-token.h"
#include "offload-relay.h"

int record_path_prepare(struct record_path *path, struct failure *failure)
{
	const struct kernel_tls *kernel = path->surroundings->kernel;
	bool must = path->decision->records == CONFIG_RECORDS_KERNEL;
	char reason[RECORDS_REASON_SIZE] = "";
	int error = -ENOENT;

	if (path->decision->records == CONFIG_RECORDS_RELAY) {
		snprintf(path->reason, sizeof(path->reason), "records = relay was asked for");
	} else {
		if (kernel->available)
			error = offload_kernel_attach(path->fd, reason, sizeof(reason));
		else
			snprintf(reason, sizeof(reason), "%s", kernel->reason);
		if (error == 0)
			return 0;
		if (error == -ENOTCONN) {
			failure_set(failure, FAILURE_CLOSED, false,
				    "The peer has already ended the TCP connection");
			return -1;
		}
		if (must) {
			failure_set(failure, FAILURE_UNSUPPORTED, false,
				    "Kernel records are asked for, but cannot be had: %s", reason);
			return -1;
		}
		snprintf(path->reason, sizeof(path->reason), "%s", reason);
	}
	if (path->surroundings->relay_socket >= 0)
		return 0;
	failure_set(failure, FAILURE_UNSUPPORTED, false,
		    "Records would have to be relayed (%s), but the daemon has no relay",
		    path->reason);
	return -1;
}

/* What the program can have the keys updated with. Without it the connection is as good, but for that. */
static void path_seal(const struct record_path *path, const struct traffic_keys *keys,
		      struct outcome *outcome)
{
	struct key_token token = {.keys = *keys, .uid = path->uid, .made = time(NULL)};

	if (path->surroundings->secrets == NULL || keys->version != CONFIG_TLS13 ||
	    key_token_identify_socket(path->fd, &token.socket) < 0 ||
	    key_token_seal(path->surroundings->secrets, &token, outcome->token) < 0)
		outcome->token[0] = '\0';
	key_token_wipe(&token);
}

static int path_install_kernel(struct record_path *path, const struct traffic_keys *keys,
			       int *tickets, struct outcome *outcome)
{
	const struct offload_nic *nic = path->surroundings->nic;
	struct offload_nic_reading before;
	char reason[256] = "";

	path->handed_on = true;
	offload_nic_read(nic, keys, &before);
	if (offload_kernel_install(path->fd, keys, reason, sizeof(reason)) < 0) {
		outcome_fail(outcome, FAILURE_UNSUPPORTED, false,
			     "The handshake was complete, but %s", reason);
		return -1;
	}
	outcome->tickets_fd = *tickets;
	*tickets = -1;
	offload_nic_describe(nic, path->fd, keys, &before, path->decision->zero_copy, outcome);
	path_seal(path, keys, outcome);
	return 0;
}

static int path_install_relay(const struct record_path *path, const struct traffic_keys *keys,
			      int tickets, struct outcome *outcome)
{
	struct relay_ends ends;
	char reason[256] = "";
	int error = offload_relay_start(path->surroundings->relay_socket, path->uid, path->fd, keys,
					tickets, &ends, reason, sizeof(reason));

	if (error < 0) {
		bool busy = error == -EAGAIN;

		outcome_fail(outcome, busy ? FAILURE_BUSY : FAILURE_INTERNAL, true,
			     "The handshake was complete, but %s", reason);
		return -1;
	}
	outcome->relay_fd = ends.program;
	outcome->relay_state_fd = ends.state;
	outcome->relay_control_fd = ends.control;
	outcome->transmit = "relay";
	outcome->receive = "relay";
	return 0;
}

/* Can the kernel move these records? If not, says why. */
static bool kernel_can(const struct record_path *path, const struct traffic_keys *keys,
		       struct outcome *outcome)
{
	/* A reason for the relay is there exactly if the kernel was given up before the first byte. */
	if (outcome->records_reason[0] != '\0')
		return false;
	if (!path->surroundings->kernel->ciphers[keys->version][keys->cipher])
		snprintf(outcome->records_reason, sizeof(outcome->records_reason),
			 "the kernel lacks the cipher %s for %s", outcome->cipher,
			 outcome->version);
	else if (offload_kernel_limit_records(path->fd, keys, outcome->records_reason,
					      sizeof(outcome->records_reason)) == 0)
		return true;
	return false;
}

int record_path_install(struct record_path *path, const struct traffic_keys *keys, int *tickets,
			struct outcome *outcome)
{
	if (kernel_can(path, keys, outcome))
		return path_install_kernel(path, keys, tickets, outcome);
	if (path->decision->records != CONFIG_RECORDS_KERNEL &&
	    path->surroundings->relay_socket >= 0)
		return path_install_relay(path, keys, *tickets, outcome);
	outcome_fail(outcome, FAILURE_UNSUPPORTED, false, "The handshake was complete, but %s%s",
		     outcome->records_reason,
		     path->decision->records == CONFIG_RECORDS_KERNEL
			 ? ""
			 : ", and the daemon has no relay");
	return -1;
}
