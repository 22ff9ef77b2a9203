// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Replies in the words of handshake-protocol(7). Touches the packet and the descriptors that go with
 * it. Never leaves out a failure's reason, and never lets a peer's certificate make a packet too large
 * to send.
 */
#include "reply.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "alert.h"
#include "log.h"
#include "sealed-memory.h"

/* ---- Descriptors --------------------------------------------------------------------------- */

struct names {
	char text[128];
};

static void reply_add_fd(struct reply *reply, struct names *names, const char *name, int fd)
{
	size_t length;

	if (fd < 0)
		return;
	reply->fds[reply->fd_count++] = fd;
	length = strlen(names->text);
	snprintf(names->text + length, sizeof(names->text) - length, "%s%s", length ? "," : "",
		 name);
}

/* -1: it could not be made. */
static int chain_memfd(const char *chain)
{
	int fd = sealed_memory_new("handshake-chain", chain, strlen(chain));

	if (fd < 0)
		log_warning("a peer's chain is left out of the reply: %s", strerror(-fd));
	return fd;
}

static int take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* ---- Words --------------------------------------------------------------------------------- */

/* A value that is "" is not known and not said. */
static void add(struct message_writer *writer, const char *key, const char *value)
{
	if (value && *value)
		message_add(writer, key, value);
}

static const char *yes_or_no(bool value)
{
	return value ? "yes" : "no";
}

/* Sentences quote what programs and peers said, and are shown on terminals. */
static void add_sentence(struct message_writer *writer, const char *key, const char *sentence)
{
	char printable[sizeof(((struct failure *)0)->sentence)];
	size_t i;

	for (i = 0; i < sizeof(printable) - 1 && sentence[i]; i++)
		printable[i] =
		    (unsigned char)sentence[i] < 0x20 || sentence[i] == 0x7f ? '?' : sentence[i];
	printable[i] = '\0';
	add(writer, key, printable);
}

static void add_failure(struct message_writer *writer, const struct failure *failure)
{
	add(writer, HANDSHAKE_KEY_CLASS, failure_class_word(failure->class));
	add_sentence(writer, HANDSHAKE_KEY_ERROR, failure->sentence);
	add(writer, HANDSHAKE_KEY_RETRY, yes_or_no(failure->retry));
	if (failure->alert_direction != ALERT_NONE) {
		add(writer, HANDSHAKE_KEY_ALERT, alert_name(failure->alert));
		message_add_number(writer, HANDSHAKE_KEY_ALERT_NUMBER, failure->alert);
		add(writer, HANDSHAKE_KEY_ALERT_DIRECTION,
		    failure->alert_direction == ALERT_SENT ? "sent" : "received");
	}
	add_sentence(writer, HANDSHAKE_KEY_VERIFICATION, failure->verification);
}

static void add_identity(struct message_writer *writer, const struct identity *identity,
			 unsigned name_count, bool has_psk)
{
	add(writer, HANDSHAKE_KEY_PEER_AUTHENTICATED,
	    yes_or_no(has_psk || ((identity->present || identity->public_key_sha256[0]) &&
				  identity->authenticated)));
	add(writer, HANDSHAKE_KEY_PEER_PUBLIC_KEY_SHA256, identity->public_key_sha256);
	if (!identity->present)
		return;
	add(writer, HANDSHAKE_KEY_PEER_SUBJECT, identity->subject);
	add(writer, HANDSHAKE_KEY_PEER_ISSUER, identity->issuer);
	add(writer, HANDSHAKE_KEY_PEER_SHA256, identity->sha256);
	for (unsigned i = 0; i < name_count; i++)
		add(writer, HANDSHAKE_KEY_PEER_IDENTITY, identity->names[i]);
}

/* In the order of enum phase. */
static void add_phases(struct message_writer *writer, const uint64_t *phases)
{
	static const char *const keys[PHASE_COUNT] = {
	    HANDSHAKE_KEY_TIME_QUEUE_US,       HANDSHAKE_KEY_TIME_PEER_US,
	    HANDSHAKE_KEY_TIME_COMPUTATION_US, HANDSHAKE_KEY_TIME_SIGNER_US,
	    HANDSHAKE_KEY_TIME_KEYS_US,
	};

	for (int i = 0; i < PHASE_COUNT; i++)
		message_add_number(writer, keys[i], phases[i]);
}

static void add_established(struct message_writer *writer, const struct outcome *outcome,
			    unsigned name_count)
{
	add(writer, HANDSHAKE_KEY_VERSION, outcome->version);
	add(writer, HANDSHAKE_KEY_SUITE, outcome->suite);
	add(writer, HANDSHAKE_KEY_CIPHER, outcome->cipher);
	add(writer, HANDSHAKE_KEY_KEY_EXCHANGE, outcome->key_exchange);
	add(writer, HANDSHAKE_KEY_GROUP, outcome->group);
	add(writer, HANDSHAKE_KEY_ALPN, outcome->alpn);
	add(writer, HANDSHAKE_KEY_SERVER_NAME, outcome->server_name);
	add(writer, HANDSHAKE_KEY_TRANSMIT, outcome->transmit);
	add(writer, HANDSHAKE_KEY_RECEIVE, outcome->receive);
	add(writer, HANDSHAKE_KEY_RECORDS_REASON, outcome->records_reason);
	add(writer, HANDSHAKE_KEY_ZERO_COPY, outcome->zero_copy);
	add(writer, HANDSHAKE_KEY_ZERO_COPY_REASON, outcome->zero_copy_reason);
	add(writer, HANDSHAKE_KEY_RESUMED, yes_or_no(outcome->resumed));
	add(writer, HANDSHAKE_KEY_CLIENT_CERTIFICATE, outcome->client_certificate);
	add(writer, HANDSHAKE_KEY_EARLY_DATA, outcome->early_data);
	add(writer, HANDSHAKE_KEY_EARLY_DATA_REASON, outcome->early_data_reason);
	message_add_number(writer, HANDSHAKE_KEY_HANDSHAKE_US, outcome->microseconds);
	add_phases(writer, outcome->phases);
	add(writer, HANDSHAKE_KEY_TOKEN, outcome->token);
	add(writer, HANDSHAKE_KEY_PSK_IDENTITY, outcome->psk_identity);
	add_identity(writer, &outcome->identity, name_count, outcome->psk_identity[0] != '\0');
}

