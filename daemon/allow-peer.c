// SPDX-License-Identifier: LGPL-2.1-or-later
// The list of peers that a profile allows, and whether a certificate is on it. Plain memory. Judges no
// chain: a certificate that was not verified must never come here.
#include "allow-peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	SHA256_SIZE = 32,
	NAMES_MAX = 1024, // of one certificate; what lies beyond allows nobody
	NAME_SIZE = 2048,
};

static const char *const kinds[] = {
    [ALLOW_PEER_DNS] = "dns", [ALLOW_PEER_IP] = "ip",         [ALLOW_PEER_EMAIL] = "email",
    [ALLOW_PEER_URI] = "uri", [ALLOW_PEER_ISSUER] = "issuer", [ALLOW_PEER_SHA256] = "sha256",
};

// ---- What the configuration says ----

// Names in certificates have no other characters, so such a line could never match.
static bool is_plain(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value <= 0x20 || (unsigned char)*value >= 0x7f)
			return false;
	return true;
}

static int value_copy(struct allow_peer *allow, const char *value, size_t length,
		      struct problem *problem)
{
	allow->value = strndup(value, length);
	return allow->value ? 0 : problem_set(problem, "out of memory");
}

static int parse_dns(struct allow_peer *allow, const char *value, struct problem *problem)
{
	size_t length = strlen(value);
	const char *star = strchr(value, '*');

	if (length && value[length - 1] == '.')
		length--;
	if (!length || length > 253 || !is_plain(value))
		return problem_set(problem, "\"%s\" is no DNS name", value);
	if (star && (star != value || value[1] != '.' || strchr(value + 1, '*') || length < 3))
		return problem_set(problem,
				   "\"%s\": a star stands for the whole first label, as in"
				   " dns:*.example.com",
				   value);
	return value_copy(allow, value, length, problem);
}

static int parse_ip(struct allow_peer *allow, const char *value, struct problem *problem)
{
	if (inet_pton(AF_INET, value, allow->bytes) == 1)
		allow->size = 4;
	else if (inet_pton(AF_INET6, value, allow->bytes) == 1)
		allow->size = 16;
	else
		return problem_set(problem,
				   "\"%s\" is no address; write ip:192.0.2.1 or"
				   " ip:2001:db8::1",
				   value);
	return 0;
}

static int parse_email(struct allow_peer *allow, const char *value, struct problem *problem)
{
	const char *at = strrchr(value, '@');

	if (!is_plain(value) || !at || at == value || !at[1] || strchr(value, '*'))
		return problem_set(problem,
				   "\"%s\" is no mail address; write email:who@example.com", value);
	return value_copy(allow, value, strlen(value), problem);
}

// A star ends a URI behind a slash of its path: "spiffe://example.org/ns/a/*".
static int parse_uri(struct allow_peer *allow, const char *value, struct problem *problem)
{
	const char *star = strchr(value, '*'), *authority = strstr(value, "://");

	if (!is_plain(value) || !strchr(value, ':') || *value == ':')
		return problem_set(
		    problem, "\"%s\" is no URI; write uri:spiffe://example.org/service", value);
	if (!star)
		return value_copy(allow, value, strlen(value), problem);
	if (star[1] || !authority || star <= authority + 3 || star[-1] != '/' ||
	    !memchr(authority + 3, '/', (size_t)(star - authority - 3)) || authority[3] == '/')
		return problem_set(
		    problem,
		    "\"%s\": a star stands at the end, behind a slash of the path, as"
		    " in uri:spiffe://example.org/ns/a/*",
		    value);
	allow->prefix = true;
	return value_copy(allow, value, (size_t)(star - value), problem);
}

