# SPDX-License-Identifier: LGPL-2.1-or-later
"""Local programs that mean harm: whatever they hand over, nobody else waits for it."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import platform
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

import daemon as daemon_module
import protocol
from endpoint import Endpoint, context, in_thread, tcp_pair
from scale import seconds, wait_until
from test_requests import works


@pytest.fixture
def profiles(pki, records):
    return {"ecdsa": daemon_module.profile(pki, records, "ecdsa")}


def lingering():
    """A TCP connection whose first end's last close waits for an hour: the other end takes nothing."""
    ours, theirs = tcp_pair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(65536))
    except BlockingIOError:
        return ours, theirs


@contextlib.contextmanager
def hand_over(one, client, pairs):
    """Sends the sockets and closes them, while no worker looks: the packet then holds the last of each."""
    workers = one.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    client.send_raw(protocol.encode("status", {"id": 1}), [ours for ours, _ in pairs])
    for ours, _ in pairs:
        ours.close()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        for _, theirs in pairs:
            theirs.close()


@pytest.mark.parametrize("count", (1, 4, 5, 16))
def test_lingering_sockets_in_a_packet_stop_no_worker(count, make_daemon, profiles, pki):
    # More than the daemon has room for the kernel closes itself, in the worker's time.
    one = make_daemon(profiles, {"workers": 1})
    pairs = [lingering() for _ in range(count)]
    with one.client() as client, hand_over(one, client, pairs):
        begun = time.monotonic()
        works(one, pki)
        assert time.monotonic() - begun < seconds(5)
        assert client.receive() is not None


def test_lingering_socket_on_a_listening_stops_no_worker(make_daemon, profiles, pki):
    one = make_daemon(profiles, {"workers": 1})
    pairs = [lingering() for _ in range(6)]
    with socket.create_server(("127.0.0.1", 0)) as listening, one.client() as client:
        assert client.listen(listening, profile="ecdsa").operation == "listening"
        with hand_over(one, client, pairs):
            works(one, pki)


def test_lingering_socket_that_nobody_took_does_not_stop_the_stop(make_daemon, profiles):
    one = make_daemon(profiles, {"workers": 1})

    def is_paused():
        for pid in one.workers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return "starts in 1600 ms" in one.log()

    wait_until(is_paused, 30, "the pause between the starts of a worker that dies")
    ours, theirs = lingering()
    with one.client() as client:
        client.send_raw(protocol.encode("status", {"id": 1}), [ours])
        ours.close()
    one.signal(signal.SIGTERM)
    try:
        assert one.wait(15) == 0
    except subprocess.TimeoutExpired:
        pytest.fail("the supervisor waits for the program's socket")
    finally:
        theirs.close()


def test_empty_packet_ends_a_listening_for_all_workers(make_daemon, profiles):
    # It reads like the end: what one worker takes for it must be so for each of them.
    one = make_daemon(profiles, {"workers": 2})
    with socket.create_server(("127.0.0.1", 0)) as listening, one.client() as client:
        assert client.listen(listening, profile="ecdsa").operation == "listening"
        client.send_raw(b"")
        assert client.receive() is None
        wait_until(lambda: one.status()["listenings"] == 0, 10, "the listening's end")


def test_linger_of_a_failed_handshake_stays_the_program_s(daemon):
    # Not harm, but near it: what keeps the daemon from waiting must not change the program's socket.
    ours, theirs = tcp_pair()
    with ours, theirs, daemon.client() as client:
        wanted = struct.pack("ii", 1, 7)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, wanted)
        number = client.start(ours, "server", profile="ecdsa")
        theirs.sendall(b"no TLS at all")
        assert client.reply(number).outcome == "poisoned"
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == wanted


def test_replies_that_nobody_reads_are_few(make_daemon, profiles, pki):
    # Each may hold descriptors in the kernel's queue, which count against all of the daemon.
    one = make_daemon(profiles, {"workers": 1})
    trusting, peers = context("client", pki.trust), []
    with one.client() as client:
        for _ in range(100):
            ours, theirs = tcp_pair()
            peers.append(theirs)
            theirs.settimeout(seconds(2))
            client.start(ours, "server", profile="ecdsa")
            ours.close()
            try:
                Endpoint(theirs, trusting, "localhost").handshake()
            except TimeoutError:
                break
        assert 16 <= len(peers) <= 64
        works(one, pki)
        # It goes on as soon as they are read.
        for number in range(1, len(peers)):
            assert client.reply(number).outcome == "established"
    for theirs in peers:
        theirs.close()


class LockedSocket:
    """A TCP connection whose first end is locked: it sends from a page whose fault nobody answers."""

    PAGE = 4096
    USERFAULTFD, UFFDIO_API, UFFDIO_REGISTER = 323, 0xc018aa3f, 0xc020aa00

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self.faults = libc.syscall(self.USERFAULTFD, os.O_CLOEXEC)
        if self.faults < 0:
            pytest.skip(f"userfaultfd: {os.strerror(ctypes.get_errno())}")
        self.memory = mmap.mmap(-1, self.PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        fcntl.ioctl(self.faults, self.UFFDIO_API, struct.pack("QQQ", 0xaa, 0, 0))
        fcntl.ioctl(self.faults, self.UFFDIO_REGISTER, struct.pack("QQQQ", address, self.PAGE, 1, 0))
        self.ours, self.theirs = tcp_pair()
        self.sent = in_thread(libc.send, self.ours.fileno(), ctypes.c_void_p(address), self.PAGE, 0)
        poll = select.poll()
        poll.register(self.faults, select.POLLIN)
        assert poll.poll(seconds(10) * 1000), "the page was not missed"

    def release(self):
        os.close(self.faults)
        assert self.sent.result(seconds(10)) == self.PAGE
        self.ours.close()
        self.theirs.close()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="knows the numbers of one architecture alone")
def test_a_held_socket_lock_costs_a_worker_only_for_seconds(make_daemon, profiles, pki):
    one = make_daemon(profiles, {"workers": 1})
    worker, = one.workers()
    held = LockedSocket()
    try:
        with one.client() as client:
            client.send_raw(protocol.encode("handshake", {"id": 1, "role": "server",
                                                          "profile": "ecdsa"}),
                            [held.ours])
            wait_until(lambda: one.workers() not in ([], [worker]), 30, "another worker")
            works(one, pki)
            assert "has not moved for 5 seconds" in one.log()
            assert one.status()["workers-died"] == 1
    finally:
        held.release()
    # It ends as soon as it can; the other stays.
    wait_until(lambda: not pathlib.Path(f"/proc/{worker}").exists(), what="the held worker's end")
    works(one, pki)
    assert one.status()["workers-died"] == 1
