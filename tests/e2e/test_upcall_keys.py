# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys and keyrings of the kernel's consumers: who the peer was, and whom each consumer trusts."""

import contextlib
import os
import pathlib
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

import daemon as daemon_module
import keys
import upcall
from endpoint import Endpoint, context, in_thread
from scale import seconds
from test_upcall import exchange, pair
from upcall import CLIENT, SERVER, UNAUTHENTICATED, X509, Upcall

pytestmark = pytest.mark.usefixtures("kernel_records")
# What 7.2 says and 6.12 does not.
TELLS_KEYRING = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (7, 0)
STORE = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="module", autouse=True)
def module(record_path):
    if record_path != "kernel":
        pytest.skip("needs kernel records, this run has relay")
    upcall.load_module("handshake_upcall")


@pytest.fixture
def agent(make_daemon, pki):
    """agent(nfs={…}, nfsd={…}, other={…}, kernel={…}): profiles by these names."""
    def make(kernel=None, **more):
        profiles = {"nfs": {"names": ["client-ecdsa"], "role": "client"},
                    "nfsd": {"names": ["ecdsa"], "role": "server",
                             "client_certificates": "request"}}
        profiles.update(more)
        one = make_daemon({
            name: daemon_module.profile(pki, "kernel", *lines.pop("names", ()), **lines)
            for name, lines in profiles.items()}, start=False)
        one.kernel = {"nfs": "nfs", "nfsd": "nfsd", **(kernel or {})}
        one.write()
        return one.start()
    return make


def der(pki, name):
    return pki.certificates[name].public_bytes(serialization.Encoding.DER)


def test_the_peer_is_named_by_a_key_with_its_certificate(agent, pki):
    agent()
    seen = []
    for _ in range(2):
        with pair() as (ours, theirs):
            with Upcall(theirs, SERVER, X509) as server, \
                    Upcall(ours, CLIENT, X509, "localhost") as client:
                seen.append((client.result()[1], server.result()[1]))
    for serial, name in zip(seen[0], ("ecdsa", "client-ecdsa")):
        assert keys.describe(serial) == ("user", f"handshaked:peer:{pki.sha256(name)}")
        assert keys.read(serial) == der(pki, name)
    # The same peer is the same key.
    assert seen[0] == seen[1]


def as_client(theirs_role, pki, certificate, keyring=0):
    """What a consumer's server gets when a client with this certificate comes: its (status, identity)."""
    with pair() as (ours, theirs):
        client = Endpoint(ours, context("client", trust=None, certificate=pki.cert(certificate),
                                        key=pki.key(certificate)))
        done = in_thread(client.handshake)
        with Upcall(theirs, theirs_role, X509, keyring=keyring) as server:
            result = server.result()
        ours.close()
        with contextlib.suppress(Exception):
            done.result(seconds(20))
        return result


def test_each_consumer_has_its_own_trust(agent, pki):
    """Two servers within the kernel, told apart by keyring: neither believes the other's clients."""
    agent(kernel={"keyring": "handshake-test-backup backup"},
          backup={"names": ["untrusted"], "role": "server", "trust": pki.other_trust,
                  "client_certificates": "require"})
    with keys.keyring("handshake-test-backup") as ring:
        believed = {(keyring, name): as_client(SERVER, pki, name, keyring)[0] == "ok"
                    for keyring in (0, ring) for name in ("client-ecdsa", "client-untrusted")}
    assert believed == {
        (0, "client-ecdsa"): True, (0, "client-untrusted"): False,
        # Where the kernel does not say the keyring, the consumer is taken for what it asks.
        (ring, "client-ecdsa"): not TELLS_KEYRING, (ring, "client-untrusted"): TELLS_KEYRING}


@pytest.mark.skipif(not TELLS_KEYRING, reason="this kernel does not say a consumer's keyring")
def test_a_consumer_that_is_not_known_is_refused(agent):
    one = agent()
    with keys.keyring("handshake-test-unknown") as ring, pair() as (ours, _):
        with Upcall(ours, CLIENT, X509, "localhost", keyring=ring) as client:
            assert client.result()[0] == "EACCES"
    assert 'its keyring is "handshake-test-unknown", for which [kernel] has no profile' in one.log()


@pytest.fixture
def system_store(pki, tmp_path):
    """The tests' other authority is one of the system's, for as long as this lasts."""
    if os.geteuid() != 0 or not STORE.exists():
        pytest.skip(f"needs root and {STORE}")
    store = tmp_path / "store.crt"
    store.write_bytes(STORE.read_bytes() + b"\n" + pki.other_trust.read_bytes())
    store.chmod(0o644)
    # In place of the file, which itself stays as it is.
    subprocess.run(["mount", "--bind", str(store), str(STORE)], check=True)
    yield
    subprocess.run(["umount", "-l", str(STORE)], check=True)


def test_an_authority_of_the_system_says_nothing_about_a_server_s_clients(agent, pki,
                                                                          system_store):
    agent(nfs={"names": ["client-untrusted"], "role": "client", "trust": "system"},
          other={"names": ["untrusted"], "role": "server", "client_certificates": "none"},
          )
    # A client believes a server of that authority …
    with pair() as (ours, theirs):
        peer = Endpoint(theirs, context("server", certificate=pki.cert("untrusted"),
                                        key=pki.key("untrusted")))
        done = in_thread(peer.handshake)
        with Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            assert client.result()[0] == "ok"
        done.result(seconds(20))
    # … and the server, with its own trust, no client of it.
    assert as_client(SERVER, pki, "client-untrusted") == ("EACCES", 0)
    assert as_client(SERVER, pki, "client-ecdsa")[0] == "ok"
