# SPDX-License-Identifier: LGPL-2.1-or-later
"""Peers for tests of early data (0-RTT): a server that has the daemon handshake, and openssl s_client, which
can come again with early data, or leave the first flight of that."""

import base64
import contextlib
import os
import socket
import subprocess
import threading

import pytest

import daemon as daemon_module
import library
from endpoint import in_thread
from scale import die_with_parent, milliseconds, seconds, wait_until

EARLY = b"what came early"
LIMIT = 2048  # of the standard profile "early"


def profile(pki, records, **extra):
    extra.setdefault("early_data", LIMIT)
    return daemon_module.profile(pki, records, "ecdsa", "second",
                                 **{"timeout_ms": milliseconds(20000), **extra})


class Server:
    """Takes connections and has the daemon handshake on them; keeps what came."""

    def __init__(self, one, name="early", alpn=None):
        self.one, self.name, self.alpn = one, name, alpn
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.connections = []  # (reply, early data, stream), in the order in which they ended
        self.failures = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, library.Handshake(library.SERVER, self.name, alpn=self.alpn) as handshake:
            if handshake.perform(self.one.socket, sock.fileno()) < 0:
                self.failures.append((handshake["class"], handshake.error,
                                      handshake.get("alert")))
                return
            early, stream = handshake.early_data, b""
            with contextlib.suppress(OSError):
                handshake.sendall(sock.fileno(), b"server's word\n")
                while data := handshake.recv(sock.fileno()):
                    stream += data
            self.connections.append((dict(handshake.results()), early, stream))

    def next(self):
        """The connection that ends next; call before what makes it."""
        count = len(self.connections)

        def ended():
            wait_until(lambda: len(self.connections) > count, what="a connection's end")
            return self.connections[count]
        return ended

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


class Visitor:
    """openssl s_client, which can come again with early data."""

    def __init__(self, directory, port, *options):
        self.session = directory / "session.pem"
        self.file = directory / "early"
        self.port = port
        self.options = options or ("-servername", "localhost")
        self.raw, self.output = b"", ""

    def run(self, *options, first=b"", data=b"", port=None, wait=b"server's word"):
        """One connection; standard input is what goes first, and the data when what is awaited has
        come."""
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port or self.port}", "-tls1_3",
             *self.options, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        timer = threading.Timer(seconds(30), process.kill)
        timer.start()
        output = b""
        try:
            process.stdin.write(first)
            process.stdin.flush()
            # Tickets come before the server's word, and s_client writes them down as they come.
            while wait not in output:
                more = os.read(process.stdout.fileno(), 65536)
                if not more:
                    break
                output += more
            with contextlib.suppress(OSError):
                process.stdin.write(data)
                process.stdin.close()
            output += process.stdout.read()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        self.raw = output
        self.output = output.decode(errors="replace")
        return self.output

    def visit(self, *options, **named):
        self.session.unlink(missing_ok=True)
        self.run("-sess_out", self.session, *options, **named)
        assert self.session.exists() and self.session.stat().st_size, self.output

    def again(self, early=EARLY, *options, **named):
        """Whether the server took it."""
        self.file.write_bytes(early)
        self.run("-sess_in", self.session, "-early_data", self.file, *options, **named)
        taken = "Early data was accepted" in self.output
        assert taken or "Early data was rejected" in self.output, self.output
        return taken

    def rewrite(self, old, new):
        """Changes what the client believes of its session."""
        lines = self.session.read_text().splitlines()
        der = base64.b64decode("".join(lines[1:-1]))
        assert der.count(old) == 1 and len(old) == len(new), der
        text = base64.encodebytes(der.replace(old, new)).decode()
        self.session.write_text(f"{lines[0]}\n{text}{lines[-1]}\n")

    def record(self, early=EARLY, *options):
        """The first flight, which nobody has answered."""
        self.file.write_bytes(early)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            running = in_thread(self.run, "-sess_in", self.session, "-early_data", self.file,
                                *options, port=listening.getsockname()[1])
            sock, _ = listening.accept()
            flight = b""
            with sock:
                # The hello, a ChangeCipherSpec, and the data in records of their own.
                while not flight_is_whole(flight, len(early)):
                    flight += sock.recv(65536)
            running.result(seconds(20))
        return flight


def records_of(flight):
    while len(flight) >= 5:
        size = 5 + int.from_bytes(flight[3:5], "big")
        if len(flight) < size:
            return
        yield flight[0], flight[5:size]
        flight = flight[size:]


def flight_is_whole(flight, size):
    """Each record of early data has 17 bytes more than what is in it."""
    return sum(len(body) - 17 for kind, body in records_of(flight) if kind == 23) >= size


def counted(one):
    status = one.status()
    return [status[f"early-data-{what}"] for what in ("accepted", "rejected", "replayed")]


# ---- Fixtures, over the daemon of the module that imports them ----

@pytest.fixture
def server(daemon):
    made = Server(daemon)
    yield made
    made.close()


@pytest.fixture
def visitor(server, tmp_path):
    made = Visitor(tmp_path, server.port, "-servername", "localhost")
    made.visit()
    return made
