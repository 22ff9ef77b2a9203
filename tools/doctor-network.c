// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the network devices offer (ethtool's features) and whether the kernel has the handshake
 * upcall (generic netlink). Touches sockets of its own. Never changes a setting.
 */
#include "doctor.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cleanup.h"

enum { FEATURES_MAX = 1024 }; /* Linux has 64 */

struct feature {
	const char *name;
	bool available, active;
};

static int ethtool(int fd, const char *interface, void *command)
{
	struct ifreq request = {.ifr_data = command};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request);
}

/* The number of features that the kernel knows, 0 if it does not tell. */
static unsigned int features_count(int fd, const char *interface)
{
	struct ethtool_sset_info *info = calloc(1, sizeof(*info) + sizeof(__u32));
	unsigned int count = 0;

	if (!info)
		return 0;
	info->cmd = ETHTOOL_GSSET_INFO;
	info->sset_mask = 1ULL << ETH_SS_FEATURES;
	if (ethtool(fd, interface, info) == 0 && info->sset_mask)
		count = info->data[0] < FEATURES_MAX ? info->data[0] : FEATURES_MAX;
	free(info);
	return count;
}

static void feature_take(struct feature *feature, const struct ethtool_gstrings *names,
			 const struct ethtool_gfeatures *bits)
{
	for (unsigned int i = 0; i < names->len; i++) {
		const struct ethtool_get_features_block *block = &bits->features[i / 32];

		if (strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, feature->name,
			    ETH_GSTRING_LEN) != 0)
			continue;
		feature->available = block->available >> i % 32 & 1;
		feature->active = block->active >> i % 32 & 1;
	}
}

/* Fills in what the interface says of the named features. 0 or -1 with errno. */
static int features_read(int fd, const char *interface, struct feature *features, size_t count)
{
	unsigned int length = features_count(fd, interface), blocks = (length + 31) / 32;
	struct ethtool_gstrings *names =
	    calloc(1, sizeof(*names) + (size_t)length * ETH_GSTRING_LEN);
	struct ethtool_gfeatures *bits =
	    calloc(1, sizeof(*bits) + (size_t)blocks * sizeof(bits->features[0]));
	int r = -1;

	if (names && bits && length) {
		names->cmd = ETHTOOL_GSTRINGS;
		names->string_set = ETH_SS_FEATURES;
		names->len = length;
		bits->cmd = ETHTOOL_GFEATURES;
		bits->size = blocks;
		if (ethtool(fd, interface, names) == 0 && ethtool(fd, interface, bits) == 0)
			r = 0;
		names->len = names->len < length ? names->len : length;
		for (size_t i = 0; r == 0 && i < count; i++)
			feature_take(&features[i], names, bits);
	}
	free(names);
	free(bits);
	return r;
}

static const char *feature_word(const struct feature *feature)
{
	if (feature->active)
		return "on";
	return feature->available ? "off" : "not offered";
}

static void examine_interface(struct findings *findings, int fd, const char *interface)
{
	struct feature features[] = {{.name = "tls-hw-tx-offload"}, {.name = "tls-hw-rx-offload"}};
	struct finding *finding = findings_add(findings, FINDING_OK, "");
	bool offers;

	snprintf(finding->what, sizeof(finding->what), "NIC offload on %s", interface);
	if (features_read(fd, interface, features, 2) < 0) {
		finding->state = FINDING_WARNING;
		finding_detail(finding, "the device does not tell: %s", strerror(errno));
		return;
	}
	offers = features[0].available || features[1].available;
	finding_detail(finding, "sending %s, receiving %s%s", feature_word(&features[0]),
		       feature_word(&features[1]),
		       features[0].active || features[1].active
			   ? "; it takes TLS 1.2 with AES-GCM, which \"max-version = TLS1.2\" in a "
			     "profile leads to"
			   : "");
	if (!offers && !features[0].active && !features[1].active) {
		finding->state = FINDING_MISSING;
		finding_remedy(finding, "nothing to do: records are made in software");
	} else if ((features[0].available && !features[0].active) ||
		   (features[1].available && !features[1].active)) {
		finding->state = FINDING_WARNING;
		finding_remedy(finding,
			       "\"ethtool -K %s tls-hw-tx-offload on tls-hw-rx-offload on\"; "
			       "devices take TLS 1.2 with AES-GCM only",
			       interface);
	}
}

static void examine_interfaces(struct findings *findings)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *interfaces = if_nameindex();

	for (struct if_nameindex *i = interfaces; i && i->if_index; i++)
		if (strcmp(i->if_name, "lo") != 0)
			examine_interface(findings, fd, i->if_name);
	if (interfaces)
		if_freenameindex(interfaces);
}

/* Asks for a family by name. 0: it is there. -errno; -ENOENT: it is not. */
static int family_ask(const char *name)
{
	struct timeval timeout = {.tv_sec = 2};
	struct {
		struct nlmsghdr header;
		struct genlmsghdr generic;
		struct nlattr attribute;
		char name[GENL_NAMSIZ];
	} question = {
	    .header = {.nlmsg_len = sizeof(question),
		       .nlmsg_type = GENL_ID_CTRL,
		       .nlmsg_flags = NLM_F_REQUEST},
	    .generic = {.cmd = CTRL_CMD_GETFAMILY, .version = 1},
	    .attribute = {.nla_len = sizeof(question.attribute) + sizeof(question.name),
			  .nla_type = CTRL_ATTR_FAMILY_NAME},
	};
	union {
		struct nlmsghdr header;
		char space[8192];
	} answer;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	ssize_t length;

	snprintf(question.name, sizeof(question.name), "%s", name);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    send(fd, &question, sizeof(question), 0) < 0)
		return -errno;
	length = recv(fd, &answer, sizeof(answer), 0);
	if (length < 0)
		return -errno;
	if (!NLMSG_OK(&answer.header, (size_t)length))
		return -EPROTO;
	if (answer.header.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = NLMSG_DATA(&answer.header);

		return error->error;
	}
	return 0;
}

static void examine_upcall(struct findings *findings)
{
	int r = family_ask("handshake");
	struct finding *finding =
	    findings_add(findings, r < 0 ? FINDING_MISSING : FINDING_OK, "handshake upcall");

	if (r == 0) {
		finding_detail(finding, "the kernel can ask for handshakes (NFS, NVMe/TCP)");
	} else if (r == -ENOENT) {
		finding_detail(finding, "this kernel does not ask for handshakes");
		finding_remedy(finding,
			       "only NFS and NVMe/TCP over TLS need it; kernels from 6.4 on "
			       "with CONFIG_NET_HANDSHAKE have it");
	} else {
		finding_detail(finding, "generic netlink does not tell: %s", strerror(-r));
	}
}

void doctor_network(struct findings *findings)
{
	examine_interfaces(findings);
	examine_upcall(findings);
}
