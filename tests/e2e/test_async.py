# SPDX-License-Identifier: LGPL-2.1-or-later
"""The asynchronous library: many handshakes under way on one connection to the daemon."""

import contextlib
import select
import time

import pytest

import endpoint
import library
from endpoint import Endpoint, context, in_thread, tcp_pair
from scale import milliseconds, seconds, wait_until


def collect(client, count, timeout=30):
    """The next handshakes that end."""
    ended = []
    deadline = time.monotonic() + seconds(timeout)
    while len(ended) < count:
        one = client.process()
        if one:
            ended.append(one)
            continue
        left = deadline - time.monotonic()
        assert left > 0, f"only {len(ended)} of {count} ended"
        poll = select.poll()
        poll.register(client.fileno(), client.events)
        poll.poll(min(left, 1) * 1000)
    return ended


def pairs(stack, count):
    made = [tcp_pair() for _ in range(count)]
    for pair in made:
        for sock in pair:
            stack.enter_context(sock)
    return made


def test_100_under_way_end_each_with_its_own_result(daemon, pki):
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(daemon.socket))
        started = {}
        for i, (ours, theirs) in enumerate(pairs(stack, 100)):
            one = stack.enter_context(library.Handshake(
                library.SERVER, ("ecdsa", "rsa", "ed25519")[i % 3]))
            client.start(one, ours.fileno())
            started[one] = (ours, Endpoint(theirs, context("client", pki.trust), "localhost"),
                            ("ecdsa", "rsa", "ed25519")[i % 3])
        assert client.process() is None
        # The peers come in the other order, so that nothing ends in the order of the start.
        peers = [peer for _, peer, _ in started.values()]
        running = in_thread(lambda: [peer.handshake() for peer in reversed(peers)])
        ended = collect(client, 100)
        running.result(seconds(30))
        assert len(set(ended)) == 100
        for one, (ours, peer, certificate) in started.items():
            assert one.outcome == "established", one
            subject = dict(x[0] for x in peer.tls.getpeercert()["subject"])
            assert subject["commonName"] == certificate
            # The number of the descriptor is still the one to use.
            peer.send(certificate.encode())
            assert one.recv(ours.fileno()) == certificate.encode()
        assert client.process() is None


def test_both_sides_of_one_connection_on_one_client(daemon, record_path):
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(daemon.socket))
        (ours, theirs), = pairs(stack, 1)
        theirs.settimeout(None)
        server = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        visitor = stack.enter_context(library.Handshake(library.CLIENT, "client", "localhost"))
        client.start(server, ours.fileno())
        client.start(visitor, theirs.fileno())
        assert set(collect(client, 2)) == {server, visitor}
        assert server.outcome == visitor.outcome == "established"
        assert server["transmit"] == visitor["receive"] == record_path
        server.sendall(ours.fileno(), b"x" * 100000)
        got = b""
        while len(got) < 100000:
            got += visitor.recv(theirs.fileno())
        visitor.close_notify(theirs.fileno())
        assert server.recv(ours.fileno()) == b""


def test_cancelled_handshake_is_never_returned_and_the_others_go_on(daemon, pki):
    before = daemon.status()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(daemon.socket))
        made = pairs(stack, 4)
        all_of_them = [stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
                       for _ in made]
        for one, (ours, _) in zip(all_of_them, made):
            client.start(one, ours.fileno())
        assert client.process() is None
        wait_until(lambda: daemon.status()["handshakes-under-way"] ==
                   before["handshakes-under-way"] + 4, what="four under way")
        for one in all_of_them[:2]:
            client.cancel(one)
            assert one.outcome in ("poisoned", "untouched")
        wait_until(lambda: daemon.status()["handshakes-under-way"] ==
                   before["handshakes-under-way"] + 2, what="the cancelled ones' end")
        peers = [Endpoint(theirs, context("client", pki.trust), "localhost")
                 for _, theirs in made[2:]]
        running = in_thread(lambda: [peer.handshake() for peer in peers])
        assert set(collect(client, 2)) == set(all_of_them[2:])
        running.result(seconds(20))
        assert all(one.outcome == "established" for one in all_of_them[2:])
        after = daemon.status()
        assert after["failed-cancelled"] == before["failed-cancelled"] + 2


