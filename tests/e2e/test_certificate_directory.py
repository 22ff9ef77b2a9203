# SPDX-License-Identifier: LGPL-2.1-or-later
"""Certificates by directory: pairs of files that come, change and go while the daemon runs."""

import datetime
import os
import shutil
import socket
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

import daemon as daemon_module
import endpoint
import ocsp
import pki as pki_module
from endpoint import Endpoint, context, in_thread, tcp_pair
from expect import assert_established
from peers import VERSIONS
from scale import FULL, die_with_parent, seconds, wait_until
from test_ocsp import is_stapled, s_client, serve_once

versions = pytest.mark.parametrize("version", VERSIONS)
WATCH = {"watch": "yes"}


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "certificates"
    path.mkdir(mode=0o755)
    return path


def put(pki, directory, name, source=None, ending="pem", staple=None):
    """The key first, as whoever makes certificates does."""
    source = source or name
    for made, target in ((pki.key(source), "key"), (pki.cert(source), ending)):
        new = directory / f".{name}.{target}"
        shutil.copy(made, new)
        new.rename(directory / f"{name}.{target}")
    if staple:
        (directory / f"{name}.ocsp").write_bytes(staple)


def profile(pki, records, directory, *names, **extra):
    return [*daemon_module.profile(pki, records, *names, **extra),
            ("certificate-directory", directory)]


def meet(daemon, made, role, server_name=None, **fields):
    """One handshake with an OpenSSL peer. Returns the reply and the peer."""
    ours, theirs = tcp_pair()
    with ours, theirs, daemon.client() as client:
        number = client.start(ours, role, profile="web", **fields)
        peer = Endpoint(theirs, made, server_name)
        running = in_thread(peer.try_handshake)
        reply = client.reply(number)
        # Without an end, a peer of TLS 1.3 that is complete would wait for what follows.
        ours.shutdown(socket.SHUT_RDWR)
        reply.close()
        running.result(seconds(20))
        return reply, peer


def certificate_for(daemon, pki, server_name, version=None):
    """What a client gets who asks for that name; None: nothing."""
    made = context("client", version=version)
    made.load_verify_locations(pki.trust)
    made.verify_mode = endpoint.ssl.CERT_REQUIRED
    reply, peer = meet(daemon, made, "server", server_name)
    return peer.tls.getpeercert() if reply.outcome == "established" else None


def shown(daemon, pki, server_name, version=None):
    """Its common name."""
    found = certificate_for(daemon, pki, server_name, version)
    return found and dict(x[0] for x in found["subject"])["commonName"]


@versions
def test_pairs_serve_their_names(version, make_daemon, pki, records, directory, covers):
    put(pki, directory, "a", "second")
    put(pki, directory, "b", "third", ending="crt")
    one = make_daemon({"web": profile(pki, records, directory, unknown_server_name="refuse")})
    assert shown(one, pki, "second.test", version) == "second"
    assert shown(one, pki, "third.test", version) == "third"
    assert shown(one, pki, "localhost", version) is None
    assert one.status()["certificates"] == 2
    assert one.status()["certificates-next-expiry"]
    covers("Certificates by directory", version, "server")


def test_beside_named_ones(make_daemon, pki, records, directory):
    put(pki, directory, "a", "second")
    one = make_daemon({"web": profile(pki, records, directory, "ecdsa")})
    assert shown(one, pki, "second.test") == "second"
    assert shown(one, pki, "localhost") == "ecdsa"


@versions
def test_client_shows_one_of_them(version, make_daemon, pki, records, directory):
    put(pki, directory, "me", "client-ecdsa")
    one = make_daemon({"web": profile(pki, records, directory, role="client")})
    reply, _ = meet(one, context("server", pki.trust, pki.cert("ecdsa"), pki.key("ecdsa"),
                                 version=version, require_certificate=True),
                    "client", peer_name="localhost")
    assert_established(reply, version)
    assert reply["client-certificate"] == "sent"


