// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Early data that a program wants its client to send. Touches a stranger's memfd for reading, and the
 * session; must never wait for a file that is not the kernel's own memory, nor send to a server that did
 * not say, in the ticket, how much it takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "early-data.h"

void early_data_offer_done(struct early_data_offer *offer)
{
	if (offer->bytes != NULL)
		explicit_bzero(offer->bytes, offer->size);
	free(offer->bytes);
	offer->bytes = NULL;
	offer->size = 0;
}

/* What came as early data … */
static const char *offer_words(int error)
{
	switch (error) {
	case -ENOTTY:
		return "is no memfd (memfd_create(2))";
	case -EFBIG:
		return "holds more than 65536 bytes";
	case -ENODATA:
		return "is empty; leave it out";
	case -ENOMEM:
		return "finds no memory in the daemon: try again";
	default:
		return "cannot be read to its end";
	}
}

/* 0, or -errno. */
static int offer_fill(struct early_data_offer *offer, int fd)
{
	struct stat status;
	size_t length = 0;

	/* Answered by the kernel for memory alone, without asking the file. */
	if (fcntl(fd, F_GET_SEALS) < 0 || fstat(fd, &status) < 0)
		return -ENOTTY;
	if (status.st_size > HANDSHAKE_EARLY_DATA_SIZE)
		return -EFBIG;
	if (status.st_size == 0)
		return -ENODATA;
	offer->bytes = malloc((size_t)status.st_size);
	if (offer->bytes == NULL)
		return -ENOMEM;
	offer->size = (size_t)status.st_size;
	while (length < offer->size) {
		ssize_t n = pread(fd, offer->bytes + length, offer->size - length, (off_t)length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		length += (size_t)n;
	}
	return 0;
}

int early_data_offer_read(int fd, struct early_data_offer *ret_offer, struct failure *failure)
{
	struct early_data_offer offer = {.bytes = NULL};
	int error = offer_fill(&offer, fd);

	if (error == 0) {
		*ret_offer = offer;
		return 0;
	}
	early_data_offer_done(&offer);
	failure_set(failure, error == -ENOMEM ? FAILURE_BUSY : FAILURE_REQUEST, error == -ENOMEM,
		    "What came as early data %s", offer_words(error));
	return -1;
}

static bool offers(const struct decision *decision, const char *alpn)
{
	for (unsigned i = 0; i < decision->alpn_count; i++)
		if (strcmp(decision->alpn[i], alpn) == 0)
			return true;
	return false;
}

/* NULL: it can go. */
static const char *offer_judge(const struct early_data *early, const struct early_data_offer *offer,
			       const char *alpn)
{
	const struct config_profile *config = early->decision->profile->config;
	size_t most;

	if (config->early_data == 0)
		return "the profile sends none: it has no \"early-data\"";
	if (offer->size > config->early_data)
		return "it is larger than what the profile's \"early-data\" allows";
	if (alpn == NULL)
		return "there is no ticket of this server";
	if (early->retried_before)
		return "this server wanted another key share the last time, which early data does "
		       "not "
		       "survive";
	/* RFC 8446, 4.2.10: it is for the protocol that the ticket's connection had. */
	if (alpn[0] != '\0' && !offers(early->decision, alpn))
		return "the ticket is of an application protocol that is not offered now";
	most = gnutls_record_get_max_early_data_size(early->tls);
	/* The library's start value, where the ticket said nothing. */
	if (most == UINT32_MAX || most == 0)
		return "the server's ticket allows none";
	if (offer->size > most)
		return "it is larger than what the server's ticket allows";
	return NULL;
}

int early_data_send(struct early_data *early, struct early_data_offer *offer, const char *alpn)
{
	ssize_t sent;

	if (offer->bytes == NULL)
		return 0;
	early->offered = true;
	early->reason = offer_judge(early, offer, alpn);
	if (early->reason != NULL)
		return 0;
	sent = gnutls_record_send_early_data(early->tls, offer->bytes, offer->size);
	if (sent < 0)
		return (int)sent;
	early->taken = true; /* by the library: the server has its say yet */
	snprintf(early->alpn, sizeof(early->alpn), "%s", alpn);
	return 0;
}
