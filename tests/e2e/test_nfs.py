# SPDX-License-Identifier: LGPL-2.1-or-later
"""NFS over TLS with the kernel's own client and server, both served by this daemon."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import pytest

import daemon as daemon_module
import nfs
import ocsp
from scale import FULL, seconds, wait_until

pytestmark = [pytest.mark.usefixtures("kernel_records")]


@pytest.fixture
def agent(make_daemon, pki):
    """serves: which consumers it has a profile for."""
    def make(client=("client-ecdsa",), client_more=None, server_names=("ecdsa",), server_more=None,
             staple=None, serves=("nfs", "nfsd"), before=(), start=True):
        def profile(*names, **more):
            return daemon_module.profile(pki, "kernel", *names, **more)
        server = daemon_module.certificates(pki, *server_names)
        server += [("staple", staple)] if staple else []
        profiles = {
            "nfs": profile(*client, role="client", **(client_more or {})),
            "nfsd": server + profile(role="server", **{"client_certificates": "request",
                                                       **(server_more or {})})}
        one = make_daemon({name: profiles[name] for name in serves}, start=False)
        one.kernel = {name: name for name in serves}
        one.before = list(before)
        one.write()
        return one.start() if start else one
    return make


@pytest.mark.parametrize("security", ["tls", "mtls"])
def test_files_are_the_same(nfs_server, agent, counted, security, covers):
    one = agent()
    data = os.urandom(3 << 20)
    (nfs_server.export / "there").write_bytes(data)
    with counted(), nfs_server.mounted(security) as path:
        assert (path / "there").read_bytes() == data
        (path / "back").write_bytes(data[::-1])
        os.sync()
        assert (nfs_server.export / "back").read_bytes() == data[::-1]
    status = one.status()
    assert status["kernel-requests-established"] >= 2 and status["kernel-requests-failed"] == 0
    covers(f"NFS with xprtsec={security}", "TLS1.3", "client")
    covers(f"NFS with xprtsec={security}", "TLS1.3", "server")


def test_two_network_namespaces(nfs_server, agent, counted):
    """The client in one, with an agent of its own, the server in the other."""
    data = os.urandom(1 << 20)
    (nfs_server.export / "there").write_bytes(data)
    with nfs.network("nfs-client") as name:
        servers = agent(serves=("nfsd",))
        clients = agent(serves=("nfs",), before=["nsenter", f"--net=/run/netns/{name}"])
        for security in ("tls", "mtls"):
            with counted(), nfs_server.mounted(security, name=nfs.WIRE, namespace=name) as path:
                assert (path / "there").read_bytes() == data
                (path / "back").write_bytes(data[::-1])
                os.sync()
                assert (nfs_server.export / "back").read_bytes() == data[::-1]
        for one in (clients, servers):
            status = one.status()
            assert status["kernel-requests-established"] >= 2 and status["kernel-requests-failed"] == 0


REVOKED = "a certificate revoked by a list"


@pytest.mark.parametrize("client, server_names, why", [
    ("client-ecdsa", "untrusted", None),
    ("client-ecdsa", "expired", None),
    ("client-ecdsa", "wrong-name", None),
    ("client-ecdsa", "revoked", REVOKED),
    ("client-untrusted", "ecdsa", None),
    ("client-expired", "ecdsa", None),
    ("client-revoked", "ecdsa", REVOKED),
])
def test_what_does_not_verify_is_not_mounted(nfs_server, agent, pki, client, server_names, why):
    more = {"revocation_list": pki.revocation_list} if why == REVOKED else {}
    one = agent(client=(client,), client_more=more, server_names=(server_names,), server_more=more)
    with pytest.raises(nfs.MountFailed):
        with nfs_server.mounted("mtls"):
            pass
    # The client of TLS 1.3 is through before the server has seen its certificate.
    assert one.status()["kernel-requests-failed"] >= 1


def test_a_staple_that_says_revoked_is_not_mounted(nfs_server, agent, pki, tmp_path):
    staple = tmp_path / "staple"
    staple.write_bytes(ocsp.response(pki, pki.certificates["ecdsa"], "revoked"))
    one = agent(staple=staple)
    with pytest.raises(nfs.MountFailed):
        with nfs_server.mounted("tls"):
            pass
    assert one.status()["kernel-requests-failed"] >= 1


def test_without_an_agent_nothing_is_mounted(nfs_server):
    began = time.monotonic()
    with pytest.raises(nfs.MountFailed, match="No such process"):
        with nfs_server.mounted("tls"):
            pass
    # Told at once: the kernel's own deadline is 10 seconds, however slow the machine is.
    assert time.monotonic() - began < 8


def test_a_mount_outlives_the_agent_s_restart_and_the_server_s(nfs_server, agent):
    one = agent()
    (nfs_server.export / "stays").write_bytes(b"as it was")
    with nfs_server.mounted("mtls") as path:
        assert (path / "stays").read_bytes() == b"as it was"
        one.signal(signal.SIGTERM)
        one.wait()
        (nfs_server.export / "stays").write_bytes(b"without an agent")
        # An established connection needs no agent.
        assert (path / "stays").exists()
        one.start()
        before = one.status()["kernel-requests-established"]
        nfs_server.stop()
        nfs_server.start()
        (path / "new").write_bytes(b"after a new connection")
        os.sync()
        assert (nfs_server.export / "new").read_bytes() == b"after a new connection"
        assert one.status()["kernel-requests-established"] > before


def test_a_mount_waits_for_an_agent_that_was_killed(nfs_server, agent):
    """Killed with the handshake under way, so that nobody answers it; the kernel asks the next one."""
    one = agent()
    for pid in one.workers():
        os.kill(pid, signal.SIGSTOP)
    path = pathlib.Path(tempfile.mkdtemp(prefix="nfs-"))
    with open(path.with_suffix(".log"), "w+", encoding="utf-8") as log:
        mount = subprocess.Popen(nfs_server.mount_command(path, "mtls", options=("retry=2",)),
                                 stdout=log, stderr=log, start_new_session=True)
        try:
            # Seen by the supervisor alone: the stopped workers answer nobody.
            wait_until(lambda: is_lent_a_socket(one.process.pid), what="the request")
            one.kill()
            one.start()
            # The kernel waits 10 seconds for who is gone, however slow the machine is.
            wait_until(lambda: mount.poll() is not None, 20, "the mount")
            assert mount.returncode == 0, path.with_suffix(".log").read_text()
            (path / "after").write_bytes(b"the next agent's")
            os.sync()
            assert (nfs_server.export / "after").read_bytes() == b"the next agent's"
        finally:
            nfs.give_up(mount, path)
            path.with_suffix(".log").unlink()


def is_lent_a_socket(pid):
    """Whether the process has a TCP socket: a supervisor has none of its own."""
    inodes = {line.split()[9] for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]}
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            link = os.readlink(entry)
            if link.startswith("socket:[") and link[8:-1] in inodes:
                return True
    return False


def test_restarts_under_load_lose_nothing(nfs_server, agent):
    """Files are written and read back while agent and server are restarted."""
    one = agent()
    written, over = {}, threading.Event()
    problems = []

    def write(path):
        number = 0
        try:
            while not over.is_set():
                data = os.urandom(50000)
                name = f"load-{number}"
                with open(path / name, "wb") as file:
                    file.write(data)
                    os.fsync(file.fileno())
                written[name] = data
                assert (path / name).read_bytes() == data
                number += 1
        except (OSError, AssertionError) as error:
            problems.append(error)

    with nfs_server.mounted("mtls") as path:
        writer = threading.Thread(target=write, args=(path,), daemon=True)
        writer.start()
        def more(what):
            before = len(written)
            wait_until(lambda: len(written) > before + 2 or problems, 60, f"files after {what}")

        for _ in range(3 if FULL else 1):
            one.signal(signal.SIGTERM)
            one.wait()
            more("the agent's stop")  # an established connection needs none
            one.start()
            nfs_server.stop()
            nfs_server.start()
            more("the server's restart")
            assert one.reload()
            nfs_server.stop()
            nfs_server.start()
            more("a reload of the agent")
        over.set()
        writer.join(seconds(30))
        assert not problems, problems
        for name, data in written.items():
            assert (nfs_server.export / name).read_bytes() == data
    assert one.status()["kernel-requests-established"] >= 2


def test_more_connections_at_once_than_the_kernel_keeps_requests(nfs_server, agent):
    """After the server's restart all connections are made anew, two requests for each."""
    with nfs.network("nfs-client") as name, contextlib.ExitStack() as stack:
        agents = [agent(), agent(serves=("nfs",), before=["nsenter", f"--net=/run/netns/{name}"])]
        paths = [stack.enter_context(nfs_server.mounted("mtls", options=("nconnect=16",), **where))
                 for where in ({}, {"name": nfs.WIRE, "namespace": name})]
        before = sum(one.status()["kernel-requests"] for one in agents)
        nfs_server.stop()
        nfs_server.start(threads=32)  # each waits for a handshake by itself
        good = []

        def use(path, number):
            file = path / f"many-{number}"
            file.write_bytes(b"%d" % number)
            good.append(file.read_bytes() == b"%d" % number)

        threads = [threading.Thread(target=use, args=(paths[number % 2], number), daemon=True)
                   for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(20))
        assert len(good) == 64 and all(good)
        assert sum(one.status()["kernel-requests"] for one in agents) - before > 50
        for one in agents:
            wait_until(lambda one=one: one.status()["kernel-requests-under-way"] == 0, what="their end")


def test_two_agents_share_the_work(nfs_server, agent):
    """Whichever asks first gets a request; neither is missed when it is gone."""
    agents = [agent(), agent()]
    for _ in range(3):
        with nfs_server.mounted("mtls") as path:
            assert path.exists()
    asked = [one.status() for one in agents]
    assert sum(one["kernel-requests"] for one in asked) >= 6
    assert all(one["kernel-requests-failed"] == 0 for one in asked)
    agents[0].stop()
    with nfs_server.mounted("mtls") as path:
        assert path.exists()
