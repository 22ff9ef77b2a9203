// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the running kernel really takes: asked with keys of zeros on loopback connections of its own,
 * since a kernel's configuration tells little. Touches those and /proc, /sys. Never sends a byte.
 */
#include "doctor.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cleanup.h"

#ifndef TLS_TX_MAX_PAYLOAD_LEN
#define TLS_TX_MAX_PAYLOAD_LEN 5
#endif

/* Documentation/networking/tls.rst; the sizes are checked to the byte. */
union crypto {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
	struct tls12_crypto_info_aes_ccm_128 ccm_128;
};

static const struct cipher {
	const char *name;
	const char *modules;
	unsigned short type;
	socklen_t size;
} ciphers[] = {
    {"AES-128-GCM", "gcm, aes", TLS_CIPHER_AES_GCM_128,
     sizeof(struct tls12_crypto_info_aes_gcm_128)},
    {"AES-256-GCM", "gcm, aes", TLS_CIPHER_AES_GCM_256,
     sizeof(struct tls12_crypto_info_aes_gcm_256)},
    {"CHACHA20-POLY1305", "chacha20poly1305, chacha, poly1305", TLS_CIPHER_CHACHA20_POLY1305,
     sizeof(struct tls12_crypto_info_chacha20_poly1305)},
    {"AES-128-CCM", "ccm, ctr, aes", TLS_CIPHER_AES_CCM_128,
     sizeof(struct tls12_crypto_info_aes_ccm_128)},
};

struct pair {
	int one, other;
};

static void pair_close(const struct pair *pair)
{
	cleanup_close(&pair->one);
	cleanup_close(&pair->other);
}

/* Two ends of a loopback TCP connection. 0 or -1 with errno. */
static int pair_open(struct pair *pair)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	_cleanup_close_ int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	if (listening < 0 || bind(listening, (struct sockaddr *)&address, length) < 0 ||
	    listen(listening, 1) < 0 ||
	    getsockname(listening, (struct sockaddr *)&address, &length) < 0)
		return -1;
	pair->one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (pair->one < 0 || connect(pair->one, (struct sockaddr *)&address, length) < 0)
		return -1;
	pair->other = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	return pair->other < 0 ? -1 : 0;
}

