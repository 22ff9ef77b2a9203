# SPDX-License-Identifier: LGPL-2.1-or-later
"""Listening: the daemon accepts and handshakes, the program takes established connections."""

import contextlib
import os
import select
import signal
import socket
import time

import pytest

import daemon as daemon_module
import endpoint
import library
import protocol
from crowd import Crowd
from endpoint import Endpoint, context, in_thread
from scale import SLOW, milliseconds, seconds, wait_until


def server_socket(backlog=1024):
    return socket.create_server(("127.0.0.1", 0), backlog=backlog)


class Program:
    """A program that listens through the library and reads a line from each connection."""

    def __init__(self, path, profile="ecdsa", listening=None):
        self.listening = listening or server_socket()
        self.address = self.listening.getsockname()
        with library.Handshake(library.SERVER, profile) as request:
            self.listener = library.Listener(path, request, self.listening.fileno())
        self.held = []

    def take(self, timeout=20):
        """The next (handshake, fd); AssertionError when none comes in time."""
        deadline = time.monotonic() + seconds(timeout)
        while True:
            taken = self.listener.accept()
            if taken:
                self.held.append(taken)
                return taken
            left = deadline - time.monotonic()
            assert left > 0, "no connection came"
            select.select([self.listener], [], [], min(left, 1))

    def waiting(self, timeout=0):
        return bool(select.select([self.listener], [], [], timeout)[0])

    def drop(self, taken):
        handshake, fd = taken
        self.held.remove(taken)
        handshake.free()
        os.close(fd)

    def close(self):
        for taken in list(self.held):
            self.drop(taken)
        self.listener.free()
        self.listening.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_line(taken):
    handshake, fd = taken
    data = b""
    while not data.endswith(b"\n"):
        more = handshake.recv(fd)
        assert more, data
        data += more
    return data


def connect(address):
    sock = socket.create_connection(address, seconds(20))
    sock.settimeout(seconds(20))
    return sock


def visit(program, pki, trust=None):
    """One client connects; data passes both ways. Returns the daemon's words about it."""
    with connect(program.address) as sock:
        peer = Endpoint(sock, context("client", trust or pki.trust), "localhost")
        running = in_thread(peer.handshake)
        taken = program.take()
        running.result(seconds(20))
        peer.send(b"hello\n")
        assert read_line(taken) == b"hello\n"
        handshake, fd = taken
        handshake.sendall(fd, b"and welcome")
        assert peer.recv_exactly(11) == b"and welcome"
        told = dict(handshake.results())
        assert told["peer"] == "%s:%d" % sock.getsockname()
        told["certificate"] = dict(x[0] for x in peer.tls.getpeercert()["subject"])["commonName"]
        program.drop(taken)
        return told


def test_connection_comes_with_all_that_is_known(daemon, pki, record_path):
    with Program(daemon.socket) as program:
        told = visit(program, pki)
        assert told["outcome"] == "established"
        assert told["version"] == "TLS1.3" and told["server-name"] == "localhost"
        assert told["transmit"] == told["receive"] == record_path


def test_listen_on_the_wire(client, pki, record_path):
    """As a program without the library sees it."""
    with server_socket() as listening:
        answer = client.listen(listening, profile="ecdsa")
        assert answer.operation == "listening" and answer["id"] == "1", answer
        with connect(listening.getsockname()) as sock:
            running = in_thread(Endpoint(sock, context("client", pki.trust), "localhost").handshake)
            message = client.receive()
            peer = running.result(seconds(20))
            assert message.operation == "connection" and message["id"] == "1", message
            assert message.outcome == "established"
            assert message["peer"] == "%s:%d" % sock.getsockname()
            # Where there is a relay, the program has no use for the TCP socket.
            name = "connection" if record_path == "kernel" else "relay"
            assert list(message.fds)[0] == name
            with socket.socket(fileno=message.take(name)) as ours:
                endpoint.exchange(peer, ours)


