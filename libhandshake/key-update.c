// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * New keys for an established connection with the kernel's records: the daemon makes them from the
 * connection's sealed token. Touches the connection, a connection to the daemon, and the object. Never
 * goes on where the two ends may have different keys, and never waits without a deadline.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "cleanup.h"

#define RECORD_SIZE 16384
#define TIMEOUT_MS  5000 /* for an update; a daemon that restarts comes back within it */
#define MARGIN_MS   1000 /* for the daemon to find out and to say so itself */
#define PAUSE_MS    50   /* between two attempts to reach it */

/*
 * Records under one key. RFC 8446, 5.5 allows 2^24.5 full ones with AES-GCM, RFC 9147, 4.5.3 2^23 with
 * AES-CCM: an update is made long before, and where none can be made nothing is sent beyond. There is no
 * such limit with ChaCha20.
 */
#define AFTER_GCM ((uint64_t)1 << 22)
#define AFTER_CCM ((uint64_t)1 << 21)
#define HARD      4 /* times as many is the end */

/* ---- The daemon's side --------------------------------------------------------------------- */

struct update {
	struct handshake *handshake;
	int fd;
	bool receive, transmit, ask;
	struct deadline deadline;
	/* the answer: */
	bool received, transmitted;
};

/* The two ends may have different keys. Gives a negative errno. */
static int update_break(struct handshake *handshake, const char *sentence)
{
	handshake->control.dead = true;
	return control_fail(handshake, EPROTO, "the connection's keys are lost: %s", sentence);
}

/* Nothing was changed. Gives -error. */
static int update_decline(struct handshake *handshake, int error, const char *sentence)
{
	if (handshake->control.failure)
		return -error;
	error_clear(handshake);
	return error_set(handshake, error, "%s", sentence);
}

static bool answer_is(const struct message *message, const char *key, const char *value)
{
	const char *found = message_get(message, key, 0);

	return found && strcmp(found, value) == 0;
}

static int answer_read(struct update *update, const struct message *message)
{
	struct handshake *handshake = update->handshake;
	const char *sentence = message_get(message, HANDSHAKE_KEY_ERROR, 0);
	const char *class = message_get(message, HANDSHAKE_KEY_CLASS, 0);
	const char *token = message_get(message, HANDSHAKE_KEY_TOKEN, 0);
	char *copy = NULL;

	if (!sentence)
		sentence = "the daemon gave no reason";
	if (answer_is(message, HANDSHAKE_KEY_OUTCOME, "untouched"))
		return update_decline(handshake, class ? error_of_class(class) : EIO, sentence);
	if (!answer_is(message, HANDSHAKE_KEY_OUTCOME, "established"))
		return update_break(handshake, sentence);
	update->received = answer_is(message, HANDSHAKE_KEY_UPDATED, "receive") ||
			   answer_is(message, HANDSHAKE_KEY_UPDATED, "both");
	update->transmitted = answer_is(message, HANDSHAKE_KEY_UPDATED, "transmit") ||
			      answer_is(message, HANDSHAKE_KEY_UPDATED, "both");
	if (token)
		copy = strdup(token);
	free(handshake->token);
	handshake->token = copy; /* without it the connection works on, but for the next update */
	if (update->transmitted) {
		handshake->control.records_checked = 0;
		handshake->control.records_since = 0;
		handshake->control.update_owed = false;
	}
	return 0;
}

/* Sends the request. 0, or -errno: the daemon has not got it. */
static int update_ask(const struct update *update, int daemon)
{
	const char *direction = !update->transmit  ? "receive"
				: !update->receive ? "transmit"
						   : "both";
	int left = deadline_left(update->deadline);
	struct message_writer writer;
	int r;

	message_begin(&writer, HANDSHAKE_OP_UPDATE_KEY);
	message_add_number(&writer, HANDSHAKE_KEY_ID, 1);
	message_add(&writer, HANDSHAKE_KEY_TOKEN, update->handshake->token);
	message_add(&writer, HANDSHAKE_KEY_DIRECTION, direction);
	if (update->ask)
		message_add(&writer, HANDSHAKE_KEY_REQUEST_UPDATE, "yes");
	message_add_number(&writer, HANDSHAKE_KEY_TIMEOUT_MS, (uint64_t)(left > 0 ? left : 1));
	do
		r = message_send(daemon, &writer, &update->fd, 1);
	while (r == -EAGAIN && link_wait(daemon, POLLOUT, update->deadline) > 0);
	explicit_bzero(&writer, sizeof(writer));
	return r;
}

