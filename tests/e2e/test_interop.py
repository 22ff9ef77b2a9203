# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every version, cipher, key type and role with other TLS programs; data both ways, compared by
SHA-256; and what was negotiated is what the daemon says it was."""

import base64
import contextlib
import os
import subprocess
import threading

import pytest

import endpoint
import peers
import program
from endpoint import in_thread
from peers import CASES, CIPHERS, sha256
from protocol import connection_of
from scale import FULL, SLOW, seconds, wait_until

CASE_NAMES = ["-".join(case) for case in CASES]
all_cases = pytest.mark.parametrize("version,cipher,key", CASES, ids=CASE_NAMES)
each_client = pytest.mark.parametrize("name", peers.CLIENTS)


def assert_negotiated(result, version, cipher, key, record_path):
    assert result["version"] == version
    assert result["cipher"] == cipher
    assert result["suite"] == peers.suite(version, cipher, key)
    assert result["transmit"] == record_path
    assert result["receive"] == record_path
    assert bool(result.get("records-reason")) == (record_path != "kernel")
    assert result["resumed"] == "no"
    assert result["group"]


# ---- Server role ----

@pytest.fixture(scope="module")
def serve(module_handshake, payload_file):
    """The port of a `handshake serve` with the profile; one for all cases of a key."""
    ports = {}

    def port_of(profile, root=payload_file.parent):
        if (profile, root) not in ports:
            port = peers.free_port()
            process = module_handshake.start("serve", "--listen", f"127.0.0.1:{port}", "--root",
                                             root, "--profile", profile,
                                             stdout=subprocess.DEVNULL)
            wait_until(lambda: peers.is_listening(port) or process.poll() is not None, 20,
                       "handshake serve")
            assert process.poll() is None, "handshake serve ended at once"
            ports[profile, root] = port
        return ports[profile, root]

    return port_of


@each_client
@all_cases
def test_handshake_serve_sends_a_file_to(name, version, cipher, key, pki, daemon, serve, payload,
                                         counted):
    with counted():
        got = peers.CLIENTS[name](pki, serve(key), "2MiB", version, cipher, key)
    assert sha256(got) == sha256(payload)


@pytest.fixture(scope="module")
def http_server(shared_daemon, payload):
    servers = {}

    def server_of(profile):
        if profile not in servers:
            servers[profile] = program.HttpServer(shared_daemon.socket, profile, payload)
        return servers[profile]

    yield server_of
    for server in servers.values():
        server.close()


@each_client
@all_cases
def test_program_exchanges_data_both_ways_with(name, version, cipher, key, pki, daemon, http_server,
                                               payload, payload_file, record_path, counted, covers):
    server = http_server(key)
    with counted():
        got = peers.CLIENTS[name](pki, server.port, "2MiB", version, cipher, key, payload_file)
    seen = server.next_seen()
    assert "error" not in seen, seen
    assert_negotiated(seen, version, cipher, key, record_path)
    assert seen["server-name"] == "localhost"
    assert sha256(seen["upload"]) == sha256(payload)
    assert sha256(got) == sha256(payload)
    covers("Full handshake", version, "server")


# ---- Client role ----

class Connect:
    """handshake connect, its standard input fed and its output read by threads."""

    def __init__(self, handshake, port, *arguments):
        self.process = handshake.start("connect", f"127.0.0.1:{port}", "--peer-name", "localhost",
                                       "--info", *arguments, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.errors = in_thread(self.process.stderr.read)
        self.info = None

    def exchange(self, data, expected):
        """Sends data, and returns the first `expected` bytes that come."""
        def write():
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(data)
                self.process.stdin.flush()

        killer = threading.Timer(seconds(60), self.process.kill)
        killer.start()
        try:
            writer = in_thread(write)
            got = self.process.stdout.read(expected)
            assert len(got) == expected, f"{len(got)} bytes came: {self.finish()}"
            writer.result(seconds(20))
            return got
        finally:
            killer.cancel()

    def finish(self):
        """Ends the input. (exit status, what --info told)."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(seconds(20))
        text = self.errors.result(seconds(10)).decode()
        self.info = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        return status, text


def assert_connected(connect, version, cipher, key, record_path, pki):
    connect.finish()
    assert_negotiated(connect.info, version, cipher, key, record_path)
    assert connect.info["peer-authenticated"] == "yes"
    assert connect.info["peer-sha256"] == pki.sha256(key)


