// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the daemon counts, in memory that all of its processes share. Touches that memory alone. Never
 * takes a lock: a process that dies at any instruction leaves the others free to count.
 */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	USERS = 1024, /* that are told apart; a power of two */
	USER_PROBES = 64,
	CLAIMS = 1024, /* of sockets; each is held for milliseconds */
	/* At once: two generations with the most workers and relays, and old ones that still finish. */
	PROCESSES = 2048,
	GAUGES = COUNTERS - COUNTER_CLIENTS,
};

/* What one process holds, so that the supervisor can give it back when the process dies. */
struct process {
	_Atomic int64_t gauges[GAUGES];
	_Atomic uint32_t held[PLACES][USERS];
};

struct shared {
	_Atomic uint64_t values[COUNTERS];
	_Atomic uint32_t totals[PLACES];
	/* Open addressing by user. A user's row is never given to another, so that a row once found
	 * stays right without a lock; 0 is free, else uid + 1. */
	_Atomic uint32_t users[USERS];
	_Atomic uint32_t held[PLACES][USERS];
	_Atomic uint64_t claims[CLAIMS]; /* 0: free, else the process above, of the cookie below */
	_Atomic pid_t pids[PROCESSES]; /* 0: free; apart, so that a search leaves the rest alone */
	struct process processes[PROCESSES];
};

struct counters {
	struct shared *shared;
	int fd;
	unsigned forks; /* when the process was looked for: a forked child has another */
	bool known;
	struct process *process;
};

/* How many forks lie between this process and the first: getpid() at each count would cost a system
 * call. */
static unsigned forks;

static void forks_count(void)
{
	forks++;
}

static bool forks_watch(void)
{
	static bool watched;

	if (!watched)
		watched = pthread_atfork(NULL, NULL, forks_count) == 0;
	return watched;
}

static const char *const words[COUNTERS] = {
    [COUNTER_HANDSHAKES_STARTED] = "handshakes-started",
    [COUNTER_HANDSHAKES_ESTABLISHED] = "handshakes-established",
    [COUNTER_HANDSHAKES_FAILED] = "handshakes-failed",
    [COUNTER_FAILED_REQUEST] = "failed-request",
    [COUNTER_FAILED_DENIED] = "failed-denied",
    [COUNTER_FAILED_BUSY] = "failed-busy",
    [COUNTER_FAILED_UNSUPPORTED] = "failed-unsupported",
    [COUNTER_FAILED_TIMEOUT] = "failed-timeout",
    [COUNTER_FAILED_CANCELLED] = "failed-cancelled",
    [COUNTER_FAILED_CLOSED] = "failed-closed",
    [COUNTER_FAILED_ALERT] = "failed-alert",
    [COUNTER_FAILED_NEGOTIATION] = "failed-negotiation",
    [COUNTER_FAILED_VERIFICATION] = "failed-verification",
    [COUNTER_FAILED_PROTOCOL] = "failed-protocol",
    [COUNTER_FAILED_INTERNAL] = "failed-internal",
    [COUNTER_TLS13] = "tls13",
    [COUNTER_TLS12] = "tls12",
    [COUNTER_KERNEL_RECORDS] = "kernel-records",
    [COUNTER_RELAY_RECORDS] = "relay-records",
    [COUNTER_NIC_TRANSMIT] = "nic-transmit",
    [COUNTER_NIC_RECEIVE] = "nic-receive",
    [COUNTER_ZERO_COPY] = "zero-copy-sendfile",
    [COUNTER_HANDSHAKE_MICROSECONDS] = "handshake-microseconds",
    [COUNTER_CONNECTIONS_ACCEPTED] = "connections-accepted",
    [COUNTER_KEY_UPDATES_RECEIVED] = "key-updates-received",
    [COUNTER_KEY_UPDATES_SENT] = "key-updates-sent",
    [COUNTER_KEY_UPDATES_FAILED] = "key-updates-failed",
    [COUNTER_EARLY_DATA_ACCEPTED] = "early-data-accepted",
    [COUNTER_EARLY_DATA_REJECTED] = "early-data-rejected",
    [COUNTER_EARLY_DATA_REPLAYED] = "early-data-replayed",
    [COUNTER_RELAY_BYTES_IN] = "relay-bytes-in",
    [COUNTER_RELAY_BYTES_OUT] = "relay-bytes-out",
    [COUNTER_OFFERED_SERVER] = "resumption-offered-server",
    [COUNTER_RESUMED_SERVER] = "resumed-server",
    [COUNTER_OFFERED_CLIENT] = "resumption-offered-client",
    [COUNTER_RESUMED_CLIENT] = "resumed-client",
    [COUNTER_TICKETS_SENT] = "tickets-sent",
    [COUNTER_TICKETS_TAKEN] = "tickets-taken",
    [COUNTER_SESSIONS_STORED] = "sessions-stored",
    [COUNTER_SESSIONS_EVICTED] = "sessions-evicted",
    [COUNTER_WORKERS_DIED] = "workers-died",
    [COUNTER_RELAYS_DIED] = "relays-died",
    [COUNTER_SIGNERS_DIED] = "signers-died",
    [COUNTER_KERNEL_REQUESTS] = "kernel-requests",
    [COUNTER_KERNEL_ESTABLISHED] = "kernel-requests-established",
    [COUNTER_KERNEL_FAILED] = "kernel-requests-failed",
    [COUNTER_RELOADS] = "reloads",
    [COUNTER_RELOADS_REFUSED] = "reloads-refused",
    [COUNTER_CLIENTS] = "clients",
    [COUNTER_LISTENINGS] = "listenings",
    [COUNTER_HANDSHAKES_UNDER_WAY] = "handshakes-under-way",
    [COUNTER_KERNEL_UNDER_WAY] = "kernel-requests-under-way",
    [COUNTER_RELAYED] = "relayed",
    [COUNTER_PARKED] = "sessions-parked",
};

