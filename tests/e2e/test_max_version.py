# SPDX-License-Identifier: LGPL-2.1-or-later
"""Profiles that give up TLS 1.3."""

import pytest

import daemon as daemon_module
import library
from endpoint import PROTOCOL_VERSION, Endpoint, context, in_thread, tcp_pair
from scale import seconds


@pytest.fixture(scope="module")
def one(make_module_daemon, pki, records):
    return make_module_daemon({
        "server": daemon_module.profile(pki, records, "ecdsa", max_version="TLS1.2"),
        "client": daemon_module.profile(pki, records, role="client", max_version="TLS1.2")})


def pair(one, pki, role, version):
    """(handshake, what perform will return, the other side's end, sockets to be closed)"""
    ours, theirs = tcp_pair()
    code = library.SERVER if role == "server" else library.CLIENT
    handshake = library.Handshake(code, role, "localhost" if role == "client" else None)
    running = in_thread(handshake.perform, one.socket, ours.fileno())
    made = (context("client", pki.trust, version=version) if role == "server" else
            context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                    version=version))
    return handshake, running, Endpoint(theirs, made, "localhost"), (ours, theirs)


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("version", [None, "TLS1.2"])
def test_agrees_on_tls12_with_whoever_has_it(one, pki, role, version, covers):
    handshake, running, peer, sockets = pair(one, pki, role, version)
    peer.handshake()
    assert running.result(seconds(20)) == 0, handshake.error
    assert handshake["version"] == "TLS1.2"
    handshake.sendall(sockets[0].fileno(), b"words")
    assert peer.recv(5) == b"words"
    handshake.free()
    for sock in sockets:
        sock.close()
    covers("Newest version limited", "TLS1.2", role)


@pytest.mark.parametrize("role", ["server", "client"])
def test_has_no_version_for_whoever_wants_tls13(one, pki, role):
    handshake, running, peer, sockets = pair(one, pki, role, "TLS1.3")
    with pytest.raises(OSError):
        peer.handshake()
    assert running.result(seconds(20)) == -1
    assert handshake["class"] == ("negotiation" if role == "server" else "alert")
    if role == "server":
        assert peer.received_alert == PROTOCOL_VERSION
        assert "version" in handshake.error
    handshake.free()
    for sock in sockets:
        sock.close()
