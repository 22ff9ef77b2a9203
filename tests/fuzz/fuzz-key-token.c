// SPDX-License-Identifier: LGPL-2.1-or-later
// What a program may send as the token of its connection: any text, and any content under a good seal.

#include <assert.h>
#include <stdlib.h>

#include "../../daemon/key-schedule.c"
#include "../../daemon/key-token.c"
#include "../../daemon/outcome.c"

unsigned secrets_get(const struct secrets *secrets, enum secret_kind kind,
		     struct secret ret_secrets[SECRET_EPOCHS])
{
	(void)secrets;
	(void)kind;
	memset(ret_secrets, 0, SECRET_EPOCHS * sizeof(ret_secrets[0]));
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_text(const char *text)
{
	struct failure failure = {0};
	struct key_token token;

	if (key_token_open(NULL, text, 0, &token, &failure) < 0)
		assert(failure.sentence[0] && failure.class != FAILURE_NONE);
	else
		assert(failure.class == FAILURE_NONE);
}

/* The content is the input's, the seal is right. */
static void open_content(const uint8_t *data)
{
	uint8_t bytes[TOKEN_SIZE] = {FORMAT};
	struct secret secret = {0};
	char text[TOKEN_TEXT_SIZE];
	struct seal seal;

	assert(seal_derive(&secret, bytes + SALT_AT, &seal) == 0);
	assert(seal_apply(&seal, false, bytes, data, CONTENT_SIZE, bytes + HEADER_SIZE,
			  CONTENT_SIZE + TAG_SIZE) == 0);
	assert(text_encode(bytes, sizeof(bytes), text) == 0);
	open_text(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	open_text(text);
	free(text);
	if (size >= CONTENT_SIZE)
		open_content(data);
	return 0;
}
