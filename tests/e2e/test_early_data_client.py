# SPDX-License-Identifier: LGPL-2.1-or-later
"""Early data (0-RTT) in the client's role: sent with a ticket that allows it, and told what became of it."""

import contextlib
import os
import socket
import subprocess
import threading

import pytest

import daemon as daemon_module
import library
from early_data import EARLY
from scale import die_with_parent, milliseconds, wait_until


class Peer:
    """openssl s_server or gnutls-serv, that takes early data."""

    def __init__(self, pki, program, *options, port=0):
        with socket.create_server(("127.0.0.1", port)) as reserved:
            self.port = reserved.getsockname()[1]
        command = {
            "openssl": ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert",
                        pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                        pki.key("ecdsa"), "-early_data", "-quiet",
                        "-max_early_data", "1000", *options],
            "gnutls": ["gnutls-serv", "--port", str(self.port), "--x509certfile",
                       pki.cert("ecdsa"), "--x509keyfile", pki.key("ecdsa"), "--earlydata",
                       "--maxearlydata", "1000", "--echo", "--disable-client-cert",
                       # One with hybrid groups would ask for another key share each time.
                       "--priority", "NORMAL:-GROUP-ALL:+GROUP-X25519", *options],
        }[program]
        self.program = program
        self.output = b""
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        threading.Thread(target=self._read, daemon=True).start()

        def listens():
            with contextlib.suppress(OSError), \
                    socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        wait_until(listens, what="the server")

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.output += data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def visit(self, one, early=EARLY, profile_name="client", later=b"later", **named):
        """One connection with early data; what the reply said of it."""
        with socket.create_connection(("127.0.0.1", self.port)) as sock, library.Handshake(
                library.CLIENT, profile_name, peer_name="localhost", **named) as handshake:
            if early:
                handshake.set_early_data(early)
            assert handshake.perform(one.socket, sock.fileno()) == 0, handshake.error
            reply = dict(handshake.results())
            assert handshake.early_data is None
            assert handshake.early_data_accepted == (reply.get("early-data") == "accepted")
            handshake.sendall(sock.fileno(), later + b"\n")
            if self.program == "gnutls":  # its echo comes behind its tickets
                echo = b""
                while later + b"\n" not in echo:
                    echo += handshake.recv(sock.fileno())
                # Newer ones give early data back, too.
                assert echo in (later + b"\n", (early or b"") + later + b"\n")
            else:
                wait_until(lambda: later in self.output, what="the data")
                self.process.stdin.write(b"word\n")
                self.process.stdin.flush()
                assert handshake.recv(sock.fileno())
            handshake.close_notify(sock.fileno())
            with contextlib.suppress(OSError):
                handshake.recv(sock.fileno())
        wait_until(lambda: one.status()["sessions-parked"] == 0, what="the tickets")
        return reply


@pytest.fixture
def home(make_daemon, pki, records):
    def make(**extra):
        # A library with hybrid groups would offer a share of such a one, and servers without them ask for
        # another each time.
        return daemon_module.profile(pki, records, role="client",
                                     groups="X25519, SECP256R1, SECP384R1",
                                     timeout_ms=milliseconds(20000), **extra)
    return make_daemon({"client": make(early_data=1000), "small": make(early_data=5),
                        "none": make(), "alpn": make(early_data=1000, alpn="http/1.1, h2")})


@pytest.mark.parametrize("program", ("openssl", "gnutls"))
def test_a_client_sends_it_with_a_ticket_that_allows_it(home, pki, program, covers):
    with Peer(pki, program) as peer:
        reply = peer.visit(home)
        assert reply["early-data"] == "rejected" and reply["resumed"] == "no"
        assert reply["early-data-reason"] == "there is no ticket of this server"
        for n in range(3):
            reply = peer.visit(home, b"early %d" % n)
            assert (reply["early-data"], reply["resumed"]) == ("accepted", "yes")
            if program == "openssl":
                wait_until(lambda m=n: b"early %d" % m in peer.output, what="the early data")
        assert "early-data" not in peer.visit(home, None)
    covers("Early data (0-RTT)", "TLS1.3", "client")


