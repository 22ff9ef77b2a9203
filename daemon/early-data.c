// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Early data that a server takes. Touches the session, the table of hellos whose early data was taken,
 * and the memory that the data is kept in; must never let the library take early data of a hello that
 * is in doubt: it then goes on without (RFC 8446, 4.2.10).
 */
#include "early-data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	/* The library prefixes the key with the start of its window, which may differ for the same
	 * hello: two times 32 bits of seconds, 32 of nanoseconds. */
	LIBRARY_PREFIX = 12,
	/* What a rejected client may have sent is skipped as ciphertext, which is larger than what its
	 * ticket allows by the overhead of each record. */
	SKIP_EXTRA = 16384,
	SKIP_FACTOR = 4,
	LIST_MAX = 64,
	TICKET_LIVES = 6, /* lifetimes: what is left of a ticket's key at the most */
};

static const char unreadable[] = "?";

static void early_data_refuse(struct early_data *early, const char *reason)
{
	if (early->reason == NULL)
		early->reason = reason;
}

/* ---- The guard ----------------------------------------------------------------------------- */

static bool binder_is(const struct early_data *early, const gnutls_datum_t *key)
{
	return early->binder_size > 0 && key->size == LIBRARY_PREFIX + early->binder_size &&
	       memcmp(key->data + LIBRARY_PREFIX, early->binder, early->binder_size) == 0;
}

static gnutls_cipher_algorithm_t suite_cipher(uint16_t suite)
{
	switch (suite) {
	case 0x1301:
		return GNUTLS_CIPHER_AES_128_GCM;
	case 0x1302:
		return GNUTLS_CIPHER_AES_256_GCM;
	case 0x1303:
		return GNUTLS_CIPHER_CHACHA20_POLY1305;
	case 0x1304:
		return GNUTLS_CIPHER_AES_128_CCM;
	default:
		return GNUTLS_CIPHER_UNKNOWN;
	}
}

/* The library has opened a ticket, and asks whether the hello is new: the last word on its early data.
 * Anything but 0 refuses. */
static int guard_add(void *context, time_t expires, const gnutls_datum_t *key,
		     const gnutls_datum_t *entry)
{
	struct early_data *early = context;
	struct early_data_guard *guard;
	const struct config_profile *config;
	int error;

	(void)expires, (void)entry;
	if (early == NULL || !early->fits)
		return GNUTLS_E_DB_ENTRY_EXISTS;
	guard = early->guard;
	config = early->decision->profile->config;
	if (!binder_is(early, key)) {
		early_data_refuse(early, "the ticket is not the first that the client offers");
		return GNUTLS_E_DB_ENTRY_EXISTS;
	}
	if (gnutls_early_cipher_get(early->tls) != suite_cipher(early->suite)) {
		early_data_refuse(early, "the ticket is of another cipher suite");
		return GNUTLS_E_DB_ENTRY_EXISTS;
	}
	/* The library believes the age that a client tells of its ticket; what ends a ticket is its key, which the
	 * library makes anew each three lifetimes, and it takes the one before. */
	error = shared_store_put(
	    guard->store, SHARED_REPLAY, early->binder, early->binder_size, "", 0,
	    time(NULL) + (time_t)config->resumption.ticket_lifetime_s * TICKET_LIVES, true);
	if (error >= 0) {
		early->taken = true;
		return 0;
	}
	if (error == -EEXIST)
		counters_add(guard->counters, COUNTER_EARLY_DATA_REPLAYED, 1);
	early_data_refuse(early, error == -EEXIST
				     ? "it was sent before"
				     : "the daemon has no room to tell it from a replay");
	return GNUTLS_E_DB_ENTRY_EXISTS;
}

int early_data_guard_open(struct early_data_guard *guard)
{
	if (gnutls_anti_replay_init(&guard->library) < 0)
		return -ENOMEM;
	/* It must never begin anew, or tickets older than that are refused: entries are kept for as long
	 * as their tickets can be used, instead. */
	gnutls_anti_replay_set_window(guard->library, UINT32_MAX);
	gnutls_anti_replay_set_add_function(guard->library, guard_add);
	return 0;
}

