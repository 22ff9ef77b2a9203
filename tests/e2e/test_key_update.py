# SPDX-License-Identifier: LGPL-2.1-or-later
"""Key updates after the hand-over (RFC 8446, 4.6.3): followed, answered, started, limited."""

import contextlib
import errno
import os
import random
import select
import socket
import subprocess
import time

import pytest

import library
import peers
from endpoint import INTERNAL_ERROR, UNEXPECTED_MESSAGE, in_thread, tcp_pair
from rawpeer import HANDSHAKE, RawPeer, key_update, ticket
from scale import FULL, SLOW, seconds
from test_records import read_until, s_client_connection, s_server_connection  # noqa: F401

SIDES = ("client", "server")
sides = pytest.mark.parametrize("side", SIDES)


def kernel_rekeys():
    """Linux 6.14."""
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 14)


@pytest.fixture
def rekeys(record_path):
    if record_path == "kernel" and not kernel_rekeys():
        pytest.skip("this kernel cannot change keys")


@pytest.fixture
def tokens(kernel_records):
    """Tokens belong to kernel records."""


class Connection:
    """A program's connection (side is the program's) to a peer that makes its own records."""

    def __init__(self, daemon, pki, side="server", tls=None):
        self.ours, self.theirs = tcp_pair()
        self.daemon = daemon
        self.handshake = library.Handshake(
            library.SERVER if side == "server" else library.CLIENT,
            "ecdsa" if side == "server" else "client", "localhost" if side == "client" else None)
        running = in_thread(self.handshake.perform, daemon.socket, self.ours.fileno())
        self.peer = RawPeer(self.theirs, pki, "client" if side == "server" else "server").handshake()
        assert running.result(seconds(20)) == 0, self.handshake.error

    @property
    def fd(self):
        return self.ours.fileno()

    @property
    def token(self):
        return self.handshake.token

    def recv_exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.handshake.recv(self.fd, size - len(data))
            assert more, data
            data += more
        return data

    def send(self, data):
        self.handshake.sendall(self.fd, data)

    def exchange(self, word):
        """Data passes both ways."""
        self.peer.send(b"to " + word)
        assert self.recv_exactly(3 + len(word)) == b"to " + word
        self.send(b"from " + word)
        asked = []
        assert self.peer.recv_exactly(5 + len(word), asked) == b"from " + word
        return asked

    def close(self):
        self.ours.close()
        self.theirs.close()
        self.handshake.free()


@pytest.fixture
def connect(daemon, pki):
    with contextlib.ExitStack() as stack:
        def make(side="server", on=daemon):
            one = Connection(on, pki, side)
            stack.callback(one.close)
            return one
        yield make


# ---- Received ----

@sides
def test_received_update_is_followed(side, rekeys, connect, covers):
    one = connect(side)
    one.exchange(b"before")
    for i in range(5):
        one.peer.update()
        assert one.exchange(b"after %d" % i) == []
    covers("KeyUpdate received", "TLS1.3", side)


@sides
def test_received_update_is_answered_when_asked_for(side, rekeys, connect, covers):
    one = connect(side)
    for i in range(5):
        one.peer.update(ask=True)
        assert one.exchange(b"after %d" % i) == [0]
    covers("KeyUpdate answered", "TLS1.3", side)


def test_updates_among_tickets_in_one_record_and_in_pieces(rekeys, connect, covers):
    """The kernel looks at the first byte of a handshake record alone."""
    one = connect("client")
    cases = [
        [ticket() + key_update()],                    # behind a ticket
        [key_update()[:1], key_update()[1:]],         # in pieces
        [key_update()[:4], key_update()[4:]],
        [ticket()[:9], ticket()[9:] + key_update()],
        [ticket(16500)[:16384], ticket(16500)[16384:]],
        # Its second piece begins as a KeyUpdate does.
        [ticket(80, b"\x18")[:40], ticket(80, b"\x18")[40:]],
        [ticket(80, b"\x18")[:40], ticket(80, b"\x18")[40:] + ticket() + key_update(True)],
    ]
    for number, pieces in enumerate(cases):
        for piece in pieces:
            one.peer.record(HANDSHAKE, piece)
        if b"".join(pieces)[-5:-1] == key_update()[:4]:
            one.peer.transmit.update()
        one.exchange(b"case %d" % number)
    covers("Several messages in one record, one in several", "TLS1.3", "client")


