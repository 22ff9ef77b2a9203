// SPDX-License-Identifier: LGPL-2.1-or-later
// A profile's certificates with their keys in GnuTLS's form, and the choice among them by
// server_name. Reads the files that the profile names when it is loaded; a handshake opens nothing.
//
// GnuTLS's own choice goes through all certificates of a credentials object, and its retrieve
// callback does not tell which key types the client's TLS 1.2 suites allow. So there is one small
// credentials object for each set of certificates that serve a name, found through server-names.c,
// and within it GnuTLS chooses by suite, signature algorithm and curve, as it does best.
#include "credentials.h"

#include <gnutls/abstract.h>
#include <stdlib.h>
#include <string.h>

#include "certificate-file.h"
#include "certificate-list.h"
#include "key-exchange.h"
#include "loaded.h"
#include "raw-public-key.h"
#include "server-names.h"
#include "signer.h"
#include "staple.h"

enum { HINTS_MAX = 4096 }; // names of authorities, over all groups: each has a copy

// The chain lies in the form that a credentials object takes, made and left behind when the pair is read: ten
// thousand parsed certificates freed in the end would leave the heap of each worker full of holes.
struct pair {
	gnutls_pcert_st *chain; // until a credentials object has taken what they refer to
	gnutls_datum_t *raw;    // DER, for others
	unsigned count;
	bool taken;
	int kind; // gnutls_pk_algorithm_t
	struct signer_key *key;
	struct staple *staple; // NULL: none
	time_t expires;
};

struct credentials {
	struct pair *pairs;
	unsigned pair_count;
	struct server_names *names;
	gnutls_certificate_credentials_t *groups; // server_names_group_count() of them
	unsigned group_count;
	gnutls_certificate_credentials_t server; // for an unknown name or none
	gnutls_certificate_credentials_t client;
	struct signer_key *raw; // shown without a certificate; NULL: none
	gnutls_dh_params_t dh;  // of the server's; NULL: no finite fields
};

static int pair_keep(struct pair *pair, const struct certificates *chain, struct problem *problem)
{
	pair->chain = calloc(chain->count, sizeof(*pair->chain));
	pair->raw = calloc(chain->count, sizeof(*pair->raw));
	if (!pair->chain || !pair->raw)
		return problem_set(problem, "out of memory");
	for (; pair->count < chain->count; pair->count++) {
		gnutls_pcert_st *kept = &pair->chain[pair->count];
		int error = gnutls_pcert_import_x509(kept, chain->items[pair->count], 0);

		if (error < 0)
			return problem_set(problem, "the certificates cannot be used: %s",
					   gnutls_strerror(error));
		pair->raw[pair->count] = kept->cert;
	}
	pair->kind = gnutls_x509_crt_get_pk_algorithm(chain->items[0], NULL);
	pair->expires = gnutls_x509_crt_get_expiration_time(chain->items[0]);
	return 0;
}

static int pair_take(struct pair *pair, const struct certificates *chain,
		     const struct config_certificate *config, const struct trust *trust,
		     struct problem *problem)
{
	int matches = signer_key_matches(pair->key, chain->items[0]);
	char name[256];

	if (matches < 0)
		return problem_set(problem, "the key of certificate \"%s\" cannot be read: %s",
				   config->certificate, gnutls_strerror(matches));
	if (!matches)
		return problem_set(problem,
				   "private-key \"%s\" is not the key of certificate \"%s\" (%s)",
				   config->private_key, config->certificate,
				   certificate_name(chain->items[0], name, sizeof(name)));
	if (config->staple && staple_read(config->staple, chain, trust, &pair->staple, problem) < 0)
		return -1;
	return pair_keep(pair, chain, problem);
}

// The signer loads the key of the next pair, if there is one, while this process is busy with the one before.
static int pair_begin(struct credentials *credentials, const struct certificate_list *list,
		      struct signer *signer, struct problem *problem)
{
	unsigned next = credentials->pair_count;
	const struct config_certificate *config;

	if (next == list->count)
		return 0;
	config = &list->items[next];
	if (signer_key_begin(signer, config->private_key, config->pin_file,
			     &credentials->pairs[next].key, problem) < 0)
		return -1;
	credentials->pair_count++;
	return 0;
}

static int pair_read(struct credentials *credentials, unsigned number,
		     const struct certificate_list *list, const struct trust *trust,
		     struct signer *signer, struct problem *problem)
{
	const struct config_certificate *config = &list->items[number];
	struct pair *pair = &credentials->pairs[number];
	struct certificates chain;
	int r;

	if (certificate_chain_read(config->certificate, &chain, problem) < 0)
		return -1;
	r = signer_key_finish(pair->key, problem);
	if (r == 0)
		r = pair_begin(credentials, list, signer, problem);
	if (r == 0)
		r = pair_take(pair, &chain, config, trust, problem);
	if (r == 0 && server_names_add(credentials->names, chain.items[0], number) < 0)
		r = problem_set(problem, "out of memory");
	certificates_done(&chain);
	return r;
}

