// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receive offload of one connection. Touches copies of the segments alone: what it cannot decrypt it hands
 * on as it came. Must never mark a segment as decrypted of which one byte is not, or whose record's tag was
 * wrong.
 */
#include "flow.h"

#include <crypto/aead.h>
#include <crypto/skcipher.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/unaligned.h>
#include <net/inet_sock.h>

/* RFC 5246, 6.2; RFC 5288, 3. */
enum {
	RECORD_HEADER = 5,
	RECORD_NONCE = 8, /* the explicit part, behind the header */
	RECORD_HEAD = RECORD_HEADER + RECORD_NONCE,
	RECORD_TAG = 16,
	RECORD_PLAIN_MAX = 16384,
	RECORD_BODY_MAX = RECORD_PLAIN_MAX + RECORD_TAG,
	RECORD_AAD = 13,
	SALT = 4,
};

struct tlspair_flow {
	const struct tls_context *context;
	u16 family;
	struct in6_addr local, remote; /* IPv4: in the first word */
	__be16 local_port, remote_port;

	u8 salt[SALT];
	struct crypto_sync_skcipher *ctr;
	struct crypto_aead *gcm;
	struct aead_request *request;

	bool in_step; /* the next byte's place in its record is known */
	u32 sequence; /* TCP's, of the next byte; of a record's start while waiting for it */
	u64 record_number;
	u32 at;   /* bytes of the current record that have passed */
	u32 size; /* of the current record on the wire; known behind its header */
	u8 head[RECORD_HEAD];
	u8 aad[RECORD_AAD];
	u8 nonce[SALT + RECORD_NONCE];
	u8 body[RECORD_BODY_MAX]; /* cipher text and tag as they came, for the verification */
	u8 skipped[16];
};

/* ---- Making and finding -------------------------------------------------------------------- */

struct key_material {
	const u8 *key, *salt, *record_number;
	unsigned int key_size;
};

