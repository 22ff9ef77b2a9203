# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sessions that other TLS programs take up again with the service, and the service with them."""

import contextlib
import socket
import subprocess

import pytest

import library
import peers
from program import HttpServer
from scale import seconds, wait_until
from test_resumption import each_version

CIPHER, KEY = "AES-128-GCM", "ecdsa"


# ---- Server role ----

@pytest.fixture
def server(daemon):
    made = HttpServer(daemon.socket, "ecdsa", b"x" * 1000)
    yield made
    made.close()


def run(arguments, data):
    done = subprocess.run([str(a) for a in arguments], input=data, capture_output=True,
                          timeout=seconds(60), check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@each_version
def test_s_client_comes_back(server, pki, version, tmp_path, covers):
    file = tmp_path / "session"

    def visit(*more):
        return run([peers.needs("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}",
                    "-servername", "localhost", "-CAfile", pki.trust, "-ign_eof",
                    *peers.openssl_options(version, CIPHER, KEY), *more],
                   b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert "New, TLSv1" in visit("-sess_out", file)
    assert server.next_seen()["resumed"] == "no"
    assert "Reused, TLSv1" in visit("-sess_in", file)
    assert server.next_seen()["resumed"] == "yes"
    covers("Resumption: OpenSSL", version, "server")


@each_version
def test_gnutls_cli_comes_back(server, pki, version, covers):
    said = run([peers.needs("gnutls-cli"), "--resume", "--waitresumption", "--x509cafile",
                pki.trust, "--port", server.port, "--priority",
                peers.gnutls_priority(version, CIPHER), "localhost"],
               b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    seen = [server.next_seen(), server.next_seen()]
    assert "This is a resumed session" in said, (said, seen)
    covers("Resumption: GnuTLS", version, "server")


@each_version
def test_curl_comes_back(server, pki, version, covers):
    number = version[3:]
    url = f"https://localhost:{server.port}/"
    said = run([peers.needs("curl"), "--silent", "--show-error", "--http1.1", "--cacert",
                pki.trust, f"--tlsv{number}", "--tls-max", number, url, url], b"")
    assert len(said) == 2000
    assert [server.next_seen()["resumed"] for _ in range(2)] == ["no", "yes"]
    covers("Resumption: curl", version, "server")


# ---- Client role ----

def visit(daemon, port, data=b"ping\n"):
    """A connection that gets some data. Whether it was resumed."""
    with socket.create_connection(("127.0.0.1", port)) as sock, library.Handshake(
            library.CLIENT, "client", peer_name="localhost") as handshake:
        assert handshake.perform(daemon.socket, sock.fileno()) == 0, handshake.error
        handshake.sendall(sock.fileno(), data)
        assert handshake.recv(sock.fileno())
        handshake.close_notify(sock.fileno())
        with contextlib.suppress(OSError):
            while handshake.recv(sock.fileno()):
                pass
        resumed = handshake["resumed"]
    wait_until(lambda: daemon.status()["sessions-parked"] == 0, what="the tickets")
    return resumed


@each_version
def test_back_to_s_server(daemon, pki, version, covers):
    with peers.s_server(pki, version, CIPHER, KEY, "-rev") as peer:
        assert [visit(daemon, peer.port) for _ in range(3)] == ["no", "yes", "yes"]
    covers("Resumption: OpenSSL", version, "client")


@each_version
def test_back_to_gnutls_serv(daemon, pki, version, covers):
    with peers.gnutls_serv(pki, version, CIPHER, KEY, "--echo") as peer:
        assert [visit(daemon, peer.port) for _ in range(3)] == ["no", "yes", "yes"]
    covers("Resumption: GnuTLS", version, "client")


@each_version
def test_back_to_nginx(daemon, pki, version, tmp_path, covers):
    (tmp_path / "index.html").write_text("hello")
    tmp_path.chmod(0o755)
    directory = tmp_path / "nginx"
    directory.mkdir()
    nginx = peers.Nginx(directory, pki, tmp_path)
    try:
        port = nginx.http[version, CIPHER, KEY]
        request = b"GET /index.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert [visit(daemon, port, request) for _ in range(3)] == ["no", "yes", "yes"]
    finally:
        nginx.end()
    covers("Resumption: nginx", version, "client")
