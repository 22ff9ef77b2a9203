// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Collects what happens in a handshake. Touches its own memory. Never keeps a key, a ticket or what a
 * connection carried, never grows beyond its bound, and changes nothing of the handshake.
 */
#include "trace.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "alert.h"
#include "config-words.h"
#include "tls-names.h"
#include "trace-certificates.h"
#include "trace-message.h"

enum {
	PENDING_MAX = 16,
	END_SIZE = 16384,        /* is kept for the end, of TRACE_SIZE_MAX */
	MESSAGE_HEADER_SIZE = 4, /* RFC 8446, 4 */
	TLS13_OVERHEAD = 16 + 1, /* of a record: tag and inner type (RFC 8446, 5.2) */
	ADDRESS_SIZE = INET6_ADDRSTRLEN + 16,
};

enum { CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22, DATA = 23 }; /* RFC 8446, 5.1 */

/* Follows the records of one direction. */
struct stream {
	uint8_t header[5];
	uint8_t header_length;
	uint16_t left;
	bool protected; /* a ChangeCipherSpec of TLS 1.2 went by */
};

/* A message that was made and whose record is still to come. */
struct pending {
	struct json_text json;
	size_t left; /* bytes of it, with its header, that no record has carried yet */
};

struct trace {
	struct json_text json;
	size_t mark; /* where the event that is being written begins */
	uint64_t lost;
	uint64_t started; /* CLOCK_MONOTONIC, microseconds */
	uid_t uid;
	char peer[ADDRESS_SIZE];
	struct trace_context context;
	struct stream in, out;
	struct pending pending[PENDING_MAX];
	unsigned pending_count;
};

static uint64_t now_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- Events -------------------------------------------------------------------------------- */

static struct json_text *event_open(struct trace *trace)
{
	trace->mark = trace->json.length;
	json_open(&trace->json, NULL, '{');
	json_add_number(&trace->json, "us", now_microseconds() - trace->started);
	return &trace->json;
}

/* An event is there whole, or it is counted. */
static void event_close(struct trace *trace)
{
	json_close(&trace->json, '}');
	if (!trace->json.full)
		return;
	trace->json.length = trace->mark;
	trace->json.full = false;
	trace->lost++;
}

static const char *direction(bool incoming)
{
	return incoming ? "received" : "sent";
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static void address_write(const struct sockaddr_storage *address, char *ret_text, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "";

	*ret_text = '\0';
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		snprintf(ret_text, size, "%s:%u", text, ntohs(in->sin_port));
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, sizeof(text));
			snprintf(ret_text, size, "%s:%u", text, ntohs(in6->sin6_port));
		} else {
			inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
			snprintf(ret_text, size, "[%s]:%u", text, ntohs(in6->sin6_port));
		}
	}
}

void trace_read_peer(int fd, char *ret_text, size_t size)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);

	*ret_text = '\0';
	if (getpeername(fd, (struct sockaddr *)&address, &length) == 0)
		address_write(&address, ret_text, size);
}

static void add_local_address(struct json_text *json, int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	char text[ADDRESS_SIZE];

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return;
	address_write(&address, text, sizeof(text));
	json_add(json, "local", text);
}

static void add_now(struct json_text *json)
{
	struct timespec now;
	struct tm parts;
	char text[96], whole[48];

	clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &parts))
		return;
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text, sizeof(text), "%s.%06ldZ", whole, now.tv_nsec / 1000);
	json_add(json, "started", text);
}

struct trace *trace_new(const struct decision *decision, uid_t uid, int fd)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	struct json_text *json;

	if (!trace)
		return NULL;
	json = &trace->json;
	json->limit = TRACE_SIZE_MAX - END_SIZE;
	trace->started = now_microseconds();
	trace->uid = uid;
	trace_read_peer(fd, trace->peer, sizeof(trace->peer));
	json_open(json, NULL, '{');
	json_add_number(json, "handshake-trace", 1);
	add_now(json);
	json_add(json, "role", decision->role == REQUEST_SERVER ? "server" : "client");
	json_add(json, "profile", decision->profile->config->name);
	json_add_number(json, "user", uid);
	json_add(json, "peer", trace->peer);
	add_local_address(json, fd);
	if (decision->peer_name[0])
		json_add(json, "peer-name", decision->peer_name);
	json_open(json, "events", '[');
	if (!json->full)
		return trace;
	trace_free(trace);
	return NULL;
}

