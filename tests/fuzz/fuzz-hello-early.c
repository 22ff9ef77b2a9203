// SPDX-License-Identifier: LGPL-2.1-or-later
// A ClientHello of a stranger, of which it must be told whether its early data fits: within its bounds,
// and never fit where it cannot be read.

#include <assert.h>
#include <stdlib.h>

#include "../../daemon/hello-early.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t groups[] = {29, 23, 24};
	static const uint16_t suites[] = {0x1301, 0x1302, 0x1303, 0x1304};
	struct hello_early_choice choice = {
	    .groups = groups, .group_count = 3, .suites = suites, .suite_count = 4};
	struct hello_early hello;
	gnutls_datum_t message;

	/* A copy of its own size, so that a read past its end is seen. */
	message.data = malloc(size ? size : 1);
	message.size = (unsigned)size;
	if (!message.data)
		abort();
	memcpy(message.data, data, size);
	if (hello_early_read(&message, &hello) == 0) {
		assert(hello.suite_count <= HELLO_EARLY_SUITES);
		assert(hello.group_count <= HELLO_EARLY_GROUPS);
		assert(hello.share_count <= HELLO_EARLY_GROUPS);
		assert(hello.binder_size <= HELLO_EARLY_BINDER);
		assert(hello.protocols_size <= HELLO_EARLY_PROTOCOLS);
		assert(hello_early_protocol(&hello, "") < 0);
		hello_early_protocol(&hello, "http/1.1");
		for (int order = 0; order < 2; order++) {
			choice.client_order = order;
			if (hello_early_has_share(&hello, &choice))
				assert(hello.share_count > 0 && hello.group_count > 0);
			if (hello_early_suite(&hello, &choice))
				assert(hello.suite_count > 0);
		}
	}
	free(message.data);
	return 0;
}
