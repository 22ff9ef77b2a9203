// SPDX-License-Identifier: LGPL-2.1-or-later
// What a worker makes of a signer that answers, that does not, that dies and that talks nonsense. The test
// plays the signer; and the packets between the two.
/* links: tests/unit/engine-fixture.o tests/unit/engine-peer.o tests/unit/engine-pki.o tests/unit/engine-records.o tests/unit/engine-checks.o */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine-checks.h"
#include "signer-protocol.h"
#include "signer.h"
#include "signing.h"

/* ---- Want of memory ---- */

static int unwatchable = -1; /* whose events cannot be added */

int event_add(struct event *event, const struct timeval *timeout)
{
	int (*add)(struct event *, const struct timeval *);
	void *symbol = dlsym(RTLD_NEXT, "event_add");

	memcpy(&add, &symbol, sizeof(add));
	if (unwatchable >= 0 && event_get_fd(event) == unwatchable)
		return -1;
	return add(event, timeout);
}

/* ---- Packets ---- */

static struct signer_packet packet;

static void packet_empty(void)
{
	packet.size = 0;
	packet.count = 0;
}

static void packets_carry_several_requests(void **state)
{
	static const char *const texts[] = {"", "a", "seven b", "eight by", "nine byte"};
	struct signer_request request;
	const uint8_t *data;
	size_t position = 0;

	(void)state;
	packet_empty();
	for (uint32_t i = 0; i < 5; i++) {
		request = (struct signer_request){.id = i, .size = (uint32_t)strlen(texts[i])};
		assert_true(
		    signer_packet_add(&packet, &request, sizeof(request), texts[i], request.size));
	}
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(signer_packet_request(&packet, &position, &request, &data), 1);
		assert_int_equal(request.id, i);
		assert_int_equal(request.size, strlen(texts[i]));
		assert_memory_equal(data, texts[i], request.size);
	}
	assert_int_equal(signer_packet_request(&packet, &position, &request, &data), 0);
}

static void packets_have_an_end(void **state)
{
	static uint8_t most[SIGNER_DATA_MAX];
	struct signer_request request = {.size = sizeof(most)};
	unsigned count = 0;

	(void)state;
	packet_empty();
	while (signer_packet_add(&packet, &request, sizeof(request), most, sizeof(most)))
		count++;
	assert_int_equal(count, 3);
	packet_empty();
	request.size = 0;
	for (count = 0; signer_packet_add(&packet, &request, sizeof(request), most, 0); count++)
		;
	assert_int_equal(count, SIGNER_BATCH_MAX);
}

static void no_size_in_a_packet_is_believed(void **state)
{
	static const uint32_t sizes[] = {
	    1, 9, SIGNER_DATA_MAX, SIGNER_DATA_MAX + 1, 0xffffffff, 0xfffffff8, 0x80000000};
	struct signer_request request = {0};
	struct signer_answer answer = {0};
	const uint8_t *data;
	size_t position;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		packet_empty();
		request.size = answer.size = sizes[i];
		memcpy(packet.bytes, &request, sizeof(request));
		for (packet.size = 1; packet.size <= sizeof(request); packet.size++) {
			position = 0;
			assert_int_equal(signer_packet_request(&packet, &position, &request, &data),
					 -1);
		}
		memcpy(packet.bytes, &answer, sizeof(answer));
		packet.size = sizeof(answer);
		position = 0;
		assert_int_equal(signer_packet_answer(&packet, &position, &answer, &data), -1);
	}
}

/* ---- The test as signer ---- */

/* Puts the test in the signer's place. Its end. */
static int replace_signer(struct engine *engine)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	signing_change(engine->surroundings.signing, ends[0]);
	return ends[1];
}

/* Runs the worker until its request comes. */
static struct signer_request await_request(struct engine *engine, int fd)
{
	struct signer_request request;
	const uint8_t *data;
	size_t position = 0;
	int r;

