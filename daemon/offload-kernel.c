// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Traffic keys into the kernel: attach the upper layer protocol, set both directions, and find out what
 * this kernel takes. Touches the TLS options of a TCP socket; must never leave a key on the stack.
 */
#include "offload-kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/crypto.h>

#include "cleanup.h"

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

#ifndef TLS_TX_MAX_PAYLOAD_LEN
#define TLS_TX_MAX_PAYLOAD_LEN 5
#endif

enum { MODPROBE_MS = 5000 };
enum { RECORD_MAX = 16384 }; /* bytes of content (RFC 8446, 5.1) */

int offload_kernel_attach(int fd, char *reason, size_t size)
{
	int error;

	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls") - 1) == 0 || errno == EEXIST)
		return 0;
	error = errno;
	switch (error) {
	case ENOENT:
		snprintf(reason, size,
			 "the kernel has no TLS: load its module with \"modprobe tls\"");
		break;
	case ENOTCONN:
		snprintf(reason, size, "the peer has already ended the TCP connection");
		break;
	case EOPNOTSUPP:
		snprintf(reason, size, "the kernel has no TLS on this kind of socket");
		break;
	default:
		snprintf(reason, size, "the kernel refused TLS on this socket: %s",
			 strerror(error));
		break;
	}
	return -error;
}

/* ---- The kernel's form of a direction's keys ----------------------------------------------- */

union kernel_keys {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_aes_ccm_128 ccm_128;
	struct tls12_crypto_info_chacha20_poly1305 chacha20;
};

static void put_sequence(uint8_t bytes[8], uint64_t sequence)
{
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(sequence >> (56 - 8 * i));
}

/* The nonce of AES-GCM and AES-CCM: 4 bytes of salt, then 8. In TLS 1.3 these 8 are the rest of the
 * static IV; in TLS 1.2 they are the first explicit nonce, for which the record's number is taken as
 * GnuTLS takes it (RFC 5288, 3), so that none is used twice. */
static void put_nonce(uint8_t salt[4], uint8_t iv[8], const struct traffic_keys *keys,
		      const struct traffic_direction *direction)
{
	memcpy(salt, direction->iv, 4);
	if (keys->version == CONFIG_TLS13)
		memcpy(iv, direction->iv + 4, 8);
	else
		put_sequence(iv, direction->sequence);
}

/* Returns the size in bytes that the kernel wants exactly, 0 for an unknown cipher. */
static socklen_t kernel_keys_fill(union kernel_keys *kernel, const struct traffic_keys *keys,
				  const struct traffic_direction *direction)
{
	memset(kernel, 0, sizeof(*kernel));
	kernel->info.version = keys->version == CONFIG_TLS13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
	switch (keys->cipher) {
	case CONFIG_AES_128_GCM:
		kernel->info.cipher_type = TLS_CIPHER_AES_GCM_128;
		put_nonce(kernel->gcm_128.salt, kernel->gcm_128.iv, keys, direction);
		memcpy(kernel->gcm_128.key, direction->key, sizeof(kernel->gcm_128.key));
		put_sequence(kernel->gcm_128.rec_seq, direction->sequence);
		return sizeof(kernel->gcm_128);
	case CONFIG_AES_256_GCM:
		kernel->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		put_nonce(kernel->gcm_256.salt, kernel->gcm_256.iv, keys, direction);
		memcpy(kernel->gcm_256.key, direction->key, sizeof(kernel->gcm_256.key));
		put_sequence(kernel->gcm_256.rec_seq, direction->sequence);
		return sizeof(kernel->gcm_256);
	case CONFIG_AES_128_CCM:
		kernel->info.cipher_type = TLS_CIPHER_AES_CCM_128;
		put_nonce(kernel->ccm_128.salt, kernel->ccm_128.iv, keys, direction);
		memcpy(kernel->ccm_128.key, direction->key, sizeof(kernel->ccm_128.key));
		put_sequence(kernel->ccm_128.rec_seq, direction->sequence);
		return sizeof(kernel->ccm_128);
	case CONFIG_CHACHA20_POLY1305:
		kernel->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		memcpy(kernel->chacha20.iv, direction->iv, sizeof(kernel->chacha20.iv));
		memcpy(kernel->chacha20.key, direction->key, sizeof(kernel->chacha20.key));
		put_sequence(kernel->chacha20.rec_seq, direction->sequence);
		return sizeof(kernel->chacha20);
	case CONFIG_CIPHERS:
		break;
	}
	return 0;
}