static int update_hear(struct update *update, int daemon, struct message *message)
{
	struct deadline deadline = {.at = update->deadline.at + MARGIN_MS};
	char wrong[256];
	int r;

	do
		r = message_receive(daemon, message);
	while (r == -EAGAIN && link_wait(daemon, POLLIN, deadline) > 0);
	if (r == -EAGAIN)
		r = update_break(update->handshake, "the daemon has not answered within the time");
	else if (r <= 0)
		r = update_break(update->handshake, "the daemon's connection ended amid an update");
	else if (message_parse(message, wrong, sizeof(wrong)) < 0)
		r = update_break(update->handshake, "the daemon's answer cannot be followed");
	else
		r = answer_read(update, message);
	message_done(message);
	return r;
}

/* One attempt. -EAGAIN: the daemon could not be reached, nothing has happened. */
static int update_try(struct update *update)
{
	_cleanup_close_ int daemon =
	    link_connect(update->handshake->daemon_path, &update->deadline);
	struct message *message;
	int r;

	if (daemon == -EACCES || daemon == -EPERM)
		return update_decline(update->handshake, EACCES,
				      "this user may not use the daemon's socket, and the daemon "
				      "alone can update the connection's keys");
	if (daemon < 0)
		return -EAGAIN;
	message = malloc(sizeof(*message)); /* large, hence not on the program's stack */
	if (!message)
		return -ENOMEM;
	r = update_ask(update, daemon);
	if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN || r == -EAGAIN)
		r = -EAGAIN;
	else if (r == 0)
		r = update_hear(update, daemon, message);
	free(message);
	return r;
}

/* patient: a daemon that cannot be reached may come back in time. 0 or -errno with a sentence. */
static int update_run(struct update *update, bool patient)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	struct handshake *handshake = update->handshake;
	int r;

	if (!handshake->token)
		return update_decline(handshake, EOPNOTSUPP,
				      "the connection has no token to update its keys with: that "
				      "takes TLS 1.3 and the daemon's token");
	update->deadline = deadline_in(TIMEOUT_MS);
	for (;;) {
		r = update_try(update);
		if (r != -EAGAIN)
			break;
		if (!patient || deadline_left(update->deadline) <= PAUSE_MS)
			return update_decline(handshake, EHOSTDOWN,
					      "the daemon cannot be reached, and it alone can "
					      "update the connection's keys");
		nanosleep(&pause, NULL);
	}
	return r;
}

/* ---- The peer's update --------------------------------------------------------------------- */

static bool is_writable(int fd)
{
	struct pollfd polled = {.fd = fd, .events = POLLOUT};

	return poll(&polled, 1, 0) > 0 && polled.revents & POLLOUT;
}

int key_update_follow(struct handshake *handshake, int fd)
{
	struct update update = {
	    .handshake = handshake,
	    .fd = fd,
	    .receive = true,
	    /* Where the answer cannot leave at once it does before the next data. */
	    .transmit = handshake->control.update_owed && !handshake->answer_later &&
			!handshake->control.close_sent && is_writable(fd),
	};
	int r = update_run(&update, true);

	if (r == 0 && update.received)
		return 0;
	if (handshake->control.failure)
		return -handshake->control.failure;
	handshake->control.dead = true;
	return control_fail(handshake, EPROTO, "the peer has changed its key, and ours did not: %s",
			    *handshake->error ? handshake->error : strerror(r < 0 ? -r : EIO));
}

/* ---- Our own ------------------------------------------------------------------------------- */

