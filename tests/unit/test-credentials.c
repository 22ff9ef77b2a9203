// SPDX-License-Identifier: LGPL-2.1-or-later
/* links: tests/unit/pki.o tests/unit/tls-pair.o */
/* A profile's certificates: which of them a client gets to see, and which files are refused. */
#include "credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loaded.h"
#include "pki.h"
#include "signer.h"
#include "tls-pair.h"

static struct pki_entity *root, *intermediate, *www[3], *other, *wildcard;
static const char *const kind_words[] = {"ecdsa", "rsa", "ed25519"};

static void entity_write(const char *word, const struct pki_entity *entity)
{
	const struct pki_entity *chain[] = {entity, intermediate};
	char name[64];

	snprintf(name, sizeof(name), "%s.pem", word);
	pki_write_chain(name, chain, 2);
	snprintf(name, sizeof(name), "%s.key", word);
	pki_write_key(name, entity);
}

static int setup(void **state)
{
	(void)state;
	root = pki_new(&(struct pki_wish){.authority = true, .common_name = "root"});
	intermediate = pki_new(
	    &(struct pki_wish){.authority = true, .common_name = "intermediate", .issuer = root});
	for (int kind = 0; kind < 3; kind++) {
		www[kind] = pki_new(&(struct pki_wish){
		    .kind = (enum pki_kind)kind,
		    .issuer = intermediate,
		    .names = {"www.example.com", "example.com"},
		});
		entity_write(kind_words[kind], www[kind]);
	}
	other = pki_new(&(struct pki_wish){.issuer = intermediate, .names = {"Other.Example.net"}});
	entity_write("other", other);
	wildcard = pki_new(&(struct pki_wish){.issuer = intermediate, .names = {"*.example.com"}});
	entity_write("wildcard", wildcard);
	pki_write_chain("trust.pem", (const struct pki_entity *[]){root}, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(root);
	pki_free(intermediate);
	for (int kind = 0; kind < 3; kind++)
		pki_free(www[kind]);
	pki_free(other);
	pki_free(wildcard);
	pki_directory_remove();
	return 0;
}

#define DAEMON "[daemon]\nuser = 65534\n"
#define ALL                                                             \
	DAEMON "[profile web]\nrole = server\n"                         \
	       "certificate = ecdsa.pem\nprivate-key = ecdsa.key\n"     \
	       "certificate = rsa.pem\nprivate-key = rsa.key\n"         \
	       "certificate = ed25519.pem\nprivate-key = ed25519.key\n" \
	       "certificate = other.pem\nprivate-key = other.key\n"     \
	       "certificate = wildcard.pem\nprivate-key = wildcard.key\n"

static struct loaded *load(const char *text)
{
	struct problem problem = {};
	struct loaded *loaded = NULL;

	if (loaded_new(&(struct config_source){.path = pki_write_text("test.conf", text)}, &loaded,
		       &problem) < 0)
		fail_msg("%s", problem.text);
	return loaded;
}

static const struct pki_entity *idn_seen; // one more that handshake() knows
static const struct profile *served;      // by client_hello

static int client_hello(gnutls_session_t session)
{
	return credentials_select(session, served);
}

// Handshakes, with server_name name (NULL: none), and tells which entity's certificate the client
// saw; NULL with the server's error if there was no handshake.
static const struct pki_entity *handshake(const struct profile *profile, const char *name,
					  const char *priorities, int *ret_error)
{
	const struct pki_entity *const all[] = {www[0], www[1], www[2], other, wildcard, idn_seen};
	gnutls_certificate_credentials_t empty;
	const struct pki_entity *seen = NULL;
	struct tls_pair pair;

	assert_int_equal(gnutls_certificate_allocate_credentials(&empty), 0);
	tls_pair_open(&pair, 0, 0);
	served = profile;
	gnutls_handshake_set_post_client_hello_function(pair.server, client_hello);
	assert_int_equal(
	    gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, profile->server), 0);
	assert_int_equal(gnutls_priority_set(pair.server, profile->priority_server), 0);
	assert_int_equal(gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, empty), 0);
	assert_int_equal(gnutls_priority_set_direct(pair.client, priorities, NULL), 0);
	if (name)
		assert_int_equal(
		    gnutls_server_name_set(pair.client, GNUTLS_NAME_DNS, name, strlen(name)), 0);
	tls_pair_run(&pair);
	*ret_error = pair.server_error;
	if (pair.client_error == 0 && pair.server_error == 0) {
		unsigned count;
		const gnutls_datum_t *chain = gnutls_certificate_get_peers(pair.client, &count);

		assert_int_equal(count, 2);
		for (size_t i = 0; i < 6 && all[i]; i++) {
			gnutls_datum_t der;

			assert_int_equal(
			    gnutls_x509_crt_export2(all[i]->certificate, GNUTLS_X509_FMT_DER, &der),
			    0);
			if (der.size == chain[0].size && !memcmp(der.data, chain[0].data, der.size))
				seen = all[i];
			gnutls_free(der.data);
		}
		assert_non_null(seen);
	}
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(empty);
	return seen;
}

