# SPDX-License-Identifier: LGPL-2.1-or-later
"""Recorded flights with early data, sent again: never taken twice."""

import contextlib
import os
import signal
import socket
import time

import pytest

from early_data import (EARLY, Server, Visitor, counted, flight_is_whole, profile, server,
                        visitor)
from endpoint import in_thread
from scale import FULL, seconds, wait_until

REPLAYS = 40  # "many" does 1,000

# The same on each kernel, and a matter of minutes on an emulated one.
alike = pytest.mark.skipif(not FULL, reason="no kernel has a part in it; shown at full speed")


def replay(server_port, flight):
    """Sends the flight and waits for the server's answer to it."""
    with socket.create_connection(("127.0.0.1", server_port), seconds(20)) as sock:
        sock.sendall(flight)
        assert sock.recv(1)


def assert_replays_are_refused(one, server, flight, times):
    accepted, rejected, _ = counted(one)
    for _ in range(times):
        replay(server.port, flight)
    wait_until(lambda: counted(one)[1] == rejected + times, what="the end of the replays")
    assert counted(one)[0] == accepted
    assert not [early for _, early, _ in server.connections if early]


@pytest.mark.parametrize("times", (REPLAYS, pytest.param(1000, marks=(pytest.mark.many, alike))))
def test_a_replay_is_refused(daemon, server, visitor, times, covers):
    flight = visitor.record()
    accepted, _, replayed = counted(daemon)
    # Whoever has the flight and not its keys can be the first, and still gets no further.
    replay(server.port, flight)
    wait_until(lambda: counted(daemon)[0] == accepted + 1, what="the first one")
    assert_replays_are_refused(daemon, server, flight, times)
    assert counted(daemon)[2] == replayed + times
    covers("Replayed early data refused", "TLS1.3", "server")


def test_what_was_delivered_is_not_delivered_again(daemon, server, visitor):
    """The flight of a client that came through, recorded on its way."""
    flight = bytearray()
    listening = socket.create_server(("127.0.0.1", 0))

    def forward():
        sock, _ = listening.accept()
        with sock, socket.create_connection(("127.0.0.1", server.port)) as onward:
            while not flight_is_whole(bytes(flight), len(EARLY)):
                flight.extend(sock.recv(65536))
            onward.sendall(flight)
            other = in_thread(pump, onward, sock)
            pump(sock, onward)
            other.result(seconds(20))

    running = in_thread(forward)
    ended = server.next()
    taken = visitor.again(data=b"later", port=listening.getsockname()[1])
    assert taken, visitor.output
    assert ended()[1] == EARLY
    running.result(seconds(20))
    listening.close()
    server.connections.clear()
    assert_replays_are_refused(daemon, server, bytes(flight), 5)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@alike
def test_replays_through_the_rollover_of_all_windows(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records, ticket_lifetime_s=1)})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    end = time.monotonic() + 8  # the ticket's key is gone after six times the lifetime
    while time.monotonic() < end:
        assert_replays_are_refused(one, server, flight, 1)
        time.sleep(0.1)
    server.close()


@alike
def test_replays_after_a_worker_died(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records)}, {"workers": 2})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(3):
        died = one.status()["workers-died"]
        os.kill(one.workers()[0], signal.SIGKILL)
        wait_until(lambda: one.status()["workers-died"] > died and len(one.workers()) == 2,
                   what="another worker")
        assert_replays_are_refused(one, server, flight, 4)
    server.close()


@alike
def test_replays_after_a_reload(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records)})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(2):
        assert one.reload()
        assert_replays_are_refused(one, server, flight, 4)
    # And a ticket of before the reload is as good as it was.
    visitor.visit()
    assert one.reload()
    ended = server.next()
    assert visitor.again(data=b"later")
    assert ended()[1] == EARLY


@alike
@pytest.mark.parametrize("kept", (True, False), ids=("state kept", "nothing kept"))
def test_replays_after_a_restart(make_daemon, pki, records, tmp_path, kept):
    options = {"state-directory": tmp_path / "state"} if kept else {}
    one = make_daemon({"early": profile(pki, records)}, options)
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flights = [visitor.record(), visitor.record()]
    replay(server.port, flights[0])
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(2):
        one.stop()
        one.start()
        # Nor that which this daemon has not seen: another might have.
        for flight in flights:
            assert_replays_are_refused(one, server, flight, 2)
        assert counted(one)[0] == 0
    # New tickets are good again; the old one resumes where the keys were kept.
    ended = server.next()
    assert not visitor.again(data=b"later")
    assert ended()[0]["resumed"] == ("yes" if kept else "no")
    visitor.visit()
    ended = server.next()
    assert visitor.again(data=b"later")
    assert ended()[1] == EARLY
    server.close()
