# SPDX-License-Identifier: LGPL-2.1-or-later
"""NFS over TLS with the kernel's own client and server, both served by this daemon."""

import os
import signal

import pytest

import daemon as daemon_module
import nfs

pytestmark = [pytest.mark.usefixtures("kernel_records")]


@pytest.fixture(scope="module")
def server(record_path):
    if record_path != "kernel":
        pytest.skip("needs kernel records, this run has relay")
    if os.geteuid() != 0 or os.path.exists("/proc/fs/nfsd/threads"):
        pytest.skip("needs a guest of its own: this machine may have an NFS server")
    one = nfs.Server()
    yield one
    one.close()


@pytest.fixture
def agent(make_daemon, pki):
    def make(client=("client-ecdsa",), client_more=None, server_names=("ecdsa",), server_more=None):
        def profile(*names, **more):
            return daemon_module.profile(pki, "kernel", *names, **more)
        one = make_daemon({
            "nfs": profile(*client, role="client", **(client_more or {})),
            "nfsd": profile(*server_names, role="server",
                            **{"client_certificates": "request", **(server_more or {})})},
            start=False)
        one.kernel = {"nfs": "nfs", "nfsd": "nfsd"}
        one.write()
        return one.start()
    return make



@pytest.mark.parametrize("security", ["tls", "mtls"])
def test_files_are_the_same(server, agent, counted, security, covers):
    one = agent()
    data = os.urandom(3 << 20)
    (server.export / "there").write_bytes(data)
    with counted(), server.mounted(security) as path:
        assert (path / "there").read_bytes() == data
        (path / "back").write_bytes(data[::-1])
        os.sync()
        assert (server.export / "back").read_bytes() == data[::-1]
    status = one.status()
    assert status["kernel-requests-established"] >= 2 and status["kernel-requests-failed"] == 0
    covers(f"NFS with xprtsec={security}", "TLS1.3", "client")
    covers(f"NFS with xprtsec={security}", "TLS1.3", "server")


@pytest.mark.parametrize("client, server_names, client_more", [
    (("client-ecdsa",), ("untrusted",), None),
    (("client-ecdsa",), ("expired",), None),
    (("client-ecdsa",), ("wrong-name",), None),
    (("client-untrusted",), ("ecdsa",), None),
    (("client-expired",), ("ecdsa",), None),
])
def test_what_does_not_verify_is_not_mounted(server, agent, client, server_names, client_more):
    one = agent(client=client, server_names=server_names, client_more=client_more)
    with pytest.raises(nfs.MountFailed):
        with server.mounted("mtls"):
            pass
    # The client of TLS 1.3 is through before the server has seen its certificate.
    assert one.status()["kernel-requests-failed"] >= 1


def test_without_an_agent_nothing_is_mounted(server):
    with pytest.raises(nfs.MountFailed):
        with server.mounted("tls"):
            pass


def test_a_mount_outlives_the_agent_s_restart_and_the_server_s(server, agent):
    one = agent()
    (server.export / "stays").write_bytes(b"as it was")
    with server.mounted("mtls") as path:
        assert (path / "stays").read_bytes() == b"as it was"
        one.signal(signal.SIGTERM)
        one.wait()
        (server.export / "stays").write_bytes(b"without an agent")
        # An established connection needs no agent.
        assert (path / "stays").exists()
        one.start()
        before = one.status()["kernel-requests-established"]
        server.stop()
        server.start()
        (path / "new").write_bytes(b"after a new connection")
        os.sync()
        assert (server.export / "new").read_bytes() == b"after a new connection"
        assert one.status()["kernel-requests-established"] > before
