/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keyrings of the kernel, by the names that people give them. */
#ifndef KEYRING_H
#define KEYRING_H

#include <stdint.h>

#include "problem.h"

enum { KEYRING_NAME_SIZE = 256 };

/* As keyctl writes them: @u, a number, %:NAME, %keyring:NAME; a plain name is one of the latter. what begins
 * the sentence ("psk-keyring"). 0, or -1 and a sentence. */
int keyring_find(const char *what, const char *name, int32_t *ret_serial, struct problem *problem);
/* The keyring's name. 0, or -1: it is not there, or not to be seen. */
int keyring_name(int32_t serial, char ret_name[KEYRING_NAME_SIZE]);
/* Gives this thread possession of what lies in the keyring, and so the right to read it; no child gets it. 0, or
 * -1 and a sentence. */
int keyring_link(const char *what, const char *name, struct problem *problem);
/* The same for those that the kernel's own consumers have (.nfs, .nfsd, .nvme), as far as this kernel has
 * them. */
void keyring_link_known(void);

#endif
