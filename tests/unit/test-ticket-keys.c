// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/engine-pki.o */
/* Ticket keys: bound to their context, and found again by the name that the library in use gives them. */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-pki.h"
#include "hello.h"
#include "ticket-key-file.h"
#include "ticket-keys.h"

#define TLS12 "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"

enum { LIFETIME_S = 600 };

static char directory[] = "/tmp/test-ticket-keys-XXXXXX";

static uint8_t key[TICKET_KEY_SIZE];

/* ---- A handshake through memory, and the ticket that comes of it ---- */

struct side {
	gnutls_session_t tls;
	struct side *other;
	uint8_t bytes[65536];
	size_t start, end;
	struct hello hello;
	bool enabled;
	unsigned hellos;
};

static ssize_t side_push(gnutls_transport_ptr_t pointer, const void *data, size_t size)
{
	struct side *other = ((struct side *)pointer)->other;

	assert_true(size <= sizeof(other->bytes) - other->end);
	memcpy(other->bytes + other->end, data, size);
	other->end += size;
	return (ssize_t)size;
}

static ssize_t side_pull(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
	struct side *side = pointer;

	if (side->start == side->end) {
		gnutls_transport_set_errno(side->tls, EAGAIN);
		return -1;
	}
	if (size > side->end - side->start)
		size = side->end - side->start;
	memcpy(data, side->bytes + side->start, size);
	side->start += size;
	if (side->start == side->end)
		side->start = side->end = 0;
	return (ssize_t)size;
}

static int side_hook(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
		     const gnutls_datum_t *message)
{
	struct side *side = gnutls_session_get_ptr(tls);
	gnutls_datum_t datum = {key, sizeof(key)};

	(void)when;
	if (!incoming || type != GNUTLS_HANDSHAKE_CLIENT_HELLO)
		return 0;
	hello_read(&side->hello, type, message);
	side->hellos++;
	if (side->enabled)
		return 0;
	side->enabled = true;
	return gnutls_session_ticket_enable_server(tls, &datum);
}

