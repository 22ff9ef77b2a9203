// SPDX-License-Identifier: LGPL-2.1-or-later
// Packets of requests and of answers, from a worker that was taken over or a signer that is none.

#include <stdlib.h>

#include "../../daemon/signer-protocol.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct signer_packet *packet = malloc(sizeof(*packet));
	struct signer_request request;
	struct signer_answer answer;
	const uint8_t *bytes;
	volatile uint8_t sum = 0;
	size_t position;

	if (!packet)
		abort();
	packet->size = size < sizeof(packet->bytes) ? size : sizeof(packet->bytes);
	memcpy(packet->bytes, data, packet->size);
	for (position = 0; signer_packet_request(packet, &position, &request, &bytes) == 1;)
		for (uint32_t i = 0; i < request.size; i++)
			sum += bytes[i];
	if (position > packet->size)
		abort();
	for (position = 0; signer_packet_answer(packet, &position, &answer, &bytes) == 1;)
		for (uint32_t i = 0; i < answer.size; i++)
			sum += bytes[i];
	if (position > packet->size)
		abort();
	free(packet);
	return 0;
}
