// SPDX-License-Identifier: LGPL-2.1-or-later
// Judges the chain that a peer sent: chain, dates, strength and purpose by GnuTLS, then revocation
// and name. Opens nothing and sends nothing. What it cannot judge it refuses.
#include "verify.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/ocsp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "alert.h"
#include "allow-peer.h"
#include "ocsp-response.h"
#include "raw-public-key.h"
#include "trace-certificates.h"
#include "trust.h"

enum { RSA_MODULUS_BITS = 16384, RSA_EXPONENT_BITS = 256 }; // FIPS 186-4, B.3.1

struct chain {
	gnutls_x509_crt_t items[CERTIFICATE_CHAIN_MAX];
	unsigned count;
};

// The first reason stays.
static bool refuse(struct verification *verification, int alert, const char *words)
{
	if (!verification->alert) {
		verification->alert = alert;
		snprintf(verification->words, sizeof(verification->words), "%s", words);
	}
	return false;
}

static void chain_done(struct chain *chain)
{
	for (unsigned i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->items[i]);
	chain->count = 0;
}

static bool chain_read(const gnutls_datum_t *sent, unsigned count, struct chain *chain,
		       struct verification *verification)
{
	if (count > CERTIFICATE_CHAIN_MAX)
		return refuse(verification, GNUTLS_A_BAD_CERTIFICATE,
			      "the chain has more than 16 certificates");
	for (; chain->count < count; chain->count++) {
		gnutls_x509_crt_t certificate;

		if (gnutls_x509_crt_init(&certificate) < 0)
			return refuse(verification, GNUTLS_A_INTERNAL_ERROR, "out of memory");
		chain->items[chain->count] = certificate;
		if (gnutls_x509_crt_import(certificate, &sent[chain->count], GNUTLS_X509_FMT_DER) <
		    0) {
			chain->count++;
			return refuse(verification, GNUTLS_A_BAD_CERTIFICATE,
				      "a certificate of the chain cannot be read");
		}
	}
	return true;
}

// What GnuTLS found, in the order of what it means: of a certificate that nobody known has issued
// nothing else that it says is worth anything. Alerts: RFC 8446, 6.2.
static const struct {
	unsigned status;
	int alert;
	const char *words;
} causes[] = {
    {GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA,
     "no authority that is trusted has issued the certificate"},
    {GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "what issued the certificate is no authority"},
    {GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_BAD_CERTIFICATE, "a signature in the chain is wrong"},
    {GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "the certificate has been revoked"},
    // "has expired or is not currently valid"
    {GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "the certificate has expired"},
    {GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED, "the certificate is not yet valid"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE,
     "a key or a signature in the chain is too weak"},
    {GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
     "the certificate is not for this purpose"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, GNUTLS_A_BAD_CERTIFICATE,
     "an authority of the chain may not issue such a certificate"},
    {GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
     "the certificate has a critical extension that is not known"},
};

// The whole chain's causes are one set: where a date is wrong, say whose.
static void date_words(const struct chain *chain, bool expired, struct verification *verification)
{
	time_t now = time(NULL);
	char name[128], date[32];

	for (unsigned i = 0; i < chain->count; i++) {
		time_t limit = expired ? gnutls_x509_crt_get_expiration_time(chain->items[i])
				       : gnutls_x509_crt_get_activation_time(chain->items[i]);

		if (limit == (time_t)-1 || (expired ? limit >= now : limit <= now))
			continue;
		snprintf(verification->words, sizeof(verification->words), "%s %s %s",
			 i == 0 ? "the certificate" : "an authority's certificate",
			 expired ? "has expired, on" : "is not yet valid, only from",
			 certificate_time(limit, date, sizeof(date)));
		if (i > 0) {
			size_t length = strlen(verification->words);

			snprintf(verification->words + length, sizeof(verification->words) - length,
				 " (%s)", certificate_name(chain->items[i], name, sizeof(name)));
		}
		return;
	}
}

