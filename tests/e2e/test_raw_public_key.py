# SPDX-License-Identifier: LGPL-2.1-or-later
"""Raw public keys (RFC 7250) in both roles and versions against GnuTLS and, where it can, OpenSSL;
and that no key is believed but those that are pinned."""

import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import daemon as daemon_module
import endpoint
import peers
from conversation import connected, gnutls_cli, gnutls_serv, s_client, s_server, served
from daemon import refusal
from scale import FULL

KINDS = ("ecdsa", "rsa", "ed25519")
some_kinds = pytest.mark.parametrize("kind", KINDS if FULL else KINDS[:1])


class Keys:
    """Key pairs as files: NAME.key, NAME.pub; and their digests."""

    def __init__(self, directory):
        self.directory = directory
        self.digests = {}
        for kind in KINDS:
            self.make("own-" + kind, kind)
            self.make("peer-" + kind, kind)
        self.make("stranger", "ecdsa")

    def make(self, name, kind):
        key = {"ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
               "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
               "ed25519": ed25519.Ed25519PrivateKey.generate}[kind]()
        self.key(name).write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        self.key(name).chmod(0o600)
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public(name).write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM,
                                                                    spki))
        self.digests[name] = hashlib.sha256(key.public_key().public_bytes(
            serialization.Encoding.DER, spki)).hexdigest()

    def key(self, name):
        return self.directory / (name + ".key")

    def public(self, name):
        return self.directory / (name + ".pub")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def daemon(make_module_daemon, pki, records, keys):
    def make(*names, **extra):
        return daemon_module.profile(pki, records, *names, **{"trust": None, **extra})
    pins = [keys.public("peer-" + kind) for kind in KINDS]
    profiles = {
        "pinning": make(role="client", peer_public_key=pins),
        "other-pins": make(role="client", peer_public_key=[
            "sha256:" + "0" * 64, "sha256:" + keys.digests["stranger"].upper()]),
        "mutual-client": make(role="client", peer_public_key=pins,
                              raw_private_key=keys.key("own-ecdsa")),
        "mutual": make(role="server", raw_private_key=keys.key("own-ecdsa"),
                       peer_public_key=pins, client_certificates="require"),
        "mutual-other": make(role="server", raw_private_key=keys.key("own-ecdsa"),
                             peer_public_key=keys.public("stranger"),
                             client_certificates="require"),
        "requested": make(role="server", raw_private_key=keys.key("own-ecdsa"),
                          peer_public_key=pins, client_certificates="request"),
        "beside": make("ecdsa", role="server", raw_private_key=keys.key("own-ed25519")),
        "either": make(role="client", trust=pki.trust, peer_public_key=pins),
        "certificate": make("ecdsa", role="server"),
        "us-without-key": make(role="client",
                               peer_public_key="sha256:" + keys.digests["own-ecdsa"]),
        "requested-beside": make("ecdsa", role="server", peer_public_key=pins,
                                 client_certificates="request"),
        "required-beside": make("ecdsa", role="server", peer_public_key=pins,
                                client_certificates="require"),
        "us": make(role="client",
                   peer_public_key="sha256:" + keys.digests["own-ecdsa"],
                   raw_private_key=keys.key("peer-rsa")),
    }
    for kind in KINDS:
        profiles[kind] = make(role="server", raw_private_key=keys.key("own-" + kind))
    return make_module_daemon(profiles)


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


def priority(version, server="RAWPK", client="X509"):
    return (f"NORMAL:-VERS-ALL:+VERS-{version}:-CTYPE-SRV-ALL:-CTYPE-CLI-ALL"
            f":+CTYPE-SRV-{server}:+CTYPE-CLI-{client}")


def needs_openssl_rpk():
    if b"-enable_server_rpk" not in subprocess.run(
            ["openssl", "s_client", "-help"], capture_output=True, check=False).stderr:
        pytest.skip("this OpenSSL has no raw public keys (3.2)")


def assert_known(reply, digest, record_path):
    assert reply["peer-authenticated"] == "yes"
    assert reply["peer-public-key-sha256"] == digest
    assert reply.get("peer-subject") is None and "chain" not in reply.fds
    assert reply["transmit"] == reply["receive"] == record_path


# ---- Server ----

