# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's life: workers that are killed, the daemon stopped, restarted, absent; what
outlives it, and what it keeps of what is over."""

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

import daemon as daemon_module
import endpoint
import library
import protocol
from endpoint import Endpoint, context, in_thread, tcp_pair
from scale import SLOW, milliseconds, seconds, wait_until
from test_async import collect, pairs


@pytest.fixture
def profiles(pki, records):
    def make(**extra):
        extra.setdefault("timeout_ms", milliseconds(30000))
        return {"ecdsa": daemon_module.profile(pki, records, "ecdsa", **extra),
                "client": daemon_module.profile(pki, records, role="client", **extra)}
    return make


class Connection:
    """An established connection: a program's socket and its peer."""

    def __init__(self, one, pki, stack):
        self.ours, self.theirs = (stack.enter_context(s) for s in tcp_pair())
        self.handshake = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        running = in_thread(self.handshake.perform, one.socket, self.ours.fileno())
        self.peer = Endpoint(self.theirs, context("client", pki.trust), "localhost").handshake()
        assert running.result(seconds(20)) == 0, self.handshake.error

    def works(self):
        endpoint.exchange(self.peer, self.ours)


def succeeds(one, pki):
    with contextlib.ExitStack() as stack:
        Connection(one, pki, stack).works()


# ---- Workers ----

def test_killed_worker_answers_100_callers_within_a_second(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    worker, = one.workers()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(one.socket))
        made = pairs(stack, 100)
        handshakes = [stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
                      for _ in made]
        # One half shares a connection to the daemon, the other half has one each.
        clients = [client] * 50 + [stack.enter_context(library.Client(one.socket))
                                   for _ in range(50)]
        for handshake, owner, (ours, _) in zip(handshakes, clients, made):
            owner.start(handshake, ours.fileno())
            owner.process()
        wait_until(lambda: one.status()["handshakes-under-way"] == 100, what="100 under way")
        began = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        ended = collect(client, 50)
        for owner in clients[50:]:
            ended += collect(owner, 1)
        passed = time.monotonic() - began
        assert set(ended) == set(handshakes)
        assert passed < seconds(1), f"the last answer came after {passed:.3f} seconds"
        for handshake in handshakes:
            assert handshake.outcome == "poisoned", handshake
            assert handshake.error and handshake.errno
            assert handshake.may_retry
        # A worker takes its place, and nothing stays counted.
        succeeds(one, pki)
        status = one.status()
        assert status["workers-died"] == 1
        wait_until(lambda: one.status()["handshakes-under-way"] == 0, what="an empty count")
        assert len(one.workers()) == 1 and one.workers() != [worker]


def test_workers_that_die_again_and_again_are_replaced(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 2})
    for i in range(4):
        dead = one.workers()
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(one.workers()) == 2 and not set(dead) & set(one.workers()), 30,
                   f"successors, round {i}")
        succeeds(one, pki)
    assert one.alive and one.status()["workers-died"] == 8


