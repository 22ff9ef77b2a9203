# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many TLS clients at once in one thread."""

import selectors
import socket
import time

from endpoint import Endpoint, context
from scale import seconds


class Crowd:
    """count clients that connect to the address, all at once, and handshake as the server lets
    them. Each then sends a line with its number."""

    def __init__(self, address, trust, count, version=None):
        self.selector = selectors.DefaultSelector()
        self.clients = []
        self.complete = 0
        for number in range(count):
            sock = socket.create_connection(address, seconds(20))
            sock.setblocking(False)
            client = Endpoint(sock, context("client", trust, version=version), "localhost")
            client.number = number
            client.done = False
            client.ended = False
            self.clients.append(client)
            client.step()
            client.flush()
            self.selector.register(sock, selectors.EVENT_READ, client)

    def run(self, until, timeout=30):
        """Moves everything until the condition holds. False: it did not within the timeout."""
        deadline = time.monotonic() + seconds(timeout)
        while not until():
            if time.monotonic() > deadline:
                return False
            for key, _ in self.selector.select(0.05):
                self._advance(key.data)
        return True

    def _advance(self, client):
        try:
            if not client.feed():
                raise ConnectionError("end-of-file")
            if not client.done and client.step():
                client.done = True
                self.complete += 1
                client.tls.write(b"%d\n" % client.number)
            client.flush()
        except OSError:
            client.ended = True
            self.selector.unregister(client.sock)

    def close(self):
        self.selector.close()
        for client in self.clients:
            client.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
