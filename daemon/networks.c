// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which network namespaces are served. inotify on their directory and the process's table of mounts say that
 * something may have happened; what has, is found by looking. Touches those, and the namespaces' files. Must never
 * keep a namespace alive whose name is gone, nor leave a request in it unanswered.
 */
#include "networks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "children.h"
#include "log.h"

enum {
	QUIET_MS = 20, /* a name is made in several steps */
	REST_MS = 200, /* between two looks, at least */
	SHORT_MS =
	    5000, /* until what there was no memory, thread or descriptor for is tried again */
	EVENTS_AT_ONCE = 64,
};

struct networks {
	struct network_list list; /* the daemon's own first */
	struct network_tally *tally;
	const struct config_kernel *config; /* NULL: none is served */
	unsigned count;                     /* of those that are served */
	int events;                         /* epoll: the agents' notifications */
	int changes;                        /* inotify, -1 */
	int mounts;                         /* -1 */
	int64_t due, rest_until;
	bool told_many, told_short;
	bool stopped;
};

/* ---- One ----------------------------------------------------------------------------------- */

/* Nobody waits for what is not heard: consumers are refused at once. */
static void network_hear(struct networks *networks, struct network *network, bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = network};

	if (upcall_attend(network->upcall, on) < 0)
		log_error("%s the group of those who serve the kernel's requests fails in the"
			  " network namespace \"%s\"; a reload tries again",
			  on ? "joining" : "leaving", network->name ? network->name : "(own)");
	/* A reload says again what is so already. */
	if (epoll_ctl(networks->events, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
		      upcall_fd(network->upcall), &event) < 0 &&
	    errno != EEXIST && errno != ENOENT)
		log_error(
		    "the kernel's requests in the network namespace \"%s\" cannot be heard of:"
		    " %s; a reload tries again",
		    network->name ? network->name : "(own)", strerror(errno));
}

static void network_free(struct networks *networks, struct network *network)
{
	TAILQ_REMOVE(&networks->list, network, entry);
	network_tally_close(networks->tally, network->line);
	if (network->upcall) {
		networks->count--;
		network_hear(networks, network, false);
		upcall_free(network->upcall);
	}
	free(network->name);
	free(network);
}

/* Adds one, with its agent or, if there could be none, without. NULL: no memory. */
static struct network *network_add(struct networks *networks, const char *name,
				   struct upcall *upcall)
{
	struct network *network = calloc(1, sizeof(*network));

	if (network && name)
		network->name = strdup(name);
	if (!network || (name && !network->name)) {
		free(network);
		return NULL;
	}
	network->line = -1;
	network->more = true; /* requests may be older than this agent */
	TAILQ_INSERT_TAIL(&networks->list, network, entry);
	if (!upcall)
		return network;
	network->upcall = upcall;
	network->line = network_tally_open(networks->tally, name ? name : "(own)");
	networks->count++;
	network_hear(networks, network, true);
	return network;
}

void networks_note(struct networks *networks, const struct network *network)
{
	network_tally_set(networks->tally, network->line, &network->numbers);
}

/* ---- Looking ------------------------------------------------------------------------------- */

static struct network *network_find(struct networks *networks,
				    const struct network_identity *identity)
{
	struct network *network;

	TAILQ_FOREACH(network, &networks->list, entry)
	if (network->identity.device == identity->device &&
	    network->identity.inode == identity->inode)
		return network;
	return NULL;
}

/* What the daemon lacks for the moment; upcall.c says EIO where it does not know. */
static bool error_passes(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EAGAIN ||
	       error == -ENOBUFS || error == -EIO;
}

/* Said once: it may last. */
static void network_try_later(struct networks *networks, const char *why)
{
	int64_t then = now_ms() + SHORT_MS;

	if (!networks->told_short)
		log_error("%s; its consumers are not served before another attempt succeeds, which"
			  " is made each %d s",
			  why, SHORT_MS / 1000);
	networks->told_short = true;
	if (then < networks->due)
		networks->due = then;
}