static void pending_drop(struct trace *trace)
{
	for (unsigned i = 0; i < trace->pending_count; i++)
		json_done(&trace->pending[i].json);
	trace->pending_count = 0;
}

void trace_free(struct trace *trace)
{
	if (!trace)
		return;
	pending_drop(trace);
	json_done(&trace->json);
	free(trace);
}

const char *trace_peer(const struct trace *trace)
{
	return trace->peer;
}

uid_t trace_user(const struct trace *trace)
{
	return trace->uid;
}

/* ---- Messages and records ------------------------------------------------------------------ */

static void message_write(struct trace *trace, struct json_text *json, unsigned type, bool incoming,
			  const gnutls_datum_t *body)
{
	/* A HelloRetryRequest is a ServerHello on the wire (RFC 8446, 4.1.4). */
	unsigned number = type == TRACE_HELLO_RETRY ? GNUTLS_HANDSHAKE_SERVER_HELLO : type;
	const char *name = tls_message_name(type);

	json_add(json, "event", "message");
	json_add(json, "direction", direction(incoming));
	json_add(json, "message", name ? name : "unknown");
	json_add_number(json, "type", number);
	json_add_number(json, "size", body->size + MESSAGE_HEADER_SIZE);
	trace_message_describe(json, &trace->context, type, body->data, body->size);
}

static void pending_add(struct trace *trace, unsigned type, const gnutls_datum_t *body)
{
	struct pending *pending = &trace->pending[trace->pending_count];

	if (trace->pending_count == PENDING_MAX) {
		trace->lost++;
		return;
	}
	memset(pending, 0, sizeof(*pending));
	pending->json.limit = TRACE_SIZE_MAX;
	pending->left = body->size + MESSAGE_HEADER_SIZE;
	message_write(trace, &pending->json, type, false, body);
	trace->pending_count++;
}

void trace_message(struct trace *trace, unsigned type, bool incoming, const gnutls_datum_t *body)
{
	/* ChangeCipherSpec is no message; its record is told. */
	if (!trace || type == GNUTLS_HANDSHAKE_CHANGE_CIPHER_SPEC)
		return;
	if (!incoming) {
		pending_add(trace, type, body);
		return;
	}
	message_write(trace, event_open(trace), type, true, body);
	event_close(trace);
}

static void pending_tell(struct trace *trace)
{
	struct pending *first = &trace->pending[0];

	if (first->json.full) {
		trace->lost++;
	} else {
		json_add_raw(event_open(trace), NULL, first->json.text, first->json.length);
		event_close(trace);
	}
	json_done(&first->json);
	trace->pending_count--;
	memmove(first, first + 1, trace->pending_count * sizeof(*first));
}

/* A record left: tells the messages that end in it. */
static void pending_carry(struct trace *trace, uint8_t type, size_t size)
{
	if (type == HANDSHAKE && trace->out.protected) {
		/* The one message that TLS 1.2 protects within a handshake is Finished. */
		if (trace->pending_count > 0)
			pending_tell(trace);
		return;
	}
	if (type == DATA)
		size = size > TLS13_OVERHEAD ? size - TLS13_OVERHEAD : 0;
	else if (type != HANDSHAKE)
		return;
	while (trace->pending_count > 0 && size > 0) {
		struct pending *first = &trace->pending[0];

		if (first->left > size) {
			first->left -= size;
			return;
		}
		size -= first->left;
		pending_tell(trace);
	}
}

static void record_tell(struct trace *trace, struct stream *stream, bool incoming)
{
	uint8_t type = stream->header[0];
	uint16_t size = (uint16_t)(stream->header[3] << 8 | stream->header[4]);
	uint16_t version = (uint16_t)(stream->header[1] << 8 | stream->header[2]);
	struct json_text *json = event_open(trace);
	const char *name = tls_record_name(type);

	json_add(json, "event", "record");
	json_add(json, "direction", direction(incoming));
	json_add(json, "record", name ? name : "unknown");
	json_add_number(json, "type", type);
	if (tls_version_name(version))
		json_add(json, "version", tls_version_name(version));
	json_add_number(json, "size", size);
	event_close(trace);
	if (!incoming)
		pending_carry(trace, type, size);
	if (type == CHANGE_CIPHER_SPEC && !trace->context.tls13)
		stream->protected = true;
}

