// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pair of Ethernet devices, each the other's far end, that offload TLS 1.2 with AES-GCM: what a network
 * card with that feature does, in software, for tests on machines without one. Two network namespaces are
 * needed: within one, TCP goes over lo. Must never send a plain byte of an offloaded connection.
 *
 * Faults, in /sys/module/tlspair/parameters: refuse_transmit, refuse_receive (a connection is not taken),
 * drop_every, reorder_every (one in N segments; 0: none). The link goes down with "ip link set down".
 */
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/tls.h>

#include "flow.h"

static bool refuse_transmit, refuse_receive;
static unsigned int drop_every, reorder_every;
module_param(refuse_transmit, bool, 0644);
module_param(refuse_receive, bool, 0644);
module_param(drop_every, uint, 0644);
module_param(reorder_every, uint, 0644);
MODULE_PARM_DESC(refuse_transmit, "take no connection for transmit offload");
MODULE_PARM_DESC(refuse_receive, "take no connection for receive offload");
MODULE_PARM_DESC(drop_every, "lose one in so many segments with data");
MODULE_PARM_DESC(reorder_every, "send one in so many segments behind the next");

enum counter {
	TX_CONNECTIONS,
	TX_ENCRYPTED,
	RX_CONNECTIONS,
	RX_DECRYPTED,
	RX_PASSED,
	RX_BAD_RECORDS,
	RX_RESYNCS,
	DROPPED,
	REORDERED,
	COUNTERS,
};

static const char counter_names[COUNTERS][ETH_GSTRING_LEN] = {
    [TX_CONNECTIONS] = "tx_tls_connections", [TX_ENCRYPTED] = "tx_tls_encrypted_packets",
    [RX_CONNECTIONS] = "rx_tls_connections", [RX_DECRYPTED] = "rx_tls_decrypted_packets",
    [RX_PASSED] = "rx_tls_passed_packets",   [RX_BAD_RECORDS] = "rx_tls_bad_records",
    [RX_RESYNCS] = "rx_tls_resyncs",         [DROPPED] = "tx_dropped_on_purpose",
    [REORDERED] = "tx_reordered_on_purpose",
};

struct entry {
	struct list_head node;
	struct tlspair_flow *flow;
};

struct end {
	struct net_device *device;
	struct net_device *peer;
	spinlock_t lock;          /* entries, held */
	struct list_head entries; /* connections received with offload */
	struct sk_buff *held;     /* to be sent behind the next */
	atomic_t segments;
	atomic64_t counters[COUNTERS];
};

static struct net_device *ends[2];

static void count(struct end *end, enum counter counter)
{
	atomic64_inc(&end->counters[counter]);
}

/* ---- TLS offload --------------------------------------------------------------------------- */

static int receive_add(struct end *end, struct sock *sk, const struct tls_crypto_info *info,
		       u32 start)
{
	struct entry *entry = kzalloc(sizeof(*entry), GFP_KERNEL);

	if (!entry)
		return -ENOMEM;
	entry->flow = tlspair_flow_new(sk, info, start);
	if (IS_ERR(entry->flow)) {
		int error = PTR_ERR(entry->flow);

		kfree(entry);
		return error;
	}
	tls_offload_rx_resync_set_type(sk, TLS_OFFLOAD_SYNC_TYPE_CORE_NEXT_HINT);
	spin_lock_bh(&end->lock);
	list_add(&entry->node, &end->entries);
	spin_unlock_bh(&end->lock);
	count(end, RX_CONNECTIONS);
	return 0;
}

static int tlspair_tls_add(struct net_device *device, struct sock *sk,
			   enum tls_offload_ctx_dir direction, struct tls_crypto_info *info,
			   u32 start)
{
	struct end *end = netdev_priv(device);

	if (direction == TLS_OFFLOAD_CTX_DIR_RX)
		return refuse_receive ? -ENOSPC : receive_add(end, sk, info, start);
	if (refuse_transmit)
		return -ENOSPC;
	count(end, TX_CONNECTIONS);
	return 0;
}

static void tlspair_tls_del(struct net_device *device, struct tls_context *context,
			    enum tls_offload_ctx_dir direction)
{
	struct end *end = netdev_priv(device);
	struct entry *entry, *found = NULL;