def test_established_connections_outlive_a_worker(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    with contextlib.ExitStack() as stack:
        connections = [Connection(one, pki, stack) for _ in range(5)]
        os.kill(one.workers()[0], signal.SIGKILL)
        wait_until(lambda: one.status()["workers-died"] == 1, what="the worker's end")
        for connection in connections:
            connection.works()


def test_killed_relay_ends_its_connections_and_no_others(relay_records, make_daemon, profiles,
                                                         pki):
    one = make_daemon(profiles())
    with contextlib.ExitStack() as stack:
        connection = Connection(one, pki, stack)
        # Before, it may lie in the relay's queue yet, which its successor takes over.
        connection.works()
        relay, = one.relays()
        os.kill(relay, signal.SIGKILL)
        with pytest.raises(OSError) as ended:
            connection.handshake.recv(connection.ours.fileno())
        assert ended.value.errno in (errno.ECONNABORTED, errno.ECONNRESET)
        wait_until(lambda: one.relays() not in ([], [relay]), what="another relay")
        assert one.status()["relays-died"] == 1
        wait_until(lambda: one.status()["relayed"] == 0, what="an empty count")
        succeeds(one, pki)


def test_relay_that_is_told_to_stop_alone_is_replaced(relay_records, make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    with contextlib.ExitStack() as stack:
        connection = Connection(one, pki, stack)
        connection.works()
        relay, = one.relays()
        worker, = one.workers()
        # It takes no more, and shuts a socket that a successor would inherit.
        os.kill(relay, signal.SIGTERM)
        wait_until(lambda: one.workers() and worker not in one.workers(), 20, "another worker")
        succeeds(one, pki)
        connection.works()
    wait_until(lambda: relay not in one.relays(), what="the relay's end")
    succeeds(one, pki)


def test_processes_are_unprivileged(daemon):
    if os.geteuid() != 0:
        pytest.skip("needs a daemon that was started as root")
    for pid in daemon.workers() + daemon.relays():
        assert daemon_module.user_of(pid) == "nobody"
        status = dict(line.split(":\t", 1) for line in
                      open(f"/proc/{pid}/status", encoding="ascii").read().splitlines())
        assert status["Uid"].split() == ["65534"] * 4
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
        assert int(status["CapBnd"], 16) == 0
        if "address" not in daemon.program.parts[-3] and "thread" not in daemon.program.parts[-3]:
            assert status["Seccomp"] == "2"


# ---- The daemon ----

def perform(path, ours, **request):
    handshake = library.Handshake(library.SERVER, "ecdsa", **request)
    handshake.perform(path, ours.fileno())
    return handshake


def assert_unavailable(path):
    ours, theirs = tcp_pair()
    with ours, theirs, perform(path, ours) as handshake:
        assert handshake.outcome == "untouched"
        assert handshake["class"] == "unavailable" if handshake.get("class") else True
        assert str(path) in handshake.error, handshake.error
        assert handshake.errno in (errno.ECONNREFUSED, errno.ENOENT)
        endpoint.assert_plain(ours, theirs)


def test_absent_daemon_is_told_and_leaves_the_socket_alone(tmp_path):
    assert_unavailable(tmp_path / "nobody-is-here")
    # A socket whose daemon died.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(tmp_path / "dead"))
    assert_unavailable(tmp_path / "dead")
    with pytest.raises(OSError) as refused:
        library.Client(tmp_path / "nobody-is-here")
    assert refused.value.errno in (errno.ECONNREFUSED, errno.ENOENT)


def test_command_tells_of_an_absent_daemon(build, sanitizer_directory, tmp_path):
    environment = daemon_module.environment(sanitizer_directory)
    done = subprocess.run([build / "bin" / "handshake", "status", "--socket", tmp_path / "absent"],
                          env=environment, capture_output=True, timeout=seconds(20), text=True)
    assert done.returncode != 0
    assert "absent" in done.stderr and done.stderr.count("\n") <= 2, done.stderr


def test_established_connections_outlive_the_daemon(kernel_records, make_daemon, profiles, pki):
    one = make_daemon(profiles())
    with contextlib.ExitStack() as stack:
        connections = [Connection(one, pki, stack) for _ in range(5)]
        assert one.stop() == 0
        for connection in connections:
            connection.works()
            connection.handshake.close_notify(connection.ours.fileno())
            assert connection.peer.recv() == b""


def test_relayed_connections_outlive_the_supervisor_s_stop_or_end_cleanly(relay_records,
                                                                          make_daemon, profiles,
                                                                          pki):
    """A relay is in the data path: what it carries may end with the daemon, never hang or lie."""
    one = make_daemon(profiles(), {"stop-timeout-ms": milliseconds(1000)})
    with contextlib.ExitStack() as stack:
        connection = Connection(one, pki, stack)
        assert one.stop() == 0
        try:
            connection.works()
        except (OSError, AssertionError):
            with pytest.raises(OSError) as ended:
                if not connection.handshake.recv(connection.ours.fileno()):
                    raise ConnectionAbortedError(errno.ECONNABORTED, "close_notify")
            assert ended.value.errno in (errno.ECONNABORTED, errno.ECONNRESET, errno.EPIPE)


def test_daemon_stops_within_its_bound_and_removes_its_socket(make_daemon, profiles):
    one = make_daemon(profiles(), {"stop-timeout-ms": milliseconds(1000)})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(one.socket))
        handshakes = [stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
                      for _ in range(3)]
        for handshake, (ours, _) in zip(handshakes, pairs(stack, 3)):
            client.start(handshake, ours.fileno())
            client.process()
        wait_until(lambda: one.status()["handshakes-under-way"] == 3, what="three under way")
        began = time.monotonic()
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        assert time.monotonic() - began < seconds(1 + 5)
        assert len(collect(client, 3)) == 3
        assert all(h.outcome in ("poisoned", "untouched") and h.error for h in handshakes)
    assert not one.socket.exists()
    assert_unavailable(one.socket)


def test_stopping_daemon_finishes_what_is_under_way(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"stop-timeout-ms": milliseconds(20000)})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(one.socket))
        handshake = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
        (ours, theirs), = pairs(stack, 1)
        client.start(handshake, ours.fileno())
        client.process()
        wait_until(lambda: one.status()["handshakes-under-way"] == 1, what="it under way")
        one.signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(one), what="the end of new requests")
        assert one.alive
        running = in_thread(Endpoint(theirs, context("client", pki.trust), "localhost").handshake)
        assert collect(client, 1) == [handshake]
        running.result(seconds(20))
        assert handshake.outcome == "established", handshake.error
        if handshake["transmit"] == "kernel":
            assert one.wait() == 0


