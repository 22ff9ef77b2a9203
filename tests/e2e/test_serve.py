# SPDX-License-Identifier: LGPL-2.1-or-later
"""`handshake serve`: HTTP over connections that the daemon made."""

import contextlib
import email.utils
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from scale import FULL, seconds, wait_until


class Serve:
    """A `handshake serve` on a port of its own."""

    def __init__(self, handshake, root, *options, profile="default"):
        self.process = handshake.start("serve", "--listen", "127.0.0.1:0", "--root", root,
                                       "--profile", profile, *options, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
        self.line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"serving (.*) on https://127\.0\.0\.1:(\d+)/ \(profile (.*)\)\n",
                             self.line)
        assert match, (self.line, self.process.poll() is not None and self.process.stderr.read())
        assert match[1] == str(root) and match[3] == profile
        self.port = int(match[2])
        self.said = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.said += line

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds(20))


class Client:
    """An HTTP client that notices how the connection ends."""

    def __init__(self, port, pki, certificate=None, version=None):
        context = ssl.create_default_context(cafile=str(pki.trust))
        # Python's contexts take an end of TCP for an end of TLS unless told otherwise.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(str(pki.cert(certificate)), str(pki.key(certificate)))
        self.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), seconds(10)),
            server_hostname="localhost", suppress_ragged_eofs=False)
        self.rest = b""

    def send(self, text, host=True):
        if isinstance(text, str):
            text = text.encode()
        head, _, more = text.partition(b"\r\n")
        self.sock.sendall(head + b"\r\n" + (b"Host: localhost\r\n" if host else b"") + more +
                          b"\r\n")

    def response(self, head=False):
        """(status, fields, body), the body by its length."""
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            assert data, f"the connection ended in the header: {self.rest}"
            self.rest += data
        text, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = text.decode().split("\r\n")
        status = int(lines[0].split()[1])
        fields = {name.lower(): value for name, value in
                  (line.split(": ", 1) for line in lines[1:])}
        length = 0 if head or status == 304 else int(fields["content-length"])
        while len(self.rest) < length:
            data = self.sock.recv(1 << 20)
            assert data, "the connection ended in the body"
            self.rest += data
        body, self.rest = self.rest[:length], self.rest[length:]
        return status, fields, body

    def get(self, target, *fields, method="GET"):
        self.send(f"{method} {target} HTTP/1.1\r\n" + "".join(f + "\r\n" for f in fields))
        return self.response(head=method == "HEAD")

    def assert_ended(self):
        """The server has said close_notify, not just closed."""
        assert self.rest == b""
        assert self.sock.recv(1) == b""

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    base = tmp_path_factory.mktemp("serve")
    (base / "secret").write_text("secret")
    path = base / "root"
    path.mkdir()
    (path / "hello.txt").write_text("hello\n")
    (path / "empty").write_bytes(b"")
    (path / "data.bin").write_bytes(os.urandom(300000))
    (path / "sub").mkdir()
    (path / "sub" / 'a"b<c>.html').write_text("<p>x</p>")
    (path / "site").mkdir()
    (path / "site" / "index.html").write_text("<p>index</p>")
    (path / "inside").symlink_to("hello.txt")
    (path / "outside").symlink_to("../secret")
    (path / "absolute").symlink_to("/etc/passwd")
    (path / "up").symlink_to("..")
    os.mkfifo(path / "fifo")
    os.utime(path / "hello.txt", (1e9, 1e9))
    return path


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "access"


@pytest.fixture(scope="module")
def server(module_handshake, root, log_path):
    return Serve(module_handshake, root, "--log", log_path)


@pytest.fixture
def http(server, daemon, pki):
    with Client(server.port, pki) as client:
        yield client


def test_sends_a_file_with_its_type_and_state(http, root):
    status, fields, body = http.get("/hello.txt")
    assert (status, body) == (200, b"hello\n")
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["accept-ranges"] == "bytes"
    assert fields["etag"].startswith('"')
    assert email.utils.parsedate_to_datetime(fields["last-modified"]).timestamp() == 1e9
    assert http.get("/data.bin")[2] == (root / "data.bin").read_bytes()
    assert http.get("/empty")[::2] == (200, b"")


def test_keeps_the_connection_for_many_requests(http):
    for _ in range(50):
        assert http.get("/hello.txt")[::2] == (200, b"hello\n")
        assert http.get("/none")[0] == 404


def test_answers_requests_that_come_at_once_in_their_order(http):
    request = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    http.sock.sendall(b"".join(request % (b"hello.txt" if i % 2 else b"empty")
                               for i in range(100)))
    for i in range(100):
        assert http.response()[2] == (b"hello\n" if i % 2 else b"")


