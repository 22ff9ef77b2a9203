// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [kernel]: which profile serves which of the kernel's own consumers. Opens nothing.
#include "config-reader.h"

#include <stdlib.h>
#include <string.h>

enum { REQUESTS_MOST = 65536, REQUESTS_DEFAULT = 1024 };

static const struct {
	const char *key;
	unsigned role;
	bool psk; /* authenticates by the keys of its requests, and in no other way */
} consumers[CONFIG_CONSUMERS] = {
    [CONFIG_CONSUMER_NFS] = {"nfs", CONFIG_ROLE_CLIENT, false},
    [CONFIG_CONSUMER_NFSD] = {"nfsd", CONFIG_ROLE_SERVER, false},
    [CONFIG_CONSUMER_NVME] = {"nvme", CONFIG_ROLE_CLIENT, true},
    [CONFIG_CONSUMER_NVMET] = {"nvmet", CONFIG_ROLE_SERVER, true},
};

const char *config_consumer_word(enum config_consumer consumer)
{
	return consumers[consumer].key;
}

static int consumer_read(struct config_reader *reader, const char *value,
			 enum config_consumer consumer)
{
	struct config_kernel *kernel = &reader->config->kernel;

	if (!*value)
		return config_problem(reader, "%s has no value; name a profile", reader->word);
	kernel->lines[consumer] = reader->line;
	kernel->profiles[consumer] = strdup(value);
	return kernel->profiles[consumer] ? 0 : config_problem(reader, "out of memory");
}

static int read_nfs(struct config_reader *reader, const char *value)
{
	return consumer_read(reader, value, CONFIG_CONSUMER_NFS);
}

static int read_nfsd(struct config_reader *reader, const char *value)
{
	return consumer_read(reader, value, CONFIG_CONSUMER_NFSD);
}

static int read_nvme(struct config_reader *reader, const char *value)
{
	return consumer_read(reader, value, CONFIG_CONSUMER_NVME);
}

static int read_nvmet(struct config_reader *reader, const char *value)
{
	return consumer_read(reader, value, CONFIG_CONSUMER_NVMET);
}

static int read_requests_total(struct config_reader *reader, const char *value)
{
	return config_value_number(reader, value, 1, REQUESTS_MOST,
				   &reader->config->kernel.requests_total);
}

const struct config_key config_kernel_keys[] = {
    {.name = "nfs", .read = read_nfs},
    {.name = "nfsd", .read = read_nfsd},
    {.name = "nvme", .read = read_nvme},
    {.name = "nvmet", .read = read_nvmet},
    {.name = "requests-total", .read = read_requests_total},
    {},
};

void config_kernel_defaults(struct config *config)
{
	config->kernel.requests_total = REQUESTS_DEFAULT;
}

static int consumer_check(struct config_reader *reader, enum config_consumer consumer)
{
	const struct config_kernel *kernel = &reader->config->kernel;
	const char *key = consumers[consumer].key, *name = kernel->profiles[consumer];
	const struct config_profile *profile = config_find_profile(reader->config, name);
	unsigned line = kernel->lines[consumer];

	if (!profile)
		return config_problem_at(reader, line,
					 "%s = \"%s\": there is no such profile; add"
					 " [profile %s], or name another",
					 key, name, name);
	if (!(profile->roles & consumers[consumer].role))
		return config_problem_at(
		    reader, line,
		    "%s = \"%s\": the profile's role does not allow a %s, which"
		    " this consumer is",
		    key, name,
		    consumers[consumer].role == CONFIG_ROLE_SERVER ? "server" : "client");
	if (profile->psk.kernel != consumers[consumer].psk)
		return config_problem_at(
		    reader, line,
		    profile->psk.kernel ? "%s = \"%s\": the profile says kernel-psk = yes, which "
					  "is for NVMe/TCP alone"
					: "%s = \"%s\": the profile does not say kernel-psk = yes; "
					  "NVMe/TCP knows no"
					  " other authentication than the keys of its requests",
		    key, name);
	if (profile->records == CONFIG_RECORDS_RELAY)
		return config_problem_at(reader, line,
					 "%s = \"%s\": the profile says records = relay, but the"
					 " kernel's consumers need the kernel's records",
					 key, name);
	return 0;
}

int config_kernel_finish(struct config_reader *reader)
{
	struct config_kernel *kernel = &reader->config->kernel;
	bool any = kernel->keyring_count > 0;

	if (!kernel->line)
		return 0;
	for (int consumer = 0; consumer < CONFIG_CONSUMERS; consumer++) {
		if (!kernel->profiles[consumer])
			continue;
		any = true;
		if (consumer_check(reader, (enum config_consumer)consumer) < 0)
			return -1;
	}
	if (!any)
		return config_problem_at(reader, kernel->line,
					 "[kernel] names no profile for any consumer; add \"nfs\","
					 " \"nfsd\", \"nvme\", \"nvmet\", or remove the section");
	return config_keyring_finish(reader);
}

void config_kernel_done(struct config *config)
{
	for (int consumer = 0; consumer < CONFIG_CONSUMERS; consumer++)
		free(config->kernel.profiles[consumer]);
	config_keyring_done(config);
	config_namespaces_done(config);
}
