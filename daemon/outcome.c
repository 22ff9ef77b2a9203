// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The end of a handshake as data: made empty, given its first failure, freed. Touches the memory and
 * the descriptors that it owns; never decides what state a socket is in.
 */
#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handshake-protocol.h"

void outcome_init(struct outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->state = OUTCOME_UNTOUCHED;
	outcome->relay_fd = -1;
	outcome->relay_state_fd = -1;
	outcome->tickets_fd = -1;
	outcome->early_data_fd = -1;
	outcome->relay_control_fd = -1;
	outcome->trace_fd = -1;
}

void identity_done(struct identity *identity)
{
	free(identity->subject);
	free(identity->issuer);
	free(identity->names);
	free(identity->chain);
	identity->subject = identity->issuer = NULL;
	identity->names = NULL;
	identity->name_count = 0;
	identity->chain = NULL;
}

void outcome_done(struct outcome *outcome)
{
	if (outcome->relay_fd >= 0)
		close(outcome->relay_fd);
	if (outcome->tickets_fd >= 0)
		close(outcome->tickets_fd);
	if (outcome->relay_state_fd >= 0)
		close(outcome->relay_state_fd);
	if (outcome->early_data_fd >= 0)
		close(outcome->early_data_fd);
	if (outcome->relay_control_fd >= 0)
		close(outcome->relay_control_fd);
	if (outcome->trace_fd >= 0)
		close(outcome->trace_fd);
	outcome->relay_fd = -1;
	outcome->relay_state_fd = -1;
	outcome->tickets_fd = -1;
	outcome->early_data_fd = -1;
	outcome->relay_control_fd = -1;
	outcome->trace_fd = -1;
	identity_done(&outcome->identity);
}

void failure_set(struct failure *failure, enum failure_class class, bool retry, const char *format,
		 ...)
{
	va_list arguments;

	if (failure->class != FAILURE_NONE)
		return;
	failure->class = class;
	failure->retry = retry;
	va_start(arguments, format);
	vsnprintf(failure->sentence, sizeof(failure->sentence), format, arguments);
	va_end(arguments);
}

void outcome_fail(struct outcome *outcome, enum failure_class class, bool retry, const char *format,
		  ...)
{
	char sentence[sizeof(outcome->failure.sentence)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	failure_set(&outcome->failure, class, retry, "%s", sentence);
}

const char *failure_class_word(enum failure_class class)
{
	static const char *const words[] = {
	    [FAILURE_NONE] = "none",
	    [FAILURE_REQUEST] = HANDSHAKE_CLASS_REQUEST,
	    [FAILURE_DENIED] = HANDSHAKE_CLASS_DENIED,
	    [FAILURE_BUSY] = HANDSHAKE_CLASS_BUSY,
	    [FAILURE_UNSUPPORTED] = HANDSHAKE_CLASS_UNSUPPORTED,
	    [FAILURE_TIMEOUT] = HANDSHAKE_CLASS_TIMEOUT,
	    [FAILURE_CANCELLED] = HANDSHAKE_CLASS_CANCELLED,
	    [FAILURE_CLOSED] = HANDSHAKE_CLASS_CLOSED,
	    [FAILURE_ALERT] = HANDSHAKE_CLASS_ALERT,
	    [FAILURE_NEGOTIATION] = HANDSHAKE_CLASS_NEGOTIATION,
	    [FAILURE_VERIFICATION] = HANDSHAKE_CLASS_VERIFICATION,
	    [FAILURE_PROTOCOL] = HANDSHAKE_CLASS_PROTOCOL,
	    [FAILURE_INTERNAL] = HANDSHAKE_CLASS_INTERNAL,
	};

	if ((size_t) class >= sizeof(words) / sizeof(words[0]))
		return HANDSHAKE_CLASS_INTERNAL;
	return words[class];
}

const char *outcome_state_word(enum outcome_state state)
{
	switch (state) {
	case OUTCOME_UNTOUCHED:
		return "untouched";
	case OUTCOME_ESTABLISHED:
		return "established";
	case OUTCOME_POISONED:
		break;
	}
	return "poisoned";
}
