/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration file as it was written: checked word for word, but with no file opened that it
 * names. See handshaked.conf(5). */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "allow-peer.h"
#include "problem.h"

/* A set. */
enum config_roles {
	CONFIG_ROLE_CLIENT = 1,
	CONFIG_ROLE_SERVER = 2,
};

/* In order of strictness. */
enum config_client_certificates {
	CONFIG_CLIENT_NONE,
	CONFIG_CLIENT_REQUEST,
	CONFIG_CLIENT_REQUIRE,
};

/* What a peer's certificate must show of not being revoked. */
enum config_revocation {
	CONFIG_REVOCATION_NONE,
	CONFIG_REVOCATION_CRL,     /* the lists of revocation_list */
	CONFIG_REVOCATION_STAPLE,  /* client: a stapled response is good; must-staple is obeyed */
	CONFIG_REVOCATION_REQUIRE, /* client: there is a stapled response, and it is good */
};

enum config_records {
	CONFIG_RECORDS_KERNEL,
	CONFIG_RECORDS_RELAY,
	CONFIG_RECORDS_AUTO,
};

enum config_version {
	CONFIG_TLS12,
	CONFIG_TLS13,
};

/* The ciphers that a kernel can take over; the order of a profile's list is its preference. */
enum config_cipher {
	CONFIG_AES_128_GCM,
	CONFIG_AES_256_GCM,
	CONFIG_CHACHA20_POLY1305,
	CONFIG_AES_128_CCM,
	CONFIG_CIPHERS,
};

/* Key exchange groups; the order of a profile's list is its preference. */
enum config_group {
	CONFIG_X25519_MLKEM768,
	CONFIG_SECP256R1_MLKEM768,
	CONFIG_SECP384R1_MLKEM1024,
	CONFIG_X25519,
	CONFIG_SECP256R1,
	CONFIG_SECP384R1,
	CONFIG_X448,
	CONFIG_SECP521R1,
	CONFIG_FFDHE2048,
	CONFIG_FFDHE3072,
	CONFIG_FFDHE4096,
	CONFIG_FFDHE6144,
	CONFIG_FFDHE8192,
	CONFIG_GROUPS,
};

enum config_log_level {
	CONFIG_LOG_ERROR,
	CONFIG_LOG_WARNING,
	CONFIG_LOG_INFO,
	CONFIG_LOG_DEBUG,
};

struct config_certificate {
	char *certificate; /* path of a PEM file, the chain behind the certificate */
	char *private_key; /* path of a PEM file, or a PKCS#11 URL */
	char *pin_file;    /* of the token, or NULL */
	char *staple;      /* path of an OCSP response, or NULL */
	unsigned line;
};

struct config_allow {
	bool everyone; /* allow = everyone */
	uid_t *users;
	size_t user_count;
	gid_t *groups;
	size_t group_count;
};

struct config_psk {
	char *file;          /* path, or NULL */
	char *keyring;       /* name, or NULL */
	char *identity;      /* as client; NULL: the only one, or the request's */
	bool kernel;         /* they come with the kernel's requests, which alone it serves */
	bool sha384;         /* TLS 1.3: what the keys are for; SHA-256 otherwise */
	bool insecure_short; /* keys below PSK_KEY_MIN bytes */
	bool insecure_plain; /* without (EC)DHE, so without forward secrecy */
};

/* What a profile says of sessions that are taken up again. */
struct config_resumption {
	bool enabled;
	unsigned ticket_lifetime_s;
	char **key_files; /* paths; the first encrypts */
	size_t key_file_count;
	uint8_t settings[32]; /* SHA-256 over the lines of the profile that a session depends on */
};

struct config_raw {
	char *private_key; /* path or URL; shown as it is (RFC 7250); NULL: none */
	char **pins;       /* "sha256:…" or paths of public keys */
	size_t pin_count;
};

struct config_profile {
	char *name;
	const char *path; /* the file that it stands in; the configuration's */
	unsigned line;
	unsigned roles; /* of enum config_roles; both unless "role" says otherwise */
	struct config_certificate *certificates;
	size_t certificate_count;
	char *certificate_directory; /* path, or NULL: see certificate-list.h */
	char *trust;                 /* path of a PEM bundle; "system"; NULL: not given */
	char *revocation_list;       /* path of a PEM file of CRLs, or NULL */
	enum config_revocation revocation;
	struct allow_peer *allow_peers; /* none: whoever is verified */
	size_t allow_peer_count;
	enum config_client_certificates client_certificates;
	char **alpn; /* in order of preference; NULL-terminated, NULL: none */
	size_t alpn_count;
	bool alpn_required; /* a peer that offers none of them, or none at all, is refused */
	enum config_version min_version;
	bool tls12_only; /* max-version = TLS1.2 */
	enum config_cipher ciphers[CONFIG_CIPHERS];
	size_t cipher_count;
	struct config_psk psk;
	struct config_raw raw;
	enum config_group groups[CONFIG_GROUPS]; /* all of them known to this system's GnuTLS */
	size_t group_count;
	bool insecure_rsa_key_exchange; /* TLS 1.2: the session's secret encrypted with the
					   certificate's key, without forward secrecy */
	bool client_order;              /* cipher-order = client; the server's decides otherwise */
	struct config_allow allow;      /* none given: root and the daemon's own user */
	uint32_t timeout_ms;
	enum config_records records;
	bool zero_copy;                /* zero-copy-sendfile = yes */
	bool insecure_no_verification; /* insecure-no-verification = yes: client role, no check of
					  the server */
	unsigned early_data;           /* bytes; 0: neither taken nor sent */
	struct config_resumption resumption;
	bool unknown_name_refused; /* unknown-server-name = refuse | default-certificate */
};