static bool status_judge(unsigned status, const struct chain *chain,
			 struct verification *verification)
{
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (!(status & causes[i].status))
			continue;
		refuse(verification, causes[i].alert, causes[i].words);
		if (causes[i].status == GNUTLS_CERT_EXPIRED ||
		    causes[i].status == GNUTLS_CERT_NOT_ACTIVATED)
			date_words(chain, causes[i].status == GNUTLS_CERT_EXPIRED, verification);
		return false;
	}
	if (status)
		return refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN,
			      "the certificate is not acceptable");
	return true;
}

static bool chain_verify(const struct trust *trust, const struct chain *chain, bool of_server,
			 struct verification *verification)
{
	const char *purpose = of_server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
	gnutls_typed_vdata_st wanted = {
	    .type = GNUTLS_DT_KEY_PURPOSE_OID,
	    .data = (unsigned char *)purpose,
	};
	gnutls_x509_crt_t list[CERTIFICATE_CHAIN_MAX];
	unsigned status = 0;

	memcpy(list, chain->items, sizeof(list));
	if (gnutls_x509_trust_list_verify_crt2(trust_list(trust), list, chain->count, &wanted, 1,
					       GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM),
					       &status, trace_verdicts_listener()) < 0)
		return refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN,
			      "the certificate cannot be judged");
	return status_judge(status, chain, verification);
}

// ---- Revocation ----

static bool revocation_judge(enum revocation_status status, struct verification *verification)
{
	switch (status) {
	case REVOCATION_GOOD:
		return true;
	case REVOCATION_REVOKED:
		return refuse(verification, GNUTLS_A_CERTIFICATE_REVOKED,
			      "the certificate has been revoked");
	case REVOCATION_NO_LIST:
		return refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN,
			      "there is no revocation list of the certificate's issuer");
	case REVOCATION_NOT_CURRENT:
		return refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN,
			      "the revocation list of the certificate's issuer has expired or is"
			      " not yet valid");
	case REVOCATION_BAD_LIST:
		break;
	}
	return refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN,
		      "the revocation list of the certificate's issuer is not signed by it");
}

static bool is_anchor(const struct trust *trust, gnutls_x509_crt_t certificate)
{
	const struct certificates *anchors = trust_anchors(trust);

	for (unsigned i = 0; i < anchors->count; i++)
		if (gnutls_x509_crt_equals(anchors->items[i], certificate))
			return true;
	return false;
}

static gnutls_x509_crt_t issuer_find(const struct trust *trust, const struct chain *chain,
				     gnutls_x509_crt_t certificate)
{
	gnutls_x509_crt_t issuer;

	if (gnutls_x509_trust_list_get_issuer(trust_list(trust), certificate, &issuer, 0) == 0)
		return issuer;
	for (unsigned i = 1; i < chain->count; i++)
		if (gnutls_x509_crt_check_issuer(certificate, chain->items[i]))
			return chain->items[i];
	return NULL;
}

// Each certificate up to the anchor, which nobody can revoke. The path's signatures are known to be
// good; a list counts only if the issuer that was found has signed it, so a wrong turn refuses.
static bool chain_unrevoked(const struct trust *trust, const struct chain *chain,
			    struct verification *verification)
{
	gnutls_x509_crt_t certificate = chain->items[0];
	time_t now = time(NULL);

	for (unsigned depth = 0; depth < CERTIFICATE_CHAIN_MAX; depth++) {
		gnutls_x509_crt_t issuer;

		if (is_anchor(trust, certificate))
			return true;
		issuer = issuer_find(trust, chain, certificate);
		if (!issuer)
			return refuse(verification, GNUTLS_A_UNKNOWN_CA,
				      "the certificate's issuer is not to be found");
		if (!revocation_judge(
			revocation_check(trust_revocation(trust), certificate, issuer, now),
			verification))
			return false;
		certificate = issuer;
	}
	return refuse(verification, GNUTLS_A_UNKNOWN_CA, "the chain does not end");
}

