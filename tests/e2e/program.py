# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program as the project's users write it: a server on libhandshake that answers HTTP, in threads
of the test's own process."""

import contextlib
import queue
import socket

import library
from endpoint import in_thread
from scale import seconds


class HttpServer:
    """Answers GET with `content`, and PUT with `content` too once it has the upload. Each
    connection leaves a dict in .seen: the reply's keys, the upload, or the error."""

    def __init__(self, socket_path, profile, content):
        self.socket_path, self.profile, self.content = socket_path, profile, content
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.seen = queue.Queue()
        in_thread(self._accept)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            in_thread(self._serve, sock)

    def _serve(self, sock):
        with sock, library.Handshake(library.SERVER, self.profile) as handshake:
            # Its errors are not this process's to print: the test asks for them.
            try:
                if handshake.perform(self.socket_path, sock.fileno()) < 0:
                    self.seen.put({"error": handshake.error})
                    return
                upload = self._answer(handshake, sock.fileno())
                self.seen.put({**dict(handshake.results()), "upload": upload})
            except (OSError, ValueError) as error:
                self.seen.put({"error": repr(error)})

    def _answer(self, handshake, fd):
        head = b""
        while b"\r\n\r\n" not in head:
            more = handshake.recv(fd)
            if not more:
                raise ValueError(f"the request ended early: {head!r}")
            head += more
        head, _, first = head.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = [first]
        left = length - len(first)
        while left > 0:
            more = handshake.recv(fd, 1 << 18)
            if not more:
                raise ValueError(f"{left} bytes of the upload did not come")
            body.append(more)
            left -= len(more)
        handshake.sendall(fd, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                          % len(self.content) + self.content)
        handshake.close_notify(fd)
        # What the peer sends yet would turn our close into a reset and cost it our last bytes.
        with contextlib.suppress(OSError):
            while handshake.recv(fd):
                pass
        return b"".join(body)

    def next_seen(self):
        return self.seen.get(timeout=seconds(20))

    def close(self):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
