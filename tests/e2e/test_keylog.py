# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key log for Wireshark: the administrator's alone, whole lines, and tshark reads with it what a
connection carried, after key updates as well."""

import os
import pathlib
import re
import socket
import stat
import subprocess
import tempfile
import time

import pytest

import capture
import daemon as daemon_module
import endpoint
import peers
from conversation import connected, s_server
from endpoint import limited
from protocol import connection_of
from scale import seconds, wait_until

LINE = re.compile(r"[A-Z0-9_]+ [0-9a-f]{64} [0-9a-f]{64,128}\n")
LABELS = {"TLS1.2": {"CLIENT_RANDOM"},
          "TLS1.3": {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                     "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"}}


@pytest.fixture
def logging_daemon(make_daemon, pki, records, tmp_path):
    def make(**options):
        return make_daemon({"default": daemon_module.profile(pki, records, "ecdsa"),
                            "client": daemon_module.profile(pki, records, role="client")},
                           {"key-log": tmp_path / "keys", **options})
    return make


def certificate(pki):
    return ("-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key", pki.key("ecdsa"))


def converse(client, pki, version, record_path):
    """A conversation, recorded on its way."""
    with s_server(*certificate(pki), "-tls1_2" if version == "TLS1.2" else "-tls1_3") as server:
        recorder = capture.Recorder(server.port)
        server.port = recorder.port
        with connected(client, server, profile="client", peer_name="localhost") as talk:
            talk.speak()
            assert talk.reply["transmit"] == record_path
            talk.connection.close()
        recorder.close()
    return recorder


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_tshark_reads_a_connection_with_it(version, logging_daemon, pki, record_path, tmp_path,
                                           covers):
    one = logging_daemon()
    with one.client() as client:
        recorder = converse(client, pki, version, record_path)
    path = recorder.write(tmp_path / "capture.pcap")
    lines = (tmp_path / "keys").read_text().splitlines(keepends=True)
    assert all(LINE.fullmatch(line) for line in lines)
    assert {line.split()[0] for line in lines} == LABELS[version]
    content = capture.content(path, tmp_path / "keys")
    assert b"line from here\n" in content and b"line from there\n" in content
    nothing = capture.content(path, os.devnull)
    assert b"line" not in nothing
    assert capture.Seen(path, tmp_path / "keys").malformed == []
    covers("Key log for Wireshark", version, "client")


def test_tshark_reads_on_after_key_updates(logging_daemon, pki, tmp_path, record_path, covers):
    """OpenSSL's s_client answers "K" on its input with a KeyUpdate that asks for ours, and the relay or
    libhandshake follows; the log has the first secrets alone, and Wireshark derives the others."""
    if record_path == "kernel":
        pytest.skip("a raw program on the kernel's socket follows no key update; the relay does")
    one = logging_daemon()
    with one.client() as client, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(seconds(30))
        recorder = capture.Recorder(listening.getsockname()[1])
        with peers.Program(peers.needs("openssl"), "s_client", "-connect",
                           f"127.0.0.1:{recorder.port}", "-servername", "localhost", "-tls1_3",
                           stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as program:
            sock, _ = listening.accept()
            sock.settimeout(None)
            reply = client.handshake(sock, "server")
            assert reply.outcome == "established", reply
            connection = connection_of(reply, sock)
            with limited(connection):
                for count in range(3):
                    program.process.stdin.write(b"K\n")
                    program.process.stdin.flush()
                    time.sleep(seconds(0.2))
                    line = b"line %d from there\n" % count
                    program.process.stdin.write(line)
                    program.process.stdin.flush()
                    got = b""
                    while len(got) < len(line):
                        got += connection.recv(len(line) - len(got))
                    assert got == line
                    connection.sendall(b"line %d from here\n" % count)
            connection.close()
            sock.close()
        recorder.close()
    path = recorder.write(tmp_path / "capture.pcap")
    seen = capture.Seen(path, tmp_path / "keys")
    updates = [m["from_client"] for m in seen.messages if m["type"] == 24]
    assert updates.count(True) == 3 and updates.count(False) == 3, updates
    content = capture.content(path, tmp_path / "keys")
    for count in range(3):
        assert b"line %d from there\n" % count in content
        assert b"line %d from here\n" % count in content
    assert seen.malformed == []
    covers("Key log for Wireshark", "TLS1.3", "server")


def test_environment_leaks_no_keys(make_daemon, pki, records, monkeypatch):
    """Without the setting nothing is written, whatever the environment says."""
    with tempfile.TemporaryDirectory(prefix="leak-") as directory:
        os.chmod(directory, 0o777)
        leak = pathlib.Path(directory) / "keys"
        leak.touch()
        leak.chmod(0o666)
        monkeypatch.setenv("SSLKEYLOGFILE", str(leak))
        one = make_daemon({"default": daemon_module.profile(pki, records, "ecdsa")})
        for version in peers.VERSIONS:
            with one.client() as client:
                left, right = endpoint.tcp_pair()
                with left, right:
                    number = client.start(left, "server")
                    made = endpoint.context("client", trust=pki.trust, version=version)
                    endpoint.Endpoint(right, made, server_name="localhost").handshake()
                    assert client.reply(number).outcome == "established"
        assert leak.read_text() == ""


def test_file_is_the_daemon_s_alone_and_said_loudly(logging_daemon, handshake_command, tmp_path):
    one = logging_daemon()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert "the secrets of ALL connections" in one.log()
    assert one.status()["key-log"] == str(tmp_path / "keys")
    shown = handshake_command(one, "status").stdout.decode()
    assert "WARNING: the secrets of all connections" in shown


def test_reload_without_it_ends_it(logging_daemon, pki, tmp_path, record_path):
    one = logging_daemon()
    del one.options["key-log"]
    one.write()
    assert one.reload()
    wait_until(lambda: "key-log" not in one.status(), 20, "the new workers")
    with one.client() as client:
        converse(client, pki, "TLS1.3", record_path)
    assert (tmp_path / "keys").read_text() == ""


@pytest.mark.parametrize("what,sentence", (
    ("readable", "chmod 600"), ("link", "symbolic link"), ("fifo", "no regular file"),
    ("directory", "cannot open")))
def test_unfit_file_stops_the_start(what, sentence, logging_daemon, tmp_path):
    path = tmp_path / "keys"
    if what == "readable":
        path.touch(mode=0o644)
        path.chmod(0o644)
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "fifo":
        os.mkfifo(path, 0o600)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    else:
        path.mkdir()
    with pytest.raises(AssertionError) as caught:
        logging_daemon()
    if what == "fifo":
        os.close(reader)
    assert sentence in str(caught.value)


@pytest.fixture
def handshake_command(build):
    def run(one, *arguments):
        return subprocess.run([build / "bin" / "handshake", *arguments], capture_output=True,
                              env={**os.environ, "HANDSHAKED_SOCKET": str(one.socket)},
                              timeout=seconds(30), check=True)
    return run
