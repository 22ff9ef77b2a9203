// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* Keys that come with requests: the signer has them from signer_lend() to signer_forget_lent(), and signs with
 * no other in their place. The signer is the real one, a process. */
#include "signer-lent.h"

#include <dlfcn.h>
#include <gnutls/abstract.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "children.h"
#include "pki.h"
#include "signer-key.h"
#include "signer-protocol.h"
#include "signer.h"

static struct config config = {.kernel.line = 1, .signer = {.uid = (uid_t)-1, .gid = (gid_t)-1}};
static struct pki_entity *ecdsa, *rsa;
static struct signer *signer;

/* ---- A key that takes its time --------------------------------------------------------------- */

enum { SLOW_S = 20 };

/* Of the signer and the test. */
static struct {
	sem_t begun, go_on;
} * slow;

static const gnutls_datum_t slow_text = {(unsigned char *)"slow", 4};

static bool slow_wait(sem_t *semaphore)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SLOW_S;
	return sem_timedwait(semaphore, &until) == 0;
}

/* In the library's place: signs this text when the test says so. */
int gnutls_privkey_sign_data2(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm,
			      unsigned flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	static int (*library)(gnutls_privkey_t, gnutls_sign_algorithm_t, unsigned,
			      const gnutls_datum_t *, gnutls_datum_t *);

	if (!library) /* first in the test, before there is a signer */
		*(void **)&library = dlsym(RTLD_NEXT, "gnutls_privkey_sign_data2");
	if (key && data->size == slow_text.size &&
	    !memcmp(data->data, slow_text.data, data->size)) {
		sem_post(&slow->begun);
		if (!slow_wait(&slow->go_on))
			return GNUTLS_E_TIMEDOUT;
	}
	return key ? library(key, algorithm, flags, data, signature) : GNUTLS_E_INVALID_REQUEST;
}

static void slow_prepare(void)
{
	const gnutls_datum_t none = {NULL, 0};

	slow = mmap(NULL, sizeof(*slow), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(slow, MAP_FAILED);
	assert_int_equal(sem_init(&slow->begun, 1, 0), 0);
	assert_int_equal(sem_init(&slow->go_on, 1, 0), 0);
	gnutls_privkey_sign_data2(NULL, GNUTLS_SIGN_UNKNOWN, 0, &none, NULL);
}

/* ---- Lending --------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct problem problem = {""};

	(void)state;
	config.signer.uid = geteuid() == 0 ? 65534 : geteuid();
	config.signer.gid = geteuid() == 0 ? 65534 : getegid();
	if (!ecdsa) {
		slow_prepare();
		ecdsa = pki_new(&(struct pki_wish){.names = {"a.test"}});
		rsa = pki_new(&(struct pki_wish){.names = {"b.test"}, .kind = PKI_RSA});
	}
	if (signer_new(&config, &signer, &problem) == 0 && signer_seal(signer, &problem) == 0)
		return 0;
	print_error("%s\n", problem.text);
	return -1;
}

static int teardown(void **state)
{
	(void)state;
	signer_free(signer);
	return 0;
}

static gnutls_datum_t text_of(const struct pki_entity *entity, gnutls_x509_crt_fmt_t format)
{
	gnutls_datum_t text;

	assert_int_equal(
	    gnutls_x509_privkey_export2_pkcs8(entity->key, format, NULL, GNUTLS_PKCS_PLAIN, &text),
	    0);
	return text;
}

static struct signer_lent lend(const struct pki_entity *entity, gnutls_x509_crt_fmt_t format)
{
	gnutls_datum_t text = text_of(entity, format);
	struct problem problem = {""};
	struct signer_lent lent;
	bool retry;

	if (signer_lend(signer, text.data, text.size, &lent, &retry, &problem) < 0)
		fail_msg("%s", problem.text);
	gnutls_free(text.data);
	return lent;
}

/* Whether it signs, so that the entity's certificate says so. */
static bool signs(const struct signer_lent *lent, const struct pki_entity *entity)
{
	struct signer_key *key = signer_lent_key(lent);
	bool good;

	assert_non_null(key);
	assert_int_equal(signer_key_matches(key, entity->certificate), 1);
	key->signer = signer; /* this process is no worker */
	key->public_key.data = NULL;
	{
		static const gnutls_datum_t text = {(unsigned char *)"text", 4};
		gnutls_sign_algorithm_t algorithm =
		    entity == rsa ? GNUTLS_SIGN_RSA_PSS_RSAE_SHA256 : GNUTLS_SIGN_ECDSA_SHA256;
		gnutls_datum_t signature = {NULL, 0};
		gnutls_privkey_t handle;
		gnutls_pubkey_t public;

		assert_int_equal(signer_key_handle(key, &handle), 0);
		assert_int_equal(gnutls_pubkey_init(&public), 0);
		assert_int_equal(gnutls_pubkey_import_x509(public, entity->certificate, 0), 0);
		good = gnutls_privkey_sign_data2(handle, algorithm, 0, &text, &signature) == 0 &&
		       gnutls_pubkey_verify_data2(public, algorithm, 0, &text, &signature) >= 0;
		gnutls_free(signature.data);
		gnutls_pubkey_deinit(public);
		gnutls_privkey_deinit(handle);
	}
	key->signer = NULL;
	signer_key_free(key);
	return good;
}

/* To forget is a word that nobody answers: what another thread of the signer takes up meanwhile still signs. */
static bool is_forgotten(const struct signer_lent *lent, const struct pki_entity *entity)
{
	for (int waited = 0; waited < 5000; waited += 5) {
		if (!signs(lent, entity))
			return true;
		usleep(5000);
	}
	return false;
}

static void signs_until_it_is_forgotten(void **state)
{
	struct signer_lent one = lend(ecdsa, GNUTLS_X509_FMT_DER);
	struct signer_lent two = lend(rsa, GNUTLS_X509_FMT_PEM);
	struct signer_lent three;

	(void)state;
	assert_true(signs(&one, ecdsa));
	assert_true(signs(&two, rsa));
	signer_forget_lent(signer, one.number);
	assert_true(is_forgotten(&one, ecdsa));
	assert_true(signs(&two, rsa));
	/* Its place is another's now, its number nobody's. */
	three = lend(ecdsa, GNUTLS_X509_FMT_DER);
	assert_int_not_equal(three.number, one.number);
	assert_true(signs(&three, ecdsa));
	assert_false(signs(&one, ecdsa));
}

static void refuses_what_is_no_key(void **state)
{
	static const char *const texts[] = {"", "text", "\x30\x03gar",
					    "-----BEGIN "
					    "PRIVATE KEY-----\n"};
	struct problem problem;
	struct signer_lent lent;
	bool retry;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		problem.text[0] = '\0';
		assert_int_equal(
		    signer_lend(signer, texts[i], strlen(texts[i]), &lent, &retry, &problem), -1);
		assert_false(retry);
		assert_true(problem.text[0] != '\0');
	}
	problem.text[0] = '\0';
	assert_int_equal(
	    signer_lend(signer, texts, SIGNER_LENT_SIZE_MAX + 1, &lent, &retry, &problem), -1);
	assert_non_null(strstr(problem.text, "has 8193 bytes; at most 8192"));
	lent = lend(ecdsa, GNUTLS_X509_FMT_DER); /* it still answers */
	assert_true(signs(&lent, ecdsa));
}

