// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Whether the daemon answers, and what it says of the kernel. Touches the daemon's socket. Never asks
 * for more than its state.
 */
#include "doctor.h"

#include <stdio.h>
#include <string.h>

#include "daemon-status.h"

void doctor_daemon(struct findings *findings, const char *path)
{
	struct message message;
	char error[512];
	int r = daemon_status_ask(path, &message, error, sizeof(error));
	struct finding *finding =
	    findings_add(findings, r < 0 ? FINDING_MISSING : FINDING_OK, "daemon");
	const char *state, *reason;

	if (r < 0) {
		finding_detail(finding, "%s", error);
		finding_remedy(finding,
			       "\"systemctl start handshaked\"; \"handshaked --check\" tells "
			       "whether its configuration is right");
		return;
	}
	finding_detail(finding, "it answers");
	state = message_get(&message, "kernel-tls", 0);
	if (!state)
		return;
	reason = message_get(&message, "kernel-tls-reason", 0);
	finding = findings_add(findings, FINDING_OK, "daemon's kernel TLS");
	finding_detail(finding, "%s%s%s", state, reason ? ": " : "", reason ? reason : "");
	if (strcmp(state, "no") == 0 || strcmp(state, "unavailable") == 0)
		finding->state = FINDING_WARNING;
}
