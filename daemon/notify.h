/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Telling the service manager (sd_notify(3)) where there is one. Built without libsystemd, these do
 * nothing. */
#ifndef NOTIFY_H
#define NOTIFY_H

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

#endif
