// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Both directions of an established connection at once. Touches standard input, standard output and
 * the connection. Never waits on one direction while the other could move.
 */
#include "connect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What poll tells when receiving, or sending, would not wait; an end or an error is found out so. */
#define READABLE (POLLIN | POLLHUP | POLLERR)
#define WRITABLE (POLLOUT | POLLHUP | POLLERR)

#define BUFFER_SIZE   65536     /* bytes: four full records */
#define SENDFILE_SIZE (1 << 20) /* bytes a step */

struct buffer {
	size_t first, end; /* what waits lies between them */
	char bytes[BUFFER_SIZE];
};

struct transfer {
	struct handshake *handshake;
	int fd;
	int output_fd;      /* standard output, or our own description of it that does not block */
	size_t output_step; /* bytes that can be written after POLLOUT without blocking */
	bool output_polls;  /* poll says when it can be written */
	bool keep_open;
	bool input_is_file;
	bool input_ended;
	bool closed; /* close_notify was said */
	bool peer_ended;
	off_t offset;       /* of standard input when it is a file */
	struct buffer *in;  /* from the peer */
	struct buffer *out; /* to the peer */
	struct connect_end *end;
};

static int transfer_fail(struct transfer *transfer, const char *what, const char *why)
{
	if (!transfer->end->error[0])
		snprintf(transfer->end->error, sizeof(transfer->end->error), "%s: %s", what, why);
	return -1;
}

static bool buffer_holds(const struct buffer *buffer)
{
	return buffer->end > buffer->first;
}

/* A pipe's description is shared with whoever else has it, so its flags are not ours to change; one
 * opened anew is. */
static void output_open(struct transfer *transfer)
{
	struct stat status;

	transfer->output_fd = STDOUT_FILENO;
	transfer->output_step = BUFFER_SIZE;
	transfer->output_polls = true;
	if (fstat(STDOUT_FILENO, &status) < 0 || S_ISREG(status.st_mode)) {
		transfer->output_polls = false;
	} else if (S_ISFIFO(status.st_mode)) {
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

		if (fd >= 0)
			transfer->output_fd = fd;
		else
			transfer->output_step = PIPE_BUF; /* pipe(7): fits after POLLOUT */
	} else if (!S_ISSOCK(status.st_mode)) {
		transfer->output_step = PIPE_BUF;
	}
}

static void output_close(const struct transfer *transfer)
{
	if (transfer->output_fd != STDOUT_FILENO)
		close(transfer->output_fd);
}

/* ---- From the peer ------------------------------------------------------------------------- */

/* 1: something moved, 0: nothing can now, -1: failed. */
static int output_write(struct transfer *transfer)
{
	struct buffer *in = transfer->in;
	size_t size = in->end - in->first;
	ssize_t written;

	if (size > transfer->output_step)
		size = transfer->output_step;
	written = write(transfer->output_fd, in->bytes + in->first, size);
	if (written < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		return transfer_fail(transfer, "cannot write to standard output", strerror(errno));
	}
	in->first += (size_t)written;
	if (!buffer_holds(in))
		in->first = in->end = 0;
	return 1;
}

static int peer_read(struct transfer *transfer)
{
	struct buffer *in = transfer->in;
	ssize_t size = handshake_recv(transfer->handshake, transfer->fd, in->bytes, BUFFER_SIZE);

	if (size < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		return transfer_fail(transfer, "cannot receive",
				     *handshake_error(transfer->handshake)
					 ? handshake_error(transfer->handshake)
					 : strerror(errno));
	}
	if (size == 0) {
		transfer->peer_ended = true;
		return 0;
	}
	in->first = 0;
	in->end = (size_t)size;
	transfer->end->received += (uint64_t)size;
	return 1;
}

/* ---- To the peer --------------------------------------------------------------------------- */

/* A peer that takes nothing more may still have said something, its reason for instance: the other
 * direction goes on. */
static int send_failed(struct transfer *transfer)
{
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	transfer_fail(transfer, "cannot send",
		      errno == EKEYEXPIRED ? handshake_error(transfer->handshake)
					   : strerror(errno));
	if (errno != EPIPE && errno != ECONNRESET)
		return -1;
	transfer->out->first = transfer->out->end = 0;
	transfer->input_ended = true;
	transfer->closed = true;
	return 0;
}

static int input_read(struct transfer *transfer)
{
	struct buffer *out = transfer->out;
	ssize_t size = read(STDIN_FILENO, out->bytes, BUFFER_SIZE);

	if (size < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		return transfer_fail(transfer, "cannot read standard input", strerror(errno));
	}
	if (size == 0) {
		transfer->input_ended = true;
		return 0;
	}
	out->first = 0;
	out->end = (size_t)size;
	return 1;
}

