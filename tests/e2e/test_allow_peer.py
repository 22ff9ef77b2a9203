# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which peers are wanted among those whose certificates are good, and what both sides are told of a
client's certificate."""

import contextlib
import os
import subprocess

import pytest

import daemon as daemon_module
import endpoint
import peers
from endpoint import Endpoint, context, in_thread, tcp_pair
from expect import assert_established, assert_failure
from peers import VERSIONS
from pki import CLIENT, SERVER
from scale import die_with_parent, seconds
from test_ocsp import connect, run, serve_once

versions = pytest.mark.parametrize("version", VERSIONS)
roles = pytest.mark.parametrize("role", ("client", "server"))
ACCESS_DENIED = 49
NAMES = ("localhost", "127.0.0.1", "peer.example.test", "uri:spiffe://example.test/ns/a/web",
         "email:who@example.test")
ISSUER = "CN=Test Intermediate"

# What fits the certificate, and beside it something that does not.
ENTRIES = {
    "dns": ("dns:peer.example.test", "dns:other.example.test"),
    "dns-any-case": ("dns:PEER.example.TEST", "dns:example.test"),
    "dns-star": ("dns:*.example.test", "dns:*.test"),
    "ip": ("ip:127.0.0.1", "ip:127.0.0.2"),
    "email": ("email:who@EXAMPLE.test", "email:Who@example.test"),
    "uri": ("uri:spiffe://example.test/ns/a/web", "uri:spiffe://example.test/ns/a"),
    "uri-star": ("uri:spiffe://example.test/ns/a/*", "uri:spiffe://example.test/ns/b/*"),
    "issuer": (f"issuer:{ISSUER}", "issuer:CN=Test Root"),
    "sha256": (None, "sha256:" + "00" * 32),
}


@pytest.fixture(scope="module")
def certificates(pki):
    for name, purpose in (("allow-server", SERVER), ("allow-client", CLIENT)):
        if name not in pki.certificates:
            pki.issue(name, names=NAMES, purpose=purpose)
    return {"client": "allow-server", "server": "allow-client"}


@pytest.fixture(scope="module")
def one(build, pki, records, sanitizer_directory, certificates):
    made = {"default": daemon_module.profile(pki, records, "ecdsa")}
    for role, peer in certificates.items():
        extra = {"client_certificates": "require"} if role == "server" else {}
        for what, (fits, not_) in ENTRIES.items():
            fits = fits or "sha256:" + pki.sha256(peer)
            for word, entries in (("fits", ["dns:nobody.test", fits]), ("not", [not_])):
                made[f"{role}-{what}-{word}"] = daemon_module.profile(
                    pki, records, "ecdsa", role=role, allow_peer=entries, **extra)
    made["request"] = daemon_module.profile(pki, records, "ecdsa", role="server",
                                            client_certificates="request",
                                            allow_peer="dns:peer.example.test")
    made["request-not"] = daemon_module.profile(pki, records, "ecdsa", role="server",
                                                client_certificates="request",
                                                allow_peer="dns:nobody.test")
    made["with-certificate"] = daemon_module.profile(pki, records, "client-ecdsa", role="client")
    made["without-certificate"] = daemon_module.profile(pki, records, role="client")
    daemon = daemon_module.Daemon(build, sanitizer_directory, made)
    daemon.start()
    yield daemon
    daemon.stop()
    daemon.remove()


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


def peer_context(pki, role, certificate, version):
    side = "server" if role == "client" else "client"
    return context(side, pki.trust if side == "client" else None, pki.cert(certificate),
                   pki.key(certificate), version=version)


def attempt(daemon, role, profile, made):
    """Returns the reply and the peer, whose handshake may have failed."""
    ours, theirs = tcp_pair()
    with ours, theirs, daemon.client() as client:
        fields = {"peer_name": "localhost"} if role == "client" else {}
        number = client.start(ours, role, profile=profile, **fields)
        peer = Endpoint(theirs, made, "localhost")
        running = in_thread(peer.try_handshake)
        reply = client.reply(number)
        if reply.outcome == "established":
            endpoint_end(ours, reply)
        running.result(seconds(20))
        reply.close()
        return reply, peer


