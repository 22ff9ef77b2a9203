// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The result: a reply read into the object, its descriptors adopted, and the getters. Touches the
 * object, the descriptors of the reply and, for a relay, the caller's number. Never calls a
 * connection established of which a part is missing.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"

void result_reset(struct handshake *handshake)
{
	control_reset(&handshake->control);
	if (handshake->relay_state >= 0)
		close(fd_take(&handshake->relay_state));
	if (handshake->relay_control >= 0)
		close(fd_take(&handshake->relay_control));
	tickets_done(&handshake->tickets);
	handshake->path = PATH_NONE;
	free(handshake->chain);
	handshake->chain = NULL;
	early_data_done(&handshake->early);
	free(handshake->token);
	handshake->token = NULL;
	free(handshake->trace);
	handshake->trace = NULL;
	handshake->trace_size = 0;
	free(handshake->fields);
	handshake->fields = NULL;
	handshake->field_count = 0;
	error_clear(handshake);
	handshake->may_retry = false;
	handshake->failure_errno = 0;
	handshake->outcome = HANDSHAKE_PENDING;
}

/* Copies the fields, replacing those that are there. */
static int fields_store(struct handshake *handshake, const struct result_field *fields,
			size_t count)
{
	size_t size = count * sizeof(*fields);
	struct result_field *copy;
	char *text;

	for (size_t i = 0; i < count; i++)
		size += strlen(fields[i].key) + strlen(fields[i].value) + 2;
	copy = malloc(size ? size : 1);
	if (!copy)
		return -ENOMEM;
	text = (char *)(copy + count);
	for (size_t i = 0; i < count; i++) {
		copy[i].key = text;
		text = stpcpy(text, fields[i].key) + 1;
		copy[i].value = text;
		text = stpcpy(text, fields[i].value) + 1;
	}
	free(handshake->fields);
	handshake->fields = copy;
	handshake->field_count = count;
	return 0;
}