@pytest.mark.parametrize("pieces, alert", [
    ([key_update() + ticket()], UNEXPECTED_MESSAGE),
    ([key_update() + key_update()], UNEXPECTED_MESSAGE),
    ([bytes([24, 0, 0, 1, 2])], 47),
    ([bytes([24, 0, 0, 2, 0, 0])], 50),
])
def test_update_that_breaks_the_rules_ends_the_connection(pieces, alert, rekeys, connect):
    one = connect("client")
    for piece in pieces:
        one.peer.record(HANDSHAKE, piece)
    with pytest.raises(OSError) as refused:
        one.handshake.recv(one.fd)
    assert refused.value.errno == errno.EPROTO
    assert one.peer.alert() == alert


@sides
def test_storm_of_updates_ends_that_connection_only(side, rekeys, connect):
    one, other = connect(side), connect(side)
    with contextlib.suppress(OSError):
        for _ in range(40):
            one.peer.update()
    with pytest.raises(OSError) as refused:
        one.handshake.recv(one.fd)
    assert refused.value.errno == errno.EPROTO
    assert "alert unexpected_message" in one.handshake.error or "too many" in one.handshake.error
    assert one.peer.alert() == UNEXPECTED_MESSAGE
    other.peer.update()
    other.exchange(b"undisturbed")


def test_updates_that_follow_data_are_not_limited(rekeys, connect):
    one = connect()
    data = os.urandom(1500)
    for i in range(60):
        one.peer.send(data)
        one.peer.update()
        assert one.recv_exactly(len(data)) == data
    one.exchange(b"afterwards")


def test_non_blocking_program_follows_an_update(rekeys, connect):
    one = connect()
    os.set_blocking(one.fd, False)
    with pytest.raises(BlockingIOError):
        one.handshake.recv(one.fd)
    one.peer.update(ask=True)
    one.peer.send(b"words")
    got = b""
    while got != b"words":
        select.select([one.fd], [], [], seconds(10))
        with contextlib.suppress(BlockingIOError):
            got += one.handshake.recv(one.fd)
    one.send(b"answer")
    assert one.peer.recv_exactly(6) == b"answer"


# ---- Started ----

@sides
def test_started_update_changes_our_key(side, rekeys, connect, covers):
    one = connect(side)
    one.exchange(b"before")
    for i in range(5):
        one.send(b"under the old key")
        one.handshake.update_keys(one.fd)
        one.send(b"under the new one")
        asked = []
        assert one.peer.recv_exactly(17, asked) == b"under the old key"
        assert asked == []
        assert one.peer.recv_exactly(17, asked) == b"under the new one"
        assert asked == [0]
        assert one.peer.receiving.updates == i + 1
    one.exchange(b"after")
    covers("KeyUpdate started", "TLS1.3", side)


@sides
def test_started_update_can_ask_for_the_peer_s(side, rekeys, connect):
    one = connect(side)
    one.handshake.update_keys(one.fd, ask=True)
    one.send(b"x")
    asked = []
    assert one.peer.recv_exactly(1, asked) == b"x"
    assert asked == [1]
    one.peer.update()
    one.exchange(b"after")


def test_update_of_a_peer_that_takes_nothing_changes_nothing(rekeys, tokens, connect):
    one = connect()
    os.set_blocking(one.fd, False)
    chunk, sent = os.urandom(65536), b""
    with pytest.raises(BlockingIOError):
        while True:
            sent += chunk[:one.handshake.send(one.fd, chunk)]
    with pytest.raises(BlockingIOError):
        one.handshake.update_keys(one.fd)
    receiving = in_thread(one.peer.recv_exactly, len(sent))
    assert receiving.result(seconds(60)) == sent
    one.handshake.update_keys(one.fd)
    one.exchange(b"after")


def test_answer_can_be_left_to_the_sender(rekeys, tokens, connect):
    one = connect()
    one.handshake.answer_later()
    one.peer.update(ask=True)
    one.peer.send(b"words")
    assert one.recv_exactly(5) == b"words"
    os.write(one.fd, b"of another thread")
    asked = []
    assert one.peer.recv_exactly(17, asked) == b"of another thread"
    assert asked == []
    one.send(b"ours")
    assert one.peer.recv_exactly(4, asked) == b"ours"
    assert asked == [0]


def test_tls_1_2_knows_no_update(daemon, pki):
    from test_records import Connection as Plain
    one = Plain(daemon, pki, version="TLS1.2")
    try:
        with pytest.raises(OSError) as refused:
            one.handshake.update_keys(one.fd)
        assert refused.value.errno == errno.EOPNOTSUPP
        one.send(b"it goes on")
        assert one.peer.recv_exactly(10) == b"it goes on"
    finally:
        one.close()


# ---- Kernels that cannot ----

