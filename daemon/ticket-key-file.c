// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the files that a fleet's ticket keys come from. Never takes one that others could have read: who
// has it can read all that tickets protect.
#include "ticket-key-file.h"

#include <gnutls/crypto.h>

#include "file.h"

enum { FILE_MIN = 32, FILE_MAX = 4096 };

int ticket_key_file_read(const char *path, uint8_t ret_secret[TICKET_SECRET_SIZE],
			 struct problem *problem)
{
	static const unsigned char label[] = "handshaked ticket-key-file";
	const gnutls_datum_t salt = {(unsigned char *)label, sizeof(label)};
	gnutls_datum_t bytes;
	struct file file;
	int error;

	if (file_read(path, "ticket-key-file", FILE_MAX, &file, problem) < 0)
		return -1;
	error = file_check_private(&file, path, "ticket-key-file", problem);
	if (error == 0 && file.size < FILE_MIN)
		error =
		    problem_set(problem,
				"ticket-key-file \"%s\" has %zu bytes; at least %d random ones are"
				" needed (head -c 64 /dev/urandom)",
				path, file.size, FILE_MIN);
	bytes.data = (unsigned char *)file.data;
	bytes.size = (unsigned)file.size;
	if (error == 0 && gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &bytes, &salt, ret_secret) < 0)
		error = problem_set(problem, "ticket-key-file \"%s\" cannot be used", path);
	file_done(&file);
	return error;
}