void early_data_guard_close(struct early_data_guard *guard)
{
	if (guard->library != NULL)
		gnutls_anti_replay_deinit(guard->library);
	guard->library = NULL;
}

/* ---- Before the answer --------------------------------------------------------------------- */

/* A client that must show a certificate is no matter for early data: nothing that it sent before would
 * be its. */
static bool is_server_taking(const struct decision *decision)
{
	return decision->role == REQUEST_SERVER && decision->profile->config->early_data > 0 &&
	       decision->client_certificates == CONFIG_CLIENT_NONE;
}

unsigned early_data_flags(const struct decision *decision)
{
	return is_server_taking(decision) ? GNUTLS_ENABLE_EARLY_DATA : 0;
}

int early_data_open(struct early_data *early, gnutls_session_t tls, const struct decision *decision,
		    gnutls_priority_t priority, struct early_data_guard *guard)
{
	size_t skip = SKIP_EXTRA + (size_t)decision->profile->config->early_data * SKIP_FACTOR;

	early->tls = tls;
	early->decision = decision;
	early->priority = priority;
	if (decision->role != REQUEST_SERVER)
		return 0;
	if (is_server_taking(decision) && guard != NULL) {
		early->guard = guard;
		gnutls_anti_replay_enable(tls, guard->library);
	}
	/* The bound on what is taken is early_data_receive()'s; that which a ticket tells is set when
	 * the handshake is complete. */
	return gnutls_record_set_max_early_data_size(tls, skip);
}

/* RFC 8446, 4.2.7; the library's names for them, some of which only newer ones have. */
static uint16_t group_number(unsigned group)
{
	static const struct {
		const char *name;
		uint16_t number;
	} groups[] = {
	    {"SECP256R1", 23},
	    {"SECP384R1", 24},
	    {"SECP521R1", 25},
	    {"X25519", 29},
	    {"X448", 30},
	    {"FFDHE2048", 0x100},
	    {"FFDHE3072", 0x101},
	    {"FFDHE4096", 0x102},
	    {"FFDHE6144", 0x103},
	    {"FFDHE8192", 0x104},
	    {"SECP256R1-MLKEM768", 0x11eb},
	    {"X25519-MLKEM768", 0x11ec},
	    {"SECP384R1-MLKEM1024", 0x11ed},
	};
	const char *name = gnutls_group_get_name((gnutls_group_t)group);

	for (size_t i = 0; name != NULL && i < sizeof(groups) / sizeof(groups[0]); i++)
		if (strcmp(groups[i].name, name) == 0)
			return groups[i].number;
	return 0;
}

static uint16_t suite_number(unsigned cipher)
{
	for (uint16_t suite = 0x1301; suite <= 0x1304; suite++)
		if (suite_cipher(suite) == (gnutls_cipher_algorithm_t)cipher)
			return suite;
	return 0;
}

static unsigned list_numbers(const unsigned *list, int count, uint16_t (*number)(unsigned),
			     uint16_t *ret_numbers)
{
	unsigned n = 0;

	for (int i = 0; i < count && n < LIST_MAX; i++)
		ret_numbers[n++] = number(list[i]);
	return n;
}