@some_kinds
@pytest.mark.parametrize("version", peers.VERSIONS)
def test_server_shows_its_key_to_gnutls_cli(version, kind, client, covers, record_path):
    with served(client, lambda port: gnutls_cli(port, priority(version), "--insecure"),
                profile=kind) as talk:
        talk.speak()
        assert talk.reply["version"] == version
        assert talk.reply["transmit"] == record_path
        assert talk.reply["peer-authenticated"] == "no"
        covers("Raw public key", version, "server")


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_server_and_openssl_client(version, client, covers):
    needs_openssl_rpk()
    option = "-tls1_3" if version == "TLS1.3" else "-tls1_2"
    with served(client, lambda port: s_client(port, option, "-enable_server_rpk"),
                profile="ecdsa") as talk:
        talk.speak()
        covers("Raw public key", version, "server")


@some_kinds
@pytest.mark.parametrize("version", peers.VERSIONS)
def test_server_knows_gnutls_cli_by_its_key(version, kind, client, covers, keys, record_path):
    with served(client, lambda port: gnutls_cli(
            port, priority(version, client="RAWPK"), "--insecure", "--rawpkkeyfile",
            keys.key("peer-" + kind), "--rawpkfile", keys.public("peer-" + kind)),
                profile="mutual") as talk:
        talk.speak()
        assert_known(talk.reply, keys.digests["peer-" + kind], record_path)
        covers("Raw public key", version, "server")


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_s_key_that_is_not_pinned_is_refused(version, client, keys):
    with served(client, lambda port: gnutls_cli(
            port, priority(version, client="RAWPK"), "--insecure", "--rawpkkeyfile",
            keys.key("stranger"), "--rawpkfile", keys.public("stranger")),
                profile="mutual") as talk:
        reply = talk.reply
        assert reply.outcome == "poisoned" and reply["class"] == "verification", reply
        assert reply["alert"] == "certificate_unknown" and reply["alert-direction"] == "sent"
        assert "sha256:" + keys.digests["stranger"] in reply["error"]


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_without_a_key_is_refused_where_one_is_required(version, client, daemon):
    option = "-tls1_3" if version == "TLS1.3" else "-tls1_2"
    for profile, outcome in (("requested-beside", "established"), ("required-beside", "poisoned")):
        with served(client, lambda port: s_client(port, option), profile=profile) as talk:
            assert talk.reply.outcome == outcome, talk.reply
            if outcome == "established":
                assert talk.reply["peer-authenticated"] == "no"
            else:
                assert talk.reply["class"] == "verification"
    for profile, outcome in (("requested", "established"), ("mutual", "poisoned")):
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs, daemon.client() as second:
            number = client.start(ours, "server", profile=profile)
            second.handshake(theirs, "client", profile="us-without-key")
            reply = client.reply(number)
            assert reply.outcome == outcome, reply
            assert reply.get("peer-public-key-sha256") is None
            if outcome == "poisoned":
                assert reply["class"] == "verification"
                assert reply["alert"] == "certificate_required"


def test_server_with_a_key_alone_has_nothing_for_who_knows_certificates_only(client):
    for option in ("-tls1_3", "-tls1_2"):
        with served(client, lambda port, o=option: s_client(port, o), profile="ecdsa") as talk:
            assert talk.reply.outcome == "poisoned"
            assert talk.reply["class"] == "negotiation", talk.reply


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_certificate_of_a_client_is_none_of_the_pins(version, client, pki):
    with served(client, lambda port: gnutls_cli(
            port, priority(version), "--insecure", "--x509certfile", pki.cert("client-ecdsa"),
            "--x509keyfile", pki.key("client-ecdsa")), profile="mutual") as talk:
        assert talk.reply.outcome == "poisoned", talk.reply
    with served(client, lambda port: s_client(
            port, "-tls1_3" if version == "TLS1.3" else "-tls1_2", "-cert",
            pki.cert("client-ecdsa"), "-key", pki.key("client-ecdsa")),
                profile="required-beside") as talk:
        reply = talk.reply
        assert reply.outcome == "poisoned" and reply["class"] == "verification", reply
        assert reply["alert"] == "unsupported_certificate"
        assert "peer-public-key" in reply["error"]


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_key_beside_a_certificate_goes_to_who_asks_for_it(version, client, pki):
    with served(client, lambda port: gnutls_cli(port, priority(version), "--insecure"),
                profile="beside") as talk:
        talk.speak()
    with served(client, lambda port: s_client(
            port, "-tls1_3" if version == "TLS1.3" else "-tls1_2", "-CAfile", pki.trust,
            "-verify_return_error", "-verify_hostname", "localhost"), profile="beside") as talk:
        talk.speak()


# ---- Client ----

def raw_server(version, name, keys, *more):
    return gnutls_serv(priority(version), "--rawpkkeyfile", keys.key(name), "--rawpkfile",
                       keys.public(name), *more)


