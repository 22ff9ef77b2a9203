// SPDX-License-Identifier: LGPL-2.1-or-later
// The groups of key exchange: their names, and what GnuTLS says of them. A table and questions to the
// library; never decides which of them are good.
#include "groups.h"

#include <gnutls/gnutls.h>
#include <strings.h>

#include "config-words.h"

enum kind { HYBRID, CURVE, FINITE };

static const struct {
	const char *name;  // GnuTLS's
	const char *other; // IANA's or NIST's, where it is not the same in other letters
	enum kind kind;
	unsigned bits;
	uint16_t number; // IANA's
} groups[CONFIG_GROUPS] = {
    [CONFIG_X25519_MLKEM768] = {"X25519-MLKEM768", "X25519MLKEM768", HYBRID, 0, 0x11ec},
    [CONFIG_SECP256R1_MLKEM768] = {"SECP256R1-MLKEM768", "SecP256r1MLKEM768", HYBRID, 0, 0x11eb},
    [CONFIG_SECP384R1_MLKEM1024] = {"SECP384R1-MLKEM1024", "SecP384r1MLKEM1024", HYBRID, 0, 0x11ed},
    [CONFIG_X25519] = {"X25519", NULL, CURVE, 0, 0x001d},
    [CONFIG_SECP256R1] = {"SECP256R1", "P-256", CURVE, 0, 0x0017},
    [CONFIG_SECP384R1] = {"SECP384R1", "P-384", CURVE, 0, 0x0018},
    [CONFIG_X448] = {"X448", NULL, CURVE, 0, 0x001e},
    [CONFIG_SECP521R1] = {"SECP521R1", "P-521", CURVE, 0, 0x0019},
    [CONFIG_FFDHE2048] = {"FFDHE2048", NULL, FINITE, 2048, 0x0100},
    [CONFIG_FFDHE3072] = {"FFDHE3072", NULL, FINITE, 3072, 0x0101},
    [CONFIG_FFDHE4096] = {"FFDHE4096", NULL, FINITE, 4096, 0x0102},
    [CONFIG_FFDHE6144] = {"FFDHE6144", NULL, FINITE, 6144, 0x0103},
    [CONFIG_FFDHE8192] = {"FFDHE8192", NULL, FINITE, 8192, 0x0104},
};

int groups_find(const char *word)
{
	for (int group = 0; group < CONFIG_GROUPS; group++)
		if (!strcasecmp(word, groups[group].name) ||
		    (groups[group].other && !strcasecmp(word, groups[group].other)))
			return group;
	return -1;
}

const char *groups_name(enum config_group group)
{
	return groups[group].name;
}

const char *groups_nearest(const char *word)
{
	const char *names[2 * CONFIG_GROUPS];
	size_t count = 0;

	for (int group = 0; group < CONFIG_GROUPS; group++) {
		names[count++] = groups[group].name;
		if (groups[group].other)
			names[count++] = groups[group].other;
	}
	return config_nearest(word, names, count);
}

bool groups_available(enum config_group group)
{
	gnutls_group_t id = gnutls_group_get_id(groups[group].name);

	// The library may know the name of what it was built without.
	for (const gnutls_group_t *known = gnutls_group_list(); id && *known; known++)
		if (*known == id)
			return true;
	return false;
}

bool groups_is_finite(enum config_group group)
{
	return groups[group].kind == FINITE;
}

bool groups_is_curve(enum config_group group)
{
	return groups[group].kind == CURVE;
}

bool groups_is_hybrid(enum config_group group)
{
	return groups[group].kind == HYBRID;
}

static bool offers(const uint16_t *offered, size_t count, enum config_group group)
{
	while (count && offered[count - 1] != groups[group].number)
		count--;
	return count > 0;
}

int groups_choose(const struct config_profile *config, const uint16_t *offered, size_t count)
{
	size_t best = config->group_count;

	for (size_t i = 0; !config->client_order && i < config->group_count; i++)
		if (offers(offered, count, config->groups[i]))
			return (int)config->groups[i];
	for (size_t i = 0; config->client_order && best == config->group_count && i < count; i++)
		for (best = 0; best < config->group_count; best++)
			if (groups[config->groups[best]].number == offered[i])
				break;
	return best < config->group_count ? (int)config->groups[best] : -1;
}

unsigned groups_bits(enum config_group group)
{
	return groups[group].bits;
}