def test_a_request_in_pieces_is_one_request(http):
    for byte in b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n":
        http.sock.sendall(bytes([byte]))
    assert http.response()[::2] == (200, b"hello\n")


def test_head_sends_no_content(http):
    status, fields, body = http.get("/data.bin", method="HEAD")
    assert (status, fields["content-length"], body) == (200, "300000", b"")
    assert http.get("/hello.txt")[0] == 200


@pytest.mark.parametrize("text,first,last", [("0-0", 0, 0), ("100-299", 100, 299),
                                             ("299999-", 299999, 299999), ("-10", 299990, 299999),
                                             ("0-", 0, 299999)])
def test_sends_a_range(http, root, text, first, last):
    status, fields, body = http.get("/data.bin", f"Range: bytes={text}")
    assert status == 206
    assert fields["content-range"] == f"bytes {first}-{last}/300000"
    assert body == (root / "data.bin").read_bytes()[first:last + 1]


def test_refuses_a_range_beyond_the_end(http):
    status, fields, _ = http.get("/data.bin", "Range: bytes=300000-")
    assert (status, fields["content-range"]) == (416, "bytes */300000")


def test_a_range_of_an_older_file_gives_the_whole(http):
    etag = http.get("/data.bin", method="HEAD")[1]["etag"]
    assert http.get("/data.bin", "Range: bytes=0-9", f"If-Range: {etag}")[0] == 206
    assert http.get("/data.bin", "Range: bytes=0-9", 'If-Range: "other"')[0] == 200


def test_what_the_client_has_is_not_sent_again(http):
    fields = http.get("/hello.txt")[1]
    for condition in (f"If-Modified-Since: {fields['last-modified']}",
                      f"If-None-Match: {fields['etag']}"):
        status, again, body = http.get("/hello.txt", condition)
        assert (status, body) == (304, b"")
        assert again["etag"] == fields["etag"]
    assert http.get("/hello.txt", "If-Modified-Since: Thu, 01 Jan 1998 00:00:00 GMT")[0] == 200
    assert http.get("/hello.txt", 'If-Match: "other"')[0] == 412


