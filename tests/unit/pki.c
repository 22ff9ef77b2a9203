// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes certificates for tests with GnuTLS. Touches only its own directory; never used by the
// daemon.
#include "pki.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { YEAR = 365 * 24 * 3600 };

static void must_be(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "pki: %s failed\n", what);
	abort();
}

static void must(int error, const char *what)
{
	if (error < 0)
		fprintf(stderr, "pki: %s\n", gnutls_strerror(error));
	must_be(error >= 0, what);
}

static gnutls_x509_privkey_t key_new(enum pki_kind kind)
{
	gnutls_x509_privkey_t key;
	bool weak = kind == PKI_RSA_WEAK;

	must(gnutls_x509_privkey_init(&key), "key");
	if (kind == PKI_ECDSA)
		must(gnutls_x509_privkey_generate(
			 key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
		     "ECDSA key");
	else if (kind == PKI_ED25519)
		must(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0), "Ed25519");
	else
		must(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, weak ? 1024 : 2048, 0),
		     "RSA");
	return key;
}

static void names_set(gnutls_x509_crt_t certificate, const struct pki_wish *wish)
{
	const char *common = wish->common_name ? wish->common_name : "test";

	must(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, common,
					   (unsigned)strlen(common)),
	     "common name");
	for (size_t i = 0; i < 4 && wish->names[i]; i++)
		must(gnutls_x509_crt_set_subject_alt_name(
			 certificate, GNUTLS_SAN_DNSNAME, wish->names[i],
			 (unsigned)strlen(wish->names[i]), GNUTLS_FSAN_APPEND),
		     "DNS name");
	if (wish->address) {
		unsigned char bytes[16];
		unsigned size = inet_pton(AF_INET, wish->address, bytes) == 1 ? 4 : 16;

		must_be(size == 4 || inet_pton(AF_INET6, wish->address, bytes) == 1, "address");
		must(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, bytes,
							  size, GNUTLS_FSAN_APPEND),
		     "address");
	}
}

static void usage_set(gnutls_x509_crt_t certificate, const struct pki_wish *wish)
{
	must(gnutls_x509_crt_set_basic_constraints(certificate, wish->authority, -1),
	     "constraints");
	must(gnutls_x509_crt_set_key_usage(
		 certificate, wish->authority ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
					      : GNUTLS_KEY_DIGITAL_SIGNATURE),
	     "usage");
	if (wish->purpose)
		must(gnutls_x509_crt_set_key_purpose_oid(certificate, wish->purpose, 0), "purpose");
	if (wish->must_staple)
		must(gnutls_x509_crt_set_extension_by_oid(certificate, "1.3.6.1.5.5.7.1.24",
							  "\x30\x03\x02\x01\x05", 5, 0),
		     "must-staple");
}

// GnuTLS compares names as they were read; of a certificate that was only set it knows none.
static void reimport(struct pki_entity *entity)
{
	gnutls_datum_t der;

	must(gnutls_x509_crt_export2(entity->certificate, GNUTLS_X509_FMT_DER, &der), "export");
	gnutls_x509_crt_deinit(entity->certificate);
	must(gnutls_x509_crt_init(&entity->certificate), "certificate");
	must(gnutls_x509_crt_import(entity->certificate, &der, GNUTLS_X509_FMT_DER), "import");
	gnutls_free(der.data);
}

struct pki_entity *pki_new(const struct pki_wish *wish)
{
	static unsigned serials = 0x80; // the first ones need a leading zero byte
	struct pki_entity *entity = calloc(1, sizeof(*entity));
	const struct pki_entity *issuer;
	unsigned char serial[5] = {}, id[32];
	size_t id_size = sizeof(id);
	time_t now = time(NULL);
	bool usual = !wish->from && !wish->until;

	must_be(entity != NULL, "memory");
	issuer = wish->issuer ? wish->issuer : entity;
	entity->key = key_new(wish->kind);
	entity->serial = serials++;
	serial[3] = (unsigned char)(entity->serial >> 8);
	serial[4] = (unsigned char)entity->serial;
	must(gnutls_x509_crt_init(&entity->certificate), "certificate");
	must(gnutls_x509_crt_set_version(entity->certificate, 3), "version");
	must(gnutls_x509_crt_set_serial(entity->certificate, serial, sizeof(serial)), "serial");
	must(gnutls_x509_crt_set_activation_time(entity->certificate,
						 now + (usual ? -3600 : wish->from)),
	     "from");
	must(gnutls_x509_crt_set_expiration_time(entity->certificate,
						 now + (usual ? YEAR : wish->until)),
	     "until");
	must(gnutls_x509_crt_set_key(entity->certificate, entity->key), "public key");
	must(gnutls_x509_crt_get_key_id(entity->certificate, 0, id, &id_size), "key id");
	must(gnutls_x509_crt_set_subject_key_id(entity->certificate, id, id_size), "subject id");
	id_size = sizeof(id);
	must(gnutls_x509_crt_get_key_id(issuer->certificate, 0, id, &id_size), "key id");
	must(gnutls_x509_crt_set_authority_key_id(entity->certificate, id, id_size), "issuer id");
	names_set(entity->certificate, wish);
	usage_set(entity->certificate, wish);
	must(gnutls_x509_crt_sign2(entity->certificate, issuer->certificate, issuer->key,
				   gnutls_x509_privkey_get_pk_algorithm(issuer->key) ==
					   GNUTLS_PK_EDDSA_ED25519
				       ? GNUTLS_DIG_SHA512
				       : GNUTLS_DIG_SHA256,
				   0),
	     "signing");
	reimport(entity);
	return entity;
}

