// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o tests/unit/ocsp-maker.o */
/* What an OCSP response must be to count, and staples in files. */
#include "ocsp-response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ocsp-maker.h"
#include "pki.h"
#include "staple.h"

static struct pki_entity *root, *issuer, *stranger, *leaf, *other, *responder, *impostor, *must;

static int setup(void **state)
{
	(void)state;
	root = pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	issuer =
	    pki_new(&(struct pki_wish){.authority = true, .common_name = "issuer", .issuer = root});
	stranger = pki_new(&(struct pki_wish){.authority = true, .common_name = "issuer"});
	leaf = pki_new(&(struct pki_wish){.issuer = issuer, .names = {"leaf.test"}});
	other = pki_new(&(struct pki_wish){.issuer = issuer, .names = {"other.test"}});
	must = pki_new(
	    &(struct pki_wish){.issuer = issuer, .names = {"must.test"}, .must_staple = true});
	responder = pki_new(&(struct pki_wish){
	    .issuer = issuer, .common_name = "responder", .purpose = GNUTLS_KP_OCSP_SIGNING});
	impostor = pki_new(&(struct pki_wish){
	    .issuer = stranger, .common_name = "responder", .purpose = GNUTLS_KP_OCSP_SIGNING});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(root);
	pki_free(issuer);
	pki_free(stranger);
	pki_free(leaf);
	pki_free(other);
	pki_free(must);
	pki_free(responder);
	pki_free(impostor);
	pki_directory_remove();
	return 0;
}

static int read_of(const struct ocsp_wish *wish, struct ocsp_answer *answer,
		   struct problem *problem)
{
	struct ocsp_wish full = *wish;
	gnutls_datum_t der;
	int result;

	full.certificate = wish->certificate ? wish->certificate : leaf;
	full.issuer = wish->issuer ? wish->issuer : issuer;
	der = ocsp_make(&full);
	result = ocsp_response_read(&der, leaf->certificate, issuer->certificate, answer, problem);
	gnutls_free(der.data);
	return result;
}

static void taken(const struct ocsp_wish *wish, enum ocsp_status status)
{
	struct problem problem = {};
	struct ocsp_answer answer;

	if (read_of(wish, &answer, &problem) < 0)
		fail_msg("%s", problem.text);
	assert_int_equal(answer.status, status);
}

static void refused(const struct ocsp_wish *wish, const char *words)
{
	struct problem problem = {};
	struct ocsp_answer answer;

	assert_int_equal(read_of(wish, &answer, &problem), -1);
	if (!strstr(problem.text, words))
		fail_msg("%s", problem.text);
}

static void takes_what_the_issuer_signed(void **state)
{
	(void)state;
	taken(&(struct ocsp_wish){}, OCSP_GOOD);
	taken(&(struct ocsp_wish){.enclosed = issuer}, OCSP_GOOD);
	taken(&(struct ocsp_wish){.status = 'r'}, OCSP_REVOKED);
	taken(&(struct ocsp_wish){.status = 'u'}, OCSP_UNKNOWN);
}

static void takes_what_an_authorised_responder_signed(void **state)
{
	(void)state;
	taken(&(struct ocsp_wish){.signer = responder, .enclosed = responder}, OCSP_GOOD);
	taken(&(struct ocsp_wish){.signer = responder, .enclosed = responder, .status = 'r'},
	      OCSP_REVOKED);
}

static void refuses_strangers(void **state)
{
	(void)state;
	// The same name, another key.
	refused(&(struct ocsp_wish){.signer = stranger}, "signed neither by");
	refused(&(struct ocsp_wish){.signer = stranger, .enclosed = stranger}, "signed neither by");
	refused(&(struct ocsp_wish){.signer = impostor, .enclosed = impostor}, "signed neither by");
	// The right responder's certificate, the impostor's signature.
	refused(&(struct ocsp_wish){.signer = impostor, .enclosed = responder},
		"signed neither by");
	// Nobody knows the responder.
	refused(&(struct ocsp_wish){.signer = responder}, "signed neither by");
}