/* Attaches the upper layer protocol to a new connection. 0 or -errno. */
static int pair_attach(struct pair *pair)
{
	if (pair_open(pair) < 0)
		return -errno;
	if (setsockopt(pair->one, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls") - 1) < 0)
		return -errno;
	return 0;
}

static int keys_set(int fd, int direction, unsigned short version, const struct cipher *cipher)
{
	union crypto crypto = {.info = {.version = version, .cipher_type = cipher->type}};

	return setsockopt(fd, SOL_TLS, direction, &crypto, cipher->size) < 0 ? -errno : 0;
}

static bool module_file_there(const char *release)
{
	static const char *const lists[] = {"modules.builtin", "modules.dep"};
	char path[512], line[4096];
	bool found = false;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && !found; i++) {
		FILE *list;

		snprintf(path, sizeof(path), "/lib/modules/%s/%s", release, lists[i]);
		list = fopen(path, "re");
		while (list && !found && fgets(line, sizeof(line), list))
			found = strncmp(line, "kernel/net/tls/tls.ko",
					strlen("kernel/net/tls/tls.ko")) == 0;
		if (list)
			fclose(list);
	}
	return found;
}

static bool ulp_listed(void)
{
	FILE *list = fopen("/proc/sys/net/ipv4/tcp_available_ulp", "re");
	char line[256] = "";
	bool found = false;

	if (list) {
		if (!fgets(line, sizeof(line), list))
			line[0] = '\0';
		fclose(list);
	}
	for (char *rest = line, *word; !found && (word = strsep(&rest, " \n"));)
		found = strcmp(word, "tls") == 0;
	return found;
}

static void examine_version(struct findings *findings, const struct utsname *names)
{
	char *rest;
	const unsigned long major = strtoul(names->release, &rest, 10);
	const unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
	struct finding *finding = findings_add(findings, FINDING_OK, "kernel");

	finding_detail(finding, "%s %s on %s", names->sysname, names->release, names->machine);
	if (major < 6 || (major == 6 && minor < 1)) {
		finding->state = FINDING_WARNING;
		finding_remedy(finding, "kernels from 6.1 on are tested");
	}
}

/* True if TCP_ULP takes "tls" now. */
static bool examine_module(struct findings *findings, const struct utsname *names)
{
	struct pair pair = {-1, -1};
	int r = pair_attach(&pair);
	struct finding *finding =
	    findings_add(findings, r < 0 ? FINDING_MISSING : FINDING_OK, "kernel TLS");

	pair_close(&pair);
	if (r == 0) {
		finding_detail(finding, "TCP sockets take the upper layer protocol \"tls\"");
	} else if (r == -ENOENT && module_file_there(names->release)) {
		finding_detail(finding, "the module \"tls\" is there but not loaded");
		finding_remedy(finding,
			       "run \"modprobe tls\" as root, and put \"tls\" into a file in "
			       "/etc/modules-load.d");
	} else if (r == -ENOENT) {
		finding_detail(finding, "this kernel has no module \"tls\"%s",
			       ulp_listed() ? ", although it lists it" : "");
		finding_remedy(finding,
			       "run a kernel with CONFIG_TLS (each stock Debian kernel has it), "
			       "or use \"records = relay\"");
	} else {
		finding_detail(finding, "TCP sockets refuse the upper layer protocol \"tls\": %s",
			       strerror(-r));
		finding_remedy(finding, "use \"records = relay\"");
	}
	return r == 0;
}

static bool examine_cipher(struct findings *findings, unsigned short version,
			   const struct cipher *cipher)
{
	struct pair pair = {-1, -1};
	int transmit = pair_attach(&pair), receive = 0;
	struct finding *finding = findings_add(findings, FINDING_OK, "");

	snprintf(finding->what, sizeof(finding->what), "%s %s",
		 version == TLS_1_3_VERSION ? "TLS 1.3" : "TLS 1.2", cipher->name);
	if (transmit == 0)
		transmit = keys_set(pair.one, TLS_TX, version, cipher);
	if (transmit == 0)
		receive = keys_set(pair.one, TLS_RX, version, cipher);
	pair_close(&pair);
	if (transmit == 0 && receive == 0) {
		finding_detail(finding, "the kernel takes both directions");
		return true;
	}
	finding->state = FINDING_MISSING;
	finding_detail(finding, "%s: %s", transmit < 0 ? "sending" : "receiving",
		       strerror(transmit < 0 ? -transmit : -receive));
	if (transmit == -ENOENT || receive == -ENOENT)
		finding_remedy(finding,
			       "load the modules %s, or leave the cipher out of the profile",
			       cipher->modules);
	else
		finding_remedy(finding,
			       "leave the cipher out of the profile, or use \"records = auto\"");
	return false;
}

static void examine_rekeying(struct findings *findings, const struct cipher *cipher)
{
	struct pair pair = {-1, -1};
	int r = pair_attach(&pair);
	struct finding *finding = findings_add(findings, FINDING_OK, "rekeying");

	if (r == 0)
		r = keys_set(pair.one, TLS_TX, TLS_1_3_VERSION, cipher);
	if (r == 0)
		r = keys_set(pair.one, TLS_TX, TLS_1_3_VERSION, cipher);
	pair_close(&pair);
	if (r == 0) {
		finding_detail(finding, "the keys of a TLS 1.3 connection can be replaced");
		return;
	}
	finding->state = FINDING_WARNING;
	finding_detail(finding, "the keys of a connection cannot be replaced: %s", strerror(-r));
	finding_remedy(finding, "a peer's KeyUpdate ends the connection; kernels from 6.14 on can");
}

static void examine_record_limit(struct findings *findings, const struct cipher *cipher)
{
	const unsigned short bytes = 4096;
	struct pair pair = {-1, -1};
	int r = pair_attach(&pair);
	struct finding *finding = findings_add(findings, FINDING_OK, "record limit");

	if (r == 0)
		r = keys_set(pair.one, TLS_TX, TLS_1_3_VERSION, cipher);
	if (r == 0 &&
	    setsockopt(pair.one, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &bytes, sizeof(bytes)) < 0)
		r = -errno;
	pair_close(&pair);
	if (r == 0) {
		finding_detail(finding, "the size of sent records can be limited");
		return;
	}
	finding->state = FINDING_WARNING;
	finding_detail(finding, "the size of sent records cannot be limited: %s", strerror(-r));
	finding_remedy(finding, "matters only for peers that ask for it (RFC 8449)");
}

/* Every counter that is not 0, by its own name. */
static void examine_counters(struct findings *findings)
{
	FILE *file = fopen("/proc/net/tls_stat", "re");
	struct finding *finding;
	char line[128];
	size_t used = 0;

	if (!file) {
		finding = findings_add(findings, FINDING_MISSING, "kernel TLS counters");
		finding_detail(finding, "/proc/net/tls_stat: %s", strerror(errno));
		return;
	}
	finding = findings_add(findings, FINDING_OK, "kernel TLS counters");
	finding_detail(finding, "all are 0");
	while (fgets(line, sizeof(line), file)) {
		size_t length = strcspn(line, " \t");
		unsigned long long value = strtoull(line + length, NULL, 10);

		line[length] = '\0';
		if (value == 0 || used >= sizeof(finding->detail))
			continue;
		used += (size_t)snprintf(finding->detail + used, sizeof(finding->detail) - used,
					 "%s%s %llu", used ? ", " : "", line, value);
		if (strcmp(line, "TlsDecryptError") == 0) {
			finding->state = FINDING_WARNING;
			finding_remedy(finding, "records that could not be decrypted came in");
		}
	}
	fclose(file);
}

bool doctor_kernel(struct findings *findings)
{
	static const unsigned short versions[] = {TLS_1_3_VERSION, TLS_1_2_VERSION};
	const struct cipher *usable = NULL;
	struct utsname names;

	uname(&names);
	examine_version(findings, &names);
	if (!examine_module(findings, &names))
		return false;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		for (size_t j = 0; j < sizeof(ciphers) / sizeof(ciphers[0]); j++)
			if (examine_cipher(findings, versions[i], &ciphers[j]) && !usable &&
			    versions[i] == TLS_1_3_VERSION)
				usable = &ciphers[j];
	if (usable) {
		examine_rekeying(findings, usable);
		examine_record_limit(findings, usable);
	}
	examine_counters(findings);
	return usable != NULL;
}