/* As a send would wait: 0, -EAGAIN or -EINTR. */
static int wait_writable(int fd)
{
	struct pollfd polled = {.fd = fd, .events = POLLOUT};
	struct timeval timeout = {0};
	socklen_t size = sizeof(timeout);
	int flags = fcntl(fd, F_GETFL), milliseconds = -1, r;

	if (flags >= 0 && flags & O_NONBLOCK)
		return is_writable(fd) ? 0 : -EAGAIN;
	if (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, &size) == 0 &&
	    (timeout.tv_sec || timeout.tv_usec))
		milliseconds = (int)(timeout.tv_sec * 1000 + timeout.tv_usec / 1000);
	r = poll(&polled, 1, milliseconds);
	return r > 0 ? 0 : r < 0 ? -errno : -EAGAIN;
}

static int update_transmit(struct handshake *handshake, int fd, bool ask, bool patient)
{
	struct update update = {.handshake = handshake, .fd = fd, .transmit = true, .ask = ask};
	int r = update_run(&update, patient);

	if (r == 0 && ask)
		handshake->control.updates_expected++;
	return r;
}

static bool is_tls13(const struct handshake *handshake)
{
	const char *version = handshake_result(handshake, HANDSHAKE_KEY_VERSION, 0);

	return version && strcmp(version, "TLS1.3") == 0;
}

/* Records after which the key is to be updated. UINT64_MAX: never. */
static uint64_t update_after(const struct handshake *handshake)
{
	const char *cipher = handshake_result(handshake, HANDSHAKE_KEY_CIPHER, 0);

	if (handshake->path != PATH_KERNEL || !is_tls13(handshake))
		return UINT64_MAX;
	if (handshake->update_after)
		return handshake->update_after;
	if (!cipher || strcmp(cipher, "CHACHA20-POLY1305") == 0)
		return UINT64_MAX;
	return strstr(cipher, "CCM") ? AFTER_CCM : AFTER_GCM;
}

/* Records under the key so far: counted here, and now and then the kernel's own number, as others may send
 * on the socket, too. */
static uint64_t records_sent(struct handshake *handshake, int fd, uint64_t after, bool exact)
{
	struct control *control = &handshake->control;
	uint64_t sent = control->records_checked + control->records_since;

	if (!exact && sent < after && control->records_since <= after / 16)
		return sent;
	if (kernel_keys_records(fd, &control->records_checked) == 0)
		control->records_since = 0;
	return control->records_checked + control->records_since;
}

/* -EKEYEXPIRED: beyond this nothing may be sent under the key. */
static int bound_check(struct handshake *handshake, uint64_t sent, uint64_t hard)
{
	char reason[ERROR_SIZE];

	if (sent < hard)
		return 0;
	memcpy(reason, handshake->error, sizeof(reason));
	error_clear(handshake);
	return error_set(
	    handshake, EKEYEXPIRED,
	    "%llu records were sent under one key, which bears no more (RFC 8446, 5.5), "
	    "and it could not be updated: %s",
	    (unsigned long long)sent, reason);
}

int key_update_before_send(struct handshake *handshake, int fd, bool exact, uint64_t *ret_bytes)
{
	uint64_t after = update_after(handshake);
	uint64_t sent = 0, hard = after > UINT64_MAX / HARD ? UINT64_MAX : after * HARD;
	struct control *control = &handshake->control;
	int r = 0;

	*ret_bytes = UINT64_MAX;
	if (!control->update_owed && after == UINT64_MAX)
		return 0;
	if (after != UINT64_MAX)
		sent = records_sent(handshake, fd, after, exact);
	if (control->update_owed || (sent >= after && sent >= control->update_again_at)) {
		bool owed = control->update_owed;

		r = exact ? 0 : wait_writable(fd);
		if (r == 0)
			r = update_transmit(handshake, fd, false, owed);
		if (r == -EAGAIN || r == -EINTR || control->dead || (r < 0 && owed))
			return r;
		if (r == 0) {
			sent = 0;
			control->update_again_at = 0;
		} else {
			/* A daemon that restarts, a kernel that cannot: not at each call. */
			control->update_again_at = sent + after / 8 + 1;
		}
	}
	if (after == UINT64_MAX)
		return 0;
	r = bound_check(handshake, sent, hard);
	if (r < 0)
		return r;
	after = sent < after                      ? after
		: sent < control->update_again_at ? control->update_again_at
						  : hard;
	if (after > hard)
		after = hard;
	if (after - sent < UINT64_MAX / RECORD_SIZE)
		*ret_bytes = (after - sent) * RECORD_SIZE;
	return 0;
}

