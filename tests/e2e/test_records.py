# SPDX-License-Identifier: LGPL-2.1-or-later
"""After the hand-over: records that carry no data, ends, much data, and sendfile."""

import contextlib
import errno
import os
import socket
import subprocess
import time

import pytest

import endpoint
import library
import peers
from endpoint import Endpoint, context, in_thread, tcp_pair
from peers import VERSIONS
from scale import SLOW, seconds, wait_until

versions = pytest.mark.parametrize("version", VERSIONS)


class Connection:
    """A program's established connection and its peer."""

    def __init__(self, daemon, pki, role="server", version=None):
        self.ours, self.theirs = tcp_pair()
        code = library.SERVER if role == "server" else library.CLIENT
        self.handshake = library.Handshake(code, "ecdsa" if role == "server" else "client",
                                           "localhost" if role == "client" else None)
        running = in_thread(self.handshake.perform, daemon.socket, self.ours.fileno())
        made = (context("client", pki.trust, version=version) if role == "server" else
                context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                        version=version))
        self.peer = Endpoint(self.theirs, made, "localhost").handshake()
        assert running.result(seconds(20)) == 0, self.handshake.error

    @property
    def fd(self):
        return self.ours.fileno()

    def recv(self, size=65536):
        return self.handshake.recv(self.fd, size)

    def recv_exactly(self, size):
        data = []
        while size:
            more = self.recv(min(size, 1 << 18))
            assert more, f"{size} bytes did not come"
            data.append(more)
            size -= len(more)
        return b"".join(data)

    def send(self, data):
        self.handshake.sendall(self.fd, data)

    def close(self):
        self.ours.close()
        self.theirs.close()
        self.handshake.free()


@pytest.fixture
def connect(daemon, pki):
    with contextlib.ExitStack() as stack:
        def make(**options):
            one = Connection(daemon, pki, **options)
            stack.callback(one.close)
            return one
        yield make


# ---- Ends ----

@versions
@pytest.mark.parametrize("role", ("server", "client"))
def test_close_notify_is_the_end_of_the_file(role, version, connect):
    one = connect(role=role, version=version)
    one.peer.send(b"the last data")
    one.peer.close_notify()
    assert one.recv_exactly(13) == b"the last data"
    assert one.recv() == b""
    assert one.recv() == b""
    # The other direction is open yet (RFC 8446, 6.1).
    one.send(b"an answer")
    assert one.peer.recv_exactly(9) == b"an answer"
    one.handshake.close_notify(one.fd)
    assert one.peer.recv() == b""


@versions
def test_close_notify_goes_out_and_the_other_direction_stays(version, connect):
    one = connect(version=version)
    one.send(b"all I say")
    one.handshake.close_notify(one.fd)
    assert one.peer.recv_exactly(9) == b"all I say"
    assert one.peer.recv() == b""
    one.peer.send(b"and what you say")
    assert one.recv_exactly(16) == b"and what you say"


def test_close_notify_is_sent_once(connect):
    one = connect()
    one.handshake.close_notify(one.fd)
    with contextlib.suppress(OSError):
        one.handshake.close_notify(one.fd)
    assert one.peer.recv() == b""
    assert one.peer.alerts.count(("read", endpoint.CLOSE_NOTIFY)) == 1


@versions
def test_tcp_end_without_close_notify_is_no_end_of_file(version, connect):
    one = connect(version=version)
    one.peer.send(b"cut sho")
    one.theirs.shutdown(socket.SHUT_WR)
    assert one.recv_exactly(7) == b"cut sho"
    with pytest.raises(ConnectionAbortedError):
        one.recv()
    assert one.handshake.error


def test_end_in_the_middle_of_a_record_is_no_end_of_file(connect):
    one = connect()
    one.peer.tls.write(b"x" * 1000)
    one.theirs.sendall(one.peer.pending()[:500])
    one.theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError) as ended:
        one.recv()
    assert ended.value.errno in (errno.ECONNABORTED, errno.EPROTO)


def test_reset_is_an_error_of_receiving(connect):
    one = connect()
    endpoint.reset(one.theirs)
    with pytest.raises(OSError) as ended:
        one.recv()
    assert ended.value.errno in (errno.ECONNRESET, errno.ECONNABORTED)


def test_reset_is_an_error_of_sending(connect):
    one = connect()
    endpoint.reset(one.theirs)
    with pytest.raises(OSError) as ended:
        for _ in range(200):
            one.handshake.send(one.fd, b"x" * 65536)
            time.sleep(0.01)
    assert ended.value.errno in (errno.EPIPE, errno.ECONNRESET)


