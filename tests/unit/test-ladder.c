// SPDX-License-Identifier: LGPL-2.1-or-later
/* Drawings of handshakes: what stands where, not how wide a line is. */
/* links: tools/markup.o tools/ladder.o tools/ladder-notes.o tools/ladder-text.o tools/ladder-svg.o tools/display.o libhandshake/alert.o libhandshake/client.o libhandshake/control.o libhandshake/deadline.o libhandshake/early-data.o libhandshake/error.o libhandshake/handshake.o libhandshake/kernel-keys.o libhandshake/key-update.o libhandshake/link.o libhandshake/listener.o libhandshake/message.o libhandshake/perform.o libhandshake/records.o libhandshake/request.o libhandshake/result.o libhandshake/tickets.o libhandshake/sendfile.o libhandshake/socket.o */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <locale.h>

#include "ladder.h"

#define TRACE_OF(role, events, end)                                                             \
	"{\"handshake-trace\":1,\"started\":\"2026-11-21T12:00:00.000001Z\",\"role\":\"" role   \
	"\",\"profile\":\"web\",\"user\":1000,\"peer\":\"192.0.2.1:443\","                      \
	"\"local\":\"192.0.2.2:40000\",\"events\":[" events "],\"lost-events\":0,\"end\":{" end \
	"}}"

#define ESTABLISHED                                                                 \
	"\"outcome\":\"established\",\"us\":4378,\"version\":\"TLS1.3\",\"suite\":" \
	"\"TLS_AES_128_GCM_SHA256\",\"group\":\"X25519\",\"resumed\":false"

#define RECORD(us, direction, type, name, size)                                                   \
	"{\"us\":" #us ",\"event\":\"record\",\"direction\":\"" direction "\",\"record\":\"" name \
	"\",\"type\":" #type ",\"size\":" #size "}"
#define MESSAGE(us, direction, name, size, more)                           \
	"{\"us\":" #us ",\"event\":\"message\",\"direction\":\"" direction \
	"\",\"message\":\"" name "\",\"type\":1,\"size\":" #size more "}"

static const char full[] = TRACE_OF(
    "client",
    RECORD(10, "sent", 22, "handshake", 200) "," MESSAGE(
	11, "sent", "ClientHello", 200,
	",\"versions\":[\"TLS1.3\"],\"suites\":[\"TLS_AES_128_GCM_"
	"SHA256\"],"
	"\"server-name\":\"evil\\u001b[31mname\",\"random\":"
	"\"00112233\"") "," RECORD(1000, "received", 22, "handshake",
				   90) "," MESSAGE(1001, "received", "ServerHello", 90,
						   ",\"version-"
						   "chosen\":\"TLS1."
						   "3\",\"suite-"
						   "chosen\":\"TLS_"
						   "AES_128_GCM_"
						   "SHA256\","
						   "\"group-"
						   "chosen\":"
						   "\"X25519\","
						   "\"key-share-"
						   "size\":32") "," RECORD(1002, "received", 20,
									   "change_cipher_spec",
									   1) "," RECORD(1003,
											 "received",
											 23,
											 "applicati"
											 "on_data",
											 500) "," MESSAGE(1004,
													  "received",
													  "Certificate",
													  483,
													  ",\"certificates\":[{\"subject\":\"CN=a & b <c>\",\"issuer\":\"CN=i\",\"sha256\":"
													  "\"ab\",\"not-before\":\"2026-01-01T00:00:00Z\",\"not-after\":"
													  "\"2027-01-01T00:00:00Z\"}]") ","
																	"{\"us\":1100,\"event\":\"verification\",\"verdict\":\"good\",\"certificates\":"
																	"[{\"sha256\":\"ab\",\"verdict\":\"good\"}]},"
																	"{\"us\":1200,\"event\":\"keys\",\"transmit\":\"kernel\",\"receive\":\"kernel\","
																	"\"cipher\":\"AES-128-GCM\"}",
    ESTABLISHED);

static struct ladder *read_ladder(const char *text)
{
	char error[256] = "";
	struct ladder *ladder = ladder_new(text, strlen(text), error, sizeof(error));

