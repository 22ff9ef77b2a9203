// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The keys that the kernel has for a connection. Touches the connection's TLS options. Never changes a key,
 * and never keeps one longer than a call.
 */
#include "internal.h"

#include <errno.h>
#include <linux/tls.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* What the kernel has for one direction: struct tls12_crypto_info_…, of which each ends with the number of
 * the next record. Holds a key: to be wiped. */
struct kernel_info {
	union {
		struct tls_crypto_info info;
		uint8_t bytes[64];
	} data;
	socklen_t size;
};

static int kernel_info_read(int fd, int option, struct kernel_info *ret_info)
{
	ret_info->size = sizeof(ret_info->data.info);
	if (getsockopt(fd, SOL_TLS, option, &ret_info->data, &ret_info->size) < 0)
		return -errno;
	switch (ret_info->data.info.cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		ret_info->size = sizeof(struct tls12_crypto_info_aes_gcm_128);
		break;
	case TLS_CIPHER_AES_CCM_128:
		ret_info->size = sizeof(struct tls12_crypto_info_aes_ccm_128);
		break;
	case TLS_CIPHER_AES_GCM_256:
		ret_info->size = sizeof(struct tls12_crypto_info_aes_gcm_256);
		break;
	case TLS_CIPHER_CHACHA20_POLY1305:
		ret_info->size = sizeof(struct tls12_crypto_info_chacha20_poly1305);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return getsockopt(fd, SOL_TLS, option, &ret_info->data, &ret_info->size) < 0 ? -errno : 0;
}

int kernel_keys_records(int fd, uint64_t *ret_records)
{
	struct kernel_info info;
	uint64_t records = 0;
	int r = kernel_info_read(fd, TLS_TX, &info);

	for (size_t i = 8; r == 0 && i > 0; i--)
		records = records << 8 | info.data.bytes[info.size - i];
	explicit_bzero(&info, sizeof(info));
	if (r == 0)
		*ret_records = records;
	return r;
}

int kernel_keys_resume(int fd)
{
	struct kernel_info info;
	int r = kernel_info_read(fd, TLS_RX, &info);

	if (r == 0 && setsockopt(fd, SOL_TLS, TLS_RX, &info.data, info.size) < 0)
		r = -errno;
	explicit_bzero(&info, sizeof(info));
	return r;
}

int kernel_keys_describe(int fd, const char **ret_version, const char **ret_cipher)
{
	static const struct {
		uint16_t type;
		const char *cipher;
	} ciphers[] = {
	    {TLS_CIPHER_AES_GCM_128, "AES-128-GCM"},
	    {TLS_CIPHER_AES_GCM_256, "AES-256-GCM"},
	    {TLS_CIPHER_CHACHA20_POLY1305, "CHACHA20-POLY1305"},
	    {TLS_CIPHER_AES_CCM_128, "AES-128-CCM"},
	};
	struct tls_crypto_info transmit, receive;
	socklen_t size = sizeof(transmit);

	if (getsockopt(fd, SOL_TLS, TLS_TX, &transmit, &size) < 0)
		return -errno;
	size = sizeof(receive);
	if (getsockopt(fd, SOL_TLS, TLS_RX, &receive, &size) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		if (ciphers[i].type != transmit.cipher_type)
			continue;
		*ret_version = transmit.version == TLS_1_3_VERSION ? "TLS1.3" : "TLS1.2";
		*ret_cipher = ciphers[i].cipher;
		return 0;
	}
	return -EOPNOTSUPP;
}