void key_update_count(struct handshake *handshake, size_t bytes)
{
	handshake->control.records_since += bytes / RECORD_SIZE + (bytes % RECORD_SIZE != 0);
}

/* The relay finds the place among the data by itself. */
static int relay_update(struct handshake *handshake, bool ask)
{
	const uint8_t command = ask ? HANDSHAKE_RELAY_UPDATE_ASK : HANDSHAKE_RELAY_UPDATE;
	struct deadline deadline = deadline_in(TIMEOUT_MS);
	int fd = handshake->relay_control;
	uint8_t answer;
	ssize_t n;

	if (fd < 0 || !is_tls13(handshake))
		return update_decline(handshake, EOPNOTSUPP,
				      "the connection's relay cannot update its keys: that takes "
				      "TLS 1.3");
	/* Answers to orders that took too long. */
	while (recv(fd, &answer, 1, MSG_DONTWAIT) == 1)
		;
	if (send(fd, &command, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return update_decline(handshake, errno == EAGAIN ? ETIMEDOUT : EPIPE,
				      errno == EAGAIN ? "the relay is behind with earlier updates"
						      : "the connection's relay has ended it");
	do
		n = recv(fd, &answer, 1, MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || (errno == EAGAIN && link_wait(fd, POLLIN, deadline))));
	if (n < 0 && errno == EAGAIN)
		return update_decline(handshake, ETIMEDOUT,
				      "the relay is behind with earlier updates: the peer takes "
				      "nothing");
	if (n != 1 || answer != HANDSHAKE_RELAY_AGREED)
		return update_decline(handshake, EPIPE, "the connection's relay has ended it");
	return 0;
}

/* ---- What the program may ask -------------------------------------------------------------- */

int handshake_update_keys(struct handshake *handshake, int fd, unsigned int flags)
{
	int r = records_can_send(handshake);

	if (r == 0 && flags & ~(unsigned int)HANDSHAKE_UPDATE_ASK)
		r = update_decline(handshake, EINVAL, "there is no such flag for a key update");
	if (r == 0 && handshake->path == PATH_RELAY)
		r = relay_update(handshake, flags & HANDSHAKE_UPDATE_ASK);
	else if (r == 0) {
		r = wait_writable(fd);
		if (r == 0)
			r = update_transmit(handshake, fd, flags & HANDSHAKE_UPDATE_ASK, false);
	}
	if (r == 0)
		return 0;
	errno = -r;
	return -1;
}

int handshake_set_update_after(struct handshake *handshake, uint64_t records)
{
	handshake->update_after = records;
	handshake->control.update_again_at = 0;
	return 0;
}

int handshake_answer_later(struct handshake *handshake, int yes)
{
	handshake->answer_later = yes;
	return 0;
}

const char *handshake_token(const struct handshake *handshake)
{
	return handshake->token;
}

/* ---- Another program's connection ---------------------------------------------------------- */

static int adopt_refuse(struct handshake *handshake, int fd, int error)
{
	error_set(handshake, EINVAL, "descriptor %d has no keys of TLS in the kernel: %s", fd,
		  strerror(error));
	errno = EINVAL;
	return -1;
}

int handshake_adopt(struct handshake *handshake, const char *path, int fd, const char *token)
{
	const char *version, *cipher;
	int r;

	if (handshake->client) {
		errno = EBUSY;
		return -1;
	}
	result_reset(handshake);
	r = kernel_keys_describe(fd, &version, &cipher);
	if (r < 0)
		return adopt_refuse(handshake, fd, -r);
	r = result_adopt(handshake, version, cipher, token && *token ? token : NULL);
	if (r < 0) {
		errno = -r;
		return -1;
	}
	result_remember_daemon(handshake, link_path(path));
	return 0;
}