void pki_free(struct pki_entity *entity)
{
	if (!entity)
		return;
	gnutls_x509_crt_deinit(entity->certificate);
	gnutls_x509_privkey_deinit(entity->key);
	free(entity);
}

// ---- Files ----

static char directory[64];

const char *pki_directory(void)
{
	if (!directory[0]) {
		strcpy(directory, "/tmp/handshaked-unit-XXXXXX");
		must_be(mkdtemp(directory) != NULL, "temporary directory");
	}
	return directory;
}

void pki_directory_remove(void)
{
	DIR *open;
	struct dirent *entry;

	if (!directory[0])
		return;
	open = opendir(directory);
	while (open && (entry = readdir(open)))
		unlinkat(dirfd(open), entry->d_name, 0);
	if (open)
		closedir(open);
	rmdir(directory);
	directory[0] = '\0';
}

const char *pki_path(const char *name)
{
	static char ring[16][128];
	static unsigned turn;
	char *path = ring[turn++ % 16];

	snprintf(path, sizeof(ring[0]), "%s/%s", pki_directory(), name);
	return path;
}

static const char *write_bytes(const char *name, const void *bytes, size_t size, mode_t mode)
{
	const char *path = pki_path(name);
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	must_be(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, path);
	fchmod(fd, mode);
	close(fd);
	return path;
}

const char *pki_write_text(const char *name, const char *text)
{
	return write_bytes(name, text, strlen(text), 0644);
}

const char *pki_write_key(const char *name, const struct pki_entity *entity)
{
	gnutls_datum_t text;
	const char *path;

	must(gnutls_x509_privkey_export2_pkcs8(entity->key, GNUTLS_X509_FMT_PEM, NULL,
					       GNUTLS_PKCS_PLAIN, &text),
	     "key text");
	path = write_bytes(name, text.data, text.size, 0600);
	gnutls_free(text.data);
	return path;
}

char *pki_text_of_certificate(const struct pki_entity *entity)
{
	gnutls_datum_t text;

	must(gnutls_x509_crt_export2(entity->certificate, GNUTLS_X509_FMT_PEM, &text), "text");
	return (char *)text.data; // GnuTLS puts a NUL behind it
}

const char *pki_write_chain(const char *name, const struct pki_entity *const *chain, size_t count)
{
	char all[65536] = "";

	for (size_t i = 0; i < count; i++) {
		char *text = pki_text_of_certificate(chain[i]);

		must_be(strlen(all) + strlen(text) < sizeof(all), "room");
		strcat(all, text);
		gnutls_free(text);
	}
	return pki_write_text(name, all);
}

const char *pki_write_list(const char *name, const struct pki_entity *issuer,
			   const unsigned *revoked, size_t count, long from, long until)
{
	gnutls_x509_crl_t list;
	gnutls_datum_t text;
	time_t now = time(NULL);
	const char *path;

	must(gnutls_x509_crl_init(&list), "list");
	must(gnutls_x509_crl_set_version(list, 2), "version");
	must(gnutls_x509_crl_set_this_update(list, now + from), "this update");
	must(gnutls_x509_crl_set_next_update(list, now + until), "next update");
	must(gnutls_x509_crl_set_number(list, "\x01", 1), "number");
	for (size_t i = 0; i < count; i++) {
		unsigned char serial[5] = {0, 0, 0, (unsigned char)(revoked[i] >> 8),
					   (unsigned char)revoked[i]};

		must(gnutls_x509_crl_set_crt_serial(list, serial, sizeof(serial), now - 60),
		     "serial");
	}
	must(gnutls_x509_crl_sign2(list, issuer->certificate, issuer->key, GNUTLS_DIG_SHA256, 0),
	     "signing");
	must(gnutls_x509_crl_export2(list, GNUTLS_X509_FMT_PEM, &text), "text");
	path = write_bytes(name, text.data, text.size, 0644);
	gnutls_free(text.data);
	gnutls_x509_crl_deinit(list);
	return path;
}
