# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sessions that are taken up again, in the server's role: what comes back resumes, and under anything
else than it was made for never does, but leads to a full handshake."""

import os
import shutil
import signal
import socket
import time

import pytest

import daemon as daemon_module
import endpoint
import library
from endpoint import Endpoint, context, in_thread, tcp_pair
from scale import milliseconds, seconds, wait_until

VERSIONS = ("TLS1.3", "TLS1.2")
each_version = pytest.mark.parametrize("version", VERSIONS)
# TLS 1.2 knows two ways (RFC 5246, F.1.4; RFC 5077), TLS 1.3 one.
WAYS = (("TLS1.3", "ticket"), ("TLS1.2", "ticket"), ("TLS1.2", "session ID"))
each_way = pytest.mark.parametrize("version,way", WAYS, ids=["-".join(w) for w in WAYS])
NAMES = ("localhost", "second.test")


class Visitor:
    """A client that comes again. OpenSSL keeps a session with its context."""

    def __init__(self, pki, version, way="ticket", certificate=None, alpn=None):
        self.context = context("client", pki.trust, version=version, alpn=alpn,
                               certificate=certificate and pki.cert(certificate),
                               key=certificate and pki.key(certificate))
        if way == "session ID":
            self.context.options |= endpoint.ssl.OP_NO_TICKET
        self.session = None

    def visit(self, one, profile="web", name="localhost", session=None, alpn=None, **request):
        """One connection; its session is kept. Returns the reply's keys, or None where it failed."""
        ours, theirs = tcp_pair()
        with ours, theirs, library.Handshake(library.SERVER, profile, alpn=alpn,
                                             **request) as handshake:
            def perform():
                result = handshake.perform(one.socket, ours.fileno())
                if result < 0:
                    ours.shutdown(socket.SHUT_RDWR)
                return result

            running = in_thread(perform)
            self.peer = Endpoint(theirs, self.context, name, session=session)
            failed = None
            try:
                self.peer.handshake()
            except OSError as error:
                failed = error
                theirs.close()
            if running.result(seconds(20)) < 0:
                self.error = handshake["class"], handshake.error
                return None
            assert failed is None, failed
            endpoint.exchange(self.peer, ours)
            self.session = self.peer.tls.session
            reply = dict(handshake.results())
            assert self.peer.tls.session_reused == (reply["resumed"] == "yes")
            return reply

    def again(self, one, **what):
        return self.visit(one, session=self.session, **what)


def web(pki, records, *names, **extra):
    return daemon_module.profile(pki, records, *(names or ("ecdsa",)),
                                 timeout_ms=milliseconds(30000), **extra)


@pytest.fixture
def one(make_daemon, pki, records):
    return make_daemon({"web": web(pki, records)})


def change(one, **profiles):
    one.profiles.update(profiles)
    one.write()
    generation = one.status()["generation"]
    assert one.reload()
    # The old generation's workers may still take a program's connection for a moment.
    wait_until(lambda: all(one.status()["generation"] > generation for _ in range(8)),
               what="the new generation")


# ---- It works ----

@each_way
def test_who_comes_back_resumes(one, pki, version, way, covers):
    before = one.status()
    visitor = Visitor(pki, version, way)
    assert visitor.visit(one)["resumed"] == "no"
    for _ in range(3):
        reply = visitor.again(one)
        assert reply["resumed"] == "yes"
        assert reply["server-name"] == "localhost"
    after = one.status()
    assert after["resumption-offered-server"] == before["resumption-offered-server"] + 3
    assert after["resumed-server"] == before["resumed-server"] + 3
    if version == "TLS1.3":
        assert after["tickets-sent"] == before["tickets-sent"] + 2 + 3
    covers(f"Resumption by {way}", version, "server")


@each_way
def test_the_client_stays_who_it_was(make_daemon, pki, records, version, way, covers):
    one = make_daemon({"web": web(pki, records, client_certificates="require")})
    visitor = Visitor(pki, version, way, "client-ecdsa")
    first, second = visitor.visit(one), visitor.again(one)
    assert (first["resumed"], second["resumed"]) == ("no", "yes")
    for key in ("peer-authenticated", "peer-subject", "peer-sha256", "peer-identity"):
        assert first[key] == second[key]
    assert second["peer-authenticated"] == "yes"
    covers("Resumption with a client's certificate", version, "server")


@pytest.mark.many
@each_version
def test_without_tickets_none_are_sent(make_daemon, pki, records, version):
    one = make_daemon({"web": web(pki, records, resumption="no"), "yes": web(pki, records)})
    visitor = Visitor(pki, version)
    assert visitor.visit(one)["resumed"] == "no"
    assert visitor.again(one)["resumed"] == "no"
    assert not visitor.session.has_ticket
    assert one.status()["tickets-sent"] == 0


# ---- Under what it was made for, and nothing else ----