static void side_open(struct side *side, unsigned flags, const char *priority,
		      gnutls_certificate_credentials_t credentials, struct side *other)
{
	memset(side, 0, sizeof(*side));
	side->other = other;
	assert_int_equal(gnutls_init(&side->tls, flags | GNUTLS_NONBLOCK), 0);
	gnutls_session_set_ptr(side->tls, side);
	assert_int_equal(gnutls_priority_set_direct(side->tls, priority, NULL), 0);
	gnutls_credentials_set(side->tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_ptr(side->tls, side);
	gnutls_transport_set_push_function(side->tls, side_push);
	gnutls_transport_set_pull_function(side->tls, side_pull);
	gnutls_db_set_cache_expiration(side->tls, LIFETIME_S);
}

/* Two connections: what the second's ClientHello brought, and whether it resumed. */
static bool resume(const char *ours_priority, const char *theirs_priority, unsigned hellos,
		   struct hello *ret_hello)
{
	static struct side client, server;
	struct engine_certificate authority, leaf;
	gnutls_certificate_credentials_t own, none;
	gnutls_datum_t data = {NULL, 0};
	char ignored[16];
	bool resumed = false;

	engine_authority(&authority, "root");
	engine_leaf(&leaf, &authority, &(struct engine_leaf){.common_name = "a.example"});
	own = engine_credentials(&leaf, NULL);
	none = engine_credentials(NULL, NULL);
	for (int round = 0; round < 2; round++) {
		int ours = GNUTLS_E_AGAIN, theirs = GNUTLS_E_AGAIN;

		side_open(&client, GNUTLS_CLIENT, ours_priority, none, &server);
		side_open(&server, GNUTLS_SERVER, theirs_priority, own, &client);
		gnutls_handshake_set_hook_function(server.tls, GNUTLS_HANDSHAKE_ANY,
						   GNUTLS_HOOK_PRE, side_hook);
		gnutls_server_name_set(client.tls, GNUTLS_NAME_DNS, "a.example", 9);
		if (data.data != NULL)
			gnutls_session_set_data(client.tls, data.data, data.size);
		for (int turn = 0; turn < 50 && (ours < 0 || theirs < 0); turn++) {
			ours = ours < 0 ? gnutls_handshake(client.tls) : 0;
			theirs = theirs < 0 ? gnutls_handshake(server.tls) : 0;
		}
		assert_int_equal(ours, 0);
		assert_int_equal(theirs, 0);
		gnutls_record_recv(client.tls, ignored, sizeof(ignored));
		gnutls_free(data.data);
		assert_int_equal(gnutls_session_get_data2(client.tls, &data), 0);
		resumed = gnutls_session_is_resumed(server.tls);
		*ret_hello = server.hello;
		assert_int_equal(server.hellos, hellos);
		gnutls_deinit(client.tls);
		gnutls_deinit(server.tls);
	}
	gnutls_free(data.data);
	gnutls_certificate_free_credentials(own);
	gnutls_certificate_free_credentials(none);
	engine_certificate_done(&leaf);
	engine_certificate_done(&authority);
	return resumed;
}

static void names_are_the_librarys(const char *ours, const char *theirs, unsigned hellos)
{
	uint8_t other[TICKET_KEY_SIZE];
	struct hello hello;
	bool found = false;
	time_t now = time(NULL);

	gnutls_rnd(GNUTLS_RND_KEY, key, sizeof(key));
	memcpy(other, key, sizeof(other));
	other[0] ^= 1;
	assert_true(resume(ours, theirs, hellos, &hello));
	assert_string_equal(hello.server_name, "a.example");
	assert_true(hello.ticket_count >= 1);
	for (unsigned i = 0; i < hello.ticket_count; i++) {
		found = found || ticket_key_has(key, hello.tickets[i], now, LIFETIME_S);
		assert_false(ticket_key_has(other, hello.tickets[i], now, LIFETIME_S));
		/* One step later it is the former one, then it is none. */
		if (ticket_key_has(key, hello.tickets[i], now, LIFETIME_S)) {
			assert_true(ticket_key_has(key, hello.tickets[i], now + 3 * LIFETIME_S,
						   LIFETIME_S));
			assert_false(ticket_key_has(key, hello.tickets[i], now + 6 * LIFETIME_S,
						    LIFETIME_S));
			assert_false(ticket_key_has(key, hello.tickets[i], now, LIFETIME_S / 7));
		}
	}
	assert_true(found);
}

static void names_are_the_librarys_in_tls13(void **state)
{
	(void)state;
	names_are_the_librarys(TLS13, TLS13, 1);
}

static void names_are_the_librarys_in_tls12(void **state)
{
	(void)state;
	names_are_the_librarys(TLS12, TLS12, 1);
}

static void a_hello_after_a_retry_brings_its_ticket_too(void **state)
{
	(void)state;
	/* The client's share is of a group that the server does not take: HelloRetryRequest. */
	names_are_the_librarys(TLS13, TLS13 ":-GROUP-ALL:+GROUP-SECP384R1", 2);
}

static void each_secret_and_context_has_its_own_key(void **state)
{
	uint8_t secret[TICKET_SECRET_SIZE] = {1}, context[TICKET_CONTEXT_SIZE] = {2};
	uint8_t first[TICKET_KEY_SIZE], second[TICKET_KEY_SIZE];

	(void)state;
	assert_int_equal(ticket_key_derive(secret, context, first), 0);
	assert_int_equal(ticket_key_derive(secret, context, second), 0);
	assert_memory_equal(first, second, sizeof(first));
	secret[31] ^= 1;
	assert_int_equal(ticket_key_derive(secret, context, second), 0);
	assert_memory_not_equal(first, second, 32);
	assert_memory_not_equal(first + 32, second + 32, 32);
	secret[31] ^= 1;
	context[0] ^= 1;
	assert_int_equal(ticket_key_derive(secret, context, second), 0);
	assert_memory_not_equal(first, second, 32);
	assert_memory_not_equal(first + 32, second + 32, 32);
}

/* ---- Files ---- */

static const char *file_make(size_t size, mode_t mode)
{
	static char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/ticket.key", directory);
	file = fopen(path, "w");
	for (size_t i = 0; i < size; i++)
		fputc((int)(i * 7 & 255), file);
	fclose(file);
	chmod(path, mode);
	return path;
}

static void a_file_makes_the_same_secret_everywhere(void **state)
{
	uint8_t first[TICKET_SECRET_SIZE], second[TICKET_SECRET_SIZE];
	struct problem problem = {""};

	(void)state;
	assert_int_equal(ticket_key_file_read(file_make(64, 0600), first, &problem), 0);
	assert_int_equal(ticket_key_file_read(file_make(64, 0400), second, &problem), 0);
	assert_memory_equal(first, second, sizeof(first));
	assert_int_equal(ticket_key_file_read(file_make(65, 0600), second, &problem), 0);
	assert_memory_not_equal(first, second, sizeof(first));
}

static void unsafe_files_are_refused(void **state)
{
	static const struct {
		size_t size;
		mode_t mode;
		const char *says;
	} cases[] = {
	    {64, 0604, "mode 0604"},
	    {64, 0620, "mode 0620"},
	    {31, 0600, "has 31 bytes; at least 32"},
	    {0, 0600, "has 0 bytes"},
	    {5000, 0600, "has 5000 bytes; at most 4096"},
	};
	uint8_t secret[TICKET_SECRET_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct problem problem = {""};

		unlink(file_make(0, 0600));
		assert_int_equal(
		    ticket_key_file_read(file_make(cases[i].size, cases[i].mode), secret, &problem),
		    -1);
		if (strstr(problem.text, cases[i].says) == NULL)
			fail_msg("\"%s\" is not in \"%s\"", cases[i].says, problem.text);
		assert_non_null(strstr(problem.text, "ticket.key"));
	}
}

static int group_setup(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL;
}

static int group_teardown(void **state)
{
	(void)state;
	unlink(file_make(0, 0600));
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_the_librarys_in_tls13),
	    cmocka_unit_test(names_are_the_librarys_in_tls12),
	    cmocka_unit_test(a_hello_after_a_retry_brings_its_ticket_too),
	    cmocka_unit_test(each_secret_and_context_has_its_own_key),
	    cmocka_unit_test(a_file_makes_the_same_secret_everywhere),
	    cmocka_unit_test(unsafe_files_are_refused),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