// Brought into the form that GnuTLS gives of a certificate's issuer, which replies show too.
static int parse_issuer(struct allow_peer *allow, const char *value, struct problem *problem)
{
	gnutls_datum_t text = {};
	const char *where = NULL;
	gnutls_x509_dn_t dn;
	int error;

	if (gnutls_x509_dn_init(&dn) < 0)
		return problem_set(problem, "out of memory");
	error = *value ? gnutls_x509_dn_set_str(dn, value, &where) : GNUTLS_E_PARSING_ERROR;
	if (error == 0)
		error = gnutls_x509_dn_get_str2(dn, &text, 0);
	gnutls_x509_dn_deinit(dn);
	if (error || !text.data)
		return problem_set(problem,
				   "\"%s\" is no name of an issuer%s%.40s; write it as replies show"
				   " it: issuer:CN=Some CA,O=Example",
				   value, where && *where ? ", from here on: " : "",
				   where ? where : "");
	error = value_copy(allow, (const char *)text.data, text.size, problem);
	gnutls_free(text.data);
	return error;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// 64 digits, with or without colons between the bytes.
static int parse_sha256(struct allow_peer *allow, const char *value, struct problem *problem)
{
	const char *from = value;

	for (allow->size = 0; allow->size < SHA256_SIZE; allow->size++) {
		if (allow->size && *from == ':')
			from++;
		if (digit(from[0]) < 0 || digit(from[1]) < 0)
			break;
		allow->bytes[allow->size] = (unsigned char)(digit(from[0]) << 4 | digit(from[1]));
		from += 2;
	}
	if (allow->size < SHA256_SIZE || *from)
		return problem_set(problem,
				   "\"%s\" is no SHA-256 of a certificate: 64 hexadecimal digits"
				   " (openssl x509 -noout -fingerprint -sha256)",
				   value);
	return 0;
}

int allow_peer_parse(const char *text, struct allow_peer *ret_allow, struct problem *problem)
{
	static int (*const parse[])(struct allow_peer *, const char *, struct problem *) = {
	    [ALLOW_PEER_DNS] = parse_dns,       [ALLOW_PEER_IP] = parse_ip,
	    [ALLOW_PEER_EMAIL] = parse_email,   [ALLOW_PEER_URI] = parse_uri,
	    [ALLOW_PEER_ISSUER] = parse_issuer, [ALLOW_PEER_SHA256] = parse_sha256,
	};

	memset(ret_allow, 0, sizeof(*ret_allow));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t length = strlen(kinds[i]);

		if (strncmp(text, kinds[i], length) != 0 || text[length] != ':')
			continue;
		ret_allow->kind = (enum allow_peer_kind)i;
		ret_allow->written = strdup(text);
		if (!ret_allow->written)
			return problem_set(problem, "out of memory");
		return parse[i](ret_allow, text + length + 1, problem);
	}
	return problem_set(problem,
			   "\"%s\" is not understood; write dns:NAME, ip:ADDRESS, email:ADDRESS,"
			   " uri:URI, issuer:DN or sha256:HEX",
			   text);
}

void allow_peer_done(struct allow_peer *allow)
{
	free(allow->written);
	free(allow->value);
	allow->written = NULL;
	allow->value = NULL;
}

// ---- What a certificate has ----

// The star takes the place of exactly one label. A star in the certificate is only itself: it says for
// which names a server may answer, not who the peer is.
static bool dns_fits(const char *allowed, const char *name)
{
	const char *dot;

	if (allowed[0] != '*')
		return !strcasecmp(allowed, name);
	dot = strchr(name, '.');
	return dot && dot != name && !strcasecmp(allowed + 1, dot);
}

// RFC 5280, 7.5: the host's case does not count, the mailbox's does.
static bool email_fits(const char *allowed, const char *name)
{
	const char *at = strrchr(name, '@');
	size_t mailbox = (size_t)(strrchr(allowed, '@') - allowed);

	return at && (size_t)(at - name) == mailbox && !strncmp(allowed, name, mailbox) &&
	       !strcasecmp(allowed + mailbox, at);
}

// What stands in the place of the star must be plain segments: nothing that another reader of the URI
// could take for a way out of the prefix.
static bool rest_is_plain(const char *rest)
{
	while (*rest) {
		size_t length = strcspn(rest, "/");

		if (!length || (length == 1 && rest[0] == '.') ||
		    (length == 2 && rest[0] == '.' && rest[1] == '.') ||
		    strcspn(rest, "%?#\\") < length)
			return false;
		rest += length;
		if (*rest && !*++rest)
			return false;
	}
	return true;
}

static bool uri_fits(const struct allow_peer *allow, const char *name)
{
	size_t length = strlen(allow->value);

	if (!allow->prefix)
		return !strcmp(allow->value, name);
	return !strncmp(allow->value, name, length) && name[length] && rest_is_plain(name + length);
}

// size: of a name without its final NUL, as it stands in the certificate.
static bool name_fits(const struct allow_peer *allow, unsigned type, const char *name, size_t size)
{
	if (type == GNUTLS_SAN_IPADDRESS)
		return allow->kind == ALLOW_PEER_IP && size == allow->size &&
		       !memcmp(name, allow->bytes, size);
	// A NUL inside would hide what stands behind it.
	if (strlen(name) != size || !is_plain(name))
		return false;
	switch (allow->kind) {
	case ALLOW_PEER_DNS:
		return type == GNUTLS_SAN_DNSNAME && dns_fits(allow->value, name);
	case ALLOW_PEER_EMAIL:
		return type == GNUTLS_SAN_RFC822NAME && email_fits(allow->value, name);
	case ALLOW_PEER_URI:
		return type == GNUTLS_SAN_URI && uri_fits(allow, name);
	default:
		return false;
	}
}

// 1 and the next subject alternative name, terminated; 0: one that has no use here; -1: there is none.
static int name_read(gnutls_x509_crt_t certificate, unsigned i, char name[NAME_SIZE],
		     size_t *ret_size, unsigned *ret_type)
{
	size_t size = NAME_SIZE - 1;
	int result =
	    gnutls_x509_crt_get_subject_alt_name2(certificate, i, name, &size, ret_type, NULL);

	if (result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE || i >= NAMES_MAX)
		return -1;
	if (result < 0)
		return 0;
	*ret_type = (unsigned)result;
	// For texts GnuTLS counts without the NUL that it adds.
	name[size] = '\0';
	*ret_size = size;
	return 1;
}

