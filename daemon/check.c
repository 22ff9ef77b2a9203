// SPDX-License-Identifier: LGPL-2.1-or-later
// handshaked --check: goes through everything that a start would need, and goes on after an error,
// so that one run tells all. Looks only; starts, changes and contacts nothing.
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certificate-file.h"
#include "certificate-list.h"
#include "check-report.h"
#include "loaded.h"
#include "offload-kernel.h"
#include "psk.h"
#include "raw-public-key.h"
#include "secrets.h"
#include "signer.h"
#include "staple.h"
#include "trust.h"

enum {
	DAY = 24 * 60 * 60,
	CERTIFICATE_WARNING = 14 * DAY,
	LIST_WARNING = DAY,
	STAPLE_WARNING = DAY,
};

void tell(struct report *report, enum level level, const char *format, ...)
{
	static const char *const words[] = {"ok", "warning", "error"};
	va_list arguments;

	report->counts[level]++;
	if (report->quiet && level == OK)
		return;
	fprintf(report->out, "%-8s ", words[level]);
	va_start(arguments, format);
	vfprintf(report->out, format, arguments);
	va_end(arguments);
	fputc('\n', report->out);
}

// ---- [daemon] ----

static void check_user(struct report *report, const struct config *config)
{
	if (geteuid() == 0)
		tell(report, OK, "user: workers become \"%s\" (%u)", config->user,
		     (unsigned)config->uid);
	else
		tell(report, OK, "user: not started as root, so workers stay user %u",
		     (unsigned)geteuid());
}

static void check_socket(struct report *report, const struct config *config)
{
	char *directory = strdup(config->socket), *slash;
	struct stat status;

	if (!directory) {
		tell(report, ERROR, "out of memory");
		return;
	}
	slash = strrchr(directory, '/');
	slash[slash == directory] = '\0';
	if (stat(directory, &status) < 0 && errno == ENOENT)
		tell(report, WARNING,
		     "socket %s: the directory \"%s\" does not exist; systemd's RuntimeDirectory or"
		     " tmpfiles.d makes it, or mkdir",
		     config->socket, directory);
	else if (stat(directory, &status) < 0 || !S_ISDIR(status.st_mode))
		tell(report, ERROR, "socket %s: \"%s\" is no directory that can be used",
		     config->socket, directory);
	else if (access(directory, W_OK | X_OK) < 0)
		tell(report, ERROR, "socket %s: user %u may not write to the directory \"%s\"",
		     config->socket, (unsigned)geteuid(), directory);
	else if ((status.st_mode & S_IWOTH) && !(status.st_mode & S_ISVTX))
		tell(report, ERROR,
		     "socket %s: everybody may replace the socket, for everybody may write to "
		     "\"%s\";"
		     " chmod o-w it",
		     config->socket, directory);
	else
		tell(report, OK, "socket %s: mode %04o", config->socket,
		     (unsigned)config->socket_mode);
	free(directory);
}

static void check_state(struct report *report, const struct config *config)
{
	const char *directory = config->state_directory;
	struct problem problem = {};

	if (!directory)
		return;
	if (access(directory, F_OK) < 0 && errno == ENOENT)
		tell(report, WARNING, "state-directory %s: does not exist; the start makes it",
		     directory);
	else if (secrets_check(directory, &problem) < 0)
		tell(report, ERROR, "%s", problem.text);
	else
		tell(report, OK, "state-directory %s", directory);
}

// ---- Certificates ----

static void check_dates(struct report *report, const struct config_profile *profile,
			const char *path, gnutls_x509_crt_t certificate)
{
	time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(certificate),
	       until = gnutls_x509_crt_get_expiration_time(certificate);
	char name[256], date[32];

	certificate_name(certificate, name, sizeof(name));
	if (until == (time_t)-1 || from == (time_t)-1)
		tell(report, ERROR, "[profile %s] certificate %s: %s: its dates cannot be read",
		     profile->name, path, name);
	else if (until < now)
		tell(report, ERROR, "[profile %s] certificate %s: %s: expired on %s; renew it",
		     profile->name, path, name, certificate_time(until, date, sizeof(date)));
	else if (from > now)
		tell(report, ERROR, "[profile %s] certificate %s: %s: not valid before %s",
		     profile->name, path, name, certificate_time(from, date, sizeof(date)));
	else
		tell(report, until - now < CERTIFICATE_WARNING ? WARNING : OK,
		     "[profile %s] certificate %s: %s: %s %s (%lld days)", profile->name, path,
		     name, until - now < CERTIFICATE_WARNING ? "expires soon, on" : "valid until",
		     certificate_time(until, date, sizeof(date)), (long long)(until - now) / DAY);
}