def test_kernel_that_cannot_says_so(kernel_records, connect):
    if kernel_rekeys():
        pytest.skip("this kernel can")
    one = connect()
    with pytest.raises(OSError) as refused:
        one.handshake.update_keys(one.fd)
    assert refused.value.errno == errno.EOPNOTSUPP
    assert "6.14" in one.handshake.error
    one.exchange(b"as before")
    one.peer.update()
    one.peer.send(b"lost")
    with pytest.raises(OSError) as refused:
        one.handshake.recv(one.fd)
    assert refused.value.errno == errno.EPROTO
    assert "6.14" in one.handshake.error
    assert one.peer.alert() == INTERNAL_ERROR


def test_kernel_that_cannot_bounds_the_bytes(kernel_records, connect, tmp_path):
    if kernel_rekeys():
        pytest.skip("this kernel can")
    one = connect()
    one.handshake.set_update_after(8)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(16384 * 64))
    sent = 0
    receiving = in_thread(one.peer.recv_exactly, 16384 * 30)
    with open(path, "rb") as file:
        with pytest.raises(OSError) as refused:
            while True:
                sent += one.handshake.sendfile(one.fd, file.fileno(), sent, 16384 * 64)[0]
    assert refused.value.errno == errno.EKEYEXPIRED
    assert 8 * 16384 < sent <= 32 * 16384
    assert "6.14" in one.handshake.error and "under one key" in one.handshake.error
    receiving.result(seconds(20))


# ---- By itself ----

@pytest.mark.parametrize("way", ("send", "sendfile"))
def test_worn_key_is_updated_by_itself(way, rekeys, tokens, connect, tmp_path, covers):
    one = connect()
    one.handshake.set_update_after(16)
    size = 16384 * 100 + 77
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    asked = []
    receiving = in_thread(one.peer.recv_exactly, size, asked)
    if way == "send":
        one.send(data)
    else:
        with open(path, "rb") as file:
            assert one.handshake.sendfile(one.fd, file.fileno(), 0, size)[0] == size
    assert receiving.result(seconds(60)) == data
    assert 5 <= len(asked) <= 8 and set(asked) == {0}
    covers("Key updated before the AEAD limit", "TLS1.3", "server")


def test_worn_key_counts_what_others_send(rekeys, tokens, connect):
    """The kernel's own number decides, not what went through the library."""
    one = connect()
    one.handshake.set_update_after(64)
    receiving = in_thread(one.peer.recv_exactly, 200 + 10)
    for _ in range(200):
        os.write(one.fd, b"p")
    for _ in range(10):
        one.send(b"l")
    assert receiving.result(seconds(20)) == b"p" * 200 + b"l" * 10
    assert one.peer.receiving.updates == 1


# ---- Both ends ours, and other programs ----

def pair(daemon, stack):
    """Two handshakes of ours over one TCP connection."""
    a, b = tcp_pair()
    b.settimeout(None)
    stack.enter_context(a)
    stack.enter_context(b)
    server = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
    client = stack.enter_context(library.Handshake(library.CLIENT, "client", "localhost"))
    running = in_thread(server.perform, daemon.socket, a.fileno())
    assert client.perform(daemon.socket, b.fileno()) == 0, client.error
    assert running.result(seconds(20)) == 0, server.error
    return (server, a.fileno()), (client, b.fileno())


def run_interleaved(ends, updates, seed):
    """Random data and updates of both ends, in random order, on one thread; every byte is compared."""
    chance = random.Random(seed)
    flight = [bytearray(), bytearray()]  # sent by 0 and not yet received by 1, and the other way
    made = 0
    while made < updates:
        me = chance.randrange(2)
        handshake, fd = ends[me]
        action = chance.random()
        if action < 0.4:
            handshake.update_keys(fd, ask=chance.random() < 0.3)
            made += 1
        if action < 0.8:
            data = chance.randbytes(chance.choice((1024, 1025, 5000, 16384, 20000)))
            handshake.sendall(fd, data)
            flight[me] += data
        if action > 0.5 or len(flight[me]) > 60000:
            other, other_fd = ends[1 - me]
            while flight[me]:
                got = other.recv(other_fd, chance.choice((100, 4096, 65536)))
                assert got == flight[me][:len(got)], "a byte is wrong"
                del flight[me][:len(got)]
    for me in (0, 1):
        other, other_fd = ends[1 - me]
        while flight[me]:
            got = other.recv(other_fd, 65536)
            assert got == flight[me][:len(got)], "a byte is wrong"
            del flight[me][:len(got)]


@pytest.mark.many
@pytest.mark.rekeys
@pytest.mark.timeout(900 * SLOW)
def test_many_updates_in_random_interleaving_with_data(rekeys, daemon, record_path, covers):
    """HANDSHAKE_TEST_UPDATES=10000 for all of them where the machine is emulated."""
    updates = int(os.environ.get("HANDSHAKE_TEST_UPDATES") or (10000 if FULL else 200))
    with contextlib.ExitStack() as stack:
        run_interleaved(pair(daemon, stack), updates, updates)
    for role in SIDES:
        covers("Key updates in random interleaving with data", "TLS1.3", role)


