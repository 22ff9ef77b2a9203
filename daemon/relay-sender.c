/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves bytes from the program to the peer. The bytes are read to where their record will stand, sealed
 * there and written from there. It must never read while something waits to be written, never change
 * the socket's flags, and never send data behind a close_notify. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "post-handshake.h"
#include "relay-guard.h"
#include "relay-sender.h"

enum { WARNING = 1, FATAL = 2 }; /* RFC 8446, 6 */

int relay_sender_init(struct relay_sender *sender, const struct traffic_keys *keys)
{
	memset(sender, 0, sizeof *sender);
	sender->alert_owed = -1;
	sender->record_limit = keys->record_limit && keys->record_limit < RECORD_PLAIN_MAX
				   ? keys->record_limit
				   : RECORD_PLAIN_MAX;
	return record_layer_init(&sender->layer, keys, &keys->transmit);
}

void relay_sender_done(struct relay_sender *sender, struct relay_pool *pool)
{
	relay_buffer_give(pool, &sender->buffer);
	record_layer_done(&sender->layer);
}

void relay_sender_abandon(struct relay_sender *sender, struct relay_pool *pool)
{
	relay_buffer_give(pool, &sender->buffer);
	record_layer_done(&sender->layer);
	sender->ended = sender->failed = true;
}

bool relay_sender_stalled(const struct relay_sender *sender)
{
	return sender->buffer != NULL;
}

/* Writes what waits. The buffer is given back as soon as it is empty. */
static void flush(struct relay_sender *sender, struct relay_pool *pool, int peer_fd)
{
	struct relay_buffer *buffer = sender->buffer;

	while (buffer && buffer->start < buffer->end) {
		ssize_t written = send(peer_fd, buffer->bytes + buffer->start,
				       buffer->end - buffer->start, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return;
		if (written < 0) {
			relay_sender_abandon(sender, pool);
			return;
		}
		buffer->start += (size_t)written;
	}
	relay_buffer_give(pool, &sender->buffer);
}

/* Adds one small record of this type. false: it could not be made. */
static bool add_control(struct relay_sender *sender, enum record_type type, const void *content,
			size_t size)
{
	struct relay_buffer *buffer = sender->buffer;

	memcpy(buffer->bytes + buffer->end + record_layer_prefix(&sender->layer), content, size);
	ssize_t sealed = record_layer_seal(&sender->layer, type, buffer->bytes + buffer->end, size);
	if (sealed < 0)
		return false;
	buffer->end += (size_t)sealed;
	return true;
}

static bool add_alert(struct relay_sender *sender, int level, int alert)
{
	const uint8_t content[] = {(uint8_t)level, (uint8_t)alert};

	return add_control(sender, RECORD_ALERT, content, sizeof content);
}

/* The KeyUpdate is the last record under the old key: RFC 8446, 4.6.3. */
static bool add_key_update(struct relay_sender *sender, bool ask)
{
	uint8_t message[POST_HANDSHAKE_KEY_UPDATE_SIZE];

	post_handshake_key_update(message, ask);
	sender->update_owed = false;
	return add_control(sender, RECORD_HANDSHAKE, message, sizeof message) &&
	       record_layer_update(&sender->layer) == 0;
}

bool relay_sender_order_update(struct relay_sender *sender, int program_fd, bool ask)
{
	int waiting = 0;

	if (sender->layer.version != CONFIG_TLS13 || sender->ended || sender->alert_owed >= 0 ||
	    program_fd < 0 || ioctl(program_fd, FIONREAD, &waiting) < 0)
		return false;
	sender->updates[sender->update_count].at = sender->sent + (uint64_t)waiting;
	sender->updates[sender->update_count++].ask = ask;
	return true;
}

static bool update_due(const struct relay_sender *sender)
{
	return sender->update_count > 0 && sender->updates[0].at <= sender->sent;
}

static bool add_due_updates(struct relay_sender *sender)
{
	while (update_due(sender)) {
		if (!add_key_update(sender, sender->updates[0].ask))
			return false;
		memmove(&sender->updates[0], &sender->updates[1],
			sizeof sender->updates - sizeof sender->updates[0]);
		sender->update_count--;
	}
	return true;
}

/* Reads to where the plain texts of the next RELAY_BATCH records will stand: if all but the last are
 * full, the records follow each other without a gap. */
static ssize_t read_batch(const struct relay_sender *sender, int program_fd, bool *ret_foreign)
{
	struct iovec vector[RELAY_BATCH];
	size_t prefix = record_layer_prefix(&sender->layer);
	size_t stride = prefix + sender->record_limit + record_layer_suffix(&sender->layer);
	uint8_t *plain = sender->buffer->bytes + sender->buffer->end + prefix;

	/* Not beyond the place of an update. */
	uint64_t left = sender->update_count ? sender->updates[0].at - sender->sent : UINT64_MAX;
	size_t count = 0;
	for (; count < RELAY_BATCH && left > 0; count++) {
		size_t part = left < sender->record_limit ? (size_t)left : sender->record_limit;
		vector[count] = (struct iovec){plain + count * stride, part};
		left -= part;
	}
	return relay_guard_read(program_fd, vector, count, ret_foreign);
}

/* Reads and seals one batch. false: a record could not be made. */
static bool add_data(struct relay_sender *sender, int program_fd)
{
	bool foreign = false;
	ssize_t size = read_batch(sender, program_fd, &foreign);

	if (foreign) {
		sender->program_misbehaved = true;
		sender->alert_owed = RECORD_INTERNAL_ERROR;
		return true;
	}
	if (size < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS))
		return true;
	if (size <= 0) { /* an error is ECONNRESET: it closed and left something unread */
		sender->program_ended = true;
		return true;
	}
	sender->sent += (uint64_t)size;
	for (size_t left = (size_t)size; left > 0;) {
		size_t part = left < sender->record_limit ? left : sender->record_limit;
		ssize_t sealed = record_layer_seal(
		    &sender->layer, RECORD_DATA, sender->buffer->bytes + sender->buffer->end, part);
		if (sealed < 0)
			return false;
		sender->buffer->end += (size_t)sealed;
		left -= part;
	}
	return true;
}