static void check_purpose(struct report *report, const struct config_profile *profile,
			  const char *path, gnutls_x509_crt_t certificate)
{
	if ((profile->roles & CONFIG_ROLE_SERVER) &&
	    !gnutls_x509_crt_check_key_purpose(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0))
		tell(report, profile->roles == CONFIG_ROLE_SERVER ? ERROR : WARNING,
		     "[profile %s] certificate %s: it is not for servers (extended key usage);"
		     " clients refuse it",
		     profile->name, path);
	if (profile->roles == CONFIG_ROLE_CLIENT &&
	    !gnutls_x509_crt_check_key_purpose(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0))
		tell(report, ERROR,
		     "[profile %s] certificate %s: it is not for clients (extended key usage);"
		     " servers refuse it",
		     profile->name, path);
}

static void check_staple_dates(struct report *report, const struct config_profile *profile,
			       const struct staple *staple, bool demanded)
{
	const struct ocsp_answer *answer = &staple->answer;
	time_t now = time(NULL);
	char date[32];

	certificate_time(answer->next_update, date, sizeof(date));
	if (answer->status == OCSP_REVOKED)
		tell(report, ERROR,
		     "[profile %s] staple %s: the certificate has been revoked; replace it",
		     profile->name, staple->path);
	else if (answer->next_update <= now)
		tell(report, demanded ? ERROR : WARNING,
		     "[profile %s] staple %s: expired on %s and is not sent%s; fetch a new one",
		     profile->name, staple->path, date,
		     demanded ? ", but the certificate demands one (must-staple)" : "");
	else if (!staple_holds(staple, now))
		tell(report, demanded ? ERROR : WARNING,
		     "[profile %s] staple %s: from the future and not sent; is the clock right?",
		     profile->name, staple->path);
	else
		tell(report, answer->next_update - now < STAPLE_WARNING ? WARNING : OK,
		     "[profile %s] staple %s: holds until %s", profile->name, staple->path, date);
}

static void check_staple(struct report *report, const struct config_profile *profile,
			 const struct config_certificate *pair, const struct certificates *chain)
{
	bool demanded = ocsp_is_demanded_by(chain->items[0]);
	struct problem problem = {};
	struct trust *trust = NULL;
	struct staple *staple;

	if (!pair->staple) {
		if (demanded && (profile->roles & CONFIG_ROLE_SERVER))
			tell(report, WARNING,
			     "[profile %s] certificate %s: it demands a staple (must-staple), and "
			     "has"
			     " none; clients that obey refuse it",
			     profile->name, pair->certificate);
		return;
	}
	if (profile->trust)
		trust_new(profile->trust, NULL, &trust, &problem); // told by check_trust()
	problem.text[0] = '\0';
	if (staple_read(pair->staple, chain, trust, &staple, &problem) < 0) {
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
	} else {
		check_staple_dates(report, profile, staple, demanded);
		staple_free(staple);
	}
	trust_unref(trust);
}

static void check_certificate(struct report *report, const struct config_profile *profile,
			      const struct config_certificate *pair, struct signer *signer)
{
	struct certificates chain = {};
	struct problem problem = {};
	struct signer_key *key = NULL;

	if (certificate_chain_read(pair->certificate, &chain, &problem) < 0) {
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
	} else {
		for (unsigned i = 0; i < chain.count; i++)
			check_dates(report, profile, pair->certificate, chain.items[i]);
		check_purpose(report, profile, pair->certificate, chain.items[0]);
		check_staple(report, profile, pair, &chain);
	}
	problem.text[0] = '\0';
	if (signer_key_load(signer, pair->private_key, pair->pin_file, &key, &problem) < 0)
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
	else if (chain.count && signer_key_matches(key, chain.items[0]) != 1)
		tell(report, ERROR, "[profile %s] private-key %s is not the key of certificate %s",
		     profile->name, pair->private_key, pair->certificate);
	else
		tell(report, OK, "[profile %s] private-key %s: %s", profile->name,
		     pair->private_key,
		     chain.count ? "matches the certificate, permissions are right"
				 : "permissions are right");
	signer_key_free(key);
	certificates_done(&chain);
}