	if (!ladder)
		fail_msg("%s", error);
	return ladder;
}

static const char *note_of(const struct ladder_row *row, const char *key)
{
	for (size_t i = 0; i < row->note_count; i++)
		if (strcmp(row->notes[i].key, key) == 0)
			return row->notes[i].value;
	return "(none)";
}

static void events_become_rows(void **state)
{
	static const struct {
		const char *label;
		enum ladder_kind kind;
		bool to_server, encrypted;
	} rows[] = {
	    {"ClientHello", LADDER_ARROW, true, false},
	    {"ServerHello", LADDER_ARROW, false, false},
	    {"ChangeCipherSpec", LADDER_ARROW, false, false},
	    {"Certificate", LADDER_ARROW, false, true},
	    {"peer's certificate: good", LADDER_MARK, true, false},
	    {"traffic keys to the kernel: AES-128-GCM", LADDER_MARK, true, false},
	};
	struct ladder *ladder = read_ladder(full);

	(void)state;
	assert_int_equal(ladder->row_count, sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < ladder->row_count; i++) {
		assert_string_equal(ladder->rows[i].label, rows[i].label);
		assert_int_equal(ladder->rows[i].kind, rows[i].kind);
		assert_int_equal(ladder->rows[i].encrypted, rows[i].encrypted);
		if (rows[i].kind == LADDER_ARROW)
			assert_int_equal(ladder->rows[i].to_server, rows[i].to_server);
	}
	assert_string_equal(ladder->rows[0].size, "200 bytes");
	assert_string_equal(note_of(&ladder->rows[1], "key share"), "X25519, 32 bytes");
	assert_string_equal(note_of(&ladder->rows[3], "  verdict"), "good");
	assert_string_equal(ladder->client, "192.0.2.2:40000");
	assert_string_equal(ladder->server, "192.0.2.1:443");
	assert_int_equal(ladder->end.tone, LADDER_GOOD);
	ladder_free(ladder);
}

static void what_a_peer_chose_does_no_harm(void **state)
{
	struct ladder *ladder = read_ladder(full);

	(void)state;
	assert_string_equal(note_of(&ladder->rows[0], "server name"), "evil\\x1B[31mname");
	ladder_free(ladder);
}

static void directions_turn_with_the_role(void **state)
{
	static const char text[] = TRACE_OF(
	    "server",
	    MESSAGE(1, "received", "ClientHello", 10,
		    "") ","
			"{\"us\":2,\"event\":\"alert\",\"direction\":\"sent\",\"alert\":"
			"\"handshake_failure\",\"number\":40}",
	    "\"outcome\":\"poisoned\",\"us\":9,\"class\":\"negotiation\",\"error\":\"None fits\"");
	struct ladder *ladder = read_ladder(text);

	(void)state;
	assert_true(ladder->is_server && ladder->rows[0].to_server);
	assert_false(ladder->rows[1].to_server);
	assert_string_equal(ladder->rows[1].label, "alert: handshake_failure (40)");
	assert_int_equal(ladder->rows[1].tone, LADDER_BAD);
	assert_string_equal(ladder->client, "192.0.2.1:443");
	assert_int_equal(ladder->end.tone, LADDER_BAD);
	assert_string_equal(note_of(&ladder->end, "error"), "None fits");
	ladder_free(ladder);
}

static void early_data_is_one_row(void **state)
{
	static const char text[] = TRACE_OF(
	    "client",
	    MESSAGE(1, "sent", "ClientHello", 10, ",\"early-data\":true") "," RECORD(
		2, "sent", 23, "application_data",
		117) "," RECORD(3, "sent", 23, "application_data",
				67) "," RECORD(9, "sent", 23, "application_data",
					       69) "," MESSAGE(9, "sent", "Finished", 52, ""),
	    ESTABLISHED);
	struct ladder *ladder = read_ladder(text);

	(void)state;
	assert_int_equal(ladder->row_count, 3);
	assert_string_equal(ladder->rows[1].label, "early data (0-RTT)");
	assert_string_equal(ladder->rows[1].size, "150 bytes");
	ladder_free(ladder);
}

