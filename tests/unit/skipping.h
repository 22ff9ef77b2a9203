/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests that cannot be done where they run. After cmocka.h. */
#ifndef SKIPPING_H
#define SKIPPING_H

/* Like cmocka's skip(), with the reason, which tests/unit/run prints. */
#define skip_because(...)                               \
	do {                                            \
		print_message("skipped: " __VA_ARGS__); \
		print_message("\n");                    \
		skip();                                 \
	} while (0)

#endif