void trace_bytes(struct trace *trace, bool incoming, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	struct stream *stream;

	if (!trace)
		return;
	stream = incoming ? &trace->in : &trace->out;
	while (size > 0) {
		size_t part = sizeof(stream->header) - stream->header_length;

		if (part > 0) {
			part = part < size ? part : size;
			memcpy(stream->header + stream->header_length, at, part);
			stream->header_length += (uint8_t)part;
			if (stream->header_length == sizeof(stream->header))
				stream->left =
				    (uint16_t)(stream->header[3] << 8 | stream->header[4]);
		} else {
			part = stream->left < size ? stream->left : size;
			stream->left -= (uint16_t)part;
		}
		at += part;
		size -= part;
		if (stream->header_length == sizeof(stream->header) && stream->left == 0) {
			record_tell(trace, stream, incoming);
			stream->header_length = 0;
		}
	}
}

/* ---- What else happens --------------------------------------------------------------------- */

static void alert_tell(struct trace *trace, bool incoming, uint8_t alert)
{
	struct json_text *json = event_open(trace);
	const char *name = alert_name(alert);

	json_add(json, "event", "alert");
	json_add(json, "direction", direction(incoming));
	json_add(json, "alert", name ? name : "unknown");
	json_add_number(json, "number", alert);
	event_close(trace);
}

void trace_warning(struct trace *trace, uint8_t alert)
{
	if (trace)
		alert_tell(trace, true, alert);
}

void trace_verification_begin(struct trace *trace)
{
	if (trace)
		trace_verdicts_begin();
}

void trace_verification_end(struct trace *trace, gnutls_session_t session,
			    const struct verification *verification)
{
	if (!trace)
		return;
	trace_verdicts_end();
	if (!verification->present && !verification->alert)
		return;
	json_add(event_open(trace), "event", "verification");
	trace_verdicts_describe(&trace->json, session, verification);
	event_close(trace);
}

void trace_keys(struct trace *trace, const struct outcome *outcome)
{
	struct json_text *json;

	if (!trace)
		return;
	json = event_open(trace);
	json_add(json, "event", "keys");
	json_add(json, "transmit", outcome->transmit);
	json_add(json, "receive", outcome->receive);
	json_add(json, "cipher", outcome->cipher);
	if (outcome->records_reason[0])
		json_add(json, "records-reason", outcome->records_reason);
	if (outcome->zero_copy)
		json_add(json, "zero-copy-sendfile", outcome->zero_copy);
	event_close(trace);
}

static void add(struct json_text *json, const char *key, const char *value)
{
	if (value && *value)
		json_add(json, key, value);
}

static void end_describe(struct json_text *json, const struct outcome *outcome)
{
	const struct failure *failure = &outcome->failure;

	json_add(json, "outcome", outcome_state_word(outcome->state));
	json_add_number(json, "us", outcome->microseconds);
	add(json, "version", outcome->version);
	add(json, "suite", outcome->suite);
	add(json, "cipher", outcome->cipher);
	add(json, "group", outcome->group);
	add(json, "key-exchange", outcome->key_exchange);
	add(json, "alpn", outcome->alpn);
	add(json, "server-name", outcome->server_name);
	if (outcome->state == OUTCOME_ESTABLISHED) {
		json_add_boolean(json, "resumed", outcome->resumed);
		add(json, "early-data", outcome->early_data);
		add(json, "early-data-reason", outcome->early_data_reason);
		return;
	}
	add(json, "class", failure_class_word(failure->class));
	add(json, "error", failure->sentence);
	add(json, "verification", failure->verification);
	json_add_boolean(json, "retry", failure->retry);
}

const char *trace_end(struct trace *trace, const struct outcome *outcome, size_t *ret_size)
{
	struct json_text *json = &trace->json;

	pending_drop(trace); /* they never left */
	if (outcome->failure.alert_direction != ALERT_NONE)
		alert_tell(trace, outcome->failure.alert_direction == ALERT_RECEIVED,
			   outcome->failure.alert);
	json->limit = TRACE_SIZE_MAX;
	json_close(json, ']');
	json_add_number(json, "lost-events", trace->lost);
	json_open(json, "end", '{');
	end_describe(json, outcome);
	json_close(json, '}');
	json_close(json, '}');
	*ret_size = json->length;
	return json->full ? NULL : json->text;
}
