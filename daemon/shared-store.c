// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The workers' common memory, in LMDB: it lies in files, but nothing waits for a disk. Each table has an index
 * by expiry, so that the nearest to its end makes room. Opens files only in shared_store_open(); must never grow beyond its bytes, nor lose an entry of SHARED_REPLAY.
 */
#include "shared-store.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
	HASH_SIZE = 32,
	READERS = 1024, /* processes at once */
	PAGE = 4096,
	IN_PAGE = 1900,     /* a larger value gets pages of its own (LMDB: half a page) */
	PURGE_AT_ONCE = 16, /* expired entries that a put clears away */
	OPEN_FLAGS = MDB_NOSYNC | MDB_NOMETASYNC | MDB_NORDAHEAD,
};

struct index_key {
	uint8_t expires[8]; /* big-endian, so that they sort */
	uint8_t number[8];
};

struct entry {
	struct index_key index;
	uint64_t cost;
	uint8_t value[];
};

struct tally {
	uint64_t bytes, count, next;
};

struct table {
	MDB_dbi entries; /* hash of the key: struct entry */
	MDB_dbi index;   /* struct index_key: hash of the key */
	uint64_t bytes_max;
};

struct shared_store {
	MDB_env *env;
	MDB_dbi meta;
	struct table tables[SHARED_TABLES];
};

static const char *const table_names[SHARED_TABLES] = {"sessions", "tickets", "replay"};

/* ---- Opening ------------------------------------------------------------------------------- */

static int tables_open(struct shared_store *store, MDB_txn *txn)
{
	int error = mdb_dbi_open(txn, "meta", MDB_CREATE, &store->meta);

	for (int i = 0; error == 0 && i < SHARED_TABLES; i++) {
		char name[32];

		error = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &store->tables[i].entries);
		snprintf(name, sizeof(name), "%s-index", table_names[i]);
		if (error == 0)
			error = mdb_dbi_open(txn, name, MDB_CREATE, &store->tables[i].index);
	}
	return error;
}

