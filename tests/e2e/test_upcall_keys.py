# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys and keyrings of the kernel's consumers: who the peer was, and whom each consumer trusts."""

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

import daemon as daemon_module
import keys
import pki as pki_module
from endpoint import Endpoint, context, in_thread
from netns import pair
from scale import seconds, wait_until
from test_signer import search, secrets_of
from upcall import CLIENT, SERVER, UNAUTHENTICATED, X509, Upcall

pytestmark = pytest.mark.usefixtures("upcalls")
# What 7.2 says and 6.12 does not.
TELLS_KEYRING = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (7, 0)
STORE = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")


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


def as_client(pki, certificate, keyring=0):
    """What a consumer's server gets when a client with this certificate comes: (status, identity)."""
    with pair() as (ours, theirs):
        client = Endpoint(ours, context("client", trust=None, certificate=pki.cert(certificate),
                                        key=pki.key(certificate)))
        done = in_thread(client.handshake)
        with Upcall(theirs, SERVER, X509, keyring=keyring) as server:
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
        believed = {(keyring, name): as_client(pki, name, keyring)[0] == "ok"
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
    agent(nfs={"role": "client", "trust": "system"})
    # A client believes a server of that authority …
    with pair() as (ours, theirs):
        peer = Endpoint(theirs, context("server", certificate=pki.cert("untrusted"),
                                        key=pki.key("untrusted")))
        done = in_thread(peer.handshake)
        with Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            assert client.result()[0] == "ok"
        done.result(seconds(20))
    # … and the server, with its own trust, no client of it.
    assert as_client(pki, "client-untrusted") == ("EACCES", 0)
    assert as_client(pki, "client-ecdsa")[0] == "ok"


# ---- A consumer's own certificate ----

OWN = "handshake-test-own"


@contextlib.contextmanager
def own(certificate, key, permissions=None):
    """The arguments of a request with this certificate and this key (bytes) in a keyring."""
    with keys.keyring(OWN) as ring:
        yield {"keyring": ring, "certificate": keys.add(ring, "certificate", certificate, permissions),
               "private_key": keys.add(ring, "key", key, permissions)}


def private(pki, name, encoding=serialization.Encoding.DER,
            form=serialization.PrivateFormat.PKCS8):
    key = serialization.load_pem_private_key(pki.key(name).read_bytes(), None)
    return key.private_bytes(encoding, form, serialization.NoEncryption())


@pytest.fixture
def plain_agent(agent):
    """Its client has no certificate of its own."""
    return lambda: agent(nfs={"role": "client"}, kernel={"keyring": f"{OWN} nfs"})


def request_own(arguments):
    """(the client's status, the server's status, the serial number of the client's identity)."""
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, \
                Upcall(ours, CLIENT, X509, "localhost", **arguments) as client:
            status = client.result()[0]
            ours.close()
            return status, *server.result()


@pytest.mark.parametrize("name", ["client-ecdsa", "client-rsa", "client-ed25519"])
def test_a_request_s_own_certificate_is_shown(plain_agent, pki, name, covers):
    one = plain_agent()
    with own(pki.cert(name).read_bytes(), private(pki, name)) as arguments:
        for _ in range(2):
            assert request_own(arguments)[:2] == ("ok", "ok")
        status, _, identity = request_own(arguments)
        assert keys.describe(identity) == ("user", f"handshaked:peer:{pki.sha256(name)}")
    # Without it there is nothing to show: it was for those handshakes.
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, \
                Upcall(ours, CLIENT, X509, "localhost") as client:
            assert client.result()[0] == "ok"
            assert server.result() == ("ok", 0)
    assert one.status()["kernel-requests-under-way"] == 0
    covers("Kernel consumer, certificate of a keyring", "TLS1.3", "client")


def test_der_and_the_older_forms_of_keys(plain_agent, pki):
    """What the mount options of NFS want: one certificate in DER; of keys, what openssl writes."""
    pki.issue("client-direct", authority=pki.root, purpose=pki_module.CLIENT, kind="rsa")
    plain_agent()
    for encoding, form in ((serialization.Encoding.DER, serialization.PrivateFormat.PKCS8),
                           (serialization.Encoding.DER,
                            serialization.PrivateFormat.TraditionalOpenSSL),
                           (serialization.Encoding.PEM,
                            serialization.PrivateFormat.TraditionalOpenSSL)):
        with own(der(pki, "client-direct"),
                 private(pki, "client-direct", encoding, form)) as arguments:
            assert request_own(arguments)[:2] == ("ok", "ok")


@pytest.mark.parametrize("wrong, words", [
    ("no key", "names a certificate and no private key"),
    ("another's key", "is not that of its certificate"),
    ("garbage for a key", "no private key in it"),
    ("garbage for a certificate", "cannot be read as DER or PEM"),
    ("gone", "cannot be read"),
])
def test_a_certificate_that_cannot_be_used_is_refused(plain_agent, pki, wrong, words):
    one = plain_agent()
    certificate, key = pki.cert("client-ecdsa").read_bytes(), private(pki, "client-ecdsa")
    if wrong == "another's key":
        key = private(pki, "client-rsa")
    if wrong == "garbage for a key":
        key = b"\x30\x03abc"
    if wrong == "garbage for a certificate":
        certificate = b"not a certificate"
    with own(certificate, key) as arguments, pair() as (ours, _):
        if wrong == "no key":
            arguments["private_key"] = 0
        if wrong == "gone":
            keys.keyctl("revoke", arguments["private_key"])
        with Upcall(ours, CLIENT, X509, "localhost", **arguments) as client:
            assert client.result()[0] == "EACCES"
    assert words in one.log(), one.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads another process's memory")
def test_a_private_key_of_a_keyring_is_in_the_signer_alone(plain_agent, pki):
    one = plain_agent()
    wanted = secrets_of(pki.key("client-rsa"))
    with own(pki.cert("client-rsa").read_bytes(), private(pki, "client-rsa")) as arguments:
        for _ in range(3):
            assert request_own(arguments)[:2] == ("ok", "ok")
        # While one is under way the search finds what there is to find.
        with pair() as (ours, _), Upcall(ours, CLIENT, X509, "localhost", **arguments):
            wait_until(lambda: search(one.signers()[0], wanted), 20, "the key in the signer")
            for pid in [one.process.pid, *one.workers()]:
                assert not search(pid, wanted), f"process {pid}"


def test_a_signer_s_death_does_not_keep_requests_from_being_served(plain_agent, pki):
    one = plain_agent()
    with own(pki.cert("client-ecdsa").read_bytes(), private(pki, "client-ecdsa")) as arguments:
        assert request_own(arguments)[:2] == ("ok", "ok")
        before = one.signers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: one.signers() and one.signers() != before, 20, "another signer")
        assert request_own(arguments)[:2] == ("ok", "ok")
