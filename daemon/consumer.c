// SPDX-License-Identifier: LGPL-2.1-or-later
// Tells the kernel's consumers apart. Looks at the request and at the name of its keyring; never gives a
// request to a profile that trusts whom its consumer does not.
#include "consumer.h"

#include <errno.h>
#include <string.h>

#include "keyring.h"
#include "upcall-keys.h"

// Keyrings of the consumers that have a key of their own in [kernel], and what these ask for.
static const struct known {
	const char *name;
	bool client, server, psk;
} knowns[] = {
    {".nfs", .client = true},
    {".nfsd", .server = true},
    {".nvme", .client = true, .server = true, .psk = true},
    {.name = NULL},
};

static const struct known *known_lookup(const char *name)
{
	for (const struct known *known = knowns; known->name; known++)
		if (!strcmp(known->name, name))
			return known;
	return NULL;
}

static bool known_fits(const struct known *known, const struct upcall_request *request)
{
	return known->psk == (request->authentication == UPCALL_PSK) &&
	       (request->is_server ? known->server : known->client);
}

static const struct config_keyring *keyring_lookup(const struct config_kernel *kernel,
						   const char *name)
{
	for (size_t i = 0; i < kernel->keyring_count; i++)
		if (!strcmp(kernel->keyrings[i].name, name))
			return &kernel->keyrings[i];
	return NULL;
}

static const char *by_question(const struct config_kernel *kernel,
			       const struct upcall_request *request, struct problem *problem)
{
	bool psk = request->authentication == UPCALL_PSK;
	enum config_consumer consumer = request->is_server
					    ? (psk ? CONFIG_CONSUMER_NVMET : CONFIG_CONSUMER_NFSD)
					    : (psk ? CONFIG_CONSUMER_NVME : CONFIG_CONSUMER_NFS);

	if (!kernel->profiles[consumer])
		problem_set(problem, "%s[kernel] has no profile for this consumer; add \"%s\"",
			    psk ? "it wants a pre-shared key, and " : "",
			    config_consumer_word(consumer));
	return kernel->profiles[consumer];
}

const char *consumer_profile(const struct config_kernel *kernel,
			     const struct upcall_request *request, bool *ret_retry,
			     struct problem *problem)
{
	const struct config_keyring *keyring;
	const struct known *known;
	char name[KEYRING_NAME_SIZE];
	int r;

	*ret_retry = false;
	if (request->keyring == 0)
		return by_question(kernel, request, problem);
	r = keyring_name(request->keyring, name);
	if (r < 0) {
		*ret_retry = upcall_keys_may_retry(-r);
		problem_set(problem, "its keyring %d cannot be looked at: %s", request->keyring,
			    strerror(-r));
		return NULL;
	}
	keyring = keyring_lookup(kernel, name);
	if (keyring)
		return keyring->profile;
	known = known_lookup(name);
	if (known && !known_fits(known, request)) {
		problem_set(problem,
			    "its keyring is \"%s\", whose consumer does not ask for such a"
			    " handshake",
			    name);
		return NULL;
	}
	// A host of NVMe/TCP may be given any keyring; who has its keys is who may ask.
	if (known || request->authentication == UPCALL_PSK)
		return by_question(kernel, request, problem);
	problem_set(problem,
		    "its keyring is \"%s\", for which [kernel] has no profile; add \"keyring = %s"
		    " PROFILE\"",
		    name, name);
	return NULL;
}
