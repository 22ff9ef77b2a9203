// SPDX-License-Identifier: LGPL-2.1-or-later
/* The sealed token of a connection: opened by who has the key, and only as it was given out. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "key-schedule.h"
#include "key-token.h"

enum { NOW = 2000000000 };

/* The daemon's secrets, in the test's hand. */
static struct secret epochs[SECRET_EPOCHS];
static unsigned epoch_count;

unsigned secrets_get(const struct secrets *secrets, enum secret_kind kind,
		     struct secret ret_secrets[SECRET_EPOCHS])
{
	(void)secrets;
	assert_int_equal(kind, SECRET_TOKEN);
	memcpy(ret_secrets, epochs, sizeof(epochs));
	return epoch_count;
}

static void epochs_rotate(void)
{
	static uint32_t id;

	memmove(&epochs[1], &epochs[0], sizeof(epochs) - sizeof(epochs[0]));
	memset(&epochs[0], 0, sizeof(epochs[0]));
	epochs[0].id = ++id * 0x1010101;
	memset(epochs[0].key, (int)id, sizeof(epochs[0].key));
	epoch_count += epoch_count < SECRET_EPOCHS;
}

static int setup(void **state)
{
	(void)state;
	epoch_count = 0;
	epochs_rotate();
	return 0;
}

static struct key_token make_token(enum config_cipher cipher, uint8_t secret_size)
{
	struct key_token token;

	memset(&token, 0, sizeof(token));
	token.keys.version = CONFIG_TLS13;
	token.keys.cipher = cipher;
	token.keys.secret_size = secret_size;
	token.keys.is_server = true;
	token.uid = 4242;
	token.made = NOW;
	token.socket.cookie = 0x1122334455667788;
	memset(token.socket.local, 3, sizeof(token.socket.local));
	memset(token.socket.remote, 4, sizeof(token.socket.remote));
	memset(token.keys.transmit.secret, 5, secret_size);
	memset(token.keys.receive.secret, 6, secret_size);
	return token;
}

static void seal(const struct key_token *token, char text[TOKEN_TEXT_SIZE])
{
	assert_int_equal(key_token_seal(NULL, token, text), 0);
}

static void assert_refused(const char *text, int64_t now, enum failure_class class)
{
	struct failure failure = {0};
	struct key_token token;

	assert_int_equal(key_token_open(NULL, text, now, &token, &failure), -1);
	if (class != FAILURE_NONE)
		assert_int_equal(failure.class, class);
	assert_true(failure.class == FAILURE_REQUEST || failure.class == FAILURE_DENIED);
	assert_string_not_equal(failure.sentence, "");
}

static void a_token_comes_back_as_it_was_with_its_keys_derived(void **state)
{
	static const struct {
		enum config_cipher cipher;
		uint8_t key_size, secret_size;
	} suites[] = {
	    {CONFIG_AES_128_GCM, 16, 32},
	    {CONFIG_AES_256_GCM, 32, 48},
	    {CONFIG_CHACHA20_POLY1305, 32, 32},
	    {CONFIG_AES_128_CCM, 16, 32},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		struct key_token token = make_token(suites[i].cipher, suites[i].secret_size), back;
		struct failure failure = {0};
		char text[TOKEN_TEXT_SIZE], again[TOKEN_TEXT_SIZE];

		seal(&token, text);
		seal(&token, again);
		assert_string_not_equal(text, again);
		assert_int_equal(key_token_open(NULL, text, NOW + 5, &back, &failure), 0);
		assert_int_equal(back.uid, 4242);
		assert_memory_equal(&back.socket, &token.socket, sizeof(token.socket));
		assert_int_equal(back.keys.key_size, suites[i].key_size);
		assert_true(back.keys.is_server);
		token.keys.key_size = suites[i].key_size;
		assert_int_equal(key_schedule_derive(&token.keys, &token.keys.transmit), 0);
		assert_memory_equal(back.keys.transmit.key, token.keys.transmit.key, 32);
		assert_memory_equal(back.keys.transmit.iv, token.keys.transmit.iv, 12);
		assert_memory_not_equal(back.keys.transmit.key, back.keys.receive.key,
					suites[i].key_size);
	}
}