def test_ipv6_connection_names_its_peer(daemon, pki):
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with Program(daemon.socket, listening=listening) as program:
        with connect(program.address[:2]) as sock:
            running = in_thread(Endpoint(sock, context("client", pki.trust), "localhost").handshake)
            handshake, _ = program.take()
            running.result(seconds(20))
            assert handshake["peer"] == f"[::1]:{sock.getsockname()[1]}"


@pytest.mark.parametrize("version", ("TLS1.3", "TLS1.2"))
def test_200_connections_at_once_are_each_delivered_once(version, daemon, pki):
    with Program(daemon.socket) as program:
        with Crowd(program.address, pki.trust, 200, version) as crowd:
            taken = []

            def all_delivered():
                # Of what nobody takes a bounded number waits, and the daemon accepts no more.
                while len(taken) < 200 and program.waiting():
                    taken.append(program.take())
                return crowd.complete == len(taken) == 200
            assert crowd.run(all_delivered, 60), (crowd.complete, len(taken))
            lines = sorted(int(read_line(one)) for one in taken)
            assert lines == list(range(200))
            assert not program.waiting()


def test_hostile_connections_are_never_seen(daemon, pki):
    before = daemon.status()
    with Program(daemon.socket, "quick") as program, contextlib.ExitStack() as stack:
        for data in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b""):
            for _ in range(10):
                sock = stack.enter_context(connect(program.address))
                sock.sendall(data)
        for _ in range(10):
            endpoint.reset(connect(program.address))
        assert visit(program, pki)["outcome"] == "established"
        wait_until(lambda: daemon.status()["handshakes-under-way"] == 0, 20, "the deadlines")
        assert not program.waiting(seconds(0.2))
        after = daemon.status()
        assert after["handshakes-failed"] - before["handshakes-failed"] >= 30


def test_several_programs_have_each_their_own(daemon, pki):
    with Program(daemon.socket, "ecdsa") as one, Program(daemon.socket, "rsa") as two:
        for _ in range(5):
            assert visit(one, pki)["certificate"] == "ecdsa"
            assert visit(two, pki)["certificate"] == "rsa"
        assert not one.waiting() and not two.waiting()


def test_two_programs_share_one_socket(daemon, pki):
    with Program(daemon.socket) as one:
        with Program(daemon.socket, listening=socket.socket(fileno=os.dup(
                one.listening.fileno()))) as two:
            with Crowd(one.address, pki.trust, 40) as crowd:
                assert crowd.run(lambda: crowd.complete == 40)
                lines = []
                deadline = time.monotonic() + seconds(20)
                while len(lines) < 40 and time.monotonic() < deadline:
                    for program in (one, two):
                        taken = program.listener.accept()
                        if taken:
                            program.held.append(taken)
                            lines.append(int(read_line(taken)))
                assert sorted(lines) == list(range(40))
        assert visit(one, pki)["outcome"] == "established"


def test_listening_ends_with_its_program(daemon, pki):
    # Those of the test before may not all have ended.
    wait_until(lambda: daemon.status()["listenings"] == 0, 20, "the end of other listenings")
    before = 0
    descriptors = daemon.descriptors(daemon.workers())
    program = Program(daemon.socket)
    visit(program, pki)
    assert daemon.status()["listenings"] > before
    program.listener.free()
    wait_until(lambda: daemon.status()["listenings"] == before, 20, "the listening's end")
    # The socket is the program's alone again.
    program.listening.settimeout(seconds(10))
    with connect(program.address) as sock:
        accepted, _ = program.listening.accept()
        with accepted:
            endpoint.assert_plain(accepted, sock)
    program.listening.close()
    # The daemon keeps nothing of it: nobody listens there any more.
    wait_until(lambda: _refuses(program.address), 20, "the end of the daemon's duplicate")
    wait_until(lambda: daemon.descriptors(daemon.workers()) <= descriptors, 20,
               "the end of the descriptors")


