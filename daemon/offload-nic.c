// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who makes the records of a connection whose keys the kernel has: its software or a NIC. Touches the kernel's
 * TLS statistics and one option of the socket. Must never say NIC of what it does not know.
 *
 * A socket does not tell. The statistics count each connection once per direction, as software or as device, when
 * its keys are set: of the two numbers the one that did not move between two readings is not this connection's.
 * Where others have moved both, sock_diag is asked, which answers workers on newer kernels alone: older ones want
 * CAP_NET_ADMIN.
 */
#include "offload-nic.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "sock-diag.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TLS_TX_ZEROCOPY_RO
#define TLS_TX_ZEROCOPY_RO 3
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { STATISTICS_SIZE = 4096 }; /* of text; Linux 7.2 writes 600 bytes */

/* ---- Reading ------------------------------------------------------------------------------- */

static uint64_t network_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

void offload_nic_open(struct offload_nic *ret_nic)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ret_nic->statistics = open("/proc/self/net/tls_stat", O_RDONLY | O_CLOEXEC);
	ret_nic->network = fd < 0 ? 0 : network_of(fd);
	ret_nic->diag = sock_diag_open();
}

void offload_nic_close(struct offload_nic *nic)
{
	if (nic->statistics >= 0)
		close(nic->statistics);
	if (nic->diag >= 0)
		close(nic->diag);
	nic->statistics = nic->diag = -1;
}

static bool number_find(const char *text, const char *name, uint64_t *ret_number)
{
	size_t length = strlen(name);
	char *end;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) != 0 ||
		    (line[length] != ' ' && line[length] != '\t'))
			continue;
		*ret_number = strtoull(line + length, &end, 10);
		return end > line + length && (*end == '\n' || *end == '\0');
	}
	return false;
}

void offload_nic_parse(const char *text, struct offload_nic_reading *ret_reading)
{
	struct offload_nic_reading reading = {.known = false};

	reading.known = number_find(text, "TlsTxSw", &reading.software[OFFLOAD_TRANSMIT]) &&
			number_find(text, "TlsTxDevice", &reading.device[OFFLOAD_TRANSMIT]) &&
			number_find(text, "TlsRxSw", &reading.software[OFFLOAD_RECEIVE]) &&
			number_find(text, "TlsRxDevice", &reading.device[OFFLOAD_RECEIVE]);
	*ret_reading = reading;
}

/* Kernels up to 7.2 give nothing else to devices: that is known without a reading, which costs something on
 * machines with many processors. */
static bool device_may_take(const struct traffic_keys *keys)
{
	return keys->version == CONFIG_TLS12 &&
	       (keys->cipher == CONFIG_AES_128_GCM || keys->cipher == CONFIG_AES_256_GCM);
}

void offload_nic_read(const struct offload_nic *nic, const struct traffic_keys *keys,
		      struct offload_nic_reading *ret_reading)
{
	char text[STATISTICS_SIZE];
	ssize_t length;

	*ret_reading = (struct offload_nic_reading){.known = false};
	if (nic == NULL || nic->statistics < 0 || !device_may_take(keys))
		return;
	length = pread(nic->statistics, text, sizeof(text) - 1, 0);
	if (length <= 0)
		return;
	text[length] = '\0';
	offload_nic_parse(text, ret_reading);
}

enum offload_nic_verdict offload_nic_judge(const struct offload_nic_reading *before,
					   const struct offload_nic_reading *after,
					   enum offload_direction direction)
{
	bool software = before->software[direction] != after->software[direction];
	bool device = before->device[direction] != after->device[direction];

	if (!before->known || !after->known || software == device)
		return OFFLOAD_NIC_UNKNOWN;
	return device ? OFFLOAD_NIC_YES : OFFLOAD_NIC_NO;
}

/* ---- Telling ------------------------------------------------------------------------------- */

static const char *word_of(enum offload_nic_verdict verdict)
{
	return verdict == OFFLOAD_NIC_YES ? "nic" : "kernel";
}

