// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Records that carry no data: alerts, tickets, key updates, as the kernel hands them over. Touches
 * the object alone. Does no I/O, and never lets a peer keep the caller busy without end.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_HELLO_REQUEST      0
#define MESSAGE_CLIENT_HELLO       1
#define MESSAGE_NEW_SESSION_TICKET 4
#define MESSAGE_KEY_UPDATE         24

#define MESSAGE_HEADER_SIZE 4
#define MESSAGE_MAX         65536 /* bytes of a message's body; tickets have some hundred */
#define WITHOUT_DATA_MAX    128   /* alerts and messages in a row that are borne */
#define UPDATES_MAX         8     /* KeyUpdates in a second, but for those that follow data */
#define UPDATE_DATA         1024  /* bytes of it, for a KeyUpdate that is not counted */

void control_reset(struct control *control)
{
	memset(control, 0, sizeof(*control));
}

int control_fail(struct handshake *handshake, int error, const char *format, ...)
{
	char sentence[ERROR_SIZE];
	va_list arguments;

	va_start(arguments, format);
	error_format(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	/* What was said about an earlier call is of no interest once the connection has ended. */
	error_clear(handshake);
	handshake->control.failure = error;
	return error_set(handshake, error, "%s", sentence);
}

/* Ends receiving because of what the peer did, or of what cannot be done here. */
static int control_refuse(struct handshake *handshake, int alert, int *ret_alert, const char *what)
{
	*ret_alert = alert;
	handshake->control.dead = true;
	return control_fail(handshake, EPROTO, "%s", what);
}

static bool is_tls12(const struct handshake *handshake)
{
	const char *version = handshake_result(handshake, HANDSHAKE_KEY_VERSION, 0);

	return version && strcmp(version, "TLS1.2") == 0;
}

static int control_count(struct handshake *handshake, int *ret_alert)
{
	if (++handshake->control.without_data > WITHOUT_DATA_MAX)
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sends records without data and no end");
	return CONTROL_GO_ON;
}

/* ---- Alerts: RFC 8446, 6; RFC 5246, 7.2 ---------------------------------------------------- */

static int alert_take(struct handshake *handshake, uint8_t level, uint8_t number, int *ret_alert)
{
	if (number == ALERT_CLOSE_NOTIFY) {
		handshake->control.peer_closed = true;
		return CONTROL_END;
	}
	/* Since TLS 1.3 the level says nothing: all but two alerts are fatal. */
	if (number == ALERT_USER_CANCELED || (level == ALERT_WARNING && is_tls12(handshake)))
		return control_count(handshake, ret_alert);
	handshake->control.dead = true;
	return control_fail(handshake, EPROTO, "the peer sent the fatal alert %s (%d)",
			    alert_name(number), number);
}

static int alerts_take(struct handshake *handshake, const uint8_t *bytes, size_t size,
		       int *ret_alert)
{
	struct control *control = &handshake->control;
	int next = CONTROL_GO_ON;

	for (size_t i = 0; i < size && next == CONTROL_GO_ON; i++) {
		control->alert[control->alert_length++] = bytes[i];
		if (control->alert_length < sizeof(control->alert))
			continue;
		control->alert_length = 0;
		next = alert_take(handshake, control->alert[0], control->alert[1], ret_alert);
	}
	return next;
}

/* ---- Messages after the handshake: RFC 8446, 4.6; RFC 5246, 7.4.1.1 ------------------------ */

/* Each one costs the daemon work, so that a peer may not have more done than its data deserve. */
static bool update_is_within_rate(struct control *control)
{
	if (control->data_since_update >= UPDATE_DATA)
		return true;
	if (control->updates_expected > 0) {
		control->updates_expected--;
		return true;
	}
	if (control->updates == 0 || deadline_left(control->updates_end) == 0) {
		control->updates_end = deadline_in(1000);
		control->updates = 0;
	}
	return ++control->updates <= UPDATES_MAX;
}

int key_update_take(struct handshake *handshake, uint8_t request_update, int *ret_alert)
{
	if (request_update > 1)
		return control_refuse(handshake, ALERT_ILLEGAL_PARAMETER, ret_alert,
				      "the peer sent a KeyUpdate with a value that does not exist");
	if (!update_is_within_rate(&handshake->control))
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sends KeyUpdates, too many in a second");
	handshake->control.data_since_update = 0;
	handshake->control.update_owed |= request_update == 1;
	return CONTROL_UPDATE;
}

static size_t message_body_size(const struct control *control)
{
	return (size_t)control->message[1] << 16 | (size_t)control->message[2] << 8 |
	       control->message[3];
}

/* The header is there: may this message come now? */
static int message_check(struct handshake *handshake, int *ret_alert)
{
	const struct control *control = &handshake->control;
	bool client = handshake->role == HANDSHAKE_CLIENT;
	size_t size = message_body_size(control);
	char what[128];
	bool expected;

	switch (control->message[0]) {
	case MESSAGE_HELLO_REQUEST:
		expected = is_tls12(handshake) && client;
		break;
	case MESSAGE_CLIENT_HELLO:
		expected = is_tls12(handshake) && !client;
		break;
	case MESSAGE_NEW_SESSION_TICKET:
		expected = !is_tls12(handshake) && client;
		break;
	case MESSAGE_KEY_UPDATE:
		expected = !is_tls12(handshake);
		break;
	default:
		expected = false;
	}
	if (!expected) {
		snprintf(what, sizeof(what),
			 "the peer sent a message of the handshake, type %d, that has no place "
			 "after it",
			 control->message[0]);
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert, what);
	}
	if (size > MESSAGE_MAX || (control->message[0] == MESSAGE_KEY_UPDATE && size != 1) ||
	    (control->message[0] == MESSAGE_HELLO_REQUEST && size != 0))
		return control_refuse(handshake, ALERT_DECODE_ERROR, ret_alert,
				      "the peer sent a message whose length cannot be");
	return CONTROL_GO_ON;
}

