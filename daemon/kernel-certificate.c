// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes credentials of what the supervisor has read from the kernel's keys. Touches the memory that it is
// given; never sees a private key.
#include "kernel-certificate.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certificate-file.h"
#include "signer.h"

#define SOURCE "of the request's key"

enum { HINTS_MAX = 64 };

struct kernel_certificate {
	struct signer_key *key;
	gnutls_certificate_credentials_t credentials;
};

static int memory_take(int fd, unsigned char **ret_bytes, size_t *ret_size)
{
	struct stat status;
	unsigned char *bytes = NULL;
	int error = -EPROTO;

	if (fstat(fd, &status) == 0 && status.st_size > 0 &&
	    status.st_size <= KERNEL_CERTIFICATE_MAX) {
		bytes = malloc((size_t)status.st_size);
		error = !bytes                                                          ? -ENOMEM
			: pread(fd, bytes, (size_t)status.st_size, 0) == status.st_size ? 0
											: -EIO;
	}
	close(fd);
	if (error < 0) {
		free(bytes);
		return error;
	}
	*ret_bytes = bytes;
	*ret_size = (size_t)status.st_size;
	return 0;
}

// What was imported into list is the credentials' when this succeeds.
static int pair_give(struct kernel_certificate *certificate, const struct certificates *chain)
{
	gnutls_pcert_st list[CERTIFICATE_CHAIN_MAX];
	gnutls_privkey_t handle = NULL;
	unsigned count = 0;
	int error = signer_key_handle(certificate->key, &handle);

	while (error == 0 && count < chain->count) {
		error = gnutls_pcert_import_x509(&list[count], chain->items[count], 0);
		count += error == 0;
	}
	if (error == 0)
		// As credentials.c: when it fails it does not tell how much it took.
		return gnutls_certificate_set_key(certificate->credentials, NULL, 0, list,
						  (int)count, handle);
	while (count)
		gnutls_pcert_deinit(&list[--count]);
	if (handle)
		gnutls_privkey_deinit(handle);
	return error;
}

static int credentials_make(struct kernel_certificate *certificate,
			    const struct certificates *chain, const struct trust *trust,
			    struct problem *problem)
{
	int error = gnutls_certificate_allocate_credentials(&certificate->credentials);

	if (error < 0) {
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	gnutls_certificate_set_flags(certificate->credentials,
				     GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	error = pair_give(certificate, chain);
	// More names than these would only make each handshake longer; see credentials.c.
	if (error >= 0 && trust && trust_anchors(trust)->count <= HINTS_MAX)
		error = gnutls_certificate_set_x509_trust(certificate->credentials,
							  trust_anchors(trust)->items,
							  (int)trust_anchors(trust)->count);
	if (error >= 0)
		return 0;
	problem_set(problem, "the certificate " SOURCE " cannot be used: %s",
		    gnutls_strerror(error));
	return error == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
}

static int key_check(const struct signer_key *key, gnutls_x509_crt_t certificate,
		     struct problem *problem)
{
	int matches = signer_key_matches(key, certificate);

	if (matches == 1)
		return 0;
	if (matches == 0) {
		problem_set(problem, "the private key that the request names is not that of its"
				     " certificate");
		return -EINVAL;
	}
	// The chain's own check has just read this public key: it is want of memory, even where the library has
	// another word for it.
	problem_set(problem, "the public key of the certificate " SOURCE " cannot be read: %s",
		    gnutls_strerror(matches));
	return -ENOMEM;
}

static int certificate_fill(struct kernel_certificate *certificate, const void *bytes, size_t size,
			    const struct trust *trust, struct problem *problem)
{
	struct certificates chain = {};
	int r = certificate_chain_import(bytes, size, SOURCE, &chain, problem);

	if (r == 0)
		r = key_check(certificate->key, chain.items[0], problem);
	if (r == 0)
		r = credentials_make(certificate, &chain, trust, problem);
	certificates_done(&chain);
	return r;
}

int kernel_certificate_new(int fd, const struct signer_lent *key, const struct trust *trust,
			   struct kernel_certificate **ret_certificate, struct problem *problem)
{
	struct kernel_certificate *certificate;
	unsigned char *bytes = NULL;
	size_t size = 0;
	int r = memory_take(fd, &bytes, &size);

	if (r < 0) {
		problem_set(problem, r == -ENOMEM ? "out of memory"
						  : "the certificate " SOURCE " cannot be read");
		return r;
	}
	certificate = calloc(1, sizeof(*certificate));
	if (certificate)
		certificate->key = signer_lent_key(key);
	if (certificate && certificate->key) {
		r = certificate_fill(certificate, bytes, size, trust, problem);
	} else {
		problem_set(problem, "out of memory");
		r = -ENOMEM;
	}
	free(bytes);
	if (r == 0)
		*ret_certificate = certificate;
	else
		kernel_certificate_free(certificate);
	return r;
}

void kernel_certificate_free(struct kernel_certificate *certificate)
{
	if (!certificate)
		return;
	if (certificate->credentials)
		gnutls_certificate_free_credentials(certificate->credentials);
	signer_key_free(certificate->key);
	free(certificate);
}

gnutls_certificate_credentials_t kernel_certificate_credentials(
    const struct kernel_certificate *certificate)
{
	return certificate->credentials;
}
