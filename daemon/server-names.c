// SPDX-License-Identifier: LGPL-2.1-or-later
// Maps server names to certificates. Plain memory: no session, no key. Never matches a wildcard to
// more than one label (RFC 9525, 6.3).
#include "server-names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 };

struct entry {
	char *name; // lower case; "*.example.com"
	unsigned number;
};

struct served {
	const char *name; // the entry's
	unsigned group;
};

struct group {
	unsigned *numbers; // ascending; points into all_numbers
	unsigned count;
};

struct server_names {
	struct entry *entries; // sorted by name, then number, when finished
	size_t count, room;
	struct served *served; // sorted by name
	size_t served_count;
	unsigned *all_numbers;
	struct group *groups;
	unsigned group_count;
};

struct server_names *server_names_new(void)
{
	return calloc(1, sizeof(struct server_names));
}

void server_names_free(struct server_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->count; i++)
		free(names->entries[i].name);
	free(names->entries);
	free(names->served);
	free(names->all_numbers);
	free(names->groups);
	free(names);
}

// Lower case, without a final dot. False if it is no name that a client could ask for.
static bool name_fold(char *folded, const char *name, size_t length)
{
	if (length && name[length - 1] == '.')
		length--;
	if (!length || length >= NAME_SIZE || memchr(name, '\0', length))
		return false;
	for (size_t i = 0; i < length; i++)
		folded[i] =
		    name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
	folded[length] = '\0';
	return true;
}

static int entry_add(struct server_names *names, const char *name, size_t length, unsigned number)
{
	char folded[NAME_SIZE];
	struct entry *larger;

	if (!name_fold(folded, name, length))
		return 0;
	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 16;

		larger = reallocarray(names->entries, room, sizeof(*larger));
		if (!larger)
			return -1;
		names->entries = larger;
		names->room = room;
	}
	names->entries[names->count].name = strdup(folded);
	if (!names->entries[names->count].name)
		return -1;
	names->entries[names->count++].number = number;
	return 0;
}

int server_names_add(struct server_names *names, gnutls_x509_crt_t certificate, unsigned number)
{
	bool found = false;
	char name[NAME_SIZE];
	size_t size;

	for (unsigned i = 0;; i++) {
		int type;

		size = sizeof(name);
		type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &size, NULL);
		if (type == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue; // Longer than any DNS name.
		if (type < 0)
			break;
		if (type != GNUTLS_SAN_DNSNAME)
			continue;
		found = true;
		if (entry_add(names, name, strnlen(name, size), number) < 0)
			return -1;
	}
	// Old certificates have their name in the subject only. Whether that is enough is for the
	// client to say; here it only chooses.
	size = sizeof(name);
	if (!found && gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
						    name, &size) == 0)
		return entry_add(names, name, strnlen(name, size), number);
	return 0;
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->number < y->number ? -1 : x->number > y->number;
}

static int group_compare(const struct group *x, const struct group *y)
{
	if (x->count != y->count)
		return x->count < y->count ? -1 : 1;
	if (x->count == 0)
		return 0;
	return memcmp(x->numbers, y->numbers, x->count * sizeof(*x->numbers));
}

static int served_compare_groups(const void *a, const void *b, void *groups)
{
	const struct group *all = groups;

	return group_compare(&all[((const struct served *)a)->group],
			     &all[((const struct served *)b)->group]);
}

static int served_compare(const void *a, const void *b)
{
	return strcmp(((const struct served *)a)->name, ((const struct served *)b)->name);
}

// One group per name first.
static void groups_collect(struct server_names *names)
{
	size_t used = 0;

	for (size_t i = 0; i < names->count;) {
		struct group *group = &names->groups[names->served_count];
		const char *name = names->entries[i].name;

		group->numbers = &names->all_numbers[used];
		for (; i < names->count && !strcmp(names->entries[i].name, name); i++) {
			if (group->count &&
			    group->numbers[group->count - 1] == names->entries[i].number)
				continue; // The certificate has the name twice.
			group->numbers[group->count++] = names->entries[i].number;
			used++;
		}
		names->served[names->served_count].name = name;
		names->served[names->served_count].group = (unsigned)names->served_count;
		names->served_count++;
	}
}

// Then groups with the same members become one: a certificate with a hundred names is one group.
static int groups_merge(struct server_names *names)
{
	struct group *merged = calloc(names->served_count + 1, sizeof(*merged));

	if (!merged)
		return -1;
	qsort_r(names->served, names->served_count, sizeof(*names->served), served_compare_groups,
		names->groups);
	for (size_t i = 0; i < names->served_count; i++) {
		const struct group *group = &names->groups[names->served[i].group];

		if (!names->group_count ||
		    group_compare(&merged[names->group_count - 1], group) != 0)
			merged[names->group_count++] = *group;
		names->served[i].group = names->group_count - 1;
	}
	free(names->groups);
	names->groups = merged;
	return 0;
}

int server_names_finish(struct server_names *names)
{
	if (names->count)
		qsort(names->entries, names->count, sizeof(*names->entries), entry_compare);
	names->served = calloc(names->count + 1, sizeof(*names->served));
	names->groups = calloc(names->count + 1, sizeof(*names->groups));
	names->all_numbers = calloc(names->count + 1, sizeof(*names->all_numbers));
	if (!names->served || !names->groups || !names->all_numbers)
		return -1;
	groups_collect(names);
	if (groups_merge(names) < 0)
		return -1;
	qsort(names->served, names->served_count, sizeof(*names->served), served_compare);
	return 0;
}

unsigned server_names_group_count(const struct server_names *names)
{
	return names->group_count;
}

const unsigned *server_names_group(const struct server_names *names, unsigned group,
				   unsigned *ret_count)
{
	*ret_count = names->groups[group].count;
	return names->groups[group].numbers;
}

static int served_find(const struct server_names *names, const char *name)
{
	struct served key = {.name = name};
	const struct served *found =
	    bsearch(&key, names->served, names->served_count, sizeof(key), served_compare);

	return found ? (int)found->group : -1;
}

int server_names_find(const struct server_names *names, const char *name)
{
	char folded[NAME_SIZE];
	char *dot;
	int group;

	if (!name_fold(folded, name, strlen(name)) || folded[0] == '*')
		return -1;
	group = served_find(names, folded);
	if (group >= 0)
		return group;
	// "www.example.com" -> "*.example.com": the star takes the place of the first label.
	dot = strchr(folded, '.');
	if (!dot || dot == folded)
		return -1;
	dot[-1] = '*';
	return served_find(names, dot - 1);
}
