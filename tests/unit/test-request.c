// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: libhandshake/message.o */
/* A packet becomes a request, or a refusal that says what to do; the kernel says who asks. */
#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct message message;
static struct request request;
static struct failure failure;

// Reads text as if it had come with that many descriptors.
static int read_with(const char *text, size_t fd_count)
{
	char sentence[256];

	memset(&message, 0, sizeof(message));
	memset(&failure, 0, sizeof(failure));
	memset(&request, 0xff, sizeof(request));
	message.length = strlen(text);
	strcpy(message.text, text);
	message.fd_count = fd_count;
	for (size_t i = 0; i < fd_count; i++)
		message.fds[i] = -1;
	assert_int_equal(message_parse(&message, sentence, sizeof(sentence)), 0);
	return request_read(&message, &request, &failure);
}

static void assert_read(const char *text, size_t fd_count)
{
	if (read_with(text, fd_count) < 0)
		fail_msg("%s", failure.sentence);
	assert_int_equal(failure.class, FAILURE_NONE);
}

static void assert_refused(const char *text, size_t fd_count, uint64_t id, const char *part)
{
	if (read_with(text, fd_count) == 0)
		fail_msg("accepted: %s", text);
	assert_int_equal(failure.class, FAILURE_REQUEST);
	assert_false(failure.retry);
	assert_int_equal(request.id, id);
	if (!strstr(failure.sentence, part))
		fail_msg("\"%s\" does not say \"%s\"", failure.sentence, part);
}

#define HANDSHAKE "handshake/1 handshake\n"
#define CLIENT    HANDSHAKE "id=7\nrole=client\n"

static void reads_every_key(void **state)
{
	(void)state;
	assert_read(CLIENT "profile=web\npeer-name=www.Example.com\nalpn=h2,http/1.1\n"
			   "timeout-ms=2147483647\nrecords=relay\nfuture=1\n",
		    1);
	assert_int_equal(request.operation, REQUEST_HANDSHAKE);
	assert_int_equal(request.id, 7);
	assert_int_equal(request.role, REQUEST_CLIENT);
	assert_string_equal(request.profile, "web");
	assert_string_equal(request.peer_name, "www.Example.com");
	assert_int_equal(request.alpn_count, 2);
	assert_string_equal(request.alpn[1], "http/1.1");
	assert_int_equal(request.timeout_ms, INT32_MAX);
	assert_true(request.records_given);
	assert_int_equal(request.records, CONFIG_RECORDS_RELAY);
	assert_false(request.require_client_certificate);
	assert_read(HANDSHAKE "id=9223372036854775807\nrole=server\n"
			      "client-certificates=require\n",
		    1);
	assert_true(request.require_client_certificate);
	assert_true(request.id == INT64_MAX);
	assert_string_equal(request.profile, "default");
	assert_false(request.records_given);
	assert_int_equal(request.timeout_ms, 0);
}

static void reads_every_operation(void **state)
{
	(void)state;
	assert_read("handshake/1 listen\nid=1\nprofile=web\n", 1);
	assert_int_equal(request.operation, REQUEST_LISTEN);
	assert_int_equal(request.role, REQUEST_SERVER);
	assert_read("handshake/1 cancel\nid=1\n", 0);
	assert_int_equal(request.operation, REQUEST_CANCEL);
	assert_read("handshake/1 status\n", 0);
	assert_int_equal(request.operation, REQUEST_STATUS);
	assert_int_equal(request.id, 0);
	assert_refused("handshake/1 dance\nid=5\n", 0, 5, "\"dance\" is no operation");
}

