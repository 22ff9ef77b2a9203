/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library's files know of one another. Functions here return 0 or a negative errno unless
 * they say something else; only what handshake.h declares sets errno. */
#ifndef INTERNAL_H
#define INTERNAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* before the first header of libc: every file includes this one first */
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handshake.h"
#include "list.h"
#include "message.h"

#define ERROR_SIZE 1024 /* bytes of a sentence with its NUL; what is longer is cut */

/* Where a handshake stands with the client that has borrowed it. */
enum stage {
	STAGE_IDLE,    /* no client has it */
	STAGE_WAITING, /* its request has not left: the socket is untouched */
	STAGE_SENT,    /* the daemon has it */
	STAGE_ENDED,   /* it waits to be returned by handshake_client_process */
};

/* The way of the connection's records. */
enum path {
	PATH_NONE, /* not established */
	PATH_KERNEL,
	PATH_RELAY,
};

struct result_field {
	const char *key, *value;
};

struct deadline {
	int64_t at; /* milliseconds of CLOCK_MONOTONIC */
};

/* What arrived between the data: alerts and messages after the handshake. See control.c. */
struct control {
	bool peer_closed; /* close_notify came: end-of-file for good */
	bool close_sent;  /* close_notify left: nothing more can be sent */
	bool dead;        /* a fatal alert came or is owed: nothing more can be sent */
	int failure;      /* the errno with which receiving has ended, 0: it has not */
	/* An alert of which a first part has come. */
	uint8_t alert[2];
	size_t alert_length;
	/* A message of the handshake of which a first part has come: its header and the first byte
	 * of its body, and how much of the body is still to come. */
	uint8_t message[5];
	size_t message_length;
	size_t message_rest;
	unsigned int without_data; /* alerts and messages in a row, with no data between */
	uint64_t tickets;          /* NewSessionTickets that were set aside */
	bool update_owed; /* the peer asked for a KeyUpdate of ours: before the next data */
	/* For the limit on received KeyUpdates: */
	size_t data_since_update; /* bytes that came since the last one, as far as they matter */
	unsigned int updates_expected; /* that we asked for, which are not counted */
	unsigned int updates;          /* within the second that began at */
	struct deadline updates_end;
	/* Under the key that we send with: */
	uint64_t records_checked, records_since; /* what the kernel told, and what was sent since */
	uint64_t update_again_at;                /* after an update failed */
};

/* Tickets on their way back to the daemon. */
struct tickets {
	int fd;           /* SOCK_SEQPACKET, -1: nobody awaits any */
	uint8_t *message; /* of which a first part has come; NULL: none */
	size_t size;
	unsigned int sent;
};

/* Bytes of the object's own. */
struct early_data {
	void *data; /* NULL: none */
	size_t size;
};

struct handshake {
	/* what is asked */
	enum handshake_role role;
	enum handshake_records records;
	bool require_client_certificate;
	bool answer_later;     /* KeyUpdates: when something is sent */
	uint64_t update_after; /* records; 0: what the cipher bears */
	bool want_trace;
	bool no_resume;
	uint32_t timeout_ms;
	char profile[HANDSHAKE_PROFILE_NAME_SIZE];
	char psk_identity[HANDSHAKE_PSK_IDENTITY_SIZE];
	char peer_name[HANDSHAKE_PEER_NAME_SIZE];
	char *alpn;
	struct early_data offer; /* a client's early data */

	/* while a client has it */
	struct handshake_client *client;
	struct list node;
	enum stage stage;
	uint64_t id;
	int fd;

	/* the result */
	enum handshake_outcome outcome;
	int failure_errno;
	bool may_retry;
	char error[ERROR_SIZE];
	struct result_field *fields; /* one allocation: the fields, then their text */
	size_t field_count;
	char *chain;
	struct early_data early; /* that the client sent */
	char *trace;
	size_t trace_size;

	/* the connection */
	enum path path;
	int relay_state;   /* the memfd of struct handshake_relay_state, -1 */
	int relay_control; /* -1 */
	struct tickets tickets;
	struct control control;
	char *daemon_path; /* of the daemon that made it; NULL: the usual one */
	char *token;       /* for its next key update; NULL: none */
};

/* ---- error.c: sentences, and which errno a class is ---- */