// ---- Stapled responses ----

static bool response_refuse(struct verification *verification, const char *words)
{
	refuse(verification, ALERT_BAD_CERTIFICATE_STATUS_RESPONSE, "");
	snprintf(verification->words, sizeof(verification->words), "%s", words);
	return false;
}

static bool answer_judge(const struct ocsp_answer *answer, struct verification *verification)
{
	char date[32], words[128];
	time_t now = time(NULL);

	// An old "revoked" still says the truth.
	if (answer->status == OCSP_REVOKED) {
		refuse(verification, GNUTLS_A_CERTIFICATE_REVOKED, "");
		snprintf(verification->words, sizeof(verification->words),
			 "the certificate has been revoked, on %s, says its OCSP response",
			 certificate_time(answer->revoked_at, date, sizeof(date)));
		return false;
	}
	if (answer->status != OCSP_GOOD)
		return response_refuse(verification,
				       "the OCSP responder does not know the certificate");
	if (ocsp_answer_holds(answer, now))
		return true;
	snprintf(
	    words, sizeof(words), "the OCSP response of the certificate %s %s",
	    answer->next_update <= now ? "has expired, on" : "is not yet valid, only from",
	    certificate_time(answer->next_update <= now ? answer->next_update : answer->this_update,
			     date, sizeof(date)));
	return response_refuse(verification, words);
}

// RFC 6066, 8: a client that has asked for a response, as GnuTLS always does, and gets one that does
// not satisfy must refuse.
static bool staple_judge(gnutls_session_t session, const struct config_profile *config,
			 const struct trust *trust, const struct chain *chain,
			 struct verification *verification)
{
	struct problem problem = {};
	struct ocsp_answer answer;
	gnutls_datum_t response;
	gnutls_x509_crt_t issuer;
	char words[sizeof(verification->words)];

	if (config->revocation != CONFIG_REVOCATION_STAPLE &&
	    config->revocation != CONFIG_REVOCATION_REQUIRE)
		return true;
	if (gnutls_ocsp_status_request_get2(session, 0, &response) < 0 || !response.size) {
		if (config->revocation == CONFIG_REVOCATION_REQUIRE)
			return response_refuse(verification,
					       "no OCSP response came with the certificate, and one"
					       " is required (revocation = require)");
		if (ocsp_is_demanded_by(chain->items[0]))
			return response_refuse(verification,
					       "no OCSP response came with the certificate, which"
					       " demands one (must-staple)");
		return true;
	}
	issuer = issuer_find(trust, chain, chain->items[0]);
	if (!issuer)
		return response_refuse(verification,
				       "the OCSP response cannot be judged: the certificate's"
				       " issuer is not to be found");
	if (ocsp_response_read(&response, chain->items[0], issuer, &answer, &problem) == 0)
		return answer_judge(&answer, verification);
	snprintf(words, sizeof(words), "the OCSP response that came with the certificate %.180s",
		 problem.text);
	return response_refuse(verification, words);
}

// ---- Name ----

// Only the subject alternative names count (RFC 9525, 2): GnuTLS alone would take the common name
// of a certificate that has none.
static bool has_dns_name(gnutls_x509_crt_t certificate)
{
	for (unsigned i = 0;; i++) {
		char name[1];
		size_t size = 0;
		unsigned type = 0;
		int error =
		    gnutls_x509_crt_get_subject_alt_name2(certificate, i, name, &size, &type, NULL);

		if (error == GNUTLS_E_SHORT_MEMORY_BUFFER)
			error = 0;
		if (error < 0)
			return false;
		if (type == GNUTLS_SAN_DNSNAME)
			return true;
	}
}

static bool name_verify(gnutls_x509_crt_t certificate, const char *name,
			struct verification *verification)
{
	unsigned char address[16];
	bool good;

