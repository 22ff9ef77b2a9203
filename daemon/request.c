// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads a program's packet into a request, and asks the kernel who sent it. Judges form only: what
// is allowed is policy.c's business. Never believes what a program says of itself.
#include "request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config-words.h"

static int refuse(struct failure *failure, const char *what, const char *value, const char *needed)
{
	failure_set(failure, FAILURE_REQUEST, false, "%s=%.80s%s: %s", what, value,
		    strlen(value) > 80 ? "…" : "", needed);
	return -1;
}

// Decimal digits alone, from 1 to most.
static bool number_read(const char *text, uint64_t most, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (*text < '1' || *text > '9')
		return false;
	for (; *text; text++) {
		unsigned digit = (unsigned char)*text - '0';

		if (digit > 9 || number > (most - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

static int read_id(struct request *request, const char *value, struct failure *failure)
{
	if (!number_read(value, INT64_MAX, &request->id))
		return refuse(failure, HANDSHAKE_KEY_ID, value,
			      "a number from 1 to 9223372036854775807 is needed");
	return 0;
}

static int read_role(struct request *request, const char *value, struct failure *failure)
{
	if (!strcmp(value, "client"))
		request->role = REQUEST_CLIENT;
	else if (!strcmp(value, "server"))
		request->role = REQUEST_SERVER;
	else
		return refuse(failure, HANDSHAKE_KEY_ROLE, value, "the role is client or server");
	request->role_given = true;
	return 0;
}

static int read_profile(struct request *request, const char *value, struct failure *failure)
{
	if (!*value || strlen(value) >= sizeof(request->profile))
		return refuse(failure, HANDSHAKE_KEY_PROFILE, value,
			      "a profile's name has 1 to 63 bytes");
	memcpy(request->profile, value, strlen(value) + 1);
	request->profile_given = true;
	return 0;
}

static bool is_address(const char *name)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

// Letters, digits, '-' and '_' in labels of 1 to 63 bytes (RFC 1035, 2.3.4); the last label is no
// number, or else "1.2.3.256" would be a name.
static bool is_dns_name(const char *name)
{
	size_t label = 0;
	bool digits = true;

	for (const char *c = name; *c; c++) {
		if (*c == '.') {
			if (!label)
				return false;
			label = 0;
			digits = true;
			continue;
		}
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || *c == '-' || *c == '_'))
			return false;
		digits = digits && *c >= '0' && *c <= '9';
		if (++label > 63)
			return false;
	}
	return label && !digits;
}

static int read_peer_name(struct request *request, const char *value, struct failure *failure)
{
	size_t length = strlen(value);

	if (length >= sizeof(request->peer_name))
		return refuse(failure, HANDSHAKE_KEY_PEER_NAME, value,
			      "a name has at most 253 bytes");
	if (length && value[length - 1] == '.')
		return refuse(failure, HANDSHAKE_KEY_PEER_NAME, value,
			      "write the name without the final dot");
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c >= 0x80)
			return refuse(failure, HANDSHAKE_KEY_PEER_NAME, value,
				      "write the name in its ASCII form, xn--… (RFC 5890)");
	if (!is_address(value) && !is_dns_name(value))
		return refuse(failure, HANDSHAKE_KEY_PEER_NAME, value,
			      "this is neither a DNS name nor an IP address");
	memcpy(request->peer_name, value, length + 1);
	return 0;
}

static int alpn_add(struct request *request, const char *word, size_t length, const char *value,
		    struct failure *failure)
{
	if (!length || length >= REQUEST_ALPN_SIZE)
		return refuse(failure, HANDSHAKE_KEY_ALPN, value,
			      "each protocol's name has 1 to 31 bytes, with commas between them");
	if (request->alpn_count == REQUEST_ALPN_MAX)
		return refuse(failure, HANDSHAKE_KEY_ALPN, value, "at most 8 protocols");
	for (unsigned i = 0; i < request->alpn_count; i++)
		if (strlen(request->alpn[i]) == length && !memcmp(request->alpn[i], word, length))
			return refuse(failure, HANDSHAKE_KEY_ALPN, value,
				      "a protocol is named twice");
	memcpy(request->alpn[request->alpn_count++], word, length);
	return 0;
}

static int read_alpn(struct request *request, const char *value, struct failure *failure)
{
	if (!*value)
		return 0;
	for (const char *word = value;; word++) {
		size_t length = strcspn(word, ",");

		if (alpn_add(request, word, length, value, failure) < 0)
			return -1;
		word += length;
		if (!*word)
			return 0;
	}
}

static int read_timeout(struct request *request, const char *value, struct failure *failure)
{
	uint64_t number;

	if (!number_read(value, INT32_MAX, &number))
		return refuse(failure, HANDSHAKE_KEY_TIMEOUT_MS, value,
			      "milliseconds from 1 to 2147483647 are needed");
	request->timeout_ms = (uint32_t)number;
	return 0;
}

static int read_records(struct request *request, const char *value, struct failure *failure)
{
	const struct config_word *word = config_word_find(config_records_words, value);

	if (!word || word->value == CONFIG_RECORDS_AUTO)
		return refuse(failure, HANDSHAKE_KEY_RECORDS, value,
			      "kernel or relay; leave the key out for what the profile says");
	request->records = (enum config_records)word->value;
	request->records_given = true;
	return 0;
}

static int read_client_certificates(struct request *request, const char *value,
				    struct failure *failure)
{
	if (strcmp(value, "require") != 0)
		return refuse(failure, HANDSHAKE_KEY_CLIENT_CERTIFICATES, value,
			      "a request can only require them; leave the key out for what the"
			      " profile says");
	request->require_client_certificate = true;
	return 0;
}

static int read_descriptors(struct request *request, const char *value, struct failure *failure)
{
	request->early_data =
	    !strcmp(value, HANDSHAKE_DESCRIPTOR_SOCKET "," HANDSHAKE_DESCRIPTOR_EARLY_DATA);
	if (!request->early_data && strcmp(value, HANDSHAKE_DESCRIPTOR_SOCKET) != 0)
		return refuse(failure, HANDSHAKE_KEY_DESCRIPTORS, value,
			      "what a request brings is \"socket\", or \"socket,early-data\"");
	return 0;
}

static int read_psk_identity(struct request *request, const char *value, struct failure *failure)
{
	if (psk_identity_read(value, &request->psk_identity) < 0)
		return refuse(failure, HANDSHAKE_KEY_PSK_IDENTITY, value,
			      "1 to 128 bytes are needed, or # and their hexadecimal digits");
	return 0;
}

static int read_token(struct request *request, const char *value, struct failure *failure)
{
	size_t length = strlen(value);

	/* A token is not quoted: whoever reads the sentence need not have it. */
	if (length == 0 || length >= sizeof(request->token)) {
		failure_set(failure, FAILURE_REQUEST, false,
			    "The token has %zu bytes, which none of handshaked's has: send it as "
			    "the reply gave it",
			    length);
		return -1;
	}
	memcpy(request->token, value, length + 1);
	return 0;
}

static int read_direction(struct request *request, const char *value, struct failure *failure)
{
	request->update_receive = strcmp(value, "receive") == 0 || strcmp(value, "both") == 0;
	request->update_transmit = strcmp(value, "transmit") == 0 || strcmp(value, "both") == 0;
	if (!request->update_receive && !request->update_transmit)
		return refuse(failure, HANDSHAKE_KEY_DIRECTION, value,
			      "the direction is receive, transmit or both");
	return 0;
}

static int read_request_update(struct request *request, const char *value, struct failure *failure)
{
	request->request_update = strcmp(value, "yes") == 0;
	if (!request->request_update && strcmp(value, "no") != 0)
		return refuse(failure, HANDSHAKE_KEY_REQUEST_UPDATE, value, "yes or no is needed");
	return 0;
}

static int read_yes(const char *key, const char *value, bool *ret, struct failure *failure)
{
	if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
		return refuse(failure, key, value, "yes or no is needed");
	*ret = value[0] == 'y';
	return 0;
}

static int read_trace(struct request *request, const char *value, struct failure *failure)
{
	return read_yes(HANDSHAKE_KEY_TRACE, value, &request->trace, failure);
}

static int read_failed(struct request *request, const char *value, struct failure *failure)
{
	return read_yes(HANDSHAKE_KEY_FAILED, value, &request->trace_failed, failure);
}

static int read_user(struct request *request, const char *value, struct failure *failure)
{
	uint64_t number = 0;

	if (strcmp(value, "0") != 0 && !number_read(value, UINT32_MAX - 1, &number))
		return refuse(failure, HANDSHAKE_KEY_USER, value, "a user's number is needed");
	request->trace_user = (uid_t)number;
	request->trace_user_given = true;
	return 0;
}

// ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT; written as the daemon writes addresses.
static int read_peer(struct request *request, const char *value, struct failure *failure)
{
	char address[INET6_ADDRSTRLEN + 2] = "";
	unsigned char bytes[16];
	const char *port = strrchr(value, value[0] == '[' ? ']' : ':');
	size_t length = strlen(value);
	uint64_t number;
	int family = AF_INET;

	if (value[0] == '[' && port) {
		length = (size_t)(port - value) - 1;
		snprintf(address, sizeof(address), "%.*s", (int)length, value + 1);
		port = port[1] == ':' ? port + 2 : "";
		family = AF_INET6;
	} else if (port && strchr(value, ':') == port) {
		length = (size_t)(port - value);
		snprintf(address, sizeof(address), "%.*s", (int)length, value);
		port++;
	} else {
		family = port ? AF_INET6 : AF_INET;
		snprintf(address, sizeof(address), "%s", value);
		port = NULL;
	}
	if (length >= sizeof(address) || inet_pton(family, address, bytes) != 1 ||
	    (port && !number_read(port, 65535, &number)))
		return refuse(failure, HANDSHAKE_KEY_PEER, value,
			      "ADDRESS, ADDRESS:PORT or [ADDRESS6]:PORT is needed");
	inet_ntop(family, bytes, address, sizeof(address));
	snprintf(request->trace_peer, sizeof(request->trace_peer),
		 port && family == AF_INET6 ? "[%s]:%s"
		 : port                     ? "%s:%s"
					    : "%s",
		 address, port);
	return 0;
}

static int read_resume(struct request *request, const char *value, struct failure *failure)
{
	if (strcmp(value, "no") != 0)
		return refuse(
		    failure, HANDSHAKE_KEY_RESUME, value,
		    "a request can only do without; leave the key out for what the profile"
		    " says");
	request->no_resume = true;
	return 0;
}

static const struct {
	const char *key;
	int (*read)(struct request *, const char *, struct failure *);
} keys[] = {
    {HANDSHAKE_KEY_ID, read_id}, // first: each refusal is to name it
    {HANDSHAKE_KEY_ROLE, read_role},
    {HANDSHAKE_KEY_PROFILE, read_profile},
    {HANDSHAKE_KEY_PEER_NAME, read_peer_name},
    {HANDSHAKE_KEY_ALPN, read_alpn},
    {HANDSHAKE_KEY_TIMEOUT_MS, read_timeout},
    {HANDSHAKE_KEY_RECORDS, read_records},
    {HANDSHAKE_KEY_CLIENT_CERTIFICATES, read_client_certificates},
    {HANDSHAKE_KEY_DESCRIPTORS, read_descriptors},
    {HANDSHAKE_KEY_PSK_IDENTITY, read_psk_identity},
    {HANDSHAKE_KEY_TOKEN, read_token},
    {HANDSHAKE_KEY_DIRECTION, read_direction},
    {HANDSHAKE_KEY_REQUEST_UPDATE, read_request_update},
    {HANDSHAKE_KEY_TRACE, read_trace},
    {HANDSHAKE_KEY_FAILED, read_failed},
    {HANDSHAKE_KEY_USER, read_user},
    {HANDSHAKE_KEY_PEER, read_peer},
    {HANDSHAKE_KEY_RESUME, read_resume},
};

static const struct {
	const char *word;
	enum request_operation operation;
	unsigned descriptors;
} operations[] = {
    {HANDSHAKE_OP_HANDSHAKE, REQUEST_HANDSHAKE, 1},   {HANDSHAKE_OP_LISTEN, REQUEST_LISTEN, 1},
    {HANDSHAKE_OP_UPDATE_KEY, REQUEST_UPDATE_KEY, 1}, {HANDSHAKE_OP_CANCEL, REQUEST_CANCEL, 0},
    {HANDSHAKE_OP_STATUS, REQUEST_STATUS, 0},         {HANDSHAKE_OP_TRACE, REQUEST_TRACE, 0},
};

static int keys_read(const struct message *message, struct request *request,
		     struct failure *failure)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = message_get(message, keys[i].key, 0);

		if (!value)
			continue;
		if (keys[i].read(request, value, failure) < 0)
			return -1;
		if (message_get(message, keys[i].key, 1))
			return refuse(failure, keys[i].key, value, "the key is there twice");
	}
	// What the program marks as not to be ignored, and is not known here.
	for (size_t i = 0; i < message->field_count; i++)
		if (message->fields[i].key[0] == '!')
			return refuse(failure, message->fields[i].key, message->fields[i].value,
				      "this daemon does not know the key, and it must not be"
				      " ignored");
	return 0;
}