static void refuses_what_is_malformed_and_names_the_id(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {CLIENT "peer-name=a b\n", "neither a DNS name nor an IP address"},
	    {CLIENT "peer-name=\n", "neither a DNS name"},
	    {CLIENT "peer-name=a..b\n", "neither a DNS name"},
	    {CLIENT "peer-name=.a\n", "neither a DNS name"},
	    {CLIENT "peer-name=*.example.com\n", "neither a DNS name"},
	    {CLIENT "peer-name=1.2.3.256\n", "neither a DNS name"},
	    {CLIENT "peer-name=[::1]\n", "neither a DNS name"},
	    {CLIENT "peer-name=example.com.\n", "without the final dot"},
	    {CLIENT "peer-name=b\xC3\xBC"
		    "cher.example\n",
	     "xn--"},
	    {CLIENT "alpn=h2,,http/1.1\n", "1 to 31 bytes"},
	    {CLIENT "alpn=h2,\n", "1 to 31 bytes"},
	    {CLIENT "alpn=12345678901234567890123456789012\n", "1 to 31 bytes"},
	    {CLIENT "alpn=a,b,c,d,e,f,g,h,i\n", "at most 8"},
	    {CLIENT "alpn=a,b,a\n", "twice"},
	    {CLIENT "timeout-ms=0\n", "timeout-ms=0: "},
	    {CLIENT "timeout-ms=2147483648\n", "from 1 to 2147483647"},
	    {CLIENT "timeout-ms=-1\n", "timeout-ms=-1: "},
	    {CLIENT "timeout-ms=1s\n", "timeout-ms=1s: "},
	    {CLIENT "records=auto\n", "kernel or relay"},
	    {CLIENT "client-certificates=none\n", "can only require"},
	    {CLIENT "client-certificates=require\n", "is for servers"},
	    {CLIENT "profile=\n", "1 to 63 bytes"},
	    {CLIENT "profile=a\nprofile=b\n", "the key is there twice"},
	    {CLIENT "!psk=1\n", "does not know the key"},
	    {HANDSHAKE "id=7\nrole=peer\n", "the role is client or server"},
	    {HANDSHAKE "id=7\n", "has no role"},
	    {HANDSHAKE "id=7\nrole=server\npeer-name=a.example\n", "peer-name is for clients"},
	    {HANDSHAKE "id=7\nrole=server\npsk-identity=me\n", "psk-identity is for clients"},
	    {HANDSHAKE "id=7\nrole=client\npsk-identity=\n", "psk-identity=: 1 to 128 bytes"},
	    {HANDSHAKE "id=7\nrole=client\npsk-identity=#123\n", "psk-identity=#123: 1 to 128"},
	    {"handshake/1 listen\nid=7\nrole=client\n", "who listens is the server"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(cases[i].text, 1, 7, cases[i].says);
}

static void refuses_an_id_that_is_none(void **state)
{
	(void)state;
	assert_refused(HANDSHAKE "role=client\n", 1, 0, "has no id");
	assert_refused(HANDSHAKE "id=0\nrole=client\n", 1, 0, "id=0: ");
	assert_refused(HANDSHAKE "id=9223372036854775808\nrole=client\n", 1, 0, "a number from 1");
	assert_refused(HANDSHAKE "id=-1\nrole=client\n", 1, 0, "id=-1: ");
	assert_refused(HANDSHAKE "id= 1\nrole=client\n", 1, 0, "a number from 1");
	assert_refused("handshake/1 cancel\n", 0, 0, "cancel needs the id");
}

static void counts_the_descriptors(void **state)
{
	(void)state;
	assert_refused(CLIENT, 0, 7, "without a descriptor");
	assert_refused(CLIENT, 2, 7, "more than one descriptor");
	assert_refused("handshake/1 cancel\nid=7\n", 1, 7, "needs none");
}

static void is_busy_when_descriptors_were_lost(void **state)
{
	char sentence[256];

	(void)state;
	memset(&message, 0, sizeof(message));
	memset(&failure, 0, sizeof(failure));
	strcpy(message.text, CLIENT);
	message.length = strlen(CLIENT);
	message.lost_fds = true;
	assert_int_equal(message_parse(&message, sentence, sizeof(sentence)), 0);
	assert_int_equal(request_read(&message, &request, &failure), -1);
	assert_int_equal(failure.class, FAILURE_BUSY);
	assert_true(failure.retry);
}

static void accepts_names_and_addresses(void **state)
{
	static const char *const names[] = {
	    "localhost",
	    "a.b-c.example",
	    "_srv.example.com",
	    "xn--bcher-kva.example",
	    "192.0.2.1",
	    "2001:db8::1",
	    "::1",
	    "3com.example",
	    "1.2.3.x4",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), CLIENT "peer-name=%s\n", names[i]);
		assert_read(text, 1);
		assert_string_equal(request.peer_name, names[i]);
	}
}

static void identifies_the_caller_by_the_kernel(void **state)
{
	struct caller caller;
	gid_t groups[256];
	int pair[2], count;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(caller_identify(pair[0], &caller), 0);
	assert_int_equal(caller.uid, geteuid());
	assert_int_equal(caller.gid, getegid());
	assert_int_equal(caller.pid, getpid());
	count = getgroups(256, groups);
	assert_true(count >= 0);
	assert_int_equal(caller.group_count, count);
	close(pair[0]);
	close(pair[1]);
	assert_true(caller_identify(-1, &caller) < 0);
	pair[0] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(caller_identify(pair[0], &caller) < 0);
	close(pair[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_every_key),
	    cmocka_unit_test(reads_every_operation),
	    cmocka_unit_test(refuses_what_is_malformed_and_names_the_id),
	    cmocka_unit_test(refuses_an_id_that_is_none),
	    cmocka_unit_test(counts_the_descriptors),
	    cmocka_unit_test(is_busy_when_descriptors_were_lost),
	    cmocka_unit_test(accepts_names_and_addresses),
	    cmocka_unit_test(identifies_the_caller_by_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
