// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sessions that wait for tickets. Touches them and the store that the workers share. Who writes the tickets
 * may be any program: must take nothing else, and no more than a few, for a while.
 */
#include "parking.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NEW_SESSION_TICKET = 4, HEADER_SIZE = 4, LIFETIME_SIZE = 4 };

struct parked {
	TAILQ_ENTRY(parked) entry;
	struct parking *parking;
	struct event event;
	int fd;
	unsigned tickets;
	gnutls_session_t tls;
	gnutls_priority_t priority;
	struct parking_key key;
};

struct parking {
	struct event_base *base;
	struct shared_store *store;
	struct counters *counters;
	TAILQ_HEAD(parked_list, parked) list; /* oldest first */
	unsigned count;
	unsigned next_slot;
	uint8_t message[PARKING_TICKET_SIZE];
};

static void count(const struct parking *parking, enum counter counter, int64_t amount)
{
	if (parking->counters != NULL)
		counters_add(parking->counters, counter, amount);
}

void parking_slot(const uint8_t context[TICKET_CONTEXT_SIZE], unsigned slot,
		  uint8_t ret_key[TICKET_CONTEXT_SIZE + 1])
{
	memcpy(ret_key, context, TICKET_CONTEXT_SIZE);
	ret_key[TICKET_CONTEXT_SIZE] = (uint8_t)slot;
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void session_free(gnutls_session_t tls, gnutls_priority_t priority, uint8_t *head)
{
	gnutls_deinit(tls);
	if (priority != NULL)
		gnutls_priority_deinit(priority);
	free(head);
}

static void parked_free(struct parked *parked)
{
	struct parking *parking = parked->parking;

	TAILQ_REMOVE(&parking->list, parked, entry);
	parking->count--;
	count(parking, COUNTER_PARKED, -1);
	event_del(&parked->event);
	close(parked->fd);
	session_free(parked->tls, parked->priority, parked->key.head);
	free(parked);
}

/* ---- Tickets ------------------------------------------------------------------------------- */

/* The data of a session that has a ticket now, behind what is to stand before it. 0 or -1. */
static int data_make(const struct parked *parked, gnutls_datum_t *ret)
{
	gnutls_datum_t data = {NULL, 0};
	size_t head_size = parked->key.head_size;

	if (gnutls_session_get_data2(parked->tls, &data) < 0)
		return -1;
	ret->size = (unsigned)head_size + data.size;
	ret->data = malloc(ret->size);
	if (ret->data != NULL) {
		memcpy(ret->data, parked->key.head, head_size);
		memcpy(ret->data + head_size, data.data, data.size);
	}
	explicit_bzero(data.data, data.size);
	gnutls_free(data.data);
	return ret->data != NULL ? 0 : -1;
}

/* Where none is free the next one in turn is overwritten. */
static void data_store(struct parking *parking, const struct parking_key *key,
		       const gnutls_datum_t *data, unsigned lifetime_s)
{
	uint8_t slot[TICKET_CONTEXT_SIZE + 1];
	time_t expires = time(NULL) + (time_t)lifetime_s;
	int r = -EEXIST;

	for (unsigned i = 0; i < PARKING_SLOTS && r == -EEXIST; i++) {
		parking_slot(key->context, i, slot);
		r = shared_store_put(parking->store, SHARED_TICKETS, slot, sizeof(slot), data->data,
				     data->size, expires, true);
	}
	if (r == -EEXIST) {
		parking_slot(key->context, parking->next_slot++ % PARKING_SLOTS, slot);
		r = shared_store_put(parking->store, SHARED_TICKETS, slot, sizeof(slot), data->data,
				     data->size, expires, false);
	}
	if (r < 0)
		return;
	count(parking, COUNTER_SESSIONS_STORED, 1);
	count(parking, COUNTER_SESSIONS_EVICTED, r);
}

/* RFC 8446, 4.6.1. false: no more is to come. */
static bool ticket_take(struct parked *parked, const uint8_t *message, size_t size)
{
	const uint8_t *body = message + HEADER_SIZE;
	gnutls_datum_t data;
	uint32_t lifetime;

	if (size < HEADER_SIZE + LIFETIME_SIZE || message[0] != NEW_SESSION_TICKET ||
	    ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]) != size - HEADER_SIZE)
		return false;
	lifetime =
	    (uint32_t)body[0] << 24 | (uint32_t)body[1] << 16 | (uint32_t)body[2] << 8 | body[3];
	if (gnutls_handshake_write(parked->tls, GNUTLS_ENCRYPTION_LEVEL_APPLICATION, message,
				   size) < 0)
		return false;
	count(parked->parking, COUNTER_TICKETS_TAKEN, 1);
	if (lifetime > parked->key.lifetime_s)
		lifetime = parked->key.lifetime_s;
	/* A lifetime of 0 means: at once to be discarded. */
	if (lifetime > 0 && data_make(parked, &data) == 0) {
		data_store(parked->parking, &parked->key, &data, lifetime);
		explicit_bzero(data.data, data.size);
		free(data.data);
	}
	return ++parked->tickets < PARKING_TICKETS;
}