	if (inet_pton(AF_INET, name, address) == 1)
		good = gnutls_x509_crt_check_ip(certificate, address, 4, 0) != 0;
	else if (inet_pton(AF_INET6, name, address) == 1)
		good = gnutls_x509_crt_check_ip(certificate, address, 16, 0) != 0;
	else
		good = has_dns_name(certificate) &&
		       gnutls_x509_crt_check_hostname2(certificate, name,
						       GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0;
	if (good)
		return true;
	refuse(verification, GNUTLS_A_BAD_CERTIFICATE, "");
	snprintf(verification->words, sizeof(verification->words),
		 "the certificate is not for the name \"%.180s\"", name);
	return false;
}

// ---- Who is allowed ----

// RFC 8446, 6.2: access_denied is for a certificate that is valid, and not wanted here.
static bool peer_allowed(const struct config_profile *config, gnutls_x509_crt_t certificate,
			 struct verification *verification)
{
	static const char words[] = "the peer is none of those that allow-peer names; it has ";

	if (!config->allow_peer_count ||
	    allow_peer_matches(config->allow_peers, config->allow_peer_count, certificate))
		return true;
	refuse(verification, GNUTLS_A_ACCESS_DENIED, words);
	allow_peer_describe(certificate, verification->words + sizeof(words) - 1,
			    sizeof(verification->words) - sizeof(words) + 1);
	return false;
}

// ---- All of it ----

static void certificate_missing(gnutls_session_t session, const struct decision *decision,
				struct verification *verification)
{
	bool tls13 = gnutls_protocol_get_version(session) >= GNUTLS_TLS1_3;

	if (decision->role == REQUEST_CLIENT)
		refuse(verification, GNUTLS_A_HANDSHAKE_FAILURE, "the server sent no certificate");
	else if (decision->client_certificates == CONFIG_CLIENT_REQUIRE)
		// TLS 1.2 has no word for it (RFC 5246, 7.4.6).
		refuse(verification,
		       tls13 ? GNUTLS_A_CERTIFICATE_REQUIRED : GNUTLS_A_HANDSHAKE_FAILURE,
		       "the client sent no certificate, and one is required");
}

static bool peer_judge(gnutls_session_t session, const gnutls_datum_t *sent, unsigned count,
		       const struct decision *decision, struct verification *verification)
{
	const struct config_profile *config = decision->profile->config;
	const struct trust *trust = decision->profile->trust;
	bool of_server = decision->role == REQUEST_CLIENT, good;
	struct chain chain = {};

	if (!trust && decision->profile->pins)
		return refuse(
		    verification, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
		    "certificates are not taken, only the keys that peer-public-key names");
	if (!trust)
		return refuse(verification, GNUTLS_A_INTERNAL_ERROR,
			      "there is no trust to judge the certificate by");
	good = chain_read(sent, count, &chain, verification) &&
	       chain_verify(trust, &chain, of_server, verification) &&
	       (!trust_revocation(trust) || chain_unrevoked(trust, &chain, verification)) &&
	       (!of_server || staple_judge(session, config, trust, &chain, verification)) &&
	       (!of_server || name_verify(chain.items[0], decision->peer_name, verification)) &&
	       peer_allowed(config, chain.items[0], verification);
	chain_done(&chain);
	return good;
}

// Where not, the certificate is present and not authenticated: an insecure profile asks for exactly
// that, and of a client's that nobody asked for nothing is made.
static bool is_judged(const struct decision *decision)
{
	if (decision->role == REQUEST_CLIENT)
		return !decision->profile->config->insecure_no_verification;
	return decision->client_certificates != CONFIG_CLIENT_NONE;
}

// RFC 7250, 6: nothing but the key itself says whose it is.
static bool raw_public_key_judge(const gnutls_datum_t *shown, const struct decision *decision,
				 struct verification *verification)
{
	unsigned char digest[RAW_PUBLIC_KEY_DIGEST_SIZE];
	char text[2 * RAW_PUBLIC_KEY_DIGEST_SIZE + 1];

