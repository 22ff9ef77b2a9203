// SPDX-License-Identifier: LGPL-2.1-or-later
// Key exchange around the library's own: parameters for it, and words about it. Touches a session's
// settings; never a key.
#include "key-exchange.h"

#include <stdio.h>
#include <string.h>

#include "groups.h"

unsigned key_exchange_finite_bits(const struct config_profile *config)
{
	unsigned least = 0;

	for (size_t i = 0; i < config->group_count; i++) {
		unsigned bits = groups_bits(config->groups[i]);

		if (bits && (!least || bits < least))
			least = bits;
	}
	return least;
}

int key_exchange_parameters(const struct config_profile *config, gnutls_dh_params_t *ret_parameters)
{
	static const struct {
		unsigned bits;
		const gnutls_datum_t *prime, *q, *generator;
	} known[] = {
	    {2048, &gnutls_ffdhe_2048_group_prime, &gnutls_ffdhe_2048_group_q,
	     &gnutls_ffdhe_2048_group_generator},
	    {3072, &gnutls_ffdhe_3072_group_prime, &gnutls_ffdhe_3072_group_q,
	     &gnutls_ffdhe_3072_group_generator},
	    {4096, &gnutls_ffdhe_4096_group_prime, &gnutls_ffdhe_4096_group_q,
	     &gnutls_ffdhe_4096_group_generator},
	    {6144, &gnutls_ffdhe_6144_group_prime, &gnutls_ffdhe_6144_group_q,
	     &gnutls_ffdhe_6144_group_generator},
	    {8192, &gnutls_ffdhe_8192_group_prime, &gnutls_ffdhe_8192_group_q,
	     &gnutls_ffdhe_8192_group_generator},
	};
	unsigned bits = key_exchange_finite_bits(config), i = 0;
	gnutls_dh_params_t parameters;
	int error;

	*ret_parameters = NULL;
	if (!bits)
		return 0;
	while (known[i].bits != bits)
		i++;
	error = gnutls_dh_params_init(&parameters);
	if (error < 0)
		return error;
	error = gnutls_dh_params_import_raw3(parameters, known[i].prime, known[i].q,
					     known[i].generator);
	if (error < 0)
		gnutls_dh_params_deinit(parameters);
	else
		*ret_parameters = parameters;
	return error;
}

void key_exchange_set(gnutls_session_t session, const struct config_profile *config)
{
	unsigned bits = key_exchange_finite_bits(config);

	if (bits)
		gnutls_dh_set_prime_bits(session, bits);
}

bool key_exchange_is_psk(gnutls_session_t session)
{
	gnutls_kx_algorithm_t exchange = gnutls_kx_get(session);

	return !gnutls_session_is_resumed(session) &&
	       (exchange == GNUTLS_KX_PSK || exchange == GNUTLS_KX_DHE_PSK ||
		exchange == GNUTLS_KX_ECDHE_PSK);
}

const char *key_exchange_word(gnutls_session_t session)
{
	// A ticket's key, too, is a pre-shared one to TLS 1.3; "resumed" tells of it.
	bool psk = !gnutls_session_is_resumed(session);
	const char *group = gnutls_group_get_name(gnutls_group_get(session));

	switch (gnutls_kx_get(session)) {
	case GNUTLS_KX_RSA:
		return "RSA";
	case GNUTLS_KX_PSK:
		return "PSK";
	case GNUTLS_KX_DHE_RSA:
		return "DHE";
	case GNUTLS_KX_DHE_PSK:
		return psk ? "DHE-PSK" : "DHE";
	case GNUTLS_KX_ECDHE_PSK:
		if (group && strstr(group, "MLKEM"))
			return psk ? "HYBRID-PSK" : "HYBRID";
		return psk ? "ECDHE-PSK" : "ECDHE";
	default:
		return group && strstr(group, "MLKEM") ? "HYBRID" : "ECDHE";
	}
}

void key_exchange_group(gnutls_session_t session, char *text, size_t size)
{
	const char *name = gnutls_group_get_name(gnutls_group_get(session));
	gnutls_kx_algorithm_t exchange = gnutls_kx_get(session);

	text[0] = '\0';
	if (name)
		snprintf(text, size, "%s", name);
	else if (exchange == GNUTLS_KX_DHE_RSA || exchange == GNUTLS_KX_DHE_PSK)
		snprintf(text, size, "DH-%d", gnutls_dh_get_prime_bits(session));
}