static const struct pki_entity *seen_by(const struct profile *profile, const char *name,
					const char *priorities)
{
	const struct pki_entity *seen;
	int error;

	seen = handshake(profile, name, priorities, &error);
	if (!seen)
		fail_msg("%s with %s: %s", name ? name : "(no name)", priorities,
			 gnutls_strerror(error));
	return seen;
}

static void serves_the_certificate_of_the_name_that_is_asked_for(void **state)
{
	struct loaded *loaded = load(ALL);
	const struct profile *profile = loaded_find_profile(loaded, "web");

	(void)state;
	assert_ptr_equal(seen_by(profile, "www.example.com", "NORMAL"), www[PKI_ECDSA]);
	assert_ptr_equal(seen_by(profile, "other.example.net", "NORMAL"), other);
	assert_ptr_equal(seen_by(profile, "OTHER.example.NET", "NORMAL"), other);
	assert_ptr_equal(seen_by(profile, "else.example.com", "NORMAL"), wildcard);
	assert_ptr_equal(seen_by(profile, "elsewhere.test", "NORMAL"), www[PKI_ECDSA]);
	// A wildcard stands for one label, no more and no less.
	assert_ptr_equal(seen_by(profile, "a.b.example.com", "NORMAL"), www[PKI_ECDSA]);
	assert_ptr_equal(seen_by(profile, NULL, "NORMAL"), www[PKI_ECDSA]);
	loaded_free(loaded);
}

// Of several certificates for the name, the client gets the one that it can verify: that is told by
// its signature algorithms, and in TLS 1.2 by its suites as well.
static void serves_the_kind_of_key_that_the_client_can_verify(void **state)
{
	static const char *const rsa_only[] = {
	    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-SHA256",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA",
	};
	static const char *const ed25519_only[] = {
	    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-EDDSA-ED25519",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-EDDSA-ED25519",
	};
	static const char *const ecdsa_only[] = {
	    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-ECDSA-SECP256R1-SHA256",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:-SIGN-ALL:+SIGN-ECDSA-SHA256",
	};
	static const char *const names[] = {"www.example.com", "example.com", "elsewhere.test",
					    NULL};
	struct loaded *loaded = load(ALL);
	const struct profile *profile = loaded_find_profile(loaded, "web");

	(void)state;
	for (size_t n = 0; n < 4; n++) {
		for (size_t i = 0; i < 4; i++)
			assert_ptr_equal(seen_by(profile, names[n], rsa_only[i]), www[PKI_RSA]);
		for (size_t i = 0; i < 2; i++)
			assert_ptr_equal(seen_by(profile, names[n], ed25519_only[i]),
					 www[PKI_ED25519]);
		for (size_t i = 0; i < 2; i++)
			assert_ptr_equal(seen_by(profile, names[n], ecdsa_only[i]), www[PKI_ECDSA]);
	}
	loaded_free(loaded);
}

static void finds_names_that_are_not_ascii(void **state)
{
	struct pki_entity *idn =
	    pki_new(&(struct pki_wish){.issuer = intermediate, .names = {"xn--bcher-kva.example"}});
	struct loaded *loaded;
	int error;

	(void)state;
	entity_write("idn", idn);
	loaded = load(DAEMON "[profile web]\nrole = server\nunknown-server-name = refuse\n"
			     "certificate = other.pem\nprivate-key = other.key\n"
			     "certificate = idn.pem\nprivate-key = idn.key\n");
	idn_seen = idn;
	assert_ptr_equal(handshake(&loaded->profiles[0], "xn--bcher-kva.example", "NORMAL", &error),
			 idn);
	idn_seen = NULL;
	loaded_free(loaded);
	pki_free(idn);
}

