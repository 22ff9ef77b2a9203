// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* A configuration of tlshd: what it becomes, and what is said about what cannot be kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"
#include "pki.h"

/* The file as it is installed, every key in it. */
#define EVERYTHING                                                                              \
	"#\n# See tlshd.conf(5)\n[debug]\nloglevel=1\ntls=0\nnl=0\n\n"                          \
	"[authenticate]\nkeyrings= .extra;1234 ; other\n\n[authenticate.client]\n"              \
	"x509.truststore= /etc/client-ca.pem\nx509.crl=/etc/client.crl\n"                       \
	"x509.certificate = /etc/client.pem\nx509.private_key=/etc/client.key\n"                \
	"x509.pq.certificate=/etc/client-pq.pem\nx509.pq.private_key=/etc/client-pq.key\n"      \
	"[authenticate.server]\nx509.truststore=/etc/server-ca.pem\nx509.crl=/etc/server.crl\n" \
	"x509.certificate=/etc/se\\srver.pem\nx509.private_key=/etc/server.key\r\n"

static struct problem problem;

static struct config *read_both(const char *text, const char *own)
{
	struct config_source source = {.path = pki_write_text("test.conf", own)};
	struct config *config = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s", source.path);
	source.path = path;
	source.tlshd = pki_write_text("tlshd", text);
	problem.text[0] = '\0';
	return config_source_read(&source, &config, &problem) == 0 ? config : NULL;
}

static struct config *read_text(const char *text)
{
	struct config *config = read_both(text, "[daemon]\nuser = 65534\n");

	if (!config)
		fail_msg("%s", problem.text);
	return config;
}

static void assert_refused(const char *text, const char *part)
{
	struct config *config = read_both(text, "[daemon]\nuser = 65534\n");

	if (config) {
		config_free(config);
		fail_msg("accepted: %s", text);
	}
	if (!strstr(problem.text, part))
		fail_msg("\"%s\" does not say \"%s\"", problem.text, part);
}

static int teardown(void **state)
{
	(void)state;
	pki_directory_remove();
	return 0;
}

static void every_key_is_honoured(void **state)
{
	struct config *config = read_text(EVERYTHING);
	const struct config_profile *client = config_find_profile(config, "tlshd-client");
	const struct config_profile *server = config_find_profile(config, "tlshd-server");

	(void)state;
	assert_int_equal(config->log_level, CONFIG_LOG_DEBUG);
	assert_int_equal(config->kernel.link_count, 3);
	assert_string_equal(config->kernel.links[0], ".extra");
	assert_string_equal(config->kernel.links[1], "1234");
	assert_string_equal(config->kernel.links[2], "other");
	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NFS], "tlshd-client");
	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NFSD], "tlshd-server");

	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NVME], "tlshd-nvme");
	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NVMET], "tlshd-nvmet");
	assert_true(config_find_profile(config, "tlshd-nvme")->psk.kernel);
	assert_true(config_find_profile(config, "tlshd-nvmet")->psk.kernel);

	assert_int_equal(client->roles, CONFIG_ROLE_CLIENT);
	assert_int_equal(client->min_version, CONFIG_TLS13);
	assert_int_equal(client->records, CONFIG_RECORDS_KERNEL);
	assert_string_equal(client->trust, "/etc/client-ca.pem");
	assert_string_equal(client->revocation_list, "/etc/client.crl");
	assert_int_equal(client->revocation, CONFIG_REVOCATION_CRL);
	assert_int_equal(client->certificate_count, 2);
	assert_string_equal(client->certificates[0].certificate, "/etc/client-pq.pem");
	assert_string_equal(client->certificates[0].private_key, "/etc/client-pq.key");
	assert_string_equal(client->certificates[1].certificate, "/etc/client.pem");
	assert_string_equal(client->certificates[1].private_key, "/etc/client.key");

	assert_int_equal(server->roles, CONFIG_ROLE_SERVER);
	assert_string_equal(server->trust, "/etc/server-ca.pem");
	assert_string_equal(server->revocation_list, "/etc/server.crl");
	assert_int_equal(server->client_certificates, CONFIG_CLIENT_REQUEST);
	assert_int_equal(server->certificate_count, 1);
	assert_string_equal(server->certificates[0].certificate, "/etc/se rver.pem");
	assert_string_equal(server->certificates[0].private_key, "/etc/server.key");
	config_free(config);
}

static void an_empty_file_serves_clients_with_the_system_s_trust(void **state)
{
	struct config *config = read_text("");
	const struct config_profile *client = config_find_profile(config, "tlshd-client");

	(void)state;
	assert_string_equal(client->trust, "system");
	assert_int_equal(client->certificate_count, 0);
	assert_string_equal(config->kernel.profiles[CONFIG_CONSUMER_NFS], "tlshd-client");
	assert_null(config->kernel.profiles[CONFIG_CONSUMER_NFSD]);
	assert_null(config_find_profile(config, "tlshd-server"));
	assert_int_equal(config->log_level, CONFIG_LOG_INFO);
	config_free(config);
}

