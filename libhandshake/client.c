// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Many handshakes under way on one connection to the daemon. Touches that connection and the objects
 * it has borrowed. Never blocks, and never leaves a borrowed object without an outcome.
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

/* Packets a call that end no handshake: a daemon that sends them without end must not hold the program, whose
 * own deadlines lie behind the call. */
#define IGNORED_MAX  128
#define FAREWELL_MAX 4096 /* and those that came before the daemon closed */

struct handshake_client {
	int fd;
	uint64_t last_id;
	/* The borrowed objects, by their stage. */
	struct list waiting, sent, ended;
	/* Ids of cancellations that wait for room in the queue. */
	uint64_t *cancels;
	size_t cancel_count, cancel_room;
	bool send_closed;     /* the daemon takes nothing any more; answers may still wait */
	bool reset_seen;      /* the daemon left requests unread */
	int closed;           /* an errno: the daemon is gone, nothing is under way */
	char *farewell;       /* a sentence of the daemon that belonged to no request, */
	char *farewell_class; /* its class, and whether it is worth another attempt */
	bool farewell_retry;
	char *path;              /* of the daemon's socket */
	struct message incoming; /* large, hence not on the stack of a program's event loop */
};

struct handshake_client *client_adopt(int fd, const char *path)
{
	struct handshake_client *client = malloc(sizeof(*client));

	if (!client) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	/* Not calloc: the packet's room need not be touched before a packet comes. */
	memset(client, 0, offsetof(struct handshake_client, incoming));
	client->fd = fd;
	client->path = strdup(link_path(path));
	list_init(&client->waiting);
	list_init(&client->sent);
	list_init(&client->ended);
	return client;
}

struct handshake_client *handshake_client_new(const char *path)
{
	int fd = link_connect(path, NULL);

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	return client_adopt(fd, path);
}

int handshake_client_fd(const struct handshake_client *client)
{
	return client->fd;
}

short handshake_client_events(const struct handshake_client *client)
{
	if (!client->send_closed && (client->cancel_count || !list_is_empty(&client->waiting)))
		return POLLIN | POLLOUT;
	return POLLIN;
}

/* ---- Objects come, change their stage, go -------------------------------------------------- */

static void client_lend(struct handshake_client *client, struct handshake *handshake,
			enum stage stage)
{
	struct list *const lists[] = {
	    [STAGE_WAITING] = &client->waiting,
	    [STAGE_SENT] = &client->sent,
	    [STAGE_ENDED] = &client->ended,
	};

	handshake->client = client;
	handshake->stage = stage;
	list_remove(&handshake->node);
	list_append(lists[stage], &handshake->node);
}

static void client_give_back(struct handshake *handshake)
{
	list_remove(&handshake->node);
	handshake->stage = STAGE_IDLE;
	handshake->client = NULL;
}

static struct handshake *client_first(const struct list *list)
{
	return list_is_empty(list) ? NULL : list_owner(list->next, struct handshake, node);
}

static struct handshake *client_find(const struct handshake_client *client, const char *id)
{
	char *end;
	unsigned long long number;

	/* Replies come in about the order of the requests: the search is short. */
	errno = 0;
	number = strtoull(id, &end, 10);
	if (errno || *end || *id < '0' || *id > '9')
		return NULL;
	for (struct list *node = client->sent.next; node != &client->sent; node = node->next) {
		struct handshake *handshake = list_owner(node, struct handshake, node);

		if (handshake->id == number)
			return handshake;
	}
	return NULL;
}

/* ---- Sending ------------------------------------------------------------------------------- */