@pytest.mark.parametrize("command", (b"k", b"K"))
@pytest.mark.parametrize("side", ("s_client", "s_server"))
def test_updates_with_openssl(side, command, rekeys, request, covers):
    """Its 'K' asks for one in return; ours are in between."""
    handshake, fd, program = request.getfixturevalue(side + "_connection")
    for i in range(4):
        program.line(command)
        program.line(b"words %d" % i)
        assert read_until(handshake, fd, b"\n") == b"words %d\n" % i
        handshake.update_keys(fd, ask=i % 2 == 1)
        handshake.sendall(fd, b"answer %d\n" % i)
    output = b""
    while b"answer 3\n" not in output:
        more = program.program.process.stdout.read(4096)
        assert more, output
        output += more
    assert all(b"answer %d\n" % i in output for i in range(4))
    role = "server" if side == "s_client" else "client"
    for item in ("KeyUpdate received", "KeyUpdate answered", "KeyUpdate started"):
        covers(item, "TLS1.3", role)


def test_updates_with_gnutls_cli(rekeys, daemon, pki):
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.settimeout(seconds(20))
        program = stack.enter_context(peers.Program(
            peers.needs("gnutls-cli"), "--x509cafile", pki.trust, "--port",
            listening.getsockname()[1], "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3",
            "--inline-commands", "--logfile", "/dev/null", "localhost", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=0))
        sock, _ = listening.accept()
        stack.enter_context(sock)
        handshake = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        assert handshake.perform(daemon.socket, sock.fileno()) == 0, handshake.error
        fd = sock.fileno()
        for i in range(3):
            for line in (b"^rekey^", b"words %d" % i):
                time.sleep(seconds(0.2))
                program.process.stdin.write(line + b"\n")
            assert read_until(handshake, fd, b"\n") == b"words %d\n" % i
            handshake.update_keys(fd)
            handshake.sendall(fd, b"answer %d\n" % i)
        output = b""
        while b"answer 2\n" not in output:
            more = program.process.stdout.read(4096)
            assert more, (output, program.errors)
            output += more
        assert all(b"answer %d\n" % i in output for i in range(3))


# ---- handshake serve and connect ----

def read_response(peer, asked):
    """Of GET with keep-alive: the body."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += peer.next_data(asked)
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                  if line.startswith(b"content-length"))
    while len(body) < length:
        body += peer.next_data(asked)
    assert head.startswith(b"HTTP/1.1 200"), head
    return body


@pytest.fixture
def serve_peer(pki):
    with contextlib.ExitStack() as stack:
        def make(port):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), seconds(20)))
            return RawPeer(sock, pki, "client").handshake()
        yield make


def test_serve_follows_and_answers_updates(rekeys, handshake, tmp_path, serve_peer, covers):
    from test_serve import Serve
    data = os.urandom(50000)
    (tmp_path / "file").write_bytes(data)
    peer = serve_peer(Serve(handshake, tmp_path).port)
    for i in range(4):
        peer.update(ask=i % 2 == 1)
        peer.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
        asked = []
        assert read_response(peer, asked) == data
        assert asked == [0] * (i % 2)
    covers("KeyUpdate answered", "TLS1.3", "server")


def test_serve_updates_a_worn_key(rekeys, tokens, handshake, tmp_path, serve_peer):
    from test_serve import Serve
    data = os.urandom(12 << 20)
    (tmp_path / "file").write_bytes(data)
    peer = serve_peer(Serve(handshake, tmp_path, "--update-after", 100).port)
    peer.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
    asked = []
    slow = peer.sock

    class Slow:
        """Reads so slowly, until it has been seen, that one of serve's ticks falls into the response."""
        def recv(self, size):
            if not asked:
                time.sleep(0.01)
            return slow.recv(16384 if not asked else size)
    peer.sock = Slow()
    assert read_response(peer, asked) == data
    assert asked and set(asked) == {0}


def test_connect_follows_updates(rekeys, handshake, pki):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(seconds(20))
        process = handshake.start("connect", "--profile", "client", "--peer-name", "localhost",
                                  "127.0.0.1:%d" % listening.getsockname()[1],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        sock, _ = listening.accept()
        sock.settimeout(seconds(20))
        with sock:
            peer = RawPeer(sock, pki, "server").handshake()
            for i in range(4):
                peer.update(ask=True)
                peer.send(b"line %d\n" % i)
                assert process.stdout.readline() == b"line %d\n" % i
                process.stdin.write(b"answer\n")
                process.stdin.flush()
                asked = []
                assert peer.recv_exactly(7, asked) == b"answer\n"
                assert asked == [0]
