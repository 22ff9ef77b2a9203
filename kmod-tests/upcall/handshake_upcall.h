/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/handshake_upcall: asks the kernel's handshake service for a TLS handshake on a socket, as NFS and
 * NVMe/TCP do, and tells what came back. One open file is one request.
 *
 *   fd = open("/dev/handshake_upcall", O_RDWR);
 *   ioctl(fd, UPCALL_START, &start);     the kernel's own error, if it refuses at once (ESRCH: no agent)
 *   poll(fd, POLLIN), read(fd, &result)  one struct upcall_result; EAGAIN before, with O_NONBLOCK
 *   ioctl(fd, UPCALL_CANCEL)             1: cancelled, no result will come; 0: too late
 *   close(fd)                            cancels what is under way
 */
#ifndef HANDSHAKE_UPCALL_H
#define HANDSHAKE_UPCALL_H

#include <linux/ioctl.h>
#include <linux/types.h>

enum upcall_role {
	UPCALL_CLIENT = 1,
	UPCALL_SERVER = 2,
};

enum upcall_auth {
	UPCALL_UNAUTHENTICATED = 1, /* client only */
	UPCALL_PSK = 2,
	UPCALL_X509 = 3,
};

#define UPCALL_PEER_IDENTITIES 5
#define UPCALL_PEER_NAME_SIZE  256 /* bytes with the NUL; "": none */

struct upcall_start {
	__s32
	    socket; /* a connected TCP socket of the caller; the request holds a reference of its own */
	__u32 role;
	__u32 auth;
	__u32 timeout_ms; /* 0: none is told to the agent */
	__s32 keyring;    /* serial numbers; 0: none */
	__s32 certificate;
	__s32 private_key;
	__u32 peer_identity_count;
	__s32 peer_identities[UPCALL_PEER_IDENTITIES];
	char peer_name[UPCALL_PEER_NAME_SIZE];
};

struct upcall_result {
	__s32 status;        /* 0, or a negative errno, as the consumer gets it */
	__s32 peer_identity; /* a key's serial number, 0: none */
	__u32 calls;         /* how often the kernel has reported this request: 1, or it is a bug */
	__u32 reserved;
	__u64 microseconds; /* from start to report */
};

#define UPCALL_START  _IOW('H', 1, struct upcall_start)
#define UPCALL_CANCEL _IO('H', 2)

#endif
