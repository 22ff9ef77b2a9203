// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The queue toward one program. Touches its connection (only to write) and the descriptors that are
 * on their way. Never waits; how long the queue may grow is bounded by its users, who stop asking
 * for more work while something waits and count a place for each reply that carries descriptors.
 */
#include "outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "foreign.h"

struct packet {
	STAILQ_ENTRY(packet) entry;
	int fds[HANDSHAKE_DESCRIPTORS_MAX + 1];
	size_t fd_count;
	bool holds_place;
	size_t length;
	char text[];
};

struct outbox {
	int fd;
	struct event *writable;
	struct event *retry;
	struct timeval patience; /* 0: none */
	STAILQ_HEAD(packet_list, packet) packets;
	size_t count;
	outbox_released *released;
	outbox_moved *moved;
	void *context;
};

/* The sockets are the program's or its peer's; the rest is memory of the daemon's own. */
static void fds_close(const int *fds, size_t count)
{
	for (size_t i = count; i > 0; i--)
		if (foreign_is_socket(fds[i - 1]))
			foreign_close_socket(fds[i - 1]);
		else
			close(fds[i - 1]);
}

static void outbox_release(struct outbox *outbox, bool holds_place)
{
	if (holds_place)
		outbox->released(outbox->context);
}

static void packet_drop(struct outbox *outbox)
{
	struct packet *packet = STAILQ_FIRST(&outbox->packets);

	STAILQ_REMOVE_HEAD(&outbox->packets, entry);
	outbox->count--;
	fds_close(packet->fds, packet->fd_count);
	outbox_release(outbox, packet->holds_place);
	free(packet);
}

static int packet_send(int fd, const struct packet *packet)
{
	struct message_writer writer;

	writer.overflow = false;
	writer.invalid = false;
	writer.length = packet->length;
	memcpy(writer.text, packet->text, packet->length);
	return message_send(fd, &writer, packet->fds, packet->fd_count);
}

/* Descriptors that are on their way on Unix sockets are bounded per user (unix(7), ETOOMANYREFS): that
 * passes, like a full queue, but no event tells when. */
static bool error_passes(int error)
{
	return error == -EAGAIN || error == -ETOOMANYREFS || error == -ENOBUFS || error == -ENOMEM;
}

/* 0, or -ENOMEM: nothing would ever say when to go on. */
static int outbox_wait(struct outbox *outbox, int error)
{
	const struct timeval soon = {.tv_usec = 20000};
	const struct timeval *patience = timerisset(&outbox->patience) ? &outbox->patience : NULL;
	int r;

	event_base_update_cache_time(event_get_base(outbox->retry));
	r = error == -EAGAIN ? event_add(outbox->writable, patience)
			     : event_add(outbox->retry, &soon);
	return r < 0 ? -ENOMEM : 0;
}

static void outbox_writable(evutil_socket_t fd, short events, void *context)
{
	struct outbox *outbox = context;
	int error = 0;

	(void)fd, (void)events;
	while (!STAILQ_EMPTY(&outbox->packets)) {
		error = packet_send(outbox->fd, STAILQ_FIRST(&outbox->packets));
		if (error < 0)
			break;
		packet_drop(outbox);
	}
	if (error_passes(error))
		error = outbox_wait(outbox, error);
	outbox->moved(outbox->context, error);
}

static void outbox_room(evutil_socket_t fd, short events, void *context)
{
	struct outbox *outbox = context;

	if (events & EV_WRITE)
		outbox_writable(fd, events, outbox);
	else
		outbox->moved(outbox->context, -ETIMEDOUT);
}

struct outbox *outbox_new(struct event_base *base, int fd, bool edge_triggered, unsigned patience,
			  outbox_released *released, outbox_moved *moved, void *context)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));

	if (!outbox)
		return NULL;
	STAILQ_INIT(&outbox->packets);
	outbox->fd = fd;
	outbox->patience = (struct timeval){patience / 1000, patience % 1000 * 1000L};
	outbox->released = released;
	outbox->moved = moved;
	outbox->context = context;
	outbox->writable = event_new(base, fd, (short)(EV_WRITE | (edge_triggered ? EV_ET : 0)),
				     outbox_room, outbox);
	outbox->retry = evtimer_new(base, outbox_writable, outbox);
	if (!outbox->writable || !outbox->retry) {
		outbox_free(outbox);
		errno = ENOMEM;
		return NULL;
	}
	return outbox;
}

void outbox_free(struct outbox *outbox)
{
	if (!outbox)
		return;
	if (outbox->retry)
		event_free(outbox->retry);
	if (outbox->writable)
		event_free(outbox->writable);
	while (!STAILQ_EMPTY(&outbox->packets))
		packet_drop(outbox);
	free(outbox);
}

static int outbox_keep(struct outbox *outbox, const struct message_writer *writer, const int *fds,
		       size_t fd_count, bool holds_place)
{
	struct packet *packet = malloc(sizeof(*packet) + writer->length);

	if (!packet)
		return -ENOMEM;
	memcpy(packet->fds, fds, fd_count * sizeof(*fds));
	packet->fd_count = fd_count;
	packet->holds_place = holds_place;
	packet->length = writer->length;
	memcpy(packet->text, writer->text, writer->length);
	STAILQ_INSERT_TAIL(&outbox->packets, packet, entry);
	outbox->count++;
	return 0;
}

int outbox_push(struct outbox *outbox, const struct message_writer *writer, const int *fds,
		size_t fd_count, bool holds_place)
{
	int sent[HANDSHAKE_DESCRIPTORS_MAX + 1], error = -E2BIG;
	size_t count = 0;

	for (size_t i = 0; i < fd_count && count < sizeof(sent) / sizeof(sent[0]); i++)
		if (fds[i] >= 0)
			sent[count++] = fds[i];
	if (writer->overflow || writer->invalid)
		error = writer->invalid ? -EINVAL : -EMSGSIZE;
	else if (STAILQ_EMPTY(&outbox->packets))
		error = message_send(outbox->fd, writer, sent, count);
	else
		error = -EAGAIN;
	if (error_passes(error)) {
		int kept = outbox_keep(outbox, writer, sent, count, holds_place);

		if (kept == 0 && outbox->count == 1) {
			kept = outbox_wait(outbox, error);
			if (kept < 0)
				packet_drop(outbox);
			return kept;
		}
		if (kept == 0)
			return 0;
		error = kept;
	}
	fds_close(sent, count);
	outbox_release(outbox, holds_place);
	return error;
}

size_t outbox_waiting(const struct outbox *outbox)
{
	return outbox->count;
}
