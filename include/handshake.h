/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhandshake: hand a TCP socket to handshaked, get it back speaking TLS.
 *
 * The library depends on libc alone. It links no TLS library and never sees a private key.
 * A `struct handshake` is one handshake: first what is asked, then everything that is known about
 * its result, then the companion of the connection for the few calls that plain read and write
 * cannot make. Objects are not locked: one thread at a time uses one object.
 *
 * Functions that return int or ssize_t return -1 on failure and set errno; the object then has a
 * sentence in handshake_error(), but for EAGAIN, EINTR, ENOMEM and EBUSY. Strings that a getter returns belong to the object and live until
 * the object is freed or used for another handshake.
 */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default) /* the library hides all else */

struct handshake;
struct handshake_client;
struct handshake_listener;

enum handshake_role {
	HANDSHAKE_CLIENT = 1,
	HANDSHAKE_SERVER = 2,
};

/* What state the socket is in. There is no fourth once a handshake has ended. */
enum handshake_outcome {
	HANDSHAKE_PENDING = 0,     /* not started, or still under way */
	HANDSHAKE_ESTABLISHED = 1, /* protected in both directions */
	HANDSHAKE_UNTOUCHED = 2,   /* no byte was read or written: plain TCP can go on */
	HANDSHAKE_POISONED = 3,    /* bytes moved, no connection came of it: close the socket */
};

/* Which record path is wanted. The profile has the last word: see handshaked.conf(5). */
enum handshake_records {
	HANDSHAKE_RECORDS_DEFAULT = 0, /* as the profile says */
	HANDSHAKE_RECORDS_KERNEL = 1,  /* the kernel or a failure */
	HANDSHAKE_RECORDS_RELAY = 2,   /* through the daemon's relay process */
};

/* ---- What is asked ------------------------------------------------------------------------- */

/* A new request in the client role with the profile "default"; NULL with errno ENOMEM. */
struct handshake *handshake_new(void);
/* Frees the object. Never closes the connection's descriptor. NULL is fine. A handshake that is
 * still under way must be cancelled or its client freed before. */
void handshake_free(struct handshake *handshake);

/* Setters copy their argument. -1 with EINVAL for what the protocol cannot carry, EBUSY while the
 * handshake is under way; what was set before stands then. */
int handshake_set_role(struct handshake *handshake, enum handshake_role role);
/* At most 63 bytes; NULL takes "default". */
int handshake_set_profile(struct handshake *handshake, const char *name);
/* Client role: the name that the server must prove, also sent as server_name (RFC 6066, 3). A DNS
 * name without the final dot, or an IP address. At most 253 bytes. NULL or "": none. */
int handshake_set_peer_name(struct handshake *handshake, const char *name);
/* Client role: which of the profile's pre-shared keys to use, up to 128 bytes of printable ASCII, or '#' and
 * the bytes in hexadecimal digits. NULL or "": the profile's, or its only one. */
int handshake_set_psk_identity(struct handshake *handshake, const char *identity);
/* Application protocols (RFC 7301) in order of preference, separated by commas: "h2,http/1.1".
 * NULL or "" takes the profile's. */
int handshake_set_alpn(struct handshake *handshake, const char *protocols);
/* Milliseconds until the handshake fails; never later than the profile's timeout. 0 takes the
 * profile's. */
int handshake_set_timeout(struct handshake *handshake, uint32_t milliseconds);
int handshake_set_records(struct handshake *handshake, enum handshake_records records);
/* Server role: demand a certificate of the client although the profile does not. */
int handshake_require_client_certificate(struct handshake *handshake);
/* Client role: data to be sent with the first flight (0-RTT; RFC 8446, 2.3) where the profile allows it
 * and a ticket for this server is there. Whoever sees it can send it again: the first bytes of a request
 * that does no harm twice, nothing else. handshake_early_data_accepted() tells whether the server took
 * it; if not, it was not sent in any other way. At most 65536 bytes; size 0: none. */
int handshake_set_early_data(struct handshake *handshake, const void *data, size_t size);
/* on: 0 takes up no session again, keeps none for later, and neither sends nor asks for tickets; 1 does as the
 * profile says. */
int handshake_set_resume(struct handshake *handshake, int on);
/* on: 1, 0. With 1 the result comes with a trace of the handshake: handshake_trace(). */
int handshake_set_trace(struct handshake *handshake, int on);

/* ---- Blocking ------------------------------------------------------------------------------ */

/*
 * Performs the handshake on the connected TCP socket fd, through the daemon's socket at path (NULL:
 * $HANDSHAKED_SOCKET, else /run/handshaked/socket). 0 when established; -1 with the errno of
 * handshake_failure_errno() otherwise, and handshake_outcome() says whether fd is untouched or
 * poisoned. fd stays the caller's and stays the number to use, whatever the record path. Signals do
 * not interrupt it. It returns within the timeout (130 s where none is set) and two seconds more.
 */
