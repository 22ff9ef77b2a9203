// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * "handshake doctor": runs the examinations and tells what they found. Touches stdout. Never changes
 * the machine; a kernel may load its module "tls" because it was asked for.
 */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "display.h"
#include "handshake-protocol.h"
#include "options.h"
#include "tool.h"

#define TOOL "handshake doctor"

static const char *const words[] = {
    [FINDING_OK] = "ok",
    [FINDING_WARNING] = "warning",
    [FINDING_MISSING] = "missing",
};

struct finding *findings_add(struct findings *findings, enum finding_state state, const char *what)
{
	static struct finding dropped;
	struct finding *finding = &dropped;

	if (findings->count < FINDINGS_MAX)
		finding = &findings->list[findings->count++];
	*finding = (struct finding){.state = state};
	snprintf(finding->what, sizeof(finding->what), "%s", what);
	return finding;
}

void finding_detail(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
	va_end(arguments);
}

void finding_remedy(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->remedy, sizeof(finding->remedy), format, arguments);
	va_end(arguments);
}

static void usage(void)
{
	printf(
	    "Usage: handshake doctor [OPTIONS]\n\n"
	    "Tells what this kernel and the TLS library can do, and what to do about the rest.\n\n"
	    "  --json         as one JSON object on one line\n"
	    "  --socket PATH  the daemon's socket (default: $HANDSHAKED_SOCKET, else\n"
	    "                 %s)\n"
	    "  --help         this text\n\n"
	    "Exits with 0 when the kernel can take records, 1 when it cannot, 2 on wrong usage.\n",
	    HANDSHAKE_SOCKET_DEFAULT);
}

static void findings_print(const struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];

		printf("%-7s  %s: ", words[finding->state], finding->what);
		display_text(stdout, finding->detail);
		if (finding->remedy[0]) {
			printf(" – ");
			display_text(stdout, finding->remedy);
		}
		putchar('\n');
	}
}

static int findings_print_json(const struct findings *findings, bool kernel)
{
	json_t *list = json_array(), *object;

	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];

		object = json_object();
		json_object_set_new(object, "state", json_string(words[finding->state]));
		json_object_set_new(object, "what", display_json_string(finding->what));
		json_object_set_new(object, "detail", display_json_string(finding->detail));
		if (finding->remedy[0])
			json_object_set_new(object, "remedy", display_json_string(finding->remedy));
		if (json_array_append_new(list, object) < 0)
			break;
	}
	object = json_object();
	json_object_set_new(object, "kernel-records", json_boolean(kernel));
	json_object_set_new(object, "findings", list);
	return display_json(stdout, object);
}

int doctor_main(int argc, char **argv)
{
	enum { JSON = 256, SOCKET };
	static const struct option options[] = {
	    {"json", no_argument, NULL, JSON},
	    {"socket", required_argument, NULL, SOCKET},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct findings findings = {0};
	const char *socket = NULL;
	bool json = false, kernel;
	int option;

	while ((option = options_next(TOOL, argc, argv, options)) != -1) {
		if (option == JSON) {
			json = true;
		} else if (option == SOCKET) {
			socket = optarg;
		} else if (option == 'h') {
			usage();
			return TOOL_OK;
		} else {
			return TOOL_USAGE;
		}
	}
	if (optind < argc)
		return options_refuse(TOOL, "\"%s\" is too much: there are options alone",
				      argv[optind]);
	kernel = doctor_kernel(&findings);
	doctor_network(&findings);
	doctor_library(&findings);
	doctor_daemon(&findings, socket);
	if (json)
		findings_print_json(&findings, kernel);
	else
		findings_print(&findings);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "%s: cannot write to standard output: %m\n", TOOL);
		return TOOL_FAILURE;
	}
	return kernel ? TOOL_OK : TOOL_FAILURE;
}