static int kernel_keys_set(int fd, int option, const struct traffic_keys *keys,
			   const struct traffic_direction *direction)
{
	union kernel_keys kernel;
	socklen_t size = kernel_keys_fill(&kernel, keys, direction);
	int error = 0;

	if (size == 0)
		error = -EINVAL;
	else if (setsockopt(fd, SOL_TLS, option, &kernel, size) < 0)
		error = -errno;
	explicit_bzero(&kernel, sizeof(kernel));
	return error;
}

static int direction_option(enum offload_direction direction)
{
	return direction == OFFLOAD_TRANSMIT ? TLS_TX : TLS_RX;
}

static const struct traffic_direction *direction_of(const struct traffic_keys *keys,
						    enum offload_direction direction)
{
	return direction == OFFLOAD_TRANSMIT ? &keys->transmit : &keys->receive;
}

/* Where the cipher's key lies in the kernel's form; its size is traffic_keys.key_size. */
static const uint8_t *kernel_keys_key(const union kernel_keys *kernel, enum config_cipher cipher)
{
	switch (cipher) {
	case CONFIG_AES_128_GCM:
		return kernel->gcm_128.key;
	case CONFIG_AES_256_GCM:
		return kernel->gcm_256.key;
	case CONFIG_AES_128_CCM:
		return kernel->ccm_128.key;
	default:
		return kernel->chacha20.key;
	}
}

int offload_kernel_holds(int fd, const struct traffic_keys *keys, enum offload_direction direction)
{
	union kernel_keys ours, theirs;
	socklen_t size = kernel_keys_fill(&ours, keys, direction_of(keys, direction));
	int r;

	memset(&theirs, 0, sizeof(theirs));
	if (getsockopt(fd, SOL_TLS, direction_option(direction), &theirs, &size) < 0)
		r = errno == EINVAL ? 0 : -errno; /* EINVAL: another cipher's size */
	else
		r = theirs.info.version == ours.info.version &&
		    theirs.info.cipher_type == ours.info.cipher_type &&
		    gnutls_memcmp(kernel_keys_key(&ours, keys->cipher),
				  kernel_keys_key(&theirs, keys->cipher), keys->key_size) == 0;
	explicit_bzero(&ours, sizeof(ours));
	explicit_bzero(&theirs, sizeof(theirs));
	return r;
}

int offload_kernel_update(int fd, const struct traffic_keys *keys, enum offload_direction direction)
{
	return kernel_keys_set(fd, direction_option(direction), keys,
			       direction_of(keys, direction));
}

int offload_kernel_limit_records(int fd, const struct traffic_keys *keys, char *reason, size_t size)
{
	uint16_t limit = keys->record_limit;
	int error;

	if (limit == 0 || limit >= RECORD_MAX ||
	    setsockopt(fd, SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN, &limit, sizeof(limit)) == 0)
		return 0;
	error = errno;
	snprintf(reason, size,
		 "the peer takes records of %u bytes at most, which this kernel cannot be told",
		 limit);
	return -error;
}

int offload_kernel_install(int fd, const struct traffic_keys *keys, char *reason, size_t size)
{
	const char *direction = "transmit";
	int error = kernel_keys_set(fd, TLS_TX, keys, &keys->transmit);

	if (error == 0) {
		direction = "receive";
		error = kernel_keys_set(fd, TLS_RX, keys, &keys->receive);
	}
	if (error == -ENOENT)
		snprintf(reason, size, "the kernel lacks the cipher, so it took no %s keys",
			 direction);
	else if (error < 0)
		snprintf(reason, size, "the kernel refused the %s keys: %s", direction,
			 strerror(-error));
	return error;
}