int handshake_perform(struct handshake *handshake, const char *path, int fd);

/* ---- Asynchronous: many under way on one connection to the daemon -------------------------- */

/* Connects to the daemon (path as above) without waiting. NULL with errno; ECONNREFUSED or ENOENT: no
 * daemon; EACCES: not for this user; EAGAIN: its queue is full. */
struct handshake_client *handshake_client_new(const char *path);
/* Cancels what is under way (each such handshake becomes poisoned or untouched) and disconnects. */
void handshake_client_free(struct handshake_client *client);
/* The descriptor to poll, and for what: POLLIN, or POLLIN | POLLOUT while requests wait to be sent. */
int handshake_client_fd(const struct handshake_client *client);
short handshake_client_events(const struct handshake_client *client);
/* Begins a handshake on fd, a connected TCP socket, which stays the caller's and must stay open and
 * unused until the handshake ends: not in an epoll set either, for a relay takes the number's place.
 * The handshake object is borrowed until then. Never blocks. -1: it never began; the socket is
 * untouched, the object says why, process does not return it. */
int handshake_client_start(struct handshake_client *client, struct handshake *handshake, int fd);
/* Moves what can move. 1: *ret_handshake has ended (in whatever outcome; -1 of this function is not
 * its failure). 0: nothing more now, poll. -1: the daemon is gone; every handshake that was under
 * way has then been returned before as ended. */
int handshake_client_process(struct handshake_client *client, struct handshake **ret_handshake);
/* Gives one handshake up. It ends at once: 0, and it is not returned by process. Its outcome is
 * poisoned if the daemon had it, untouched if the request never left; one that had ended already
 * keeps its outcome, established too. -1 with EINVAL: this client does not have it. */
int handshake_client_cancel(struct handshake_client *client, struct handshake *handshake);

/* ---- Listening: the daemon accepts and handshakes ------------------------------------------ */

/*
 * Hands the listening TCP socket to the daemon with the request as pattern (role is server). The
 * program keeps its descriptor and must not accept on it. Blocks until the daemon has agreed. NULL
 * with errno; request then has the sentence.
 */
struct handshake_listener *handshake_listener_new(const char *path, struct handshake *request,
						  int listening_fd);
/* Ends the listening: connections that were queued and not taken are closed. */
void handshake_listener_free(struct handshake_listener *listener);
/* Readable (POLLIN) when a connection waits. */
int handshake_listener_fd(const struct handshake_listener *listener);
/* Takes one established connection. 1: *ret_fd (close-on-exec and blocking) and *ret_handshake are the
 * caller's, to close and to free. 0: none waits. -1: the daemon ended the listening (errno EPIPE, or
 * EPROTO if what it sent cannot be followed), or this connection alone is lost and the listening goes
 * on: no descriptor was free (EMFILE), or no memory (ENOMEM). */
int handshake_listener_accept(struct handshake_listener *listener, struct handshake **ret_handshake,
			      int *ret_fd);

/* ---- What is known about the result -------------------------------------------------------- */

enum handshake_outcome handshake_outcome(const struct handshake *handshake);
/* One sentence about the first and most specific failure, "" if there was none. */
const char *handshake_error(const struct handshake *handshake);
/* The errno that fits the failure's class, 0 if there was none: request EINVAL, denied EACCES, busy
 * EBUSY, unsupported EOPNOTSUPP, timeout ETIMEDOUT, cancelled ECANCELED, closed ECONNRESET, alert,
 * negotiation and protocol EPROTO, verification EKEYREJECTED, internal EIO. Where this library failed
 * itself, the system's own: ENOENT, ECONNREFUSED, EMSGSIZE, EBADF, … */
int handshake_failure_errno(const struct handshake *handshake);
/* 1 if the same request can succeed later without anyone changing anything. */
int handshake_may_retry(const struct handshake *handshake);
/* A value of the reply by its key (the HANDSHAKE_KEY_… of handshake-protocol.h), decoded; for a key
 * that may come several times the n-th, from 0. NULL: not there. */
const char *handshake_result(const struct handshake *handshake, const char *key, size_t n);
/* All of the reply in its order, for showing it, but for the lines of the packet itself ("id",
 * "descriptors"): 1 and *ret_key, *ret_value, or 0 past the end. */
int handshake_result_at(const struct handshake *handshake, size_t position, const char **ret_key,
			const char **ret_value);
/* The peer's certificate chain as PEM, its own certificate first; NULL if it sent none. */
const char *handshake_peer_chain(const struct handshake *handshake);
/* Server role: the client's early data, which came before what the connection gives, and *ret_size. It is
 * NOT protected as that is: the client, or who delayed it, can bring it more than once (RFC 8470). The
 * memory is the object's. NULL and 0: none came. */
