// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Private keys on PKCS#11 tokens. Touches the modules and the files with PINs. Never gives a token a PIN
 * that it has refused, nor its last try: a locked token is worse than a daemon that does not start.
 */
#include "token.h"

#include <gnutls/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

enum { PIN_MAX = 256 };

#define SCHEME "pkcs11:"

/* A PIN that was asked for, kept for a token that was taken out and put back. Never freed: GnuTLS keeps
 * the pointer as long as the key, and keys live as long as the process. */
struct pin {
	struct pin *next;
	char *file;
	char text[PIN_MAX];
	bool wrong;      /* a token has refused it */
	bool last_try;   /* it was not tried, for no other try would be left */
	bool asked;      /* since it was last looked at */
	char token[128]; /* the label of the token that asked last */
};

static struct pin *pins;
static bool modules_chosen;

bool token_is_url(const char *source)
{
	return strncmp(source, SCHEME, strlen(SCHEME)) == 0;
}

/* ---- The URL ------------------------------------------------------------------------------- */

/* The value of an attribute of the query (RFC 7512, 2.3), and its length. NULL: it is not there. */
static const char *query_find(const char *url, const char *name, size_t *ret_length)
{
	const char *at = strchr(url, '?');
	size_t length = strlen(name);

	while (at) {
		at++;
		if (strncmp(at, name, length) == 0 && at[length] == '=') {
			*ret_length = strcspn(at + length + 1, "&");
			return at + length + 1;
		}
		at = strchr(at, '&');
	}
	return NULL;
}

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* Without its percents (RFC 3986, 2.1). NULL: no memory, or no such text. */
static char *text_decode(const char *text, size_t length)
{
	char *decoded = malloc(length + 1);
	size_t size = 0;

	for (size_t i = 0; decoded && i < length; i++) {
		if (text[i] != '%') {
			decoded[size++] = text[i];
		} else if (i + 2 < length && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0 &&
			   (text[i + 1] != '0' || text[i + 2] != '0')) {
			decoded[size++] = (char)(digit(text[i + 1]) * 16 + digit(text[i + 2]));
			i += 2;
		} else {
			free(decoded);
			return NULL;
		}
	}
	if (decoded)
		decoded[size] = '\0';
	return decoded;
}

/* The file of the PIN: the key's pin-file, or the URL's pin-source. "" if there is neither. A new string,
 * NULL with a problem. */
static char *pin_path(const char *url, const char *pin_file, struct problem *problem)
{
	const char *source;
	size_t length;
	char *path;

	source = query_find(url, "pin-source", &length);
	if (!source) {
		path = strdup(pin_file);
	} else {
		if (length > 5 && strncmp(source, "file:", 5) == 0) {
			source += 5;
			length -= 5;
			if (length > 2 && strncmp(source, "//", 2) == 0) {
				source += 2;
				length -= 2;
			}
		}
		path = text_decode(source, length);
		if (path && path[0] != '/') {
			problem_set(
			    problem,
			    "private-key \"%s\": pin-source must be a file with its whole path"
			    " (pin-source=file:/path)",
			    url);
			free(path);
			return NULL;
		}
	}
	if (!path)
		problem_set(problem, "private-key \"%s\": its pin-source cannot be read", url);
	return path;
}

/* What a URL may not say, without looking at any token: 0, or -1 and a sentence. */
static int url_check(const char *url, const char *pin_file, struct problem *problem)
{
	size_t length;
	char *path;

	if (query_find(url, "pin-value", &length))
		return problem_set(
		    problem,
		    "private-key \"%.*s…\": pin-value shows the PIN to whoever reads the"
		    " configuration; write it to a file with mode 0600 and use pin-file,"
		    " or pin-source=file:/path in the URL",
		    (int)strcspn(url, "?"), url);
	if (query_find(url, "pin-source", &length) && pin_file[0])
		return problem_set(problem,
				   "private-key \"%s\" has a pin-source in the URL and a pin-file;"
				   " remove one",
				   url);
	path = pin_path(url, pin_file, problem);
	free(path);
	return path ? 0 : -1;
}

/* The URL without the place of its PIN: nobody but this file reads that. */
static char *url_strip(const char *url)
{
	char *stripped = strdup(url), *at;

	while (stripped && (at = strstr(stripped, "pin-source=")) &&
	       (at[-1] == '?' || at[-1] == '&')) {
		size_t length = strcspn(at, "&");

		memmove(at, at + length + (at[length] == '&'),
			strlen(at + length + (at[length] == '&')) + 1);
	}
	if (stripped) {
		size_t length = strlen(stripped);

		if (length && (stripped[length - 1] == '?' || stripped[length - 1] == '&'))
			stripped[length - 1] = '\0';
	}
	return stripped;
}

/* ---- The PIN ------------------------------------------------------------------------------- */

static int pin_permissions(const char *path, const struct stat *status, struct problem *problem)
{
	if (status->st_mode & (S_IRWXG | S_IRWXO))
		return problem_set(problem,
				   "pin-file \"%s\": others than its owner may use it (mode %04o);"
				   " chmod 600 it, and change the PIN if they had access",
				   path, (unsigned)status->st_mode & 07777);
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return problem_set(problem,
				   "pin-file \"%s\" belongs to user %u; chown it to root or to the"
				   " user that starts the daemon (%u)",
				   path, (unsigned)status->st_uid, (unsigned)geteuid());
	return 0;
}