static bool error_is_of_connection(int error)
{
	return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

/* A request that could not be sent: for the reason that the daemon gave before it closed, if it did. */
static void client_fail_request(const struct handshake_client *client, struct handshake *handshake,
				int error)
{
	if (error_is_of_connection(error) && client->farewell && client->farewell_class)
		result_fail(handshake, HANDSHAKE_UNTOUCHED, client->farewell_class,
			    error_of_class(client->farewell_class), client->farewell_retry, "%s",
			    client->farewell);
	else
		request_fail(handshake, error);
}

/* The daemon takes no more requests: those that wait have not touched their sockets. */
static void client_close_sending(struct handshake_client *client)
{
	struct handshake *handshake;

	client->send_closed = true;
	client->cancel_count = 0;
	while ((handshake = client_first(&client->waiting))) {
		client_fail_request(client, handshake, EPIPE);
		client_lend(client, handshake, STAGE_ENDED);
	}
}

static int client_send(struct handshake_client *client, const struct handshake *handshake)
{
	struct message_writer writer;
	_cleanup_close_ int early_data = -1;
	int fds[2] = {handshake->fd, -1};

	request_write(&writer, HANDSHAKE_OP_HANDSHAKE, handshake->id, handshake);
	if (writer.overflow)
		return -EMSGSIZE;
	if (!list_is_empty(&client->waiting) && client_first(&client->waiting) != handshake)
		return -EAGAIN; /* in turn */
	early_data = early_data_open(handshake);
	if (early_data < 0 && early_data != -ENODATA)
		return early_data;
	fds[1] = early_data;
	return message_send(client->fd, &writer, fds, early_data < 0 ? 1 : 2);
}

static int client_send_cancel(struct handshake_client *client, uint64_t id)
{
	struct message_writer writer;

	message_begin(&writer, HANDSHAKE_OP_CANCEL);
	message_add_number(&writer, HANDSHAKE_KEY_ID, id);
	return message_send(client->fd, &writer, NULL, 0);
}

static bool client_receive(struct handshake_client *client);

/* The daemon has closed: what did it say before? */
static void client_hear_out(struct handshake_client *client)
{
	client->send_closed = true;
	for (unsigned int i = 0; i < FAREWELL_MAX && !client->closed; i++)
		if (!client_receive(client))
			break;
}

static void client_flush(struct handshake_client *client)
{
	struct handshake *handshake;
	int r;

	while (client->cancel_count) {
		r = client_send_cancel(client, client->cancels[client->cancel_count - 1]);
		if (r == -EAGAIN)
			return;
		if (r < 0)
			return client_close_sending(client);
		client->cancel_count--;
	}
	while ((handshake = client_first(&client->waiting))) {
		r = client_send(client, handshake);
		if (r == -EAGAIN)
			return;
		if (r < 0 && error_is_of_connection(-r)) {
			client_hear_out(client);
			return client_close_sending(client);
		}
		if (r < 0)
			request_fail(handshake, -r);
		client_lend(client, handshake, r < 0 ? STAGE_ENDED : STAGE_SENT);
	}
}

int handshake_client_start(struct handshake_client *client, struct handshake *handshake, int fd)
{
	int r;

	if (handshake->client) {
		errno = EBUSY;
		return -1;
	}
	result_reset(handshake);
	handshake->fd = fd;
	r = socket_check(fd);
	if (r == 0 && client->send_closed)
		r = -EPIPE;
	if (r == 0) {
		handshake->id = ++client->last_id;
		r = client_send(client, handshake);
	}
	if (r < 0 && r != -EAGAIN) {
		if (error_is_of_connection(-r)) {
			client_hear_out(client);
			client_close_sending(client);
		}
		client_fail_request(client, handshake, -r);
		errno = handshake->failure_errno;
		return -1;
	}
	client_lend(client, handshake, r < 0 ? STAGE_WAITING : STAGE_SENT);
	return 0;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

/* The end: each handshake that the daemon had has an unknown fate. */
static void client_close(struct handshake_client *client, const char *class, int error, bool retry,
			 const char *sentence)
{
	struct handshake *handshake;

	client_close_sending(client);
	while ((handshake = client_first(&client->sent))) {
		result_fail(handshake, HANDSHAKE_POISONED, class, error, retry, "%s%s%s", sentence,
			    client->farewell ? ": " : "", client->farewell ? client->farewell : "");
		client_lend(client, handshake, STAGE_ENDED);
	}
	client->closed = error;
	/* The number stays open: it may be in an event loop. The daemon sees the end all the same. */
	shutdown(client->fd, SHUT_RDWR);
}

static void client_break(struct handshake_client *client, const char *what)
{
	char sentence[ERROR_SIZE];

	snprintf(sentence, sizeof(sentence), "the daemon's answer cannot be followed: %s", what);
	client_close(client, HANDSHAKE_CLASS_INTERNAL, EPROTO, false, sentence);
}

static void client_take_farewell(struct handshake_client *client, const struct message *message,
				 const char *sentence)
{
	const char *class = message_get(message, HANDSHAKE_KEY_CLASS, 0);
	const char *retry = message_get(message, HANDSHAKE_KEY_RETRY, 0);

	client->farewell = strdup(sentence);
	client->farewell_class = class ? strdup(class) : NULL;
	client->farewell_retry = retry && strcmp(retry, "yes") == 0;
}

static void client_take(struct handshake_client *client, struct message *message)
{
	char wrong[256];
	struct handshake *handshake;
	const char *id, *sentence;

	if (message->too_many_fds)
		return client_break(client, "it has too many descriptors");
	if (message_parse(message, wrong, sizeof(wrong)) < 0)
		return client_break(client, wrong);
	if (strcmp(message->operation, HANDSHAKE_OP_REPLY) != 0)
		return;
	id = message_get(message, HANDSHAKE_KEY_ID, 0);
	sentence = message_get(message, HANDSHAKE_KEY_ERROR, 0);
	if (!id && sentence && !client->farewell)
		client_take_farewell(client, message, sentence);
	handshake = id ? client_find(client, id) : NULL;
	if (!handshake)
		return; /* it was cancelled */
	result_take(handshake, message, handshake->fd, NULL);
	result_remember_daemon(handshake, client->path);
	client_lend(client, handshake, STAGE_ENDED);
}

/* Receives one packet. True if something moved. */
static bool client_receive(struct handshake_client *client)
{
	int r = message_receive(client->fd, &client->incoming);

	if (r > 0) {
		client_take(client, &client->incoming);
	} else if (r == -ECONNRESET && !client->reset_seen) {
		/* The daemon left requests unread. The kernel says so, once, before it gives the
		 * answers that came first; after them there is an end-of-file. */
		client->reset_seen = true;
		client_close_sending(client);
	} else if (r != -EAGAIN) {
		client_close(client, HANDSHAKE_CLASS_UNAVAILABLE, r < 0 ? -r : ECONNRESET, true,
			     "the daemon closed its connection before it answered");
	}
	message_done(&client->incoming);
	return r != -EAGAIN;
}

int handshake_client_process(struct handshake_client *client, struct handshake **ret_handshake)
{
	for (unsigned int ignored = 0;; ignored++) {
		struct handshake *handshake = client_first(&client->ended);

		if (handshake) {
			client_give_back(handshake);
			*ret_handshake = handshake;
			return 1;
		}
		if (client->closed) {
			errno = client->closed;
			return -1;
		}
		client_flush(client);
		if (list_is_empty(&client->ended) &&
		    (ignored == IGNORED_MAX || !client_receive(client)))
			return 0;
	}
}

/* ---- Giving up ----------------------------------------------------------------------------- */

/* Tells the daemon that nobody waits for the answer. Where that cannot be said, the handshake there
 * ends at its own deadline, and its answer is not expected here. */
static void client_cancel_id(struct handshake_client *client, uint64_t id)
{
	int r = -EAGAIN;

	if (client->send_closed)
		return;
	if (client->cancel_count == 0)
		r = client_send_cancel(client, id);
	if (r == 0)
		return;
	if (r != -EAGAIN)
		return client_close_sending(client);
	if (client->cancel_count == client->cancel_room) {
		size_t room = client->cancel_room ? client->cancel_room * 2 : 16;
		uint64_t *cancels = reallocarray(client->cancels, room, sizeof(*cancels));

		if (!cancels)
			return;
		client->cancels = cancels;
		client->cancel_room = room;
	}
	client->cancels[client->cancel_count++] = id;
}

static void client_give_up(struct handshake *handshake)
{
	if (handshake->stage == STAGE_WAITING)
		result_fail(handshake, HANDSHAKE_UNTOUCHED, HANDSHAKE_CLASS_CANCELLED, 0, true,
			    "the handshake was cancelled before it began");
	else if (handshake->stage == STAGE_SENT)
		result_fail(handshake, HANDSHAKE_POISONED, HANDSHAKE_CLASS_CANCELLED, 0, true,
			    "the handshake was cancelled while it was under way");
	client_give_back(handshake);
}

int handshake_client_cancel(struct handshake_client *client, struct handshake *handshake)
{
	bool sent;

	if (handshake->client != client) {
		errno = EINVAL;
		return -1;
	}
	sent = handshake->stage == STAGE_SENT;
	client_give_up(handshake);
	if (sent)
		client_cancel_id(client, handshake->id);
	return 0;
}

void handshake_client_free(struct handshake_client *client)
{
	int saved = errno;
	struct handshake *handshake;

	if (!client)
		return;
	while ((handshake = client_first(&client->waiting)) ||
	       (handshake = client_first(&client->sent)) ||
	       (handshake = client_first(&client->ended)))
		client_give_up(handshake);
	close(client->fd);
	free(client->cancels);
	free(client->farewell);
	free(client->farewell_class);
	free(client->path);
	free(client);
	errno = saved;
}