const void *handshake_early_data(const struct handshake *handshake, size_t *ret_size);
/* 1: the server took the early data. 0: there was none, or it was not taken; a client then sends it with
 * handshake_send() like any other (the reply's "early-data-reason" may tell why). */
int handshake_early_data_accepted(const struct handshake *handshake);
/* What happened in the handshake, established or not, as JSON (handshake-protocol(7) tells its form);
 * NULL: none was asked for, or the handshake never began. *ret_size: its bytes without the final NUL;
 * ret_size may be NULL. */
const char *handshake_trace(const struct handshake *handshake, size_t *ret_size);

/* ---- Records: what plain read, write and sendfile cannot ----------------------------------- */

/*
 * Like recv(fd, buffer, size, 0), but knows records that carry no data. Returns bytes, 0 after the
 * peer's close_notify, -1 with errno: EAGAIN (fd is non-blocking), EPROTO (a fatal alert, named in
 * handshake_error(); or a message that cannot be followed), ECONNABORTED (the TCP connection ended
 * without close_notify: the data may be cut short), or what recv says. Session tickets go to
 * the daemon and the call goes on. Renegotiation (TLS 1.2) is declined. The buffer may have been written to
 * beyond what is returned. Once it has ended, 0 or -1, it stays so.
 */
ssize_t handshake_recv(struct handshake *handshake, int fd, void *buffer, size_t size);
/* Like send(fd, buffer, size, MSG_NOSIGNAL). EPIPE also after close_notify or a fatal alert. Of no bytes it
 * sends none, but sees to the key as described below: now and then, for a program that sends otherwise. */
ssize_t handshake_send(struct handshake *handshake, int fd, const void *buffer, size_t size);
/* Like sendfile(2) from *offset, which moves on by what was sent. Never asks the kernel for more
 * than the file has (Linux 6.1 strands the last record then). Bytes that were sent, fewer than asked
 * for where the connection is non-blocking; 0: the file ends at *offset. EINVAL: file_fd is no regular
 * file. Raises no SIGPIPE. */
ssize_t handshake_sendfile(struct handshake *handshake, int fd, int file_fd, off_t *offset,
			   size_t count);
/* Says that nothing more will be sent (RFC 8446, 6.1). The other direction stays open. Again: 0, and
 * nothing is sent. EAGAIN: there was no room; call again. */
int handshake_close_notify(struct handshake *handshake, int fd);

/* ---- Keys: TLS 1.3's updates after the handshake (RFC 8446, 4.6.3) ------------------------- */

enum handshake_update {
	HANDSHAKE_UPDATE_ASK = 1, /* and ask the peer to update its own */
};

/*
 * Has the daemon (within 5 seconds) send a KeyUpdate and go on under the next key; data that was sent before
 * is under the old one. Nothing else may be sent on fd meanwhile. flags: of enum handshake_update. -1: EAGAIN,
 * EINTR, ETIMEDOUT (the peer takes nothing), EHOSTDOWN (no daemon), EOPNOTSUPP (the kernel cannot: Linux
 * 6.14; or TLS 1.2): the keys are as they were. EPROTO: they are lost; close the connection.
 *
 * A peer's update is followed, and answered where it asks for that, by handshake_recv. handshake_send and
 * handshake_sendfile update the key by themselves before it has protected as much as its cipher bears, and
 * where that cannot be done they fail with EKEYEXPIRED, long after the first attempt, instead of going on.
 */
int handshake_update_keys(struct handshake *handshake, int fd, unsigned int flags);
/* Has the key updated after so many records (of 16384 bytes) instead; 0: as the cipher bears. */
int handshake_set_update_after(struct handshake *handshake, uint64_t records);
/* yes: handshake_recv sends no KeyUpdate, as somebody else may be sending on fd with write(2) at that moment
 * (another thread, another process); the next call that sends with this object does. 0: at once, if there is
 * room. A relay sees to it itself. */
int handshake_answer_later(struct handshake *handshake, int yes);
/* What the next update needs, sealed for the daemon; NULL: none. It changes with each update, and the one
 * before is then of no use. To go with the socket to another program of the same user. */
const char *handshake_token(const struct handshake *handshake);
/* Becomes the companion of a connection that another program of the same user has established, with kernel
 * records, and handed over with its token (NULL: there is none, its keys will not be updated). The role must
 * have been set before; path is the daemon's, as above. The other program's object must not be used any
 * more. EINVAL: fd has no keys in the kernel, as with a relay, for instance. */
int handshake_adopt(struct handshake *handshake, const char *path, int fd, const char *token);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
