// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The daemon's state as a packet. Touches nothing but the packet. Tells numbers and nothing about any
 * one connection: every caller may ask.
 */
#include "status.h"

#include <stdio.h>
#include <time.h>

#include "certificate-file.h"
#include "expiry.h"

enum { NETWORKS_SHOWN = 64, NETWORKS_ROOM = 10000 /* bytes of the packet */ };

static uint64_t milliseconds_since(int64_t then_ms)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - then_ms);
}

static void expiry_add(struct message_writer *writer, const struct loaded *loaded)
{
	struct expiry expiry;
	char date[32];

	expiry_find(loaded, time(NULL), &expiry);
	message_add_number(writer, "certificates", expiry.certificates);
	message_add_number(writer, "certificates-expired", expiry.certificates_expired);
	if (expiry.certificate_next)
		message_add(writer, "certificates-next-expiry",
			    certificate_time(expiry.certificate_next, date, sizeof(date)));
	message_add_number(writer, "staples", expiry.staples);
	message_add_number(writer, "staples-not-sent", expiry.staples_expired);
	if (expiry.staple_next)
		message_add(writer, "staples-next-expiry",
			    certificate_time(expiry.staple_next, date, sizeof(date)));
}

/* As many as have room beside the rest: the packet is bounded. */
static void networks_add(struct message_writer *writer, const struct network_tally *tally)
{
	struct network_numbers numbers;
	char name[NETWORK_NAME_SIZE], text[256];
	unsigned count = 0;

	for (int line = 0; line < NETWORKS_MAX; line++) {
		if (!network_tally_get(tally, line, name, &numbers) || ++count > NETWORKS_SHOWN ||
		    writer->length > NETWORKS_ROOM)
			continue;
		snprintf(text, sizeof(text),
			 "%s requests=%llu established=%llu failed=%llu under-way=%llu", name,
			 (unsigned long long)numbers.requests,
			 (unsigned long long)numbers.established,
			 (unsigned long long)numbers.failed, (unsigned long long)numbers.under_way);
		message_add(writer, "kernel-namespace", text);
	}
	message_add_number(writer, "kernel-namespaces", count);
}

void status_build(const struct worker_setup *setup, uint64_t id, struct reply *ret_reply)
{
	struct message_writer *writer = &ret_reply->writer;

	ret_reply->fd_count = 0;
	message_begin(writer, HANDSHAKE_OP_COUNTERS);
	if (id)
		message_add_number(writer, HANDSHAKE_KEY_ID, id);
	message_add(writer, "version", VERSION);
	message_add_number(writer, "pid", (uint64_t)setup->daemon_pid);
	message_add_number(writer, "uptime-ms", milliseconds_since(setup->daemon_started_ms));
	message_add_number(writer, "generation", setup->generation);
	message_add_number(writer, "workers", setup->workers);
	message_add_number(writer, "profiles", setup->loaded->config->profile_count);
	expiry_add(writer, setup->loaded);
	message_add(writer, "kernel-tls", setup->kernel->available ? "yes" : "no");
	if (!setup->kernel->available)
		message_add(writer, "kernel-tls-reason", setup->kernel->reason);
	else
		message_add(writer, "kernel-key-updates", setup->kernel->rekeys ? "yes" : "no");
	if (setup->loaded->config->key_log)
		message_add(writer, "key-log", setup->loaded->config->key_log);
	if (setup->networks)
		networks_add(writer, setup->networks);
	for (enum counter counter = 0; counter < COUNTERS; counter++)
		message_add_number(writer, counter_word(counter),
				   counters_get(setup->counters, counter));
}
