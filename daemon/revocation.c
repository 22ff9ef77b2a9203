// SPDX-License-Identifier: LGPL-2.1-or-later
// Certificate revocation lists: reads them, says whether a certificate is on one. Touches only the
// file it is given. Never takes a list for good that is expired, unsigned, or incomplete: GnuTLS's
// own trust lists look at neither date nor signature of a list when they search it.
#include "revocation.h"

#include <gnutls/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "pem.h"

enum {
	LIST_FILE_MAX = 256 << 20, // bytes
	LISTS_MAX = 1024,
	SERIAL_SIZE = 20, // RFC 5280, 4.1.2.2
	FINGERPRINT_SIZE = 32,
};

struct serial {
	unsigned char size;
	unsigned char bytes[SERIAL_SIZE];
};

struct list {
	gnutls_x509_crl_t crl;
	gnutls_datum_t issuer; // raw name
	time_t this_update, next_update;
	struct serial *serials; // sorted
	size_t serial_count;
	bool verified; // its signature, by the certificate below
	unsigned char verified_by[FINGERPRINT_SIZE];
};

struct revocation {
	struct list *lists;
	size_t count;
	unsigned char digest[32]; // of the file
};

static int serial_compare(const void *a, const void *b)
{
	const struct serial *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return memcmp(x->bytes, y->bytes, x->size);
}

// Without leading zeros, so that two encodings of one number are one.
static bool serial_set(struct serial *serial, const unsigned char *bytes, size_t size)
{
	while (size > 1 && !*bytes) {
		bytes++;
		size--;
	}
	if (size > SERIAL_SIZE)
		return false;
	memset(serial, 0, sizeof(*serial));
	serial->size = (unsigned char)size;
	memcpy(serial->bytes, bytes, size);
	return true;
}

static int serials_read(struct list *list, const char *path, unsigned line, struct problem *problem)
{
	gnutls_x509_crl_iter_t iterator = NULL;
	int announced = gnutls_x509_crl_get_crt_count(list->crl), error;

	if (announced < 0)
		return problem_set(problem,
				   "revocation-list \"%s\": the list in line %u cannot be"
				   " read: %s",
				   path, line, gnutls_strerror(announced));
	list->serials = calloc((size_t)announced + 1, sizeof(*list->serials));
	if (!list->serials)
		return problem_set(problem, "out of memory");
	while (list->serial_count < (size_t)announced) {
		unsigned char bytes[64];
		size_t size = sizeof(bytes);

		error = gnutls_x509_crl_iter_crt_serial(list->crl, &iterator, bytes, &size, NULL);
		if (error < 0 || !serial_set(&list->serials[list->serial_count], bytes, size))
			break;
		list->serial_count++;
	}
	gnutls_x509_crl_iter_deinit(iterator);
	if (list->serial_count != (size_t)announced)
		return problem_set(problem,
				   "revocation-list \"%s\": entry %zu of the list in line %u cannot"
				   " be read",
				   path, list->serial_count + 1, line);
	qsort(list->serials, list->serial_count, sizeof(*list->serials), serial_compare);
	return 0;
}

// RFC 5280, 5.2: a list with a critical extension that is not understood must not be used.
static int extensions_check(const struct list *list, const char *path, unsigned line,
			    struct problem *problem)
{
	for (unsigned i = 0;; i++) {
		char oid[128];
		size_t size = sizeof(oid);
		unsigned critical = 0;
		int error = gnutls_x509_crl_get_extension_info(list->crl, i, oid, &size, &critical);

		if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return 0;
		if (error < 0)
			return problem_set(
			    problem,
			    "revocation-list \"%s\": the extensions of the list in line"
			    " %u cannot be read: %s",
			    path, line, gnutls_strerror(error));
		if (!strcmp(oid, "2.5.29.27"))
			return problem_set(
			    problem,
			    "revocation-list \"%s\": line %u begins a delta list, which"
			    " names only changes; use complete lists",
			    path, line);
		if (!strcmp(oid, "2.5.29.28"))
			return problem_set(
			    problem,
			    "revocation-list \"%s\": line %u begins a partial or"
			    " indirect list (issuing distribution point); use complete"
			    " lists of the issuer itself",
			    path, line);
		if (critical)
			return problem_set(
			    problem,
			    "revocation-list \"%s\": the list in line %u has a critical"
			    " extension that is not known (%s)",
			    path, line, oid);
	}
}

