// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The object and what is asked with it. Touches memory alone. Never judges what only the daemon can
 * know: whether a profile exists, whether a name is needed.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALPN_PROTOCOL_MAX 255 /* bytes of one protocol's name (RFC 7301, 3.1) */

struct handshake *handshake_new(void)
{
	struct handshake *handshake = calloc(1, sizeof(*handshake));

	if (!handshake)
		return NULL;
	handshake->role = HANDSHAKE_CLIENT;
	memcpy(handshake->profile, "default", sizeof("default"));
	handshake->relay_state = -1;
	handshake->relay_control = -1;
	handshake->tickets.fd = -1;
	handshake->fd = -1;
	list_init(&handshake->node);
	return handshake;
}

void handshake_free(struct handshake *handshake)
{
	int saved = errno;

	if (!handshake)
		return;
	if (handshake->client)
		handshake_client_cancel(handshake->client, handshake);
	result_reset(handshake);
	free(handshake->alpn);
	early_data_done(&handshake->offer);
	free(handshake->daemon_path);
	free(handshake);
	errno = saved;
}

/* Every setter begins here: while a client has the object nothing can be asked anew. */
static bool setter_begin(struct handshake *handshake)
{
	if (handshake->client) {
		errno = EBUSY;
		return false;
	}
	if (handshake->path == PATH_NONE)
		error_clear(handshake);
	return true;
}

static int setter_refuse(struct handshake *handshake, const char *sentence)
{
	error_clear(handshake);
	error_set(handshake, EINVAL, "%s", sentence);
	errno = EINVAL;
	return -1;
}

static bool text_has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

int handshake_set_role(struct handshake *handshake, enum handshake_role role)
{
	if (!setter_begin(handshake))
		return -1;
	if (role != HANDSHAKE_CLIENT && role != HANDSHAKE_SERVER)
		return setter_refuse(handshake, "the role is neither client nor server");
	handshake->role = role;
	return 0;
}

int handshake_set_profile(struct handshake *handshake, const char *name)
{
	size_t length;

	if (!setter_begin(handshake))
		return -1;
	if (!name)
		name = "default";
	if (!*name || text_has_control(name))
		return setter_refuse(handshake,
				     "the profile's name is empty or has control characters");
	length = strlen(name);
	if (length >= sizeof(handshake->profile))
		return setter_refuse(handshake, "the profile's name is longer than 63 bytes");
	memcpy(handshake->profile, name, length + 1);
	return 0;
}

int handshake_set_psk_identity(struct handshake *handshake, const char *identity)
{
	size_t length = identity ? strlen(identity) : 0;

	if (!setter_begin(handshake))
		return -1;
	if (length && text_has_control(identity))
		return setter_refuse(handshake,
				     "the identity of a pre-shared key has control characters;"
				     " write '#' and its bytes in hexadecimal digits");
	if (length >= sizeof(handshake->psk_identity))
		return setter_refuse(handshake, "the identity of a pre-shared key is too long");
	if (length)
		memcpy(handshake->psk_identity, identity, length);
	handshake->psk_identity[length] = '\0';
	return 0;
}

int handshake_set_peer_name(struct handshake *handshake, const char *name)
{
	size_t length;

	if (!setter_begin(handshake))
		return -1;
	length = name ? strlen(name) : 0;
	if (length == 0) {
		handshake->peer_name[0] = '\0';
		return 0;
	}
	if (length >= sizeof(handshake->peer_name))
		return setter_refuse(handshake, "the peer's name is longer than 253 bytes");
	if (text_has_control(name) || strchr(name, ' '))
		return setter_refuse(handshake, "the peer's name has blanks or control characters");
	if (name[length - 1] == '.')
		return setter_refuse(handshake, "the peer's name ends with a dot");
	memcpy(handshake->peer_name, name, length + 1);
	return 0;
}

int handshake_set_alpn(struct handshake *handshake, const char *protocols)
{
	char *copy = NULL;

	if (!setter_begin(handshake))
		return -1;
	if (protocols && *protocols) {
		for (const char *protocol = protocols;;) {
			size_t length = strcspn(protocol, ",");

			if (length == 0 || length > ALPN_PROTOCOL_MAX)
				return setter_refuse(handshake,
						     "an application protocol's name has "
						     "not 1 to 255 bytes");
			if (protocol[length] == '\0')
				break;
			protocol += length + 1;
		}
		copy = strdup(protocols);
		if (!copy)
			return -1;
	}
	free(handshake->alpn);
	handshake->alpn = copy;
	return 0;
}

int handshake_set_timeout(struct handshake *handshake, uint32_t milliseconds)
{
	if (!setter_begin(handshake))
		return -1;
	if (milliseconds > INT32_MAX)
		return setter_refuse(handshake, "the timeout is longer than 2147483647 ms");
	handshake->timeout_ms = milliseconds;
	return 0;
}

int handshake_set_records(struct handshake *handshake, enum handshake_records records)
{
	if (!setter_begin(handshake))
		return -1;
	if (records != HANDSHAKE_RECORDS_DEFAULT && records != HANDSHAKE_RECORDS_KERNEL &&
	    records != HANDSHAKE_RECORDS_RELAY)
		return setter_refuse(handshake, "the record path is not one that exists");
	handshake->records = records;
	return 0;
}

int handshake_require_client_certificate(struct handshake *handshake)
{
	if (!setter_begin(handshake))
		return -1;
	handshake->require_client_certificate = true;
	return 0;
}

int handshake_set_resume(struct handshake *handshake, int on)
{
	if (!setter_begin(handshake))
		return -1;
	handshake->no_resume = on == 0;
	return 0;
}

int handshake_set_trace(struct handshake *handshake, int on)
{
	if (!setter_begin(handshake))
		return -1;
	handshake->want_trace = on != 0;
	return 0;
}