_Static_assert(COUNTER_FAILED_INTERNAL - COUNTER_FAILED_REQUEST ==
		   FAILURE_INTERNAL - FAILURE_REQUEST,
	       "the counters of failures are in the order of enum failure_class");

/* ---- The memory ---------------------------------------------------------------------------- */

struct counters *counters_map(int fd)
{
	struct counters *counters = calloc(1, sizeof(*counters));
	struct stat status;
	void *shared = MAP_FAILED;

	if (!counters)
		return NULL;
	if (forks_watch() && fstat(fd, &status) == 0) {
		if (status.st_size == sizeof(struct shared))
			shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
				      MAP_SHARED, fd, 0);
		else
			errno = EINVAL;
	}
	if (shared == MAP_FAILED) {
		free(counters);
		return NULL;
	}
	counters->shared = shared;
	counters->fd = fd;
	return counters;
}

struct counters *counters_new(void)
{
	struct counters *counters = NULL;
	int fd = memfd_create("handshaked-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return NULL;
	/* A relay has it too: cut off, it would end by SIGBUS whoever counts. */
	if (ftruncate(fd, sizeof(struct shared)) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		counters = counters_map(fd);
	if (!counters)
		close(fd);
	return counters;
}

void counters_free(struct counters *counters)
{
	if (!counters)
		return;
	munmap(counters->shared, sizeof(*counters->shared));
	close(counters->fd);
	free(counters);
}

int counters_fd(const struct counters *counters)
{
	return counters->fd;
}

/* ---- Counting ------------------------------------------------------------------------------ */

/* This process's own tally. NULL: all are taken. */
static struct process *counters_process(struct counters *counters)
{
	pid_t pid;

	if (counters->known && counters->forks == forks)
		return counters->process;
	pid = getpid();
	counters->forks = forks;
	counters->process = NULL;
	for (size_t i = 0; i < PROCESSES && !counters->process; i++) {
		pid_t expected = 0;

		if (atomic_compare_exchange_strong(&counters->shared->pids[i], &expected, pid) ||
		    expected == pid)
			counters->process = &counters->shared->processes[i];
	}
	/* Where all are taken, one may be free the next time. */
	counters->known = counters->process != NULL;
	return counters->process;
}

void counters_add(struct counters *counters, enum counter counter, int64_t amount)
{
	if (counter >= COUNTER_CLIENTS) {
		struct process *process = counters_process(counters);

		if (process)
			atomic_fetch_add_explicit(&process->gauges[counter - COUNTER_CLIENTS],
						  amount, memory_order_relaxed);
	}
	atomic_fetch_add_explicit(&counters->shared->values[counter], (uint64_t)amount,
				  memory_order_relaxed);
}

uint64_t counters_get(const struct counters *counters, enum counter counter)
{
	uint64_t value =
	    atomic_load_explicit(&counters->shared->values[counter], memory_order_relaxed);

	/* A gauge may be below 0 for the moment between two processes' additions. */
	return counter >= COUNTER_CLIENTS && (int64_t)value < 0 ? 0 : value;
}

const char *counter_word(enum counter counter)
{
	return words[counter];
}

void counters_outcome(struct counters *counters, const struct outcome *outcome)
{
	if (outcome->state != OUTCOME_ESTABLISHED) {
		counters_add(counters, COUNTER_HANDSHAKES_FAILED, 1);
		if (outcome->failure.class != FAILURE_NONE)
			counters_add(
			    counters,
			    COUNTER_FAILED_REQUEST + (outcome->failure.class - FAILURE_REQUEST), 1);
		return;
	}
	counters_add(counters, COUNTER_HANDSHAKES_ESTABLISHED, 1);
	counters_add(counters, COUNTER_HANDSHAKE_MICROSECONDS, (int64_t)outcome->microseconds);
	if (outcome->version)
		counters_add(
		    counters,
		    strcmp(outcome->version, "TLS1.3") == 0 ? COUNTER_TLS13 : COUNTER_TLS12, 1);
	if (outcome->transmit)
		counters_add(counters,
			     strcmp(outcome->transmit, "relay") == 0 ? COUNTER_RELAY_RECORDS
								     : COUNTER_KERNEL_RECORDS,
			     1);
	if (outcome->transmit && strcmp(outcome->transmit, "nic") == 0)
		counters_add(counters, COUNTER_NIC_TRANSMIT, 1);
	if (outcome->receive && strcmp(outcome->receive, "nic") == 0)
		counters_add(counters, COUNTER_NIC_RECEIVE, 1);
	if (outcome->zero_copy && strcmp(outcome->zero_copy, "yes") == 0)
		counters_add(counters, COUNTER_ZERO_COPY, 1);
}

/* ---- Places -------------------------------------------------------------------------------- */

/* The row of a user: always the same one. Users beyond those that can be told apart share a row with
 * another, and so their bound: nobody is shut out by many others' names. */
static size_t counters_row(struct counters *counters, uid_t uid)
{
	size_t home = (uid * 2654435761u) >> 7 & (USERS - 1); /* Knuth's multiplicative hash */

	for (size_t i = 0; i < USER_PROBES; i++) {
		size_t row = (home + i) & (USERS - 1);
		uint32_t key = atomic_load(&counters->shared->users[row]);

		if (key == 0 &&
		    atomic_compare_exchange_strong(&counters->shared->users[row], &key, uid + 1))
			return row;
		if (key == uid + 1)
			return row;
	}
	return home;
}

/* What counts against one bound is counted together; only the processes' tallies tell it apart. */
static enum place bound_of(enum place place)
{
	return place == PLACE_RELAY_EXPECTED ? PLACE_RELAYED : place;
}

static bool cell_take(_Atomic uint32_t *cell, unsigned bound)
{
	uint32_t held = atomic_load(cell);

	do {
		if (bound && held >= bound)
			return false;
	} while (!atomic_compare_exchange_weak(cell, &held, held + 1));
	return true;
}

static void cell_give(_Atomic uint32_t *cell, uint32_t amount)
{
	uint32_t held = atomic_load(cell), less;

	do
		less = held > amount ? held - amount : 0;
	while (!atomic_compare_exchange_weak(cell, &held, less));
}

/* Another process may do the same at the same time: who gets it, has it. */
static bool cell_take_out(_Atomic uint32_t *cell)
{
	uint32_t held = atomic_load(cell);

	do {
		if (held == 0)
			return false;
	} while (!atomic_compare_exchange_weak(cell, &held, held - 1));
	return true;
}

/* What is counted against the bound stays as it is. Between the two steps the place is in both tallies,
 * never in none: who dies there does not leave it taken for ever. */
static bool tally_move(struct process *from, enum place place, struct process *to,
		       enum place new_place, size_t row)
{
	atomic_fetch_add(&to->held[new_place][row], 1);
	if (cell_take_out(&from->held[place][row]))
		return true;
	atomic_fetch_sub(&to->held[new_place][row], 1);
	return false;
}

bool counters_take_place(struct counters *counters, enum place place, uid_t uid, unsigned per_user,
			 unsigned total)
{
	struct process *process = counters_process(counters);
	enum place bound = bound_of(place);
	size_t row;

	if (!process)
		return false;
	row = counters_row(counters, uid);
	/* The process's own tally first: who dies in between never leaves a place taken for ever. */
	atomic_fetch_add(&process->held[bound][row], 1);
	if (cell_take(&counters->shared->held[bound][row], per_user)) {
		if (cell_take(&counters->shared->totals[bound], total))
			return place == bound || tally_move(process, bound, process, place, row);
		cell_give(&counters->shared->held[bound][row], 1);
	}
	atomic_fetch_sub(&process->held[bound][row], 1);
	return false;
}

static struct process *process_find(struct counters *counters, pid_t pid)
{
	for (size_t i = 0; i < PROCESSES && pid > 0; i++)
		if (atomic_load(&counters->shared->pids[i]) == pid)
			return &counters->shared->processes[i];
	return NULL;
}

bool counters_inherit_relay(struct counters *counters, pid_t holder, uid_t uid)
{
	struct process *heir = counters_process(counters);
	struct process *process = process_find(counters, holder);

	return heir && process &&
	       tally_move(process, PLACE_RELAY_EXPECTED, heir, PLACE_RELAYED,
			  counters_row(counters, uid));
}

void counters_give_place(struct counters *counters, enum place place, uid_t uid)
{
	struct process *process = counters_process(counters);
	enum place bound = bound_of(place);
	size_t row = counters_row(counters, uid);

	/* A relay may have inherited it: then there is nothing to give. */
	if (place != bound && !(process && tally_move(process, place, process, bound, row)))
		return;
	cell_give(&counters->shared->totals[bound], 1);
	cell_give(&counters->shared->held[bound][row], 1);
	if (process)
		cell_give(&process->held[bound][row], 1);
}

/* Handshakes that were under way in it have failed without anyone to count them. */
static void process_forget_gauges(struct counters *counters, struct process *process)
{
	for (size_t gauge = 0; gauge < GAUGES; gauge++) {
		int64_t held = atomic_exchange(&process->gauges[gauge], 0);

		atomic_fetch_sub(&counters->shared->values[COUNTER_CLIENTS + gauge],
				 (uint64_t)held);
		if (COUNTER_CLIENTS + gauge != COUNTER_HANDSHAKES_UNDER_WAY)
			continue;
		counters_add(counters, COUNTER_HANDSHAKES_FAILED, held);
		counters_add(counters, COUNTER_FAILED_INTERNAL, held);
	}
}

static uint64_t claim_value(uint64_t cookie)
{
	return (uint64_t)getpid() << 32 | (uint32_t)cookie;
}

bool counters_claim_socket(struct counters *counters, uint64_t cookie)
{
	uint64_t none = 0;

	return atomic_compare_exchange_strong(&counters->shared->claims[cookie % CLAIMS], &none,
					      claim_value(cookie));
}

void counters_release_socket(struct counters *counters, uint64_t cookie)
{
	uint64_t ours = claim_value(cookie);

	atomic_compare_exchange_strong(&counters->shared->claims[cookie % CLAIMS], &ours, 0);
}

static void claims_forget(struct counters *counters, pid_t pid)
{
	for (size_t i = 0; i < CLAIMS; i++) {
		uint64_t claim = atomic_load(&counters->shared->claims[i]);

		if (claim >> 32 == (uint64_t)pid)
			atomic_compare_exchange_strong(&counters->shared->claims[i], &claim, 0);
	}
}

void counters_forget_process(struct counters *counters, pid_t pid)
{
	claims_forget(counters, pid);
	for (size_t i = 0; i < PROCESSES; i++) {
		struct process *process = &counters->shared->processes[i];

		if (atomic_load(&counters->shared->pids[i]) != pid)
			continue;
		for (size_t place = 0; place < PLACES; place++)
			for (size_t row = 0; row < USERS; row++) {
				uint32_t held = atomic_exchange(&process->held[place][row], 0);

				if (!held)
					continue;
				cell_give(&counters->shared->held[bound_of(place)][row], held);
				cell_give(&counters->shared->totals[bound_of(place)], held);
			}
		process_forget_gauges(counters, process);
		atomic_store(&counters->shared->pids[i], 0);
	}
}
