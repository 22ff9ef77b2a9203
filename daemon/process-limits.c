// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Limits of the process. Touches nothing else; never ends the daemon over one that cannot be raised.
 */
#include "process-limits.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "log.h"
#include "network-tally.h"
#include "registry.h"

enum { FILES_SPARE = 256 };

/* Descriptors that a worker may need at worst: for each handshake the socket twice, a relayed reply's
 * three and the program's own; for each program its connection; for each listening two; for each request of
 * the kernel its socket and, while it waits, its keys or certificate; two for each network namespace. */
rlim_t limits_files_needed(const struct config *config)
{
	return (rlim_t)config->handshakes_total * 6 + config->clients_total +
	       (rlim_t)REGISTRY_MAX * 2 + FILES_SPARE +
	       (config->kernel.line ? 2 * ((rlim_t)config->kernel.requests_total + NETWORKS_MAX)
				    : 0);
}

void limits_raise_files(const struct config *config)
{
	static rlim_t told;
	rlim_t needed = limits_files_needed(config);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur >= needed)
		return;
	if (limit.rlim_max < needed) {
		const struct rlimit more = {needed, needed};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
		if (needed != told)
			log_warning(
			    "the limit of open files is %llu, but %llu may be needed for the "
			    "configured "
			    "handshakes-total and clients-total: raise LimitNOFILE, or lower them",
			    (unsigned long long)limit.rlim_max, (unsigned long long)needed);
		told = needed;
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void limits_protect_memory(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifndef SANITIZED /* LeakSanitizer traces the process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
}
