// SPDX-License-Identifier: LGPL-2.1-or-later
// What the kernel's statistics say of one connection, and what they do not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "offload-nic.h"

static const char text[] = "TlsCurrTxSw                     \t3\n"
			   "TlsCurrTxDevice                 \t1\n"
			   "TlsTxSw                         \t10\n"
			   "TlsRxSw                         \t11\n"
			   "TlsTxDevice                     \t20\n"
			   "TlsRxDevice                     \t18446744073709551615\n"
			   "TlsDecryptError                 \t0\n";

static void reads_the_four_numbers(void **state)
{
	struct offload_nic_reading reading;

	(void)state;
	offload_nic_parse(text, &reading);
	assert_true(reading.known);
	assert_int_equal(reading.software[OFFLOAD_TRANSMIT], 10);
	assert_int_equal(reading.software[OFFLOAD_RECEIVE], 11);
	assert_int_equal(reading.device[OFFLOAD_TRANSMIT], 20);
	assert_true(reading.device[OFFLOAD_RECEIVE] == UINT64_MAX);
}

static void a_missing_number_is_not_zero(void **state)
{
	static const char *const texts[] = {
	    "",
	    "TlsTxSw 1\nTlsRxSw 1\nTlsTxDevice 1\n",
	    "TlsTxSw 1\nTlsRxSw 1\nTlsTxDevice 1\nTlsRxDevice\n",
	    "TlsTxSw 1\nTlsRxSw 1\nTlsTxDevice 1\nTlsRxDevices 7\n",
	    "TlsTxSw 1\nTlsRxSw 1\nTlsTxDevice 1\nTlsRxDevice x\n",
	};
	struct offload_nic_reading reading;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		offload_nic_parse(texts[i], &reading);
		assert_false(reading.known);
	}
}

/* A number of others' may move at the same time; this connection's own always does. */
static void only_what_is_certain_is_said(void **state)
{
	static const struct {
		uint64_t software, device; /* by how much they moved */
		enum offload_nic_verdict verdict;
	} cases[] = {
	    {1, 0, OFFLOAD_NIC_NO},      {5, 0, OFFLOAD_NIC_NO},      {0, 1, OFFLOAD_NIC_YES},
	    {0, 7, OFFLOAD_NIC_YES},     {1, 1, OFFLOAD_NIC_UNKNOWN}, {3, 1, OFFLOAD_NIC_UNKNOWN},
	    {0, 0, OFFLOAD_NIC_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int direction = 0; direction < OFFLOAD_DIRECTIONS; direction++) {
			struct offload_nic_reading before, after;

			offload_nic_parse(text, &before);
			after = before;
			after.software[direction] += cases[i].software;
			after.device[direction] +=
			    cases[i].device; /* wraps around, as the kernel's do */
			assert_int_equal(
			    offload_nic_judge(&before, &after, (enum offload_direction)direction),
			    cases[i].verdict);
			after.known = false;
			assert_int_equal(
			    offload_nic_judge(&before, &after, (enum offload_direction)direction),
			    OFFLOAD_NIC_UNKNOWN);
		}
	}
}

static struct outcome described(const struct offload_nic *nic, enum config_version version,
				enum config_cipher cipher, bool zero_copy)
{
	const struct traffic_keys keys = {.version = version, .cipher = cipher};
	struct offload_nic_reading before;
	struct outcome outcome;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	outcome_init(&outcome);
	offload_nic_read(nic, &keys, &before);
	offload_nic_describe(nic, fd, &keys, &before, zero_copy, &outcome);
	close(fd);
	return outcome;
}

static void what_no_device_takes_is_known_without_a_look(void **state)
{
	const struct offload_nic blind = {.statistics = -1, .diag = -1};
	struct outcome outcome;

	(void)state;
	outcome = described(&blind, CONFIG_TLS13, CONFIG_AES_128_GCM, true);
	assert_string_equal(outcome.transmit, "kernel");
	assert_string_equal(outcome.receive, "kernel");
	assert_string_equal(outcome.records_reason, "");
	assert_string_equal(outcome.zero_copy, "no");
	assert_non_null(strstr(outcome.zero_copy_reason, "TLS 1.2 with AES-GCM"));
	outcome = described(&blind, CONFIG_TLS12, CONFIG_CHACHA20_POLY1305, false);
	assert_string_equal(outcome.transmit, "kernel");
	assert_string_equal(outcome.records_reason, "");
	assert_null(outcome.zero_copy);
	assert_string_equal(outcome.zero_copy_reason, "");
}

static void who_cannot_look_says_so(void **state)
{
	const struct offload_nic blind = {.statistics = -1, .diag = -1};
	struct outcome outcome = described(&blind, CONFIG_TLS12, CONFIG_AES_256_GCM, true);

	(void)state;
	assert_string_equal(outcome.transmit, "kernel");
	assert_string_equal(outcome.receive, "kernel");
	assert_non_null(strstr(outcome.records_reason, "not known"));
	assert_string_equal(outcome.zero_copy, "no");
	assert_non_null(strstr(outcome.zero_copy_reason, "not known"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_four_numbers),
	    cmocka_unit_test(a_missing_number_is_not_zero),
	    cmocka_unit_test(only_what_is_certain_is_said),
	    cmocka_unit_test(what_no_device_takes_is_known_without_a_look),
	    cmocka_unit_test(who_cannot_look_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
