// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Certificates as JSON. Touches nothing but its arguments and the notes of the one verification that it
 * listens to. Never judges: it tells what others found.
 */
#include "trace-certificates.h"

#include <gnutls/abstract.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "certificate-file.h"

enum { DIGEST_SIZE = 32, NAMES_MAX = 8, TEXT_MAX = 256 };

/* ---- What a certificate says --------------------------------------------------------------- */

static void add_dn(struct json_text *json, const char *key, gnutls_x509_crt_t certificate,
		   int (*get)(gnutls_x509_crt_t, gnutls_datum_t *, unsigned))
{
	gnutls_datum_t dn;

	if (get(certificate, &dn, 0) < 0)
		return;
	json_add_bytes(json, key, dn.data, dn.size < TEXT_MAX ? dn.size : TEXT_MAX);
	gnutls_free(dn.data);
}

static void add_time(struct json_text *json, const char *key, time_t time)
{
	char text[32];
	struct tm parts;

	if (time == (time_t)-1 || !gmtime_r(&time, &parts))
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	json_add(json, key, text);
}

static void add_names(struct json_text *json, gnutls_x509_crt_t certificate)
{
	json_open(json, "dns-names", '[');
	for (unsigned i = 0, shown = 0; i < 4 * NAMES_MAX && shown < NAMES_MAX; i++) {
		char name[TEXT_MAX];
		size_t size = sizeof(name);
		int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &size, NULL);

		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (type != GNUTLS_SAN_DNSNAME)
			continue;
		json_add_bytes(json, NULL, name, strnlen(name, size));
		shown++;
	}
	json_close(json, ']');
}

static void add_key(struct json_text *json, gnutls_x509_crt_t certificate)
{
	unsigned bits = 0;
	int algorithm = gnutls_x509_crt_get_pk_algorithm(certificate, &bits);
	int signature = gnutls_x509_crt_get_signature_algorithm(certificate);
	char text[64];

	if (algorithm > 0) {
		snprintf(text, sizeof(text), "%s, %u bits",
			 gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm), bits);
		json_add(json, "key", text);
	}
	if (signature > 0 && gnutls_sign_get_name((gnutls_sign_algorithm_t)signature))
		json_add(json, "signed-with",
			 gnutls_sign_get_name((gnutls_sign_algorithm_t)signature));
}

static void add_fingerprint(struct json_text *json, const gnutls_datum_t *der)
{
	unsigned char digest[DIGEST_SIZE];
	size_t size = sizeof(digest);

	if (gnutls_fingerprint(GNUTLS_DIG_SHA256, der, digest, &size) == 0)
		json_add_hex(json, "sha256", digest, size);
}

static void certificate_describe(struct json_text *json, gnutls_x509_crt_t certificate)
{
	add_dn(json, "subject", certificate, gnutls_x509_crt_get_dn3);
	add_dn(json, "issuer", certificate, gnutls_x509_crt_get_issuer_dn3);
	add_time(json, "not-before", gnutls_x509_crt_get_activation_time(certificate));
	add_time(json, "not-after", gnutls_x509_crt_get_expiration_time(certificate));
	add_key(json, certificate);
	add_names(json, certificate);
}

/* A certificate, a bare public key (RFC 7250), or something that cannot be read. */
static void der_describe(struct json_text *json, const gnutls_datum_t *der)
{
	gnutls_x509_crt_t certificate = NULL;
	gnutls_pubkey_t key = NULL;

	json_open(json, NULL, '{');
	if (gnutls_x509_crt_init(&certificate) == 0 &&
	    gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == 0)
		certificate_describe(json, certificate);
	else if (gnutls_pubkey_init(&key) == 0 &&
		 gnutls_pubkey_import(key, der, GNUTLS_X509_FMT_DER) == 0)
		json_add(json, "kind", "raw-public-key");
	else
		json_add(json, "kind", "unreadable");
	if (certificate)
		gnutls_x509_crt_deinit(certificate);
	if (key)
		gnutls_pubkey_deinit(key);
	json_add_number(json, "size", der->size);
	add_fingerprint(json, der);
	json_close(json, '}');
}

/* A raw public key stands alone in TLS 1.2, without a list around it (RFC 7250, 3). */
static bool is_bare(struct trace_reader list, bool tls13)
{
	struct trace_reader first = list;

	trace_read_vector(&first, 3);
	return !tls13 && list.left > 0 && first.broken;
}

