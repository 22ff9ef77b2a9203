// SPDX-License-Identifier: LGPL-2.1-or-later
// What AES-128-GCM itself costs, in records of 16 KiB: by GnuTLS in this process, or by the kernel's own
// implementation through AF_ALG, where only the call counts that enciphers. To be taken off what servers cost.

#include "measure.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <linux/if_alg.h>
#include <sys/socket.h>

enum { RECORD = 16384, TAG = 16, NONCE = 12, HEADER = 5, KEY = 16 };

static const unsigned char key[KEY] = {1}, nonce[NONCE] = {2},
			   header[HEADER] = {23, 3, 3, 0x40, 0x11};

static double by_gnutls(unsigned long records)
{
	static unsigned char plain[RECORD + 1], sealed[RECORD + 1 + TAG];
	gnutls_datum_t datum = {(unsigned char *)key, KEY};
	gnutls_aead_cipher_hd_t cipher;
	double began;

	if (gnutls_aead_cipher_init(&cipher, GNUTLS_CIPHER_AES_128_GCM, &datum))
		die("GnuTLS has no AES-128-GCM");
	began = cpu_own();
	for (unsigned long i = 0; i < records; i++) {
		size_t size = sizeof(sealed);
		int result = gnutls_aead_cipher_encrypt(cipher, nonce, NONCE, header, HEADER, TAG,
							plain, RECORD + 1, sealed, &size);

		if (result)
			die("GnuTLS: %s", gnutls_strerror(result));
	}
	began = cpu_own() - began;
	gnutls_aead_cipher_deinit(cipher);
	return began;
}

static void give(int fd, unsigned char *record)
{
	char control[CMSG_SPACE(4) + CMSG_SPACE(sizeof(struct af_alg_iv) + NONCE) + CMSG_SPACE(4)] =
	    {0};
	struct iovec part = {record, HEADER + RECORD};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *item = CMSG_FIRSTHDR(&message);
	struct af_alg_iv *iv;

	*item = (struct cmsghdr){
	    .cmsg_level = SOL_ALG, .cmsg_type = ALG_SET_OP, .cmsg_len = CMSG_LEN(4)};
	*(unsigned *)(void *)CMSG_DATA(item) = ALG_OP_ENCRYPT;
	item = CMSG_NXTHDR(&message, item);
	*item = (struct cmsghdr){.cmsg_level = SOL_ALG,
				 .cmsg_type = ALG_SET_IV,
				 .cmsg_len = CMSG_LEN(sizeof(*iv) + NONCE)};
	iv = (void *)CMSG_DATA(item);
	iv->ivlen = NONCE;
	memcpy(iv->iv, nonce, NONCE);
	item = CMSG_NXTHDR(&message, item);
	*item = (struct cmsghdr){
	    .cmsg_level = SOL_ALG, .cmsg_type = ALG_SET_AEAD_ASSOCLEN, .cmsg_len = CMSG_LEN(4)};
	*(unsigned *)(void *)CMSG_DATA(item) = HEADER;
	if (sendmsg(fd, &message, 0) != HEADER + RECORD)
		die("AF_ALG: %s", strerror(errno));
}

static double by_kernel(unsigned long records)
{
	static unsigned char record[HEADER + RECORD + TAG];
	struct sockaddr_alg address = {
	    .salg_family = AF_ALG, .salg_type = "aead", .salg_name = "gcm(aes)"};
	int fd, listener = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	double cpu = 0;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(listener, SOL_ALG, ALG_SET_KEY, key, KEY) ||
	    setsockopt(listener, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, NULL, TAG) ||
	    (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		die("this kernel gives no gcm(aes) through AF_ALG: %s", strerror(errno));
	for (unsigned long i = 0; i < records; i++) {
		double began;

		give(fd, record);
		began = cpu_own();
		if (read(fd, record, sizeof(record)) != sizeof(record))
			die("AF_ALG: %s", strerror(errno));
		cpu += cpu_own() - began;
	}
	close(fd);
	close(listener);
	return cpu;
}

int main(int argc, char **argv)
{
	bool kernel = argc > 1 && !strcmp(argv[1], "kernel");
	unsigned long megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 0,
		      records = megabytes * 64;
	double cpu;

	if (argc != 3 || !megabytes || (!kernel && strcmp(argv[1], "gnutls"))) {
		fputs("usage: cipher-cost kernel|gnutls MEBIBYTES\n", stderr);
		return 2;
	}
	cpu = kernel ? by_kernel(records) : by_gnutls(records);
	printf("{\"bytes\": %lu, \"cpu\": %.6f}\n", records * RECORD, cpu);
	return 0;
}