def test_they_come_change_and_go(make_daemon, pki, records, directory, covers):
    put(pki, directory, "a", "second")
    one = make_daemon({"web": profile(pki, records, directory, unknown_server_name="refuse")},
                      WATCH)
    assert shown(one, pki, "third.test") is None
    put(pki, directory, "b", "third")
    wait_until(lambda: shown(one, pki, "third.test") == "third", 20, "the new certificate")
    put(pki, directory, "a", "ecdsa")
    wait_until(lambda: shown(one, pki, "localhost") == "ecdsa", 20, "the changed certificate")
    assert shown(one, pki, "second.test") is None
    (directory / "b.pem").unlink()
    (directory / "b.key").unlink()
    wait_until(lambda: shown(one, pki, "third.test") is None, 20, "the certificate's end")
    assert one.status()["certificates"] == 1
    for version in VERSIONS:
        covers("Certificates by directory: reloaded when they change", version, "server")


def test_staples_beside_them(make_daemon, pki, records, directory):
    good = ocsp.response(pki, pki.certificates["ecdsa"])
    put(pki, directory, "a", "ecdsa")
    one = make_daemon({"web": profile(pki, records, directory)}, WATCH)
    assert not is_stapled(serve_once(one, "web", s_client(pki, "TLS1.3"))[1])
    (directory / "a.ocsp").write_bytes(good)
    for version in VERSIONS:
        wait_until(lambda v=version: is_stapled(serve_once(one, "web", s_client(pki, v))[1]), 20,
                   "the staple")
    assert one.status()["staples"] == 1


def test_a_bad_pair_keeps_all_as_it_was(make_daemon, pki, records, directory):
    put(pki, directory, "a", "second")
    one = make_daemon({"web": profile(pki, records, directory, unknown_server_name="refuse")},
                      WATCH)
    shutil.copy(pki.cert("third"), directory / "b.pem")
    wait_until(lambda: one.status()["reloads-refused"] >= 1, 20, "the refusal")
    assert '"b.pem" has no private key' in one.log()
    assert shown(one, pki, "second.test") == "second"
    shutil.copy(pki.key("third"), directory / "b.key")
    wait_until(lambda: shown(one, pki, "third.test") == "third", 20, "the new certificate")


def check(daemon):
    return subprocess.run([daemon.program, "--check", "--config", daemon.config],
                          capture_output=True, text=True, timeout=seconds(60),
                          preexec_fn=die_with_parent, check=False)


def make_bad(what, pki, directory):
    put(pki, directory, "good", "second")
    if what == "no key":
        shutil.copy(pki.cert("ecdsa"), directory / "web.pem")
        return '"web.pem" has no private key; put it beside it as "web.key"'
    if what == "key of another":
        put(pki, directory, "web", "ecdsa")
        shutil.copy(pki.key("rsa"), directory / "web.key")
        return f"{directory}/web.key"
    if what == "two":
        put(pki, directory, "web", "ecdsa")
        shutil.copy(pki.cert("ecdsa"), directory / "web.crt")
        return 'both "web.pem" and "web.crt"'
    if what == "open key":
        put(pki, directory, "web", "ecdsa")
        (directory / "web.key").chmod(0o644)
        return "web.key\": everybody on this machine may use the file"
    if what == "garbage":
        put(pki, directory, "web", "ecdsa")
        (directory / "web.pem").write_text("no certificate")
        return "web.pem\" has no certificate in it"
    if what == "staple of another":
        put(pki, directory, "web", "ecdsa",
            staple=ocsp.response(pki, pki.certificates["rsa"]))
        return "web.ocsp\": the response is for another certificate"
    if what == "open directory":
        directory.chmod(0o777)
        return "everybody on this machine may write to it"
    if what == "empty":
        for path in directory.iterdir():
            path.unlink()
        return "has no certificate"
    assert what == "gone"
    shutil.rmtree(directory)
    return "cannot be opened: No such file"