@each_way
def test_another_name_is_another_session(make_daemon, pki, records, version, way, covers):
    """Even if one certificate has both names."""
    one = make_daemon({"web": web(pki, records, "ecdsa", "second")})
    visitor = Visitor(pki, version, way)
    visitor.context.check_hostname = False
    for made_for in ("localhost", "a.example.test", None):
        visitor.visit(one, name=made_for)
        session = visitor.session
        for other in ("second.test", "b.example.test", "localhost", None):
            if other != made_for:
                assert visitor.visit(one, name=other, session=session)["resumed"] == "no"
        assert visitor.visit(one, name=made_for, session=session)["resumed"] == "yes"
    covers("Resumption: never under another name", version, "server")


@each_way
def test_another_profile_is_another_session(make_daemon, pki, records, version, way, covers):
    one = make_daemon({"web": web(pki, records), "mail": web(pki, records)})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    session = visitor.session
    assert visitor.visit(one, profile="mail", session=session)["resumed"] == "no"
    assert visitor.visit(one, session=session)["resumed"] == "yes"
    covers("Resumption: never under another profile", version, "server")


@each_way
def test_another_alpn_policy_is_another_session(make_daemon, pki, records, version, way, covers):
    one = make_daemon({"web": web(pki, records, alpn="h2, http/1.1")})
    visitor = Visitor(pki, version, way, alpn=["h2", "http/1.1"])
    assert visitor.visit(one)["alpn"] == "h2"
    session = visitor.session
    # The program asks for less than its profile has.
    assert visitor.visit(one, session=session, alpn="http/1.1")["resumed"] == "no"
    reply = visitor.visit(one, session=session)
    assert (reply["resumed"], reply["alpn"]) == ("yes", "h2")
    session = visitor.session
    change(one, web=web(pki, records, alpn="h2, http/1.1", alpn_required="yes"))
    assert visitor.visit(one, session=session)["resumed"] == "no"
    session = visitor.session
    change(one, web=web(pki, records, alpn="http/1.1, h2", alpn_required="yes"))
    assert visitor.visit(one, session=session)["resumed"] == "no"
    covers("Resumption: never under another ALPN policy", version, "server")


@each_way
def test_a_newly_required_certificate_is_not_passed_by(make_daemon, pki, records, version, way,
                                                       covers):
    one = make_daemon({"web": web(pki, records), "ask": web(pki, records,
                                                            client_certificates="request")})
    with library.Handshake(library.SERVER, "ask"):
        pass
    for profile in ("web", "ask"):
        visitor = Visitor(pki, version, way)
        assert visitor.visit(one, profile=profile)["peer-authenticated"] == "no"
        session = visitor.session
        assert visitor.visit(one, profile=profile, session=session)["resumed"] == "yes"
        session = visitor.session
        change(one, **{profile: web(pki, records, client_certificates="require")})
        assert visitor.visit(one, profile=profile, session=session) is None
        assert visitor.error[0] == "verification"
        # With a certificate: a full handshake.
        visitor = Visitor(pki, version, way, "client-ecdsa")
        assert visitor.visit(one, profile=profile)["resumed"] == "no"
    covers("Resumption: never past a required certificate", version, "server")


@pytest.mark.many
@each_way
def test_a_request_that_requires_one_is_not_passed_by(make_daemon, pki, records, version, way):
    one = make_daemon({"web": web(pki, records, client_certificates="request")})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    assert visitor.again(one, client_certificate=True) is None
    assert visitor.error[0] == "verification"


@each_way
def test_after_its_revocation_a_certificate_resumes_nothing(make_daemon, pki, records, version,
                                                            way, covers, tmp_path):
    empty = tmp_path / "list.crl"
    authority, root = pki.intermediate, pki.root

    def write(*revoked):
        empty.write_bytes(pki_pem(authority.revoke([pki.certificates[r] for r in revoked]),
                                  root.revoke([])))

    write()
    required = {"client_certificates": "require", "revocation_list": empty}
    one = make_daemon({"web": web(pki, records, **required)})
    visitor = Visitor(pki, version, way, "client-ecdsa")
    assert visitor.visit(one)["resumed"] == "no"
    assert visitor.again(one)["resumed"] == "yes"
    session = visitor.session
    write("client-ecdsa")
    change(one)
    assert visitor.visit(one, session=session) is None
    assert visitor.error[0] == "verification" and "revoked" in visitor.error[1]
    # Another one's session ends there, too, but a full handshake is as good.
    write("client-rsa")
    change(one)
    assert visitor.visit(one, session=session)["resumed"] == "no"
    assert visitor.again(one)["resumed"] == "yes"
    covers("Resumption: never after revocation", version, "server")


def pki_pem(*objects):
    import pki  # pylint: disable=import-outside-toplevel
    return pki.pem(*objects)


@pytest.mark.many
@each_way
def test_who_is_no_longer_trusted_resumes_nothing(make_daemon, pki, records, version, way):
    one = make_daemon({"web": web(pki, records, client_certificates="require")})
    visitor = Visitor(pki, version, way, "client-ecdsa")
    visitor.visit(one)
    change(one, web=web(pki, records, client_certificates="require", trust=pki.other_trust))
    assert visitor.again(one) is None
    assert visitor.error[0] == "verification"


