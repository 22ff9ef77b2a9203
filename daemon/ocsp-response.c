// SPDX-License-Identifier: LGPL-2.1-or-later
// Judges OCSP responses. Plain memory: no file, no session. Never takes a response for good that is
// not signed by whom the certificate's issuer allows, or that says nothing of this certificate.
#include "ocsp-response.h"

#include <gnutls/ocsp.h>
#include <string.h>

#include "certificate-file.h"

enum {
	SINGLES_MAX = 256, // answers in one response
	SIGNERS_MAX = 8,   // certificates that come with one
	SKEW_S = 300,      // how far ahead of ours a responder's clock may be
	STATUS_REQUEST = 5 // RFC 6066, 1.1
};

static const char *error_word(int status)
{
	switch (status) {
	case GNUTLS_OCSP_RESP_MALFORMEDREQUEST:
		return "malformedRequest";
	case GNUTLS_OCSP_RESP_INTERNALERROR:
		return "internalError";
	case GNUTLS_OCSP_RESP_TRYLATER:
		return "tryLater";
	case GNUTLS_OCSP_RESP_SIGREQUIRED:
		return "sigRequired";
	case GNUTLS_OCSP_RESP_UNAUTHORIZED:
		return "unauthorized";
	default:
		return "of an unknown kind";
	}
}

static int response_import(gnutls_ocsp_resp_t response, const gnutls_datum_t *der,
			   struct problem *problem)
{
	int error, status;

	if (der->size > OCSP_RESPONSE_SIZE)
		return problem_set(problem, "has %u bytes; at most %d are looked at", der->size,
				   OCSP_RESPONSE_SIZE);
	error = gnutls_ocsp_resp_import2(response, der, GNUTLS_X509_FMT_DER);
	if (error < 0)
		return problem_set(problem, "cannot be read: %s", gnutls_strerror(error));
	status = gnutls_ocsp_resp_get_status(response);
	if (status != GNUTLS_OCSP_RESP_SUCCESSFUL)
		return problem_set(problem, "is no answer but the responder's error \"%s\"",
				   error_word(status));
	return 0;
}

// RFC 5280, 4.2: what is critical and not understood must not be used. No extension of a response
// needs to be critical.
static int extensions_check(gnutls_ocsp_resp_t response, struct problem *problem)
{
	for (unsigned i = 0;; i++) {
		gnutls_datum_t oid = {}, data = {};
		unsigned critical = 0;
		int error = gnutls_ocsp_resp_get_extension(response, i, &oid, &critical, &data);

		if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return 0;
		gnutls_free(oid.data);
		gnutls_free(data.data);
		if (error < 0)
			return problem_set(problem, "has extensions that cannot be read");
		if (critical)
			return problem_set(problem, "has a critical extension that is not known");
	}
}

// GnuTLS looks at dates and signatures of a responder's certificate, not at the strength of its key.
static int signers_check(gnutls_ocsp_resp_t response, gnutls_x509_crt_t issuer,
			 struct problem *problem)
{
	gnutls_x509_crt_t *signers = NULL;
	size_t count = 0;
	int error = gnutls_ocsp_resp_get_certs(response, &signers, &count), result = 0;

	if (error < 0)
		return problem_set(problem, "has certificates that cannot be read");
	if (count > SIGNERS_MAX)
		result = problem_set(problem, "has %zu certificates; at most %d are looked at",
				     count, SIGNERS_MAX);
	for (size_t i = 0; i < count; i++) {
		if (result == 0 && !gnutls_x509_crt_equals(signers[i], issuer) &&
		    certificate_is_weak(signers[i]))
			result = problem_set(problem, "is signed with a key that is too weak");
		gnutls_x509_crt_deinit(signers[i]);
	}
	gnutls_free(signers);
	return result;
}

static const struct {
	unsigned verify;
	const char *words;
} causes[] = {
    {GNUTLS_OCSP_VERIFY_SIGNER_KEYUSAGE_ERROR,
     "is signed by a responder whose certificate is not made for that (OCSP signing)"},
    {GNUTLS_OCSP_VERIFY_CERT_EXPIRED, "is signed by a responder whose certificate has expired"},
    {GNUTLS_OCSP_VERIFY_CERT_NOT_ACTIVATED,
     "is signed by a responder whose certificate is not yet valid"},
    {GNUTLS_OCSP_VERIFY_INSECURE_ALGORITHM, "is signed with an algorithm that is too weak"},
};

