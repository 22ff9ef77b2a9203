/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The groups of key exchange by name, and which of them this system's GnuTLS knows. */
#ifndef GROUPS_H
#define GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* The group that GnuTLS or IANA call so ("SECP256R1", "P-256", "X25519MLKEM768"; case does not count),
 * or -1. */
int groups_find(const char *word);
/* GnuTLS's name. */
const char *groups_name(enum config_group group);
/* The nearest name to a word that is none, or NULL. */
const char *groups_nearest(const char *word);
/* Whether this GnuTLS has the group; they differ from version to version and by how it was built. */
bool groups_available(enum config_group group);
/* Whether the group is one of finite fields (RFC 7919), of curves, or a hybrid, which only TLS 1.3 has. */
bool groups_is_finite(enum config_group group);
bool groups_is_curve(enum config_group group);
bool groups_is_hybrid(enum config_group group);
/* Which of a client's groups (their numbers, in its order) the profile's server takes, or -1. */
int groups_choose(const struct config_profile *config, const uint16_t *offered, size_t count);
/* The bits of a finite field's prime. */
unsigned groups_bits(enum config_group group);

#endif
