// SPDX-License-Identifier: GPL-2.0-only
/*
 * A consumer of the kernel's handshake service (net/handshake) for tests: user space gives it a socket and
 * says what to ask for. Touches only sockets that its callers own. Must never report a request twice, nor
 * hold a socket longer than its file is open.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/key.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/wait.h>

#include <net/handshake.h>
#include <net/sock.h>

#include "handshake_upcall.h"

/* Held by the open file and, while the service has it, by the request: the report may come after the
 * file's end. */
struct upcall {
	struct kref references;
	struct mutex lock;     /* one call of ioctl at a time */
	struct socket *socket; /* NULL: nothing was started */
	char peer_name[UPCALL_PEER_NAME_SIZE];
	ktime_t started;
	wait_queue_head_t reported;
	spinlock_t result_lock;
	struct upcall_result result; /* calls > 0: there is one */
};

static void upcall_free(struct kref *references)
{
	struct upcall *upcall = container_of(references, struct upcall, references);

	if (upcall->socket)
		sockfd_put(upcall->socket);
	kfree(upcall);
}

static void upcall_put(struct upcall *upcall)
{
	kref_put(&upcall->references, upcall_free);
}

/* The service's reference, while it has the request. It calls this code, so the module must stay, too. */
static void upcall_lend(struct upcall *upcall)
{
	__module_get(THIS_MODULE);
	kref_get(&upcall->references);
}

static void upcall_take_back(struct upcall *upcall)
{
	upcall_put(upcall);
	module_put(THIS_MODULE);
}

static void upcall_done(void *data, int status, key_serial_t peer_identity)
{
	struct upcall *upcall = data;
	unsigned int calls;

	spin_lock_bh(&upcall->result_lock);
	calls = ++upcall->result.calls;
	if (calls == 1) {
		upcall->result.status = status;
		upcall->result.peer_identity = peer_identity;
		upcall->result.microseconds = ktime_us_delta(ktime_get(), upcall->started);
	}
	spin_unlock_bh(&upcall->result_lock);
	wake_up_all(&upcall->reported);
	if (!WARN_ONCE(calls > 1, "handshake_upcall: a request was reported %u times\n", calls))
		upcall_take_back(upcall);
}

static int upcall_ask(const struct upcall_start *start, const struct tls_handshake_args *args)
{
	bool server = start->role == UPCALL_SERVER;

	switch (start->auth) {
	case UPCALL_UNAUTHENTICATED:
		return server ? -EINVAL : tls_client_hello_anon(args, GFP_KERNEL);
	case UPCALL_PSK:
		return server ? tls_server_hello_psk(args, GFP_KERNEL)
			      : tls_client_hello_psk(args, GFP_KERNEL);
	case UPCALL_X509:
		return server ? tls_server_hello_x509(args, GFP_KERNEL)
			      : tls_client_hello_x509(args, GFP_KERNEL);
	default:
		return -EINVAL;
	}
}

/* The service wants a TCP socket that has a file: that is where the agent's descriptor comes from. */
static struct socket *upcall_socket(int fd)
{
	int error;
	struct socket *socket = sockfd_lookup(fd, &error);

	if (!socket)
		return ERR_PTR(error);
	if (!sk_is_tcp(socket->sk)) {
		sockfd_put(socket);
		return ERR_PTR(-EPROTOTYPE);
	}
	return socket;
}