// The server tells the authorities that the profile trusts, and so the client shows the right one.
static void tells_clients_the_authorities(void **state)
{
	struct pki_entity *stranger =
	    pki_new(&(struct pki_wish){.authority = true, .common_name = "stranger"});
	struct pki_entity *wrong =
	    pki_new(&(struct pki_wish){.issuer = stranger, .names = {"c.test"}});
	struct pki_entity *right = pki_new(&(struct pki_wish){.issuer = root, .names = {"c.test"}});
	struct loaded *loaded = load(ALL "trust = trust.pem\n");
	gnutls_certificate_credentials_t own;
	const gnutls_datum_t *seen;
	struct tls_pair pair;
	gnutls_datum_t der;
	unsigned count;

	(void)state;
	served = &loaded->profiles[0];
	gnutls_certificate_allocate_credentials(&own);
	gnutls_certificate_set_x509_key(own, &wrong->certificate, 1, wrong->key);
	gnutls_certificate_set_x509_key(own, &right->certificate, 1, right->key);
	for (int named = 0; named < 2; named++) {
		tls_pair_open(&pair, 0, 0);
		gnutls_handshake_set_post_client_hello_function(pair.server, client_hello);
		gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, served->server);
		gnutls_priority_set(pair.server, served->priority_server);
		gnutls_certificate_server_set_request(pair.server, GNUTLS_CERT_REQUIRE);
		gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, own);
		gnutls_priority_set_direct(pair.client, "NORMAL", NULL);
		if (named)
			gnutls_server_name_set(pair.client, GNUTLS_NAME_DNS, "www.example.com", 15);
		tls_pair_run(&pair);
		assert_int_equal(pair.server_error, 0);
		seen = gnutls_certificate_get_peers(pair.server, &count);
		gnutls_x509_crt_export2(right->certificate, GNUTLS_X509_FMT_DER, &der);
		assert_int_equal(seen[0].size, der.size);
		assert_memory_equal(seen[0].data, der.data, der.size);
		gnutls_free(der.data);
		tls_pair_close(&pair);
	}
	gnutls_certificate_free_credentials(own);
	loaded_free(loaded);
	pki_free(right);
	pki_free(wrong);
	pki_free(stranger);
}

static void refuses_an_unknown_name_where_the_profile_says_so(void **state)
{
	struct loaded *loaded = load(ALL "unknown-server-name = refuse\n");
	const struct profile *profile = loaded_find_profile(loaded, "web");
	int error;

	(void)state;
	assert_null(handshake(profile, "elsewhere.test", "NORMAL", &error));
	assert_int_equal(error, GNUTLS_E_UNRECOGNIZED_NAME);
	assert_int_equal(gnutls_error_to_alert(error, NULL), GNUTLS_A_UNRECOGNIZED_NAME);
	// Who asks for no name is not refused: nothing was unknown.
	assert_ptr_equal(seen_by(profile, NULL, "NORMAL"), www[PKI_ECDSA]);
	assert_ptr_equal(seen_by(profile, "www.example.com", "NORMAL"), www[PKI_ECDSA]);
	loaded_free(loaded);
}