static int key_material_read(const struct tls_crypto_info *info, struct key_material *ret)
{
	const struct tls12_crypto_info_aes_gcm_128 *aes128 = (const void *)info;
	const struct tls12_crypto_info_aes_gcm_256 *aes256 = (const void *)info;

	if (info->version != TLS_1_2_VERSION)
		return -EOPNOTSUPP;
	switch (info->cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		*ret = (struct key_material){aes128->key, aes128->salt, aes128->rec_seq,
					     sizeof(aes128->key)};
		return 0;
	case TLS_CIPHER_AES_GCM_256:
		*ret = (struct key_material){aes256->key, aes256->salt, aes256->rec_seq,
					     sizeof(aes256->key)};
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int flow_set_key(struct tlspair_flow *flow, const struct key_material *material)
{
	int error;

	flow->ctr = crypto_alloc_sync_skcipher("ctr(aes)", 0, 0);
	if (IS_ERR(flow->ctr)) {
		error = PTR_ERR(flow->ctr);
		flow->ctr = NULL;
		return error;
	}
	flow->gcm = crypto_alloc_aead("gcm(aes)", 0, CRYPTO_ALG_ASYNC);
	if (IS_ERR(flow->gcm)) {
		error = PTR_ERR(flow->gcm);
		flow->gcm = NULL;
		return error;
	}
	flow->request = aead_request_alloc(flow->gcm, GFP_KERNEL);
	if (!flow->request)
		return -ENOMEM;
	error = crypto_sync_skcipher_setkey(flow->ctr, material->key, material->key_size);
	if (!error)
		error = crypto_aead_setkey(flow->gcm, material->key, material->key_size);
	if (!error)
		error = crypto_aead_setauthsize(flow->gcm, RECORD_TAG);
	return error;
}

static void flow_set_addresses(struct tlspair_flow *flow, const struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);

	flow->family = sk->sk_family;
	flow->local_port = inet->inet_sport;
	flow->remote_port = inet->inet_dport;
#if IS_ENABLED(CONFIG_IPV6)
	if (flow->family == AF_INET6 && !ipv6_addr_v4mapped(&sk->sk_v6_daddr)) {
		flow->local = sk->sk_v6_rcv_saddr;
		flow->remote = sk->sk_v6_daddr;
		return;
	}
#endif
	flow->family = AF_INET;
	flow->local.s6_addr32[0] = inet->inet_rcv_saddr;
	flow->remote.s6_addr32[0] = inet->inet_daddr;
}

struct tlspair_flow *tlspair_flow_new(const struct sock *sk, const struct tls_crypto_info *info,
				      u32 start)
{
	struct key_material material;
	struct tlspair_flow *flow;
	int error = key_material_read(info, &material);

	if (error)
		return ERR_PTR(error);
	flow = kvzalloc(sizeof(*flow), GFP_KERNEL);
	if (!flow)
		return ERR_PTR(-ENOMEM);
	flow->context = tls_get_ctx(sk);
	flow_set_addresses(flow, sk);
	memcpy(flow->salt, material.salt, SALT);
	flow->record_number = get_unaligned_be64(material.record_number);
	flow->sequence = start;
	error = flow_set_key(flow, &material);
	if (!error)
		return flow;
	tlspair_flow_free(flow);
	return ERR_PTR(error);
}

void tlspair_flow_free(struct tlspair_flow *flow)
{
	if (flow->request)
		aead_request_free(flow->request);
	if (flow->gcm)
		crypto_free_aead(flow->gcm);
	if (flow->ctr)
		crypto_free_sync_skcipher(flow->ctr);
	memzero_explicit(flow, sizeof(*flow));
	kvfree(flow);
}

const struct tls_context *tlspair_flow_context(const struct tlspair_flow *flow)
{
	return flow->context;
}

/* A TCP segment as far as it concerns a flow. */
struct segment {
	struct in6_addr source, destination;
	u16 family;
	const struct tcphdr *tcp;
	unsigned int payload; /* offset from skb->data */
};

/* Only headers that are linear; the kernel's own segments are. */
static bool segment_read(const struct sk_buff *skb, struct segment *ret)
{
	unsigned int ip_at = ETH_HLEN, tcp_at;

	memset(ret, 0, sizeof(*ret));
	if (skb->protocol == htons(ETH_P_IP)) {
		const struct iphdr *ip = (const void *)(skb->data + ip_at);

		if (skb_headlen(skb) < ip_at + sizeof(*ip) || ip->protocol != IPPROTO_TCP)
			return false;
		ret->family = AF_INET;
		ret->source.s6_addr32[0] = ip->saddr;
		ret->destination.s6_addr32[0] = ip->daddr;
		tcp_at = ip_at + ip->ihl * 4;
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = (const void *)(skb->data + ip_at);

		if (skb_headlen(skb) < ip_at + sizeof(*ip) || ip->nexthdr != IPPROTO_TCP)
			return false;
		ret->family = AF_INET6;
		ret->source = ip->saddr;
		ret->destination = ip->daddr;
		tcp_at = ip_at + sizeof(*ip);
	} else {
		return false;
	}
	if (skb_headlen(skb) < tcp_at + sizeof(struct tcphdr))
		return false;
	ret->tcp = (const void *)(skb->data + tcp_at);
	ret->payload = tcp_at + ret->tcp->doff * 4;
	return ret->payload <= skb->len;
}

bool tlspair_flow_has(const struct tlspair_flow *flow, const struct sk_buff *skb)
{
	struct segment segment;

	return segment_read(skb, &segment) && segment.family == flow->family &&
	       segment.tcp->source == flow->remote_port && segment.tcp->dest == flow->local_port &&
	       ipv6_addr_equal(&segment.source, &flow->remote) &&
	       ipv6_addr_equal(&segment.destination, &flow->local);
}

/* ---- Records ------------------------------------------------------------------------------- */

void tlspair_flow_resync(struct tlspair_flow *flow, u32 sequence, const u8 *record_number)
{
	flow->sequence = sequence;
	flow->record_number = get_unaligned_be64(record_number);
	flow->at = 0;
	flow->in_step = false;
}

/* The header is complete: how long the record is, and what its cipher text is bound to. */
static bool record_begin(struct tlspair_flow *flow)
{
	unsigned int body = get_unaligned_be16(flow->head + 3);

	if (body < RECORD_NONCE + RECORD_TAG || body - RECORD_NONCE > RECORD_BODY_MAX)
		return false;
	flow->size = RECORD_HEADER + body;
	memcpy(flow->nonce, flow->salt, SALT);
	memcpy(flow->nonce + SALT, flow->head + RECORD_HEADER, RECORD_NONCE);
	put_unaligned_be64(flow->record_number, flow->aad);
	memcpy(flow->aad + 8, flow->head, 3);
	put_unaligned_be16(body - RECORD_NONCE - RECORD_TAG, flow->aad + 11);
	return true;
}

/* GCM's cipher text is that of counter mode, whose first block of data has the counter 2. */
static int record_decrypt(struct tlspair_flow *flow, u32 offset, u8 *data, unsigned int size)
{
	SYNC_SKCIPHER_REQUEST_ON_STACK(request, flow->ctr);
	unsigned int before = offset % 16;
	struct scatterlist pieces[2];
	u8 counter[16];
	int error;

	memcpy(counter, flow->nonce, sizeof(flow->nonce));
	put_unaligned_be32(2 + offset / 16, counter + 12);
	sg_init_table(pieces, 2);
	sg_set_buf(&pieces[0], flow->skipped, before ? before : 1);
	sg_set_buf(&pieces[1], data, size);
	skcipher_request_set_sync_tfm(request, flow->ctr);
	skcipher_request_set_callback(request, 0, NULL, NULL);
	skcipher_request_set_crypt(request, before ? pieces : &pieces[1],
				   before ? pieces : &pieces[1], before + size, counter);
	error = crypto_skcipher_decrypt(request);
	skcipher_request_zero(request);
	return error;
}

static bool record_verify(struct tlspair_flow *flow)
{
	unsigned int size = flow->size - RECORD_HEAD;
	struct scatterlist pieces[2];

	sg_init_table(pieces, 2);
	sg_set_buf(&pieces[0], flow->aad, RECORD_AAD);
	sg_set_buf(&pieces[1], flow->body, size);
	aead_request_set_callback(flow->request, 0, NULL, NULL);
	aead_request_set_ad(flow->request, RECORD_AAD);
	aead_request_set_crypt(flow->request, pieces, pieces, size, flow->nonce);
	return crypto_aead_decrypt(flow->request) == 0;
}

/* Takes some bytes of the current record. How many, or -EBADMSG. */
static int record_take(struct tlspair_flow *flow, u8 *data, unsigned int size)
{
	unsigned int part, plain_end;

	if (flow->at < RECORD_HEAD) {
		part = min_t(unsigned int, size, RECORD_HEAD - flow->at);
		memcpy(flow->head + flow->at, data, part);
		flow->at += part;
		return flow->at < RECORD_HEAD || record_begin(flow) ? part : -EBADMSG;
	}
	part = min_t(unsigned int, size, flow->size - flow->at);
	memcpy(flow->body + flow->at - RECORD_HEAD, data, part);
	plain_end = flow->size - RECORD_TAG;
	if (flow->at < plain_end &&
	    record_decrypt(flow, flow->at - RECORD_HEAD, data, min(part, plain_end - flow->at)))
		return -EBADMSG;
	flow->at += part;
	if (flow->at < flow->size)
		return part;
	if (!record_verify(flow))
		return -EBADMSG;
	flow->at = 0;
	flow->record_number++;
	return part;
}

/* ---- Segments ------------------------------------------------------------------------------ */

/* Where in the payload the flow can begin: at once when in step, at the record's start when waiting for
 * it. -1: nowhere. */
static int flow_find_start(const struct tlspair_flow *flow, u32 sequence, unsigned int size)
{
	u32 ahead = flow->sequence - sequence;

	if (flow->in_step)
		return ahead == 0 ? 0 : -1;
	return ahead < size ? (int)ahead : -1;
}

static int flow_take(struct tlspair_flow *flow, u8 *data, unsigned int size)
{
	while (size > 0) {
		int taken = record_take(flow, data, size);

		if (taken < 0)
			return taken;
		data += taken;
		size -= taken;
		flow->sequence += taken;
	}
	return 0;
}

enum tlspair_result tlspair_flow_receive(struct tlspair_flow *flow, struct sk_buff **skb)
{
	struct segment segment;
	struct sk_buff *copy;
	unsigned int size;
	u32 sequence;
	int start;

	if (!segment_read(*skb, &segment))
		return TLSPAIR_PASSED;
	size = (*skb)->len - segment.payload;
	if (size == 0)
		return TLSPAIR_PASSED;
	sequence = ntohl(segment.tcp->seq);
	start = flow_find_start(flow, sequence, size);
	if (start < 0) {
		/* Behind a gap nothing is known any more until the kernel says where it stands; what
		 * comes again was seen. */
		if (flow->in_step && (s32)(sequence - flow->sequence) > 0)
			flow->in_step = false;
		return TLSPAIR_PASSED;
	}
	copy = skb_copy(*skb, GFP_ATOMIC);
	if (!copy) {
		flow->in_step = false;
		return TLSPAIR_PASSED;
	}
	flow->in_step = true;
	if (flow_take(flow, copy->data + segment.payload + start, size - start) < 0) {
		flow->in_step = false;
		kfree_skb(copy);
		return TLSPAIR_BAD_RECORD;
	}
	if (start > 0) { /* its first bytes stay as they came, so it cannot be called decrypted */
		kfree_skb(copy);
		return TLSPAIR_PASSED;
	}
	copy->decrypted = 1;
	if (copy->ip_summed != CHECKSUM_PARTIAL)
		copy->ip_summed = CHECKSUM_UNNECESSARY;
	consume_skb(*skb);
	*skb = copy;
	return TLSPAIR_DECRYPTED;
}