static int env_open(struct shared_store *store, const char *directory, size_t map)
{
	MDB_txn *txn;
	int dead, error = mdb_env_create(&store->env);

	if (error == 0)
		error = mdb_env_set_maxdbs(store->env, 2 * SHARED_TABLES + 1);
	if (error == 0)
		error = mdb_env_set_maxreaders(store->env, READERS);
	if (error == 0)
		error = mdb_env_set_mapsize(store->env, map);
	if (error == 0)
		error = mdb_env_open(store->env, directory, OPEN_FLAGS, 0600);
	if (error == 0)
		error = mdb_reader_check(store->env, &dead); /* of workers that died */
	if (error == 0)
		error = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (error)
		return error;
	error = tables_open(store, txn);
	if (error == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return error;
}

int shared_store_open(const char *directory, size_t bytes, struct shared_store **ret_store,
		      struct problem *problem)
{
	struct shared_store *store = calloc(1, sizeof(*store));
	int error;

	if (store == NULL)
		return problem_set(problem, "out of memory");
	if (bytes < SHARED_BYTES_MIN)
		bytes = SHARED_BYTES_MIN;
	store->tables[SHARED_SESSIONS].bytes_max = bytes / 2;
	store->tables[SHARED_TICKETS].bytes_max = bytes / 4;
	store->tables[SHARED_REPLAY].bytes_max = bytes / 4;
	/* What is written goes to fresh pages first: room for the difference. */
	error = env_open(store, directory, (2 * bytes + (4 << 20)) / PAGE * PAGE);
	if (error == 0) {
		*ret_store = store;
		return 0;
	}
	shared_store_close(store);
	return problem_set(problem, "the store in \"%s\" cannot be opened: %s", directory,
			   mdb_strerror(error));
}

void shared_store_close(struct shared_store *store)
{
	if (store == NULL)
		return;
	if (store->env != NULL)
		mdb_env_close(store->env);
	free(store);
}

/* ---- Transactions -------------------------------------------------------------------------- */

static int trouble(const char *doing, int error)
{
	log_error("the workers' store: %s: %s", doing, mdb_strerror(error));
	return -EIO;
}

static int txn_begin(struct shared_store *store, unsigned flags, MDB_txn **ret_txn)
{
	int error = mdb_txn_begin(store->env, NULL, flags, ret_txn);

	/* A generation with a larger store has come. */
	if (error == MDB_MAP_RESIZED && mdb_env_set_mapsize(store->env, 0) == 0)
		error = mdb_txn_begin(store->env, NULL, flags, ret_txn);
	return error;
}

static int hash_make(enum shared_table table, const void *key, size_t size, uint8_t *hash)
{
	gnutls_hash_hd_t digest;
	uint8_t number = (uint8_t)table;

	if (gnutls_hash_init(&digest, GNUTLS_DIG_SHA256) < 0)
		return -EIO;
	gnutls_hash(digest, &number, 1);
	gnutls_hash(digest, key, size);
	gnutls_hash_deinit(digest, hash);
	return 0;
}

static void number_write(uint64_t number, uint8_t bytes[8])
{
	for (int i = 7; i >= 0; i--, number >>= 8)
		bytes[i] = (uint8_t)number;
}

static int64_t index_expires(const struct index_key *index)
{
	uint64_t number = 0;

	for (int i = 0; i < 8; i++)
		number = number << 8 | index->expires[i];
	return (int64_t)number;
}

/* What an entry takes of the file, a bit more rather than less. */
static uint64_t entry_cost(size_t size)
{
	uint64_t whole = sizeof(struct entry) + HASH_SIZE + 16 + size;

	if (whole > IN_PAGE)
		whole = (whole + PAGE) / PAGE * PAGE + 128;
	else
		whole = whole * 3 / 2; /* a tree's pages are two thirds full */
	return whole + (sizeof(struct index_key) + HASH_SIZE + 16) * 3 / 2;
}

static int tally_read(struct shared_store *store, MDB_txn *txn, enum shared_table table,
		      struct tally *ret)
{
	MDB_val key = {strlen(table_names[table]), (char *)table_names[table]}, value;
	int error = mdb_get(txn, store->meta, &key, &value);

	memset(ret, 0, sizeof(*ret));
	if (error == MDB_NOTFOUND)
		return 0;
	if (error == 0 && value.mv_size != sizeof(*ret))
		error = MDB_CORRUPTED;
	if (error == 0)
		memcpy(ret, value.mv_data, sizeof(*ret));
	return error;
}

static int tally_write(struct shared_store *store, MDB_txn *txn, enum shared_table table,
		       struct tally *tally)
{
	MDB_val key = {strlen(table_names[table]), (char *)table_names[table]};
	MDB_val value = {sizeof(*tally), tally};

	return mdb_put(txn, store->meta, &key, &value, 0);
}

/* The entry's head and where its value lies. */
static int entry_find(const struct table *table, MDB_txn *txn, uint8_t *hash, struct entry *ret,
		      MDB_val *ret_value)
{
	MDB_val key = {HASH_SIZE, hash}, value;
	int error = mdb_get(txn, table->entries, &key, &value);

	if (error)
		return error;
	if (value.mv_size < sizeof(*ret))
		return MDB_CORRUPTED;
	memcpy(ret, value.mv_data, sizeof(*ret));
	ret_value->mv_data = (uint8_t *)value.mv_data + sizeof(*ret);
	ret_value->mv_size = value.mv_size - sizeof(*ret);
	return 0;
}

static int entry_delete(const struct table *table, MDB_txn *txn, uint8_t *hash, struct tally *tally)
{
	MDB_val key = {HASH_SIZE, hash}, value, index_key;
	struct entry entry;
	int error = entry_find(table, txn, hash, &entry, &value);

	if (error)
		return error;
	index_key.mv_size = sizeof(entry.index);
	index_key.mv_data = &entry.index;
	error = mdb_del(txn, table->entries, &key, NULL);
	if (error == 0)
		error = mdb_del(txn, table->index, &index_key, NULL);
	tally->bytes -= entry.cost < tally->bytes ? entry.cost : tally->bytes;
	tally->count -= tally->count > 0;
	return error;
}

/* Deletes the entry that ends first, if its time is over or whatever its time. 0: one is gone, 1: none is to
 * go, or an error of LMDB. */
static int first_delete(const struct table *table, MDB_txn *txn, struct tally *tally, int64_t now,
			bool before_its_time, bool *ret_dropped)
{
	struct index_key index;
	uint8_t hash[HASH_SIZE];
	MDB_val key, value;
	MDB_cursor *cursor;
	int error = mdb_cursor_open(txn, table->index, &cursor);

	if (error)
		return error;
	error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	if (error == 0 && (key.mv_size != sizeof(index) || value.mv_size != sizeof(hash)))
		error = MDB_CORRUPTED;
	if (error == 0) {
		memcpy(&index, key.mv_data, sizeof(index));
		memcpy(hash, value.mv_data, sizeof(hash));
	}
	mdb_cursor_close(cursor);
	if (error)
		return error == MDB_NOTFOUND ? 1 : error;
	*ret_dropped = index_expires(&index) > now;
	if (*ret_dropped && !before_its_time)
		return 1;
	return entry_delete(table, txn, hash, tally);
}

/* ---- Putting ------------------------------------------------------------------------------- */

struct putting {
	uint8_t hash[HASH_SIZE];
	const void *value;
	size_t size;
	int64_t expires, now;
	bool only_if_new;
	int dropped;
};

/* Room for so much. 0, ENOSPC, or an error of LMDB. */
static int room_make(const struct table *table, enum shared_table number, MDB_txn *txn,
		     struct tally *tally, uint64_t cost, struct putting *putting)
{
	bool may_drop = number != SHARED_REPLAY, dropped;
	int error = 0;

	for (int i = 0; error == 0 && i < PURGE_AT_ONCE; i++)
		error = first_delete(table, txn, tally, putting->now, false, &dropped);
	while (error == 0 || error == 1) {
		if (tally->bytes + cost <= table->bytes_max)
			return 0;
		error = first_delete(table, txn, tally, putting->now, may_drop, &dropped);
		if (error == 1)
			return ENOSPC;
		putting->dropped += error == 0 && dropped;
	}
	return error;
}

static int entry_write(const struct table *table, MDB_txn *txn, struct tally *tally, uint64_t cost,
		       struct putting *putting)
{
	struct entry head = {.cost = cost};
	MDB_val key = {HASH_SIZE, putting->hash}, value = {sizeof(head) + putting->size, NULL};
	MDB_val index_key = {sizeof(head.index), &head.index};
	int error;

	number_write((uint64_t)putting->expires, head.index.expires);
	number_write(tally->next++, head.index.number);
	error = mdb_put(txn, table->entries, &key, &value, MDB_RESERVE);
	if (error)
		return error;
	memcpy(value.mv_data, &head, sizeof(head));
	if (putting->size > 0)
		memcpy((uint8_t *)value.mv_data + sizeof(head), putting->value, putting->size);
	value.mv_size = HASH_SIZE;
	value.mv_data = putting->hash;
	tally->bytes += cost;
	tally->count++;
	return mdb_put(txn, table->index, &index_key, &value, 0);
}

/* 0, EEXIST, ENOSPC, or an error of LMDB. */
static int put_within(struct shared_store *store, enum shared_table number, MDB_txn *txn,
		      struct putting *putting)
{
	const struct table *table = &store->tables[number];
	uint64_t cost = entry_cost(putting->size);
	struct entry there;
	struct tally tally;
	MDB_val value;
	int error = tally_read(store, txn, number, &tally);

	if (error == 0)
		error = entry_find(table, txn, putting->hash, &there, &value);
	if (error == 0) {
		if (putting->only_if_new && index_expires(&there.index) > putting->now)
			return EEXIST;
		error = entry_delete(table, txn, putting->hash, &tally);
	} else if (error == MDB_NOTFOUND) {
		error = 0;
	}
	if (error == 0)
		error = room_make(table, number, txn, &tally, cost, putting);
	if (error == 0)
		error = entry_write(table, txn, &tally, cost, putting);
	return error ? error : tally_write(store, txn, number, &tally);
}

int shared_store_put(struct shared_store *store, enum shared_table table, const void *key,
		     size_t key_size, const void *value, size_t size, int64_t expires,
		     bool only_if_new)
{
	struct putting putting = {.value = value,
				  .size = size,
				  .expires = expires,
				  .now = time(NULL),
				  .only_if_new = only_if_new};
	MDB_txn *txn;
	int error;

	if (size > SHARED_VALUE_MAX || entry_cost(size) > store->tables[table].bytes_max)
		return -EFBIG;
	if (hash_make(table, key, key_size, putting.hash) < 0)
		return -EIO;
	error = txn_begin(store, 0, &txn);
	if (error)
		return trouble("begin", error);
	error = put_within(store, table, txn, &putting);
	if (error == 0)
		error = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	if (error == EEXIST || error == ENOSPC)
		return -error;
	/* The file system's room, or pages that a reader holds on to: as if the bytes were used up. */
	if (error == MDB_MAP_FULL || error == MDB_TXN_FULL)
		return -ENOSPC;
	return error ? trouble("put", error) : putting.dropped;
}

/* ---- Getting ------------------------------------------------------------------------------- */

static int value_copy(const MDB_val *value, gnutls_datum_t *ret)
{
	ret->size = (unsigned)value->mv_size;
	ret->data = gnutls_malloc(value->mv_size > 0 ? value->mv_size : 1);
	if (ret->data == NULL)
		return ENOMEM;
	if (value->mv_size > 0)
		memcpy(ret->data, value->mv_data, value->mv_size);
	return 0;
}

/* 0, MDB_NOTFOUND, ENOMEM, or another error. */
static int get_within(const struct table *table, MDB_txn *txn, uint8_t *hash, gnutls_datum_t *ret)
{
	struct entry entry;
	MDB_val value;
	int error = entry_find(table, txn, hash, &entry, &value);

	if (error == 0 && index_expires(&entry.index) <= time(NULL))
		error = MDB_NOTFOUND;
	return error ? error : value_copy(&value, ret);
}

static int told(const char *doing, int error)
{
	if (error == MDB_NOTFOUND)
		return -ENOENT;
	if (error == ENOMEM)
		return -ENOMEM;
	return error ? trouble(doing, error) : 0;
}

int shared_store_get(struct shared_store *store, enum shared_table table, const void *key,
		     size_t key_size, gnutls_datum_t *ret_value)
{
	uint8_t hash[HASH_SIZE];
	MDB_txn *txn;
	int error;

	if (hash_make(table, key, key_size, hash) < 0)
		return -EIO;
	error = txn_begin(store, MDB_RDONLY, &txn);
	if (error)
		return trouble("begin", error);
	error = get_within(&store->tables[table], txn, hash, ret_value);
	mdb_txn_abort(txn);
	return told("get", error);
}

/* Whether it is worth a lock. */
static bool is_there(struct shared_store *store, enum shared_table table, uint8_t *hash)
{
	struct entry entry;
	MDB_val value;
	MDB_txn *txn;
	bool there;

	if (txn_begin(store, MDB_RDONLY, &txn) != 0)
		return false;
	there = entry_find(&store->tables[table], txn, hash, &entry, &value) == 0;
	mdb_txn_abort(txn);
	return there;
}

/* With ret_value NULL it is only deleted. */
static int take(struct shared_store *store, enum shared_table table, const void *key,
		size_t key_size, gnutls_datum_t *ret_value)
{
	gnutls_datum_t value = {NULL, 0};
	uint8_t hash[HASH_SIZE];
	struct tally tally;
	MDB_txn *txn;
	int error;

	if (hash_make(table, key, key_size, hash) < 0)
		return -EIO;
	if (!is_there(store, table, hash))
		return -ENOENT;
	error = txn_begin(store, 0, &txn);
	if (error)
		return trouble("begin", error);
	if (ret_value != NULL)
		error = get_within(&store->tables[table], txn, hash, &value);
	if (error == 0)
		error = tally_read(store, txn, table, &tally);
	if (error == 0)
		error = entry_delete(&store->tables[table], txn, hash, &tally);
	if (error == 0)
		error = tally_write(store, txn, table, &tally);
	if (error == 0)
		error = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	if (error == 0 && ret_value != NULL)
		*ret_value = value;
	else
		gnutls_free(value.data);
	return told("take", error);
}

int shared_store_take(struct shared_store *store, enum shared_table table, const void *key,
		      size_t key_size, gnutls_datum_t *ret_value)
{
	return take(store, table, key, key_size, ret_value);
}

int shared_store_remove_entry(struct shared_store *store, enum shared_table table, const void *key,
			      size_t key_size)
{
	return take(store, table, key, key_size, NULL);
}

uint64_t shared_store_count(struct shared_store *store, enum shared_table table)
{
	struct tally tally = {0};
	MDB_txn *txn;

	if (txn_begin(store, MDB_RDONLY, &txn) != 0)
		return 0;
	tally_read(store, txn, table, &tally);
	mdb_txn_abort(txn);
	return tally.count;
}

/* Each entry and what the index says of it. */
static int table_walk(const struct table *table, MDB_txn *txn)
{
	MDB_val key, value, hash;
	struct entry entry;
	MDB_cursor *cursor;
	uint8_t sum = 0;
	int error = mdb_cursor_open(txn, table->entries, &cursor);

	if (error)
		return error;
	while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		error = key.mv_size == HASH_SIZE
			    ? entry_find(table, txn, key.mv_data, &entry, &value)
			    : MDB_CORRUPTED;
		for (size_t i = 0; error == 0 && i < value.mv_size; i++)
			sum ^= ((const uint8_t *)value.mv_data)[i];
		value.mv_size = sizeof(entry.index);
		value.mv_data = &entry.index;
		if (error == 0)
			error = mdb_get(txn, table->index, &value, &hash);
		if (error == 0 && (hash.mv_size != HASH_SIZE ||
				   memcmp(hash.mv_data, key.mv_data, HASH_SIZE) != 0))
			error = MDB_CORRUPTED;
		if (error)
			break;
	}
	/* What was read matters to nobody, so long as it is read. */
	__asm__ volatile("" : : "r"(sum));
	mdb_cursor_close(cursor);
	return error == MDB_NOTFOUND ? 0 : error ? error : MDB_CORRUPTED;
}

int shared_store_walk(struct shared_store *store)
{
	struct tally tally;
	MDB_txn *txn;
	int error = txn_begin(store, MDB_RDONLY, &txn);

	if (error)
		return -1;
	for (int i = 0; error == 0 && i < SHARED_TABLES; i++) {
		error = tally_read(store, txn, (enum shared_table)i, &tally);
		if (error == 0)
			error = table_walk(&store->tables[i], txn);
	}
	mdb_txn_abort(txn);
	return error ? -1 : 0;
}