def _refuses(address):
    try:
        connect(address).close()
        return False
    except ConnectionRefusedError:
        return True


def test_program_that_is_killed_leaves_nothing(daemon, pki):
    before = daemon.status()["listenings"]
    listening = server_socket()
    address = listening.getsockname()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            client = protocol.Client(daemon.socket)
            client.listen(listening, profile="ecdsa")
            os.write(writing, b"x")
            time.sleep(1000)
        finally:
            os._exit(0)
    listening.close()
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"x"
        wait_until(lambda: daemon.status()["listenings"] > before, what="the listening")
        # Connections that it never took go with it.
        with connect(address) as sock:
            peer = Endpoint(sock, context("client", pki.trust), "localhost").handshake()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pid = 0
            with pytest.raises(OSError):
                while True:
                    if not peer.recv():
                        raise ConnectionError("closed")
        wait_until(lambda: daemon.status()["listenings"] == before, 20, "the listening's end")
        wait_until(lambda: _refuses(address), 20, "the end of the daemon's duplicate")
    finally:
        os.close(reading)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.mark.many
@pytest.mark.timeout(240 * SLOW)
def test_full_queue_stops_the_accepting_and_loses_nothing(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa",
                                                      timeout_ms=milliseconds(60000))},
                      {"handshakes-per-user": 100, "relayed-per-user": 3000,
                       "relayed-total": 3000})
    count = 500
    with Program(one.socket) as program, Crowd(program.address, pki.trust, count) as crowd:
        assert crowd.run(lambda: crowd.complete > 0)
        # Until nothing moves any more: the program takes nothing.
        seen = -1
        while crowd.complete != seen:
            seen = crowd.complete
            crowd.run(lambda: crowd.complete == count, 0.4)
        assert 0 < crowd.complete < count, "nothing bounds what waits for the program"
        assert one.status()["listenings"] >= 1
        taking = in_thread(lambda: [program.take(60) for _ in range(count)])
        assert crowd.run(lambda: crowd.complete == count or taking.done(), 60), crowd.complete
        assert crowd.run(taking.done, 60)
        lines = sorted(int(read_line(taken)) for taken in taking.result())
        assert lines == list(range(count))


def test_blocking_listening_socket_stops_no_worker(make_daemon, pki, records):
    """All workers wake for one connection, one gets it: the others must not wait in accept."""
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")}, {"workers": 4})
    with Program(one.socket) as program:
        program.listening.setblocking(True)
        for _ in range(10):
            visit(program, pki)
        assert os.get_blocking(program.listening.fileno()), "the caller's flags were changed"
        with contextlib.ExitStack() as stack:
            for client in [stack.enter_context(one.client()) for _ in range(20)]:
                assert client.status()


def test_reload_keeps_the_listening_and_brings_the_new_certificate(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")})
    with Program(one.socket) as program:
        assert visit(program, pki)["certificate"] == "ecdsa"
        one.profiles["ecdsa"] = daemon_module.profile(pki, records, "rsa")
        one.write()
        assert one.reload()

        def renewed():
            return visit(program, pki)["certificate"] == "rsa"

        wait_until(renewed, 20, "the new certificate on the old listening")
        for _ in range(5):
            assert renewed()


def test_listening_survives_the_death_of_each_worker(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")}, {"workers": 2})
    with Program(one.socket) as program:
        visit(program, pki)
        for pid in one.workers():
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda dead=pid: dead not in one.workers() and len(one.workers()) == 2, 20,
                       "the worker's successor")
            for _ in range(4):
                assert visit(program, pki)["outcome"] == "established"


def test_daemon_s_end_is_the_listening_s_end(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")})
    with Program(one.socket) as program:
        taken_from = visit(program, pki)
        assert taken_from["outcome"] == "established"
        one.stop()
        assert program.waiting(seconds(10))
        with pytest.raises(BrokenPipeError):
            program.listener.accept()
