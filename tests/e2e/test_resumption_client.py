# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sessions that are taken up again, in the client's role: tickets that come behind the hand-over are kept,
used once, and with nobody else than they are from."""

import contextlib
import os
import signal
import socket
import time

import pytest

import daemon as daemon_module
import library
from endpoint import Endpoint, context, in_thread
from scale import milliseconds, seconds, wait_until
from test_resumption import change, each_way, each_version, pki_pem


class Server:
    """OpenSSL behind one listening socket; all its connections share a context, so it can resume."""

    def __init__(self, pki, version, way="ticket", certificate="ecdsa", alpn=None, tickets=None,
                 require_certificate=False):
        self.context = context("server", pki.trust if require_certificate else None,
                               pki.cert(certificate), pki.key(certificate), version, alpn=alpn,
                               require_certificate=require_certificate)
        if way == "session ID":
            self.context.options |= 1 << 14  # SSL_OP_NO_TICKET
        if tickets is not None:
            self.context.num_tickets = tickets
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()

    def accept(self, data=b"hello"):
        """Takes one connection to its end. Gives whether it was resumed, or the error."""
        sock, _ = self.listening.accept()
        sock.settimeout(seconds(30))
        with sock:
            peer = Endpoint(sock, self.context)
            try:
                peer.handshake()
                peer.send(data)
                peer.recv()
                # OpenSSL forgets a session whose connection has not ended well.
                peer.close_notify()
            except OSError as error:
                return error
            return peer.tls.session_reused

    def visit(self, one, profile="client", name="localhost", data=b"hello", **request):
        """One connection of the client under test. Gives the reply's keys, or its failure."""
        accepting = in_thread(self.accept, data)
        with socket.create_connection(self.address) as sock, library.Handshake(
                library.CLIENT, profile, peer_name=name, **request) as handshake:
            if handshake.perform(one.socket, sock.fileno()) < 0:
                sock.shutdown(socket.SHUT_RDWR)
                accepting.result(seconds(30))
                return {"class": handshake["class"], "error": handshake.error}
            got = b""
            while len(got) < len(data):
                got += handshake.recv(sock.fileno())
            assert got == data
            handshake.close_notify(sock.fileno())
            reply = dict(handshake.results())
            # The other half of it, while the tickets' way is still open.
            with contextlib.suppress(OSError):
                handshake.recv(sock.fileno())
        assert (reply["resumed"] == "yes") == accepting.result(seconds(30))
        return reply

    def resumed(self, one, **what):
        return self.visit(one, **what)["resumed"]


def client(pki, records, *names, **extra):
    return daemon_module.profile(pki, records, *names, role="client",
                                 timeout_ms=milliseconds(30000), **extra)


@pytest.fixture
def one(make_daemon, pki, records):
    return make_daemon({"client": client(pki, records), "other": client(pki, records),
                        "alpn": client(pki, records, alpn="h2, http/1.1"),
                        "certificate": client(pki, records, "client-ecdsa"),
                        "off": client(pki, records, resumption="no")})


def settled(one):
    """Once what was on its way to the store has arrived: nothing waits any more."""
    wait_until(lambda: one.status()["sessions-parked"] == 0, what="the tickets")


@each_way
def test_who_comes_back_resumes(one, pki, version, way, covers):
    with Server(pki, version, way) as server:
        first = server.visit(one)
        assert first["resumed"] == "no"
        for _ in range(4):
            settled(one)
            again = server.visit(one)
            assert again["resumed"] == "yes"
            for key in ("peer-authenticated", "peer-subject", "peer-sha256", "peer-identity"):
                assert again[key] == first[key]
    status = one.status()
    assert status["resumption-offered-client"] == status["resumed-client"] == 4
    if version == "TLS1.3":
        assert status["tickets-taken"] >= 5
    covers(f"Resumption by {way}", version, "client")


def test_a_ticket_is_used_once(one, pki, covers):
    with Server(pki, "TLS1.3", tickets=2) as server:
        assert server.resumed(one) == "no"
        settled(one)
        server.context.num_tickets = 0
        assert [server.resumed(one) for _ in range(3)] == ["yes", "yes", "no"]
    covers("Resumption: tickets used once", "TLS1.3", "client")


@each_way
def test_nobody_else_gets_it(one, pki, version, way, covers):
    with Server(pki, version, way) as server, Server(pki, version, way) as another:
        assert server.resumed(one) == "no"
        settled(one)
        before = one.status()["resumption-offered-client"]
        assert server.resumed(one, name="a.example.test") == "no"
        assert server.resumed(one, profile="other") == "no"
        assert server.resumed(one, profile="certificate") == "no"
        assert server.resumed(one, alpn="http/1.1") == "no"
        assert another.resumed(one) == "no", "another port"
        assert server.resumed(one, resume=False) == "no"
        assert server.resumed(one, profile="off") == "no"
        assert one.status()["resumption-offered-client"] == before, "none was even offered"
        settled(one)
        assert server.resumed(one) == "yes"
    covers("Resumption: never under another name", version, "client")
    covers("Resumption: never under another profile", version, "client")


