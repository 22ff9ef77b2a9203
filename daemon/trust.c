// SPDX-License-Identifier: LGPL-2.1-or-later
// Trust anchors and what belongs to them, all in memory. Touches the files it is given and the
// system's store; a store that is unreadable, empty or damaged is a problem, never "nobody" or
// "everybody".
#include "trust.h"

#include <stdlib.h>
#include <string.h>

enum { ANCHORS_MAX = 4096 };

struct trust {
	unsigned references;
	gnutls_x509_trust_list_t list; // owns the certificates of anchors
	struct certificates anchors;   // the array is ours
	struct revocation *revocation;
};

// The system's store can be a file or a PKCS #11 module that asks again at each look-up; workers
// can open neither, so everything is copied out of it once.
static int system_read(struct certificates *ret_anchors, struct problem *problem)
{
	gnutls_x509_trust_list_iter_t iterator = NULL;
	gnutls_x509_trust_list_t list = NULL;
	struct certificates anchors = {};
	gnutls_x509_crt_t certificate, *larger;
	int error;

	if (gnutls_x509_trust_list_init(&list, 0) < 0)
		return problem_set(problem, "out of memory");
	error = gnutls_x509_trust_list_add_system_trust(list, 0, 0);
	if (error < 0) {
		problem_set(problem,
			    "trust = system: the system's store cannot be read: %s; install"
			    " ca-certificates or name a file",
			    gnutls_strerror(error));
		goto fail;
	}
	while (gnutls_x509_trust_list_iter_get_ca(list, &iterator, &certificate) == 0) {
		larger = reallocarray(anchors.items, anchors.count + 1, sizeof(gnutls_x509_crt_t));
		if (!larger || anchors.count == ANCHORS_MAX) {
			gnutls_x509_crt_deinit(certificate);
			gnutls_x509_trust_list_iter_deinit(iterator);
			if (larger)
				anchors.items = larger;
			problem_set(problem, larger ? "trust = system: too many certificates"
						    : "out of memory");
			goto fail;
		}
		anchors.items = larger;
		anchors.items[anchors.count++] = certificate;
	}
	if (!anchors.count) {
		problem_set(problem, "trust = system: the system's store is empty; install"
				     " ca-certificates or name a file");
		goto fail;
	}
	gnutls_x509_trust_list_deinit(list, 1);
	*ret_anchors = anchors;
	return 0;
fail:
	gnutls_x509_trust_list_deinit(list, 1);
	certificates_done(&anchors);
	return -1;
}

// Gives the anchors to the list, which owns them from then on.
static int anchors_add(struct trust *trust, const char *source, struct problem *problem)
{
	int added;

	if (gnutls_x509_trust_list_init(&trust->list, trust->anchors.count) < 0)
		return problem_set(problem, "out of memory");
	added = gnutls_x509_trust_list_add_cas(trust->list, trust->anchors.items,
					       trust->anchors.count, 0);
	if (added != (int)trust->anchors.count)
		return problem_set(problem, "trust \"%s\": only %d of %u certificates can be used",
				   source, added, trust->anchors.count);
	return 0;
}

int trust_new(const char *source, const char *revocation_path, struct trust **ret_trust,
	      struct problem *problem)
{
	struct trust *trust = calloc(1, sizeof(*trust));
	int error;

	if (!trust)
		return problem_set(problem, "out of memory");
	trust->references = 1;
	error = !strcmp(source, "system")
		    ? system_read(&trust->anchors, problem)
		    : certificate_file_read(source, "trust", ANCHORS_MAX, &trust->anchors, problem);
	if (error == 0)
		error = anchors_add(trust, source, problem);
	if (error == 0 && revocation_path)
		error = revocation_read(revocation_path, &trust->revocation, problem);
	if (error < 0) {
		trust_unref(trust);
		return -1;
	}
	*ret_trust = trust;
	return 0;
}

struct trust *trust_ref(struct trust *trust)
{
	trust->references++;
	return trust;
}

void trust_unref(struct trust *trust)
{
	if (!trust || --trust->references)
		return;
	if (trust->list) {
		gnutls_x509_trust_list_deinit(trust->list, 1);
		free(trust->anchors.items);
	} else {
		certificates_done(&trust->anchors);
	}
	revocation_free(trust->revocation);
	free(trust);
}

gnutls_x509_trust_list_t trust_list(const struct trust *trust)
{
	return trust->list;
}

const struct certificates *trust_anchors(const struct trust *trust)
{
	return &trust->anchors;
}

struct revocation *trust_revocation(const struct trust *trust)
{
	return trust->revocation;
}