def _accepts(one):
    try:
        one.client().close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_idle_daemon_stops_at_once(number, make_daemon, profiles):
    one = make_daemon(profiles(), {"stop-timeout-ms": milliseconds(20000)})
    with one.client():
        one.signal(number)
        assert one.wait(10) == 0
    assert one.children() == []


def test_restarted_daemon_serves_again(make_daemon, profiles, pki):
    one = make_daemon(profiles())
    succeeds(one, pki)
    one.stop()
    assert_unavailable(one.socket)
    one.start()
    succeeds(one, pki)
    # Killed, its socket is left behind: that must not stop the next.
    one.kill()
    assert one.socket.exists()
    assert_unavailable(one.socket)
    one.start()
    succeeds(one, pki)


def test_second_daemon_does_not_take_the_socket_of_the_first(make_daemon, profiles, pki):
    one = make_daemon(profiles())
    second = make_daemon(profiles(), {"socket": one.socket}, start=False)
    second.spawn()
    assert second.wait(20) != 0
    assert str(one.socket) in second.log()
    succeeds(one, pki)


def test_no_worker_outlives_a_killed_supervisor(make_daemon, profiles):
    one = make_daemon(profiles())
    children = one.children()
    assert children
    one.signal(signal.SIGKILL)
    one.wait()
    wait_until(lambda: not any(daemon_module.is_running(pid) for pid in children), 20,
               "the end of the children")


# ---- What stays behind ----

