# SPDX-License-Identifier: LGPL-2.1-or-later
"""ML-DSA certificates (FIPS 204) alone and beside classical ones, in both roles. The hybrid groups of key
exchange: test_key_exchange.py."""

import subprocess

import pytest

import daemon as daemon_module
import endpoint
import peers
from conversation import connected, gnutls_cli, s_client, s_server, served
from protocol import connection_of
from scale import wait_until

KINDS = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
each_kind = pytest.mark.parametrize("kind", KINDS)
SERVER_NAMES = "subjectAltName=DNS:localhost,DNS:post-quantum.test,IP:127.0.0.1"


def run(*command):
    done = subprocess.run([str(one) for one in command], capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.decode()


def lines_of(program, *arguments):
    return subprocess.run([peers.needs(program), *arguments], capture_output=True,
                          check=False).stdout.decode()


@pytest.fixture(scope="module")
def ml_dsa(pki):
    """Certificates that OpenSSL makes: NAME → (certificate, key), of the tests' intermediate
    authority, and "chain-…" of one whose root has such a key, too."""
    systems = [line for line in lines_of("gnutls-cli", "--list").splitlines()
               if line.startswith("Public Key Systems:")]
    if "ML-DSA" not in systems[0]:
        pytest.skip("this GnuTLS has no ML-DSA")
    if "ML-DSA" not in lines_of("openssl", "list", "-signature-algorithms"):
        pytest.skip("this OpenSSL has no ML-DSA")
    directory = pki.directory / "ml-dsa"
    directory.mkdir()

    def issue(name, kind, authority, extensions):
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        run("openssl", "genpkey", "-algorithm", kind, "-out", paths[1])
        paths[1].chmod(0o600)
        signer = ["-CA", authority[0], "-CAkey", authority[1]] if authority else []
        run("openssl", "req", "-x509", "-new", "-key", paths[1], "-out", paths[0], "-subj",
            f"/CN={name}", "-days", "30", "-config", "/dev/null", *signer,
            *[part for one in extensions for part in ("-addext", one)])
        if authority and len(authority) == 3:
            paths[0].write_bytes(paths[0].read_bytes() + authority[2].read_bytes())
        return paths

    end = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
           "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"]
    intermediate = (directory / "intermediate.pem", directory / "intermediate.key")
    pki.export(pki.intermediate, *intermediate)
    made = {}
    for kind in KINDS:
        made[kind] = issue(kind, kind, (*intermediate, intermediate[0]), end + [SERVER_NAMES])
        made["client-" + kind] = issue("client-" + kind, kind, (*intermediate, intermediate[0]),
                                       end + ["extendedKeyUsage=clientAuth",
                                              "subjectAltName=DNS:client.example.test"])
    made["root"] = issue("root", "ML-DSA-87", None, [
        "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign",
        "subjectKeyIdentifier=hash"])
    made["chain"] = issue("chain", "ML-DSA-65", made["root"], end + [SERVER_NAMES])
    return made


@pytest.fixture(scope="module")
def daemon(make_module_daemon, pki, records, ml_dsa):
    def make(*names, **extra):
        pairs = daemon_module.profile(pki, records, **extra)
        for name in names:
            certificate, key = ml_dsa.get(name) or (pki.cert(name), pki.key(name))
            pairs += [("certificate", certificate), ("private-key", key)]
        return pairs
    profiles = {"client": make(role="client"),
                "client-chain": make(role="client", trust=ml_dsa["root"][0]),
                "chain": make("chain"),
                "require": make("ecdsa", client_certificates="require"),
                "beside": make("ML-DSA-65", "ecdsa"),
                "behind": make("ecdsa", "ML-DSA-65")}
    for kind in KINDS:
        profiles[kind] = make(kind)
        profiles["client-" + kind] = make("client-" + kind, role="client")
    return make_module_daemon(profiles)


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


def fingerprint(certificate):
    return run("openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").split(
        "=")[1].strip().replace(":", "").lower()


# ---- Server role ----

@each_kind
def test_ml_dsa_certificate_is_served_to_s_client(kind, client, pki, covers, record_path):
    with served(client, lambda port: s_client(port, "-CAfile", pki.trust, "-verify_return_error",
                                              "-verify_hostname", "localhost", "-sigalgs",
                                              kind.replace("-", "") + ":ecdsa_secp256r1_sha256"),
                profile=kind) as talk:
        talk.speak()
        assert talk.reply["version"] == "TLS1.3"
        assert talk.reply["transmit"] == talk.reply["receive"] == record_path
    covers("ML-DSA certificate", "TLS1.3", "server")