/* NULL, or why nothing can be known of this socket. */
static const char *obstacle_find(const struct offload_nic *nic, int fd)
{
	if (nic == NULL || nic->statistics < 0)
		return "this kernel has no TLS statistics in /proc/net/tls_stat";
	if (nic->network == 0)
		return "this kernel does not tell whose network namespace a socket is in";
	if (network_of(fd) != nic->network)
		return "the socket is in another network namespace than the daemon";
	return NULL;
}

static void reason_set(struct outcome *outcome, const char *obstacle)
{
	snprintf(outcome->records_reason, sizeof(outcome->records_reason),
		 "whether a NIC makes the records is not known: %s",
		 obstacle ? obstacle : "other connections got their keys at the same moment");
}

/* What the statistics do not tell, from the kernel itself. */
static void ask(const struct offload_nic *nic, int fd, enum offload_nic_verdict *transmit,
		enum offload_nic_verdict *receive)
{
	bool sends, receives;

	if (nic->diag < 0 || sock_diag_tls(nic->diag, fd, &sends, &receives) < 0)
		return;
	*transmit = sends ? OFFLOAD_NIC_YES : OFFLOAD_NIC_NO;
	*receive = receives ? OFFLOAD_NIC_YES : OFFLOAD_NIC_NO;
}

static bool is_unknown(enum offload_nic_verdict transmit, enum offload_nic_verdict receive)
{
	return transmit == OFFLOAD_NIC_UNKNOWN || receive == OFFLOAD_NIC_UNKNOWN;
}

/* The option acts with a device alone; elsewhere the kernel would take it and do nothing. */
static void zero_copy_set(int fd, const struct traffic_keys *keys,
			  enum offload_nic_verdict transmit, struct outcome *outcome)
{
	const unsigned int on = 1;
	const char *reason = NULL;

	outcome->zero_copy = "no";
	if (!device_may_take(keys))
		reason =
		    "only a NIC sends without a copy, and only TLS 1.2 with AES-GCM goes to one";
	else if (transmit == OFFLOAD_NIC_UNKNOWN)
		reason = "it is not known whether a NIC makes the records";
	else if (transmit == OFFLOAD_NIC_NO)
		reason = "no NIC has taken the connection";
	else if (setsockopt(fd, SOL_TLS, TLS_TX_ZEROCOPY_RO, &on, sizeof(on)) == 0)
		outcome->zero_copy = "yes";
	else
		reason = errno == ENOPROTOOPT ? "this kernel is older than Linux 5.19"
					      : "the kernel refused it";
	snprintf(outcome->zero_copy_reason, sizeof(outcome->zero_copy_reason), "%s",
		 reason ? reason : "");
}

void offload_nic_describe(const struct offload_nic *nic, int fd, const struct traffic_keys *keys,
			  const struct offload_nic_reading *before, bool zero_copy,
			  struct outcome *outcome)
{
	enum offload_nic_verdict transmit = OFFLOAD_NIC_NO, receive = OFFLOAD_NIC_NO;
	const char *obstacle = NULL;

	if (device_may_take(keys)) {
		struct offload_nic_reading after;

		offload_nic_read(nic, keys, &after);
		obstacle = obstacle_find(nic, fd);
		transmit = receive = OFFLOAD_NIC_UNKNOWN;
		if (!obstacle) {
			transmit = offload_nic_judge(before, &after, OFFLOAD_TRANSMIT);
			receive = offload_nic_judge(before, &after, OFFLOAD_RECEIVE);
		}
		if (!obstacle && is_unknown(transmit, receive))
			ask(nic, fd, &transmit, &receive);
		if (is_unknown(transmit, receive))
			reason_set(outcome, obstacle);
	}
	outcome->transmit = word_of(transmit);
	outcome->receive = word_of(receive);
	if (zero_copy)
		zero_copy_set(fd, keys, transmit, outcome);
	log_debug("records: transmit %s, receive %s%s%s", outcome->transmit, outcome->receive,
		  outcome->records_reason[0] ? ": " : "", outcome->records_reason);
}