/* tlshd would take a certificate of any authority of the system's store. */
static void without_a_store_of_its_own_a_server_takes_no_client_s_certificate(void **state)
{
	struct config *config = read_text("[authenticate.server]\nx509.certificate=/a.pem\n"
					  "x509.private_key=/a.key\n");
	const struct config_profile *server = config_find_profile(config, "tlshd-server");

	(void)state;
	assert_int_equal(server->client_certificates, CONFIG_CLIENT_NONE);
	assert_null(server->trust);
	config_free(config);
	assert_refused("[authenticate.server]\nx509.certificate=/a.pem\nx509.private_key=/a.key\n"
		       "x509.crl=/b.crl\n",
		       "tlshd:4: x509.crl = \"/b.crl\": [authenticate.server] has no"
		       " x509.truststore");
}

static void nothing_is_passed_over(void **state)
{
	(void)state;
	assert_refused("[debug]\nlog=1\n", "tlshd:2: unknown key \"log\" in [debug]");
	assert_refused("[authenticate.client]\nx509.trustore=/a\n",
		       "tlshd:2: unknown key \"x509.trustore\" in [authenticate.client]; did you"
		       " mean \"x509.truststore\"?");
	assert_refused("[authenticate.server]\nx509.ciphers=AES\n", "unknown key \"x509.ciphers\"");
	assert_refused("[authenticate]\nx509.crl=/a\n", "unknown key \"x509.crl\"");
	assert_refused("[main]\ndebug=1\n", "tlshd:1: unknown section [main]");
	assert_refused("[authenticate.clients]\n", "did you mean [authenticate.client]?");
	assert_refused("[debug\n", "tlshd:1: \"[debug\" has no closing");
	assert_refused("loglevel=1\n", "tlshd:1: \"loglevel = 1\" stands before");
	assert_refused("[debug]\nloglevel\n", "tlshd:2: \"loglevel\" is neither");
	assert_refused("[debug]\nloglevel=\n", "tlshd:2: loglevel has no value");
	assert_refused("[debug]\nloglevel=1\n\nloglevel=2\n", "in [debug] already, in line 2");
	assert_refused("[authenticate.client]\nx509.crl=/a\\qb\n", "a backslash is written");
}

static void what_cannot_be_kept_is_refused_by_name(void **state)
{
	(void)state;
	assert_refused("[debug]\ntls=3\n", "tlshd:2: tls = 3: ");
	assert_refused("[debug]\nnl=1\n", "tlshd:2: nl = 1: ");
	assert_refused("[debug]\nloglevel=many\n", "tlshd:2: loglevel = \"many\": a whole number");
	assert_refused("[authenticate.client]\nx509.crl=ca.crl\n",
		       "tlshd:2: x509.crl = \"ca.crl\": a path from the root");
	assert_refused("[authenticate.client]\nx509.crl=/ca.crl # old\n",
		       "a comment has a line of its own");
	assert_refused("[authenticate.client]\nx509.certificate=/a.pem\n",
		       "tlshd:2: x509.certificate = \"/a.pem\" needs x509.private_key beside it");
	assert_refused("[authenticate.server]\n\nx509.pq.private_key=/a.key\n",
		       "tlshd:3: x509.pq.private_key = \"/a.key\" needs x509.pq.certificate");
}

static void session_tags_are_refused_by_name(void **state)
{
	char path[512];

	(void)state;
	pki_write_text("tlshd", "");
	snprintf(path, sizeof(path), "%s", pki_path("tags.d"));
	assert_int_equal(mkdir(path, 0755), 0);
	config_free(read_text(""));
	pki_write_text("tags.d/office.yaml", "");
	assert_refused("", "tags.d/office.yaml defines session tags");
	unlink(pki_path("tags.d/office.yaml"));
	rmdir(path);
}

static void stands_beside_a_configuration_of_ours(void **state)
{
	struct config *config = read_both("", "[daemon]\nuser = 65534\n[profile web]\n");

	(void)state;
	assert_non_null(config);
	assert_non_null(config_find_profile(config, "web"));
	assert_non_null(config_find_profile(config, "tlshd-client"));
	config_free(config);
	assert_null(read_both("", "[daemon]\nuser = 65534\n[profile web]\n[kernel]\nnfs = web\n"));
	assert_non_null(strstr(problem.text, "test.conf:4: [kernel] is not for a configuration"));
	assert_null(read_both("", "[daemon]\nuser = 65534\n[profile tlshd-client]\n"));
	assert_non_null(strstr(problem.text, "[profile tlshd-client] is there already"));
}

static void everybody_s_file_is_refused(void **state)
{
	struct config_source source = {.tlshd = pki_write_text("tlshd", "")};
	struct config *config;

	(void)state;
	problem.text[0] = '\0';
	chmod(source.tlshd, 0666);
	assert_int_equal(config_source_read(&source, &config, &problem), -1);
	assert_non_null(strstr(problem.text, "everybody on this machine may write"));
	source.tlshd = pki_path("absent");
	problem.text[0] = '\0';
	assert_int_equal(config_source_read(&source, &config, &problem), -1);
	assert_non_null(strstr(problem.text, "absent\" cannot be opened"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_key_is_honoured),
	    cmocka_unit_test(an_empty_file_serves_clients_with_the_system_s_trust),
	    cmocka_unit_test(without_a_store_of_its_own_a_server_takes_no_client_s_certificate),
	    cmocka_unit_test(nothing_is_passed_over),
	    cmocka_unit_test(what_cannot_be_kept_is_refused_by_name),
	    cmocka_unit_test(session_tags_are_refused_by_name),
	    cmocka_unit_test(stands_beside_a_configuration_of_ours),
	    cmocka_unit_test(everybody_s_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