/* NULL: early data fits this hello as far as it can be told without the ticket. */
static const char *hello_judge(struct early_data *early, const struct hello_early *hello)
{
	uint16_t groups[LIST_MAX], suites[LIST_MAX];
	struct hello_early_choice choice = {
	    .groups = groups,
	    .suites = suites,
	    .client_order = early->decision->profile->config->client_order,
	};
	const unsigned *list;
	int count;

	if (early->guard == NULL)
		return early->decision->profile->config->early_data == 0
			   ? "the profile takes none"
			   : "clients must show a certificate";
	if (!hello->dhe)
		return "the client offers no fresh key exchange with its ticket";
	count = gnutls_priority_group_list(early->priority, &list);
	choice.group_count = list_numbers(list, count, group_number, groups);
	count = gnutls_priority_cipher_list(early->priority, &list);
	choice.suite_count = list_numbers(list, count, suite_number, suites);
	if (!hello_early_has_share(hello, &choice))
		return "the client must be asked for another key share";
	early->suite = hello_early_suite(hello, &choice);
	if (early->suite == 0)
		return "the client offers no ticket, or no cipher suite for it";
	memcpy(early->binder, hello->binder, hello->binder_size);
	early->binder_size = hello->binder_size;
	return NULL;
}

/* What the library will choose: RFC 7301, 3.2. */
static void predict_protocol(struct early_data *early, const struct hello_early *hello)
{
	const struct decision *decision = early->decision;
	int best = -1;

	for (unsigned i = 0; i < decision->alpn_count; i++) {
		int position = hello_early_protocol(hello, decision->alpn[i]);

		if (position < 0 || (best >= 0 && position >= best))
			continue;
		memcpy(early->alpn, decision->alpn[i], sizeof(early->alpn));
		if (!decision->profile->config->client_order)
			return;
		best = position;
	}
}

void early_data_hello(struct early_data *early, const gnutls_datum_t *message)
{
	struct hello_early hello;
	const char *reason;

	if (early->decision->role != REQUEST_SERVER)
		return;
	/* The next question of the library in this process is about this session, whatever of its hello can be
	 * read here: another one's may no longer be there. */
	if (early->guard != NULL)
		gnutls_anti_replay_set_ptr(early->guard->library, early);
	if (early->hellos++ > 0)
		return;
	if (hello_early_read(message, &hello) < 0) {
		/* It fits nothing, nor shall its ticket: this is no protocol that is agreed on. */
		snprintf(early->alpn, sizeof(early->alpn), "%s", unreadable);
		return;
	}
	/* A ticket without early data is bound to no protocol. */
	if (early->decision->profile->config->early_data > 0)
		predict_protocol(early, &hello);
	if (!hello.offered)
		return;
	early->offered = true;
	reason = hello_judge(early, &hello);
	early->fits = reason == NULL;
	if (reason != NULL)
		early_data_refuse(early, reason);
}

int early_data_retry(struct early_data *early, bool incoming)
{
	early->retried = incoming;
	if (!early->taken)
		return 0;
	/* Once the library has turned to early data, it cannot turn back: as a client it would offer it
	 * again (against RFC 8446, 4.1.2), as a server it would wait for it. */
	early->reason = incoming
			    ? "the server asks for another key share, which early data does not "
			      "survive"
			    : "the client was asked for another key share";
	return incoming ? GNUTLS_E_EARLY_DATA_REJECTED : GNUTLS_E_INTERNAL_ERROR;
}

/* ---- The data ------------------------------------------------------------------------------ */

static int receive_some(struct early_data *early, size_t room, size_t *ret_size)
{
	ssize_t got = gnutls_record_recv_early_data(early->tls, early->bytes + early->size,
						    room > 0 ? room : 1);

	if (got == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		*ret_size = 0;
		return 0;
	}
	/* A record without data stays in the library's way for good. */
	if (got == 0)
		return GNUTLS_E_UNEXPECTED_PACKET;
	if (got < 0)
		return (int)got;
	*ret_size = (size_t)got;
	return 0;
}

int early_data_receive(struct early_data *early, struct failure *failure)
{
	const struct config_profile *config;
	size_t size = 0;
	int error;

	if (early->decision->role != REQUEST_SERVER || !early->taken)
		return 0;
	config = early->decision->profile->config;
	if (early->bytes == NULL) {
		/* One more than is allowed: so that one too many can be told. */
		early->bytes = malloc((size_t)config->early_data + 1);
		if (early->bytes == NULL)
			return GNUTLS_E_MEMORY_ERROR;
	}
	do {
		error = receive_some(early, config->early_data + 1 - early->size, &size);
		if (error < 0)
			return error;
		early->size += size;
		if (early->size > config->early_data) {
			failure_set(failure, FAILURE_PROTOCOL, false,
				    "The client sent more early data than the %u bytes that the "
				    "profile \"%s\" takes",
				    config->early_data, config->name);
			return GNUTLS_E_UNEXPECTED_PACKET;
		}
	} while (size > 0);
	return 0;
}

