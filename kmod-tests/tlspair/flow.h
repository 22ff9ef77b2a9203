/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One TLS 1.2 connection in its receiving direction, as a network card that offloads it follows it: which
 * record every byte of the TCP stream belongs to, decryption in place, verification of the tag.
 */
#ifndef TLSPAIR_FLOW_H
#define TLSPAIR_FLOW_H

#include <linux/skbuff.h>
#include <net/tls.h>

struct tlspair_flow;

/* A new flow for the receiving direction of sk, whose first record begins at TCP sequence number start.
 * ERR_PTR: -EOPNOTSUPP (not TLS 1.2 with AES-GCM), -ENOMEM. May sleep. */
struct tlspair_flow *tlspair_flow_new(const struct sock *sk, const struct tls_crypto_info *info,
				      u32 start);
void tlspair_flow_free(struct tlspair_flow *flow);

/* What the flow belongs to, for finding it again. */
const struct tls_context *tlspair_flow_context(const struct tlspair_flow *flow);
/* Whether the segment (IP header at skb->data + ETH_HLEN) is one of this flow's. */
bool tlspair_flow_has(const struct tlspair_flow *flow, const struct sk_buff *skb);

/* Where the next record begins, and its number, as the kernel says after synchronisation was lost. */
void tlspair_flow_resync(struct tlspair_flow *flow, u32 sequence, const u8 *record_number);

enum tlspair_result {
	TLSPAIR_DECRYPTED,  /* the skb returned is a decrypted copy, marked so */
	TLSPAIR_PASSED,     /* left alone: out of order, not in step, or no memory */
	TLSPAIR_BAD_RECORD, /* left alone: a tag was wrong */
};
/* Takes a segment of the flow. *skb may be replaced; the caller serialises the calls for a flow. */
enum tlspair_result tlspair_flow_receive(struct tlspair_flow *flow, struct sk_buff **skb);

#endif