def test_lists_a_directory_with_names_as_text(http):
    status, fields, body = http.get("/sub/")
    assert (status, fields["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'<a href="./a%22b%3Cc%3E.html">a&quot;b&lt;c&gt;.html</a>' in body
    assert http.get("/sub/a%22b%3Cc%3E.html")[::2] == (200, b"<p>x</p>")
    listing = http.get("/")[2]
    assert b"hello.txt" in listing and b"inside" in listing
    for hidden in (b"outside", b"absolute", b"fifo", b'"./up'):
        assert hidden not in listing


def test_shows_the_index_and_adds_the_slash(http):
    status, fields, _ = http.get("/site?x=1")
    assert (status, fields["location"]) == (301, "/site/?x=1")
    assert http.get("/site/")[2] == b"<p>index</p>"
    # No other site's address may come of it.
    assert http.get("//site")[1]["location"] == "/site/"


@pytest.mark.parametrize("target", ["/../secret", "/%2e%2e/secret", "/sub/../../secret", "/outside",
                                    "/absolute", "/up/secret", "/sub/%2e%2e/%2e%2e/secret"])
def test_nothing_leads_out_of_the_root(http, target):
    status, _, body = http.get(target)
    assert status == 403
    assert b"secret" not in body and b"root:" not in body


@pytest.mark.parametrize("target,status", [
    ("/none", 404), ("/hello.txt/", 404), ("/hello%00.txt", 404), ("/hello.txt%00", 404),
    ("/sub%2fx", 404), ("/fifo", 403), ("/%", 400), ("/%zz", 400), ("*", 400),
    ("https://localhost/hello.txt", 200), ("/inside", 200), ("/sub/../hello.txt", 200),
    ("/hello.txt?%00", 200), ("/" + "a" * 5000, 404)])
def test_each_target_has_its_status(http, target, status):
    assert http.get(target)[0] == status
    assert http.get("/hello.txt")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"])
def test_other_methods_are_not_allowed(http, method):
    status, fields, _ = http.get("/hello.txt", method=method)
    assert (status, fields["allow"]) == (405, "GET, HEAD")


def test_an_upload_gets_its_answer_although_nobody_reads_it(server, daemon, pki):
    with Client(server.port, pki) as client:
        client.send("PUT /x HTTP/1.1\r\nContent-Length: 4000000\r\n")
        with contextlib.suppress(OSError):
            client.sock.sendall(b"x" * 4000000)
        assert client.response()[0] == 405


@pytest.mark.parametrize("request_text,host", [
    ("GET /hello.txt HTTP/1.1\r\n", False), ("GET /hello.txt HTTP/1.1\r\nHost: again\r\n", True),
    ("GET /hello.txt HTTP/1.1\r\nnonsense\r\n", True)])
def test_what_is_no_http_is_a_bad_request(server, daemon, pki, request_text, host):
    with Client(server.port, pki) as client:
        client.send(request_text, host)
        assert client.response()[0] == 400


@pytest.mark.parametrize("request_text", ["\x16\x03\x01\x02 /\r\n", "\x01\x02\x03 /\r\n"])
def test_what_is_no_text_is_a_bad_request_or_the_end(server, http, daemon, pki, request_text):
    with Client(server.port, pki) as client:
        client.send(request_text)
        # libmicrohttpd 1.0 has no answer to it.
        answer = client.sock.recv(65536)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer
    assert http.get("/hello.txt")[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("request_text", ["GET /hello.txt HTTP/1.1\r\nConnection: close\r\n",
                                          "GET /hello.txt HTTP/1.0\r\n",
                                          "GET /data.bin HTTP/1.1\r\nConnection: close\r\n"])
def test_says_close_notify_behind_the_last_response(server, daemon, pki, version, request_text):
    with Client(server.port, pki, version=version) as client:
        client.send(request_text)
        assert client.response()[0] == 200
        client.assert_ended()


def test_answers_a_client_that_said_close_notify_behind_its_request(server, daemon, pki, root):
    with Client(server.port, pki) as client:
        client.send("GET /data.bin HTTP/1.1\r\n")
        client.sock.settimeout(0)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
            client.sock.unwrap()
        client.sock.settimeout(seconds(10))
    done = subprocess.run(["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect",
                           f"127.0.0.1:{server.port}", "-CAfile", pki.trust],
                          input=b"", capture_output=True, timeout=seconds(20))
    assert done.returncode == 0, done.stderr
    with Client(server.port, pki) as client:
        assert client.get("/hello.txt")[0] == 200


def test_logs_requests_with_what_protected_them(http, log_path, record_path):
    http.get("/hello.txt?log")
    http.get('/no"ne\\log')
    line = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:[\d:]{8} [+-]\d{4}\] "%s" %s ' \
           rf"TLS1\.3 TLS_\w+ {record_path}"
    wanted = [line % (r"GET /hello\.txt\?log HTTP/1\.1", "200 6"),
              line % (r"GET /no\\x22ne\\x5Clog HTTP/1\.1", "404 14")]
    for pattern in wanted:
        wait_until(lambda: any(re.fullmatch(pattern, text)
                               for text in log_path.read_text().splitlines()), 5, pattern)


def test_ends_idle_connections_with_close_notify(handshake, root, pki):
    server = Serve(handshake, root, "--timeout", "1")
    with Client(server.port, pki) as client:
        assert client.get("/hello.txt")[0] == 200
        client.assert_ended()
    with Client(server.port, pki) as client:  # half a request is no request
        client.sock.sendall(b"GET /hello.txt HT")
        client.assert_ended()
    assert server.stop() == 0


def test_a_file_that_becomes_shorter_is_never_called_whole(handshake, tmp_path, pki, record_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(400 << 20)
    server = Serve(handshake, tmp_path)
    with Client(server.port, pki) as client:
        # The query is nobody's to judge, and must not reach a terminal as it is.
        client.send("GET /file?\x1b]0;title\x07 HTTP/1.1\r\n")
        got = len(client.sock.recv(1000))
        os.truncate(path, 1000)
        try:
            while data := client.sock.recv(1 << 20):
                got += len(data)
            # To a relay every end of the program's data is its end: the length tells of the cut.
            assert record_path == "relay", "the connection ended as if all had been sent"
        except (ssl.SSLError, ConnectionError):
            pass
        assert got < 400 << 20
    wait_until(lambda: b"became shorter" in server.said, 5, "the notice")
    assert rb'"/file?\x1B]0;title\x07" became shorter' in server.said
    assert server.stop() == 0


def test_sigterm_finishes_what_is_under_way(handshake, tmp_path, pki):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(30 << 20)
    server = Serve(handshake, tmp_path)
    with Client(server.port, pki) as idle, Client(server.port, pki) as busy:
        assert idle.get("/none")[0] == 404
        busy.send("GET /file HTTP/1.1\r\n")
        busy.sock.recv(1)
        server.process.send_signal(signal.SIGTERM)
        idle.assert_ended()
        got = 1
        while data := busy.sock.recv(1 << 20):
            got += len(data)
        assert got > 30 << 20
    assert server.process.wait(seconds(10)) == 0


def test_waits_for_a_daemon_that_went_away(make_daemon, build, sanitizer_directory, root, pki,
                                           records):
    import conftest
    import daemon as daemon_module
    own = make_daemon({"default": daemon_module.profile(pki, records, "ecdsa")})
    command = conftest.HandshakeCommand(build, own.socket, sanitizer_directory)
    try:
        server = Serve(command, root)
        with Client(server.port, pki) as before:
            assert before.get("/hello.txt")[0] == 200
            own.stop()
            wait_until(lambda: b"has ended the listening" in server.said, 10, "the notice")
            if records == "kernel":  # the kernel needs no daemon; a relay ends with it
                assert before.get("/data.bin")[0] == 200
            own.start()
            wait_until(lambda: b"listens again" in server.said, 20, "the daemon's return")
            with Client(server.port, pki) as after:
                assert after.get("/hello.txt")[0] == 200
        assert server.stop() == 0
    finally:
        command.end()


def test_listens_on_ipv6(handshake, root, pki):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    process = handshake.start("serve", "--listen", "[::1]:0", "--root", root,
                              stdout=subprocess.PIPE)
    match = re.search(r" on https://\[::1\]:(\d+)/ ", process.stdout.readline().decode())
    done = handshake("connect", f"[::1]:{match[1]}", "--profile", "client",
                     input=b"GET /hello.txt HTTP/1.0\r\n\r\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"\r\n\r\nhello\n")


def test_demands_certificates_on_request(handshake, root, pki):
    server = Serve(handshake, root, "--require-client-certificate")
    with Client(server.port, pki, certificate="client-ecdsa") as client:
        assert client.get("/hello.txt")[0] == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with Client(server.port, pki) as client:
            client.get("/hello.txt")
    assert server.stop() == 0


def test_hundreds_of_connections_on_one_thread(handshake, root, pki, record_path):
    # A relay has a bound on one user's connections, an emulated machine on everyone's patience.
    count = 200 if record_path == "relay" or not FULL else 1000
    server = Serve(handshake, root)
    clients = []
    try:
        for _ in range(count):
            clients.append(Client(server.port, pki))
            clients[-1].send("GET /hello.txt HTTP/1.1\r\n")
        for client in clients:
            assert client.response()[::2] == (200, b"hello\n")
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1
    finally:
        for client in clients:
            client.close()
    fds = f"/proc/{server.process.pid}/fd"
    wait_until(lambda: len(os.listdir(fds)) < 20, 10, "the connections' descriptors to be closed")
    assert server.stop() == 0


@pytest.mark.parametrize("arguments,words", [
    ((), "--listen"), (("--listen", "127.0.0.1:0"), "--root"),
    (("--listen", "127.0.0.1", "--root", "/"), '"127.0.0.1" has no port'),
    (("--listen", "127.0.0.1:99999", "--root", "/"), '"99999"'),
    (("--listen", "127.0.0.1:0", "--root", "/", "--records", "auto"), '"auto"'),
    (("--listen", "127.0.0.1:0", "--root", "/", "--timeout", "soon"), '"soon"'),
    (("--listen", "127.0.0.1:0", "--root", "/", "more"), '"more"'),
    (("--listen", "127.0.0.1:0", "--root", "/", "--bogus"), '"--bogus"')])
def test_wrong_usage_is_told(handshake, arguments, words):
    done = handshake("serve", *arguments)
    assert done.returncode == 2
    assert words in done.stderr.decode()


@pytest.mark.parametrize("arguments,words", [
    (("--listen", "127.0.0.1:0", "--root", "/nonexistent"), "/nonexistent"),
    (("--listen", "127.0.0.1:0", "--root", "/", "--profile", "nonsense"), "nonsense"),
    (("--listen", "127.0.0.1:0", "--root", "/", "--profile", "only-daemon"), "only-daemon"),
    (("--listen", "127.0.0.1:0", "--root", "/", "--profile", "client"), "client"),
    (("--listen", "192.0.2.1:0", "--root", "/"), "assign"),
    (("--listen", "127.0.0.1:0", "--root", "/", "--socket", "/nonexistent"), "/nonexistent")])
def test_what_cannot_begin_says_why(handshake, arguments, words):
    done = handshake("serve", *arguments)
    assert done.returncode == 1
    assert words in done.stderr.decode()