static void every_altered_bit_is_noticed(void **state)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct key_token token = make_token(CONFIG_AES_128_GCM, 32);
	char text[TOKEN_TEXT_SIZE];

	(void)state;
	seal(&token, text);
	for (size_t i = 0; text[i]; i++) {
		const char *digit = strchr(digits, text[i]);
		char before = text[i];

		for (unsigned bit = 0; digit && bit < 6; bit++) {
			text[i] = digits[(unsigned)(digit - digits) ^ 1u << bit];
			assert_refused(text, NOW, FAILURE_NONE);
		}
		text[i] = before;
	}
}

static void what_is_no_token_is_refused(void **state)
{
	static const char *const texts[] = {"", "=", "A", "AAAA", "no token", "\xff\xfe"};
	struct key_token token = make_token(CONFIG_AES_128_GCM, 32);
	char text[TOKEN_TEXT_SIZE + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refused(texts[i], NOW, FAILURE_REQUEST);
	seal(&token, text);
	strcat(text, "\n");
	assert_refused(text, NOW, FAILURE_REQUEST);
	seal(&token, text);
	text[strlen(text) - 4] = '\0';
	assert_refused(text, NOW, FAILURE_REQUEST);
}

static void former_secrets_open_it_and_forgotten_ones_do_not(void **state)
{
	struct key_token token = make_token(CONFIG_AES_128_GCM, 32), back;
	struct failure failure = {0};
	char text[TOKEN_TEXT_SIZE];

	(void)state;
	seal(&token, text);
	for (unsigned i = 1; i < SECRET_EPOCHS; i++) {
		epochs_rotate();
		assert_int_equal(key_token_open(NULL, text, NOW, &back, &failure), 0);
	}
	epochs_rotate();
	assert_refused(text, NOW, FAILURE_DENIED);
}

static void it_lasts_seven_weeks(void **state)
{
	struct key_token token = make_token(CONFIG_AES_128_GCM, 32), back;
	struct failure failure = {0};
	char text[TOKEN_TEXT_SIZE];

	(void)state;
	seal(&token, text);
	assert_int_equal(key_token_open(NULL, text, NOW + KEY_TOKEN_LIFETIME_S, &back, &failure),
			 0);
	assert_refused(text, NOW + KEY_TOKEN_LIFETIME_S + 1, FAILURE_DENIED);
	assert_refused(text, NOW - 4000, FAILURE_DENIED); /* the clock was set back a lot */
}

static void tcp_pair(int pair[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(pair[0], (struct sockaddr *)&address, size), 0);
	pair[1] = accept(listening, NULL, NULL);
	assert_true(pair[1] >= 0);
	close(listening);
}

static void sockets_are_told_apart(void **state)
{
	struct key_token_socket one, other, again;
	int pair[2], unix_pair[2];

	(void)state;
	tcp_pair(pair);
	assert_int_equal(key_token_identify_socket(pair[0], &one), 0);
	assert_int_equal(key_token_identify_socket(pair[1], &other), 0);
	assert_memory_not_equal(&one, &other, sizeof(one));
	assert_memory_equal(one.local, other.remote, sizeof(one.local));
	close(pair[1]);
	pair[1] = dup(pair[0]);
	assert_int_equal(key_token_identify_socket(pair[1], &again), 0);
	assert_memory_equal(&one, &again, sizeof(one));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair), 0);
	assert_true(key_token_identify_socket(unix_pair[0], &other) < 0);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(unix_pair[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_token_comes_back_as_it_was_with_its_keys_derived, setup),
	    cmocka_unit_test_setup(every_altered_bit_is_noticed, setup),
	    cmocka_unit_test_setup(what_is_no_token_is_refused, setup),
	    cmocka_unit_test_setup(former_secrets_open_it_and_forgotten_ones_do_not, setup),
	    cmocka_unit_test_setup(it_lasts_seven_weeks, setup),
	    cmocka_unit_test_setup(sockets_are_told_apart, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