static void add_address(struct message_writer *writer, const struct sockaddr_storage *peer)
{
	char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];

	if (peer->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)peer;

		inet_ntop(AF_INET, &in->sin_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "%s:%u", address, ntohs(in->sin_port));
	} else if (peer->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;

		inet_ntop(AF_INET6, &in6->sin6_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "[%s]:%u", address, ntohs(in6->sin6_port));
	} else {
		return;
	}
	add(writer, HANDSHAKE_KEY_PEER, text);
}

/* ---- Packets ------------------------------------------------------------------------------- */

static void reply_write(struct reply *reply, const char *operation, uint64_t id,
			const struct outcome *outcome, const struct sockaddr_storage *peer,
			const struct names *names, unsigned name_count)
{
	struct message_writer *writer = &reply->writer;

	message_begin(writer, operation);
	if (id)
		message_add_number(writer, HANDSHAKE_KEY_ID, id);
	add(writer, HANDSHAKE_KEY_OUTCOME, outcome_state_word(outcome->state));
	if (outcome->state == OUTCOME_ESTABLISHED)
		add_established(writer, outcome, name_count);
	else
		add_failure(writer, &outcome->failure);
	if (peer)
		add_address(writer, peer);
	add(writer, HANDSHAKE_KEY_DESCRIPTORS, names->text);
}

static void reply_finish(struct reply *reply, const char *operation, uint64_t id,
			 struct outcome *outcome, int connection_fd,
			 const struct sockaddr_storage *peer)
{
	unsigned name_count = outcome->identity.name_count;
	struct names names = {""};

	reply->fd_count = 0;
	if (outcome->state == OUTCOME_ESTABLISHED) {
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_CONNECTION, connection_fd);
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_RELAY, take(&outcome->relay_fd));
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_RELAY_STATE,
			     take(&outcome->relay_state_fd));
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_RELAY_CONTROL,
			     take(&outcome->relay_control_fd));
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_TICKETS,
			     take(&outcome->tickets_fd));
		if (outcome->identity.chain)
			reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_CHAIN,
				     chain_memfd(outcome->identity.chain));
		reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_EARLY_DATA,
			     take(&outcome->early_data_fd));
	}
	reply_add_fd(reply, &names, HANDSHAKE_DESCRIPTOR_TRACE, take(&outcome->trace_fd));
	/* A certificate may have more names, once escaped, than a packet holds: the last ones go. A
	 * program that looks for a name that is missing refuses: it fails closed. */
	reply_write(reply, operation, id, outcome, peer, &names, name_count);
	while (reply->writer.overflow && name_count > 0)
		reply_write(reply, operation, id, outcome, peer, &names, --name_count);
}

void reply_build(struct reply *reply, uint64_t id, struct outcome *outcome)
{
	reply_finish(reply, HANDSHAKE_OP_REPLY, id, outcome, -1, NULL);
}

void reply_build_connection(struct reply *reply, uint64_t id, struct outcome *outcome,
			    int *connection_fd, const struct sockaddr_storage *peer)
{
	int fd = outcome->relay_fd < 0 ? take(connection_fd) : -1;

	reply_finish(reply, HANDSHAKE_OP_CONNECTION, id, outcome, fd, peer);
}

void reply_build_update(struct reply *reply, uint64_t id, const struct key_update_result *result)
{
	struct message_writer *writer = &reply->writer;

	reply->fd_count = 0;
	message_begin(writer, HANDSHAKE_OP_REPLY);
	message_add_number(writer, HANDSHAKE_KEY_ID, id);
	add(writer, HANDSHAKE_KEY_OUTCOME, outcome_state_word(result->state));
	if (result->state == OUTCOME_ESTABLISHED) {
		add(writer, HANDSHAKE_KEY_UPDATED,
		    result->received && result->transmitted ? "both"
		    : result->received                      ? "receive"
							    : "transmit");
		add(writer, HANDSHAKE_KEY_TOKEN, result->token);
	}
	if (result->failure.class != FAILURE_NONE)
		add_failure(writer, &result->failure);
}

void reply_build_refusal(struct reply *reply, uint64_t id, const struct failure *failure)
{
	reply->fd_count = 0;
	message_begin(&reply->writer, HANDSHAKE_OP_REPLY);
	if (id)
		message_add_number(&reply->writer, HANDSHAKE_KEY_ID, id);
	add(&reply->writer, HANDSHAKE_KEY_OUTCOME, outcome_state_word(OUTCOME_UNTOUCHED));
	add_failure(&reply->writer, failure);
}