static void check_certificates(struct report *report, const struct config_profile *profile,
			       struct signer *signer)
{
	struct certificate_list list;
	struct problem problem = {};
	unsigned errors = report->counts[ERROR];

	if (certificate_list_new(profile, &list, &problem) < 0) {
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
		return;
	}
	for (size_t i = 0; i < list.count; i++) {
		report->quiet = i >= list.named;
		check_certificate(report, profile, &list.items[i], signer);
	}
	report->quiet = false;
	for (size_t i = 0; i < list.orphan_count; i++)
		tell(report, WARNING,
		     "[profile %s] %s: there is no certificate with this name; it"
		     " is left out",
		     profile->name, list.orphans[i]);
	if (profile->certificate_directory && report->counts[ERROR] == errors)
		tell(report, list.count > list.named ? OK : WARNING,
		     "[profile %s] certificate-directory %s: %zu %s", profile->name,
		     profile->certificate_directory, list.count - list.named,
		     list.count - list.named == 1 ? "certificate with its key"
						  : "certificates with their keys");
	certificate_list_done(&list);
}

// ---- Trust ----

static void check_revocation(struct report *report, const struct config_profile *profile)
{
	struct revocation *revocation;
	struct problem problem = {};
	time_t now = time(NULL);

	if (revocation_read(profile->revocation_list, &revocation, &problem) < 0) {
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
		return;
	}
	for (size_t i = 0; i < revocation_count(revocation); i++) {
		struct revocation_facts facts;
		char date[32];

		revocation_describe(revocation, i, &facts);
		certificate_time(facts.next_update, date, sizeof(date));
		if (facts.this_update > now)
			tell(report, ERROR,
			     "[profile %s] revocation-list of %s: from the future, so its peers are"
			     " refused; is the clock right?",
			     profile->name, facts.issuer);
		else if (facts.next_update < now)
			tell(report, ERROR,
			     "[profile %s] revocation-list of %s: expired on %s, so its peers are"
			     " refused; fetch the new one",
			     profile->name, facts.issuer, date);
		else
			tell(report, facts.next_update - now < LIST_WARNING ? WARNING : OK,
			     "[profile %s] revocation-list of %s: %zu revoked, holds until %s",
			     profile->name, facts.issuer, facts.revoked, date);
	}
	revocation_free(revocation);
}

static void check_trust(struct report *report, const struct config_profile *profile)
{
	const char *source = loaded_trust_source(profile);
	struct problem problem = {};
	struct trust *trust;
	unsigned expired = 0;

	if (profile->insecure_no_verification)
		tell(report, WARNING,
		     "[profile %s] insecure-no-verification: any server is believed as client",
		     profile->name);
	if (!source)
		return;
	if (trust_new(source, NULL, &trust, &problem) < 0) {
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
		return;
	}
	for (unsigned i = 0; i < trust_anchors(trust)->count; i++)
		expired += gnutls_x509_crt_get_expiration_time(trust_anchors(trust)->items[i]) <
			   time(NULL);
	if (expired == trust_anchors(trust)->count)
		tell(report, ERROR, "[profile %s] trust %s: every authority has expired (%u)",
		     profile->name, source, expired);
	else if (expired &&
		 strcmp(source, "system") != 0) // Distributions ship some; nobody can help it.
		tell(report, WARNING, "[profile %s] trust %s: %u authorities, %u of them expired",
		     profile->name, source, trust_anchors(trust)->count, expired);
	else
		tell(report, OK, "[profile %s] trust %s: %u %s", profile->name, source,
		     trust_anchors(trust)->count,
		     trust_anchors(trust)->count == 1 ? "authority" : "authorities");
	trust_unref(trust);
	if (profile->revocation_list)
		check_revocation(report, profile);
}

static void check_psk(struct report *report, const struct config_profile *profile)
{
	struct problem problem = {};
	struct psk *psk;

	if (profile->psk.kernel)
		tell(report, OK, "[profile %s] pre-shared keys: those of the kernel's requests, %s",
		     profile->name,
		     psk_knows_sha384() ? "of SHA-256 and SHA-384"
					: "of SHA-256; SHA-384 needs GnuTLS 3.8.11 or newer");
	if (psk_new(&profile->psk, &psk, &problem) < 0)
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
	else if (psk)
		tell(report, OK, "[profile %s] pre-shared keys: %zu", profile->name,
		     psk_count(psk));
	psk_free(psk);
}