def test_ml_dsa_certificate_is_served_to_gnutls_cli(client, pki, covers):
    with served(client, lambda port: gnutls_cli(port, "NORMAL", "--x509cafile", pki.trust),
                profile="ML-DSA-65") as talk:
        talk.speak()
    covers("ML-DSA certificate", "TLS1.3", "server")


@pytest.mark.parametrize("profile", ("beside", "behind"))
@pytest.mark.parametrize("algorithms,subject", (
    ("mldsa65", "ML-DSA-65"), ("ecdsa_secp256r1_sha256", "ecdsa"),
    ("mldsa44:ecdsa_secp256r1_sha256", "ecdsa")))
def test_the_client_s_signature_algorithms_choose_among_certificates(profile, algorithms, subject,
                                                                      client, covers):
    with served(client, lambda port: s_client(port, "-brief", "-sigalgs", algorithms),
                profile=profile) as talk:
        talk.speak()
        wait_until(lambda: f"Peer certificate: CN={subject}\n" in
                   talk.program.errors.decode().replace("CN = ", "CN="), 20,
                   f"the certificate of {subject}")
    covers("ML-DSA certificate beside a classical one", "TLS1.3", "server")


@pytest.mark.parametrize("profile,subject", (("beside", "ecdsa"), ("behind", "ecdsa")))
def test_tls12_gets_the_classical_certificate(profile, subject, client, pki):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile=profile)
        peer = endpoint.Endpoint(theirs, endpoint.context("client", pki.trust, version="TLS1.2"),
                                 "localhost").handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        assert dict(x[0] for x in peer.tls.getpeercert()["subject"])["commonName"] == subject
        endpoint.exchange(peer, connection_of(reply, ours))


def test_client_without_ml_dsa_is_refused_where_nothing_else_is(client, pki):
    with served(client, lambda port: s_client(port, "-sigalgs", "ecdsa_secp256r1_sha256"),
                profile="ML-DSA-65") as talk:
        assert talk.reply.outcome == "poisoned", talk.reply
        assert talk.reply["class"] == "negotiation", talk.reply


# ---- Client role ----

@each_kind
def test_ml_dsa_certificate_of_a_server_is_verified(kind, client, ml_dsa, covers, record_path):
    certificate, key = ml_dsa[kind]
    with s_server("-cert", certificate, "-cert_chain", certificate, "-key", key) as server, \
            connected(client, server, profile="client", peer_name="localhost") as talk:
        talk.speak()
        assert talk.reply["peer-authenticated"] == "yes"
        assert talk.reply["peer-sha256"] == fingerprint(certificate)
        assert talk.reply["transmit"] == talk.reply["receive"] == record_path
    covers("ML-DSA certificate", "TLS1.3", "client")


def test_chain_of_ml_dsa_alone_is_verified(client, ml_dsa):
    certificate, key = ml_dsa["chain"]
    for profile, outcome in (("client-chain", "established"), ("client", "poisoned")):
        with s_server("-cert", certificate, "-key", key) as server, \
                connected(client, server, profile=profile, peer_name="localhost") as talk:
            assert talk.reply.outcome == outcome, talk.reply


@each_kind
def test_client_shows_its_ml_dsa_certificate(kind, client, pki, ml_dsa, covers):
    with s_server("-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                  pki.key("ecdsa"), "-Verify", "3", "-verify_return_error", "-CAfile",
                  pki.trust) as server, \
            connected(client, server, profile="client-" + kind, peer_name="localhost") as talk:
        talk.speak()
    covers("ML-DSA client certificate", "TLS1.3", "client")


@each_kind
def test_server_verifies_an_ml_dsa_client_certificate(kind, client, ml_dsa, covers):
    certificate, key = ml_dsa["client-" + kind]
    with served(client, lambda port: s_client(port, "-cert", certificate, "-cert_chain",
                                              certificate, "-key", key),
                profile="require") as talk:
        talk.speak()
        assert talk.reply["peer-authenticated"] == "yes"
        assert talk.reply["peer-sha256"] == fingerprint(certificate)
        assert talk.reply["peer-identity"] == "dns:client.example.test"
    covers("ML-DSA client certificate", "TLS1.3", "server")