/* Fills the empty buffer: what is owed first, then data, then the end. false: a record could not be
 * made, so that nothing more may be sent. */
static bool fill(struct relay_sender *sender, int program_fd, bool readable)
{
	if (sender->alert_owed < 0) {
		if (record_layer_worn(&sender->layer))
			sender->update_owed = true;
		if (sender->update_owed && !add_key_update(sender, false))
			return false;
		if (!add_due_updates(sender))
			return false;
		if (sender->refusal_owed && !add_alert(sender, WARNING, RECORD_NO_RENEGOTIATION))
			return false;
		sender->refusal_owed = false;
		if (readable && !sender->program_ended && !add_data(sender, program_fd))
			return false;
	}
	if (sender->alert_owed >= 0) {
		sender->ended = true;
		return add_alert(sender, FATAL, sender->alert_owed);
	}
	if (sender->program_ended) {
		sender->ended = true;
		return add_alert(sender, WARNING, RECORD_CLOSE_NOTIFY);
	}
	return true;
}

void relay_sender_pump(struct relay_sender *sender, struct relay_pool *pool, int peer_fd,
		       int program_fd, bool readable)
{
	if (sender->buffer)
		flush(sender, pool, peer_fd);
	if (sender->buffer || sender->ended)
		return;
	if (!readable && !sender->update_owed && !update_due(sender) && !sender->refusal_owed &&
	    sender->alert_owed < 0)
		return;
	sender->buffer = relay_buffer_take(pool);
	if (!sender->buffer || !fill(sender, program_fd, readable))
		relay_sender_abandon(sender, pool);
	else
		flush(sender, pool, peer_fd);
}
