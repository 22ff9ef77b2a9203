/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keyrings of the kernel, by the names that people give them. */
#ifndef KEYRING_H
#define KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "problem.h"

enum {
	KEYRING_NAME_SIZE = 256,
	KEY_TEXT_SIZE = 4096 + 64, /* the kernel's longest description, and what stands before it */
};

/* As keyctl writes them: @u, a number, %:NAME, %keyring:NAME; a plain name is one of the latter. what begins
 * the sentence ("psk-keyring"). 0, or -1 and a sentence. */
int keyring_find(const char *what, const char *name, int32_t *ret_serial, struct problem *problem);
/* A key's type in text, and its description behind that. NULL with errno: it cannot be seen. */
const char *key_describe(int32_t serial, char text[KEY_TEXT_SIZE]);
/* The keyring's name. 0 or -errno: it is not there or not to be seen, or (-EINVAL) no keyring. */
int keyring_name(int32_t serial, char ret_name[KEYRING_NAME_SIZE]);

/* Keyrings that are linked to this thread: it possesses what lies in them, and so may read it; no child does. Zero
 * is none. */
struct keyring_links {
	int32_t *serials;
	size_t count;
};

/* Links one. 0, or -1 and a sentence. */
int keyring_links_add(struct keyring_links *links, const char *what, const char *name,
		      struct problem *problem);
/* The same for those that the kernel's own consumers have (.nfs, .nfsd, .nvme), as far as this kernel has
 * them. */
void keyring_links_add_known(struct keyring_links *links);
/* Unlinks those that are not among the kept ones, too, and forgets all. */
void keyring_links_drop(struct keyring_links *links, const struct keyring_links *kept);

#endif