static int peer_send_file(struct transfer *transfer)
{
	ssize_t size = handshake_sendfile(transfer->handshake, transfer->fd, STDIN_FILENO,
					  &transfer->offset, SENDFILE_SIZE);

	if (size < 0 && errno == EINVAL) { /* a file without sendfile: as any other input */
		if (lseek(STDIN_FILENO, transfer->offset, SEEK_SET) < 0)
			return transfer_fail(transfer, "cannot read standard input",
					     strerror(errno));
		transfer->input_is_file = false;
		return 1;
	}
	if (size < 0)
		return send_failed(transfer);
	if (size == 0)
		transfer->input_ended = true;
	transfer->end->sent += (uint64_t)size;
	return size > 0;
}

static int peer_send(struct transfer *transfer)
{
	struct buffer *out = transfer->out;
	ssize_t size = handshake_send(transfer->handshake, transfer->fd, out->bytes + out->first,
				      out->end - out->first);

	if (size < 0)
		return send_failed(transfer);
	transfer->end->sent += (uint64_t)size;
	out->first += (size_t)size;
	return 1;
}

static int peer_close(struct transfer *transfer)
{
	if (handshake_close_notify(transfer->handshake, transfer->fd) < 0)
		return send_failed(transfer);
	transfer->closed = true;
	return 1;
}

/* ---- The loop ------------------------------------------------------------------------------ */

static int receive_step(struct transfer *transfer, short connection, short output)
{
	if (buffer_holds(transfer->in))
		return output || !transfer->output_polls ? output_write(transfer) : 0;
	return (connection & READABLE) ? peer_read(transfer) : 0;
}

static int send_step(struct transfer *transfer, short connection, short input)
{
	if (buffer_holds(transfer->out))
		return (connection & WRITABLE) ? peer_send(transfer) : 0;
	if (transfer->input_ended) {
		if (transfer->closed || transfer->keep_open)
			return 0;
		return (connection & WRITABLE) ? peer_close(transfer) : 0;
	}
	if (transfer->input_is_file)
		return (connection & WRITABLE) ? peer_send_file(transfer) : 0;
	return input ? input_read(transfer) : 0;
}

/* One wait and what came of it. 0 or -1. */
static int transfer_turn(struct transfer *transfer)
{
	const bool holds_in = buffer_holds(transfer->in), holds_out = buffer_holds(transfer->out);
	const bool sends = holds_out || (!transfer->input_ended && transfer->input_is_file) ||
			   (transfer->input_ended && !transfer->closed && !transfer->keep_open);
	const bool reads = !holds_out && !transfer->input_ended && !transfer->input_is_file;
	struct pollfd polled[3] = {
	    {.fd = holds_in && !sends ? -1 : transfer->fd,
	     .events = (short)((holds_in ? 0 : POLLIN) | (sends ? POLLOUT : 0))},
	    {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
	    {.fd = holds_in && transfer->output_polls ? transfer->output_fd : -1,
	     .events = POLLOUT},
	};
	int r;

	if (poll(polled, 3, holds_in && !transfer->output_polls ? 0 : -1) < 0)
		return errno == EINTR ? 0 : transfer_fail(transfer, "cannot wait", strerror(errno));
	r = receive_step(transfer, polled[0].revents, polled[2].revents);
	if (r < 0)
		return r;
	return send_step(transfer, polled[0].revents, polled[1].revents) < 0 ? -1 : 0;
}

static void transfer_finish(struct transfer *transfer)
{
	bool rest;

	transfer->end->closed_by_peer = true;
	while (buffer_holds(transfer->in))
		if (output_write(transfer) < 0)
			return;
	rest = buffer_holds(transfer->out);
	if (transfer->input_is_file && !transfer->input_ended) {
		struct stat status;

		rest |= fstat(STDIN_FILENO, &status) == 0 && status.st_size > transfer->offset;
	}
	if (rest)
		transfer_fail(transfer, "the peer ended the connection",
			      "a part of standard input was not sent");
	/* RFC 8446, 6.1: said before the connection is closed, also after the peer said it. */
	if (!transfer->closed)
		handshake_close_notify(transfer->handshake, transfer->fd);
}

void connect_transfer(struct handshake *handshake, int fd, bool keep_open,
		      struct connect_end *ret_end)
{
	struct buffer in = {0}, out = {0};
	struct transfer transfer = {
	    .handshake = handshake,
	    .fd = fd,
	    .keep_open = keep_open,
	    .in = &in,
	    .out = &out,
	    .end = ret_end,
	};
	struct stat status;

	*ret_end = (struct connect_end){0};
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		transfer_fail(&transfer, "cannot begin", strerror(errno));
		return;
	}
	if (fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode)) {
		transfer.offset = lseek(STDIN_FILENO, 0, SEEK_CUR);
		transfer.input_is_file = transfer.offset >= 0;
	}
	output_open(&transfer);
	while (!transfer.peer_ended)
		if (transfer_turn(&transfer) < 0)
			break;
	if (transfer.peer_ended)
		transfer_finish(&transfer);
	output_close(&transfer);
}