def endpoint_end(ours, reply):
    """Without an end the peer of a TLS 1.3 server would wait for what follows."""
    ours.shutdown(2)
    reply.close()


@versions
@roles
@pytest.mark.parametrize("what", ENTRIES)
def test_who_fits_is_let_in(what, role, version, one, pki, certificates, covers):
    made = peer_context(pki, role, certificates[role], version)
    reply, _ = attempt(one, role, f"{role}-{what}-fits", made)
    assert_established(reply, version)
    assert reply["peer-authenticated"] == "yes"
    covers("Peers allowed by name, issuer or SHA-256", version, role)


@versions
@roles
@pytest.mark.parametrize("what", ENTRIES)
def test_who_does_not_fit_is_denied(what, role, version, one, pki, certificates):
    made = peer_context(pki, role, certificates[role], version)
    reply, peer = attempt(one, role, f"{role}-{what}-not", made)
    assert_failure(reply, "verification", "poisoned", {ACCESS_DENIED}, "sent", retry="no")
    assert peer.received_alert == ACCESS_DENIED, peer.alerts
    assert "allow-peer" in reply["verification"]
    # It says what the peer has, so that somebody can see what is wrong.
    assert "dns:peer.example.test" in reply["verification"], reply["verification"]


@versions
@roles
def test_a_bad_certificate_is_refused_before(role, version, one, pki):
    """The list never makes good what is not."""
    name = "untrusted" if role == "client" else "client-untrusted"
    made = peer_context(pki, role, name, version)
    reply, _ = attempt(one, role, f"{role}-dns-fits", made)
    assert_failure(reply, "verification", "poisoned", {endpoint.UNKNOWN_CA}, "sent")


@versions
def test_the_server_must_have_the_name_that_was_asked_for_too(version, one, pki, certificates):
    ours, theirs = tcp_pair()
    made = peer_context(pki, "client", certificates["client"], version)
    with ours, theirs, one.client() as client:
        number = client.start(ours, "client", profile="client-dns-fits", peer_name="elsewhere.test")
        peer = Endpoint(theirs, made)
        peer.try_handshake()
        assert_failure(client.reply(number), "verification", "poisoned",
                       {endpoint.BAD_CERTIFICATE}, "sent")


@versions
@pytest.mark.parametrize("client", ("openssl", "gnutls"))
def test_other_clients_are_denied(client, version, one, pki, certificates, cleanup):
    # As long as its standard input is open s_client waits for what the server says.
    stdin, holder = os.pipe()
    cleanup.callback(os.close, stdin)
    cleanup.callback(os.close, holder)

    def start(port, certificate="allow-client"):
        if client == "openssl":
            return run(peers.needs("openssl"), "s_client", "-connect", f"127.0.0.1:{port}",
                       "-CAfile", pki.trust, "-cert", pki.cert(certificate), "-cert_chain",
                       pki.cert(certificate), "-key", pki.key(certificate), "-state",
                       "-tls1_3" if version == "TLS1.3" else "-tls1_2", stdin=stdin)
        return run(peers.needs("gnutls-cli"), "--x509cafile", pki.trust, "--port", port,
                   "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}", "--x509certfile",
                   pki.cert(certificate), "--x509keyfile", pki.key(certificate), "localhost")

    reply, _ = serve_once(one, "server-dns-fits", start)
    assert_established(reply, version)
    reply, done = serve_once(one, "server-dns-not", start)
    assert_failure(reply, "verification", "poisoned", {ACCESS_DENIED}, "sent")
    said = (done.stdout + done.stderr).lower()
    assert "access denied" in said or "access was denied" in said, said