static void check_raw_public_keys(struct report *report, const struct config_profile *profile,
				  struct signer *signer)
{
	const char *own = profile->raw.private_key;
	struct problem problem = {};
	struct signer_key *key = NULL;
	struct pins *pins;

	if (own && signer_key_load(signer, own, NULL, &key, &problem) < 0)
		tell(report, ERROR, "[profile %s] raw-%s", profile->name, problem.text);
	else if (own)
		tell(report, OK, "[profile %s] raw-private-key %s: permissions are right",
		     profile->name, own);
	signer_key_free(key);
	problem.text[0] = '\0';
	if (pins_new(&profile->raw, &pins, &problem) < 0)
		tell(report, ERROR, "[profile %s] %s", profile->name, problem.text);
	else if (pins)
		tell(report, OK, "[profile %s] peer-public-key: %zu", profile->name,
		     profile->raw.pin_count);
	pins_free(pins);
}

// ---- Kernel ----

static void check_kernel(struct report *report, const struct config_profile *profile,
			 const struct kernel_tls *kernel)
{
	enum level level = profile->records == CONFIG_RECORDS_KERNEL ? ERROR : WARNING;
	const char *instead = level == ERROR ? "" : "; records go through the relay";
	const int newest = profile->tls12_only ? CONFIG_TLS12 : CONFIG_TLS13;
	char missing[256] = "";
	size_t missing_count = 0, total = 0;

	if (profile->records == CONFIG_RECORDS_RELAY)
		return;
	if (!kernel->available) {
		tell(report, level, "[profile %s] records = %s: %s%s", profile->name,
		     config_records_word(profile->records), kernel->reason, instead);
		return;
	}
	for (int version = (int)profile->min_version; version <= newest; version++)
		for (size_t i = 0; i < profile->cipher_count; i++) {
			size_t length = strlen(missing);

			total++;
			if (kernel->ciphers[version][profile->ciphers[i]])
				continue;
			missing_count++;
			snprintf(missing + length, sizeof(missing) - length, "%s%s with %s",
				 length ? ", " : "", config_cipher_word(profile->ciphers[i]),
				 version == CONFIG_TLS13 ? "TLS1.3" : "TLS1.2");
		}
	if (missing_count)
		tell(report, missing_count == total ? level : WARNING,
		     "[profile %s] records = %s: the kernel does not take %s", profile->name,
		     config_records_word(profile->records), missing);
	else
		tell(report, OK, "[profile %s] records = %s: the kernel takes all its ciphers",
		     profile->name, config_records_word(profile->records));
}

// ---- All of it ----

static void check_profiles(struct report *report, const struct config *config,
			   struct signer *signer)
{
	struct kernel_tls kernel = {};

	offload_kernel_probe(&kernel);
	for (size_t i = 0; i < config->profile_count; i++) {
		const struct config_profile *profile = &config->profiles[i];

		check_certificates(report, profile, signer);
		check_trust(report, profile);
		check_psk(report, profile);
		check_raw_public_keys(report, profile, signer);
		check_kernel(report, profile, &kernel);
	}
}

int check_run(const struct config_source *source, FILE *out)
{
	struct report report = {.out = out};
	struct problem problem = {};
	struct signer *signer;
	struct config *config;
	struct loaded *loaded;
	bool refused;

	if (config_source_read(source, &config, &problem) < 0) {
		tell(&report, ERROR, "%s", problem.text);
		return 1;
	}
	tell(&report, OK, "configuration %s: %zu %s", config->path, config->profile_count,
	     config->profile_count == 1 ? "profile" : "profiles");
	check_user(&report, config);
	check_socket(&report, config);
	check_state(&report, config);
	if (config->key_log)
		tell(&report, WARNING,
		     "key-log = %s: the secrets of all connections are written there",
		     config->key_log);
	if (signer_new(config, &signer, &problem) < 0) {
		tell(&report, ERROR, "%s", problem.text);
		config_free(config);
		return 1;
	}
	check_profiles(&report, config, signer);
	check_consumers(&report, config);
	refused = signer_was_refused(signer);
	signer_free(signer);
	config_free(config);
	// Above, things were looked at one by one; this is what a start does. Not with a PIN that a
	// token has just refused: it would count the tries.
	if (refused)
		return 1;
	if (loaded_new(source, &loaded, &problem) == 0)
		loaded_free(loaded);
	else if (!report.counts[ERROR])
		tell(&report, ERROR, "%s", problem.text);
	return report.counts[ERROR] ? 1 : 0;
}
