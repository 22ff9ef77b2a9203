// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of [kernel] that say in which network namespaces its consumers are served. Opens nothing: a namespace
// may come later.
#include "config-reader.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NAMESPACES_MOST = 256 };

static int namespace_check(struct config_reader *reader, const char *value)
{
	const struct config_kernel *kernel = &reader->config->kernel;

	if (!*value)
		return config_problem(reader, "namespace has no value; name one of \"ip netns\"");
	if (value[0] == '/' && strlen(value) >= PATH_MAX)
		return config_problem(reader, "namespace: the path is too long");
	if (value[0] != '/' && (strchr(value, '/') || value[0] == '.' || strlen(value) > NAME_MAX))
		return config_problem(
		    reader,
		    "namespace = \"%s\": write a name as \"ip netns\" shows it, or"
		    " a path that begins with a slash",
		    value);
	for (size_t i = 0; i < kernel->namespace_count; i++)
		if (!strcmp(kernel->namespaces[i], value))
			return config_problem(reader, "namespace = \"%s\" is there already", value);
	if (kernel->namespace_count == NAMESPACES_MOST)
		return config_problem(reader,
				      "there are more than %d namespaces; \"namespaces = all\""
				      " serves each that has a name",
				      NAMESPACES_MOST);
	return 0;
}

static int read_namespace(struct config_reader *reader, const char *value)
{
	struct config_kernel *kernel = &reader->config->kernel;
	char **more;

	if (namespace_check(reader, value) < 0)
		return -1;
	more = reallocarray(kernel->namespaces, kernel->namespace_count + 1, sizeof(*more));
	if (!more)
		return config_problem(reader, "out of memory");
	kernel->namespaces = more;
	more[kernel->namespace_count] = strdup(value);
	if (!more[kernel->namespace_count])
		return config_problem(reader, "out of memory");
	kernel->namespace_count++;
	return 0;
}

static int read_namespaces(struct config_reader *reader, const char *value)
{
	if (strcmp(value, "all") != 0 && strcmp(value, "named") != 0)
		return config_problem(reader,
				      "namespaces = \"%s\": it is \"all\", or \"named\" for the"
				      " daemon's own and those of \"namespace\"",
				      value);
	reader->config->kernel.namespaces_all = !strcmp(value, "all");
	return 0;
}

const struct config_key config_namespace_keys[] = {
    {.name = "namespace", .read = read_namespace, .repeated = true},
    {.name = "namespaces", .read = read_namespaces},
    {},
};

void config_namespaces_done(struct config *config)
{
	for (size_t i = 0; i < config->kernel.namespace_count; i++)
		free(config->kernel.namespaces[i]);
	free(config->kernel.namespaces);
}