@all_cases
def test_handshake_connect_to_s_server(version, cipher, key, pki, handshake, payload, record_path,
                                       counted, covers):
    with peers.s_server(pki, version, cipher, key, "-naccept", "1", stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE) as server, counted():
        connect = Connect(handshake, server.port, "--profile", "client")
        there = in_thread(server.process.stdout.read, len(payload))
        back = in_thread(server.process.stdin.write, payload)
        got = connect.exchange(payload, len(payload))
        server.process.stdin.flush()
        assert sha256(got) == sha256(payload)
        assert sha256(there.result(seconds(30))) == sha256(payload)
        back.result(seconds(30))
        assert_connected(connect, version, cipher, key, record_path, pki)
    covers("Full handshake", version, "client")


@all_cases
def test_handshake_connect_to_gnutls_serv(version, cipher, key, pki, handshake, record_path,
                                          counted, covers):
    # Its echo wants lines of text, and waits for acknowledgements where they are short.
    text = base64.b64encode(os.urandom(3 << 19))
    data = b"".join(text[i:i + 1023] + b"\n" for i in range(0, len(text), 1023))
    with peers.gnutls_serv(pki, version, cipher, key, "--echo", "--crlf") as server, counted():
        connect = Connect(handshake, server.port, "--profile", "client")
        got = connect.exchange(data, len(data))
        assert sha256(got) == sha256(data)
        assert_connected(connect, version, cipher, key, record_path, pki)
    covers("Full handshake", version, "client")


@pytest.fixture(scope="module")
def nginx(pki, payload_file, tmp_path_factory):
    one = peers.Nginx(tmp_path_factory.mktemp("nginx"), pki, payload_file.parent)
    yield one
    one.end()


@all_cases
def test_handshake_connect_to_nginx_as_stream_proxy(version, cipher, key, pki, handshake, nginx,
                                                    payload, record_path, counted):
    with counted():
        connect = Connect(handshake, nginx.stream[version, cipher, key], "--profile", "client")
        got = connect.exchange(payload, len(payload))
        assert sha256(got) == sha256(payload)
        # nginx 1.22 ends a stream without close_notify, which connect rightly calls an error.
        assert_connected(connect, version, cipher, key, record_path, pki)


@all_cases
def test_handshake_connect_to_nginx_fetches_a_file(version, cipher, key, pki, handshake, nginx,
                                                   payload):
    done = handshake("connect", f"127.0.0.1:{nginx.http[version, cipher, key]}", "--peer-name",
                     "localhost", "--profile", "client", "--keep-open",
                     input=b"GET /2MiB HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert sha256(body) == sha256(payload)


# ---- Much data ----

BULK = 64 << 20

# An emulated machine takes every cipher once; versions and roles take turns.
SERVE_BULK = [(cipher, version) for cipher in CIPHERS for version in peers.VERSIONS]
CONNECT_BULK = list(SERVE_BULK)
if not FULL:
    SERVE_BULK = [("AES-128-GCM", "TLS1.3"), ("CHACHA20-POLY1305", "TLS1.2"),
                  ("AES-128-CCM", "TLS1.3")]
    CONNECT_BULK = [("AES-256-GCM", "TLS1.2")]


@pytest.fixture(scope="module")
def bulk_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "64MiB"
    with open(path, "wb") as file:
        for _ in range(BULK >> 20):
            file.write(os.urandom(1 << 20))
    yield path
    path.unlink()


@pytest.mark.bulk
@pytest.mark.timeout(300 * SLOW)
@pytest.mark.parametrize("cipher,version", SERVE_BULK)
def test_64_mib_to_curl_by_handshake_serve(version, cipher, pki, daemon, serve, bulk_file,
                                           counted):
    with counted():
        got = peers.curl(pki, serve("ecdsa", bulk_file.parent), "64MiB", version, cipher, "ecdsa")
    assert sha256(got) == sha256(bulk_file.read_bytes())


@pytest.mark.bulk
@pytest.mark.timeout(300 * SLOW)
@pytest.mark.parametrize("cipher,version", CONNECT_BULK)
def test_64_mib_both_ways_by_handshake_connect(version, cipher, pki, handshake, nginx, bulk_file,
                                               counted):
    data = bulk_file.read_bytes()
    with counted():
        connect = Connect(handshake, nginx.stream[version, cipher, "ecdsa"], "--profile",
                          "client")
        got = connect.exchange(data, len(data))
    assert sha256(got) == sha256(data)
    connect.finish()


# ---- What is chosen ----

def test_server_s_order_of_ciphers_decides(pki, client):
    for profile, chosen in (("server-order", "CHACHA20-POLY1305"), ("client-order", "AES-128-GCM")):
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile=profile)
            # TLS 1.2 lets Python say in which order it prefers.
            endpoint.Endpoint(theirs, endpoint.context(
                "client", pki.trust, version="TLS1.2",
                ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"),
                "localhost").handshake()
            reply = client.reply(number)
            assert reply.outcome == "established" and reply["cipher"] == chosen, reply


def test_certificate_is_chosen_by_server_name(pki, client):
    for name, certificate in (("second.test", "second"), ("third.test", "third"),
                              ("www.example.test", "ecdsa"), ("localhost", "ecdsa")):
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile="names")
            peer = endpoint.Endpoint(theirs, endpoint.context("client", pki.trust),
                                     name).handshake()
            reply = client.reply(number)
            assert reply.outcome == "established", reply
            assert reply["server-name"] == name
            subject = dict(x[0] for x in peer.tls.getpeercert()["subject"])
            assert subject["commonName"] == certificate