static void has_a_bound(void **state)
{
	gnutls_datum_t text = text_of(ecdsa, GNUTLS_X509_FMT_DER);
	struct problem problem = {""};
	struct signer_lent first = {0}, lent;
	bool retry;

	(void)state;
	for (int i = 0; i < SIGNER_LENT_MAX; i++) {
		assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem),
				 0);
		if (i == 0)
			first = lent;
	}
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), -1);
	assert_non_null(strstr(problem.text, "more than 1024 keys"));
	assert_true(retry); /* it is no fault of the key */
	signer_forget_lent(signer, first.number);
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), 0);
	gnutls_free(text.data);
}

/* The only one that this process has. */
static pid_t child_of(pid_t parent)
{
	char path[64], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

/* As a worker asks, and goes on. */
static int slow_ask(const struct signer_lent *lent)
{
	static struct signer_packet packet;
	struct signer_request request = {.key = lent->number,
					 .kind = SIGNER_SIGN_DATA,
					 .algorithm = GNUTLS_SIGN_ECDSA_SHA256,
					 .size = slow_text.size};
	int fd = signer_connect(signer);

	assert_true(fd >= 0);
	packet.size = packet.count = 0;
	assert_true(
	    signer_packet_add(&packet, &request, sizeof(request), slow_text.data, slow_text.size));
	assert_int_equal(signer_packet_send(fd, &packet, 0), 0);
	assert_true(slow_wait(&slow->begun));
	return fd;
}

static void slow_answered(int fd, const struct pki_entity *entity)
{
	static struct signer_packet packet;
	struct signer_answer answer;
	gnutls_datum_t signature;
	gnutls_pubkey_t public;
	const uint8_t *bytes;
	size_t position = 0;

	sem_post(&slow->go_on);
	assert_int_equal(signer_packet_receive(fd, &packet, 0), 1);
	assert_int_equal(signer_packet_answer(&packet, &position, &answer, &bytes), 1);
	assert_int_equal(answer.error, 0);
	signature = (gnutls_datum_t){(unsigned char *)bytes, answer.size};
	assert_int_equal(gnutls_pubkey_init(&public), 0);
	assert_int_equal(gnutls_pubkey_import_x509(public, entity->certificate, 0), 0);
	assert_true(gnutls_pubkey_verify_data2(public, GNUTLS_SIGN_ECDSA_SHA256, 0, &slow_text,
					       &signature) >= 0);
	gnutls_pubkey_deinit(public);
	close(fd);
}

static void a_key_in_use_keeps_nobody_waiting(void **state)
{
	struct signer_lent used = lend(ecdsa, GNUTLS_X509_FMT_DER), other;
	pid_t pid = child_of(getpid());
	int fd = slow_ask(&used);

	(void)state;
	other = lend(rsa, GNUTLS_X509_FMT_DER);
	assert_true(signs(&other, rsa));
	signer_forget_lent(signer, used.number);
	assert_true(is_forgotten(&used, ecdsa));
	other = lend(ecdsa, GNUTLS_X509_FMT_DER); /* in its place */
	assert_true(signs(&other, ecdsa));
	/* What was under way comes to its end, with the key that is gone. */
	slow_answered(fd, ecdsa);
	assert_int_equal(child_of(getpid()), pid);
	assert_true(signer_is_there(signer));
	assert_true(signs(&other, ecdsa));
}

/* A signer that does not get to read. */
static void what_it_is_to_forget_waits_for_it(void **state)
{
	static struct signer_lent lents[SIGNER_LENT_MAX];
	pid_t pid = child_of(getpid());
	int64_t began, next = 0;
	int turns = 0;

	(void)state;
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		lents[i] = lend(ecdsa, GNUTLS_X509_FMT_DER);
	kill(pid, SIGSTOP);
	began = now_ms();
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		signer_forget_lent(signer, lents[i].number);
	assert_true(now_ms() - began < 900); /* its socket takes less: nobody waited for room */
	began = now_ms();
	assert_false(signer_tend(signer, began, &next));
	assert_true(next > began && next <= began + 1000); /* to be said again */
	kill(pid, SIGCONT);
	for (; next != INT64_MAX && turns < 1000; turns++) {
		usleep(5000);
		assert_false(signer_tend(signer, now_ms(), &next));
	}
	assert_int_equal(next, INT64_MAX);
	/* None was lost: there is room for all. */
	for (int i = 0; i < SIGNER_LENT_MAX; i++)
		lend(ecdsa, GNUTLS_X509_FMT_DER);
	assert_int_equal(child_of(getpid()), pid);
	assert_false(signs(&lents[SIGNER_LENT_MAX - 1], ecdsa));
}

/* What it says late is taken for no answer to another question. */
static void who_does_not_answer_is_gone_at_once(void **state)
{
	gnutls_datum_t text = text_of(ecdsa, GNUTLS_X509_FMT_DER);
	struct problem problem = {""};
	struct signer_lent lent;
	bool retry = false;
	int64_t next;
	pid_t pid;
	int status;

	(void)state;
	kill(child_of(getpid()), SIGSTOP);
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), -1);
	assert_non_null(strstr(problem.text, "did not answer"));
	assert_true(retry);
	assert_false(signer_is_there(signer)); /* though nobody has heard of its death */
	problem.text[0] = '\0';
	retry = false;
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), -1);
	assert_non_null(strstr(problem.text, "is not there"));
	assert_true(retry);
	assert_false(signer_tend(signer, INT64_MAX - 1, &next)); /* no second one beside it */
	pid = waitpid(-1, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(signer_died(signer, pid, status));
	while (!signer_is_there(signer))
		signer_tend(signer, INT64_MAX - 1, &next);
	lent = lend(ecdsa, GNUTLS_X509_FMT_DER);
	assert_true(signs(&lent, ecdsa));
	gnutls_free(text.data);
}

