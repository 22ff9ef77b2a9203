// SPDX-License-Identifier: LGPL-2.1-or-later
// handshaked --check: what [kernel] needs. Enters the namespaces that a start would, and comes back; changes
// nothing.
#include "check-report.h"

#include <dirent.h>
#include <errno.h>

#include "keyring.h"
#include "network.h"
#include "upcall.h"

static void check_keyrings(struct report *report, const struct config_kernel *kernel)
{
	struct problem problem = {};
	int32_t serial;

	for (size_t i = 0; i < kernel->keyring_count; i++)
		tell(report, OK, "[kernel] keyring %s: [profile %s]", kernel->keyrings[i].name,
		     kernel->keyrings[i].profile);
	for (size_t i = 0; i < kernel->link_count; i++)
		if (keyring_find("link-keyring", kernel->links[i], &serial, &problem) < 0)
			tell(report, ERROR, "[kernel] %s", problem.text);
		else
			tell(report, OK, "[kernel] link-keyring %s", kernel->links[i]);
}

// An export with "mtls" needs to know its clients.
static void check_server(struct report *report, const struct config *config)
{
	const char *name = config->kernel.profiles[CONFIG_CONSUMER_NFSD];
	const struct config_profile *profile = name ? config_find_profile(config, name) : NULL;

	if (profile && profile->client_certificates == CONFIG_CLIENT_NONE)
		tell(report, WARNING,
		     "[kernel] nfsd: [profile %s] asks no client for a certificate, so exports with"
		     " xprtsec=mtls refuse everybody; name the clients' authorities (trust,"
		     " client-certificates; of tlshd x509.truststore) if there are such",
		     name);
}

static void check_namespace(struct report *report, const char *name)
{
	struct network_identity identity;
	struct problem problem = {};
	struct upcall *upcall;
	char path[PATH_MAX];

	network_path(name, path);
	if (network_identify(path, &identity) == -ENOENT) {
		tell(report, WARNING,
		     "[kernel] namespace %s: there is no \"%s\"; it is served when it comes", name,
		     path);
		return;
	}
	if (network_join(path, &identity, &upcall, &problem) < 0) {
		tell(report, ERROR, "[kernel] namespace %s: %s", name, problem.text);
		return;
	}
	upcall_free(upcall);
	tell(report, OK, "[kernel] namespace %s: can be entered", name);
}

static void check_namespaces(struct report *report, const struct config_kernel *kernel)
{
	struct network_identity identity;
	struct dirent *entry;
	char path[PATH_MAX];
	DIR *directory;

	for (size_t i = 0; i < kernel->namespace_count; i++)
		check_namespace(report, kernel->namespaces[i]);
	directory = kernel->namespaces_all ? opendir(NETWORK_DIRECTORY) : NULL;
	while (directory && (entry = readdir(directory))) {
		network_path(entry->d_name, path);
		if (entry->d_name[0] != '.' && network_identify(path, &identity) == 0)
			check_namespace(report, entry->d_name);
	}
	if (directory)
		closedir(directory);
}

void check_consumers(struct report *report, const struct config *config)
{
	struct problem problem = {};
	struct upcall *upcall;

	if (!config->kernel.line)
		return;
	check_server(report, config);
	check_keyrings(report, &config->kernel);
	if (upcall_new(&upcall, &problem) < 0) {
		tell(report, ERROR, "[kernel] %s", problem.text);
		return;
	}
	upcall_free(upcall);
	for (int consumer = 0; consumer < CONFIG_CONSUMERS; consumer++)
		if (config->kernel.profiles[consumer])
			tell(report, OK, "[kernel] %s: [profile %s]",
			     config_consumer_word((enum config_consumer)consumer),
			     config->kernel.profiles[consumer]);
	check_namespaces(report, &config->kernel);
}