static void network_try(struct networks *networks, const char *name, const char *path,
			const struct network_identity *identity)
{
	struct network_identity joined = *identity;
	struct problem problem = {""};
	struct upcall *upcall = NULL;
	struct network *network;
	int r;

	if (networks->count >= NETWORKS_MAX) {
		if (!networks->told_many)
			log_warning("there are more than %d network namespaces: further ones are"
				    " not served",
				    NETWORKS_MAX);
		networks->told_many = true;
		return;
	}
	r = network_join(path, &joined, &upcall, &problem);
	if (error_passes(r)) {
		network_try_later(networks, problem.text);
		return;
	}
	if (r < 0)
		log_error("%s; its consumers are not served", problem.text);
	else
		log_info("the kernel's consumers in the network namespace \"%s\" are served", name);
	network = network_add(networks, name, upcall);
	if (!network) {
		upcall_free(upcall);
		network_try_later(networks, "out of memory");
		return;
	}
	if (upcall)
		networks->told_short = false;
	network->identity = joined;
	network->seen = true;
}

static void network_look(struct networks *networks, const char *name)
{
	struct network_identity identity;
	struct network *network;
	char path[PATH_MAX];

	network_path(name, path);
	if (network_identify(path, &identity) < 0)
		return; /* not there yet: whatever makes it is heard */
	network = network_find(networks, &identity);
	if (network)
		network->seen = true;
	else
		network_try(networks, name, path, &identity);
}

static void networks_look_at_all(struct networks *networks)
{
	DIR *directory = opendir(NETWORK_DIRECTORY);
	struct dirent *entry;

	if (!directory)
		return;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			network_look(networks, entry->d_name);
	closedir(directory);
}

static void networks_look(struct networks *networks)
{
	struct network *network;

	for (network = TAILQ_FIRST(&networks->list); network; network = TAILQ_NEXT(network, entry))
		network->seen = !network->name;
	for (size_t i = 0; networks->config && i < networks->config->namespace_count; i++)
		network_look(networks, networks->config->namespaces[i]);
	if (networks->config && networks->config->namespaces_all)
		networks_look_at_all(networks);
	for (network = TAILQ_FIRST(&networks->list); network;
	     network = TAILQ_NEXT(network, entry)) {
		if (network->upcall && network->leaving == network->seen) {
			network_hear(networks, network, network->seen);
			/* What waits in the kernel is still served. */
			network->more = true;
			log_info("the network namespace \"%s\" is %s", network->name,
				 network->seen ? "there again" : "let go of");
		}
		network->leaving = !network->seen;
	}
}

/* The directory may come later: its own directory is watched until then. */
static void changes_watch(struct networks *networks)
{
	const uint32_t events =
	    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF;

	if (networks->changes < 0)
		return;
	if (inotify_add_watch(networks->changes, NETWORK_DIRECTORY, events | IN_ONLYDIR) < 0)
		inotify_add_watch(networks->changes, "/run", IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

void networks_configure(struct networks *networks, const struct config_kernel *config)
{
	struct network *network, *next;
	bool several = config && (config->namespace_count || config->namespaces_all);

	networks->config = config;
	networks->told_many = networks->told_short = false;
	if (several && networks->changes < 0)
		networks->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (several && networks->mounts < 0)
		networks->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (several && (networks->changes < 0 || networks->mounts < 0))
		log_warning("network namespaces that come cannot be seen: %s; a reload finds them",
			    strerror(errno));
	changes_watch(networks);
	/* What could not be joined is tried once more. */
	for (network = TAILQ_FIRST(&networks->list); network; network = next) {
		next = TAILQ_NEXT(network, entry);
		network->more = true;
		if (!network->upcall)
			network_free(networks, network);
		else if (!network->name)
			network_hear(networks, network, config != NULL);
	}
	networks_look(networks);
	for (size_t i = 0; config && i < config->namespace_count; i++) {
		struct network_identity identity;
		char path[PATH_MAX];

		network_path(config->namespaces[i], path);
		if (network_identify(path, &identity) < 0)
			log_info("the network namespace \"%s\" is not there yet: it is served when"
				 " it comes",
				 config->namespaces[i]);
	}
}

void networks_stop(struct networks *networks)
{
	networks->config = NULL;
	networks->stopped = true;
	networks->due = INT64_MAX;
}

/* ---- Over time ----------------------------------------------------------------------------- */

void networks_poll(const struct networks *networks, struct pollfd *ret_polled)
{
	ret_polled[0] = (struct pollfd){.fd = networks->events, .events = POLLIN};
	ret_polled[1] = (struct pollfd){.fd = networks->changes, .events = POLLIN};
	ret_polled[2] = (struct pollfd){.fd = networks->mounts, .events = POLLPRI};
}

static void notifications_take(struct networks *networks)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int count = epoll_wait(networks->events, events, EVENTS_AT_ONCE, 0);

	for (int i = 0; i < count; i++) {
		struct network *network = events[i].data.ptr;

		/* Requests are asked for until there are none, so what was lost on the way does
		 * not matter. */
		if (upcall_listen(network->upcall))
			log_debug("notifications of the kernel's requests were lost");
		network->more = true;
	}
}

static void changes_take(struct networks *networks)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (read(networks->changes, buffer, sizeof(buffer)) > 0)
		;
	changes_watch(networks);
}