def test_a_client_sends_none_where_it_must_not(home, pki):
    with Peer(pki, "openssl") as peer:
        for name, early, why in (
                ("none", EARLY, "the profile sends none"),
                ("small", b"123456", "larger than what the profile's"),
                ("client", b"x" * 1001, "larger than what the profile's")):
            peer.visit(home, profile_name=name)
            reply = peer.visit(home, early, profile_name=name)
            assert reply["resumed"] == "yes"
            assert reply["early-data"] == "rejected" and why in reply["early-data-reason"]
        assert b"xxxx" not in peer.output and b"123456" not in peer.output


def test_a_server_that_takes_none(home, pki):
    """Its tickets do not allow any; nor does one that restarted take what its ticket allowed."""
    with Peer(pki, "openssl", "-max_early_data", "0") as peer:
        peer.visit(home)
        reply = peer.visit(home)
        assert (reply["early-data"], reply["resumed"]) == ("rejected", "yes")
        assert reply["early-data-reason"] == "the server's ticket allows none"


def test_a_server_that_refuses_it(home, pki):
    with Peer(pki, "openssl") as first:
        first.visit(home)
        port = first.port
    # The same address, other ticket keys.
    with Peer(pki, "openssl", port=port) as second:
        reply = second.visit(home)
        assert (reply["early-data"], reply["resumed"]) == ("rejected", "no")
        assert reply["early-data-reason"] == "the server did not take it"


def test_a_server_that_wants_another_key_share(home, pki):
    """The library cannot go on; the next attempt can."""
    with Peer(pki, "openssl") as first:
        first.visit(home)
        port = first.port
    with Peer(pki, "openssl", "-groups", "P-384", port=port):
        with socket.create_connection(("127.0.0.1", port)) as sock, library.Handshake(
                library.CLIENT, "client", peer_name="localhost") as handshake:
            handshake.set_early_data(EARLY)
            assert handshake.perform(home.socket, sock.fileno()) == -1
            assert (handshake.outcome, handshake["class"]) == ("poisoned", "negotiation")
            assert handshake.may_retry and "another key share" in handshake.error


def test_a_server_that_wanted_another_key_share_is_sent_none(home, pki):
    with Peer(pki, "openssl", "-groups", "P-384") as peer:
        for reason in "no ticket", "another key share the last time":
            reply = peer.visit(home)
            assert reply["early-data"] == "rejected" and reason in reply["early-data-reason"]


def test_connect_sends_a_file_once(home, pki, handshake, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"of the file\n")
    with Peer(pki, "gnutls") as peer:
        for n, word in enumerate(("rejected", "accepted")):
            result = handshake("connect", f"127.0.0.1:{peer.port}", "--peer-name", "localhost",
                               "--profile", "client", "--socket", home.socket, "--early-data",
                               file, "--info", input=b"of the input\n")
            assert f"early-data: {word}" in result.stderr.decode(), (n, result)
            assert b"of the input\n" in result.stdout
            wait_until(lambda: home.status()["sessions-parked"] == 0, what="the tickets")


def test_connect_sends_what_can_be_read_once_alone(home, pki, handshake, tmp_path):
    """A pipe: without a ticket it is the first data, and cannot be read for that a second time."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    threading.Thread(target=fifo.write_bytes, args=(b"of the pipe\n",), daemon=True).start()
    with Peer(pki, "gnutls") as peer:
        result = handshake("connect", f"127.0.0.1:{peer.port}", "--peer-name", "localhost",
                           "--profile", "client", "--socket", home.socket, "--early-data", fifo,
                           input=b"of the input\n")
        assert b"of the pipe\n" in result.stdout and b"of the input\n" in result.stdout, result


def test_connect_refuses_what_is_no_file_for_it(home, handshake, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(bytes(65537))
    for path, sentence in ((tmp_path / "none", "cannot read"), (large, "larger than 65536")):
        result = handshake("connect", "127.0.0.1:1", "--early-data", path)
        assert result.returncode == 2 and sentence in result.stderr.decode()