def test_closing_the_connection_cancels_all_that_is_under_way(daemon):
    before = daemon.status()
    with contextlib.ExitStack() as stack:
        client = daemon.client()
        for ours, _ in pairs(stack, 10):
            client.start(ours, "server", profile="ecdsa")
        wait_until(lambda: daemon.status()["handshakes-under-way"] ==
                   before["handshakes-under-way"] + 10, what="ten under way")
        client.close()
        wait_until(lambda: daemon.status()["handshakes-under-way"] ==
                   before["handshakes-under-way"], what="their end")


def test_freeing_the_client_ends_what_is_under_way(daemon):
    with contextlib.ExitStack() as stack:
        (ours, _), = pairs(stack, 1)
        one = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        client = library.Client(daemon.socket)
        client.start(one, ours.fileno())
        client.process()
        client.free()
        assert one.outcome in ("poisoned", "untouched")
        assert one.error


def test_failure_and_success_stand_beside_each_other(daemon, pki):
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(daemon.socket))
        (ours, theirs), (silent, _) = pairs(stack, 2)
        good = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        late = stack.enter_context(library.Handshake(library.SERVER, "ecdsa",
                                                     timeout_ms=milliseconds(700)))
        wrong = stack.enter_context(library.Handshake(library.SERVER, "no-such-profile"))
        (other, _), = pairs(stack, 1)
        client.start(late, silent.fileno())
        client.start(wrong, other.fileno())
        client.start(good, ours.fileno())
        running = in_thread(Endpoint(theirs, context("client", pki.trust), "localhost").handshake)
        ended = collect(client, 3)
        running.result(seconds(20))
        assert ended[-1] is late
        assert (good.outcome, wrong.outcome) == ("established", "untouched")
        assert late["class"] == "timeout" and wrong["class"] == "request"
        assert wrong.error and late.error and not good.error


def test_requests_beyond_the_socket_s_queue_wait_in_the_library(daemon, pki):
    """More requests at once than the Unix socket holds: start never blocks, all end."""
    count = 600
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(daemon.socket))
        handshakes = []
        (ours, theirs), = pairs(stack, 1)
        for _ in range(count):
            one = stack.enter_context(library.Handshake(library.SERVER, "no-such-profile"))
            client.start(one, ours.fileno())
            handshakes.append(one)
        ended = collect(client, count)
        endpoint.assert_plain(ours, theirs)
        assert set(ended) == set(handshakes)
        assert all(one.outcome == "untouched" for one in ended)


def test_client_that_reads_nothing_stops_nobody_else(daemon, pki):
    """Replies that nobody takes: the daemon holds a bounded lot of them, others are served."""
    with contextlib.ExitStack() as stack:
        lazy = stack.enter_context(daemon.client())
        lazy.sock.settimeout(seconds(0.2))
        with contextlib.suppress(OSError):
            for i in range(20000):
                lazy.send("status", {"id": i + 1})
        for _ in range(4):
            ours, theirs = tcp_pair()
            with ours, theirs, library.Handshake(library.SERVER, "ecdsa") as one:
                running = in_thread(one.perform, daemon.socket, ours.fileno())
                peer = Endpoint(theirs, context("client", pki.trust), "localhost").handshake()
                assert running.result(seconds(20)) == 0, one.error
                peer.send(b"x")
                assert one.recv(ours.fileno()) == b"x"


@pytest.mark.parametrize("wrong", ({"peer_name": "a" * 254}, {"profile": "p" * 64},
                                   {"alpn": "a" * 300}))
def test_setters_refuse_what_the_protocol_cannot_carry(wrong):
    with pytest.raises(OSError) as refused:
        library.Handshake(library.CLIENT, **wrong)
    assert refused.value.errno == 22


def test_descriptor_that_is_no_socket_is_refused_without_the_daemon(daemon):
    with open("/dev/null", "rb") as null, library.Handshake(library.SERVER, "ecdsa") as one:
        assert one.perform(daemon.socket, null.fileno()) == -1
        assert one.outcome == "untouched" and one.errno and "socket" in one.error
        with library.Client(daemon.socket) as client, pytest.raises(OSError):
            client.start(one, null.fileno())


def test_caller_s_descriptor_stays_the_caller_s_after_a_failure(daemon):
    ours, theirs = tcp_pair()
    with ours, theirs, library.Handshake(library.SERVER, "no-such-profile") as one:
        assert one.perform(daemon.socket, ours.fileno()) == -1
        assert one.outcome == "untouched" and not one.may_retry and one.errno
        endpoint.assert_plain(ours, theirs)
