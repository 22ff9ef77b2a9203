# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each way in which a handshake fails: what the caller is told, what the peer sees, what the daemon
counts."""

import socket
import time

import pytest

import endpoint
import library
from endpoint import Endpoint, context, in_thread, tcp_pair
from expect import assert_failure, assert_untouched, counted_failure
from peers import VERSIONS
from protocol import connection_of
from scale import milliseconds, seconds, wait_until

versions = pytest.mark.parametrize("version", VERSIONS)
roles = pytest.mark.parametrize("role", ("client", "server"))


def request(role, **fields):
    if role == "client":
        fields.setdefault("peer_name", "localhost")
    return fields


def refused(daemon, client, role, peer_context, classes, alert, direction, server_name="localhost",
            **fields):
    """A handshake that must fail with this class and alert; returns the reply and the peer."""
    ours, theirs = tcp_pair()
    with ours, theirs, counted_failure(daemon, classes):
        number = client.start(ours, role, **request(role, **fields))
        peer = Endpoint(theirs, peer_context, server_name)
        peer.try_handshake()
        reply = client.reply(number)
    assert_failure(reply, classes, "poisoned", alert, direction)
    if direction == "sent":
        assert peer.received_alert == int(reply["alert-number"]), peer.alerts
    return reply, peer


# ---- Certificates ----

SERVER_CERTIFICATES = {
    "untrusted": ("client", "untrusted", {endpoint.UNKNOWN_CA}),
    "expired": ("client", "expired", {endpoint.CERTIFICATE_EXPIRED}),
    "not-yet-valid": ("client", "not-yet", {endpoint.CERTIFICATE_EXPIRED,
                                            endpoint.BAD_CERTIFICATE}),
    "wrong-name": ("client", "wrong-name", {endpoint.BAD_CERTIFICATE}),
    "wrong-purpose": ("client", "wrong-purpose", {endpoint.BAD_CERTIFICATE,
                                                  endpoint.UNSUPPORTED_CERTIFICATE}),
    "revoked": ("client-revocation", "revoked", {endpoint.CERTIFICATE_REVOKED}),
    "wrong-trust": ("client-other-trust", "ecdsa", {endpoint.UNKNOWN_CA}),
}


@versions
@pytest.mark.parametrize("what", SERVER_CERTIFICATES)
def test_server_certificate_is_refused(what, version, daemon, client, pki):
    profile, certificate, alerts = SERVER_CERTIFICATES[what]
    made = context("server", certificate=pki.cert(certificate), key=pki.key(certificate),
                   version=version)
    reply, _ = refused(daemon, client, "client", made, "verification", alerts, "sent",
                       profile=profile)
    assert reply["retry"] == "no"
    assert reply["verification"]
    words = {"expired": "expire", "revoked": "revoked", "wrong-name": "localhost"}.get(what)
    if words:
        assert words in (reply["verification"] + reply["error"]).lower()


CLIENT_CERTIFICATES = {
    "untrusted": ("require", "client-untrusted", {endpoint.UNKNOWN_CA}),
    "expired": ("require", "client-expired", {endpoint.CERTIFICATE_EXPIRED}),
    "not-yet-valid": ("require", "client-not-yet", {endpoint.CERTIFICATE_EXPIRED,
                                                    endpoint.BAD_CERTIFICATE}),
    "wrong-purpose": ("require", "client-wrong-purpose", {endpoint.BAD_CERTIFICATE,
                                                          endpoint.UNSUPPORTED_CERTIFICATE}),
    "revoked": ("revocation", "client-revoked", {endpoint.CERTIFICATE_REVOKED}),
    # Asked for but not demanded: a bad one is refused all the same.
    "untrusted-requested": ("request", "client-untrusted", {endpoint.UNKNOWN_CA}),
}


@versions
@pytest.mark.parametrize("what", CLIENT_CERTIFICATES)
def test_client_certificate_is_refused(what, version, daemon, client, pki):
    profile, certificate, alerts = CLIENT_CERTIFICATES[what]
    made = context("client", pki.trust, pki.cert(certificate), pki.key(certificate),
                   version=version)
    reply, _ = refused(daemon, client, "server", made, "verification", alerts, "sent",
                       profile=profile)
    assert reply["verification"]


@versions
@pytest.mark.parametrize("by", ("profile", "request"))
def test_missing_client_certificate_is_refused(version, by, daemon, client, pki):
    fields = ({"profile": "require"} if by == "profile" else
              {"profile": "request", "client_certificates": "require"})
    # RFC 8446, 6.2; TLS 1.2 has no word of its own for it (RFC 5246, 7.4.6).
    alert = (endpoint.CERTIFICATE_REQUIRED if version == "TLS1.3" else endpoint.HANDSHAKE_FAILURE)
    refused(daemon, client, "server", context("client", pki.trust, version=version),
            "verification", {alert}, "sent", **fields)


@versions
@roles
def test_alert_of_the_peer_is_told(role, version, daemon, client, pki):
    """The peer does not trust our certificate."""
    if role == "server":
        made = context("client", pki.other_trust, version=version)
        fields = {"profile": "ecdsa"}
    else:
        made = context("server", pki.trust, pki.cert("ecdsa"), pki.key("ecdsa"), version=version,
                       require_certificate=True)
        fields = {"profile": "client-untrusted"}
    if role == "client" and version == "TLS1.3":
        # The server judges the certificate after our side is complete: the alert is the
        # connection's, not the handshake's.
        ours, theirs = tcp_pair()
        with ours, theirs, library.Handshake(library.CLIENT, "client-untrusted",
                                             "localhost") as handshake:
            peer = in_thread(Endpoint(theirs, made).try_handshake)
            assert handshake.perform(daemon.socket, ours.fileno()) == 0, handshake.error
            with pytest.raises(OSError, match="unknown_ca"):
                handshake.recv(ours.fileno())
            peer.result(seconds(10))
        return
    refused(daemon, client, role, made, "alert", {endpoint.UNKNOWN_CA}, "received", **fields)


def test_insecure_profile_verifies_nothing_and_says_so(client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        number = client.start(ours, "client", profile="no-verification")
        Endpoint(theirs, context("server", certificate=pki.cert("untrusted"),
                                 key=pki.key("untrusted"))).handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        assert reply["peer-authenticated"] == "no"
        assert reply["peer-sha256"] == pki.sha256("untrusted")


# ---- Nothing in common ----

def test_no_common_version_as_server(daemon, client, pki):
    refused(daemon, client, "server", context("client", pki.trust, version="TLS1.2"),
            "negotiation", {endpoint.PROTOCOL_VERSION}, "sent", profile="tls13")


def test_no_common_version_as_client(daemon, client, pki):
    made = context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                   version="TLS1.2")
    refused(daemon, client, "client", made, ("alert", "negotiation"),
            {endpoint.PROTOCOL_VERSION, endpoint.HANDSHAKE_FAILURE}, "received", profile="tls13")


def test_no_common_cipher_as_server(daemon, client, pki):
    made = context("client", pki.trust, version="TLS1.2",
                   ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    refused(daemon, client, "server", made, "negotiation",
            {endpoint.HANDSHAKE_FAILURE, endpoint.INSUFFICIENT_SECURITY}, "sent",
            profile="aes-256-gcm")


def test_no_common_cipher_as_client(daemon, client, pki):
    made = context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                   version="TLS1.2", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    refused(daemon, client, "client", made, ("alert", "negotiation"),
            {endpoint.HANDSHAKE_FAILURE}, "received", profile="aes-256-gcm")


@versions
@pytest.mark.parametrize("offered", (["foo"], None))
def test_no_common_application_protocol_as_server(offered, version, daemon, client, pki):
    refused(daemon, client, "server", context("client", pki.trust, version=version, alpn=offered),
            "negotiation", {endpoint.NO_APPLICATION_PROTOCOL}, "sent", profile="alpn")


@versions
def test_no_common_application_protocol_as_client(version, daemon, client, pki):
    made = context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"), version=version)
    refused(daemon, client, "client", made, "negotiation",
            {endpoint.NO_APPLICATION_PROTOCOL}, "sent", profile="alpn")


@versions
@pytest.mark.parametrize("name", ("unknown.test", None))
def test_unknown_server_name_is_refused(name, version, daemon, client, pki):
    made = context("client", pki.trust, version=version)
    made.check_hostname = False
    if name is None:
        # No name asked for is no unknown name: the first certificate serves.
        ours, theirs = tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile="names")
            peer = in_thread(Endpoint(theirs, made).try_handshake)
            reply = client.reply(number)
            assert reply.outcome == "established" or (
                reply["class"], reply["alert"]) == ("negotiation", "unrecognized_name"), reply
            reply.close()
            ours.shutdown(socket.SHUT_RDWR)
            peer.result(seconds(10))
        return
    refused(daemon, client, "server", made, "negotiation", {endpoint.UNRECOGNIZED_NAME}, "sent",
            server_name=name, profile="names")


# ---- The connection ends ----

def until_under_way(daemon, before):
    wait_until(lambda: daemon.status()["handshakes-under-way"] > before, 10,
               "the handshake under way")


def next_flight(peer):
    """What the peer sends next, having read what it needs for it."""
    while True:
        peer.step()
        data = peer.pending()
        if data:
            return data
        assert peer.feed(), "the daemon ended the connection"


def play_server_role(peer, stage):
    """The daemon is the server: the peer, a client, says as much as the stage allows."""
    if stage == "before anything":
        return
    hello = next_flight(peer)
    if stage == "half a ClientHello":
        peer.sock.sendall(hello[:len(hello) // 2])
        return
    peer.sock.sendall(hello)
    if stage == "half a last flight":
        data = next_flight(peer)
        peer.sock.sendall(data[:len(data) - 5])


def play_client_role(peer, stage):
    if stage == "before anything":
        return
    data = next_flight(peer)
    if stage == "half a ServerHello":
        peer.sock.sendall(data[:40])
    elif stage == "half a first flight":
        peer.sock.sendall(data[:len(data) - 5])
    elif stage == "half a last flight":
        peer.sock.sendall(data)
        data = next_flight(peer)
        peer.sock.sendall(data[:len(data) - 5])


STAGES = [("server", "TLS1.3", stage) for stage in (
    "before anything", "half a ClientHello", "a ClientHello", "half a last flight")] + [
        ("server", "TLS1.2", stage) for stage in ("a ClientHello", "half a last flight")] + [
            ("client", "TLS1.3", stage) for stage in (
                "before anything", "half a ServerHello", "half a first flight")] + [
                    ("client", "TLS1.2", stage) for stage in (
                        "half a first flight", "half a last flight")]


@pytest.mark.parametrize("how", ("closes", "resets"))
@pytest.mark.parametrize("role,version,stage", STAGES)
def test_peer_ends_the_connection(role, version, stage, how, daemon, client, pki):
    ours, theirs = tcp_pair()
    before = daemon.status()["handshakes-under-way"]
    with ours, counted_failure(daemon, "closed"):
        number = client.start(ours, role, **request(
            role, profile="ecdsa" if role == "server" else "client"))
        until_under_way(daemon, before)
        if role == "server":
            peer = Endpoint(theirs, context("client", pki.trust, version=version), "localhost")
            play_server_role(peer, stage)
        else:
            peer = Endpoint(theirs, context("server", certificate=pki.cert("ecdsa"),
                                            key=pki.key("ecdsa"), version=version))
            play_client_role(peer, stage)
        if how == "closes":
            theirs.shutdown(socket.SHUT_WR)
        else:
            endpoint.reset(theirs)
        reply = client.reply(number)
    theirs.close()
    # Where no byte moved in either direction, saying so is as true.
    nothing = stage == "before anything" and (role == "server" or how == "resets")
    assert_failure(reply, "closed", ("untouched", "poisoned") if nothing else "poisoned")


LAST_FLIGHTS = [("server", "TLS1.3"), ("client", "TLS1.3"), ("client", "TLS1.2")]


@pytest.mark.parametrize("end", ("FIN", "close_notify and FIN", "data and FIN"))
@pytest.mark.parametrize("role,version", LAST_FLIGHTS)
def test_fin_right_behind_the_last_flight_is_a_success(role, version, end, daemon, pki):
    if (role, version) == ("client", "TLS1.3") and end != "FIN":
        pytest.skip("OpenSSL's server sends nothing before the client's Finished")
    ours, theirs = tcp_pair()
    code = library.CLIENT if role == "client" else library.SERVER
    with ours, theirs, library.Handshake(
            code, "ecdsa" if role == "server" else "client",
            "localhost" if role == "client" else None) as handshake:
        running = in_thread(handshake.perform, daemon.socket, ours.fileno())
        if role == "server":
            peer = Endpoint(theirs, context("client", pki.trust, version=version), "localhost")
        else:
            peer = Endpoint(theirs, context("server", certificate=pki.cert("ecdsa"),
                                            key=pki.key("ecdsa"), version=version))
        if (role, version) == ("client", "TLS1.3"):
            last = next_flight(peer)
        else:
            while not peer.step():
                peer.flush()
                assert peer.feed()
            if end.startswith("data"):
                peer.tls.write(b"the last words")
            elif end.startswith("close_notify"):
                with pytest.raises(endpoint.ssl.SSLWantReadError):
                    peer.tls.unwrap()
            last = peer.pending()
        theirs.sendall(last)
        theirs.shutdown(socket.SHUT_WR)
        assert running.result(seconds(20)) == 0, handshake.error
        assert handshake.outcome == "established"
        if end.startswith("data"):
            assert handshake.recv(ours.fileno()) == b"the last words"
        if end.startswith("close_notify"):
            assert handshake.recv(ours.fileno()) == b""
        else:
            with pytest.raises(ConnectionAbortedError):
                handshake.recv(ours.fileno())
        # The other direction still works.
        handshake.sendall(ours.fileno(), b"still here")
        # Its own sending has ended, so it must not flush.
        got = b""
        while len(got) < 10:
            try:
                peer.step()
                got += peer.tls.read(10 - len(got))
            except endpoint.ssl.SSLWantReadError:
                assert peer.feed()
        assert got == b"still here"


# ---- No TLS at all ----

GARBAGE = {
    "http": b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(64),
    "oversized record": b"\x16\x03\x01\xff\xff" + bytes(64),
    "not a hello": b"\x16\x03\x01\x00\x04\x0b\x00\x00\x00",
    "a fatal alert that nobody knows": b"\x15\x03\x01\x00\x02\x02\xff",
    "application data first": b"\x17\x03\x03\x00\x10" + bytes(16),
    "broken hello": b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + b"\xff" * 42,
    "sslv2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80" + bytes(34),
}


@roles
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_refused_at_once(role, what, daemon, client):
    ours, theirs = tcp_pair()
    classes = ("protocol", "alert", "negotiation")
    with ours, theirs, counted_failure(daemon, classes):
        began = time.monotonic()
        number = client.start(ours, role, **request(
            role, profile="ecdsa" if role == "server" else "client"))
        theirs.sendall(GARBAGE[what])
        reply = client.reply(number)
        # Not by the deadline of the profile, which is ten seconds.
        assert time.monotonic() - began < seconds(8)
    assert_failure(reply, classes, "poisoned")


# ---- Time ----

@roles
def test_silent_peer_meets_the_deadline(role, daemon, client):
    ours, theirs = tcp_pair()
    limit = milliseconds(400)
    with ours, theirs:
        with counted_failure(daemon, "timeout"):
            began = time.monotonic()
            reply = client.handshake(ours, role, timeout_ms=limit, **request(
                role, profile="ecdsa" if role == "server" else "client"))
            passed = time.monotonic() - began
        assert limit / 1000 * 0.95 <= passed < limit / 1000 + seconds(3), passed
        if reply.outcome == "untouched":
            assert role == "server", "a client has said its ClientHello"
            assert_untouched(reply, "timeout", ours, theirs)
        else:
            assert_failure(reply, "timeout", "poisoned")


def test_profile_s_deadline_holds_where_the_request_asks_for_more(daemon, client):
    ours, theirs = tcp_pair()
    with ours, theirs, counted_failure(daemon, "timeout"):
        began = time.monotonic()
        reply = client.handshake(ours, "server", profile="quick", timeout_ms=milliseconds(60000))
        assert time.monotonic() - began < seconds(10)
        assert_failure(reply, "timeout", ("untouched", "poisoned"))


@roles
def test_one_byte_at_a_time_does_not_move_the_deadline(role, daemon, client, pki):
    ours, theirs = tcp_pair()
    limit = milliseconds(600)
    if role == "server":
        peer = Endpoint(theirs, context("client", pki.trust), "localhost")
    else:
        peer = Endpoint(theirs, context("server", certificate=pki.cert("ecdsa"),
                                        key=pki.key("ecdsa")))
    with ours, theirs, counted_failure(daemon, "timeout"):
        began = time.monotonic()
        number = client.start(ours, role, timeout_ms=limit, **request(
            role, profile="ecdsa" if role == "server" else "client"))
        flight = next_flight(peer)

        def trickle():
            for i in range(len(flight)):
                theirs.sendall(flight[i:i + 1])
                time.sleep(seconds(0.1))

        running = in_thread(trickle)
        reply = client.reply(number)
        passed = time.monotonic() - began
        theirs.shutdown(socket.SHUT_RDWR)
        assert limit / 1000 * 0.95 <= passed < limit / 1000 + seconds(3), passed
        assert_failure(reply, "timeout", "poisoned")
        with pytest.raises(OSError):
            running.result(seconds(10))


@roles
def test_hello_in_single_bytes_is_understood(role, client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        number = client.start(ours, role, **request(
            role, profile="ecdsa" if role == "server" else "client"))
        if role == "server":
            peer = Endpoint(theirs, context("client", pki.trust), "localhost")
        else:
            peer = Endpoint(theirs, context("server", certificate=pki.cert("ecdsa"),
                                            key=pki.key("ecdsa")))
        endpoint.send_in_pieces(theirs, next_flight(peer), 1)
        peer.handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        endpoint.exchange(peer, connection_of(reply, ours))