static int upcall_begin(struct upcall *upcall, const struct upcall_start *start)
{
	struct tls_handshake_args args = {
	    .ta_done = upcall_done,
	    .ta_data = upcall,
	    .ta_timeout_ms = start->timeout_ms,
	    .ta_keyring = start->keyring,
	    .ta_my_cert = start->certificate,
	    .ta_my_privkey = start->private_key,
	    .ta_num_peerids = start->peer_identity_count,
	};
	struct socket *socket;
	int error;

	if (upcall->socket)
		return -EBUSY;
	if ((start->role != UPCALL_CLIENT && start->role != UPCALL_SERVER) ||
	    start->peer_identity_count > UPCALL_PEER_IDENTITIES ||
	    strnlen(start->peer_name, UPCALL_PEER_NAME_SIZE) == UPCALL_PEER_NAME_SIZE)
		return -EINVAL;
	socket = upcall_socket(start->socket);
	if (IS_ERR(socket))
		return PTR_ERR(socket);
	memcpy(upcall->peer_name, start->peer_name, sizeof(upcall->peer_name));
	memcpy(args.ta_my_peerids, start->peer_identities, sizeof(args.ta_my_peerids));
	args.ta_sock = socket;
	args.ta_peername = upcall->peer_name[0] ? upcall->peer_name : NULL;
	upcall->socket = socket;
	upcall->started = ktime_get();
	upcall_lend(upcall);
	error = upcall_ask(start, &args);
	if (!error)
		return 0;
	/* Refused at once: no report will come. */
	upcall->socket = NULL;
	sockfd_put(socket);
	upcall_take_back(upcall);
	return error;
}

/* 1: no report will come any more, 0: it has come or is coming. */
static int upcall_cancel(struct upcall *upcall)
{
	if (!upcall->socket || !tls_handshake_cancel(upcall->socket->sk))
		return 0;
	upcall_take_back(upcall);
	return 1;
}

static long upcall_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct upcall *upcall = file->private_data;
	struct upcall_start *start;
	long result;

	if (command != UPCALL_START && command != UPCALL_CANCEL)
		return -ENOTTY;
	if (command == UPCALL_CANCEL) {
		mutex_lock(&upcall->lock);
		result = upcall_cancel(upcall);
		mutex_unlock(&upcall->lock);
		return result;
	}
	start = memdup_user((void __user *)argument, sizeof(*start));
	if (IS_ERR(start))
		return PTR_ERR(start);
	mutex_lock(&upcall->lock);
	result = upcall_begin(upcall, start);
	mutex_unlock(&upcall->lock);
	kfree(start);
	return result;
}

static bool upcall_has_result(struct upcall *upcall)
{
	bool has;

	spin_lock_bh(&upcall->result_lock);
	has = upcall->result.calls > 0;
	spin_unlock_bh(&upcall->result_lock);
	return has;
}

static ssize_t upcall_read(struct file *file, char __user *buffer, size_t size, loff_t *offset)
{
	struct upcall *upcall = file->private_data;
	struct upcall_result result;

	if (size < sizeof(result))
		return -EINVAL;
	if (!upcall_has_result(upcall)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(upcall->reported, upcall_has_result(upcall)))
			return -ERESTARTSYS;
	}
	spin_lock_bh(&upcall->result_lock);
	result = upcall->result;
	spin_unlock_bh(&upcall->result_lock);
	return copy_to_user(buffer, &result, sizeof(result)) ? -EFAULT : sizeof(result);
}

static __poll_t upcall_poll(struct file *file, poll_table *table)
{
	struct upcall *upcall = file->private_data;

	poll_wait(file, &upcall->reported, table);
	return upcall_has_result(upcall) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int upcall_open(struct inode *inode, struct file *file)
{
	struct upcall *upcall = kzalloc(sizeof(*upcall), GFP_KERNEL);

	if (!upcall)
		return -ENOMEM;
	kref_init(&upcall->references);
	mutex_init(&upcall->lock);
	init_waitqueue_head(&upcall->reported);
	spin_lock_init(&upcall->result_lock);
	file->private_data = upcall;
	return nonseekable_open(inode, file);
}

static int upcall_release(struct inode *inode, struct file *file)
{
	struct upcall *upcall = file->private_data;

	upcall_cancel(upcall);
	upcall_put(upcall);
	return 0;
}

static const struct file_operations upcall_operations = {
    .owner = THIS_MODULE,
    .open = upcall_open,
    .release = upcall_release,
    .read = upcall_read,
    .poll = upcall_poll,
    .unlocked_ioctl = upcall_ioctl,
};

static struct miscdevice upcall_device = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "handshake_upcall",
    .fops = &upcall_operations,
    .mode = 0600,
};

module_misc_device(upcall_device);

MODULE_DESCRIPTION("Asks for TLS handshakes as a kernel consumer does, for tests");
MODULE_LICENSE("GPL");