static int parked_wait(struct parked *parked, unsigned milliseconds)
{
	const struct timeval timeout = {
	    .tv_sec = milliseconds / 1000,
	    .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000,
	};

	event_base_update_cache_time(parked->parking->base);
	return event_add(&parked->event, &timeout);
}

static void parked_readable(evutil_socket_t fd, short what, void *context)
{
	struct parked *parked = context;
	struct parking *parking = parked->parking;
	ssize_t size;

	if (what & EV_TIMEOUT) {
		parked_free(parked);
		return;
	}
	for (;;) {
		size =
		    recv(fd, parking->message, sizeof(parking->message), MSG_DONTWAIT | MSG_TRUNC);
		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			parked_wait(parked, PARKING_MORE_MS);
			return;
		}
		if (size <= 0 || size > (ssize_t)sizeof(parking->message) ||
		    !ticket_take(parked, parking->message, (size_t)size)) {
			parked_free(parked);
			return;
		}
	}
}

/* ---- Beginning ----------------------------------------------------------------------------- */

struct parking *parking_new(struct event_base *base, struct shared_store *store,
			    struct counters *counters)
{
	struct parking *parking = calloc(1, sizeof(*parking));

	if (parking == NULL)
		return NULL;
	parking->base = base;
	parking->store = store;
	parking->counters = counters;
	TAILQ_INIT(&parking->list);
	return parking;
}

void parking_free(struct parking *parking)
{
	if (parking == NULL)
		return;
	for (struct parked *parked = TAILQ_FIRST(&parking->list), *next; parked; parked = next) {
		next = TAILQ_NEXT(parked, entry);
		parked_free(parked);
	}
	free(parking);
}

/* The library calls it with what it would send: a client's session sends nothing here. */
static int nothing_is_sent(gnutls_session_t tls, gnutls_record_encryption_level_t level,
			   gnutls_handshake_description_t type, const void *data, size_t size)
{
	(void)tls, (void)level, (void)type, (void)data, (void)size;
	return -1;
}

void parking_add(struct parking *parking, gnutls_session_t tls, gnutls_priority_t priority,
		 const struct parking_key *key, int fd)
{
	struct parked *parked = calloc(1, sizeof(*parked));

	/* Whom they told of the handshake is no longer there. */
	gnutls_handshake_set_hook_function(tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_BOTH, NULL);
	gnutls_session_set_keylog_function(tls, NULL);
	gnutls_session_set_ptr(tls, NULL);
	gnutls_handshake_set_read_function(tls, nothing_is_sent);
	if (parked == NULL) {
		session_free(tls, priority, key->head);
		close(fd);
		return;
	}
	if (parking->count == PARKING_MAX)
		parked_free(TAILQ_FIRST(&parking->list));
	parked->parking = parking;
	parked->fd = fd;
	parked->tls = tls;
	parked->priority = priority;
	parked->key = *key;
	TAILQ_INSERT_TAIL(&parking->list, parked, entry);
	parking->count++;
	count(parking, COUNTER_PARKED, 1);
	event_assign(&parked->event, parking->base, fd, EV_READ | EV_PERSIST, parked_readable,
		     parked);
	if (parked_wait(parked, PARKING_MS) < 0)
		parked_free(parked);
}