static void refuses_certificates_not_made_for_it(void **state)
{
	struct pki_entity *web = pki_new(&(struct pki_wish){
	    .issuer = issuer, .common_name = "web", .purpose = GNUTLS_KP_TLS_WWW_SERVER});
	struct pki_entity *old = pki_new(&(struct pki_wish){.issuer = issuer,
							    .common_name = "old",
							    .purpose = GNUTLS_KP_OCSP_SIGNING,
							    .from = -7200,
							    .until = -3600});

	(void)state;
	refused(&(struct ocsp_wish){.signer = web, .enclosed = web}, "not made for that");
	// No extended key usage at all is not any.
	refused(&(struct ocsp_wish){.signer = leaf, .enclosed = leaf}, "not made for that");
	refused(&(struct ocsp_wish){.signer = old, .enclosed = old}, "has expired");
	pki_free(web);
	pki_free(old);
}

static void refuses_weak_signatures(void **state)
{
	(void)state;
	refused(&(struct ocsp_wish){.sha1 = true}, "too weak");
}

static void refuses_other_certificates(void **state)
{
	(void)state;
	refused(&(struct ocsp_wish){.certificate = other}, "is for another certificate");
	refused(&(struct ocsp_wish){.issuer = root, .signer = issuer},
		"is for another certificate");
}

static void refuses_what_it_does_not_understand(void **state)
{
	(void)state;
	refused(&(struct ocsp_wish){.critical = true}, "critical extension");
	refused(&(struct ocsp_wish){.endless = true}, "until when it holds");
}