static int pin_take(struct pin *pin, const struct file *file, struct problem *problem)
{
	size_t length = strcspn(file->data, "\r\n");

	if (pin_permissions(pin->file, &file->status, problem) < 0)
		return -1;
	if (length == 0 || length != strlen(file->data) - strspn(file->data + length, "\r\n"))
		return problem_set(problem,
				   "pin-file \"%s\": one line with the PIN and nothing else is"
				   " expected",
				   pin->file);
	if (length >= sizeof(pin->text))
		return problem_set(problem, "pin-file \"%s\": a PIN has at most %zu bytes",
				   pin->file, sizeof(pin->text) - 1);
	memcpy(pin->text, file->data, length);
	pin->text[length] = '\0';
	return 0;
}

/* The one of that file, read once. Takes path. NULL with a problem. */
static struct pin *pin_find(char *path, struct problem *problem)
{
	struct pin *pin;
	struct file file;
	int r;

	for (pin = pins; pin; pin = pin->next)
		if (!strcmp(pin->file, path)) {
			free(path);
			return pin;
		}
	pin = calloc(1, sizeof(*pin));
	if (!pin) {
		free(path);
		problem_set(problem, "out of memory");
		return NULL;
	}
	pin->file = path;
	if (path[0]) {
		r = file_read(path, "pin-file", (size_t)2 * PIN_MAX, &file, problem);
		if (r == 0) {
			r = pin_take(pin, &file, problem);
			file_done(&file);
		}
		if (r < 0) {
			free(path);
			free(pin);
			return NULL;
		}
	}
	pin->next = pins;
	pins = pin;
	return pin;
}

/* GnuTLS asks. It may do so again by itself, and after a token was put back, from any thread. */
static int pin_give(void *context, int attempt, const char *url, const char *label, unsigned flags,
		    char *pin_text, size_t size)
{
	struct pin *pin = context;

	(void)url;
	snprintf(pin->token, sizeof(pin->token), "%s", label ? label : "");
	pin->asked = true;
	if (attempt > 0 || (flags & GNUTLS_PIN_WRONG))
		pin->wrong = true;
	if (flags & GNUTLS_PIN_FINAL_TRY)
		pin->last_try = true;
	if (!pin->text[0] || pin->wrong || pin->last_try || strlen(pin->text) >= size)
		return -1;
	memcpy(pin_text, pin->text, strlen(pin->text) + 1);
	return 0;
}

/* ---- The key ------------------------------------------------------------------------------- */

int token_add_module(const char *path, struct problem *problem)
{
	int error = 0;

	if (!modules_chosen)
		error = gnutls_pkcs11_init(GNUTLS_PKCS11_FLAG_MANUAL, NULL);
	modules_chosen = true;
	if (error == 0)
		error = gnutls_pkcs11_add_provider(path, NULL);
	if (error == 0)
		return 0;
	return problem_set(problem, "pkcs11-module \"%s\" cannot be used: %s", path,
			   gnutls_strerror(error));
}

static int refuse(struct signer_report *report, const char *url, const struct pin *pin, int error)
{
	struct problem *problem = &report->problem;

	if (pin->asked && pin->last_try) {
		report->verdict = SIGNER_PIN_WRONG;
		return problem_set(
		    problem,
		    "private-key \"%s\": token \"%s\" says that one try is left before it"
		    " locks, so the PIN was not tried; log in with the right one by"
		    " other means (p11tool --login) first",
		    url, pin->token);
	}
	if (pin->wrong || (pin->asked && error == GNUTLS_E_PKCS11_PIN_ERROR && pin->text[0])) {
		report->verdict = SIGNER_PIN_WRONG;
		return problem_set(
		    problem,
		    "private-key \"%s\": the PIN in \"%s\" is wrong for token \"%s\";"
		    " it was tried once and will not be tried again before the next"
		    " start or reload",
		    url, pin->file, pin->token);
	}
	if (pin->asked && !pin->text[0])
		return problem_set(
		    problem,
		    "private-key \"%s\": token \"%s\" asks for a PIN; write it to a file"
		    " with mode 0600 and name that as pin-file",
		    url, pin->token);
	if (error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ||
	    error == GNUTLS_E_PKCS11_REQUESTED_OBJECT_NOT_AVAILBLE)
		return problem_set(problem,
				   "private-key \"%s\": no token has such a private key (p11tool"
				   " --list-privkeys --login shows what there is)",
				   url);
	if (error == GNUTLS_E_PARSING_ERROR)
		return problem_set(problem, "private-key \"%s\" is no PKCS#11 URL (RFC 7512)", url);
	return problem_set(problem, "private-key \"%s\" cannot be used: %s", url,
			   gnutls_strerror(error));
}

int token_load(gnutls_privkey_t handle, const char *url, const char *pin_file,
	       struct signer_report *report)
{
	struct problem *problem = &report->problem;
	struct pin *pin;
	char *path, *stripped;
	int error;

	if (url_check(url, pin_file, problem) < 0)
		return -1;
	path = pin_path(url, pin_file, problem);
	pin = path ? pin_find(path, problem) : NULL;
	if (!pin)
		return -1;
	if (pin->wrong || pin->last_try) {
		report->verdict = SIGNER_PIN_WRONG;
		return problem_set(problem,
				   "private-key \"%s\": token \"%s\" has refused the PIN in \"%s\""
				   " already, so it is not tried again",
				   url, pin->token, pin->file);
	}
	stripped = url_strip(url);
	if (!stripped)
		return problem_set(problem, "out of memory");
	pin->asked = false;
	gnutls_privkey_set_pin_function(handle, pin_give, pin);
	error = gnutls_privkey_import_url(handle, stripped, 0);
	free(stripped);
	return error == 0 ? 0 : refuse(report, url, pin, error);
}