def test_unknown_server_name_gets_the_first_certificate_unless_refused(pki, client):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile="names-default")
        made = endpoint.context("client", pki.trust)
        made.check_hostname = False
        peer = endpoint.Endpoint(theirs, made, "unknown.test").handshake()
        assert client.reply(number).outcome == "established"
        assert dict(x[0] for x in peer.tls.getpeercert()["subject"])["commonName"] == "ecdsa"


@pytest.mark.parametrize("role", ("client", "server"))
def test_application_protocol_is_agreed_on(role, pki, client):
    for offered, chosen in ((["http/1.1"], "http/1.1"), (["http/1.1", "h2"], None)):
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs:
            number = client.start(ours, role, profile="alpn-optional", peer_name="localhost"
                                  if role == "client" else None)
            peer = endpoint.Endpoint(theirs, endpoint.context(
                "client" if role == "server" else "server",
                pki.trust if role == "server" else None,
                pki.cert("ecdsa") if role == "client" else None,
                pki.key("ecdsa") if role == "client" else None, alpn=offered),
                "localhost").handshake()
            reply = client.reply(number)
            assert reply.outcome == "established", reply
            assert reply["alpn"] == peer.tls.selected_alpn_protocol()
            if chosen:
                assert reply["alpn"] == chosen
            elif role == "server":
                assert reply["alpn"] == "h2", "the server's order decides"


@pytest.mark.parametrize("kind", peers.KEYS)
@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_certificate_is_verified_and_told(kind, version, pki, client, covers):
    for profile in ("require", "request"):
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile=profile)
            peer = endpoint.Endpoint(theirs, endpoint.context(
                "client", pki.trust, pki.cert("client-" + kind), pki.key("client-" + kind),
                version=version), "localhost").handshake()
            reply = client.reply(number)
            assert reply.outcome == "established", reply
            assert reply["peer-authenticated"] == "yes"
            assert reply["peer-sha256"] == pki.sha256("client-" + kind)
            assert reply["peer-identity"] == "dns:client.example.test"
            assert reply["peer-subject"] == f"CN=client-{kind}"
            assert reply["peer-issuer"] == "CN=Test Intermediate"
            with os.fdopen(reply.take("chain")) as chain:
                assert chain.read().count("BEGIN CERTIFICATE") == 2
            endpoint.exchange(peer, connection_of(reply, ours))
    covers("Client certificate", version, "server")


@pytest.mark.parametrize("kind", peers.KEYS)
@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_role_shows_its_certificate(kind, version, pki, client, covers):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "client", profile="client-" + kind, peer_name="localhost")
        peer = endpoint.Endpoint(theirs, endpoint.context(
            "server", pki.trust, pki.cert("ecdsa"), pki.key("ecdsa"), version=version,
            require_certificate=True)).handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        subject = dict(x[0] for x in peer.tls.getpeercert()["subject"])
        assert subject["commonName"] == "client-" + kind
    covers("Client certificate", version, "client")


def test_client_certificate_that_is_only_requested_may_be_missing(pki, client):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile="request")
        endpoint.Endpoint(theirs, endpoint.context("client", pki.trust), "localhost").handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        assert reply["peer-authenticated"] == "no"
        assert reply.get("peer-sha256") is None and "chain" not in reply.fds