/* The message is complete. */
static int message_end(struct handshake *handshake, int *ret_alert)
{
	struct control *control = &handshake->control;

	control->message_length = 0;
	switch (control->message[0]) {
	case MESSAGE_KEY_UPDATE:
		return key_update_take(handshake, control->message[MESSAGE_HEADER_SIZE], ret_alert);
	case MESSAGE_NEW_SESSION_TICKET:
		control->tickets++;
		tickets_end(&handshake->tickets);
		return control_count(handshake, ret_alert);
	default: { /* the peer wants a new handshake, which RFC 5246 lets us decline */
		int next = control_count(handshake, ret_alert);

		return next < 0 ? next : CONTROL_NO_RENEG;
	}
	}
}

static int messages_take(struct handshake *handshake, const uint8_t *bytes, size_t size,
			 int *ret_alert)
{
	struct control *control = &handshake->control;
	bool renegotiation = false, update = false;
	int next = CONTROL_GO_ON;

	while (size > 0 && next >= 0 && !update) {
		size_t step = 1;

		if (control->message_length < MESSAGE_HEADER_SIZE) {
			control->message[control->message_length++] = *bytes;
			if (control->message_length == MESSAGE_HEADER_SIZE) {
				next = message_check(handshake, ret_alert);
				control->message_rest = message_body_size(control);
				if (control->message[0] == MESSAGE_NEW_SESSION_TICKET)
					tickets_begin(&handshake->tickets, control->message,
						      MESSAGE_HEADER_SIZE, control->message_rest);
			}
		} else {
			if (control->message_length == MESSAGE_HEADER_SIZE)
				control->message[control->message_length++] = *bytes;
			step = size < control->message_rest ? size : control->message_rest;
			tickets_add(&handshake->tickets, bytes, step);
			control->message_rest -= step;
		}
		bytes += step;
		size -= step;
		if (next >= 0 && control->message_length >= MESSAGE_HEADER_SIZE &&
		    control->message_rest == 0) {
			next = message_end(handshake, ret_alert);
			renegotiation |= next == CONTROL_NO_RENEG;
			update = next == CONTROL_UPDATE;
		}
	}
	/* What follows in this record would be under the old key: RFC 8446, 5.1. */
	if (update && size > 0)
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sent something behind a KeyUpdate in one record");
	return next >= 0 && renegotiation ? CONTROL_NO_RENEG : next;
}

/* ---- Records ------------------------------------------------------------------------------- */

int control_take(struct handshake *handshake, uint8_t type, const void *bytes, size_t size,
		 int *ret_alert)
{
	const struct control *control = &handshake->control;
	char what[96];

	*ret_alert = -1;
	/* RFC 8446, 5.1: a message's records follow one another, and an alert's bytes too. */
	if ((type != RECORD_ALERT && control->alert_length) ||
	    (type != RECORD_HANDSHAKE && type != RECORD_ALERT && control->message_length))
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sent another record amid a message");
	if (size == 0)
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sent an empty record that is not data");
	if (type == RECORD_ALERT)
		return alerts_take(handshake, bytes, size, ret_alert);
	if (type == RECORD_HANDSHAKE)
		return messages_take(handshake, bytes, size, ret_alert);
	snprintf(what, sizeof(what), "the peer sent a record of the unknown type %d", type);
	return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert, what);
}

int control_take_data(struct handshake *handshake, size_t size, int *ret_alert)
{
	struct control *control = &handshake->control;

	*ret_alert = -1;
	if (control->alert_length || control->message_length)
		return control_refuse(handshake, ALERT_UNEXPECTED_MESSAGE, ret_alert,
				      "the peer sent data amid a message");
	if (size == 0)
		return control_count(handshake, ret_alert);
	control->without_data = 0;
	control->data_since_update += size < UPDATE_DATA ? size : UPDATE_DATA;
	if (control->data_since_update > UPDATE_DATA)
		control->data_since_update = UPDATE_DATA;
	return CONTROL_GO_ON;
}
