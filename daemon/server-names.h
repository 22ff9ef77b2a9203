/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which certificates of a profile serve which name (RFC 6066, 3): exact names and wildcards, found
 * in logarithmic time however many there are. Numbers are the certificates' places in the profile.
 */
#ifndef SERVER_NAMES_H
#define SERVER_NAMES_H

#include <gnutls/x509.h>
#include <stddef.h>

struct server_names;

/* NULL: out of memory. */
struct server_names *server_names_new(void);
void server_names_free(struct server_names *names);
/* Adds the DNS names of certificate number. 0 or -1: out of memory. */
int server_names_add(struct server_names *names, gnutls_x509_crt_t certificate, unsigned number);
/* Ends the adding: certificates that serve the same name form a group. Groups with the same members
 * are one. 0 or -1: out of memory. */
int server_names_finish(struct server_names *names);
unsigned server_names_group_count(const struct server_names *names);
const unsigned *server_names_group(const struct server_names *names, unsigned group,
				   unsigned *ret_count);
/* The group that serves a name (any case, no NUL inside), or -1: none does. */
int server_names_find(const struct server_names *names, const char *name);

#endif
