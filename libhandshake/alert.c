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

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static const struct {
	uint8_t number;
	const char *name;
} alerts[] = {
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {111, "certificate_unobtainable"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {114, "bad_certificate_hash_value"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
};

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
