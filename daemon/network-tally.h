/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was served in each network namespace: memory that the supervisor writes and all workers may read. */
#ifndef NETWORK_TALLY_H
#define NETWORK_TALLY_H

#include <stdbool.h>
#include <stdint.h>

enum {
	NETWORK_NAME_SIZE =
	    64, /* bytes with the NUL; longer names are cut, what cannot be printed is "?" */
	NETWORKS_MAX = 512,
};

struct network_numbers {
	uint64_t requests;
	uint64_t established;
	uint64_t failed;
	uint64_t under_way;
};

struct network_tally;

/* NULL with errno. */
struct network_tally *network_tally_new(void);
void network_tally_free(struct network_tally *tally);
/* A line of its own, all zero; its number, or -1: there are NETWORKS_MAX. */
int network_tally_open(struct network_tally *tally, const char *name);
void network_tally_close(struct network_tally *tally, int line);
void network_tally_set(struct network_tally *tally, int line,
		       const struct network_numbers *numbers);
/* false: nobody has this line (0 to NETWORKS_MAX - 1). */
bool network_tally_get(const struct network_tally *tally, int line,
		       char ret_name[NETWORK_NAME_SIZE], struct network_numbers *ret_numbers);

#endif