# ---- Keys ----

@each_way
def test_a_key_that_was_rotated_out_resumes_nothing(make_daemon, pki, records, version, way,
                                                    covers):
    period = 3
    one = make_daemon({"web": web(pki, records)}, {"ticket-key-rotation-s": period})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    session = visitor.session
    assert visitor.visit(one, session=session)["resumed"] == "yes"
    if way == "session ID":
        return  # no key has a part in it
    made = time.monotonic()
    time.sleep(period + 0.2)
    # The former one is accepted, if it is not too late to tell.
    reply = visitor.visit(one, session=session)
    assert reply["resumed"] == "yes" or time.monotonic() - made > period + 2
    time.sleep(max(0, made + 2 * period + 1.5 - time.monotonic()))
    assert visitor.visit(one, session=session)["resumed"] == "no"
    assert visitor.again(one)["resumed"] == "yes"
    covers("Resumption: never after key rotation", version, "server")


@pytest.mark.many
@each_version
def test_a_fleet_shares_its_keys(make_daemon, pki, records, version, tmp_path, covers):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for file in (first, second, third):
        file.write_bytes(os.urandom(64))
        file.chmod(0o600)
    here = make_daemon({"web": web(pki, records, ticket_key_file=first)})
    there = make_daemon({"web": web(pki, records, ticket_key_file=[second, first])})
    other = make_daemon({"web": web(pki, records, ticket_key_file=third)})
    visitor = Visitor(pki, version)
    visitor.visit(here)
    session = visitor.session
    assert visitor.visit(there, session=session)["resumed"] == "yes"
    assert visitor.visit(other, session=session)["resumed"] == "no"
    visitor.visit(there)
    session = visitor.session
    assert visitor.visit(here, session=session)["resumed"] == "no", "second is not known here"
    covers("Resumption with ticket-key-file", version, "server")


@pytest.mark.many
def test_a_key_file_that_others_can_read_is_refused(make_daemon, pki, records, tmp_path):
    file = tmp_path / "ticket.key"
    file.write_bytes(os.urandom(64))
    file.chmod(0o644)
    one = make_daemon({"web": web(pki, records, ticket_key_file=file)}, start=False)
    one.spawn()
    assert one.wait() != 0
    assert f'ticket-key-file "{file}"' in one.log() and "0644" in one.log()
    file.chmod(0o600)
    file.write_bytes(b"short")
    one = make_daemon({"web": web(pki, records, ticket_key_file=file)}, start=False)
    one.spawn()
    assert one.wait() != 0
    assert "5 bytes" in one.log()


@pytest.mark.many
@each_way
def test_expired_sessions_lead_to_a_full_handshake(make_daemon, pki, records, version, way):
    one = make_daemon({"web": web(pki, records, ticket_lifetime_s=2)})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    session = visitor.session
    time.sleep(3.5)
    assert visitor.visit(one, session=session)["resumed"] == "no"


# ---- What outlives what ----

@pytest.mark.many
@each_way
def test_any_worker_takes_it_and_a_reload_changes_nothing(make_daemon, pki, records, version, way):
    one = make_daemon({"web": web(pki, records)}, {"workers": 3})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    assert all(visitor.again(one)["resumed"] == "yes" for _ in range(8))
    change(one)
    assert visitor.again(one)["resumed"] == "yes"
    wait_until(lambda: len(one.workers()) == 3, what="the end of the former generation")
    for pid in one.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: one.status()["workers-died"] == 3, what="the workers' ends")
    assert visitor.again(one)["resumed"] == "yes"


@each_way
def test_with_a_state_directory_they_outlive_the_daemon(make_daemon, pki, records, version, way,
                                                        tmp_path, covers):
    tmp_path.chmod(0o700)
    one = make_daemon({"web": web(pki, records)}, {"state-directory": tmp_path / "state"})
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    one.stop()
    one.start()
    assert visitor.again(one)["resumed"] == "yes"
    session = visitor.session
    one.stop()
    shutil.rmtree(tmp_path / "state")
    one.start()
    assert visitor.visit(one, session=session)["resumed"] == "no"
    covers("Resumption after a restart", version, "server")


@pytest.mark.many
@each_way
def test_without_one_they_end_with_the_daemon(one, pki, version, way):
    visitor = Visitor(pki, version, way)
    visitor.visit(one)
    one.stop()
    one.start()
    assert visitor.again(one)["resumed"] == "no"
    assert visitor.again(one)["resumed"] == "yes"


@pytest.mark.many
def test_the_store_is_bounded(make_daemon, pki, records):
    one = make_daemon({"web": web(pki, records)}, {"session-cache-size": 1 << 20})
    for _ in range(20):
        visitor = Visitor(pki, "TLS1.2", "session ID")
        visitor.visit(one)
    assert visitor.again(one)["resumed"] == "yes"
    assert one.status()["sessions-stored"] >= 20