void trace_certificates_describe(struct json_text *json, bool tls13, struct trace_reader *reader)
{
	struct trace_reader list;
	unsigned count = 0;

	if (tls13)
		trace_read_vector(reader, 1); /* certificate_request_context */
	list = trace_read_vector(reader, 3);
	json_open(json, "certificates", '[');
	if (is_bare(list, tls13)) {
		const gnutls_datum_t der = {(unsigned char *)list.at, (unsigned)list.left};

		der_describe(json, &der);
		list.left = 0;
	}
	while (list.left > 0 && count++ < CERTIFICATE_CHAIN_MAX) {
		struct trace_reader one = trace_read_vector(&list, 3);
		const gnutls_datum_t der = {(unsigned char *)one.at, (unsigned)one.left};

		if (tls13)
			trace_read_vector(&list, 2); /* extensions, a staple for instance */
		if (list.broken)
			break;
		der_describe(json, &der);
	}
	json_close(json, ']');
	reader->broken |= list.broken;
}

/* ---- What was found ------------------------------------------------------------------------ */

static struct {
	bool listening;
	unsigned count;
	struct {
		unsigned char digest[DIGEST_SIZE];
		unsigned status;
	} notes[2 * CERTIFICATE_CHAIN_MAX];
} verdicts;

void trace_verdicts_begin(void)
{
	verdicts.listening = true;
	verdicts.count = 0;
}

void trace_verdicts_end(void)
{
	verdicts.listening = false;
}

static int verdict_note(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer,
			gnutls_x509_crl_t list, unsigned status)
{
	size_t size = DIGEST_SIZE;

	(void)issuer, (void)list;
	if (verdicts.count < sizeof(verdicts.notes) / sizeof(verdicts.notes[0]) &&
	    gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256,
					    verdicts.notes[verdicts.count].digest, &size) == 0)
		verdicts.notes[verdicts.count++].status = status;
	return 0;
}

gnutls_verify_output_function *trace_verdicts_listener(void)
{
	return verdicts.listening ? verdict_note : NULL;
}

/* What is worst comes first. */
static const struct {
	unsigned status;
	const char *words;
} words[] = {
    {GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong"},
    {GNUTLS_CERT_SIGNER_NOT_FOUND, "its issuer is not known"},
    {GNUTLS_CERT_SIGNER_NOT_CA, "its issuer is no authority"},
    {GNUTLS_CERT_REVOKED, "revoked"},
    {GNUTLS_CERT_EXPIRED, "expired"},
    {GNUTLS_CERT_NOT_ACTIVATED, "not yet valid"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, "too weak"},
    {GNUTLS_CERT_PURPOSE_MISMATCH, "not for this purpose"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "its issuer may not issue it"},
    {GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, "has an unknown critical extension"},
};

static const char *verdict_word(const unsigned char *digest, bool authenticated)
{
	unsigned status = 0;
	bool noted = false;

	for (unsigned i = 0; i < verdicts.count; i++) {
		if (memcmp(verdicts.notes[i].digest, digest, DIGEST_SIZE) != 0)
			continue;
		status |= verdicts.notes[i].status;
		noted = true;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (status & words[i].status)
			return words[i].words;
	if (status & ~(unsigned)GNUTLS_CERT_INVALID)
		return "not acceptable";
	/* The library does not look at what it trusts already, nor behind a trusted one. */
	return noted || authenticated ? "good" : "not judged";
}

static void verdict_describe(struct json_text *json, const gnutls_datum_t *der, bool first,
			     const struct verification *verification)
{
	unsigned char digest[DIGEST_SIZE];
	size_t size = sizeof(digest);
	gnutls_x509_crt_t certificate = NULL;
	const char *word;

	if (gnutls_fingerprint(GNUTLS_DIG_SHA256, der, digest, &size) < 0)
		return;
	word = verdict_word(digest, verification->authenticated);
	/* Name, revocation, a list of those who may: what the library alone finds nothing in. */
	if (first && verification->alert && (!strcmp(word, "good") || !strcmp(word, "not judged")))
		word = verification->words;
	json_open(json, NULL, '{');
	if (gnutls_x509_crt_init(&certificate) == 0) {
		if (gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == 0)
			add_dn(json, "subject", certificate, gnutls_x509_crt_get_dn3);
		gnutls_x509_crt_deinit(certificate);
	}
	json_add_hex(json, "sha256", digest, size);
	json_add(json, "verdict", word);
	json_close(json, '}');
}

void trace_verdicts_describe(struct json_text *json, gnutls_session_t session,
			     const struct verification *verification)
{
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

	json_add(json, "verdict",
		 verification->alert           ? "refused"
		 : verification->authenticated ? "good"
					       : "not judged");
	if (verification->words[0])
		json_add(json, "words", verification->words);
	json_open(json, "certificates", '[');
	for (unsigned i = 0; chain && i < count && i < CERTIFICATE_CHAIN_MAX; i++)
		verdict_describe(json, &chain[i], i == 0, verification);
	json_close(json, ']');
}