	if (direction != TLS_OFFLOAD_CTX_DIR_RX)
		return;
	spin_lock_bh(&end->lock);
	list_for_each_entry(entry, &end->entries,
			    node) if (tlspair_flow_context(entry->flow) == context)
	{
		found = entry;
		list_del(&entry->node);
		break;
	}
	spin_unlock_bh(&end->lock);
	if (!found)
		return;
	tlspair_flow_free(found->flow);
	kfree(found);
}

static int tlspair_tls_resync(struct net_device *device, struct sock *sk, u32 sequence,
			      u8 *record_number, enum tls_offload_ctx_dir direction)
{
	struct end *end = netdev_priv(device);
	struct entry *entry;

	if (direction != TLS_OFFLOAD_CTX_DIR_RX)
		return 0; /* transmission never loses step: each segment finds its record */
	spin_lock_bh(&end->lock);
	list_for_each_entry(entry, &end->entries,
			    node) if (tlspair_flow_context(entry->flow) == tls_get_ctx(sk))
	{
		tlspair_flow_resync(entry->flow, sequence, record_number);
		count(end, RX_RESYNCS);
		break;
	}
	spin_unlock_bh(&end->lock);
	return 0;
}

static const struct tlsdev_ops tlspair_tls_operations = {
    .tls_dev_add = tlspair_tls_add,
    .tls_dev_del = tlspair_tls_del,
    .tls_dev_resync = tlspair_tls_resync,
};

/* ---- Segments ------------------------------------------------------------------------------ */

static struct sk_buff *segment_receive(struct end *end, struct sk_buff *skb)
{
	static const enum counter counters[] = {
	    [TLSPAIR_DECRYPTED] = RX_DECRYPTED,
	    [TLSPAIR_PASSED] = RX_PASSED,
	    [TLSPAIR_BAD_RECORD] = RX_BAD_RECORDS,
	};
	struct entry *entry;

	spin_lock(&end->lock);
	list_for_each_entry(entry, &end->entries, node) if (tlspair_flow_has(entry->flow, skb))
	{
		count(end, counters[tlspair_flow_receive(entry->flow, &skb)]);
		break;
	}
	spin_unlock(&end->lock);
	return skb;
}

static void segment_deliver(struct end *end, struct sk_buff *skb)
{
	struct end *far = netdev_priv(end->peer);
	unsigned int size = skb->len;

	skb = segment_receive(far, skb);
	if (dev_forward_skb(end->peer, skb) == NET_RX_SUCCESS) {
		dev_sw_netstats_tx_add(end->device, 1, size);
		dev_sw_netstats_rx_add(end->peer, size);
	} else {
		end->device->stats.tx_dropped++;
	}
}

/* NULL: nothing is to be sent. Segments are clones of what TCP keeps: their bytes are never altered in place. */
static struct sk_buff *segment_encrypt(struct end *end, struct sk_buff *skb)
{
	if (tls_is_skb_tx_device_offloaded(skb)) {
		struct sk_buff *encrypted = tls_encrypt_skb(skb);

		if (!encrypted)
			return NULL;
		if (encrypted != skb)
			count(end, TX_ENCRYPTED);
		skb = encrypted;
		skb_mark_not_on_list(skb);
		skb->prev = NULL;
	}
	/* Also of what the kernel has encrypted itself since a link was down: no mark goes over a wire, and the
	 * far end would take the cipher text for decrypted. */
	skb->decrypted = 0;
	return skb;
}

static bool one_in(unsigned int every, unsigned int number)
{
	return every && number % every == 0;
}