	do {
		assert_true(event_base_loop(engine->surroundings.base, EVLOOP_ONCE) >= 0);
		r = signer_packet_receive(fd, &packet, MSG_DONTWAIT);
	} while (r == -EAGAIN && !engine->ended);
	assert_int_equal(r, 1);
	assert_int_equal(signer_packet_request(&packet, &position, &request, &data), 1);
	assert_int_equal(request.kind, SIGNER_SIGN_HASH);
	return request;
}

static void answer(int fd, const struct signer_answer *answer, const char *text)
{
	packet_empty();
	assert_true(signer_packet_add(&packet, answer, sizeof(*answer), text, answer->size));
	assert_int_equal(signer_packet_send(fd, &packet, 0), 0);
}

struct scene {
	struct engine_peer peer;
	struct handshake_task *task;
	int ours;
};

static void scene_begin(struct engine *engine, struct scene *scene)
{
	int theirs;

	engine_connect(&scene->ours, &theirs);
	engine_decide(engine, REQUEST_SERVER);
	engine_peer_init(engine, &scene->peer, theirs);
}

static void scene_start(struct engine *engine, struct scene *scene)
{
	engine_peer_start(&scene->peer);
	scene->task = engine_start(engine, scene->ours);
}

static void expect_failure(struct engine *engine, struct scene *scene, const char *words)
{
	engine_peer_done(&scene->peer);
	assert_int_equal(engine->outcome.state, OUTCOME_POISONED);
	assert_int_equal(engine->outcome.failure.class, FAILURE_INTERNAL);
	assert_true(engine->outcome.failure.retry);
	assert_int_equal(engine->outcome.failure.alert_direction, ALERT_SENT);
	assert_int_equal(engine->outcome.failure.alert, GNUTLS_A_INTERNAL_ERROR);
	if (strstr(engine->outcome.failure.sentence, words) == NULL)
		fail_msg("%s", engine->outcome.failure.sentence);
	assert_int_equal(scene->peer.alert, GNUTLS_A_INTERNAL_ERROR);
}

static void a_refusal_fails_clearly(void **state)
{
	struct engine *engine = *state;
	struct signer_answer refusal = {.error = GNUTLS_E_PKCS11_DEVICE_ERROR};
	struct scene scene;
	int signer;

	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	scene_start(engine, &scene);
	refusal.id = await_request(engine, signer).id;
	answer(signer, &refusal, "");
	engine_wait(engine);
	expect_failure(engine, &scene, "The private key could not be used");
	close(signer);
}

static void death_fails_clearly(void **state)
{
	struct engine *engine = *state;
	struct scene scene;
	int signer;

	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	scene_start(engine, &scene);
	await_request(engine, signer);
	close(signer);
	engine_wait(engine);
	expect_failure(engine, &scene, "ended while it was asked");
}

static void nonsense_fails_clearly(void **state)
{
	struct engine *engine = *state;
	struct scene scene;
	int signer;

	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	scene_start(engine, &scene);
	await_request(engine, signer);
	assert_int_equal(send(signer, "nonsense", 8, 0), 8);
	engine_wait(engine);
	expect_failure(engine, &scene, "ended while it was asked");
	close(signer);
}

static void without_hope_of_a_signer_it_fails_at_once(void **state)
{
	struct engine *engine = *state;
	struct scene scene;

	scene_begin(engine, &scene);
	signing_change(engine->surroundings.signing, -1);
	scene_start(engine, &scene);
	engine_wait(engine);
	expect_failure(engine, &scene, "no other could be started");
}

static void answers_of_nobodys_are_passed_over(void **state)
{
	struct engine *engine = *state;
	struct signer_answer refusal = {.error = GNUTLS_E_PKCS11_DEVICE_ERROR};
	static const uint64_t offsets[] = {1, 1 << 16, 0xffff, (uint64_t)1 << 63};
	struct scene scene;
	uint64_t id;
	int signer;

	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	scene_start(engine, &scene);
	id = await_request(engine, signer).id;
	for (size_t i = 0; i < 4; i++) {
		refusal.id = id ^ offsets[i];
		answer(signer, &refusal, "");
	}
	for (int i = 0; i < 10; i++)
		event_base_loop(engine->surroundings.base, EVLOOP_NONBLOCK);
	assert_false(engine->ended);
	refusal.id = id;
	answer(signer, &refusal, "");
	engine_wait(engine);
	expect_failure(engine, &scene, "could not be used");
	close(signer);
}

