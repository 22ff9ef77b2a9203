# SPDX-License-Identifier: LGPL-2.1-or-later
"""A handshake of the daemon with another TLS program, and a line each way over what came of it."""

import contextlib
import os
import socket
import subprocess
import threading

import peers
from endpoint import limited
from protocol import connection_of
from scale import seconds


class Conversation:
    """One TCP connection between the daemon's client and a program, kept together to their end."""

    def __init__(self, client, role, sock, program, **request):
        self.sock = sock
        self.program = program
        self.reply = client.handshake(sock, role, **request)
        self.connection = None

    def speak(self):
        """A line there, a line back: the program's standard input and output are its data."""
        assert self.reply.outcome == "established", (self.reply, self.program.errors)
        self.connection = connection_of(self.reply, self.sock)
        with limited(self.connection):
            self.connection.sendall(b"line from here\n")
            self._expect_line(b"line from here")
            self.program.process.stdin.write(b"line from there\n")
            self.program.process.stdin.flush()
            self._receive(b"line from there\n")

    def echo(self):
        """The same with a server that echoes."""
        assert self.reply.outcome == "established", (self.reply, self.program.errors)
        self.connection = connection_of(self.reply, self.sock)
        line = b"line of fifty bytes, that comes back as it was sent\n"
        with limited(self.connection):
            self.connection.sendall(line)
            self._receive(line)

    def died(self, number):
        """Whether the program ends of this signal soon."""
        try:
            return self.program.process.wait(seconds(1)) == -number
        except subprocess.TimeoutExpired:
            return False

    def _expect_line(self, wanted):
        killer = threading.Timer(seconds(30), self.program.process.kill)
        killer.start()
        try:
            seen = b""
            while wanted not in seen:
                more = os.read(self.program.process.stdout.fileno(), 4096)
                assert more, f"{wanted!r} did not come, but {seen!r}: {self.program.errors!r}"
                seen += more
        finally:
            killer.cancel()

    def _receive(self, wanted):
        got = b""
        while len(got) < len(wanted):
            more, control, _, _ = self.connection.recvmsg(len(wanted) - len(got), 64)
            if control and control[0][0] == 282 and control[0][2][0] == 22:
                continue  # a server's ticket, shown by the kernel
            assert more, f"the connection ended after {got!r}: {self.program.errors!r}"
            got += more
        assert got == wanted


@contextlib.contextmanager
def served(client, arguments, **request):
    """The daemon as server of a program; arguments: a function of the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(seconds(30))
        command = [str(a) for a in arguments(listening.getsockname()[1])]
        with peers.Program(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            sock, _ = listening.accept()
            sock.settimeout(None)
            with sock:
                yield Conversation(client, "server", sock, program, **request)


@contextlib.contextmanager
def connected(client, program, **request):
    """The daemon as client of a program that listens."""
    sock = socket.create_connection(("127.0.0.1", program.port), seconds(30))
    sock.settimeout(None)
    with sock:
        yield Conversation(client, "client", sock, program, **request)


# ---- Commands ----

def s_client(port, *more):
    return [peers.needs("openssl"), "s_client", "-quiet", "-connect", f"127.0.0.1:{port}",
            "-servername", "localhost", *more]


def gnutls_cli(port, priority, *more):
    return [peers.needs("gnutls-cli"), "--port", port, "--priority", priority,
            "--logfile", "/dev/null", *more, "localhost"]


def s_server(*more, **options):
    port = peers.free_port()
    options.setdefault("stdin", subprocess.PIPE)
    options.setdefault("stdout", subprocess.PIPE)
    return peers.Program(peers.needs("openssl"), "s_server", "-quiet", "-accept",
                         f"127.0.0.1:{port}", *more, port=port, **options)


def gnutls_serv(priority, *more):
    port = peers.free_port()
    return peers.Program(peers.needs("gnutls-serv"), "--quiet", "--echo", "--crlf", "--port", port,
                         "--disable-client-cert", "--priority", priority, *more, port=port)