/* ---- What this kernel takes ---------------------------------------------------------------- */

/* A connected pair of TCP sockets over loopback. 0 or -errno. */
static int loopback_pair(int *ret_one, int *ret_other)
{
	_cleanup_close_ int listener = -1;
	_cleanup_close_ int one = -1;
	struct sockaddr_in address = {
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int other;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || one < 0)
		return -errno;
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	/* The listener's queue has room, so neither of the two waits for anybody. */
	if (connect(one, (struct sockaddr *)&address, size) < 0)
		return -errno;
	other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (other < 0)
		return -errno;
	*ret_one = fd_take(&one);
	*ret_other = other;
	return 0;
}

static bool child_gone(pid_t child)
{
	pid_t ended;

	do
		ended = waitpid(child, NULL, WNOHANG);
	while (ended < 0 && errno == EINTR);
	return ended != 0;
}

/* Loads the module, when that is allowed; it shows afterwards whether it helped. */
static void load_module(void)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	pid_t child;

	if (geteuid() != 0)
		return;
	child = fork();
	if (child < 0)
		return;
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		if (null >= 0) {
			dup2(null, 0);
			dup2(null, 1);
			dup2(null, 2);
		}
		execl("/sbin/modprobe", "modprobe", "-q", "tls", (char *)NULL);
		_exit(127);
	}
	for (int waited = 0; waited < MODPROBE_MS; waited += 5) {
		if (child_gone(child))
			return;
		nanosleep(&pause, NULL);
	}
	/* Not waited for: the kernel may hold it up for as long as it likes. */
	kill(child, SIGKILL);
}

static int probe_attach(char *reason, size_t size)
{
	_cleanup_close_ int one = -1;
	_cleanup_close_ int other = -1;
	int error = loopback_pair(&one, &other);

	if (error < 0) {
		snprintf(reason, size, "no loopback connection to try kernel TLS on: %s",
			 strerror(-error));
		return error;
	}
	return offload_kernel_attach(one, reason, size);
}

/* Keys that are set anew need Linux 6.14. */
static bool probe_cipher(enum config_version version, enum config_cipher cipher, bool *ret_rekeys)
{
	static const struct traffic_keys zero;
	_cleanup_close_ int one = -1;
	_cleanup_close_ int other = -1;
	struct traffic_keys keys = zero;
	char reason[256];

	keys.version = version;
	keys.cipher = cipher;
	if (loopback_pair(&one, &other) < 0 ||
	    offload_kernel_attach(one, reason, sizeof(reason)) < 0)
		return false;
	if (offload_kernel_install(one, &keys, reason, sizeof(reason)) < 0)
		return false;
	if (version == CONFIG_TLS13 && offload_kernel_update(one, &keys, OFFLOAD_TRANSMIT) == 0 &&
	    offload_kernel_update(one, &keys, OFFLOAD_RECEIVE) == 0)
		*ret_rekeys = true;
	return true;
}

void offload_kernel_probe(struct kernel_tls *ret_kernel)
{
	bool any = false;
	int error;

	memset(ret_kernel, 0, sizeof(*ret_kernel));
	error = probe_attach(ret_kernel->reason, sizeof(ret_kernel->reason));
	if (error == -ENOENT) {
		load_module();
		error = probe_attach(ret_kernel->reason, sizeof(ret_kernel->reason));
	}
	if (error < 0)
		return;
	for (int version = CONFIG_TLS12; version <= CONFIG_TLS13; version++) {
		for (int cipher = 0; cipher < CONFIG_CIPHERS; cipher++) {
			ret_kernel->ciphers[version][cipher] =
			    probe_cipher((enum config_version)version, (enum config_cipher)cipher,
					 &ret_kernel->rekeys);
			any = any || ret_kernel->ciphers[version][cipher];
		}
	}
	ret_kernel->available = any;
	ret_kernel->reason[0] = '\0';
	if (!any)
		snprintf(
		    ret_kernel->reason, sizeof(ret_kernel->reason),
		    "the kernel has TLS but none of its ciphers: load the modules gcm, ccm and "
		    "chacha20poly1305");
}
