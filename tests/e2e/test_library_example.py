# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of the manual do what it says."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

import library
import peers
from endpoint import Endpoint, context
from scale import seconds

DOCS = library.ROOT / "docs"
PORT = 4433


@pytest.fixture
def server(pki):
    """An HTTPS server that is not ours, for example clients."""
    port = peers.free_port()
    with peers.Program(peers.needs("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-www",
                       "-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                       pki.key("ecdsa"), port=port) as one:
        yield one


def example(name):
    path = DOCS / name
    if not path.exists():
        pytest.skip(f"docs/{name} is not there")
    return path


def test_first_program_builds_with_pkg_config_and_runs(daemon, pki, tmp_path):
    source = example("example-first-program.c")
    for tool in ("cc", "make", "pkg-config"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    prefix = tmp_path / "prefix"
    subprocess.run(["make", "-s", "-C", library.ROOT, "install", f"PREFIX={prefix}",
                    f"SYSCONFDIR={prefix}/etc"], check=True, stdout=subprocess.DEVNULL,
                   timeout=seconds(60))
    program = tmp_path / "first-program"
    environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
                   "LD_LIBRARY_PATH": str(prefix / "lib"),
                   "HANDSHAKED_SOCKET": str(daemon.socket)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libhandshake"], check=True,
                           env=environment, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, source,
                    *flags], check=True, env=environment, timeout=seconds(60))
    # Its port is written in it, as a first program's is.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", PORT))
        except OSError as error:
            pytest.skip(f"the example's port {PORT} is taken: {error}")
    with peers.Program(program, port=PORT, env=environment) as running:
        with socket.create_connection(("127.0.0.1", PORT), seconds(20)) as sock:
            peer = Endpoint(sock, context("client", pki.trust), "localhost").handshake()
            assert peer.recv_exactly(6) == b"hello\n"
            assert peer.recv() == b""
        assert running.process.wait(seconds(20)) == 0, running.errors


def test_python_client_of_the_protocol_runs(daemon, server):
    source = example("example-client.py")
    done = subprocess.run([sys.executable, source, "127.0.0.1", str(server.port), "client",
                           "localhost"], input=b"GET / HTTP/1.0\r\n\r\n",
                          env={**os.environ, "HANDSHAKED_SOCKET": str(daemon.socket)},
                          capture_output=True, timeout=seconds(60))
    assert done.returncode == 0, (done.stdout[:500], done.stderr)
    assert b"HTTP/1.0 200" in done.stdout
    assert b"outcome: established" in done.stderr