static bool names_match(const struct allow_peer *list, size_t count, gnutls_x509_crt_t certificate)
{
	char name[NAME_SIZE];
	unsigned type = 0;
	size_t size = 0;
	int more;

	for (unsigned i = 0; (more = name_read(certificate, i, name, &size, &type)) >= 0; i++)
		for (size_t j = 0; more && j < count; j++)
			if (name_fits(&list[j], type, name, size))
				return true;
	return false;
}

static bool issuer_matches(const struct allow_peer *allow, gnutls_x509_crt_t certificate)
{
	gnutls_datum_t text;
	bool same;

	if (gnutls_x509_crt_get_issuer_dn3(certificate, &text, 0) < 0)
		return false;
	same = text.size == strlen(allow->value) && !memcmp(text.data, allow->value, text.size);
	gnutls_free(text.data);
	return same;
}

static bool fingerprint_matches(const struct allow_peer *allow, gnutls_x509_crt_t certificate)
{
	unsigned char digest[SHA256_SIZE];
	size_t size = sizeof(digest);

	return gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &size) ==
		   0 &&
	       size == sizeof(digest) && !memcmp(digest, allow->bytes, sizeof(digest));
}

bool allow_peer_matches(const struct allow_peer *list, size_t count, gnutls_x509_crt_t certificate)
{
	for (size_t i = 0; i < count; i++)
		if ((list[i].kind == ALLOW_PEER_ISSUER && issuer_matches(&list[i], certificate)) ||
		    (list[i].kind == ALLOW_PEER_SHA256 &&
		     fingerprint_matches(&list[i], certificate)))
			return true;
	return names_match(list, count, certificate);
}

// ---- In words ----

struct words {
	char *buffer;
	size_t size, length;
};

static void words_add(struct words *words, const char *kind, const char *text, size_t length)
{
	static const char more[] = ", …";
	size_t needed = strlen(kind) + 1 + length + (words->length ? 2 : 0);

	if (!words->size)
		return;
	if (words->length + needed + sizeof(more) > words->size) {
		if (words->length + sizeof(more) <= words->size)
			memcpy(words->buffer + words->length, more + (words->length ? 0 : 2),
			       sizeof(more) - (words->length ? 0 : 2));
		words->size = 0;
		return;
	}
	words->length +=
	    (size_t)snprintf(words->buffer + words->length, words->size - words->length,
			     "%s%s:%.*s", words->length ? ", " : "", kind, (int)length, text);
	// A certificate's words must not disturb a terminal or a log.
	for (char *c = words->buffer; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static void fingerprint_add(struct words *words, gnutls_x509_crt_t certificate)
{
	unsigned char digest[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1];
	size_t size = sizeof(digest);

	if (gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &size) < 0)
		return;
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	words_add(words, kinds[ALLOW_PEER_SHA256], text, 2 * size);
}

static void name_add(struct words *words, unsigned type, const char *name, size_t size)
{
	char address[INET6_ADDRSTRLEN];

	if (type == GNUTLS_SAN_IPADDRESS && (size == 4 || size == 16)) {
		inet_ntop(size == 4 ? AF_INET : AF_INET6, name, address, sizeof(address));
		words_add(words, kinds[ALLOW_PEER_IP], address, strlen(address));
	} else if (strlen(name) != size) {
		return;
	} else if (type == GNUTLS_SAN_DNSNAME) {
		words_add(words, kinds[ALLOW_PEER_DNS], name, size);
	} else if (type == GNUTLS_SAN_RFC822NAME) {
		words_add(words, kinds[ALLOW_PEER_EMAIL], name, size);
	} else if (type == GNUTLS_SAN_URI) {
		words_add(words, kinds[ALLOW_PEER_URI], name, size);
	}
}

const char *allow_peer_describe(gnutls_x509_crt_t certificate, char *buffer, size_t size)
{
	struct words words = {.buffer = buffer, .size = size};
	char name[NAME_SIZE];
	gnutls_datum_t issuer;
	unsigned type = 0;
	size_t length = 0;
	int more;

	buffer[0] = '\0';
	for (unsigned i = 0; (more = name_read(certificate, i, name, &length, &type)) >= 0; i++)
		if (more)
			name_add(&words, type, name, length);
	if (gnutls_x509_crt_get_issuer_dn3(certificate, &issuer, 0) == 0) {
		words_add(&words, kinds[ALLOW_PEER_ISSUER], (const char *)issuer.data, issuer.size);
		gnutls_free(issuer.data);
	}
	fingerprint_add(&words, certificate);
	return buffer;
}
