/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The certificate and the private key that a request of the kernel names by their keys' serial numbers. */
#ifndef UPCALL_CERTIFICATE_H
#define UPCALL_CERTIFICATE_H

#include <stdbool.h>

#include "problem.h"
#include "signer-lent.h"
#include "upcall.h"

bool upcall_names_certificate(const struct upcall_request *request);
/* Reads both keys, and gives the private one to the signer: it is kept nowhere else. 0, a sealed memfd with the
 * certificate and what is to be told of the key (signer_forget_lent() when the request has ended), or -1 and a
 * sentence: *ret_retry, whether another attempt may help. */
int upcall_certificate_read(const struct upcall_request *request, struct signer *signer,
			    int *ret_fd, struct signer_lent *ret_lent, bool *ret_retry,
			    struct problem *problem);

#endif