	if (raw_public_key_digest(shown, text, digest) < 0)
		return refuse(verification, GNUTLS_A_INTERNAL_ERROR,
			      "the public key cannot be judged");
	if (pins_have(decision->profile->pins, digest))
		return true;
	refuse(verification, GNUTLS_A_CERTIFICATE_UNKNOWN, "");
	snprintf(verification->words, sizeof(verification->words),
		 "its public key is none of those that peer-public-key names; it is sha256:%s",
		 text);
	return false;
}

// Bits from the first that is set; GnuTLS writes a zero byte before some.
static unsigned number_bits(const gnutls_datum_t *number)
{
	unsigned at = 0;

	while (at < number->size && number->data[at] == 0)
		at++;
	return (number->size - at) * 8;
}

// 0 where it is no RSA key, or one within the bounds.
static int key_check(gnutls_pubkey_t key)
{
	gnutls_datum_t modulus = {}, exponent = {};
	int error;

	if (gnutls_pubkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_RSA &&
	    gnutls_pubkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_RSA_PSS)
		return 0;
	error = gnutls_pubkey_export_rsa_raw(key, &modulus, &exponent);
	if (error == 0 && (number_bits(&modulus) > RSA_MODULUS_BITS ||
			   number_bits(&exponent) > RSA_EXPONENT_BITS))
		error = GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE;
	gnutls_free(modulus.data);
	gnutls_free(exponent.data);
	return error;
}

bool verify_key(gnutls_session_t session, struct verification *verification)
{
	unsigned count = 0;
	const gnutls_datum_t *sent = gnutls_certificate_get_peers(session, &count);
	gnutls_x509_crt_t certificate = NULL;
	gnutls_pubkey_t key = NULL;
	int error;

	if (!sent || !count)
		return true;
	error = gnutls_pubkey_init(&key);
	if (error == 0 && raw_public_key_shown(session)) {
		error = gnutls_pubkey_import(key, &sent[0], GNUTLS_X509_FMT_DER);
	} else if (error == 0) {
		error = gnutls_x509_crt_init(&certificate);
		if (error == 0)
			error = gnutls_x509_crt_import(certificate, &sent[0], GNUTLS_X509_FMT_DER);
		if (error == 0)
			error = gnutls_pubkey_import_x509(key, certificate, 0);
	}
	if (error == 0)
		error = key_check(key);
	if (certificate)
		gnutls_x509_crt_deinit(certificate);
	if (key)
		gnutls_pubkey_deinit(key);
	if (error == 0)
		return true;
	verification->present = true;
	return refuse(verification, GNUTLS_A_BAD_CERTIFICATE,
		      error == GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE
			  ? "its key is too large: RSA is taken with 16384 bits and an exponent of"
			    " 256 bits at most"
			  : "its key cannot be read");
}

void verify_chain(gnutls_session_t session, const gnutls_datum_t *chain, unsigned count,
		  const struct decision *decision, struct verification *ret_verification)
{
	struct verification verification = {.present = count > 0};

	if (!verification.present)
		certificate_missing(session, decision, &verification);
	else if (is_judged(decision))
		verification.authenticated =
		    peer_judge(session, chain, count, decision, &verification);
	*ret_verification = verification;
}

void verify_peer(gnutls_session_t session, const struct decision *decision,
		 struct verification *ret_verification)
{
	struct verification verification = {};
	const gnutls_datum_t *sent;
	unsigned count = 0;

	sent = gnutls_certificate_get_peers(session, &count);
	verification.present = sent && count > 0;
	if (!verification.present) {
		certificate_missing(session, decision, &verification);
	} else if (raw_public_key_shown(session)) {
		verification.authenticated =
		    raw_public_key_judge(&sent[0], decision, &verification);
	} else if (gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) != GNUTLS_CRT_X509) {
		refuse(&verification, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
		       "the peer showed something that is no X.509 certificate");
	} else if (is_judged(decision)) {
		verification.authenticated =
		    peer_judge(session, sent, count, decision, &verification);
	}
	*ret_verification = verification;
}
