# SPDX-License-Identifier: LGPL-2.1-or-later
"""OCSP: responses stapled to our certificates, and judged when they come with a peer's."""

import datetime
import os
import signal
import socket
import subprocess
import time

import pytest

import daemon as daemon_module
import endpoint
import ocsp
import peers
from endpoint import in_thread
from expect import assert_established, assert_failure
from peers import VERSIONS
from pki import SERVER, pem
from scale import SLOW, die_with_parent, seconds, wait_until

versions = pytest.mark.parametrize("version", VERSIONS)
BAD_STATUS = 113  # bad_certificate_status_response
KEYS = ("ecdsa", "rsa")


@pytest.fixture(scope="module")
def staples(pki, tmp_path_factory):
    """A directory for responses: staples(NAME, der) -> path."""
    directory = tmp_path_factory.mktemp("staples")

    def write(name, data):
        path = directory / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


# ---- Server role ----

def with_staple(pki, records, name, staple, **extra):
    return [*daemon_module.certificates(pki, name), ("staple", staple),
            *daemon_module.profile(pki, records, **extra)]


def serve_once(daemon, profile, run):
    """One handshake as server; run(port) is the client. Returns the reply and what run returned."""
    with socket.create_server(("127.0.0.1", 0)) as listening, daemon.client() as client:
        listening.settimeout(seconds(20))
        running = in_thread(run, listening.getsockname()[1])
        ours, _ = listening.accept()
        with ours:
            ours.setblocking(True)
            reply = client.handshake(ours, "server", profile=profile)
        reply.close()
        return reply, running.result(seconds(60))


def run(*arguments, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True,
                          timeout=seconds(60), preexec_fn=die_with_parent, **options)


