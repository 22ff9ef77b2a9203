// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o */
/* A certificate that came with a request: DER or a chain in PEM, and only with its own private key. */
#include "kernel-certificate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pki.h"
#include "sealed-memory.h"

static struct pki_entity *root, *leaf, *other, *weak;
static struct problem problem;

static int setup(void **state)
{
	(void)state;
	root = pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	leaf = pki_new(&(struct pki_wish){.issuer = root, .names = {"leaf.test"}});
	other = pki_new(&(struct pki_wish){.issuer = root, .names = {"other.test"}});
	weak = pki_new(
	    &(struct pki_wish){.issuer = root, .names = {"weak.test"}, .kind = PKI_RSA_WEAK});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(weak);
	pki_free(other);
	pki_free(leaf);
	pki_free(root);
	return 0;
}

static struct signer_lent key_of(const struct pki_entity *entity)
{
	struct signer_lent lent = {.number = SIGNER_LENT_FIRST | 1};
	size_t size = sizeof(lent.id);
	unsigned bits;

	lent.algorithm = (uint32_t)gnutls_x509_privkey_get_pk_algorithm2(entity->key, &bits);
	lent.bits = bits;
	assert_int_equal(
	    gnutls_x509_privkey_get_key_id(entity->key, GNUTLS_KEYID_USE_SHA256, lent.id, &size),
	    0);
	return lent;
}

/* What is made of these bytes with this entity's key: NULL, or to be freed. */
static struct kernel_certificate *make(const void *bytes, size_t size,
				       const struct pki_entity *entity)
{
	struct signer_lent lent = key_of(entity);
	struct kernel_certificate *certificate = NULL;

	problem.text[0] = '\0';
	if (kernel_certificate_new(sealed_memory_new("test", bytes, size), &lent, NULL,
				   &certificate, &problem) < 0)
		assert_true(problem.text[0] != '\0');
	return certificate;
}

static void assert_shows(struct kernel_certificate *certificate, const struct pki_entity *first)
{
	gnutls_datum_t shown, der;

	if (!certificate)
		fail_msg("%s", problem.text);
	assert_int_equal(gnutls_certificate_get_crt_raw(kernel_certificate_credentials(certificate),
							0, 0, &shown),
			 0);
	assert_int_equal(gnutls_x509_crt_export2(first->certificate, GNUTLS_X509_FMT_DER, &der), 0);
	assert_int_equal(shown.size, der.size);
	assert_memory_equal(shown.data, der.data, der.size);
	gnutls_free(der.data);
	kernel_certificate_free(certificate);
}

static void takes_der_and_chains(void **state)
{
	gnutls_datum_t der;
	char *one = pki_text_of_certificate(leaf), *two = pki_text_of_certificate(root), *both;

	(void)state;
	assert_int_equal(gnutls_x509_crt_export2(leaf->certificate, GNUTLS_X509_FMT_DER, &der), 0);
	assert_shows(make(der.data, der.size, leaf), leaf);
	assert_int_not_equal(asprintf(&both, "%s%s", one, two), -1);
	assert_shows(make(both, strlen(both), leaf), leaf);
	free(both);
	/* The issuer must be behind what it has issued. */
	assert_int_not_equal(asprintf(&both, "%s%s", two, one), -1);
	assert_null(make(both, strlen(both), leaf));
	assert_non_null(strstr(problem.text, "is not the issuer"));
	free(both);
	gnutls_free(der.data);
	gnutls_free(one);
	gnutls_free(two);
}

static void refuses_what_cannot_serve(void **state)
{
	char *text = pki_text_of_certificate(leaf), *poor = pki_text_of_certificate(weak);
	char *large = calloc(1, KERNEL_CERTIFICATE_MAX + 1);

	(void)state;
	assert_null(make(text, strlen(text), other));
	assert_non_null(strstr(problem.text, "is not that of its certificate"));
	assert_null(make(poor, strlen(poor), weak));
	assert_non_null(strstr(problem.text, "too weak"));
	assert_null(make("nothing", 7, leaf));
	assert_non_null(strstr(problem.text, "cannot be read as DER or PEM"));
	assert_null(make("\x30\x82", 2, leaf));
	assert_null(make("", 0, leaf));
	assert_non_null(large);
	assert_null(make(large, KERNEL_CERTIFICATE_MAX + 1, leaf));
	assert_non_null(strstr(problem.text, "cannot be read"));
	free(large);
	gnutls_free(text);
	gnutls_free(poor);
}

/* ---- Want of memory ---- */

static gnutls_alloc_function malloc_of_library;
static unsigned allocations, fails_at; /* 0: none */

static void *malloc_failing(size_t size)
{
	return ++allocations == fails_at ? NULL : malloc_of_library(size);
}

/* Whichever allocation of the library fails until the certificate has been checked: it is no complaint about that or
 * its key. Behind that the library leaks where it fails; see pair_give(). */
static void want_of_memory_is_no_wrong_key(void **state)
{
	char *one = pki_text_of_certificate(leaf), *two = pki_text_of_certificate(root), *text;
	struct signer_lent lent = key_of(leaf);
	unsigned temporary = 0;
	int r;

	(void)state;
	assert_int_not_equal(asprintf(&text, "%s%s", one, two), -1);
	malloc_of_library = gnutls_malloc;
	gnutls_malloc = malloc_failing;
	do {
		struct kernel_certificate *certificate = NULL;

		problem.text[0] = '\0';
		allocations = 0;
		fails_at++;
		r = kernel_certificate_new(sealed_memory_new("test", text, strlen(text)), &lent,
					   NULL, &certificate, &problem);
		temporary += r == -ENOMEM;
		/* Some versions of the library take their own want of memory for bad PEM. */
		if (r < 0 && r != -ENOMEM && !strstr(problem.text, "DER or PEM"))
			fail_msg("allocation %u: \"%s\"", fails_at, problem.text);
		kernel_certificate_free(certificate);
	} while (allocations >= fails_at && !strstr(problem.text, "cannot be used"));
	gnutls_malloc = malloc_of_library;
	assert_int_equal(r, -ENOMEM);
	assert_true(temporary > 0);
	free(text);
	gnutls_free(one);
	gnutls_free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_der_and_chains),
	    cmocka_unit_test(refuses_what_cannot_serve),
	    cmocka_unit_test(want_of_memory_is_no_wrong_key),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
