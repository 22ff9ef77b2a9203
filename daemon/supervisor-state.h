/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the supervisor knows; for supervisor*.c alone. */
#ifndef SUPERVISOR_STATE_H
#define SUPERVISOR_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "early-data.h"
#include "generation.h"
#include "keyring.h"
#include "registry.h"
#include "relays.h"
#include "secrets.h"
#include "source-netlink.h"
#include "unix-socket.h"
#include "watch.h"

struct supervisor {
	const struct config_source *source;
	struct kernel_tls kernel;
	struct counters *counters;
	struct secrets *secrets;
	char *store_directory; /* where it was at the start: workers of all generations share it */
	bool store_kept;
	struct early_data_guard early_data; /* as old as the store is, here */
	struct registry registry;
	struct source_netlink *netlink; /* NULL: the kernel is not served */
	struct keyring_links links;     /* of the current configuration */
	struct unix_socket *unix_socket;
	struct relays *relays;          /* the current set first; retired ones behind it */
	struct generation *generations; /* likewise */
	int64_t started_ms;
	unsigned last_generation;
	int signals;
	struct watch *watch;
	time_t expiry; /* when a staple of the current generation ends; 0: none does */
	bool reload_due;
	bool stopping;
	bool stop_now;
};

/* Reads the configuration and starts its processes. -1 with a problem: all is as it was before. */
int supervisor_configure(struct supervisor *supervisor, struct problem *problem);
/* The same while others run, which finish; tells the log and the service manager. */
void supervisor_reload(struct supervisor *supervisor);

#endif
