// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A peer's certificate as text. Touches nothing but its arguments; must never show bytes of a
 * certificate unescaped, cut a name short, or judge whether the certificate is to be trusted.
 */
#include "identity.h"

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handshake-protocol.h"

enum { DN_SIZE = 1024 }; /* bytes of a name as text */

/* RFC 4514, 2.4: what cannot be shown stands as a backslash and two digits. GnuTLS does this for the
 * special characters; what is left are control bytes. Nothing at all is shown of what does not fit. */
static void dn_copy(char *text, size_t size, const gnutls_datum_t *dn)
{
	size_t length = 0;

	for (unsigned i = 0; i < dn->size; i++) {
		unsigned char byte = dn->data[i];
		bool plain = byte >= 0x20 && byte != 0x7f;

		if (length + (plain ? 1 : 3) >= size) {
			text[0] = '\0';
			return;
		}
		if (plain)
			text[length++] = (char)byte;
		else
			length += (size_t)sprintf(text + length, "\\%02X", byte);
	}
	text[length] = '\0';
}

/* "" where it cannot be shown, NULL where there is no memory. */
static char *dn_read(gnutls_x509_crt_t certificate,
		     int (*get)(gnutls_x509_crt_t, gnutls_datum_t *, unsigned))
{
	char text[DN_SIZE] = "";
	gnutls_datum_t dn;

	if (get(certificate, &dn, 0) == 0) {
		dn_copy(text, sizeof(text), &dn);
		gnutls_free(dn.data);
	}
	return strdup(text);
}

static int sha256_read(const gnutls_datum_t *der, struct identity *identity)
{
	unsigned char digest[32];
	size_t size = sizeof(digest);
	int error = gnutls_fingerprint(GNUTLS_DIG_SHA256, der, digest, &size);

	if (error < 0)
		return error;
	for (size_t i = 0; i < size; i++)
		sprintf(identity->sha256 + 2 * i, "%02x", digest[i]);
	return 0;
}

/* The bytes that a name takes in a packet, where '%' is escaped; 0: it must not be shown. */
static size_t name_cost(const char *name, size_t size)
{
	size_t cost = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)name[i];

		/* The standard has IA5String for all three kinds (RFC 5280, 4.2.1.6): beyond ASCII
		 * nothing is a name that could be compared. */
		if (byte <= 0x20 || byte >= 0x7f)
			return 0;
		cost += byte == '%' ? 3 : 1;
	}
	return cost;
}

static void name_add(struct identity *identity, size_t *cost, const char *kind, const char *name,
		     size_t size)
{
	size_t more = name_cost(name, size);
	char *slot;

	if (more == 0 || identity->name_count == IDENTITY_NAMES_MAX ||
	    strlen(kind) + 1 + size >= sizeof(identity->names[0]) ||
	    *cost + more > IDENTITY_NAMES_SIZE)
		return;
	*cost += more;
	slot = identity->names[identity->name_count++];
	snprintf(slot, sizeof(identity->names[0]), "%s:%.*s", kind, (int)size, name);
}

static void address_add(struct identity *identity, size_t *cost, const char *bytes, size_t size)
{
	char text[INET6_ADDRSTRLEN];

	if (size != 4 && size != 16)
		return;
	if (inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text)) != NULL)
		name_add(identity, cost, "ip", text, strlen(text));
}

/* 0 or a negative GnuTLS error: there is no memory. */
static int names_read(gnutls_x509_crt_t certificate, struct identity *identity)
{
	size_t cost = 0;

	identity->names = calloc(IDENTITY_NAMES_MAX, sizeof(identity->names[0]));
	if (identity->names == NULL)
		return GNUTLS_E_MEMORY_ERROR;
	/* A certificate may hold thousands: only so many are looked at. */
	for (unsigned i = 0; i < 4 * IDENTITY_NAMES_MAX; i++) {
		char name[sizeof(identity->names[0])];
		size_t size = sizeof(name);
		unsigned type = 0;
		int result =
		    gnutls_x509_crt_get_subject_alt_name2(certificate, i, name, &size, &type, NULL);

		if (result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (result < 0)
			continue; /* too long for any use, or of a kind that has no text */
		switch (result) {
		case GNUTLS_SAN_DNSNAME:
			name_add(identity, &cost, "dns", name, size);
			break;
		case GNUTLS_SAN_RFC822NAME:
			name_add(identity, &cost, "email", name, size);
			break;
		case GNUTLS_SAN_URI:
			name_add(identity, &cost, "uri", name, size);
			break;
		case GNUTLS_SAN_IPADDRESS:
			address_add(identity, &cost, name, size);
			break;
		default:
			break;
		}
	}
	return 0;
}

/* The chain as PEM text; NULL when there is no memory for it or it has no end. */
static char *chain_read(const gnutls_datum_t *chain, unsigned count)
{
	char *text = NULL;
	size_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		gnutls_datum_t pem;
		char *longer;

		if (gnutls_pem_base64_encode2("CERTIFICATE", &chain[i], &pem) < 0)
			break;
		longer = length + pem.size <= HANDSHAKE_CHAIN_SIZE
			     ? realloc(text, length + pem.size + 1)
			     : NULL;
		if (longer != NULL) {
			text = longer;
			memcpy(text + length, pem.data, pem.size);
			length += pem.size;
			text[length] = '\0';
		}
		gnutls_free(pem.data);
		if (longer == NULL)
			break;
		if (i + 1 == count)
			return text;
	}
	free(text);
	return NULL;
}

int identity_read(const gnutls_datum_t *chain, unsigned count, struct identity *ret_identity)
{
	gnutls_x509_crt_t certificate;
	int error;

	if (count == 0)
		return GNUTLS_E_NO_CERTIFICATE_FOUND;
	error = gnutls_x509_crt_init(&certificate);
	if (error < 0)
		return error;
	error = gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER);
	if (error == 0)
		error = sha256_read(&chain[0], ret_identity);
	if (error == 0) {
		ret_identity->subject = dn_read(certificate, gnutls_x509_crt_get_dn3);
		ret_identity->issuer = dn_read(certificate, gnutls_x509_crt_get_issuer_dn3);
		if (ret_identity->subject == NULL || ret_identity->issuer == NULL)
			error = GNUTLS_E_MEMORY_ERROR;
	}
	if (error == 0)
		error = names_read(certificate, ret_identity);
	if (error == 0) {
		ret_identity->chain = chain_read(chain, count);
		ret_identity->present = true;
	}
	gnutls_x509_crt_deinit(certificate);
	return error;
}
