# SPDX-License-Identifier: LGPL-2.1-or-later
"""NVMe/TCP over TLS with the kernel's own host and target, both served by this daemon."""

import contextlib
import hashlib
import os
import signal
import socket
import time

import pytest

import keys
import nvme
from covers import gnutls_version
from endpoint import in_thread
from scale import seconds, wait_until

pytestmark = [pytest.mark.usefixtures("kernel_records")]

KNOWS_SHA384 = tuple(map(int, gnutls_version().split("."))) >= (3, 8, 11)


@pytest.fixture(scope="module")
def target(kernel_records):
    nvme.needs_nvme()
    one = nvme.Target()
    yield one
    one.close()


@pytest.fixture
def ring():
    with nvme.Keyring() as one:
        yield one


@pytest.fixture
def agent(make_daemon):
    return nvme.agent(make_daemon)


@pytest.fixture
def strange():
    """A keyring that the host has and the target does not look into."""
    with keys.keyring("handshaked-host") as serial, nvme.Keyring(serial) as one:
        yield one


def assert_told(agent, sentence):
    """The host's side may be over before the target's is."""
    wait_until(lambda: sentence in agent.log(), what=f"\"{sentence}\" in the log")


def write_file(path, size=3 << 20):
    data = os.urandom(size)
    with open(path, "wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def read_file(path):
    """From the disk, not from memory."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("1\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("sha384", [False, True])
def test_files_are_the_same(target, ring, agent, counted, covers, sha384):
    if sha384 and not KNOWS_SHA384:
        pytest.skip("GnuTLS before 3.8.11 knows no pre-shared keys of SHA-384")
    serial, _ = ring.add(nvme.identity(sha384=sha384))
    with counted(), nvme.Host() as host:
        with host.mounted() as path:
            one = write_file(path / "there")
            assert read_file(path / "there") == one
        with host.mounted(make=False) as path:
            assert read_file(path / "there") == one
        # The kernel says which key it was.
        assert int((host.path / "tls_key").read_text(), 16) == serial
    wait_until(lambda: agent.status()["kernel-requests-under-way"] == 0, what="their end")
    status = agent.status()
    assert status["kernel-requests-established"] == 6 and status["kernel-requests-failed"] == 0
    name = "NVMe/TCP with a key of SHA-384" if sha384 else "NVMe/TCP"
    covers(name, "TLS1.3", "client")
    covers(name, "TLS1.3", "server")


def test_without_an_agent_nothing_is_connected(target, ring):
    ring.add(nvme.identity())
    began = time.monotonic()
    with pytest.raises(nvme.ConnectFailed, match="ESRCH"):
        nvme.Host()
    # Told at once: the kernel's own deadline is 10 seconds, however slow the machine is.
    assert time.monotonic() - began < 8


def test_an_unknown_key_is_refused(target, ring, strange, agent):
    ring.add(nvme.identity(subsystem="nqn.2024-01.org.example:another"))
    serial, _ = strange.add(nvme.identity())
    with pytest.raises(nvme.ConnectFailed):
        nvme.Host(keyring=strange.serial, tls_key=serial)
    assert_told(agent, "which the keyring does not have")
    wait_until(lambda: agent.status()["kernel-requests-failed"] == 2, what="both failures")


@pytest.mark.parametrize("known, offered", [
    (nvme.identity(), nvme.identity()[:-4]),
    (nvme.identity()[:-4], nvme.identity()),
    (nvme.identity(digest="A" * 44), nvme.identity(digest="B" * 44)),
], ids=["less", "more", "another digest"])
def test_a_beginning_of_an_identity_is_another_one(target, ring, strange, agent, known, offered):
    """The kernel's own search takes the first key whose name begins so."""
    _, key = ring.add(known)
    serial, _ = strange.add(offered, key)
    with pytest.raises(nvme.ConnectFailed):
        nvme.Host(keyring=strange.serial, tls_key=serial)
    assert_told(agent, "which the keyring does not have")


def test_another_key_of_the_same_identity_is_refused(target, ring, strange, agent):
    ring.add(nvme.identity())
    serial, _ = strange.add(nvme.identity())
    with pytest.raises(nvme.ConnectFailed):
        nvme.Host(keyring=strange.serial, tls_key=serial)
    assert_told(agent, "does not have the pre-shared key of the identity")


def test_the_host_s_key_from_a_keyring_of_its_own(target, ring, strange, agent):
    _, key = ring.add(nvme.identity())
    serial, _ = strange.add(nvme.identity(), key)
    with nvme.Host(keyring=strange.serial, tls_key=serial) as host:
        assert host.state == "live"


@contextlib.contextmanager
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def refused(**options):
    with pytest.raises(nvme.ConnectFailed):
        nvme.Host(**options)


def test_a_silent_peer_is_given_up(target, ring, agent):
    ring.add(nvme.identity())
    with silent_port() as port:
        refused(port=port)
    wait_until(lambda: agent.status()["kernel-requests-failed"] == 1, what="the failure")
    # The kernel gives 10 seconds, and has heard before they were over.
    assert "nobody waits for the answer" not in agent.log()
    with nvme.Host() as host:
        assert host.state == "live"


def test_an_agent_that_is_killed_meanwhile(target, ring, agent):
    ring.add(nvme.identity())
    with silent_port() as port:
        waiting = in_thread(refused, port=port)
        wait_until(lambda: agent.status()["kernel-requests-under-way"] == 1, what="it under way")
        os.killpg(agent.process.pid, signal.SIGKILL)
        agent.wait()
        # The kernel's own deadline: nobody is left to say anything.
        waiting.result(seconds(20))
    agent.start()
    with nvme.Host() as host:
        assert host.state == "live"


def test_a_restart_under_load_costs_nothing(target, ring, agent):
    ring.add(nvme.identity())
    with nvme.Host() as host, host.mounted() as path:
        def load(number):
            return [(path / f"{number}-{i}", write_file(path / f"{number}-{i}", 1 << 20))
                    for i in range(4)]
        writers = [in_thread(load, number) for number in range(3)]
        agent.signal(signal.SIGTERM)
        agent.wait()
        # An established connection needs no agent; a new one waits for it.
        agent.start()
        host.reset()
        files = [one for writer in writers for one in writer.result(seconds(60))]
        more = load("after")
        for file, digest in files + more:
            assert read_file(file) == digest
        assert host.state == "live"
        wait_until(lambda: agent.status()["kernel-requests-established"] == 6, what="the new ones")


def test_a_target_that_comes_back(target, ring, agent):
    """Without an agent for a while, the host tries until there is one."""
    ring.add(nvme.identity())
    with nvme.Host(reconnect_delay=1, ctrl_loss_tmo=600) as host, host.mounted() as path:
        digest = write_file(path / "before")
        agent.signal(signal.SIGTERM)
        agent.wait()
        with contextlib.suppress(OSError):
            host.reset()
        wait_until(lambda: host.state != "live", what="the connection's end")
        agent.start()
        wait_until(lambda: host.state == "live", 30, "the connection's return")
        assert read_file(path / "before") == digest


def test_several_controllers_at_once(target, ring, agent):
    ring.add(nvme.identity())
    with contextlib.ExitStack() as stack:
        starting = [in_thread(nvme.Host, queues=4) for _ in range(4)]
        hosts = [stack.enter_context(one.result(seconds(60))) for one in starting]
        assert {host.state for host in hosts} == {"live"}
    wait_until(lambda: agent.status()["kernel-requests-under-way"] == 0, what="their end")
    status = agent.status()
    # Each has one queue for administration and as many others as there are processors, at most.
    queues = 4 * (1 + min(4, os.cpu_count()))
    assert status["kernel-requests-established"] == 2 * queues
    assert status["kernel-requests-failed"] == 0