void result_fail(struct handshake *handshake, enum handshake_outcome outcome, const char *class,
		 int error, bool retry, const char *format, ...)
{
	char sentence[ERROR_SIZE];
	const struct result_field fields[] = {
	    {HANDSHAKE_KEY_OUTCOME, outcome == HANDSHAKE_UNTOUCHED ? "untouched" : "poisoned"},
	    {HANDSHAKE_KEY_CLASS, class},
	    {HANDSHAKE_KEY_ERROR, sentence},
	    {HANDSHAKE_KEY_RETRY, retry ? "yes" : "no"},
	};
	va_list arguments;

	/* Formatted before the reset: an argument may lie in the old result. */
	va_start(arguments, format);
	error_format(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	result_reset(handshake);
	handshake->outcome = outcome;
	handshake->failure_errno = error ? error : error_of_class(class);
	handshake->may_retry = retry;
	error_set(handshake, 0, "%s", sentence);
	/* Without memory the getters by key find nothing; outcome and sentence stand. */
	(void)fields_store(handshake, fields, sizeof(fields) / sizeof(fields[0]));
}

static void result_break(struct handshake *handshake, const char *sentence)
{
	result_fail(handshake, HANDSHAKE_POISONED, HANDSHAKE_CLASS_INTERNAL, 0, false,
		    "the daemon's answer cannot be followed: %s", sentence);
}

/* ---- The descriptors of a message ---------------------------------------------------------- */

struct descriptors {
	int connection, relay, relay_state, relay_control, tickets, chain, early_data, trace;
};

static void descriptors_done(struct descriptors *descriptors)
{
	cleanup_close(&descriptors->connection);
	cleanup_close(&descriptors->relay);
	cleanup_close(&descriptors->relay_state);
	cleanup_close(&descriptors->relay_control);
	cleanup_close(&descriptors->tickets);
	cleanup_close(&descriptors->chain);
	cleanup_close(&descriptors->early_data);
	cleanup_close(&descriptors->trace);
}

static int *descriptor_named(struct descriptors *descriptors, const char *name, size_t length)
{
	const struct {
		const char *name;
		int *fd;
	} known[] = {
	    {HANDSHAKE_DESCRIPTOR_CONNECTION, &descriptors->connection},
	    {HANDSHAKE_DESCRIPTOR_RELAY, &descriptors->relay},
	    {HANDSHAKE_DESCRIPTOR_RELAY_STATE, &descriptors->relay_state},
	    {HANDSHAKE_DESCRIPTOR_RELAY_CONTROL, &descriptors->relay_control},
	    {HANDSHAKE_DESCRIPTOR_TICKETS, &descriptors->tickets},
	    {HANDSHAKE_DESCRIPTOR_CHAIN, &descriptors->chain},
	    {HANDSHAKE_DESCRIPTOR_EARLY_DATA, &descriptors->early_data},
	    {HANDSHAKE_DESCRIPTOR_TRACE, &descriptors->trace},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
			return known[i].fd;
	return NULL;
}

/* Takes the descriptors by their names; what has none stays with the message, which closes it.
 * NULL, or what is wrong. */
static const char *descriptors_take(struct descriptors *descriptors, struct message *message)
{
	const char *names = message_get(message, HANDSHAKE_KEY_DESCRIPTORS, 0);
	size_t length;

	for (size_t i = 0; names && *names; i++) {
		int *fd;

		length = strcspn(names, ",");
		if (i >= message->fd_count)
			return "it lacks a descriptor that it names";
		fd = descriptor_named(descriptors, names, length);
		if (fd && *fd >= 0)
			return "it names a descriptor twice";
		if (fd)
			*fd = message_take_fd(message, i);
		names += length;
		names += *names == ',';
	}
	return NULL;
}

/* Reads size bytes of text. NULL, or what is wrong. */
static const char *text_fill(int fd, char *text, size_t size)
{
	size_t length = 0;

	while (length < size) {
		ssize_t n = pread(fd, text + length, size - length, (off_t)length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return "its chain cannot be read";
		length += (size_t)n;
	}
	if (memchr(text, 0, size))
		return "its chain is not text";
	text[size] = '\0';
	return NULL;
}

/* Reads the text of a memfd that somebody else wrote. NULL, or what is wrong, as it is told of a chain. */
static const char *text_read(int fd, size_t most, char **ret_text, size_t *ret_size)
{
	struct stat status;
	const char *wrong;
	char *text;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return "its chain is not in a file";
	if (status.st_size > (off_t)most)
		return "its chain is larger than it may be";
	text = malloc((size_t)status.st_size + 1);
	if (!text)
		return "there is no memory for its chain";
	wrong = text_fill(fd, text, (size_t)status.st_size);
	if (wrong) {
		free(text);
		return wrong;
	}
	*ret_text = text;
	*ret_size = (size_t)status.st_size;
	return NULL;
}

/* A trace that cannot be had is no reason to lose a connection: there is none then. */
static void trace_read(struct handshake *handshake, int fd)
{
	if (fd >= 0)
		(void)text_read(fd, HANDSHAKE_TRACE_SIZE, &handshake->trace,
				&handshake->trace_size);
}

/* ---- A message becomes a result ------------------------------------------------------------ */

/* Puts the connection's descriptor where the caller looks for it. NULL, or what is wrong. */
static const char *connection_adopt(struct handshake *handshake, struct descriptors *descriptors,
				    int fd, int *ret_fd)
{
	bool relay = descriptors->relay >= 0;

	if (fd >= 0) {
		if (relay && socket_replace(fd, descriptors->relay) < 0)
			return "its relay cannot take the place of the socket";
	} else if (relay) {
		*ret_fd = fd_take(&descriptors->relay);
	} else if (descriptors->connection >= 0) {
		*ret_fd = fd_take(&descriptors->connection);
	} else {
		return "it lacks the connection's descriptor";
	}
	handshake->path = relay ? PATH_RELAY : PATH_KERNEL;
	handshake->relay_state = relay ? fd_take(&descriptors->relay_state) : -1;
	handshake->relay_control = relay ? fd_take(&descriptors->relay_control) : -1;
	/* A relay meets the tickets itself. */
	handshake->tickets.fd = relay ? -1 : fd_take(&descriptors->tickets);
	return NULL;
}

static bool value_is(const struct message *message, const char *key, const char *value)
{
	const char *found = message_get(message, key, 0);

	return found && strcmp(found, value) == 0;
}

/* Whether a direction's records are made by something that is known here. Where nobody makes them, what is
 * written would leave as it is. */
static bool path_is_told(const struct message *message, const char *key)
{
	return value_is(message, key, "nic") || value_is(message, key, "kernel") ||
	       value_is(message, key, "relay");
}

/* NULL, or what is wrong. The last step is the only one that cannot be undone. */
static const char *established_take(struct handshake *handshake, struct message *message, int fd,
				    int *ret_fd)
{
	_cleanup_(descriptors_done) struct descriptors descriptors = {-1, -1, -1, -1,
								      -1, -1, -1, -1};
	bool relay = value_is(message, HANDSHAKE_KEY_TRANSMIT, "relay") ||
		     value_is(message, HANDSHAKE_KEY_RECEIVE, "relay");
	const char *wrong;
	size_t size;

	wrong = descriptors_take(&descriptors, message);
	if (wrong)
		return wrong;
	if (!path_is_told(message, HANDSHAKE_KEY_TRANSMIT) ||
	    !path_is_told(message, HANDSHAKE_KEY_RECEIVE))
		return "it does not tell what makes the records";
	if (relay != (descriptors.relay >= 0))
		return relay ? "it lacks the relay's descriptor"
			     : "it has a relay it does not name";
	if (relay && descriptors.relay_state < 0)
		return "it lacks the relay's state";
	if (descriptors.chain >= 0) {
		wrong =
		    text_read(descriptors.chain, HANDSHAKE_CHAIN_SIZE, &handshake->chain, &size);
		if (wrong)
			return wrong;
	}
	if (descriptors.early_data >= 0) {
		wrong = early_data_read(&handshake->early, descriptors.early_data);
		if (wrong)
			return wrong;
	}
	trace_read(handshake, descriptors.trace);
	return connection_adopt(handshake, &descriptors, fd, ret_fd);
}

/* Of a handshake that failed there is nothing else to take. */
static void failed_take(struct handshake *handshake, struct message *message)
{
	_cleanup_(descriptors_done) struct descriptors descriptors = {-1, -1, -1, -1,
								      -1, -1, -1, -1};

	if (!descriptors_take(&descriptors, message))
		trace_read(handshake, descriptors.trace);
}

/* What no reply may have. NULL, or what is wrong. */
static const char *reply_check(const struct message *message)
{
	static const char *const once[] = {
	    HANDSHAKE_KEY_ID,          HANDSHAKE_KEY_OUTCOME, HANDSHAKE_KEY_TRANSMIT,
	    HANDSHAKE_KEY_DESCRIPTORS, HANDSHAKE_KEY_RECEIVE, HANDSHAKE_KEY_CLASS,
	};

	for (size_t i = 0; i < message->field_count; i++)
		if (message->fields[i].key[0] == '!')
			return "it has a line that must be understood and is not";
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (message_get(message, once[i], 1))
			return "it has a line twice";
	return NULL;
}

/* Copies the reply's lines, but for those that belong to the packet. */
static int reply_store(struct handshake *handshake, const struct message *message)
{
	struct result_field fields[sizeof(message->fields) / sizeof(message->fields[0])];
	size_t count = 0;

	for (size_t i = 0; i < message->field_count; i++) {
		if (strcmp(message->fields[i].key, HANDSHAKE_KEY_ID) == 0 ||
		    strcmp(message->fields[i].key, HANDSHAKE_KEY_DESCRIPTORS) == 0 ||
		    strcmp(message->fields[i].key, HANDSHAKE_KEY_TOKEN) == 0)
			continue;
		fields[count].key = message->fields[i].key;
		fields[count++].value = message->fields[i].value;
	}
	return fields_store(handshake, fields, count);
}

/* It changes with each key update, so it is none of the fields. */
static void token_store(struct handshake *handshake, const struct message *message)
{
	const char *token = message_get(message, HANDSHAKE_KEY_TOKEN, 0);

	handshake->token = token ? strdup(token) : NULL;
}

void result_take(struct handshake *handshake, struct message *message, int fd, int *ret_fd)
{
	const char *wrong, *sentence;

	result_reset(handshake);
	wrong = reply_check(message);
	if (!wrong && reply_store(handshake, message) < 0)
		wrong = "there is no memory for it";
	if (wrong)
		return result_break(handshake, wrong);
	if (value_is(message, HANDSHAKE_KEY_OUTCOME, "established")) {
		if (message->lost_fds)
			return result_fail(
			    handshake, HANDSHAKE_POISONED, HANDSHAKE_CLASS_INTERNAL, EMFILE, true,
			    "no descriptor was free for those of the daemon's answer");
		wrong = established_take(handshake, message, fd, ret_fd);
		if (wrong)
			return result_break(handshake, wrong);
		handshake->outcome = HANDSHAKE_ESTABLISHED;
		return token_store(handshake, message);
	}
	if (!value_is(message, HANDSHAKE_KEY_OUTCOME, "untouched") &&
	    !value_is(message, HANDSHAKE_KEY_OUTCOME, "poisoned"))
		return result_break(handshake, "it has no outcome that exists");
	handshake->outcome = value_is(message, HANDSHAKE_KEY_OUTCOME, "untouched")
				 ? HANDSHAKE_UNTOUCHED
				 : HANDSHAKE_POISONED;
	failed_take(handshake, message);
	handshake->failure_errno = error_of_class(message_get(message, HANDSHAKE_KEY_CLASS, 0));
	handshake->may_retry = value_is(message, HANDSHAKE_KEY_RETRY, "yes");
	sentence = message_get(message, HANDSHAKE_KEY_ERROR, 0);
	error_set(handshake, 0, "%s", sentence ? sentence : "the daemon gave no reason");
}

int result_adopt(struct handshake *handshake, const char *version, const char *cipher,
		 const char *token)
{
	const struct result_field fields[] = {
	    {HANDSHAKE_KEY_OUTCOME, "established"}, {HANDSHAKE_KEY_VERSION, version},
	    {HANDSHAKE_KEY_CIPHER, cipher},         {HANDSHAKE_KEY_TRANSMIT, "kernel"},
	    {HANDSHAKE_KEY_RECEIVE, "kernel"},
	};
	char *copy = token ? strdup(token) : NULL;

	if ((token && !copy) ||
	    fields_store(handshake, fields, sizeof(fields) / sizeof(fields[0])) < 0) {
		free(copy);
		return -ENOMEM;
	}
	handshake->token = copy;
	handshake->path = PATH_KERNEL;
	handshake->outcome = HANDSHAKE_ESTABLISHED;
	return 0;
}

void result_remember_daemon(struct handshake *handshake, const char *path)
{
	free(handshake->daemon_path);
	handshake->daemon_path = path && handshake->token ? strdup(path) : NULL;
}

/* ---- Getters ------------------------------------------------------------------------------- */

enum handshake_outcome handshake_outcome(const struct handshake *handshake)
{
	return handshake->outcome;
}

const char *handshake_error(const struct handshake *handshake)
{
	return handshake->error;
}

int handshake_failure_errno(const struct handshake *handshake)
{
	return handshake->failure_errno;
}

int handshake_may_retry(const struct handshake *handshake)
{
	return handshake->may_retry;
}

const char *handshake_result(const struct handshake *handshake, const char *key, size_t n)
{
	for (size_t i = 0; i < handshake->field_count; i++)
		if (strcmp(handshake->fields[i].key, key) == 0 && n-- == 0)
			return handshake->fields[i].value;
	return NULL;
}

int handshake_result_at(const struct handshake *handshake, size_t position, const char **ret_key,
			const char **ret_value)
{
	if (position >= handshake->field_count)
		return 0;
	*ret_key = handshake->fields[position].key;
	*ret_value = handshake->fields[position].value;
	return 1;
}

const char *handshake_peer_chain(const struct handshake *handshake)
{
	return handshake->chain;
}

const char *handshake_trace(const struct handshake *handshake, size_t *ret_size)
{
	if (ret_size)
		*ret_size = handshake->trace_size;
	return handshake->trace;
}
