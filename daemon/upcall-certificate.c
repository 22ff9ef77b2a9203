// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads a request's certificate and private key from the kernel's keys, which only the process that accepted
// the request may. Touches these two keys; the private one passes through, and is wiped at once.
#include "upcall-certificate.h"

#include <errno.h>
#include <keyutils.h>
#include <stdio.h>
#include <string.h>

#include "kernel-certificate.h"
#include "sealed-memory.h"
#include "upcall-keys.h"

bool upcall_names_certificate(const struct upcall_request *request)
{
	return request->certificate != 0 || request->private_key != 0;
}

static ssize_t key_take(const char *what, int32_t serial, void *bytes, size_t room, bool *ret_retry,
			struct problem *problem)
{
	char description[512] = "";
	long size = keyctl_read(serial, bytes, room);

	if (size > 0 && (size_t)size <= room)
		return size;
	*ret_retry = size < 0 && upcall_keys_may_retry(errno);
	if (size < 0 && errno == EOPNOTSUPP &&
	    keyctl_describe(serial, description, sizeof(description)) > 0)
		return problem_set(problem,
				   "its %s, key %d, is of the type %.*s, which no program can read;"
				   " add it with the type user",
				   what, serial, (int)strcspn(description, ";"), description);
	if (size < 0)
		return problem_set(problem, "its %s, key %d, cannot be read: %s", what, serial,
				   strerror(errno));
	return problem_set(problem, "its %s, key %d, has %ld bytes; 1 to %zu are taken", what,
			   serial, size, room);
}

int upcall_certificate_read(const struct upcall_request *request, struct signer *signer,
			    int *ret_fd, struct signer_lent *ret_lent, bool *ret_retry,
			    struct problem *problem)
{
	static unsigned char certificate[KERNEL_CERTIFICATE_MAX], key[SIGNER_LENT_SIZE_MAX];
	ssize_t size, key_size;
	int r;

	*ret_retry = false;
	if (request->certificate == 0 || request->private_key == 0)
		return problem_set(problem,
				   "it names %s and no %s: both are needed (of NFS cert_serial= and"
				   " privkey_serial=)",
				   request->certificate ? "a certificate" : "a private key",
				   request->certificate ? "private key" : "certificate");
	size = key_take("certificate", request->certificate, certificate, sizeof(certificate),
			ret_retry, problem);
	if (size < 0)
		return -1;
	key_size =
	    key_take("private key", request->private_key, key, sizeof(key), ret_retry, problem);
	r = key_size < 0 ? -1
			 : signer_lend(signer, key, (size_t)key_size, ret_lent, ret_retry, problem);
	explicit_bzero(key, sizeof(key));
	if (r < 0)
		return -1;
	*ret_fd = sealed_memory_new("handshake-certificate", certificate, (size_t)size);
	if (*ret_fd >= 0)
		return 0;
	signer_forget_lent(signer, ret_lent->number);
	*ret_retry = true;
	return problem_set(problem, "its certificate cannot be passed on: %s", strerror(-*ret_fd));
}