static void refuses_what_is_no_trace(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{}", "{\"handshake-trace\":2}"};
	char error[256];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		error[0] = '\0';
		assert_null(ladder_new(texts[i], strlen(texts[i]), error, sizeof(error)));
		assert_true(error[0]);
	}
	/* Whatever is missing or of another kind, it is drawn. */
	ladder_free(read_ladder("{\"handshake-trace\":1}"));
	ladder_free(read_ladder("{\"handshake-trace\":1,\"events\":[1,{},{\"event\":\"message\"},"
				"{\"event\":\"alert\",\"number\":-5},{\"event\":\"record\"}],"
				"\"end\":[]}"));
}

static char *draw(const struct ladder *ladder, const struct ladder_style *style)
{
	char *page = NULL;
	size_t size;
	FILE *stream = open_memstream(&page, &size);

	assert_int_equal(
	    style ? ladder_draw_text(ladder, style, stream) : ladder_draw_svg(ladder, stream), 0);
	fclose(stream);
	return page;
}

/* Lines within the width, the same lifelines in each. */
static void assert_columns(const char *page, unsigned width)
{
	while (*page) {
		size_t length = strcspn(page, "\n");

		assert_true(length <= width);
		page += length + 1;
	}
}

static void text_fits_the_width_and_the_locale(void **state)
{
	static const unsigned widths[] = {1, 56, 80, 120, 1000};
	struct ladder *ladder = read_ladder(full);

	(void)state;
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		struct ladder_style style = {.width = widths[i]};
		char *page = draw(ladder, &style);

		assert_columns(page, widths[i] < 56 ? 56 : widths[i] > 120 ? 120 : widths[i]);
		for (const char *c = page; *c; c++)
			assert_true((unsigned char)*c < 0x80);
		assert_null(strchr(page, '\033'));
		assert_non_null(strstr(page, "- ClientHello -"));
		assert_non_null(strstr(page, "= Certificate ="));
		assert_non_null(strstr(page, "traffic keys to the kernel"));
		free(page);
	}
	ladder_free(ladder);
}

static void colours_are_undone_in_each_line(void **state)
{
	const struct ladder_style style = {.width = 80, .colour = true, .utf8 = true};
	struct ladder *ladder = read_ladder(full);
	char *page = draw(ladder, &style);

	(void)state;
	for (char *line = strtok(page, "\n"); line; line = strtok(NULL, "\n")) {
		const char *last = strrchr(line, '\033');

		if (last)
			assert_int_equal(strncmp(last, "\033[0m", 4), 0);
	}
	free(page);
	ladder_free(ladder);
}

static unsigned count(const char *page, const char *word)
{
	unsigned found = 0;

	for (; (page = strstr(page, word)); page += strlen(word))
		found++;
	return found;
}

static void svg_has_all_rows_and_escapes(void **state)
{
	struct ladder *ladder = read_ladder(full);
	char *page = draw(ladder, NULL);

	(void)state;
	assert_int_equal(strncmp(page, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39), 0);
	assert_int_equal(count(page, "<path class=\"arrow"), 4);
	assert_int_equal(count(page, "<path class=\"tip"), 4);
	assert_int_equal(count(page, "<circle"), 2);
	assert_int_equal(count(page, "<text"), count(page, "</text>"));
	assert_non_null(strstr(page, "CN=a &amp; b &lt;c&gt;"));
	assert_non_null(strstr(page, "prefers-color-scheme:dark"));
	/* Nothing outside of the document. */
	assert_null(strstr(page, "href"));
	assert_null(strstr(page, "url("));
	assert_non_null(strstr(page, "</svg>\n"));
	free(page);
	ladder_free(ladder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_become_rows),
	    cmocka_unit_test(what_a_peer_chose_does_no_harm),
	    cmocka_unit_test(directions_turn_with_the_role),
	    cmocka_unit_test(early_data_is_one_row),
	    cmocka_unit_test(refuses_what_is_no_trace),
	    cmocka_unit_test(text_fits_the_width_and_the_locale),
	    cmocka_unit_test(colours_are_undone_in_each_line),
	    cmocka_unit_test(svg_has_all_rows_and_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
