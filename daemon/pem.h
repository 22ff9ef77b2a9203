/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the blocks of PEM text (RFC 7468), so that one that GnuTLS would skip is not overlooked. */
#ifndef PEM_H
#define PEM_H

#include <gnutls/gnutls.h>

struct pem_reader {
	const char *position; /* NUL-terminated text */
	unsigned line;        /* 1 at the start */
};

struct pem_block {
	char label[48];      /* "CERTIFICATE", cut off */
	gnutls_datum_t text; /* from BEGIN to END, inside the reader's text */
	unsigned line;
};

/* 1 and the next block, 0 when there is none, -1 for a block without an end: ret_block->line and
 * label are set. Text between blocks is skipped, as the RFC allows. */
int pem_next(struct pem_reader *reader, struct pem_block *ret_block);

#endif