static int signature_check(gnutls_ocsp_resp_t response, gnutls_x509_crt_t issuer,
			   struct problem *problem)
{
	int algorithm = gnutls_ocsp_resp_get_signature_algorithm(response);
	unsigned verify = 0;
	int error;

	if (algorithm <= 0 || !gnutls_sign_is_secure2((gnutls_sign_algorithm_t)algorithm,
						      GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS))
		return problem_set(problem, "is signed with an algorithm that is too weak");
	if (signers_check(response, issuer, problem) < 0)
		return -1;
	error = gnutls_ocsp_resp_verify_direct(response, issuer, &verify, 0);
	for (size_t i = 0; error == 0 && i < sizeof(causes) / sizeof(causes[0]); i++)
		if (verify & causes[i].verify)
			return problem_set(problem, "%s", causes[i].words);
	if (error < 0 || verify)
		return problem_set(problem, "is signed neither by the certificate's issuer nor by"
					    " a responder that the issuer allows");
	return 0;
}

static int answer_find(gnutls_ocsp_resp_t response, gnutls_x509_crt_t certificate,
		       struct ocsp_answer *answer, struct problem *problem)
{
	for (unsigned i = 0; i < SINGLES_MAX; i++) {
		unsigned status = 0;
		int error = gnutls_ocsp_resp_get_single(
		    response, i, NULL, NULL, NULL, NULL, &status, &answer->this_update,
		    &answer->next_update, &answer->revoked_at, NULL);

		if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (error < 0)
			return problem_set(problem, "cannot be read: %s", gnutls_strerror(error));
		if (gnutls_ocsp_resp_check_crt(response, i, certificate) != 0)
			continue;
		answer->status = status == GNUTLS_OCSP_CERT_GOOD      ? OCSP_GOOD
				 : status == GNUTLS_OCSP_CERT_REVOKED ? OCSP_REVOKED
								      : OCSP_UNKNOWN;
		return 0;
	}
	return problem_set(problem, "is for another certificate");
}

static int answer_check(const struct ocsp_answer *answer, struct problem *problem)
{
	if (answer->this_update == (time_t)-1)
		return problem_set(problem, "has a date that cannot be read");
	if (answer->next_update == (time_t)-1)
		return problem_set(problem, "does not say until when it holds (nextUpdate)");
	return 0;
}

int ocsp_response_read(const gnutls_datum_t *der, gnutls_x509_crt_t certificate,
		       gnutls_x509_crt_t issuer, struct ocsp_answer *ret_answer,
		       struct problem *problem)
{
	struct ocsp_answer answer = {};
	gnutls_ocsp_resp_t response;
	int error;

	if (gnutls_ocsp_resp_init(&response) < 0)
		return problem_set(problem, "cannot be read: out of memory");
	error = response_import(response, der, problem);
	if (error == 0)
		error = answer_find(response, certificate, &answer, problem);
	if (error == 0)
		error = signature_check(response, issuer, problem);
	if (error == 0)
		error = extensions_check(response, problem);
	if (error == 0)
		error = answer_check(&answer, problem);
	gnutls_ocsp_resp_deinit(response);
	if (error == 0)
		*ret_answer = answer;
	return error;
}

bool ocsp_answer_holds(const struct ocsp_answer *answer, time_t now)
{
	return answer->this_update <= now + SKEW_S && now < answer->next_update;
}

bool ocsp_is_demanded_by(gnutls_x509_crt_t certificate)
{
	gnutls_x509_tlsfeatures_t features;
	bool demanded = true;
	unsigned feature;
	int error;

	if (gnutls_x509_tlsfeatures_init(&features) < 0)
		return true;
	error = gnutls_x509_crt_get_tlsfeatures(certificate, features, 0, NULL);
	if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
		demanded = false;
	} else if (error == 0) {
		demanded = false;
		for (unsigned i = 0; gnutls_x509_tlsfeatures_get(features, i, &feature) == 0; i++)
			demanded = demanded || feature == STATUS_REQUEST;
	}
	gnutls_x509_tlsfeatures_deinit(features);
	return demanded;
}