static int operation_read(const struct message *message, struct request *request,
			  unsigned *ret_descriptors, struct failure *failure)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!strcmp(message->operation, operations[i].word)) {
			request->operation = operations[i].operation;
			*ret_descriptors = operations[i].descriptors;
			return 0;
		}
	failure_set(
	    failure, FAILURE_REQUEST, false,
	    "\"%s\" is no operation that is known here; handshake, listen, update-key, cancel,"
	    " status and trace are",
	    message->operation);
	return -1;
}

static int descriptors_check(const struct message *message, unsigned needed,
			     struct failure *failure)
{
	if (message->lost_fds) {
		failure_set(failure, FAILURE_BUSY, true,
			    "The daemon has no descriptor left for the socket; try again");
		return -1;
	}
	if (message->too_many_fds || message->fd_count > needed) {
		failure_set(failure, FAILURE_REQUEST, false,
			    needed > 1 ? "The request came with more descriptors than the two that"
					 " it names"
			    : needed
				? "The request came with more than one descriptor; send the TCP"
				  " socket alone"
				: "The request came with a descriptor and needs none");
		return -1;
	}
	if (message->fd_count < needed) {
		failure_set(
		    failure, FAILURE_REQUEST, false,
		    needed > 1 && message->fd_count
			? "The request names early data and came with one descriptor; send"
			  " the TCP socket, then the early data's memfd"
			: "The request came without a descriptor; send the TCP socket with it"
			  " (SCM_RIGHTS)");
		return -1;
	}
	return 0;
}