static void its_death_is_told(void **state)
{
	gnutls_datum_t text = text_of(ecdsa, GNUTLS_X509_FMT_DER);
	struct problem problem = {""};
	struct signer_lent lent;
	pid_t pid;
	int status;
	bool retry = false;
	int64_t next;

	(void)state;
	/* Whoever asks before anybody has heard of the death. */
	kill(child_of(getpid()), SIGKILL);
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), -1);
	assert_true(retry);
	pid = waitpid(-1, &status, 0);
	assert_true(signer_died(signer, pid, status));
	problem.text[0] = '\0';
	assert_int_equal(signer_lend(signer, text.data, text.size, &lent, &retry, &problem), -1);
	assert_non_null(strstr(problem.text, "is not there"));
	assert_true(retry);
	/* The next one has none of the keys of the former, and takes others. */
	while (!signer_is_there(signer))
		signer_tend(signer, INT64_MAX - 1, &next);
	lent = lend(ecdsa, GNUTLS_X509_FMT_DER);
	assert_true(signs(&lent, ecdsa));
	gnutls_free(text.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(signs_until_it_is_forgotten, setup, teardown),
	    cmocka_unit_test_setup_teardown(refuses_what_is_no_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(has_a_bound, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_key_in_use_keeps_nobody_waiting, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_it_is_to_forget_waits_for_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(who_does_not_answer_is_gone_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(its_death_is_told, setup, teardown),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	pki_free(ecdsa);
	pki_free(rsa);
	return failed;
}
