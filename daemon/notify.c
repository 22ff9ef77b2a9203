// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Telling the service manager. Touches the socket that $NOTIFY_SOCKET names. Never fails: who is not
 * told does not stop the daemon.
 */
#include "notify.h"

#ifdef HAVE_SYSTEMD

#include <stdint.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

void notify_ready(void)
{
	/* The daemon may have detached itself: the process to watch is this one. */
	sd_notifyf(0, "READY=1\nMAINPID=%lu\nSTATUS=Serving.", (unsigned long)getpid());
}

void notify_reloading(void)
{
	struct timespec now;

	/* Type=notify-reload wants the time that belongs to the message. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading the configuration anew.",
		   (unsigned long long)now.tv_sec * 1000000 +
		       (unsigned long long)now.tv_nsec / 1000);
}

void notify_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=Finishing the handshakes under way.");
}

#else

void notify_ready(void)
{
}

void notify_reloading(void)
{
}

void notify_stopping(void)
{
}

#endif