// What fits together: each key where it means something, and nowhere else.
static int combination_check(const struct request *request, bool role_given,
			     struct failure *failure)
{
	const char *sentence = NULL;

	if (request->operation == REQUEST_CANCEL || request->operation == REQUEST_STATUS ||
	    request->operation == REQUEST_TRACE) {
		if (request->operation == REQUEST_CANCEL && !request->id)
			sentence = "cancel needs the id of the request to be cancelled";
	} else if (request->operation == REQUEST_UPDATE_KEY) {
		if (!request->id)
			sentence = "The request has no id; number your requests from 1";
		else if (!request->token[0])
			sentence = "update-key needs the token that the connection's reply gave";
		else if (!request->update_receive && !request->update_transmit)
			sentence = "update-key needs direction=receive, transmit or both";
		else if (request->request_update && !request->update_transmit)
			sentence = "request-update=yes goes with direction=transmit or both: it is "
				   "asked for in the KeyUpdate that is sent";
	} else if (request->operation == REQUEST_HANDSHAKE && !request->id) {
		sentence = "The request has no id; number your requests from 1";
	} else if (request->operation == REQUEST_HANDSHAKE && !role_given) {
		sentence = "The request has no role; write role=client or role=server";
	} else if (request->operation == REQUEST_LISTEN && request->role == REQUEST_CLIENT) {
		sentence = "role=client: who listens is the server";
	} else if (request->role == REQUEST_SERVER && request->peer_name[0]) {
		sentence = "peer-name is for clients: a server does not check its client's name";
	} else if (request->early_data &&
		   (request->operation != REQUEST_HANDSHAKE || request->role != REQUEST_CLIENT)) {
		sentence = "early-data is a client's to send, with a handshake";
	} else if (request->role == REQUEST_CLIENT && request->require_client_certificate) {
		sentence = "client-certificates is for servers";
	} else if (request->role == REQUEST_SERVER && request->psk_identity.size) {
		sentence =
		    "psk-identity is for clients: a server takes every identity of its profile";
	}
	if (!sentence)
		return 0;
	failure_set(failure, FAILURE_REQUEST, false, "%s", sentence);
	return -1;
}