/* What the signer signs with. */
enum config_signer_engine {
	CONFIG_ENGINE_AUTO,
	CONFIG_ENGINE_GNUTLS,
	CONFIG_ENGINE_OPENSSL,
};

struct config_signer {
	bool user_given;
	uid_t uid; /* what it becomes when the daemon was started as root */
	gid_t gid;
	enum config_signer_engine engine;
	char **modules; /* paths of PKCS#11 modules; none: those of the system */
	size_t module_count;
};

/* The kernel's own consumers of handshakes. */
enum config_consumer {
	CONFIG_CONSUMER_NFS,
	CONFIG_CONSUMER_NFSD,
	CONFIG_CONSUMER_NVME,  /* host */
	CONFIG_CONSUMER_NVMET, /* target */
	CONFIG_CONSUMERS,
};

/* The consumers that name a keyring of this name. */
struct config_keyring {
	char *name;
	char *profile;
	unsigned line;
};

struct config_kernel {
	unsigned line;                    /* of [kernel]; 0: not there, the kernel is not served */
	char *profiles[CONFIG_CONSUMERS]; /* NULL: this consumer is not served */
	unsigned lines[CONFIG_CONSUMERS];
	unsigned requests_total; /* under way at once */
	struct config_keyring *keyrings;
	size_t keyring_count;
	char **links; /* keyrings, by name or number, whose keys requests may name */
	size_t link_count;
	char **namespaces; /* beside the daemon's own: names in /run/netns, or paths */
	size_t namespace_count;
	bool namespaces_all; /* each that has a name there */
};

struct config {
	char *path;       /* that every sentence begins with, but for those about tlshd's file */
	char *tlshd_path; /* of a configuration of tlshd that was read, too; NULL: none, or path */
	unsigned workers; /* 0 in the file or absent: one per processor */
	unsigned relays;  /* relay processes; default 1 */
	char *socket;     /* path */
	mode_t socket_mode;
	gid_t socket_group; /* (gid_t)-1: not set */
	char *user;         /* what workers become when the daemon was started as root */
	uid_t uid;          /* of user */
	gid_t gid;
	unsigned handshakes_total; /* under way at once, all workers */
	unsigned handshakes_per_user;
	unsigned clients_total; /* connections of programs, all workers */
	unsigned relayed_total; /* established relayed connections */
	unsigned relayed_per_user;
	char *state_directory;        /* what outlives the daemon; NULL: nothing does */
	unsigned ticket_rotation_s;   /* how long each ticket key is the one to encrypt */
	unsigned session_cache_bytes; /* what the workers remember together */
	bool watch;                   /* reload when files that are named here change */
	unsigned stop_timeout_ms;     /* what SIGTERM gives to handshakes under way */
	enum config_log_level log_level;
	struct config_signer signer;
	struct config_allow trace_allow; /* beside root and the daemon's own user */
	char *key_log;                   /* path, or NULL */
	struct config_profile *profiles;
	size_t profile_count;
	struct config_kernel kernel;
};

/* Where a configuration comes from: at least one of them. */
struct config_source {
	const char *path; /* handshaked.conf(5); NULL: none, all its keys have their defaults */
	const char
	    *tlshd; /* a configuration of tlshd, which says how the kernel is served; or NULL */
};

/* Reads and checks the files. 0 and a new object, to be freed by config_free(), or -1 and a sentence
 * that names file, line, what was found and the nearest known word. */
int config_source_read(const struct config_source *source, struct config **ret_config,
		       struct problem *problem);
/* The same from one file of handshaked.conf(5). */
int config_read(const char *path, struct config **ret_config, struct problem *problem);
void config_free(struct config *config);
const struct config_profile *config_find_profile(const struct config *config, const char *name);

/* Whether the profile has pre-shared keys, and in this role nothing else to prove identities with. */
bool config_psk_given(const struct config_profile *profile);
bool config_psk_only(const struct config_profile *profile, enum config_roles role);

/* Whether X.509 certificates are shown to peers, and taken of them. */
bool config_shows_x509(const struct config_profile *profile);
bool config_takes_x509(const struct config_profile *profile);

const char *config_consumer_word(enum config_consumer consumer);
/* Words of the file, for messages and replies; "AES-128-GCM", "TLS1.3", "kernel", … */
const char *config_cipher_word(enum config_cipher cipher);
const char *config_records_word(enum config_records records);
const char *config_revocation_word(enum config_revocation revocation);
const char *config_client_certificates_word(enum config_client_certificates value);

#endif