def s_client(pki, version):
    def client(port):
        return run(peers.needs("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername",
                   "localhost", "-CAfile", pki.trust, "-status",
                   "-tls1_3" if version == "TLS1.3" else "-tls1_2").stdout
    return client


def gnutls_cli(pki, version, saved):
    def client(port):
        return run(peers.needs("gnutls-cli"), "--x509cafile", pki.trust, "--port", port,
                   "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}", "--save-ocsp", saved,
                   "localhost").stdout
    return client


def is_stapled(said):
    # OpenSSL 3.6 has other words than 3.0: "no responses sent", "no OCSP response received".
    assert ("OCSP Response Status: successful" in said) != (": no " in said), said
    return "OCSP Response Status: successful" in said


@pytest.fixture(scope="module")
def servers(build, pki, records, sanitizer_directory, staples):
    der = {key: ocsp.response(pki, pki.certificates[key]) for key in KEYS}
    delegated = ocsp.response(pki, pki.certificates["ecdsa"],
                              responder=ocsp.responder(pki.intermediate))
    made = {key: with_staple(pki, records, key, staples(f"{key}.der", der[key])) for key in KEYS}
    made |= {
        "pem": with_staple(pki, records, "ecdsa", staples("pem", ocsp.pem(der["ecdsa"]))),
        "delegated": with_staple(pki, records, "ecdsa", staples("delegated", delegated)),
        "expired": with_staple(pki, records, "ecdsa", staples("expired", ocsp.response(
            pki, pki.certificates["ecdsa"], begins=-48, ends=-1))),
        "future": with_staple(pki, records, "ecdsa", staples("future", ocsp.response(
            pki, pki.certificates["ecdsa"], begins=2, ends=48))),
        "revoked": with_staple(pki, records, "ecdsa", staples("revoked", ocsp.response(
            pki, pki.certificates["ecdsa"], "revoked"))),
        "default": daemon_module.profile(pki, records, "ecdsa"),
    }
    one = daemon_module.Daemon(build, sanitizer_directory, made)
    one.start()
    one.der = der
    one.delegated = delegated
    yield one
    one.stop()
    one.remove()


@versions
@pytest.mark.parametrize("profile", ("ecdsa", "rsa", "pem", "delegated"))
def test_openssl_gets_the_staple(profile, version, servers, pki, covers):
    reply, said = serve_once(servers, profile, s_client(pki, version))
    assert_established(reply, version)
    assert is_stapled(said)
    assert "Cert Status: good" in said
    covers("OCSP stapling", version, "server")


@versions
@pytest.mark.parametrize("profile", ("ecdsa", "delegated"))
def test_gnutls_gets_the_staple(profile, version, servers, pki, tmp_path, covers):
    saved = tmp_path / "saved"
    reply, said = serve_once(servers, profile, gnutls_cli(pki, version, saved))
    assert_established(reply, version)
    assert "OCSP status request," in said, said
    expected = servers.der["ecdsa"] if profile == "ecdsa" else servers.delegated
    assert saved.read_bytes() == expected
    covers("OCSP stapling", version, "server")


@versions
@pytest.mark.parametrize("profile", ("expired", "future", "default"))
def test_nothing_is_stapled(profile, version, servers, pki):
    reply, said = serve_once(servers, profile, s_client(pki, version))
    assert_established(reply, version)
    assert not is_stapled(said)


@versions
def test_revoked_is_not_hidden(version, servers, pki):
    _, said = serve_once(servers, "revoked", s_client(pki, version))
    assert "Cert Status: revoked" in said, said
    assert "says that its certificate has been revoked" in servers.log()


def test_client_that_does_not_ask_gets_none(servers, pki):
    def client(port):
        return run(peers.needs("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile",
                   pki.trust, "-msg", "-tls1_2").stdout

    reply, said = serve_once(servers, "ecdsa", client)
    assert_established(reply, "TLS1.2")
    assert "CertificateStatus" not in said


@versions
def test_expired_while_running(version, make_daemon, pki, records, staples, handshake):
    """Workers that were there before it expired do not send it any more."""
    ends = 4 + SLOW
    path = staples(f"soon-{version}", ocsp.response(pki, pki.certificates["ecdsa"],
                                                    ends=ends / 3600))
    until = time.time() + ends
    one = make_daemon({"web": with_staple(pki, records, "ecdsa", path)})
    _, said = serve_once(one, "web", s_client(pki, version))
    assert is_stapled(said)
    status = one.status()
    assert (status["staples"], status["staples-not-sent"]) == (1, 0)
    told = datetime.datetime.strptime(status["staples-next-expiry"], "%Y-%m-%d %H:%M:%S UTC")
    assert abs((told - datetime.datetime(1970, 1, 1)).total_seconds() - until) <= 2
    generation = status["generation"]
    time.sleep(max(0, until - time.time()) + 1)
    reply, said = serve_once(one, "web", s_client(pki, version))
    assert_established(reply, version)
    assert not is_stapled(said)
    status = one.status()
    assert (status["staples"], status["staples-not-sent"]) == (1, 1)
    assert "staples-next-expiry" not in status
    assert status["generation"] == generation
    assert handshake("status", "--socket", one.socket).stdout.count(b"staples-not-sent") == 1


def test_expired_is_logged_once(make_daemon, pki, records, staples):
    path = staples("late", ocsp.response(pki, pki.certificates["ecdsa"], ends=3 / 3600))
    one = make_daemon({"web": with_staple(pki, records, "ecdsa", path)})

    def said():
        # Whatever wakes the supervisor makes it look at the clock.
        one.signal(signal.SIGCHLD)
        return "is not sent" in one.log()
    wait_until(said, 70, "the warning")
    one.signal(signal.SIGCHLD)
    time.sleep(0.2)
    assert one.log().count("is not sent") == 1
    assert str(path) in one.log()


def test_a_new_staple_is_served_after_a_reload(make_daemon, pki, records, staples):
    path = staples("renewed", ocsp.response(pki, pki.certificates["ecdsa"], begins=-48, ends=-1))
    one = make_daemon({"web": with_staple(pki, records, "ecdsa", path)})
    _, said = serve_once(one, "web", s_client(pki, "TLS1.3"))
    assert not is_stapled(said)
    staples("renewed", ocsp.response(pki, pki.certificates["ecdsa"]))
    assert one.reload()
    wait_until(lambda: is_stapled(serve_once(one, "web", s_client(pki, "TLS1.3"))[1]),
               what="the new staple")


def bad_staples(pki):
    certificate = pki.certificates["ecdsa"]
    good = ocsp.response(pki, certificate)
    return {
        "absent": (None, "cannot be opened: No such file"),
        "empty": (b"", "is empty"),
        "garbage": (b"this is no response", "cannot be read"),
        "cut off": (good[:-20], "cannot be read"),
        "cut-off PEM": (ocsp.pem(good)[:200], "cut off or damaged"),
        "certificate": (pki.cert("ecdsa").read_bytes(), 'not an "OCSP RESPONSE"'),
        "two blocks": (ocsp.pem(good) * 2, "more than one block"),
        "of another certificate": (ocsp.response(pki, pki.certificates["rsa"]),
                                   "is for another certificate"),
        "of a stranger": (ocsp.response(pki, certificate, responder=(
            pki.other.certificate, pki.other.key)), "signed neither by"),
        "of a stranger's responder": (ocsp.response(
            pki, certificate, responder=ocsp.responder(pki.other)), "signed neither by"),
        "of an unauthorised certificate": (ocsp.response(
            pki, certificate, responder=ocsp.responder(pki.intermediate, purpose=SERVER)),
            "not made for that"),
        "of an expired responder": (ocsp.response(
            pki, certificate, responder=ocsp.responder(pki.intermediate, begins=-9, ends=-1)),
            "responder whose certificate has expired"),
        "altered": (altered(good), "signed neither by"),
        "error": (ocsp.error_response(), 'the responder\'s error "tryLater"'),
        "unknown": (ocsp.response(pki, certificate, "unknown"), "does not know the certificate"),
        "without end": (ocsp.response(pki, certificate, next_update=False),
                        "does not say until when it holds"),
        "too large": (b"\x30" * 200000, "200000 bytes"),
    }


def altered(der):
    """One bit of the signature."""
    return der[:-1] + bytes([der[-1] ^ 1])


@pytest.mark.many
@pytest.mark.parametrize("what", ("absent", "empty", "garbage", "cut off", "cut-off PEM", "certificate",
                                  "two blocks", "of another certificate", "of a stranger",
                                  "of a stranger's responder", "of an unauthorised certificate",
                                  "of an expired responder", "altered", "error", "unknown",
                                  "without end", "too large"))
def test_bad_staple_is_refused(what, make_daemon, pki, records, staples, tmp_path):
    data, words = bad_staples(pki)[what]
    path = tmp_path / "staple"
    if data is not None:
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    one = make_daemon({"web": with_staple(pki, records, "ecdsa", path)}, start=False)
    one.spawn()
    assert one.wait() != 0
    assert words in one.log(), one.log()
    assert str(path) in one.log(), one.log()


def test_reload_with_a_bad_staple_keeps_the_old(make_daemon, pki, records, staples):
    path = staples("kept", ocsp.response(pki, pki.certificates["ecdsa"]))
    one = make_daemon({"web": with_staple(pki, records, "ecdsa", path)})
    path.write_bytes(b"nonsense")
    assert not one.reload()
    assert "all stays as it was" in one.log()
    assert is_stapled(serve_once(one, "web", s_client(pki, "TLS1.3"))[1])


def test_issuer_that_is_not_there_is_asked_for(make_daemon, pki, records, staples, tmp_path):
    """The chain's file has the certificate alone, and the trust does not have its issuer either."""
    alone = tmp_path / "alone.pem"
    text = pki.cert("ecdsa").read_text()
    end = "-----END CERTIFICATE-----\n"
    alone.write_text(text[:text.index(end) + len(end)])
    one = make_daemon({"web": [
        ("certificate", alone), ("private-key", pki.key("ecdsa")),
        ("staple", staples("alone", ocsp.response(pki, pki.certificates["ecdsa"]))),
        *daemon_module.profile(pki, records)]}, start=False)
    one.spawn()
    assert one.wait() != 0
    assert "put the issuer behind it" in one.log(), one.log()


# ---- Client role ----

MODES = ("none", "staple", "require")


@pytest.fixture(scope="module")
def clients(build, pki, records, sanitizer_directory):
    made = {mode: daemon_module.profile(pki, records, role="client", revocation=mode)
            for mode in MODES}
    made["absent"] = daemon_module.profile(pki, records, role="client")
    made["crl"] = daemon_module.profile(pki, records, role="client", revocation="crl",
                                        revocation_list=pki.revocation_list)
    made["both"] = daemon_module.profile(pki, records, role="client", revocation="require",
                                         revocation_list=pki.revocation_list)
    one = daemon_module.Daemon(build, sanitizer_directory, made)
    one.start()
    if "must-staple" not in pki.certificates:
        pki.issue("must-staple", extensions=[ocsp.MUST_STAPLE])
    yield one
    one.stop()
    one.remove()


def connect(daemon, port, profile):
    with daemon.client() as client, socket.create_connection(("127.0.0.1", port)) as ours:
        reply = client.handshake(ours, "client", profile=profile, peer_name="localhost")
        reply.close()
        return reply


def openssl_server(pki, version, staple=None, certificate="ecdsa"):
    port = peers.free_port()
    more = ["-status_file", staple] if staple else []
    # OpenSSL 3.6 takes for the issuer of a certificate what stands behind it: the issuers alone.
    issuers = pki.directory / "issuers.pem"
    issuers.write_bytes(pem(*pki.intermediate.chain()))
    return peers.Program(peers.needs("openssl"), "s_server", "-quiet", "-accept",
                         f"127.0.0.1:{port}", "-cert", pki.cert(certificate), "-cert_chain",
                         issuers, "-key", pki.key(certificate), *more,
                         "-tls1_3" if version == "TLS1.3" else "-tls1_2", port=port)


def gnutls_server(pki, version, staple=None, certificate="ecdsa"):
    more = ["--ocsp-response", staple, "--ignore-ocsp-response-errors"] if staple else []
    port = peers.free_port()
    return peers.Program(peers.needs("gnutls-serv"), "--quiet", "--disable-client-cert", "--port",
                         port, "--priority", f"NORMAL:-VERS-ALL:+VERS-{version}",
                         "--x509certfile", pki.cert(certificate), "--x509keyfile",
                         pki.key(certificate), *more, port=port)


def nginx_server(pki, version, staple, directory):
    port = peers.free_port()
    user = "user root;\n" if os.geteuid() == 0 else ""
    temporary = "".join(f"{name}_temp_path {directory}/{name};\n" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(
        f"{user}worker_processes 1;\ndaemon off;\npid {directory}/pid;\n"
        f"error_log {directory}/error.log;\nevents {{ worker_connections 64; }}\n"
        f"http {{\naccess_log off;\n{temporary}"
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {version.replace('TLS', 'TLSv')};\n"
        f"ssl_certificate {pki.cert('ecdsa')}; ssl_certificate_key {pki.key('ecdsa')};\n"
        f"ssl_stapling on; ssl_stapling_file {staple}; }}\n}}\n")
    return peers.Program(peers.needs("nginx"), "-p", directory, "-c", directory / "nginx.conf",
                         port=port)


@versions
@pytest.mark.parametrize("server", ("openssl", "gnutls", "nginx"))
def test_good_staple_is_accepted(server, version, clients, pki, staples, tmp_path, covers):
    path = staples("client-good", ocsp.response(pki, pki.certificates["ecdsa"]))
    with {"openssl": lambda: openssl_server(pki, version, path),
          "gnutls": lambda: gnutls_server(pki, version, path),
          "nginx": lambda: nginx_server(pki, version, path, tmp_path)}[server]() as program:
        for mode in (*MODES, "absent", "crl", "both"):
            assert_established(connect(clients, program.port, mode), version)
    covers("OCSP checked as client", version, "client")


@versions
@pytest.mark.parametrize("server", ("openssl", "gnutls"))
def test_delegated_responder_is_accepted(server, version, clients, pki, staples):
    path = staples("client-delegated", ocsp.response(pki, pki.certificates["ecdsa"],
                                                     responder=ocsp.responder(pki.intermediate)))
    start = openssl_server if server == "openssl" else gnutls_server
    with start(pki, version, path) as program:
        assert_established(connect(clients, program.port, "require"), version)


def status_refused(reply, words, alert=BAD_STATUS):
    assert_failure(reply, "verification", "poisoned", {alert}, "sent")
    assert words in reply["verification"], reply


@versions
@pytest.mark.parametrize("server", ("openssl", "gnutls"))
def test_absent_staple(server, version, clients, pki, covers):
    start = openssl_server if server == "openssl" else gnutls_server
    with start(pki, version) as program:
        for mode in ("none", "staple", "absent", "crl"):
            assert_established(connect(clients, program.port, mode), version)
        for mode in ("require", "both"):
            status_refused(connect(clients, program.port, mode), "one is required")
    with start(pki, version, certificate="must-staple") as program:
        assert_established(connect(clients, program.port, "none"), version)
        for mode in ("staple", "absent"):
            status_refused(connect(clients, program.port, mode), "must-staple")
        status_refused(connect(clients, program.port, "require"), "one is required")
    covers("OCSP required as client", version, "client")


@versions
def test_must_staple_with_its_staple(version, clients, pki, staples):
    path = staples("must", ocsp.response(pki, pki.certificates["must-staple"]))
    with openssl_server(pki, version, path, "must-staple") as program:
        for mode in MODES:
            assert_established(connect(clients, program.port, mode), version)


@versions
def test_revoked_is_refused(version, clients, pki, staples, covers):
    path = staples("client-revoked", ocsp.response(pki, pki.certificates["ecdsa"], "revoked"))
    with openssl_server(pki, version, path) as program:
        for mode in ("staple", "require", "absent", "both"):
            status_refused(connect(clients, program.port, mode), "has been revoked",
                           endpoint.CERTIFICATE_REVOKED)
        assert_established(connect(clients, program.port, "none"), version)
    covers("OCSP: revoked server refused", version, "client")


def bad_responses(pki):
    certificate = pki.certificates["ecdsa"]
    made = {what: bad_staples(pki)[what] for what in (
        "garbage", "of another certificate", "of a stranger", "of a stranger's responder",
        "of an unauthorised certificate", "of an expired responder", "altered", "error", "unknown",
        "without end")}
    made["expired"] = (ocsp.response(pki, certificate, begins=-48, ends=-1), "has expired, on")
    made["future"] = (ocsp.response(pki, certificate, begins=2, ends=48), "not yet valid")
    return made


@pytest.mark.many
@versions
@pytest.mark.parametrize("what", ("garbage", "of another certificate", "of a stranger",
                                  "of a stranger's responder", "of an unauthorised certificate",
                                  "of an expired responder", "altered", "error", "unknown",
                                  "without end", "expired", "future"))
def test_bad_response_is_refused(what, version, clients, pki, staples):
    data, words = bad_responses(pki)[what]
    path = staples("bad-response", data)
    # s_server looks at the form, from 3.6 on at the certificate; gnutls-serv sends whatever there is.
    start = (gnutls_server if what in ("garbage", "error", "of another certificate") else
             openssl_server)
    with start(pki, version, path) as program:
        for mode in ("staple", "require"):
            status_refused(connect(clients, program.port, mode), words)
        assert_established(connect(clients, program.port, "none"), version)


CONTRADICTIONS = {
    "crl without list": ({"revocation": "crl"}, "needs \"revocation-list\""),
    "none with list": ({"revocation": "none", "revocation_list": True}, "contradiction"),
    "staple of clients": ({"revocation": "staple", "role": "server"}, "is for clients"),
    "insecure": ({"revocation": "require", "role": "client", "insecure_no_verification": "yes",
                  "trust": None}, "contradiction"),
    "unknown word": ({"revocation": "stapel"}, 'did you mean "staple"'),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_contradiction_is_told(what, make_daemon, pki, records):
    extra, words = CONTRADICTIONS[what]
    extra = {key: pki.revocation_list if value is True else value for key, value in extra.items()}
    one = make_daemon({"web": daemon_module.profile(pki, records, "ecdsa", **extra)}, start=False)
    one.spawn()
    assert one.wait() != 0
    assert words in one.log(), one.log()