@pytest.mark.many
@pytest.mark.parametrize("what", ("no key", "key of another", "two", "open key", "garbage",
                                  "staple of another", "open directory", "empty", "gone"))
def test_bad_directory_is_refused(what, make_daemon, pki, records, directory):
    words = make_bad(what, pki, directory)
    one = make_daemon({"web": profile(pki, records, directory, role="server")}, start=False)
    done = check(one)
    assert done.returncode == 1, done.stdout
    assert words in done.stdout, done.stdout
    one.spawn()
    assert one.wait() != 0
    assert words in one.log(), one.log()


def test_check_tells_what_there_is(make_daemon, pki, records, directory):
    put(pki, directory, "a", "second", staple=ocsp.response(pki, pki.certificates["second"]))
    put(pki, directory, "b", "ecdsa", staple=ocsp.response(pki, pki.certificates["ecdsa"],
                                                           begins=-48, ends=-1))
    shutil.copy(pki.key("rsa"), directory / "c.key")
    (directory / "README").write_text("something else")
    one = make_daemon({"web": profile(pki, records, directory)}, start=False)
    done = check(one)
    assert done.returncode == 0, done.stdout
    assert f"certificate-directory {directory}: 2 certificates with their keys" in done.stdout
    assert f"staple {directory}/b.ocsp: expired on" in done.stdout
    assert f"{directory}/c.key: there is no certificate with this name" in done.stdout
    assert "README" not in done.stdout


def make_many(pki, directory, count):
    """That many pairs, each with a name of its own, all with one key."""
    text = pki.key("ecdsa").read_bytes()
    key = serialization.load_pem_private_key(text, None)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "many")]))
               .issuer_name(pki.intermediate.certificate.subject).public_key(key.public_key())
               .not_valid_before(now - pki_module.DAY).not_valid_after(now + 90 * pki_module.DAY))
    chain = pki_module.pem(pki.intermediate.certificate)
    for n in range(count):
        certificate = (builder.serial_number(x509.random_serial_number())
                       .add_extension(x509.SubjectAlternativeName(
                           [x509.DNSName(f"host{n}.many.test")]), critical=False)
                       .sign(pki.intermediate.key, hashes.SHA256()))
        (directory / f"host{n}.pem").write_bytes(pki_module.pem(certificate) + chain)
        path = directory / f"host{n}.key"
        path.write_bytes(text)
        path.chmod(0o600)


def served_name(daemon, pki, name):
    return {value for _, value in certificate_for(daemon, pki, name)["subjectAltName"]}


@pytest.mark.many
def test_thousands(make_daemon, pki, records, directory):
    """10,000 of them on a machine, fewer where one is emulated: they load in seconds, each is served by
    its name, and one that changes is noticed."""
    count = int(os.environ.get("HANDSHAKE_TEST_CERTIFICATES", 10000 if FULL else 300))
    make_many(pki, directory, count)
    begun = time.monotonic()
    one = make_daemon({"web": profile(pki, records, directory, role="server")}, WATCH, start=False)
    one.spawn()
    wait_until(one._ready, 60, "readiness")
    took = time.monotonic() - begun
    assert took < seconds(30), took
    assert one.status()["certificates"] == count
    for n in (0, count // 2, count - 1):
        assert served_name(one, pki, f"host{n}.many.test") == {f"host{n}.many.test"}
    put(pki, directory, "late", "second")
    begun = time.monotonic()
    wait_until(lambda: one.status()["certificates"] == count + 1, 60, "the reload")
    print(f"{count} certificates: {took:.1f} s to start, {time.monotonic() - begun:.1f} s to reload")
    # Workers of before may still take one or the other.
    wait_until(lambda: served_name(one, pki, "second.test") == {"second.test"}, 20, "the new one")