@pytest.mark.many
@each_way
def test_without_resume_nothing_is_kept(one, pki, version, way):
    with Server(pki, version, way) as server:
        for what in ({"resume": False}, {"profile": "off"}):
            assert server.resumed(one, **what) == "no"
            assert server.resumed(one, **what) == "no"
    assert one.status()["sessions-stored"] == 0


@each_way
def test_a_server_that_forgot_leads_to_a_full_handshake(one, pki, version, way):
    with Server(pki, version, way) as server:
        assert server.resumed(one) == "no"
        settled(one)
        server.context = Server(pki, version, way).context
        assert server.resumed(one) == "no"
        settled(one)
        assert server.resumed(one) == "yes"
    assert one.status()["resumption-offered-client"] == 2


@each_way
def test_a_server_that_was_revoked_is_refused(make_daemon, pki, records, version, way, tmp_path,
                                              covers):
    path = tmp_path / "list.crl"

    def write(*revoked):
        path.write_bytes(pki_pem(pki.intermediate.revoke([pki.certificates[r] for r in revoked]),
                                 pki.root.revoke([])))

    write()
    one = make_daemon({"client": client(pki, records, revocation_list=path)})
    with Server(pki, version, way) as server:
        assert server.resumed(one) == "no"
        settled(one)
        assert server.resumed(one) == "yes"
        settled(one)
        write("ecdsa")
        change(one)
        failure = server.visit(one)
        assert failure["class"] == "verification" and "revoked" in failure["error"]
    covers("Resumption: never after revocation", version, "client")


@pytest.mark.many
@each_way
def test_a_server_that_is_no_longer_trusted_is_refused(make_daemon, pki, records, version, way):
    one = make_daemon({"client": client(pki, records)})
    with Server(pki, version, way) as server:
        assert server.resumed(one) == "no"
        settled(one)
        change(one, client=client(pki, records, trust=pki.other_trust))
        assert server.visit(one)["class"] == "verification"


@each_way
def test_the_store_is_shared_and_outlives_workers(make_daemon, pki, records, version, way,
                                                  tmp_path):
    tmp_path.chmod(0o700)
    one = make_daemon({"client": client(pki, records)},
                      {"workers": 3, "state-directory": tmp_path / "state"})
    with Server(pki, version, way) as server:
        assert server.resumed(one) == "no"
        for _ in range(5):
            settled(one)
            assert server.resumed(one) == "yes"
        settled(one)
        for pid in one.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: one.status()["workers-died"] == 3, what="the workers' ends")
        assert server.resumed(one) == "yes"
        settled(one)
        one.stop()
        one.start()
        assert server.resumed(one) == "yes"


@pytest.mark.many
@each_version
def test_a_client_certificate_is_part_of_it(one, pki, version):
    with Server(pki, version, require_certificate=True) as server:
        assert server.resumed(one, profile="certificate") == "no"
        settled(one)
        assert server.resumed(one, profile="certificate") == "yes"


def test_sessions_that_wait_are_bounded_in_time(make_daemon, pki):
    """A program that never reads keeps a session for ten seconds, not longer."""
    one = make_daemon({"client": client(pki, "relay")})
    with Server(pki, "TLS1.3") as server:
        accepting = in_thread(server.accept)
        with socket.create_connection(server.address) as sock, library.Handshake(
                library.CLIENT, "client", peer_name="localhost") as handshake:
            assert handshake.perform(one.socket, sock.fileno()) == 0
            assert one.status()["sessions-parked"] <= 1
            time.sleep(0.2)
        accepting.result(seconds(30))
    settled(one)


def test_connect_tells_and_can_do_without(one, pki, build, records):
    import subprocess  # pylint: disable=import-outside-toplevel
    command = [build / "bin" / "handshake", "connect", "--socket", one.socket, "--profile",
               "client", "--info"]

    def connect(server, *more):
        accepting = in_thread(server.accept)
        done = subprocess.run([*map(str, command), *more, f"localhost:{server.address[1]}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds(60), check=False)
        accepting.result(seconds(30))
        return done.stderr

    with Server(pki, "TLS1.3") as server:
        assert "resumed: no" in " ".join(connect(server).split())
        settled(one)
        assert "resumed: no" in " ".join(connect(server, "--no-resume").split())
        assert "resumed: yes" in " ".join(connect(server).split())
