/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <err.h>
#include <handshake.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(4433)};
	struct handshake *tls = handshake_new();
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0)
		err(1, "port 4433");
	fd = accept(listener, NULL, NULL);
	if (handshake_set_role(tls, HANDSHAKE_SERVER) < 0 || handshake_perform(tls, NULL, fd) < 0)
		errx(1, "%s", handshake_error(tls));
	if (write(fd, "hello\n", 6) != 6 || handshake_close_notify(tls, fd) < 0)
		err(1, "write");
	handshake_free(tls);
	return close(fd);
}