def descriptors_wanted(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard < count and os.geteuid() != 0:
            pytest.skip(f"{count} descriptors are needed, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))


def establish_both_sides(one, stack, count):
    """count established connections' ends, both sides by the daemon; kept in stack."""
    client = stack.enter_context(library.Client(one.socket))
    made = 0
    while made < count:
        batch = pairs(stack, min(25, (count - made + 1) // 2))
        started = []
        for ours, theirs in batch:
            server = stack.enter_context(library.Handshake(library.SERVER, "ecdsa"))
            visitor = stack.enter_context(library.Handshake(library.CLIENT, "client",
                                                            "localhost"))
            client.start(server, ours.fileno())
            client.start(visitor, theirs.fileno())
            started += [server, visitor]
        for ended in collect(client, len(started), 60):
            assert ended.outcome == "established", ended.error
        made += len(started)


def idle_level(one, pids):
    return one.descriptors(pids), one.memory(pids)


@pytest.mark.many
@pytest.mark.timeout(400 * SLOW)
def test_established_connections_cost_the_workers_nothing(make_daemon, profiles, record_path):
    """Invariant 5. With relay records the relay has them, but the workers must not."""
    count = 2000 if record_path == "kernel" else 300
    descriptors_wanted(count * 4 + 200)
    # One worker, so that all of it has been used before the measuring begins.
    # Without the sessions that a worker keeps for some seconds, some hundred at most, until their tickets
    # have come.
    one = make_daemon(profiles(resumption="no"), {"workers": 1, "relayed-total": 5000,
                                                  "relayed-per-user": 5000})
    # The first of each kind fill caches and the allocator's arenas.
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            establish_both_sides(one, stack, 200)
    pids = one.workers() + [one.process.pid]
    wait_until(lambda: one.status()["clients"] == 1, what="the end of the clients")
    descriptors, memory = idle_level(one, pids)
    with contextlib.ExitStack() as stack:
        establish_both_sides(one, stack, count)
        if record_path == "kernel":
            assert one.status()["relayed"] == 0
        # The connection to the daemon is closed, those to the peers are not.
        wait_until(lambda: one.descriptors(pids) <= descriptors + 1, 20, "the descriptors' end")
        grown = one.memory(pids) - memory
    wait_until(lambda: one.descriptors(pids) <= descriptors, 20, "the last descriptor's end")
    if "address" not in str(one.program) and "thread" not in str(one.program):
        # A session alone takes 10 KB: one kept in ten would be 2 MB for 2,000.
        assert grown < 1 << 20, f"the daemon grew by {grown} bytes over {count} connections"
    if record_path == "relay":
        wait_until(lambda: one.status()["relayed"] == 0, 20, "the end of the relayed")


def test_closed_relayed_connections_cost_the_relay_nothing(relay_records, make_daemon, profiles):
    one = make_daemon(profiles())
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            establish_both_sides(one, stack, 100)
        wait_until(lambda: one.status()["relayed"] == 0, 20, "their end")
    wait_until(lambda: one.status()["clients"] == 1, what="the end of the clients")
    descriptors, _ = idle_level(one, one.relays())
    with contextlib.ExitStack() as stack:
        establish_both_sides(one, stack, 100)
    wait_until(lambda: one.status()["relayed"] == 0, 20, "their end")
    wait_until(lambda: one.descriptors(one.relays()) <= descriptors, 20, "the descriptors' end")


@pytest.mark.many
def test_failed_handshakes_leave_nothing(make_daemon, profiles, pki):
    one = make_daemon(profiles())
    client = one.client()

    def fail(count):
        for i in range(count):
            ours, theirs = tcp_pair()
            with ours, theirs:
                number = client.start(ours, "server", profile="ecdsa")
                if i % 3 == 0:
                    theirs.sendall(b"GET / HTTP/1.0\r\n\r\n")
                elif i % 3 == 1:
                    theirs.shutdown(socket.SHUT_WR)
                else:
                    Endpoint(theirs, context("client", pki.other_trust),
                             "localhost").try_handshake()
                assert client.reply(number)["class"]

    with client:
        fail(100)
        pids = one.workers()
        descriptors, memory = idle_level(one, pids)
        fail(300)
        wait_until(lambda: one.descriptors(pids) <= descriptors, what="the descriptors' end")
        if "address" not in str(one.program) and "thread" not in str(one.program):
            assert one.memory(pids) - memory < 1 << 20


def test_status_counts_truly(make_daemon, profiles, pki, record_path):
    one = make_daemon(profiles())
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            Connection(one, pki, stack).works()
        client = stack.enter_context(one.client())
        ours, theirs = (stack.enter_context(s) for s in tcp_pair())
        theirs.sendall(b"nonsense of more than five bytes")
        client.handshake(ours, "server", profile="ecdsa")
        status = one.status()
        assert status["handshakes-started"] == 4
        assert status["handshakes-established"] == 3
        assert status["handshakes-failed"] == status["failed-protocol"] == 1
        assert status["tls13"] == 3 and status["tls12"] == 0
        assert status[f"{record_path}-records"] == 3
        assert status["handshakes-under-way"] == 0
        assert status["relayed"] == (3 if record_path == "relay" else 0)
        assert status["handshake-microseconds"] > 0
