// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A configuration becomes processes, at the start and at each reload. Touches the files that it names, the
 * daemon's socket file and the other processes. Must never leave what runs before what follows is ready.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "expiry.h"
#include "log.h"
#include "notify.h"
#include "process-limits.h"
#include "shared-store.h"
#include "supervisor-state.h"

enum { RETIRE_MS = 10000 }; /* what a reload gives to handshakes under way */

/* What a configuration needs beside its workers; what fits already is the present one. */
struct surroundings {
	struct unix_socket *unix_socket;
	struct relays *relays;
	struct keyring_links links;
	bool new_socket, new_relays, new_netlink;
};

static int surroundings_make(struct supervisor *supervisor, const struct config *config,
			     struct surroundings *ret, struct problem *problem)
{
	ret->unix_socket = supervisor->unix_socket;
	ret->relays = supervisor->relays;
	ret->new_socket = !ret->unix_socket || strcmp(ret->unix_socket->path, config->socket) != 0;
	ret->new_relays = !ret->relays || !relays_fit(ret->relays, config);
	if (ret->new_socket) {
		ret->unix_socket = NULL;
		if (unix_socket_new(config->socket, config->socket_mode, config->socket_group,
				    &ret->unix_socket, problem) < 0)
			return -1;
	}
	if (ret->new_relays) {
		ret->relays = relays_new(config, supervisor->counters, problem);
		if (!ret->relays)
			return -1;
	}
	return 0;
}

/* Relays that were started in vain end as their sockets close; they stay in the list to be waited for. */
static void surroundings_undo(struct supervisor *supervisor, struct surroundings *made)
{
	keyring_links_drop(&made->links, &supervisor->links);
	/* Who is an agent, and serves nothing, has consumers wait in vain. */
	if (made->new_netlink) {
		source_netlink_free(supervisor->netlink);
		supervisor->netlink = NULL;
	}
	if (made->new_socket)
		unix_socket_free(made->unix_socket);
	if (!made->new_relays || !made->relays)
		return;
	relays_retire(made->relays);
	if (supervisor->relays) {
		made->relays->next = supervisor->relays->next;
		supervisor->relays->next = made->relays;
	} else {
		supervisor->relays = made->relays;
	}
}

/* The socket keeps its place, with the access that the new configuration says. */
static int access_change(struct supervisor *supervisor, const struct surroundings *made,
			 const struct config *config, struct problem *problem)
{
	const struct config *before =
	    supervisor->generations ? supervisor->generations->loaded->config : NULL;

	if (made->new_socket || !before)
		return 0;
	if (before->socket_mode == config->socket_mode &&
	    before->socket_group == config->socket_group)
		return 0;
	return unix_socket_set_access(
	    made->unix_socket, config->socket_mode,
	    config->socket_group == (gid_t)-1 ? getegid() : config->socket_group, problem);
}

/* From here on nothing fails. */
static void generation_adopt(struct supervisor *supervisor, struct generation *generation,
			     const struct surroundings *made)
{
	struct generation *old = supervisor->generations;

	if (old)
		generation_retire(old, RETIRE_MS, true);
	generation->next = old;
	supervisor->generations = generation;
	generation->relays->users++;
	keyring_links_drop(&supervisor->links, &made->links);
	supervisor->links = made->links;
	if (made->new_socket) {
		unix_socket_free(supervisor->unix_socket);
		supervisor->unix_socket = made->unix_socket;
	}
	if (made->new_relays) {
		made->relays->next = supervisor->relays;
		supervisor->relays = made->relays;
	}
	if (supervisor->netlink)
		source_netlink_configure(supervisor->netlink,
					 generation->loaded->config->kernel.line
					     ? &generation->loaded->config->kernel
					     : NULL,
					 generation->loaded->signer);
	log_set_level(generation->loaded->config->log_level);
	supervisor->expiry = expiry_tell(generation->loaded, time(NULL));
}

/* Beside the secrets if it is to outlive the daemon, else beside the socket, which is the daemon's alone. */
static int store_make(struct supervisor *supervisor, const struct config *config,
		      struct problem *problem)
{
	const char *state = config->state_directory;

	if (asprintf(&supervisor->store_directory, "%s%s", state ? state : config->socket,
		     state ? "/store" : "-store") < 0) {
		supervisor->store_directory = NULL;
		return problem_set(problem, "out of memory");
	}
	supervisor->store_kept = state != NULL;
	if (early_data_guard_open(&supervisor->early_data) < 0)
		return problem_set(problem, "out of memory");
	return shared_store_prepare(supervisor->store_directory, supervisor->store_kept,
				    config->uid, config->gid, problem);
}