@versions
@pytest.mark.parametrize("what", ("changed", "of an unknown type", "too long"))
def test_broken_record_is_an_error_and_no_data(what, version, connect, record_path):
    one = connect(version=version)
    one.peer.tls.write(b"never to be seen")
    data = bytearray(one.peer.pending())
    if what == "changed":
        data[-1] ^= 1
    elif what == "of an unknown type":
        data[0] = 99
    else:
        data = bytearray(b"\x17\x03\x03\xff\xff") + data * 2000
    one.theirs.sendall(bytes(data)[:70000])
    if (what, version, record_path) == ("of an unknown type", "TLS1.3", "kernel"):
        # Linux looks only at the type inside, which is authenticated (RFC 8446, 5.2).
        with contextlib.suppress(OSError):
            assert one.recv() == b"never to be seen"
        return
    with pytest.raises(OSError) as broken:
        one.recv()
    assert broken.value.errno in (errno.EPROTO, errno.EBADMSG, errno.EMSGSIZE, errno.EINVAL,
                                  errno.ECONNABORTED)
    assert one.handshake.error
    if record_path == "relay":
        # The relay tells the peer why (RFC 8446, 5.2).
        with pytest.raises((OSError, endpoint.ssl.SSLError)):
            one.peer.recv()
        assert one.peer.received_alert in (endpoint.BAD_RECORD_MAC, endpoint.RECORD_OVERFLOW,
                                           endpoint.UNEXPECTED_MESSAGE)


def test_non_blocking_receive_says_that_nothing_is_there(connect):
    one = connect()
    one.ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        one.recv()
    one.peer.send(b"now")
    wait_until(lambda: _readable(one.ours), what="the data")
    assert one.recv() == b"now"
    with pytest.raises(BlockingIOError):
        one.recv()


def _readable(sock):
    import select
    return select.select([sock], [], [], 0)[0]


# ---- Much data ----

@versions
def test_slow_reader_loses_nothing(version, connect):
    """The peer sends more than all queues hold before the program reads a byte; then the other way
    round."""
    one = connect(version=version)
    data = os.urandom(12 << 20)
    sending = in_thread(one.peer.send, data)
    time.sleep(seconds(0.3))
    assert one.recv_exactly(len(data)) == data
    sending.result(seconds(30))
    sending = in_thread(one.send, data)
    time.sleep(seconds(0.3))
    assert one.peer.recv_exactly(len(data)) == data
    sending.result(seconds(30))


def test_both_directions_at_once(connect):
    one = connect()
    there, back = os.urandom(6 << 20), os.urandom(6 << 20)
    receiving = in_thread(one.recv_exactly, len(there))
    sending = in_thread(one.send, back)
    got = bytearray()
    # One thread for the peer: its object knows no lock.
    one.theirs.setblocking(False)
    view, queued = memoryview(there), b""
    deadline = time.monotonic() + seconds(60)
    while len(got) < len(back) or view or queued:
        assert time.monotonic() < deadline
        if not queued and view:
            one.peer.tls.write(view[:65536])
            view = view[65536:]
            queued = one.peer.pending()
        with contextlib.suppress(BlockingIOError):
            if queued:
                queued = queued[one.theirs.send(queued):]
        with contextlib.suppress(BlockingIOError):
            one.peer.feed()
        with contextlib.suppress(endpoint.ssl.SSLWantReadError):
            while len(got) < len(back):
                got += one.peer.tls.read(65536)
    assert got == back
    assert receiving.result(seconds(30)) == there
    sending.result(seconds(30))


@pytest.mark.parametrize("sizes", ((1,), (16384,), (16385,), (1, 16383, 16384, 16385, 100000)))
def test_sizes_around_a_record(sizes, connect):
    one = connect()
    for size in sizes:
        data = os.urandom(size)
        one.send(data)
        assert one.peer.recv_exactly(size) == data
        one.peer.send(data)
        assert one.recv_exactly(size) == data


# ---- sendfile ----

@pytest.mark.parametrize("size", (0, 1, 16384, 65537, 1 << 20))
def test_sendfile_is_exact_about_counts(size, connect, tmp_path):
    one = connect()
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        receiving = in_thread(lambda: one.peer.recv_exactly(size) if size else b"")
        offset = 0
        while True:
            # Always more than the file has: the kernel of 6.1 must not see that.
            sent, offset = one.handshake.sendfile(one.fd, file.fileno(), offset, 1 << 21)
            if not sent:
                break
            assert offset <= size
        assert offset == size
        assert receiving.result(seconds(30)) == data
        # At the end it is 0, and the descriptor's own position is left alone.
        assert one.handshake.sendfile(one.fd, file.fileno(), size, 10) == (0, size)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    one.send(b"after")
    assert one.peer.recv_exactly(5) == b"after"


def test_sendfile_of_a_part(connect, tmp_path):
    one = connect()
    data = os.urandom(100000)
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        offset, left, receiving = 12345, 40000, in_thread(one.peer.recv_exactly, 40000)
        while left:
            sent, moved = one.handshake.sendfile(one.fd, file.fileno(), offset, left)
            assert 0 < sent <= left and moved == offset + sent
            offset, left = moved, left - sent
        assert receiving.result(seconds(30)) == data[12345:52345]