/* Keeps the first sentence: sets none where there is one. Gives -error. */
int error_set(struct handshake *handshake, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void error_clear(struct handshake *handshake);
/* Writes the sentence, cut between two characters where it is too long. */
void error_format(char *ret_text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
int error_of_class(const char *class);

/* ---- result.c ---- */

/* Forgets the last handshake: the object is as before its first, with what is asked kept. */
void result_reset(struct handshake *handshake);
/* Ends the handshake as failed, for a reason that this library found. error 0: the class's errno. */
void result_fail(struct handshake *handshake, enum handshake_outcome outcome, const char *class,
		 int error, bool retry, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* Ends the handshake with what the message says and takes the descriptors that it needs. fd: the
 * caller's number, that a relay takes over; or -1 and *ret_fd is the connection's descriptor. */
void result_take(struct handshake *handshake, struct message *message, int fd, int *ret_fd);

/* Becomes the companion of a connection that another program has established. token: NULL if none. */
int result_adopt(struct handshake *handshake, const char *version, const char *cipher,
		 const char *token);
/* Where the daemon is that the connection's keys can be updated with. */
void result_remember_daemon(struct handshake *handshake, const char *path);

/* ---- request.c ---- */

void request_write(struct message_writer *writer, const char *operation, uint64_t id,
		   const struct handshake *handshake);
/* Ends the handshake as untouched because its request could not be sent: the error says why. */
void request_fail(struct handshake *handshake, int error);

/* ---- early-data.c ---- */

void early_data_done(struct early_data *early);
/* A memfd of what the client is to send, for its request; -ENODATA: there is none. */
int early_data_open(const struct handshake *handshake);
/* Reads what a reply's memfd holds. NULL, or what is wrong. */
const char *early_data_read(struct early_data *early, int fd);

/* ---- deadline.c ---- */

struct deadline deadline_in(int64_t milliseconds);
/* Milliseconds that are left, 0 when it has passed; fits what poll takes. */
int deadline_left(struct deadline deadline);

/* ---- link.c ---- */

/* The path that stands for NULL. */
const char *link_path(const char *path);
/* A connected descriptor. Waits until the deadline where the daemon's queue is full; deadline NULL:
 * -EAGAIN then. */
int link_connect(const char *path, const struct deadline *deadline);
/* Ends the handshake as untouched with the sentence for link_connect's error. */
void link_fail(struct handshake *handshake, const char *path, int error);
/* Waits for the events, through signals. 1, 0 when the deadline has passed. */
int link_wait(int fd, short events, struct deadline deadline);

/* ---- client.c ---- */

/* Takes the descriptor, also on failure. NULL: no memory. */
struct handshake_client *client_adopt(int fd, const char *path);

/* ---- socket.c ---- */

/* Can fd be handed over, as far as one can see from here? */
int socket_check(int fd);
/* Puts the file of relay under the number fd, with the flags and timeouts that fd had. */
int socket_replace(int fd, int relay);

/* ---- control.c ---- */

#define RECORD_ALERT     21
#define RECORD_HANDSHAKE 22
#define RECORD_DATA      23

enum control_next {
	CONTROL_GO_ON = 0,    /* receive further */
	CONTROL_END = 1,      /* the peer said close_notify */
	CONTROL_NO_RENEG = 2, /* go on; the peer is owed the warning no_renegotiation */
	CONTROL_UPDATE = 3,   /* go on with new keys: key_update_follow */
			      /* negative errno: receiving has ended, handshake_error() says why */
};

/* Takes size bytes of a record that is not data, in the order in which they came. Does no I/O. On
 * failure *ret_alert is the fatal alert that the peer is owed, -1: none. */
int control_take(struct handshake *handshake, uint8_t type, const void *bytes, size_t size,
		 int *ret_alert);
/* Data came, or a record of no data: nothing may be half received. As control_take. */
int control_take_data(struct handshake *handshake, size_t size, int *ret_alert);
/* Ends receiving for good. Gives -error. */
int control_fail(struct handshake *handshake, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void control_reset(struct control *control);
/* A KeyUpdate (RFC 8446, 4.6.3) was received. As control_take. */
int key_update_take(struct handshake *handshake, uint8_t request_update, int *ret_alert);

/* ---- kernel-keys.c ---- */

/* The kernel waits for a new key though there was no KeyUpdate (it looks at a record's first byte alone):
 * gives it the old one again. 0 or -errno. */
int kernel_keys_resume(int fd);
/* How many records were sent under the key in use, by whomever. 0 or -errno. */
int kernel_keys_records(int fd, uint64_t *ret_records);
/* In the words of the protocol. 0 or -errno: it has none in both directions. */
int kernel_keys_describe(int fd, const char **ret_version, const char **ret_cipher);

/* ---- tickets.c ---- */

/* A NewSessionTicket of so many bytes begins; some of its body; its end. */
void tickets_begin(struct tickets *tickets, const uint8_t *header, size_t header_size,
		   size_t body_size);
void tickets_add(struct tickets *tickets, const uint8_t *bytes, size_t size);
void tickets_end(struct tickets *tickets);
/* Awaits none any more. */
void tickets_done(struct tickets *tickets);

/* ---- key-update.c ---- */

/* The peer has gone on to its next key: have the kernel do so, and answer where that was asked for. 0, or
 * -errno: receiving has ended. */
int key_update_follow(struct handshake *handshake, int fd);
/* Before something is sent: the answer that is owed, or an update because the key is worn. 0 and how many
 * bytes may be sent until this is called again; or -errno. exact: others send, too, so that the kernel is
 * asked how much; and where there is no room for a KeyUpdate it is waited for. */
int key_update_before_send(struct handshake *handshake, int fd, bool exact, uint64_t *ret_bytes);
/* After something was sent. */
void key_update_count(struct handshake *handshake, size_t bytes);

/* ---- alert.c ---- */

#define ALERT_WARNING 1
#define ALERT_FATAL   2

#define ALERT_CLOSE_NOTIFY       0
#define ALERT_UNEXPECTED_MESSAGE 10
#define ALERT_BAD_RECORD_MAC     20
#define ALERT_RECORD_OVERFLOW    22
#define ALERT_ILLEGAL_PARAMETER  47
#define ALERT_DECODE_ERROR       50
#define ALERT_PROTOCOL_VERSION   70
#define ALERT_INTERNAL_ERROR     80
#define ALERT_USER_CANCELED      90
#define ALERT_NO_RENEGOTIATION   100

/* The name of an alert (RFC 8446, 6; RFC 5246, 7.2), "unknown" for others. */
const char *alert_name(uint8_t number);
/* Sends an alert on a socket whose records the kernel makes. */
int alert_send(int fd, uint8_t level, uint8_t number, int flags);

/* ---- records.c ---- */

/* 0 when data can be sent on the connection, else -errno with the sentence set. */
int records_can_send(struct handshake *handshake);
/* A call that sends has failed with error: sets the sentence. Gives -error. */
int records_fail_send(struct handshake *handshake, int error);

#endif
