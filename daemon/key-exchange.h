/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How two sides agree on their keys: what a session is told of it beyond its priorities, and what it says
 * of it afterwards. */
#ifndef KEY_EXCHANGE_H
#define KEY_EXCHANGE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>

#include "config.h"

/* The group of TLS 1.2's DHE for clients that name none (RFC 7919, 4): the smallest of the profile's finite
 * fields. *ret_parameters is NULL where the profile has none. 0 or a GnuTLS error. */
int key_exchange_parameters(const struct config_profile *config,
			    gnutls_dh_params_t *ret_parameters);
/* The bits of that group, 0 where there is none. */
unsigned key_exchange_finite_bits(const struct config_profile *config);
/* A client takes no smaller prime of a TLS 1.2 server than its profile's smallest. */
void key_exchange_set(gnutls_session_t session, const struct config_profile *config);
/* Whether the keys come of a pre-shared key (other than a ticket's). */
bool key_exchange_is_psk(gnutls_session_t session);
/* The words of a reply: "ECDHE", "DHE", … Static. */
const char *key_exchange_word(gnutls_session_t session);
/* The group: GnuTLS's name, "DH-2048" for a group that a TLS 1.2 server brought, "" where there is none. */
void key_exchange_group(gnutls_session_t session, char *text, size_t size);

#endif