static void no_altered_bit_makes_another_answer(void **state)
{
	struct ocsp_wish wish = {.certificate = leaf, .issuer = issuer, .status = 'r'};
	gnutls_datum_t der = ocsp_make(&wish);
	unsigned survivors = 0;

	(void)state;
	for (size_t bit = 0; bit < 8 * der.size; bit++) {
		struct problem problem = {};
		struct ocsp_answer answer;

		der.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
		if (ocsp_response_read(&der, leaf->certificate, issuer->certificate, &answer,
				       &problem) == 0) {
			assert_int_equal(answer.status, OCSP_REVOKED);
			survivors++;
		} else {
			assert_true(problem.text[0] != '\0');
		}
		der.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	assert_true(survivors < 8 * der.size / 20);
	for (unsigned size = 0; size < der.size; size++) {
		gnutls_datum_t cut = {der.data, size};
		struct problem problem = {};
		struct ocsp_answer answer;

		assert_int_equal(ocsp_response_read(&cut, leaf->certificate, issuer->certificate,
						    &answer, &problem),
				 -1);
	}
	gnutls_free(der.data);
}

static void holds_between_its_dates(void **state)
{
	const struct ocsp_answer answer = {.this_update = 1000000, .next_update = 2000000};

	(void)state;
	assert_false(ocsp_answer_holds(&answer, 1000000 - 301));
	assert_true(ocsp_answer_holds(&answer, 1000000 - 300));
	assert_true(ocsp_answer_holds(&answer, 1999999));
	assert_false(ocsp_answer_holds(&answer, 2000000));
}

static void certificates_can_demand_one(void **state)
{
	(void)state;
	assert_true(ocsp_is_demanded_by(must->certificate));
	assert_false(ocsp_is_demanded_by(leaf->certificate));
}

// ---- Files ----

static struct certificates chain_of(gnutls_x509_crt_t *room, bool with_issuer)
{
	room[0] = leaf->certificate;
	room[1] = issuer->certificate;
	return (struct certificates){.items = room, .count = with_issuer ? 2 : 1};
}

static int staple_of(const char *path, bool with_issuer, const struct trust *trust,
		     struct staple **staple, struct problem *problem)
{
	gnutls_x509_crt_t room[2];
	const struct certificates chain = chain_of(room, with_issuer);

	return staple_read(path, &chain, trust, staple, problem);
}

static const char *file_of(const struct ocsp_wish *wish, bool pem)
{
	struct ocsp_wish full = *wish;
	gnutls_datum_t der, text;
	const char *path = pki_path("staple");
	FILE *file = fopen(path, "w");

	full.certificate = leaf;
	full.issuer = issuer;
	der = ocsp_make(&full);
	if (pem) {
		assert_int_equal(gnutls_pem_base64_encode2("OCSP RESPONSE", &der, &text), 0);
		gnutls_free(der.data);
		der = text;
	}
	assert_non_null(file);
	assert_int_equal(fwrite(der.data, 1, der.size, file), der.size);
	fclose(file);
	gnutls_free(der.data);
	return path;
}

static void staples_come_as_der_and_pem(void **state)
{
	struct problem problem = {};
	struct staple *staple;

	(void)state;
	for (int pem = 0; pem < 2; pem++) {
		if (staple_of(file_of(&(struct ocsp_wish){}, pem), true, NULL, &staple, &problem))
			fail_msg("%s", problem.text);
		assert_int_equal(staple->response.data[0], 0x30);
		assert_true(staple_holds(staple, time(NULL)));
		assert_false(staple_holds(staple, time(NULL) + 2 * 86400));
		staple_free(staple);
	}
}

static void expired_and_revoked_ones_are_read(void **state)
{
	struct problem problem = {};
	struct staple *staple;

	(void)state;
	assert_int_equal(
	    staple_of(file_of(&(struct ocsp_wish){.from = -7200, .until = -3600}, false), true,
		      NULL, &staple, &problem),
	    0);
	assert_false(staple_holds(staple, time(NULL)));
	staple_free(staple);
	assert_int_equal(staple_of(file_of(&(struct ocsp_wish){.status = 'r'}, false), true, NULL,
				   &staple, &problem),
			 0);
	assert_true(staple_holds(staple, time(NULL)));
	staple_free(staple);
}

static void issuer_comes_from_chain_or_trust(void **state)
{
	const char *path = file_of(&(struct ocsp_wish){}, false);
	const char *anchors =
	    pki_write_chain("trust.pem", (const struct pki_entity *[]){root, issuer}, 2);
	struct problem problem = {};
	struct staple *staple;
	struct trust *trust;

	(void)state;
	assert_int_equal(staple_of(path, false, NULL, &staple, &problem), -1);
	assert_non_null(strstr(problem.text, "put the issuer behind it"));
	problem.text[0] = '\0';
	assert_int_equal(trust_new(anchors, NULL, &trust, &problem), 0);
	if (staple_of(path, false, trust, &staple, &problem) < 0)
		fail_msg("%s", problem.text);
	staple_free(staple);
	trust_unref(trust);
}

static void staple_refused(const char *path, const char *words)
{
	struct problem problem = {};
	struct staple *staple;

	assert_int_equal(staple_of(path, true, NULL, &staple, &problem), -1);
	if (!strstr(problem.text, words))
		fail_msg("%s", problem.text);
	assert_non_null(strstr(problem.text, path));
}

static void bad_files_are_refused(void **state)
{
	char *certificate = pki_text_of_certificate(leaf);

	(void)state;
	staple_refused("/nonexistent/staple", "cannot be opened");
	staple_refused("/tmp", "is a directory");
	staple_refused(pki_write_text("staple", ""), "is empty");
	staple_refused(pki_write_text("staple", "nonsense"), "cannot be read");
	staple_refused(pki_write_text("staple", "-----BEGIN OCSP RESPONSE-----\nMII"),
		       "cut off or damaged");
	staple_refused(pki_write_text("staple", certificate), "not an \"OCSP RESPONSE\"");
	staple_refused(pki_write_text("staple", "-----BEGIN OCSP RESPONSE-----\n!!!!\n"
						"-----END OCSP RESPONSE-----\n"),
		       "cannot be read");
	staple_refused(file_of(&(struct ocsp_wish){.status = 'u'}, false), "does not know");
	staple_refused(file_of(&(struct ocsp_wish){.endless = true}, true), "until when it holds");
	gnutls_free(certificate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_what_the_issuer_signed),
	    cmocka_unit_test(takes_what_an_authorised_responder_signed),
	    cmocka_unit_test(refuses_strangers),
	    cmocka_unit_test(refuses_certificates_not_made_for_it),
	    cmocka_unit_test(refuses_weak_signatures),
	    cmocka_unit_test(refuses_other_certificates),
	    cmocka_unit_test(refuses_what_it_does_not_understand),
	    cmocka_unit_test(no_altered_bit_makes_another_answer),
	    cmocka_unit_test(holds_between_its_dates),
	    cmocka_unit_test(certificates_can_demand_one),
	    cmocka_unit_test(staples_come_as_der_and_pem),
	    cmocka_unit_test(expired_and_revoked_ones_are_read),
	    cmocka_unit_test(issuer_comes_from_chain_or_trust),
	    cmocka_unit_test(bad_files_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
