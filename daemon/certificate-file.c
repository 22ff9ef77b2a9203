// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads certificates from PEM files, and judges what can be judged without a peer. Touches only the
// file it is given; never skips what it does not understand.
#include "certificate-file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "pem.h"

enum { CERTIFICATE_FILE_MAX = 16 << 20 }; // bytes

static bool label_is_certificate(const char *label)
{
	return !strcmp(label, "CERTIFICATE") || !strcmp(label, "X509 CERTIFICATE");
}

static int block_refuse(const struct pem_block *block, const char *path, const char *what,
			struct problem *problem)
{
	if (strstr(block->label, "PRIVATE KEY"))
		return problem_set(
		    problem,
		    "%s \"%s\": there is a private key in line %u; keep it in a file of"
		    " its own",
		    what, path, block->line);
	if (!strcmp(block->label, "TRUSTED CERTIFICATE"))
		return problem_set(problem,
				   "%s \"%s\": line %u begins a \"TRUSTED CERTIFICATE\", which only"
				   " OpenSSL knows; convert it with \"openssl x509\"",
				   what, path, block->line);
	return problem_set(problem, "%s \"%s\": line %u begins a \"%s\", not a certificate", what,
			   path, block->line, block->label);
}

static int block_read(const struct pem_block *block, const char *path, const char *what,
		      struct certificates *certificates, struct problem *problem)
{
	gnutls_x509_crt_t *larger;
	int error;

	if (!label_is_certificate(block->label))
		return block_refuse(block, path, what, problem);
	larger =
	    reallocarray(certificates->items, certificates->count + 1, sizeof(gnutls_x509_crt_t));
	if (!larger)
		return problem_set(problem, "out of memory");
	certificates->items = larger;
	error = gnutls_x509_crt_init(&larger[certificates->count]);
	if (error < 0)
		return problem_set(problem, "out of memory");
	certificates->count++;
	error = gnutls_x509_crt_import(larger[certificates->count - 1], &block->text,
				       GNUTLS_X509_FMT_PEM);
	if (error < 0)
		return problem_set(problem,
				   "%s \"%s\": the certificate in line %u cannot be read: %s", what,
				   path, block->line, gnutls_strerror(error));
	return 0;
}

int certificate_file_read(const char *path, const char *what, unsigned most,
			  struct certificates *ret_certificates, struct problem *problem)
{
	struct certificates certificates = {};
	struct pem_reader reader = {.line = 1};
	struct pem_block block;
	struct file file;
	int more;

	if (file_read(path, what, CERTIFICATE_FILE_MAX, &file, problem) < 0)
		return -1;
	if (file_check_writers(&file, path, what, problem) < 0)
		goto fail;
	if (strlen(file.data) != file.size) {
		problem_set(problem, "%s \"%s\" is not PEM text: it has a NUL byte", what, path);
		goto fail;
	}
	reader.position = file.data;
	while ((more = pem_next(&reader, &block)) > 0) {
		if (certificates.count == most) {
			problem_set(problem, "%s \"%s\" has more than %u certificates", what, path,
				    most);
			goto fail;
		}
		if (block_read(&block, path, what, &certificates, problem) < 0)
			goto fail;
	}
	if (more < 0) {
		problem_set(problem,
			    "%s \"%s\": the \"%s\" in line %u has no end; the file is cut"
			    " off or damaged",
			    what, path, block.label, block.line);
		goto fail;
	}
	if (!certificates.count) {
		problem_set(problem,
			    "%s \"%s\" has no certificate in it; PEM text with \"-----BEGIN"
			    " CERTIFICATE-----\" is expected",
			    what, path);
		goto fail;
	}
	file_done(&file);
	*ret_certificates = certificates;
	return 0;
fail:
	file_done(&file);
	certificates_done(&certificates);
	return -1;
}

static bool key_is_weak(int algorithm, unsigned bits)
{
	return algorithm < 0 || gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)algorithm,
							    bits) < GNUTLS_SEC_PARAM_MEDIUM;
}

int certificate_is_weak(gnutls_x509_crt_t certificate)
{
	unsigned bits = 0;
	int algorithm = gnutls_x509_crt_get_pk_algorithm(certificate, &bits);

	return key_is_weak(algorithm, bits);
}

// By name, since older GnuTLS does not know it; one that cannot compute with it read no certificate.
static bool key_is_post_quantum(int algorithm)
{
	const char *name = gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm);

	return name && !strncmp(name, "ML-DSA-", 7);
}

static bool key_is_usable(int algorithm)
{
	switch (algorithm) {
	case GNUTLS_PK_RSA:
	case GNUTLS_PK_RSA_PSS:
	case GNUTLS_PK_ECDSA:
	case GNUTLS_PK_EDDSA_ED25519:
	case GNUTLS_PK_EDDSA_ED448:
		return true;
	default:
		return key_is_post_quantum(algorithm);
	}
}