def test_sendfile_does_not_block_a_non_blocking_socket(connect, tmp_path):
    one = connect()
    size = 24 << 20
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    one.ours.setblocking(False)
    with open(tmp_path / "file", "rb") as file:
        offset = 0
        with pytest.raises(BlockingIOError):
            while True:
                sent, offset = one.handshake.sendfile(one.fd, file.fileno(), offset, size - offset)
                assert sent > 0
        assert 0 < offset < size
        receiving = in_thread(one.peer.recv_exactly, size)
        import select
        while offset < size:
            select.select([], [one.ours], [], seconds(10))
            with contextlib.suppress(BlockingIOError):
                _, offset = one.handshake.sendfile(one.fd, file.fileno(), offset, size - offset)
        assert receiving.result(seconds(60)) == data


# ---- Messages after the handshake, of other programs ----

class Openssl:
    """s_client or s_server with its commands: a line that is 'K' asks for a key update."""

    def __init__(self, *arguments, port=None):
        self.program = peers.Program(peers.needs("openssl"), *arguments, port=port,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, bufsize=0)
        self.port = port

    def line(self, text):
        # Each line in a read of its own, or OpenSSL sees no command in it.
        time.sleep(seconds(0.15))
        self.program.process.stdin.write(text + b"\n")

    def end(self):
        self.program.end()


def read_until(handshake, fd, end):
    got = b""
    while not got.endswith(end):
        more = handshake.recv(fd)
        assert more, got
        got += more
    return got


@pytest.fixture
def s_client_connection(daemon, pki):
    """A program's connection as server to an s_client that takes commands."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.settimeout(seconds(20))
        program = Openssl("s_client", "-connect", "127.0.0.1:%d" % listening.getsockname()[1],
                          "-CAfile", pki.trust, "-servername", "localhost", "-tls1_3")
        stack.callback(program.end)
        sock, _ = listening.accept()
        stack.enter_context(sock)
        handshake = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        assert handshake.perform(daemon.socket, sock.fileno()) == 0, handshake.error
        yield handshake, sock.fileno(), program


@pytest.fixture
def s_server_connection(daemon, pki):
    with contextlib.ExitStack() as stack:
        port = peers.free_port()
        program = Openssl("s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1", "-cert",
                          pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                          pki.key("ecdsa"), "-tls1_3", port=port)
        stack.callback(program.end)
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), seconds(20)))
        sock.settimeout(None)
        handshake = stack.enter_context(library.Handshake(library.CLIENT, "client", "localhost"))
        assert handshake.perform(daemon.socket, sock.fileno()) == 0, handshake.error
        yield handshake, sock.fileno(), program


def test_tickets_of_a_server_are_set_aside(s_server_connection):
    """s_server sends two before anything else."""
    handshake, fd, program = s_server_connection
    program.line(b"first words")
    assert read_until(handshake, fd, b"\n") == b"first words\n"
    handshake.sendall(fd, b"and an answer\n")
    program.line(b"second words")
    assert read_until(handshake, fd, b"\n") == b"second words\n"


@pytest.mark.bulk
@pytest.mark.timeout(300 * SLOW)
def test_64_mib_through_each_direction_of_a_program(connect):
    one = connect()
    data = os.urandom(1 << 20)
    for _ in range(64):
        sending = in_thread(one.send, data)
        assert one.peer.recv_exactly(len(data)) == data
        sending.result(seconds(30))
        sending = in_thread(one.peer.send, data)
        assert one.recv_exactly(len(data)) == data
        sending.result(seconds(30))


# ---- Renegotiation (TLS 1.2) ----

@pytest.mark.parametrize("side", ("s_client", "s_server"))
def test_renegotiation_is_refused_with_the_alert(side, daemon, pki, covers):
    """OpenSSL takes the warning no_renegotiation (RFC 5246, 7.2.2) for the end, and says so."""
    options = ("-tls1_2", "-CAfile", pki.trust)
    with contextlib.ExitStack() as stack:
        if side == "s_client":
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listening.settimeout(seconds(20))
            program = Openssl("s_client", "-connect",
                              "127.0.0.1:%d" % listening.getsockname()[1], *options)
            stack.callback(program.end)
            sock = stack.enter_context(listening.accept()[0])
        else:
            port = peers.free_port()
            program = Openssl("s_server", "-accept", f"127.0.0.1:{port}", "-cert",
                              pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                              pki.key("ecdsa"), *options, port=port)
            stack.callback(program.end)
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), seconds(20)))
            sock.settimeout(None)
        role = "server" if side == "s_client" else "client"
        handshake = stack.enter_context(
            library.Handshake(library.SERVER, "ecdsa") if role == "server"
            else library.Handshake(library.CLIENT, "client", "localhost"))
        assert handshake.perform(daemon.socket, sock.fileno()) == 0, handshake.error
        assert handshake["version"] == "TLS1.2"
        program.line(b"before")
        assert read_until(handshake, sock.fileno(), b"\n") == b"before\n"
        reading = in_thread(lambda: handshake.recv(sock.fileno()))
        program.line(b"R" if side == "s_client" else b"r")
        output = b""
        while b"no renegotiation" not in output.lower():
            more = program.program.process.stdout.read(4096)
            assert more, output
            output += more
        with contextlib.suppress(OSError):
            assert reading.result(seconds(20)) == b""
    covers("Renegotiation refused", "TLS1.2", role)