/* Made at the start; a reload may give them another place and schedule. */
static int secrets_fit(struct supervisor *supervisor, const struct config *config,
		       struct problem *problem)
{
	if (!supervisor->secrets)
		return secrets_new(config->state_directory, config->ticket_rotation_s,
				   &supervisor->secrets, problem) < 0
			   ? -1
			   : store_make(supervisor, config, problem);
	return secrets_change(supervisor->secrets, config->state_directory,
			      config->ticket_rotation_s, problem) < 0
		   ? -1
		   : shared_store_give(supervisor->store_directory, config->uid, config->gid,
				       problem);
}

/* After a refusal, to the workers that stay: what secrets_fit() has changed. */
static void secrets_give_back(struct supervisor *supervisor)
{
	const struct config *config =
	    supervisor->generations ? supervisor->generations->loaded->config : NULL;
	struct problem problem = {""};

	if (config && secrets_change(supervisor->secrets, config->state_directory,
				     config->ticket_rotation_s, &problem) < 0)
		log_error("%s", problem.text);
	if (config && supervisor->store_directory &&
	    shared_store_give(supervisor->store_directory, config->uid, config->gid, &problem) < 0)
		log_error("%s", problem.text);
}

static pid_t request_give(void *context, const struct kernel_request *request, const int fds[2])
{
	struct supervisor *supervisor = context;

	return generation_give(supervisor->generations, request, fds);
}

/* Once an agent, it stays: a reload without [kernel] lets it take nothing more. */
static int netlink_make(struct supervisor *supervisor, const struct config *config,
			struct surroundings *made, struct problem *problem)
{
	if (!config->kernel.line)
		return 0;
	keyring_links_add_known(&made->links);
	for (size_t i = 0; i < config->kernel.link_count; i++)
		if (keyring_links_add(&made->links, "link-keyring", config->kernel.links[i],
				      problem) < 0)
			return -1;
	if (supervisor->netlink)
		return 0;
	if (source_netlink_new(supervisor->counters, request_give, supervisor, &supervisor->netlink,
			       problem) < 0)
		return -1;
	made->new_netlink = true;
	return 0;
}

/* Takes loaded. */
static int generation_begin(struct supervisor *supervisor, struct loaded *loaded,
			    struct problem *problem)
{
	struct generation *generation = generation_new(loaded, supervisor->last_generation + 1);
	struct surroundings made = {0};
	int r;

	if (!generation) {
		loaded_free(loaded);
		return problem_set(problem, "out of memory");
	}
	limits_raise_files(loaded->config);
	r = surroundings_make(supervisor, loaded->config, &made, problem);
	if (r == 0)
		r = secrets_fit(supervisor, loaded->config, problem);
	if (r == 0)
		r = netlink_make(supervisor, loaded->config, &made, problem);
	if (r == 0) {
		generation->unix_socket = made.unix_socket;
		generation->relays = made.relays;
		generation->kernel = &supervisor->kernel;
		generation->counters = supervisor->counters;
		generation->secrets = supervisor->secrets;
		generation->netlink = supervisor->netlink;
		generation->store_directory = supervisor->store_directory;
		generation->early_data = &supervisor->early_data;
		generation->daemon_started_ms = supervisor->started_ms;
		r = generation_start(generation, problem);
	}
	if (r == 0)
		r = access_change(supervisor, &made, loaded->config, problem);
	if (r < 0) {
		generation_free(generation);
		surroundings_undo(supervisor, &made);
		secrets_give_back(supervisor);
		return -1;
	}
	supervisor->last_generation++;
	generation_adopt(supervisor, generation, &made);
	return 0;
}

int supervisor_configure(struct supervisor *supervisor, struct problem *problem)
{
	struct loaded *loaded;
	int r;

	watch_begin(supervisor->watch);
	r = loaded_new(supervisor->source, &loaded, problem);
	if (r == 0)
		r = generation_begin(supervisor, loaded, problem);
	if (supervisor->generations)
		watch_set(supervisor->watch, supervisor->generations->loaded->config, r == 0);
	return r;
}

void supervisor_reload(struct supervisor *supervisor)
{
	struct problem problem = {""};

	supervisor->reload_due = false;
	if (supervisor->stopping)
		return;
	notify_reloading();
	/* The kernel may have learnt it meanwhile: the module was loaded. */
	offload_kernel_probe(&supervisor->kernel);
	if (supervisor_configure(supervisor, &problem) < 0) {
		counters_add(supervisor->counters, COUNTER_RELOADS_REFUSED, 1);
		log_error("the reload is refused, all stays as it was: %s", problem.text);
	} else {
		counters_add(supervisor->counters, COUNTER_RELOADS, 1);
		log_info("reloaded \"%s\"", supervisor->generations->loaded->config->path);
	}
	notify_ready();
}