// 0, or negative and a sentence; -ENOMEM says nothing about the chain.
static int chain_check(const char *path, const struct certificates *chain, struct problem *problem)
{
	char one[256], other[256];
	unsigned bits = 0;

	for (unsigned i = 0; i < chain->count; i++) {
		int algorithm = gnutls_x509_crt_get_pk_algorithm(chain->items[i], &bits);

		if (algorithm == GNUTLS_E_MEMORY_ERROR) {
			problem_set(problem, "out of memory");
			return -ENOMEM;
		}
		if (i == 0 && !key_is_usable(algorithm))
			return problem_set(
			    problem,
			    "certificate \"%s\": TLS cannot use its kind of key; use ECDSA,"
			    " Ed25519 or RSA",
			    path);
		if (key_is_weak(algorithm, bits))
			return problem_set(
			    problem,
			    "certificate \"%s\": the key of \"%s\" is too weak (%u"
			    " bits); RSA needs 2048",
			    path, certificate_name(chain->items[i], one, sizeof(one)), bits);
	}
	for (unsigned i = 0; i + 1 < chain->count; i++)
		if (!gnutls_x509_crt_check_issuer(chain->items[i], chain->items[i + 1]))
			return problem_set(
			    problem,
			    "certificate \"%s\": number %u (\"%s\") is not the issuer of the one"
			    " before it (\"%s\"); begin with the own certificate, each issuer"
			    " behind what it issued",
			    path, i + 2, certificate_name(chain->items[i + 1], one, sizeof(one)),
			    certificate_name(chain->items[i], other, sizeof(other)));
	return 0;
}

int certificate_chain_read(const char *path, struct certificates *ret_chain,
			   struct problem *problem)
{
	struct certificates chain;

	if (certificate_file_read(path, "certificate", CERTIFICATE_CHAIN_MAX, &chain, problem) < 0)
		return -1;
	if (chain_check(path, &chain, problem) < 0) {
		certificates_done(&chain);
		return -1;
	}
	*ret_chain = chain;
	return 0;
}

int certificate_chain_import(const void *bytes, size_t size, const char *source,
			     struct certificates *ret_chain, struct problem *problem)
{
	const gnutls_datum_t data = {(unsigned char *)bytes, (unsigned)size};
	bool der = size > 0 && data.data[0] == 0x30; // a SEQUENCE
	gnutls_x509_crt_t *list = NULL;
	struct certificates chain = {};
	int error;

	error = gnutls_x509_crt_list_import2(&list, &chain.count, &data,
					     der ? GNUTLS_X509_FMT_DER : GNUTLS_X509_FMT_PEM, 0);
	if (error < 0) {
		problem_set(problem, "certificate \"%s\" cannot be read as DER or PEM: %s", source,
			    gnutls_strerror(error));
		return error == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
	}
	chain.items = calloc(chain.count, sizeof(gnutls_x509_crt_t));
	for (unsigned i = 0; i < chain.count; i++)
		if (chain.items)
			chain.items[i] = list[i];
		else
			gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	if (!chain.items) {
		problem_set(problem, "out of memory");
		return -ENOMEM;
	}
	error = chain.count > CERTIFICATE_CHAIN_MAX
		    ? problem_set(problem, "certificate \"%s\" has more than %d in its chain",
				  source, CERTIFICATE_CHAIN_MAX)
		    : chain_check(source, &chain, problem);
	if (error < 0) {
		certificates_done(&chain);
		return error;
	}
	*ret_chain = chain;
	return 0;
}

void certificates_done(struct certificates *certificates)
{
	for (unsigned i = 0; i < certificates->count; i++)
		gnutls_x509_crt_deinit(certificates->items[i]);
	free(certificates->items);
	certificates->items = NULL;
	certificates->count = 0;
}

const char *certificate_name(gnutls_x509_crt_t certificate, char *buffer, size_t size)
{
	for (unsigned i = 0;; i++) {
		size_t length = size;
		int type =
		    gnutls_x509_crt_get_subject_alt_name(certificate, i, buffer, &length, NULL);

		if (type == GNUTLS_SAN_DNSNAME)
			break;
		if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER) {
			length = size;
			if (gnutls_x509_crt_get_dn(certificate, buffer, &length) < 0)
				snprintf(buffer, size, "(no name)");
			break;
		}
	}
	// Certificates come from others: what they are called must not disturb a terminal or a log.
	for (char *c = buffer; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return buffer;
}

const char *certificate_time(time_t when, char *buffer, size_t size)
{
	struct tm parts;

	if (!gmtime_r(&when, &parts) || !strftime(buffer, size, "%Y-%m-%d %H:%M:%S UTC", &parts))
		snprintf(buffer, size, "(no time)");
	return buffer;
}