static void offers_nothing_but_strong_ephemeral_suites(void **state)
{
	static const char *const refused[] = {
	    "NORMAL:-VERS-ALL:+VERS-TLS1.1",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-CCM",
	    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-SHA1:+SIGN-ECDSA-SHA1",
	};
	struct loaded *loaded = load(ALL);
	const struct profile *profile = loaded_find_profile(loaded, "web");
	int error;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (handshake(profile, "www.example.com", refused[i], &error))
			fail_msg("accepted %s", refused[i]);
	loaded_free(loaded);
	loaded = load(ALL "min-version = TLS1.3\nciphers = CHACHA20-POLY1305\n");
	profile = loaded_find_profile(loaded, "web");
	assert_null(handshake(profile, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.2", &error));
	assert_null(handshake(profile, NULL, "NORMAL:-CIPHER-ALL:+AES-128-GCM", &error));
	assert_ptr_equal(seen_by(profile, NULL, "NORMAL"), www[PKI_ECDSA]);
	loaded_free(loaded);
}

// The suite that both can, by whose order?
static gnutls_cipher_algorithm_t cipher_with(const char *lines, const char *client)
{
	gnutls_certificate_credentials_t empty;
	gnutls_cipher_algorithm_t cipher;
	struct tls_pair pair;
	char text[1024];
	struct loaded *loaded;

	snprintf(text, sizeof(text), "%s%s", ALL, lines);
	loaded = load(text);
	assert_int_equal(gnutls_certificate_allocate_credentials(&empty), 0);
	tls_pair_open(&pair, 0, 0);
	gnutls_credentials_set(pair.server, GNUTLS_CRD_CERTIFICATE, loaded->profiles[0].server);
	gnutls_priority_set(pair.server, loaded->profiles[0].priority_server);
	gnutls_credentials_set(pair.client, GNUTLS_CRD_CERTIFICATE, empty);
	gnutls_priority_set_direct(pair.client, client, NULL);
	tls_pair_run(&pair);
	assert_int_equal(pair.client_error, 0);
	cipher = gnutls_cipher_get(pair.client);
	tls_pair_close(&pair);
	gnutls_certificate_free_credentials(empty);
	loaded_free(loaded);
	return cipher;
}

static void takes_the_first_cipher_of_the_side_that_decides(void **state)
{
	static const char *const versions[] = {"+VERS-TLS1.3", "+VERS-TLS1.2"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char client[128];

		snprintf(client, sizeof(client),
			 "NORMAL:-VERS-ALL:%s:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305",
			 versions[i]);
		assert_int_equal(cipher_with("ciphers = CHACHA20-POLY1305, AES-128-GCM\n", client),
				 GNUTLS_CIPHER_CHACHA20_POLY1305);
		assert_int_equal(
		    cipher_with("ciphers = AES-128-GCM\n  CHACHA20-POLY1305\n", client),
		    GNUTLS_CIPHER_AES_128_GCM);
		assert_int_equal(cipher_with("ciphers = CHACHA20-POLY1305, AES-128-GCM\n"
					     "cipher-order = client\n",
					     client),
				 GNUTLS_CIPHER_AES_128_GCM);
	}
}

// What loaded_new() says about text.
static const char *refusal(const char *text)
{
	static struct problem problem;
	struct loaded *loaded;

	problem.text[0] = '\0';
	if (loaded_new(&(struct config_source){.path = pki_write_text("test.conf", text)}, &loaded,
		       &problem) == 0) {
		loaded_free(loaded);
		fail_msg("loaded: %s", text);
	}
	return problem.text;
}

#define PAIR(certificate, key)                                                                   \
	DAEMON "[profile web]\nrole = server\ncertificate = " certificate "\nprivate-key = " key \
	       "\n"

static void assert_says(const char *sentence, const char *part)
{
	if (!strstr(sentence, part))
		fail_msg("\"%s\" does not say \"%s\"", sentence, part);
}

static void refuses_a_key_that_others_can_use(void **state)
{
	(void)state;
	chmod(pki_path("other.key"), 0644);
	assert_says(refusal(PAIR("other.pem", "other.key")), "everybody on this machine");
	assert_says(refusal(PAIR("other.pem", "other.key")), "mode 0644");
	chmod(pki_path("other.key"), 0620);
	assert_says(refusal(PAIR("other.pem", "other.key")), "its group may write");
	chmod(pki_path("other.key"), 0640);
	loaded_free(load(PAIR("other.pem", "other.key")));
	if (geteuid() == 0) {
		assert_int_equal(chown(pki_path("other.key"), 65534, 65534), 0);
		assert_says(refusal(PAIR("other.pem", "other.key")), "belongs to user 65534");
		assert_int_equal(chown(pki_path("other.key"), 0, 0), 0);
	}
	chmod(pki_path("other.key"), 0600);
}

static void refuses_what_does_not_belong_together(void **state)
{
	const struct pki_entity *const wrong_order[] = {intermediate, other};
	const struct pki_entity *const no_issuer[] = {other, root};

	(void)state;
	assert_says(refusal(PAIR("other.pem", "rsa.key")), "is not the key of certificate");
	pki_write_chain("wrong.pem", wrong_order, 2);
	assert_says(refusal(PAIR("wrong.pem", "other.key")), "is not the issuer of the one before");
	pki_write_chain("wrong.pem", no_issuer, 2);
	assert_says(refusal(PAIR("wrong.pem", "other.key")), "number 2 (\"CN=root\")");
}

#define THREE(certificate, key)                                  \
	PAIR("ecdsa.pem", "ecdsa.key")                           \
	"certificate = " certificate "\nprivate-key = " key "\n" \
	"certificate = wildcard.pem\nprivate-key = wildcard.key\n"

// The signer loads the third pair's key while the second is judged.
static void refuses_one_pair_among_others(void **state)
{
	(void)state;
	assert_says(refusal(THREE("absent.pem", "other.key")), "absent.pem\" cannot be opened");
	assert_says(refusal(THREE("other.pem", "absent.key")), "absent.key\" cannot be opened");
	assert_says(refusal(THREE("other.pem", "rsa.key")), "is not the key of certificate");
	loaded_free(load(THREE("other.pem", "other.key")));
}

static void each_key_gets_its_own_report(void **state)
{
	struct problem problem = {};
	struct signer_key *key;
	struct signer *signer;

	(void)state;
	assert_int_equal(signer_new(NULL, &signer, &problem), 0);
	assert_int_equal(signer_key_begin(signer, pki_path("rsa.key"), NULL, &key, &problem), 0);
	signer_key_free(key); // its report is still to come
	assert_int_equal(signer_key_begin(signer, pki_path("absent.key"), NULL, &key, &problem), 0);
	assert_int_equal(signer_key_finish(key, &problem), -1);
	assert_says(problem.text, "absent.key");
	signer_key_free(key);
	assert_int_equal(signer_key_begin(signer, pki_path("other.key"), NULL, &key, &problem), 0);
	assert_int_equal(signer_key_finish(key, &problem), 0);
	assert_true(signer_key_matches(key, other->certificate));
	signer_key_free(key);
	signer_free(signer);
}

static void refuses_files_that_are_not_what_they_should_be(void **state)
{
	char *text = pki_text_of_certificate(other), half[4096];

	(void)state;
	assert_says(refusal(PAIR("absent.pem", "other.key")), "absent.pem\" cannot be opened");
	assert_says(refusal(PAIR("other.pem", "absent.key")), "absent.key\" cannot be opened");
	assert_says(refusal(PAIR("/", "other.key")), "is a directory");
	assert_says(refusal(PAIR("/dev/zero", "other.key")), "is a special file");
	assert_says(refusal(PAIR("other.key", "other.key")), "there is a private key in line 1");
	pki_write_text("empty.pem", "");
	assert_says(refusal(PAIR("empty.pem", "other.key")), "has no certificate in it");
	snprintf(half, sizeof(half), "%s%.*s\n", text, (int)strlen(text) / 2, text);
	pki_write_text("half.pem", half);
	assert_says(refusal(PAIR("half.pem", "other.key")), "has no end");
	snprintf(half, sizeof(half),
		 "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", text);
	pki_write_text("half.pem", half);
	assert_says(refusal(PAIR("half.pem", "other.key")), "cannot be read");
	pki_write_text("text.key", "no key\n");
	chmod(pki_path("text.key"), 0600);
	assert_says(refusal(PAIR("other.pem", "text.key")), "has no private key in it");
	gnutls_free(text);
}

static void refuses_a_key_with_a_passphrase(void **state)
{
	gnutls_datum_t text;
	char name[] = "secret.key", copy[8192];

	(void)state;
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(other->key, GNUTLS_X509_FMT_PEM, "pass",
							   GNUTLS_PKCS_PBES2_AES_128, &text),
			 0);
	snprintf(copy, sizeof(copy), "%s", (char *)text.data);
	gnutls_free(text.data);
	chmod(pki_write_text(name, copy), 0600);
	assert_says(refusal(PAIR("other.pem", "secret.key")), "protected by a passphrase");
}

static void refuses_a_weak_key(void **state)
{
	struct pki_entity *weak =
	    pki_new(&(struct pki_wish){.kind = PKI_RSA_WEAK, .names = {"weak"}});

	(void)state;
	pki_write_chain("weak.pem", (const struct pki_entity *[]){weak}, 1);
	pki_write_key("weak.key", weak);
	assert_says(refusal(PAIR("weak.pem", "weak.key")), "too weak (1024 bits)");
	pki_free(weak);
}

static void names_the_profile_and_its_line(void **state)
{
	(void)state;
	assert_says(refusal(PAIR("absent.pem", "other.key")), "test.conf:3: [profile web]: ");
}

static void shares_one_trust_between_profiles(void **state)
{
	struct loaded *loaded = load(DAEMON "[profile a]\nrole = client\ntrust = trust.pem\n"
					    "[profile b]\nrole = client\ntrust = trust.pem\n"
					    "[profile c]\nrole = client\n"
					    "insecure-no-verification = yes\n");

	(void)state;
	assert_non_null(loaded->profiles[0].trust);
	assert_ptr_equal(loaded->profiles[0].trust, loaded->profiles[1].trust);
	assert_null(loaded->profiles[2].trust);
	assert_null(loaded->profiles[0].server);
	assert_non_null(loaded->profiles[0].client);
	assert_non_null(loaded->profiles[0].priority_client);
	loaded_free(loaded);
}

static void refuses_a_trust_that_is_damaged_in_part(void **state)
{
	char *text = pki_text_of_certificate(root), all[8192];

	(void)state;
	snprintf(all, sizeof(all),
		 "# ours\n%s-----BEGIN CERTIFICATE-----\nMIIB\n"
		 "-----END CERTIFICATE-----\n",
		 text);
	pki_write_text("bundle.pem", all);
	assert_says(refusal(DAEMON "[profile a]\nrole = client\ntrust = bundle.pem\n"),
		    "cannot be read");
	snprintf(all, sizeof(all), "%s%s", text, text);
	pki_write_text("bundle.pem", all);
	loaded_free(load(DAEMON "[profile a]\nrole = client\ntrust = bundle.pem\n"));
	gnutls_free(text);
}

static void refuses_what_everybody_may_write(void **state)
{
	const char *const profile = DAEMON "[profile a]\nrole = client\ntrust = trust.pem\n"
					   "revocation-list = all.crl\n";

	(void)state;
	pki_write_list("all.crl", root, NULL, 0, -100, 100);
	loaded_free(load(profile));
	chmod(pki_path("trust.pem"), 0666);
	assert_says(refusal(profile), "everybody on this machine may write");
	assert_says(refusal(profile), "mode 0666");
	chmod(pki_path("trust.pem"), 0644);
	chmod(pki_path("all.crl"), 0646);
	assert_says(refusal(profile), "revocation-list \"");
	assert_says(refusal(profile), "everybody on this machine may write");
	chmod(pki_path("all.crl"), 0644);
	loaded_free(load(profile));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(serves_the_certificate_of_the_name_that_is_asked_for),
	    cmocka_unit_test(serves_the_kind_of_key_that_the_client_can_verify),
	    cmocka_unit_test(finds_names_that_are_not_ascii),
	    cmocka_unit_test(tells_clients_the_authorities),
	    cmocka_unit_test(refuses_an_unknown_name_where_the_profile_says_so),
	    cmocka_unit_test(offers_nothing_but_strong_ephemeral_suites),
	    cmocka_unit_test(takes_the_first_cipher_of_the_side_that_decides),
	    cmocka_unit_test(refuses_a_key_that_others_can_use),
	    cmocka_unit_test(refuses_what_does_not_belong_together),
	    cmocka_unit_test(refuses_one_pair_among_others),
	    cmocka_unit_test(each_key_gets_its_own_report),
	    cmocka_unit_test(refuses_files_that_are_not_what_they_should_be),
	    cmocka_unit_test(refuses_a_key_with_a_passphrase),
	    cmocka_unit_test(refuses_a_weak_key),
	    cmocka_unit_test(names_the_profile_and_its_line),
	    cmocka_unit_test(shares_one_trust_between_profiles),
	    cmocka_unit_test(refuses_a_trust_that_is_damaged_in_part),
	    cmocka_unit_test(refuses_what_everybody_may_write),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