static void pair_done(struct pair *pair)
{
	for (unsigned i = 0; i < pair->count && !pair->taken; i++)
		gnutls_pcert_deinit(&pair->chain[i]);
	free(pair->chain);
	free(pair->raw);
	signer_key_free(pair->key);
	staple_free(pair->staple);
}

static int pairs_read(struct credentials *credentials, const struct certificate_list *list,
		      const struct trust *trust, struct signer *signer, struct problem *problem)
{
	credentials->pairs = calloc(list->count + 1, sizeof(*credentials->pairs));
	credentials->names = server_names_new();
	if (!credentials->pairs || !credentials->names)
		return problem_set(problem, "out of memory");
	if (pair_begin(credentials, list, signer, problem) < 0)
		return -1;
	for (unsigned i = 0; i < list->count; i++)
		if (pair_read(credentials, i, list, trust, signer, problem) < 0)
			return -1;
	return server_names_finish(credentials->names) < 0 ? problem_set(problem, "out of memory")
							   : 0;
}

// Nearly all pairs serve in one object alone.
static int pair_give(gnutls_certificate_credentials_t credentials, struct pair *pair)
{
	gnutls_pcert_st list[CERTIFICATE_CHAIN_MAX];
	gnutls_privkey_t handle = NULL;
	unsigned count = 0;
	int error;

	error = signer_key_handle(pair->key, &handle);
	if (error == 0 && !pair->taken) {
		pair->taken = true;
		return gnutls_certificate_set_key(credentials, NULL, 0, pair->chain,
						  (int)pair->count, handle);
	}
	while (error == 0 && count < pair->count) {
		error = gnutls_pcert_import_x509_raw(&list[count], &pair->raw[count],
						     GNUTLS_X509_FMT_DER, 0);
		count += error == 0;
	}
	if (error < 0) {
		while (count)
			gnutls_pcert_deinit(&list[--count]);
		if (handle)
			gnutls_privkey_deinit(handle);
		return error;
	}
	// Takes the handle and what the list refers to. When it fails it does not tell how much it
	// took; then a few bytes may be lost, once, which is better than freed twice.
	return gnutls_certificate_set_key(credentials, NULL, 0, list, (int)count, handle);
}

// GnuTLS gives each credentials object a trust list with room for hundreds of authorities. Here
// nobody is verified by it: trust.c has the profile's.
static int group_shrink(gnutls_certificate_credentials_t group)
{
	gnutls_x509_trust_list_t none;
	int error = gnutls_x509_trust_list_init(&none, 1);

	if (error == 0)
		gnutls_certificate_set_trust_list(group, none, 0); // which owns it now
	return error;
}

// New credentials with the pairs of these numbers.
static int group_new(const struct credentials *credentials, const unsigned *numbers, unsigned count,
		     const struct certificates *hints, gnutls_certificate_credentials_t *ret_group,
		     struct problem *problem)
{
	gnutls_certificate_credentials_t group;
	int error;

	error = gnutls_certificate_allocate_credentials(&group);
	if (error < 0)
		return problem_set(problem, "out of memory");
	// The keys were compared already, and GnuTLS would have the signer sign for each.
	gnutls_certificate_set_flags(group, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	for (unsigned i = 0; error >= 0 && i < count; i++) {
		struct pair *pair = &credentials->pairs[numbers[i]];

		error = pair_give(group, pair);
		if (error >= 0 && pair->staple)
			staple_give(group, i, pair->staple);
	}
	// Behind the certificates, whose staples go by number.
	if (error >= 0 && credentials->raw)
		error = raw_public_key_give(group, credentials->raw);
	if (error >= 0)
		error = hints ? gnutls_certificate_set_x509_trust(group, hints->items,
								  (int)hints->count)
			      : group_shrink(group);
	if (error < 0) {
		gnutls_certificate_free_credentials(group);
		return problem_set(problem, "the certificates cannot be used: %s",
				   gnutls_strerror(error));
	}
	*ret_group = group;
	return 0;
}

// For an unknown name or none: the first certificate of each kind of key.
static unsigned defaults_choose(const struct credentials *credentials, unsigned *ret_numbers,
				unsigned most)
{
	int kinds[8];
	unsigned count = 0;

	for (unsigned i = 0; i < credentials->pair_count && count < most; i++) {
		int kind = credentials->pairs[i].kind;
		unsigned known = 0;

		while (known < count && kinds[known] != kind)
			known++;
		if (known < count)
			continue;
		kinds[count] = kind;
		ret_numbers[count++] = i;
	}
	return count;
}

static void dh_give(const struct credentials *credentials, gnutls_certificate_credentials_t group)
{
	if (credentials->dh)
		gnutls_certificate_set_dh_params(group,
						 credentials->dh); // which are only referred to
}

static int groups_make(struct credentials *credentials, const struct trust *trust,
		       struct problem *problem)
{
	unsigned total = server_names_group_count(credentials->names), defaults[8], count;
	const struct certificates *hints = trust ? trust_anchors(trust) : NULL;
	const unsigned *numbers;