@some_kinds
@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_knows_gnutls_serv_by_its_key(version, kind, client, covers, keys, record_path):
    with raw_server(version, "peer-" + kind, keys) as server, \
            connected(client, server, profile="pinning") as talk:
        talk.echo()
        assert_known(talk.reply, keys.digests["peer-" + kind], record_path)
        covers("Raw public key", version, "client")


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_and_openssl_server(version, client, covers, make_daemon, records, record_path, pki):
    needs_openssl_rpk()
    option = "-tls1_3" if version == "TLS1.3" else "-tls1_2"
    # OpenSSL wants a certificate beside, and shows its key alone.
    pki.issue("raw-server")
    with s_server("-cert", pki.cert("raw-server"), "-key", pki.key("raw-server"), option,
                  "-enable_server_rpk") as server:
        with connected(client, server, profile="either", peer_name="localhost") as talk:
            # The key is not pinned: it must not do, although the certificate would.
            assert talk.reply.outcome == "poisoned", talk.reply
            assert "peer-public-key" in talk.reply["error"]
    digest = pki.public_key_sha256("raw-server")
    with make_daemon({"default": daemon_module.profile(
            pki, records, trust=None, role="client",
            peer_public_key="sha256:" + digest)}).client() as other, \
            s_server("-cert", pki.cert("raw-server"), "-key", pki.key("raw-server"), option,
                     "-enable_server_rpk") as server, connected(other, server) as talk:
        talk.speak()
        assert_known(talk.reply, digest, record_path)
    covers("Raw public key", version, "client")


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_server_s_key_that_is_not_pinned_is_refused(version, client, keys):
    with raw_server(version, "peer-ecdsa", keys) as server, \
            connected(client, server, profile="other-pins") as talk:
        reply = talk.reply
        assert reply.outcome == "poisoned" and reply["class"] == "verification", reply
        assert reply["alert"] == "certificate_unknown"
        assert "sha256:" + keys.digests["peer-ecdsa"] in reply["error"]


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_that_pins_takes_no_certificate_unless_it_has_trust(version, client, pki):
    option = "-tls1_3" if version == "TLS1.3" else "-tls1_2"
    for profile, outcome in (("pinning", "poisoned"), ("either", "established")):
        with s_server("-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                      pki.key("ecdsa"), option) as server, \
                connected(client, server, profile=profile, peer_name="localhost") as talk:
            assert talk.reply.outcome == outcome, talk.reply
            if outcome == "established":
                assert talk.reply["peer-sha256"] == pki.sha256("ecdsa")


def test_two_daemons_know_each_other(client, daemon, keys):
    """Our client to our server, each by its key."""
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs, daemon.client() as second:
        number = client.start(ours, "server", profile="mutual")
        reply = second.handshake(theirs, "client", profile="us")
        assert reply.outcome == "established", (reply, client.reply(number))
        assert reply["peer-public-key-sha256"] == keys.digests["own-ecdsa"]
        other = client.reply(number)
        assert other["peer-public-key-sha256"] == keys.digests["peer-rsa"]
        assert other["peer-authenticated"] == reply["peer-authenticated"] == "yes"
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs, daemon.client() as second:
        number = client.start(ours, "server", profile="mutual-other")
        second.handshake(theirs, "client", profile="us")
        other = client.reply(number)
        assert other.outcome == "poisoned" and other["class"] == "verification", other


# ---- What the configuration says ----

def test_bad_keys_and_settings_are_told(build, tmp_path, keys, pki):
    (tmp_path / "empty").write_text("")
    for value, says in (
            ("sha256:0123", "stand the 64 hexadecimal digits"),
            ("sha256:" + "g" * 64, "stand the 64 hexadecimal digits"),
            (tmp_path / "absent", "cannot be opened"),
            (tmp_path / "empty", "has no public key in it"),
            (keys.key("own-ecdsa"), "has a private key in it"),
            (pki.cert("ecdsa"), "has no public key in it"),
            ([keys.public("peer-rsa"), keys.public("peer-rsa")], "is there twice")):
        got = refusal(build, tmp_path, role="client", peer_public_key=value)
        assert says in got, got
    pin = keys.public("peer-rsa")
    assert "needs client-certificates = require" in refusal(
        build, tmp_path, role="server", raw_private_key=keys.key("own-rsa"), peer_public_key=pin)
    assert "is a contradiction" in refusal(build, tmp_path, role="client", peer_public_key=pin,
                                           insecure_no_verification="yes")
    keys.key("own-rsa").chmod(0o644)
    assert "may use the file" in refusal(build, tmp_path, role="server",
                                         raw_private_key=keys.key("own-rsa"))
    keys.key("own-rsa").chmod(0o600)