int request_read(const struct message *message, struct request *ret_request,
		 struct failure *failure)
{
	struct request request = {.profile = "default"};
	unsigned descriptors = 0;
	bool role_given;

	*ret_request = request;
	if (keys_read(message, &request, failure) < 0) {
		ret_request->id = request.id;
		return -1;
	}
	ret_request->id = request.id;
	role_given = request.role != 0;
	if (operation_read(message, &request, &descriptors, failure) < 0 ||
	    descriptors_check(message, descriptors + request.early_data, failure) < 0 ||
	    combination_check(&request, role_given, failure) < 0)
		return -1;
	if (request.operation == REQUEST_LISTEN)
		request.role = REQUEST_SERVER;
	*ret_request = request;
	return 0;
}

// ---- Who asks ----

static int groups_identify(int unix_socket, struct caller *caller)
{
	size_t most = sizeof(caller->groups) / sizeof(caller->groups[0]);
	socklen_t size = sizeof(caller->groups);
	gid_t *all;

	if (getsockopt(unix_socket, SOL_SOCKET, SO_PEERGROUPS, caller->groups, &size) == 0) {
		caller->group_count = size / sizeof(gid_t);
		return 0;
	}
	if (errno != ERANGE)
		return -errno;
	// More than fit: size is now what they take. Those beyond the first grant nothing.
	all = malloc(size);
	if (!all)
		return -ENOMEM;
	if (getsockopt(unix_socket, SOL_SOCKET, SO_PEERGROUPS, all, &size) < 0) {
		int error = -errno;

		free(all);
		return error;
	}
	caller->group_count =
	    size / sizeof(gid_t) < most ? (unsigned)(size / sizeof(gid_t)) : (unsigned)most;
	memcpy(caller->groups, all, caller->group_count * sizeof(gid_t));
	free(all);
	return 0;
}

int caller_identify(int unix_socket, struct caller *ret_caller)
{
	struct caller caller = {};
	struct ucred credentials;
	socklen_t size = sizeof(credentials);
	int error;

	if (getsockopt(unix_socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	if (size != sizeof(credentials))
		return -EPROTO;
	caller.uid = credentials.uid;
	caller.gid = credentials.gid;
	caller.pid = credentials.pid;
	// A socket whose other end nobody connected has no credentials: (uid_t)-1.
	if (caller.uid == (uid_t)-1)
		return -ENODATA;
	error = groups_identify(unix_socket, &caller);
	if (error < 0)
		return error;
	*ret_caller = caller;
	return 0;
}
