# SPDX-License-Identifier: LGPL-2.1-or-later
"""`handshake serve` and requests that come as early data (RFC 8470)."""

import os
import subprocess

import pytest

from early_data import Visitor
from scale import seconds, wait_until
from test_serve import Serve


def request(method="GET", target="/", *fields, body=""):
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "",
                        body]).encode()


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    (made / "index.html").write_text("the index")
    (made / "large").write_bytes(os.urandom(3 << 20) + b"the end of it")
    return made


def come_back(serve, directory, early, wait, options=(), data=b""):
    """A client of the server that comes again with this early data; what it saw."""
    visitor = Visitor(directory, serve.port, "-servername", "localhost", "-alpn", "http/1.1")
    visitor.visit(first=request(), wait=b"the index")
    assert visitor.again(early, *options, wait=wait, data=data)
    return visitor


@pytest.fixture
def serve(daemon, handshake, root, tmp_path):
    return Serve(handshake, root, "--early-data", "--socket", daemon.socket, "--log",
                 tmp_path / "access", profile="early")


@pytest.mark.parametrize("method", ("GET", "HEAD"))
def test_serve_answers_what_does_no_harm_twice(serve, tmp_path, method):
    visitor = come_back(serve, tmp_path, request(method), b"ETag")
    assert "HTTP/1.1 200 OK" in visitor.output and "Content-Length: 9" in visitor.output
    wait_until(lambda: f'"{method} / HTTP/1.1" 200' in (tmp_path / "access").read_text(),
               what="the log's line")


def test_serve_sends_files_and_goes_on(serve, tmp_path, root, covers):
    """All of a large file, and then a request that came as any other."""
    visitor = come_back(serve, tmp_path, request(target="/large"), b"the end of it",
                        options=("-ign_eof",), data=request("GET", "/", "Connection: close"))
    _, file, rest = visitor.raw.partition((root / "large").read_bytes())
    # s_client puts its own words between header and content.
    assert file and b"HTTP/1.1 200 OK" in rest and b"the index" in rest, rest
    covers("Early data answered by handshake serve", "TLS1.3", "server")


@pytest.mark.parametrize("early", (
    request("POST", "/", "Content-Length: 1", body="x"),
    request("DELETE"),
    request("GET", "/", "Content-Length: 1", body="x"),
    request() + request(),
    request()[:-2],
    b"no HTTP at all",
), ids=("post", "delete", "content", "two", "part", "nothing"))
def test_serve_says_too_early(serve, tmp_path, early):
    visitor = come_back(serve, tmp_path, early, b"425 Too Early\n")
    assert "HTTP/1.1 425 Too Early" in visitor.output and "HTTP/1.1 200" not in visitor.output
    wait_until(lambda: '" 425 ' in (tmp_path / "access").read_text(), what="the log's line")


def test_serve_says_too_early_where_it_was_not_told(daemon, handshake, root, tmp_path):
    serve = Serve(handshake, root, "--socket", daemon.socket, profile="early")
    visitor = come_back(serve, tmp_path, request(), b"425 Too Early\n")
    assert "HTTP/1.1 425 Too Early" in visitor.output and "the index" not in visitor.output


def curl_can():
    words = subprocess.run(["curl", "--help", "all"], capture_output=True, check=False).stdout
    return b"--tls-earlydata" in words


@pytest.mark.skipif(not curl_can(), reason="this curl has no --tls-earlydata")
def test_curl(daemon, serve, pki):
    """Two connections of one curl, which keeps the first one's ticket for the second."""
    accepted = daemon.status()["early-data-accepted"]
    once = ["--cacert", pki.trust, "--tls-earlydata", "-H", "Connection: close",
            f"https://localhost:{serve.port}/"]
    result = subprocess.run(["curl", "-sv", *once, "--next", "-sv", *once], capture_output=True,
                            check=True, timeout=seconds(30))
    assert result.stdout == b"the indexthe index"
    # Whether it can depends on the TLS library that it is built with.
    if b"arly data" in result.stderr and b"accepted" in result.stderr:
        assert daemon.status()["early-data-accepted"] == accepted + 1
