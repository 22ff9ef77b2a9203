/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A certificate that came with a request of the kernel, in a worker: for one handshake, its key in the signer. */
#ifndef KERNEL_CERTIFICATE_H
#define KERNEL_CERTIFICATE_H

#include <gnutls/gnutls.h>

#include "problem.h"
#include "signer-lent.h"
#include "trust.h"

enum { KERNEL_CERTIFICATE_MAX = 64 * 1024 }; /* bytes: a chain */

struct kernel_certificate;

/* fd: a memfd with the certificate (DER) or its chain (PEM), taken. trust: whose names a client is told of, or
 * NULL. 0 and a new object, to be freed after every session with it, or negative and a sentence: -ENOMEM says nothing
 * about the certificate. */
int kernel_certificate_new(int fd, const struct signer_lent *key, const struct trust *trust,
			   struct kernel_certificate **ret_certificate, struct problem *problem);
void kernel_certificate_free(struct kernel_certificate *certificate);
/* Borrowed. */
gnutls_certificate_credentials_t kernel_certificate_credentials(
    const struct kernel_certificate *certificate);

#endif
