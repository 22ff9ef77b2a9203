// SPDX-License-Identifier: LGPL-2.1-or-later
// Private keys that the signer has for a while. Touches nothing else; a number that was forgotten never
// names another key.
#include "signer-lent.h"

#include "private-key.h"

static struct {
	uint32_t number; // 0: free
	struct private_key *key;
} lent[SIGNER_LENT_MAX];

int lent_keep(uint32_t number, struct private_key *key)
{
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		if (lent[i].number == 0) {
			lent[i].number = number;
			lent[i].key = key;
			return 0;
		}
	return -1;
}

struct private_key *lent_find(uint32_t number)
{
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		if (lent[i].number == number)
			return lent[i].key;
	return NULL;
}

void lent_forget(uint32_t number)
{
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		if (lent[i].number == number) {
			private_key_free(lent[i].key);
			lent[i].number = 0;
			lent[i].key = NULL;
		}
}

void lent_forget_all(void)
{
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		if (lent[i].number)
			lent_forget(lent[i].number);
}
