// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What GnuTLS on this machine is and can. Touches the shared library, loaded for this look alone:
 * the command links no TLS library. Never makes a connection.
 */
#include "doctor.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libgnutls.so.30"

/* As in gnutls/gnutls.h (3.7.1): the ABI of the soname above. */
struct library_config {
	const char *name;
	const char *value;
};
typedef const char *check_version_function(const char *required);
typedef const struct library_config *get_library_config_function(void);

static const char *config_value(const struct library_config *config, const char *name)
{
	for (; config && config->name; config++)
		if (strcmp(config->name, name) == 0)
			return config->value;
	return NULL;
}

static void examine_features(struct findings *findings, void *library)
{
	static const struct {
		const char *symbol, *what, *since;
	} features[] = {
	    {"gnutls_record_get_state", "export of traffic keys", "3.4"},
	    {"gnutls_session_ticket_send", "session tickets on demand", "3.6.3"},
	    {"gnutls_handshake_set_read_function", "handshake messages apart from records", "3.7"},
	    {"gnutls_record_get_max_send_size", "the peer's limit on records", "3.8.11"},
	};

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		bool there = dlsym(library, features[i].symbol) != NULL;
		struct finding *finding =
		    findings_add(findings, there ? FINDING_OK : FINDING_WARNING, "GnuTLS function");

		finding_detail(finding, "%s (%s)%s", features[i].what, features[i].symbol,
			       there ? "" : " is not there");
		if (!there)
			finding_remedy(finding, "comes with GnuTLS %s", features[i].since);
	}
}

/* The library's own kernel TLS must not act on connections that the daemon hands over. */
static void examine_own_ktls(struct findings *findings, const struct library_config *config)
{
	const char *value = config_value(config, "ktls");
	struct finding *finding = findings_add(findings, FINDING_OK, "GnuTLS kTLS");

	finding_detail(finding, "the library's own kernel TLS is %s; the daemon does not use it",
		       value && strcmp(value, "false") != 0 ? "switched on" : "off");
}

void doctor_library(struct findings *findings)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	struct finding *finding = findings_add(findings, FINDING_MISSING, "GnuTLS");
	get_library_config_function *get_config;
	check_version_function *check_version;
	const char *version;

	if (!library) {
		finding_detail(finding, "%s", dlerror());
		finding_remedy(finding, "install GnuTLS 3.7 or newer (Debian: libgnutls30)");
		return;
	}
	*(void **)&check_version = dlsym(library, "gnutls_check_version");
	*(void **)&get_config = dlsym(library, "gnutls_get_library_config");
	version = check_version ? check_version(NULL) : NULL;
	if (!version || !check_version("3.7.0")) {
		finding_detail(finding, "version %s", version ? version : "unknown");
		finding_remedy(finding, "install GnuTLS 3.7 or newer");
	} else {
		const char *modes = get_config ? config_value(get_config(), "fips-mode") : NULL;

		finding->state = FINDING_OK;
		finding_detail(finding, "version %s%s%s", version, modes ? ", FIPS mode " : "",
			       modes ? modes : "");
	}
	examine_features(findings, library);
	if (get_config)
		examine_own_ktls(findings, get_config());
	dlclose(library);
}
