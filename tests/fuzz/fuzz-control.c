// SPDX-License-Identifier: LGPL-2.1-or-later
// The same in the library: control records as the kernel hands them over, of any type and in any order.

#include <assert.h>

#include "../../libhandshake/alert.c"
#include "../../libhandshake/client.c"
#include "../../libhandshake/control.c"
#include "../../libhandshake/deadline.c"
#include "../../libhandshake/early-data.c"
#include "../../libhandshake/error.c"
#include "../../libhandshake/handshake.c"
#include "../../libhandshake/link.c"
#include "../../libhandshake/message.c"
#include "../../libhandshake/request.c"
#include "../../libhandshake/result.c"
#include "../../libhandshake/socket.c"
#include "../../libhandshake/tickets.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct handshake *handshake = handshake_new();
	int next = CONTROL_GO_ON;

	if (!handshake)
		abort();
	while (size >= 2 && next >= 0 && next != CONTROL_END) {
		size_t part = data[1] < size - 2 ? data[1] : size - 2;
		uint8_t *record = malloc(part ? part : 1);
		int alert;

		if (!record)
			abort();
		memcpy(record, data + 2, part);
		if (data[0] == 23)
			next = control_take_data(handshake, part, &alert);
		else
			next = control_take(handshake, data[0], record, part, &alert);
		free(record);
		if (next < 0)
			assert(*handshake_error(handshake));
		data += 2 + part;
		size -= 2 + part;
	}
	handshake_free(handshake);
	return 0;
}