	// The names of the authorities are a courtesy (RFC 8446, 4.2.4); a hundred of them would
	// only make each handshake longer.
	if (hints && (hints->count > 64 || hints->count * (total + 1) > HINTS_MAX))
		hints = NULL;
	credentials->groups = calloc(total + 1, sizeof(gnutls_certificate_credentials_t));
	if (!credentials->groups)
		return problem_set(problem, "out of memory");
	for (; credentials->group_count < total; credentials->group_count++) {
		numbers = server_names_group(credentials->names, credentials->group_count, &count);
		if (group_new(credentials, numbers, count, hints,
			      &credentials->groups[credentials->group_count], problem) < 0)
			return -1;
		dh_give(credentials, credentials->groups[credentials->group_count]);
	}
	count = defaults_choose(credentials, defaults, 8);
	if (group_new(credentials, defaults, count, hints, &credentials->server, problem) < 0)
		return -1;
	dh_give(credentials, credentials->server);
	return 0;
}

static int client_make(struct credentials *credentials, struct problem *problem)
{
	unsigned *numbers = calloc(credentials->pair_count + 1, sizeof(*numbers));
	int error;

	if (!numbers)
		return problem_set(problem, "out of memory");
	for (unsigned i = 0; i < credentials->pair_count; i++)
		numbers[i] = i;
	error = group_new(credentials, numbers, credentials->pair_count, NULL, &credentials->client,
			  problem);
	free(numbers);
	return error;
}

int credentials_new(const struct config_profile *config, const struct trust *trust,
		    struct signer *signer, struct credentials **ret_credentials,
		    struct problem *problem)
{
	struct credentials *credentials = calloc(1, sizeof(*credentials));
	struct certificate_list list = {};

	if (!credentials)
		return problem_set(problem, "out of memory");
	if (certificate_list_new(config, &list, problem) < 0 ||
	    pairs_read(credentials, &list, trust, signer, problem) < 0)
		goto fail;
	if (key_exchange_parameters(config, &credentials->dh) < 0) {
		problem_set(problem, "the parameters of key exchange cannot be made");
		goto fail;
	}
	if (config->raw.private_key &&
	    signer_key_load(signer, config->raw.private_key, NULL, &credentials->raw, problem) < 0)
		goto fail;
	if ((config->roles & CONFIG_ROLE_SERVER) && (credentials->pair_count || credentials->raw) &&
	    groups_make(credentials, trust, problem) < 0)
		goto fail;
	if ((config->roles & CONFIG_ROLE_CLIENT) && client_make(credentials, problem) < 0)
		goto fail;
	certificate_list_done(&list);
	*ret_credentials = credentials;
	return 0;
fail:
	certificate_list_done(&list);
	credentials_free(credentials);
	return -1;
}

void credentials_free(struct credentials *credentials)
{
	if (!credentials)
		return;
	for (unsigned i = 0; i < credentials->group_count; i++)
		gnutls_certificate_free_credentials(credentials->groups[i]);
	free(credentials->groups);
	if (credentials->server)
		gnutls_certificate_free_credentials(credentials->server);
	if (credentials->client)
		gnutls_certificate_free_credentials(credentials->client);
	if (credentials->dh)
		gnutls_dh_params_deinit(credentials->dh);
	server_names_free(credentials->names);
	signer_key_free(credentials->raw);
	for (unsigned i = 0; i < credentials->pair_count; i++)
		pair_done(&credentials->pairs[i]);
	free(credentials->pairs);
	free(credentials);
}

gnutls_certificate_credentials_t credentials_server(const struct credentials *credentials)
{
	return credentials->server;
}

gnutls_certificate_credentials_t credentials_client(const struct credentials *credentials)
{
	return credentials->client;
}

bool credentials_pair(const struct credentials *credentials, unsigned number,
		      struct credentials_pair *ret_pair)
{
	if (number >= credentials->pair_count)
		return false;
	ret_pair->expires = credentials->pairs[number].expires;
	ret_pair->staple = credentials->pairs[number].staple;
	return true;
}

gnutls_dh_params_t credentials_dh(const struct credentials *credentials)
{
	return credentials->dh;
}

int credentials_select(gnutls_session_t session, const struct profile *profile)
{
	const struct credentials *credentials = profile->credentials;
	gnutls_certificate_credentials_t chosen = credentials->server;
	char name[256];
	size_t size = sizeof(name);
	unsigned type;
	int error, group;

	if (!chosen)
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	error = gnutls_server_name_get(session, name, &size, &type, 0);
	if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, chosen);
	group = error < 0 ? -1 : server_names_find(credentials->names, name);
	if (group >= 0)
		chosen = credentials->groups[group];
	else if (profile->config->unknown_name_refused)
		return GNUTLS_E_UNRECOGNIZED_NAME;
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, chosen);
}