static int list_read(struct list *list, const struct pem_block *block, const char *path,
		     struct problem *problem)
{
	int error;

	if (strcmp(block->label, "X509 CRL") != 0)
		return problem_set(problem,
				   "revocation-list \"%s\": line %u begins a \"%s\", not an \"X509"
				   " CRL\"",
				   path, block->line, block->label);
	error = gnutls_x509_crl_init(&list->crl);
	if (error == 0)
		error = gnutls_x509_crl_import(list->crl, &block->text, GNUTLS_X509_FMT_PEM);
	if (error == 0)
		error = gnutls_x509_crl_get_raw_issuer_dn(list->crl, &list->issuer);
	if (error < 0)
		return problem_set(problem,
				   "revocation-list \"%s\": the list in line %u cannot be read: %s",
				   path, block->line, gnutls_strerror(error));
	list->this_update = gnutls_x509_crl_get_this_update(list->crl);
	list->next_update = gnutls_x509_crl_get_next_update(list->crl);
	if (list->this_update == (time_t)-1 || list->next_update == (time_t)-1)
		return problem_set(problem,
				   "revocation-list \"%s\": the list in line %u does not say until"
				   " when it holds (nextUpdate; RFC 5280, 5.1.2.5)",
				   path, block->line);
	if (extensions_check(list, path, block->line, problem) < 0)
		return -1;
	return serials_read(list, path, block->line, problem);
}

static int lists_read(struct revocation *revocation, const struct file *file, const char *path,
		      struct problem *problem)
{
	struct pem_reader reader = {.position = file->data, .line = 1};
	struct pem_block block;
	int more;

	while ((more = pem_next(&reader, &block)) > 0) {
		struct list *larger;

		if (revocation->count == LISTS_MAX)
			return problem_set(problem, "revocation-list \"%s\" has more than %d lists",
					   path, LISTS_MAX);
		larger = reallocarray(revocation->lists, revocation->count + 1, sizeof(*larger));
		if (!larger)
			return problem_set(problem, "out of memory");
		revocation->lists = larger;
		memset(&larger[revocation->count], 0, sizeof(*larger));
		if (list_read(&larger[revocation->count++], &block, path, problem) < 0)
			return -1;
	}
	if (more < 0)
		return problem_set(problem,
				   "revocation-list \"%s\": the \"%s\" in line %u has no end; the"
				   " file is cut off or damaged",
				   path, block.label, block.line);
	if (!revocation->count)
		return problem_set(problem,
				   "revocation-list \"%s\" has no list in it; PEM text with"
				   " \"-----BEGIN X509 CRL-----\" is expected",
				   path);
	return 0;
}

int revocation_read(const char *path, struct revocation **ret_revocation, struct problem *problem)
{
	struct revocation *revocation;
	struct file file;
	int error;

	if (file_read(path, "revocation-list", LIST_FILE_MAX, &file, problem) < 0)
		return -1;
	revocation = calloc(1, sizeof(*revocation));
	if (!revocation)
		error = problem_set(problem, "out of memory");
	else if (file_check_writers(&file, path, "revocation-list", problem) < 0)
		error = -1;
	else if (strlen(file.data) != file.size)
		error = problem_set(problem,
				    "revocation-list \"%s\" is not PEM text: it has a NUL byte;"
				    " convert it with \"openssl crl -inform DER\"",
				    path);
	else
		error = lists_read(revocation, &file, path, problem);
	if (!error &&
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, file.data, file.size, revocation->digest) < 0)
		error = problem_set(problem, "out of memory");
	file_done(&file);
	if (error) {
		revocation_free(revocation);
		return -1;
	}
	*ret_revocation = revocation;
	return 0;
}

