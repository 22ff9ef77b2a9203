/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All certificates of a profile with their keys and staples, by path: those that its keys name, then
 * those of its directory. */
#ifndef CERTIFICATE_LIST_H
#define CERTIFICATE_LIST_H

#include <stddef.h>

#include "config.h"
#include "problem.h"

struct certificate_list {
	struct config_certificate *items; /* owned, with their strings */
	size_t count;
	size_t named;   /* the first so many stand in the configuration */
	char **orphans; /* keys and staples of the directory without a certificate; owned */
	size_t orphan_count;
};

/*
 * Lists them, the directory's in the order of their names. A certificate there is NAME.pem or NAME.crt,
 * its key NAME.key, its staple, if there is one, NAME.ocsp; hidden files and other endings are none of
 * these. 0, to be freed with certificate_list_done(), or -1 and a sentence: a certificate without key, two
 * of one name, a directory that cannot be read or that everybody can write to. Opens no file.
 */
int certificate_list_new(const struct config_profile *config, struct certificate_list *ret_list,
			 struct problem *problem);
void certificate_list_done(struct certificate_list *list);

#endif