static void a_cancelled_handshake_leaves_nothing_behind(void **state)
{
	struct engine *engine = *state;
	struct signer_answer late = {.size = 4};
	struct scene scene;
	int signer;

	for (int i = 0; i < 3; i++) {
		scene_begin(engine, &scene);
		signer = replace_signer(engine);
		scene_start(engine, &scene);
		late.id = await_request(engine, signer).id;
		assert_int_equal(handshake_task_cancel(scene.task), OUTCOME_POISONED);
		close(scene.ours);
		engine_peer_done(&scene.peer);
		assert_false(scene.peer.complete);
		answer(signer, &late, "late");
		event_base_loop(engine->surroundings.base, EVLOOP_NONBLOCK);
		close(signer);
	}
}

static void what_was_not_sent_waits_for_the_next_signer(void **state)
{
	struct engine *engine = *state;
	struct scene scene;
	int signer;

	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	close(signer);
	/* Its end is heard before there is a request. */
	event_base_loop(engine->surroundings.base, EVLOOP_NONBLOCK);
	scene_start(engine, &scene);
	for (int i = 0; i < 100; i++) {
		event_base_loop(engine->surroundings.base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	assert_false(engine->ended);
	signing_change(engine->surroundings.signing, signer_connect(engine->signer));
	engine_wait(engine);
	engine_peer_done(&scene.peer);
	assert_int_equal(engine->outcome.state, OUTCOME_ESTABLISHED);
	close(engine->outcome.relay_fd);
	close(engine->outcome.relay_state_fd);
	engine->outcome.relay_fd = engine->outcome.relay_state_fd = -1;
}

static void one_that_can_never_be_asked_fails_clearly(void **state)
{
	struct engine *engine = *state;
	struct scene scene;
	int ends[2];

	scene_begin(engine, &scene);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	while (send(ends[0], "full", 4, MSG_DONTWAIT) == 4)
		;
	assert_int_equal(errno, EAGAIN);
	signing_change(engine->surroundings.signing, ends[0]);
	unwatchable = ends[0];
	scene_start(engine, &scene);
	engine_wait(engine);
	unwatchable = -1;
	expect_failure(engine, &scene, "not enough memory");
	close(ends[1]);
}

static void the_deadline_holds_while_it_waits(void **state)
{
	struct engine *engine = *state;
	struct scene scene;
	int signer;

	engine->config.timeout_ms = 300;
	scene_begin(engine, &scene);
	signer = replace_signer(engine);
	scene_start(engine, &scene);
	await_request(engine, signer);
	engine_wait(engine);
	engine_peer_done(&scene.peer);
	assert_int_equal(engine->outcome.state, OUTCOME_POISONED);
	assert_int_equal(engine->outcome.failure.class, FAILURE_TIMEOUT);
	assert_non_null(strstr(engine->outcome.failure.sentence, "signer"));
	close(signer);
}

#define WITH_ENGINE(test) cmocka_unit_test_setup_teardown(test, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(packets_carry_several_requests),
	    cmocka_unit_test(packets_have_an_end),
	    cmocka_unit_test(no_size_in_a_packet_is_believed),
	    WITH_ENGINE(a_refusal_fails_clearly),
	    WITH_ENGINE(death_fails_clearly),
	    WITH_ENGINE(nonsense_fails_clearly),
	    WITH_ENGINE(without_hope_of_a_signer_it_fails_at_once),
	    WITH_ENGINE(answers_of_nobodys_are_passed_over),
	    WITH_ENGINE(a_cancelled_handshake_leaves_nothing_behind),
	    WITH_ENGINE(what_was_not_sent_waits_for_the_next_signer),
	    WITH_ENGINE(one_that_can_never_be_asked_fails_clearly),
	    WITH_ENGINE(the_deadline_holds_while_it_waits),
	};

	return cmocka_run_group_tests_name("signing", tests, NULL, NULL);
}