const unsigned char *revocation_digest(const struct revocation *revocation)
{
	return revocation->digest;
}

void revocation_free(struct revocation *revocation)
{
	if (!revocation)
		return;
	for (size_t i = 0; i < revocation->count; i++) {
		struct list *list = &revocation->lists[i];

		if (list->crl)
			gnutls_x509_crl_deinit(list->crl);
		gnutls_free(list->issuer.data);
		free(list->serials);
	}
	free(revocation->lists);
	free(revocation);
}

// A list can be megabytes long: its signature is checked once per issuer, not per handshake.
static bool list_signed_by(struct list *list, gnutls_x509_crt_t issuer)
{
	// Dates are judged anew each time, by the caller; GnuTLS 3.7 looks at them whatever the
	// flags say.
	const unsigned of_dates =
	    GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
	unsigned char fingerprint[FINGERPRINT_SIZE];
	size_t size = sizeof(fingerprint);
	unsigned status = 0;

	if (gnutls_x509_crt_get_fingerprint(issuer, GNUTLS_DIG_SHA256, fingerprint, &size) < 0)
		return false;
	if (list->verified && !memcmp(list->verified_by, fingerprint, sizeof(fingerprint)))
		return true;
	if (gnutls_x509_crl_verify(list->crl, &issuer, 1,
				   GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status) < 0)
		return false;
	// Not remembered then: GNUTLS_CERT_INVALID may have had a second cause, and such a list
	// never makes anybody good.
	if (status & of_dates)
		return (status & ~(of_dates | GNUTLS_CERT_INVALID)) == 0;
	if (status)
		return false;
	list->verified = true;
	memcpy(list->verified_by, fingerprint, sizeof(fingerprint));
	return true;
}

static bool list_is_of(const struct list *list, const gnutls_datum_t *name)
{
	return list->issuer.size == name->size &&
	       !memcmp(list->issuer.data, name->data, name->size);
}

enum revocation_status revocation_check(struct revocation *revocation,
					gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer,
					time_t now)
{
	enum revocation_status status = REVOCATION_NO_LIST;
	gnutls_datum_t name = {};
	unsigned char bytes[64];
	size_t size = sizeof(bytes);
	struct serial serial;

	if (gnutls_x509_crt_get_serial(certificate, bytes, &size) < 0 ||
	    !serial_set(&serial, bytes, size) ||
	    gnutls_x509_crt_get_raw_issuer_dn(certificate, &name) < 0)
		return REVOCATION_BAD_LIST;
	for (size_t i = 0; i < revocation->count; i++) {
		struct list *list = &revocation->lists[i];

		if (!list_is_of(list, &name))
			continue;
		if (!list_signed_by(list, issuer)) {
			if (status == REVOCATION_NO_LIST)
				status = REVOCATION_BAD_LIST;
			continue;
		}
		// An old list still says the truth about what it names: revoked stays revoked.
		if (bsearch(&serial, list->serials, list->serial_count, sizeof(serial),
			    serial_compare)) {
			status = REVOCATION_REVOKED;
			break;
		}
		if (list->this_update <= now && now <= list->next_update)
			status = REVOCATION_GOOD;
		else if (status != REVOCATION_GOOD)
			status = REVOCATION_NOT_CURRENT;
	}
	gnutls_free(name.data);
	return status;
}

size_t revocation_count(const struct revocation *revocation)
{
	return revocation ? revocation->count : 0;
}

void revocation_describe(const struct revocation *revocation, size_t i,
			 struct revocation_facts *ret_facts)
{
	const struct list *list = &revocation->lists[i];
	size_t size = sizeof(ret_facts->issuer);

	if (gnutls_x509_crl_get_issuer_dn(list->crl, ret_facts->issuer, &size) < 0)
		snprintf(ret_facts->issuer, sizeof(ret_facts->issuer), "(no name)");
	ret_facts->this_update = list->this_update;
	ret_facts->next_update = list->next_update;
	ret_facts->revoked = list->serial_count;
}
