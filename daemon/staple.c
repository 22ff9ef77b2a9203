// SPDX-License-Identifier: LGPL-2.1-or-later
// Staples: read once and judged against their certificate, copied into handshakes as long as they
// hold. Touches the file it is given; a response that has expired is never sent.
#include "staple.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "pem.h"

// PEM text with one block, or DER as it comes from a responder.
static int response_read(const struct file *file, const char *path, gnutls_datum_t *ret_response,
			 struct problem *problem)
{
	struct pem_reader reader = {.position = file->data, .line = 1};
	gnutls_datum_t raw = {(unsigned char *)file->data, (unsigned)file->size};
	struct pem_block block;
	int error;

	if (!file->size)
		return problem_set(problem, "staple \"%s\" is empty", path);
	if (!strstr(file->data, "-----BEGIN ")) {
		ret_response->data = gnutls_malloc(raw.size);
		if (!ret_response->data)
			return problem_set(problem, "out of memory");
		memcpy(ret_response->data, raw.data, raw.size);
		ret_response->size = raw.size;
		return 0;
	}
	if (pem_next(&reader, &block) <= 0)
		return problem_set(problem, "staple \"%s\" is cut off or damaged", path);
	if (strcmp(block.label, "OCSP RESPONSE") != 0)
		return problem_set(
		    problem, "staple \"%s\": line %u begins a \"%s\", not an \"OCSP RESPONSE\"",
		    path, block.line, block.label);
	error = gnutls_pem_base64_decode2("OCSP RESPONSE", &block.text, ret_response);
	if (error < 0)
		return problem_set(problem, "staple \"%s\" cannot be read: %s", path,
				   gnutls_strerror(error));
	if (pem_next(&reader, &block) != 0)
		return problem_set(
		    problem,
		    "staple \"%s\" has more than one block; it holds the response for"
		    " its certificate alone",
		    path);
	return 0;
}

static gnutls_x509_crt_t issuer_find(const struct certificates *chain, const struct trust *trust)
{
	gnutls_x509_crt_t own = chain->items[0], issuer;

	if (chain->count > 1)
		return chain->items[1];
	if (gnutls_x509_crt_check_issuer(own, own))
		return own;
	if (trust && gnutls_x509_trust_list_get_issuer(trust_list(trust), own, &issuer, 0) == 0)
		return issuer;
	return NULL;
}

static int response_judge(struct staple *staple, const struct certificates *chain,
			  const struct trust *trust, struct problem *problem)
{
	gnutls_x509_crt_t issuer = issuer_find(chain, trust);
	struct problem words = {};
	char name[256];

	certificate_name(chain->items[0], name, sizeof(name));
	if (!issuer)
		return problem_set(
		    problem,
		    "staple \"%s\" cannot be checked without the issuer of the"
		    " certificate (%s); put the issuer behind it in the certificate's"
		    " file",
		    staple->path, name);
	if (ocsp_response_read(&staple->response, chain->items[0], issuer, &staple->answer,
			       &words) < 0)
		return problem_set(problem, "staple \"%s\": the response %s (certificate: %s)",
				   staple->path, words.text, name);
	if (staple->answer.status == OCSP_UNKNOWN)
		return problem_set(problem,
				   "staple \"%s\": the responder says that it does not know the"
				   " certificate (%s)",
				   staple->path, name);
	return 0;
}

int staple_read(const char *path, const struct certificates *chain, const struct trust *trust,
		struct staple **ret_staple, struct problem *problem)
{
	struct staple *staple;
	struct file file;
	int error;

	// Base64 takes a third more.
	if (file_read(path, "staple", OCSP_RESPONSE_SIZE * 3 / 2, &file, problem) < 0)
		return -1;
	staple = calloc(1, sizeof(*staple));
	if (!staple) {
		file_done(&file);
		return problem_set(problem, "out of memory");
	}
	staple->path = strdup(path);
	if (!staple->path)
		error = problem_set(problem, "out of memory");
	else
		error = response_read(&file, path, &staple->response, problem);
	file_done(&file);
	if (error == 0)
		error = response_judge(staple, chain, trust, problem);
	if (error < 0) {
		staple_free(staple);
		return -1;
	}
	*ret_staple = staple;
	return 0;
}

void staple_free(struct staple *staple)
{
	if (!staple)
		return;
	gnutls_free(staple->response.data);
	free(staple->path);
	free(staple);
}

// "Revoked" is sent too: a server that hid it would help whoever has stolen its key.
bool staple_holds(const struct staple *staple, time_t now)
{
	return ocsp_answer_holds(&staple->answer, now);
}

// GnuTLS asks for it only when the client has. It frees what it gets.
static int staple_send(gnutls_session_t session, void *pointer, gnutls_datum_t *ret_response)
{
	const struct staple *staple = pointer;

	(void)session;
	if (!staple_holds(staple, time(NULL)))
		return GNUTLS_E_NO_CERTIFICATE_STATUS;
	ret_response->data = gnutls_malloc(staple->response.size);
	if (!ret_response->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(ret_response->data, staple->response.data, staple->response.size);
	ret_response->size = staple->response.size;
	return 0;
}

void staple_give(gnutls_certificate_credentials_t credentials, unsigned number,
		 struct staple *staple)
{
	gnutls_certificate_set_ocsp_status_request_function2(credentials, number, staple_send,
							     staple);
}