void networks_polled(struct networks *networks, const struct pollfd *polled)
{
	int64_t soon = now_ms() + QUIET_MS;

	if (polled[0].revents)
		notifications_take(networks);
	if (polled[1].revents)
		changes_take(networks);
	if (!polled[1].revents && !polled[2].revents)
		return;
	if (soon < networks->rest_until)
		soon = networks->rest_until;
	if (soon < networks->due)
		networks->due = soon;
}

int64_t networks_tend(struct networks *networks, int64_t now)
{
	struct network *network, *next;

	if (networks->stopped)
		return INT64_MAX;
	if (networks->due <= now) {
		networks->due = INT64_MAX;
		networks_look(networks);
		networks->rest_until = now_ms() + REST_MS;
	}
	for (network = TAILQ_FIRST(&networks->list); network; network = next) {
		next = TAILQ_NEXT(network, entry);
		if (network->leaving &&
		    (!network->upcall ||
		     ((!network->more || !networks->config) && network->numbers.under_way == 0)))
			network_free(networks, network);
	}
	return networks->due;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static int networks_begin(struct networks *networks, struct problem *problem)
{
	struct upcall *upcall = NULL;
	struct network *own;
	int r;

	networks->events = epoll_create1(EPOLL_CLOEXEC);
	networks->tally = network_tally_new();
	if (networks->events < 0 || !networks->tally) {
		problem_set(problem, "cannot watch for the kernel's requests: %s", strerror(errno));
		return -ENOMEM;
	}
	r = upcall_new(&upcall, problem);
	if (r < 0)
		return r;
	own = network_add(networks, NULL, upcall);
	if (!own) {
		upcall_free(upcall);
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	network_identify(NETWORK_OWN, &own->identity);
	return 0;
}

int networks_new(struct networks **ret_networks, struct problem *problem)
{
	struct networks *networks = calloc(1, sizeof(*networks));
	int r;

	if (!networks) {
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	TAILQ_INIT(&networks->list);
	networks->events = networks->changes = networks->mounts = -1;
	networks->due = INT64_MAX;
	r = networks_begin(networks, problem);
	if (r < 0)
		networks_free(networks);
	else
		*ret_networks = networks;
	return r;
}

void networks_free(struct networks *networks)
{
	struct network *network, *next;

	if (!networks)
		return;
	for (network = TAILQ_FIRST(&networks->list); network; network = next) {
		next = TAILQ_NEXT(network, entry);
		network_free(networks, network);
	}
	network_tally_free(networks->tally);
	if (networks->events >= 0)
		close(networks->events);
	if (networks->changes >= 0)
		close(networks->changes);
	if (networks->mounts >= 0)
		close(networks->mounts);
	free(networks);
}

struct network_list *networks_list(struct networks *networks)
{
	return &networks->list;
}

unsigned networks_count(const struct networks *networks)
{
	return networks->count;
}

const struct network_tally *networks_tally(const struct networks *networks)
{
	return networks->tally;
}
