# SPDX-License-Identifier: LGPL-2.1-or-later
"""A peer that takes small records only (RFC 8449): the records on the wire are counted."""

import contextlib
import os
import socket
import subprocess
import threading

import pytest

import library
import peers
from endpoint import in_thread
from peers import VERSIONS, needs
from scale import seconds

LIMIT = 700
versions = pytest.mark.parametrize("version", VERSIONS)


class Tap:
    """A TCP connection through this process, which keeps what one side sent."""

    def __init__(self, program, peer):
        self.kept = bytearray()
        self.ends = (program, peer)
        for source, sink, keep in ((program, peer, True), (peer, program, False)):
            threading.Thread(target=self._move, args=(source, sink, keep), daemon=True).start()

    def _move(self, source, sink, keep):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    self.kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def data_records(self):
        """The lengths of the records of application data in what was kept."""
        lengths, at = [], 0
        while at + 5 <= len(self.kept):
            length = int.from_bytes(self.kept[at + 3:at + 5], "big")
            if self.kept[at] == 23:
                lengths.append(length)
            at += 5 + length
        return lengths

    def close(self):
        for end in self.ends:
            end.close()


@pytest.fixture
def tapped(daemon):
    """tapped(profile, version) -> (handshake, fd, program, tap): gnutls-cli as a peer that takes
    LIMIT bytes in a record, and our side before its handshake."""
    with contextlib.ExitStack() as stack:
        def make(pki, version):
            outer = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            inner = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            outer.settimeout(seconds(20))
            program = stack.enter_context(peers.Program(
                needs("gnutls-cli"), "--x509cafile", pki.trust, "--port", outer.getsockname()[1],
                "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}", "--recordsize", LIMIT,
                "--logfile", "/dev/null", "localhost", stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, bufsize=0))
            peer, _ = outer.accept()
            peer.settimeout(None)
            ours = stack.enter_context(socket.create_connection(inner.getsockname()))
            middle, _ = inner.accept()
            tap = Tap(middle, peer)
            stack.callback(tap.close)
            return ours, program, tap
        yield make


def exchange_and_measure(handshake, fd, program, tap, version):
    data = os.urandom(30000).hex().encode() + b"\n"
    sending = in_thread(handshake.sendall, fd, data)
    output = b""
    while not output.endswith(data):
        more = program.process.stdout.read(65536)
        assert more, (output[-200:], program.errors)
        output += more
    sending.result(seconds(20))
    program.process.stdin.write(b"and back\n")
    assert handshake.recv(fd) == b"and back\n"
    # Bytes of content: the inner type of TLS 1.3 counts (RFC 8449, 4), and gnutls-cli has added it to
    # what it says. Beside it a tag, and in TLS 1.2 a nonce.
    most = LIMIT + (1 + 16 if version == "TLS1.3" else 8 + 16)
    lengths = tap.data_records()
    # The handshake's own records of TLS 1.3 look like data; they keep to the limit, too.
    assert max(lengths) <= most, (max(lengths), most)
    assert len(lengths) >= len(data) // LIMIT


@versions
def test_small_records_for_who_wants_them(version, record_path, daemon, pki, tapped, covers):
    ours, program, tap = tapped(pki, version)
    with library.Handshake(library.SERVER, "ecdsa") as handshake:
        if handshake.perform(daemon.socket, ours.fileno()) < 0:
            # A kernel that cannot be told (before Linux 6.19), and nothing else allowed.
            assert record_path == "kernel", handshake.error
            assert handshake["class"] == "unsupported"
            assert "records of" in handshake.error and "cannot be told" in handshake.error
            return
        assert handshake["transmit"] == record_path
        exchange_and_measure(handshake, ours.fileno(), program, tap, version)
    covers("Record size limit", version, "server")


@versions
def test_offload_is_declined_and_said_where_the_kernel_cannot(version, make_daemon, pki, tapped,
                                                             kernel_records):
    from daemon import profile
    daemon = make_daemon({"ecdsa": profile(pki, "auto", "ecdsa")})
    ours, program, tap = tapped(pki, version)
    with library.Handshake(library.SERVER, "ecdsa") as handshake:
        assert handshake.perform(daemon.socket, ours.fileno()) == 0, handshake.error
        if handshake["transmit"] == "relay":
            assert "cannot be told" in handshake["records-reason"]
        else:
            assert handshake["transmit"] == "kernel"
        exchange_and_measure(handshake, ours.fileno(), program, tap, version)
