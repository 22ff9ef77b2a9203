# SPDX-License-Identifier: LGPL-2.1-or-later
"""NFS mounts that bring their own certificate: cert_serial= and privkey_serial=, and the keyring .nfs."""

import os

import pytest

import daemon as daemon_module
import keys
import nfs
from test_upcall_keys import private

pytestmark = pytest.mark.usefixtures("kernel_records")
RING = "%:.nfs"


@pytest.fixture
def agent(make_daemon, pki, nfs_server):  # the module that makes the keyring comes with the server
    try:
        keys.describe(RING)
    except AssertionError:
        pytest.skip(f"this kernel ({os.uname().release}) has no keyring for NFS")
    one = make_daemon({
        "nfs": daemon_module.profile(pki, "kernel", role="client"),
        "nfsd": daemon_module.profile(pki, "kernel", "ecdsa", role="server",
                                      client_certificates="request")}, start=False)
    one.kernel = {"nfs": "nfs", "nfsd": "nfsd"}
    one.write()
    return one.start()


@pytest.fixture
def serials(pki):
    """serials(name) -> the mount options for this certificate."""
    added = []

    def add(name, key=None):
        for what, data in (("certificate", pki.cert(name).read_bytes()),
                           ("key", private(pki, key or name))):
            added.append(keys.add(RING, f"test-{name}-{what}", data, permissions=None))
        return [f"cert_serial={added[-2]}", f"privkey_serial={added[-1]}"]

    yield add
    for serial in added:
        keys.keyctl("unlink", serial, RING)


def test_a_mount_shows_its_own_certificate(nfs_server, agent, serials, covers):
    (nfs_server.export / "there").write_bytes(b"for who shows a certificate")
    with nfs_server.mounted("mtls", options=serials("client-rsa")) as path:
        assert (path / "there").read_bytes() == b"for who shows a certificate"
    assert agent.status()["kernel-requests-failed"] == 0
    covers("NFS with a certificate of the keyring .nfs", "TLS1.3", "client")


@pytest.mark.parametrize("name, key", [("client-untrusted", None), ("client-rsa", "client-ecdsa")])
def test_a_certificate_that_does_not_serve_is_no_mount(nfs_server, agent, serials, name, key):
    with pytest.raises(nfs.MountFailed):
        with nfs_server.mounted("mtls", options=serials(name, key)):
            pass
    assert agent.status()["kernel-requests-failed"] >= 1