static netdev_tx_t tlspair_xmit(struct sk_buff *skb, struct net_device *device)
{
	struct end *end = netdev_priv(device);
	unsigned int drop = READ_ONCE(drop_every), reorder = READ_ONCE(reorder_every), number;
	struct sk_buff *held = NULL;
	bool hold = false;

	skb_tx_timestamp(skb);
	skb = segment_encrypt(end, skb);
	if (!skb) {
		device->stats.tx_dropped++;
		return NETDEV_TX_OK;
	}
	/* Small ones are acknowledgements: losing those shows nothing. */
	number = skb->len > 200 ? atomic_inc_return(&end->segments) : 1;
	if (skb->len > 200 && one_in(drop, number)) {
		count(end, DROPPED);
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	spin_lock(&end->lock);
	held = end->held;
	end->held = NULL;
	if (!held && skb->len > 200 && one_in(reorder, number)) {
		end->held = skb;
		hold = true;
	}
	spin_unlock(&end->lock);
	if (hold) {
		count(end, REORDERED);
		skb_orphan(skb);
		return NETDEV_TX_OK;
	}
	segment_deliver(end, skb);
	if (held)
		segment_deliver(end, held);
	return NETDEV_TX_OK;
}

/* ---- Devices ------------------------------------------------------------------------------- */

static int tlspair_open(struct net_device *device)
{
	struct end *end = netdev_priv(device);

	if (end->peer->flags & IFF_UP) {
		netif_carrier_on(device);
		netif_carrier_on(end->peer);
	}
	return 0;
}

static int tlspair_stop(struct net_device *device)
{
	struct end *end = netdev_priv(device);
	struct sk_buff *held;

	netif_carrier_off(device);
	netif_carrier_off(end->peer);
	spin_lock_bh(&end->lock);
	held = end->held;
	end->held = NULL;
	spin_unlock_bh(&end->lock);
	kfree_skb(held);
	return 0;
}

static const struct net_device_ops tlspair_operations = {
    .ndo_open = tlspair_open,
    .ndo_stop = tlspair_stop,
    .ndo_start_xmit = tlspair_xmit,
    .ndo_get_stats64 = dev_get_tstats64,
    .ndo_set_mac_address = eth_mac_addr,
    .ndo_validate_addr = eth_validate_addr,
};

static int tlspair_string_count(struct net_device *device, int set)
{
	return set == ETH_SS_STATS ? COUNTERS : -EOPNOTSUPP;
}

static void tlspair_strings(struct net_device *device, u32 set, u8 *data)
{
	if (set == ETH_SS_STATS)
		memcpy(data, counter_names, sizeof(counter_names));
}

static void tlspair_statistics(struct net_device *device, struct ethtool_stats *stats, u64 *data)
{
	struct end *end = netdev_priv(device);

	for (int i = 0; i < COUNTERS; i++)
		data[i] = atomic64_read(&end->counters[i]);
}

static const struct ethtool_ops tlspair_ethtool_operations = {
    .get_link = ethtool_op_get_link,
    .get_sset_count = tlspair_string_count,
    .get_strings = tlspair_strings,
    .get_ethtool_stats = tlspair_statistics,
};

static struct net_device *end_new(int number)
{
	const netdev_features_t features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM |
					   NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_HW_TLS_TX |
					   NETIF_F_HW_TLS_RX;
	struct net_device *device = alloc_etherdev(sizeof(struct end));
	struct end *end;

	if (!device)
		return NULL;
	end = netdev_priv(device);
	end->device = device;
	spin_lock_init(&end->lock);
	INIT_LIST_HEAD(&end->entries);
	snprintf(device->name, sizeof(device->name), "tlspair%d", number);
	eth_hw_addr_random(device);
	device->netdev_ops = &tlspair_operations;
	device->ethtool_ops = &tlspair_ethtool_operations;
	device->tlsdev_ops = &tlspair_tls_operations;
	device->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	device->lltx = true;
	device->features |= features;
	device->hw_features |= features;
	device->max_mtu = ETH_MAX_MTU;
	netif_carrier_off(device);
	return device;
}

static int __init tlspair_init(void)
{
	int error;

	for (int i = 0; i < 2; i++) {
		ends[i] = end_new(i);
		if (!ends[i]) {
			error = -ENOMEM;
			goto fail;
		}
	}
	for (int i = 0; i < 2; i++) {
		struct end *end = netdev_priv(ends[i]);

		end->peer = ends[1 - i];
	}
	error = register_netdev(ends[0]);
	if (error)
		goto fail;
	error = register_netdev(ends[1]);
	if (!error)
		return 0;
	unregister_netdev(ends[0]);
fail:
	for (int i = 0; i < 2; i++)
		if (ends[i])
			free_netdev(ends[i]);
	return error;
}

static void __exit tlspair_exit(void)
{
	rtnl_lock();
	/* Both are down before one goes: a segment may be on its way to the other. */
	for (int i = 0; i < 2; i++)
		dev_close(ends[i]);
	rtnl_unlock();
	for (int i = 0; i < 2; i++)
		unregister_netdev(ends[i]);
	for (int i = 0; i < 2; i++)
		free_netdev(ends[i]);
}

module_init(tlspair_init);
module_exit(tlspair_exit);

MODULE_DESCRIPTION("A pair of Ethernet devices with TLS offload, for tests");
MODULE_LICENSE("GPL");