/* Whether the protocol that was agreed on is early->alpn. */
static bool protocol_is_right(const struct early_data *early)
{
	gnutls_datum_t protocol = {NULL, 0};

	if (gnutls_alpn_get_selected_protocol(early->tls, &protocol) < 0)
		return early->alpn[0] == '\0';
	return protocol.size == strlen(early->alpn) &&
	       memcmp(protocol.data, early->alpn, protocol.size) == 0;
}

static int finish_client(struct early_data *early, bool accepted)
{
	if (!early->taken)
		return 0;
	early->taken = accepted;
	if (!accepted) {
		early_data_refuse(early, "the server did not take it");
		return 0;
	}
	/* RFC 8446, 4.2.10: it must not take what was meant for another protocol. */
	if (!protocol_is_right(early))
		return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
	return 0;
}

int early_data_finish(struct early_data *early)
{
	bool taken = (gnutls_session_get_flags(early->tls) & GNUTLS_SFLAGS_EARLY_DATA) != 0;
	uint32_t limit = early->decision->profile->config->early_data;

	if (early->decision->role != REQUEST_SERVER)
		return finish_client(early, taken);
	/* RFC 8446, 4.2.10: of the version, the suite and the protocol that its ticket had. None can be
	 * otherwise, unless the library does what it never did. */
	if (taken != early->taken ||
	    (taken && (gnutls_protocol_get_version(early->tls) != GNUTLS_TLS1_3 ||
		       gnutls_cipher_get(early->tls) != suite_cipher(early->suite))))
		return GNUTLS_E_INTERNAL_ERROR;
	/* Nor may a ticket go out that is bound to another than it was agreed on. */
	if (limit > 0 && early->hellos > 0 && strcmp(early->alpn, unreadable) != 0 &&
	    !protocol_is_right(early))
		return GNUTLS_E_INTERNAL_ERROR;
	if (early->offered && !taken)
		early_data_refuse(early, "the ticket cannot be used, or is older than the daemon");
	return limit > 0 ? gnutls_record_set_max_early_data_size(early->tls, limit) : 0;
}

/* ---- For the program ----------------------------------------------------------------------- */

static int memfd_of(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("handshake-early-data", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t written = 0;

	if (fd < 0)
		return -errno;
	while (written < size) {
		ssize_t n = pwrite(fd, bytes + written, size - written, (off_t)written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			close(fd);
			return -EIO;
		}
		written += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int early_data_describe(struct early_data *early, struct outcome *outcome)
{
	if (!early->offered)
		return 0;
	outcome->early_data = early->taken ? "accepted" : "rejected";
	if (!early->taken)
		outcome->early_data_reason = early->reason;
	/* Without a byte there is still the fact: RFC 8446 lets a client send none. */
	if (!early->taken || early->decision->role != REQUEST_SERVER)
		return 0;
	outcome->early_data_fd = memfd_of(early->bytes, early->size);
	return outcome->early_data_fd < 0 ? outcome->early_data_fd : 0;
}

void early_data_close(struct early_data *early)
{
	if (early->guard != NULL && early->offered)
		counters_add(
		    early->guard->counters,
		    early->taken ? COUNTER_EARLY_DATA_ACCEPTED : COUNTER_EARLY_DATA_REJECTED, 1);
	early->offered = false;
	if (early->bytes != NULL)
		explicit_bzero(early->bytes, early->size);
	free(early->bytes);
	early->bytes = NULL;
	early->size = 0;
}