@versions
def test_request_without_certificate_goes_on(version, one, pki, certificates):
    made = context("client", pki.trust, version=version)
    reply, _ = attempt(one, "server", "request-not", made)
    assert_established(reply, version)
    assert reply["peer-authenticated"] == "no"
    assert reply.get("peer-subject") is None
    made = peer_context(pki, "server", certificates["server"], version)
    reply, _ = attempt(one, "server", "request", made)
    assert reply["peer-authenticated"] == "yes"
    reply, _ = attempt(one, "server", "request-not", made)
    assert_failure(reply, "verification", "poisoned", {ACCESS_DENIED}, "sent")


# ---- What is told of the client's certificate ----

def asking_server(pki, version, asks):
    made = context("server", pki.trust, pki.cert("ecdsa"), pki.key("ecdsa"), version=version)
    if asks:
        made.verify_mode = endpoint.ssl.CERT_OPTIONAL
    else:
        made.verify_mode = endpoint.ssl.CERT_NONE
    return made


@versions
@pytest.mark.parametrize("asks,profile,told", (
    (True, "with-certificate", "sent"), (True, "without-certificate", "none"),
    (False, "with-certificate", "not-asked"), (False, "without-certificate", "not-asked")))
def test_client_is_told_what_became_of_its_certificate(asks, profile, told, version, one, pki,
                                                       covers):
    reply, peer = attempt(one, "client", profile, asking_server(pki, version, asks))
    assert_established(reply, version)
    assert reply["client-certificate"] == told
    assert bool(peer.tls.getpeercert()) == (told == "sent")
    covers("Client certificates: none, request, require", version, "client")


@versions
@pytest.mark.parametrize("asks,profile,told", (
    (True, "with-certificate", "sent"), (True, "without-certificate", "none"),
    (False, "with-certificate", "not-asked")))
def test_client_is_told_with_gnutls_serv(asks, profile, told, version, one, pki):
    port = peers.free_port()
    more = ["--x509cafile", pki.trust] if asks else [
        "--disable-client-cert"]
    with peers.Program(peers.needs("gnutls-serv"), "--quiet", "--port", port, "--priority",
                       f"NORMAL:-VERS-ALL:+VERS-{version}", "--x509certfile", pki.cert("ecdsa"),
                       "--x509keyfile", pki.key("ecdsa"), *more, port=port):
        reply = connect(one, port, profile)
    assert_established(reply, version)
    assert reply["client-certificate"] == told


@versions
def test_server_is_not_told_of_a_client_certificate_key(version, one, pki, covers):
    """The server's reply has peer-authenticated and peer-subject instead."""
    reply, _ = attempt(one, "server", "default", context("client", pki.trust, version=version))
    assert_established(reply, version)
    assert reply.get("client-certificate") is None
    assert reply["peer-authenticated"] == "no"
    covers("Client certificates: none, request, require", version, "server")


# ---- Bad configurations ----

WRONG = {
    "unknown kind": (dict(allow_peer="cn:somebody"), "write dns:NAME"),
    "star in the middle": (dict(allow_peer="dns:www.*.test"), "first label"),
    "short fingerprint": (dict(allow_peer="sha256:12ab"), "64 hexadecimal digits"),
    "star in the host": (dict(allow_peer="uri:spiffe://exam*"), "behind a slash of the path"),
    "no address": (dict(allow_peer="ip:300.1.1.1"), "no address"),
    "issuer that is no name": (dict(allow_peer="issuer:Test CA"), "no name of an issuer"),
    "nobody is asked": (dict(allow_peer="dns:a.test", role="server"), "client-certificates"),
    "nobody is verified": (dict(allow_peer="dns:a.test", role="client", trust=None,
                                insecure_no_verification="yes"), "contradiction"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_entry_is_told(what, make_daemon, pki, records):
    extra, words = WRONG[what]
    daemon = make_daemon({"web": daemon_module.profile(pki, records, "ecdsa", **extra)}, start=False)
    done = subprocess.run([daemon.program, "--check", "--config", daemon.config],
                          capture_output=True, text=True, timeout=seconds(60),
                          preexec_fn=die_with_parent, check=False)
    assert done.returncode == 1
    assert words in done.stdout, done.stdout
    assert "handshaked.conf:" in done.stdout
