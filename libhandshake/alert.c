// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Alerts: their names, and how one leaves through the kernel. Touches the socket by one sendmsg.
 * Never decides when an alert is due.
 */
#include "internal.h"

#include <errno.h>
#include <linux/tls.h>
#include <string.h>
#include <sys/socket.h>

#include "alert-names.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

const char *alert_name(uint8_t number)
{
	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].number == number)
			return alerts[i].name;
	return "unknown";
}

int alert_send(int fd, uint8_t level, uint8_t number, int flags)
{
	uint8_t alert[2] = {level, number};
	union {
		char space[CMSG_SPACE(sizeof(uint8_t))];
		struct cmsghdr align;
	} control = {0};
	struct iovec vector = {.iov_base = alert, .iov_len = sizeof(alert)};
	struct msghdr header = {
	    .msg_iov = &vector,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *type = CMSG_FIRSTHDR(&header);

	/* Documentation/networking/tls.rst, "Send TLS control messages" */
	type->cmsg_level = SOL_TLS;
	type->cmsg_type = TLS_SET_RECORD_TYPE;
	type->cmsg_len = CMSG_LEN(sizeof(uint8_t));
	*CMSG_DATA(type) = RECORD_ALERT;
	return sendmsg(fd, &header, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
