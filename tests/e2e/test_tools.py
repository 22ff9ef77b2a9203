# SPDX-License-Identifier: LGPL-2.1-or-later
"""`handshake connect`, `status`, `doctor` and the command itself."""

import contextlib
import json
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from endpoint import in_thread
from peers import free_port
from scale import seconds, wait_until


class Server:
    """A TLS server of Python's, whose ways of ending are its own: `behave` gets the TLS socket."""

    def __init__(self, pki, behave, certificate="ecdsa", alpn=()):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Python's contexts take an end of TCP for an end of TLS unless told otherwise.
        self.context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self.context.load_cert_chain(str(pki.cert(certificate)), str(pki.key(certificate)))
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.result = in_thread(self._serve, behave)

    def _serve(self, behave):
        sock, _ = self.listening.accept()
        sock.settimeout(seconds(20))
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            tls = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
            with tls:
                return behave(tls)

    def close(self):
        self.listening.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_all(tls):
    data = bytearray()
    while part := tls.recv(1 << 20):
        data += part
    return bytes(data)


def end_well(tls):
    """Says close_notify and waits for the other side's end."""
    with contextlib.suppress(ssl.SSLError, OSError):
        tls.unwrap()


def end_badly(tls):
    """A TCP end without close_notify."""
    os.close(os.dup(tls.fileno()))
    socket.socket(fileno=tls.detach()).close()


def connect(handshake, port, *options, profile="client", **more):
    return handshake("connect", f"127.0.0.1:{port}", "--peer-name", "localhost", "--profile",
                     profile, *options, **more)


# ---- connect: data ----

@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3000000])
@pytest.mark.parametrize("source", ["pipe", "file"])
def test_moves_standard_input_and_output(handshake, daemon, pki, tmp_path, source, size):
    data, answer = os.urandom(size), os.urandom(size)

    def behave(tls):
        got = read_all(tls)
        tls.sendall(answer)
        end_well(tls)
        return got

    (tmp_path / "input").write_bytes(data)
    with Server(pki, behave) as server:
        if source == "file":
            with (tmp_path / "input").open("rb") as file:
                done = connect(handshake, server.port, stdin=file)
        else:
            done = connect(handshake, server.port, input=data)
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        assert server.result.result(seconds(10)) == data
        assert done.stdout == answer


def test_begins_a_file_where_its_descriptor_stands(handshake, daemon, pki, tmp_path):
    def behave(tls):
        got = read_all(tls)
        end_well(tls)
        return got

    (tmp_path / "input").write_bytes(b"0123456789")
    with Server(pki, behave) as server, (tmp_path / "input").open("rb") as file:
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        assert connect(handshake, server.port, stdin=file).returncode == 0
        assert server.result.result(seconds(10)) == b"456789"


def test_a_slow_reader_stops_neither_direction(handshake, daemon, pki):
    """Both sides send before they read."""
    size = 4 << 20

    def behave(tls):
        # One thread: Python's TLS objects know no lock.
        view, got = memoryview(b"s" * size), 0
        tls.setblocking(False)
        while view or got < size:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                view = view[tls.send(view[:65536]):] if view else view
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while got < size:
                    more = len(tls.recv(65536))
                    assert more, f"{got} bytes came"
                    got += more
            if got < size:
                select.select([tls], [tls] if view else [], [], seconds(1))
            elif view:
                select.select([], [tls], [], seconds(1))
        tls.settimeout(seconds(20))
        end_well(tls)
        return got

    with Server(pki, behave) as server:
        process = handshake.start("connect", f"127.0.0.1:{server.port}", "--peer-name", "localhost",
                                  "--profile", "client", stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Nothing of its output is read until its input has all been taken.
        process.stdin.write(b"c" * size)
        process.stdin.flush()
        assert process.stdout.read(size) == b"s" * size
        process.stdin.close()
        assert process.wait(seconds(20)) == 0
        assert server.result.result(seconds(10)) == size


def test_does_not_change_the_flags_of_its_standard_streams(handshake, daemon, pki):
    import fcntl
    ours, theirs = os.pipe()
    with Server(pki, end_well) as server:
        done = connect(handshake, server.port, stdout=theirs, capture_output=False)
    assert done.returncode == 0
    assert not fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(ours)
    os.close(theirs)


# ---- connect: ends ----

def test_an_end_without_close_notify_is_a_failure(handshake, daemon, pki):
    def behave(tls):
        tls.sendall(b"half an ans")
        end_badly(tls)

    with Server(pki, behave) as server:
        done = connect(handshake, server.port, "--keep-open")
    assert done.returncode == 1
    assert done.stdout == b"half an ans"
    assert b"close_notify" in done.stderr or b"reset" in done.stderr


def test_says_close_notify_when_its_input_ends(handshake, daemon, pki):
    def behave(tls):
        assert tls.recv(100) == b"x"
        assert tls.recv(100) == b"", "an end of TCP alone would have raised"
        tls.sendall(b"behind the client's end")
        end_well(tls)
        return True

    with Server(pki, behave) as server:
        done = connect(handshake, server.port, input=b"x")
        assert (done.returncode, done.stdout) == (0, b"behind the client's end")
        assert server.result.result(seconds(10))


def test_keep_open_says_nothing_when_its_input_ends(handshake, daemon, pki):
    def behave(tls):
        assert tls.recv(100) == b"x"
        tls.settimeout(0.3)
        with pytest.raises(TimeoutError):
            tls.recv(1)
        tls.settimeout(seconds(10))
        end_well(tls)
        return True

    with Server(pki, behave) as server:
        assert connect(handshake, server.port, "--keep-open", input=b"x").returncode == 0
        assert server.result.result(seconds(10))


def test_ends_when_the_peer_ends_although_input_is_open(handshake, daemon, pki):
    def behave(tls):
        tls.sendall(b"bye")
        end_well(tls)

    with Server(pki, behave) as server:
        process = handshake.start("connect", f"127.0.0.1:{server.port}", "--peer-name", "localhost",
                                  "--profile", "client", stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        assert process.stdout.read() == b"bye"
        assert process.wait(seconds(10)) == 0


def test_input_that_the_peer_did_not_take_is_a_failure(handshake, daemon, pki, tmp_path):
    with (tmp_path / "input").open("wb") as file:
        file.truncate(200 << 20)

    def behave(tls):
        tls.recv(1000)
        end_well(tls)

    with Server(pki, behave) as server, (tmp_path / "input").open("rb") as file:
        done = connect(handshake, server.port, stdin=file)
    assert done.returncode == 1
    assert done.stderr


# ---- connect: what is told ----

def test_info_goes_beside_the_data(handshake, daemon, pki, record_path):
    def behave(tls):
        tls.sendall(b"data")
        end_well(tls)

    with Server(pki, behave, alpn=["x", "y"]) as server:
        done = connect(handshake, server.port, "--info", "--alpn", "y,z")
    assert (done.returncode, done.stdout) == (0, b"data")
    told = dict(line.split(": ", 1) for line in done.stderr.decode().splitlines())
    assert told["version"] == "TLS1.3" and told["alpn"] == "y"
    assert told["transmit"] == told["receive"] == record_path
    assert told["peer-sha256"] == pki.sha256("ecdsa")


def test_no_data_tells_on_standard_output(handshake, daemon, pki):
    def behave(tls):
        return read_all(tls)

    with Server(pki, behave) as server:
        done = connect(handshake, server.port, "--no-data", "--json", input=b"not sent")
        assert (done.returncode, done.stderr) == (0, b"")
        told = json.loads(done.stdout)
        assert server.result.result(seconds(10)) == b""
    assert told["outcome"] == "established" and told["peer-authenticated"] == "yes"
    assert "dns:localhost" in told["peer-identity"]
    times = [told[f"time-{part}-us"] for part in ("queue", "peer", "computation", "signer", "keys")]
    assert sum(times) == told["handshake-us"] and told["time-computation-us"] > 0
    assert told["chain"].startswith("-----BEGIN CERTIFICATE-----")


def test_refusals_name_class_alert_and_outcome(handshake, daemon, pki):
    with Server(pki, read_all) as server:
        done = connect(handshake, server.port, "--json", profile="client-other-trust")
    assert done.returncode == 4
    text = done.stderr.decode()
    assert "\noutcome: poisoned\n" in text
    assert "\nclass: verification\n" in text
    assert "\nalert: unknown_ca\n" in text
    assert "\nalert-direction: sent\n" in text
    assert json.loads(text.splitlines()[-1])["class"] == "verification"


def test_the_name_is_the_host_s_unless_told_otherwise(handshake, daemon, pki):
    with Server(pki, end_well) as server:
        done = handshake("connect", f"localhost:{server.port}", "--profile", "client")
        assert done.returncode == 0, done.stderr
    with Server(pki, end_well) as server:
        done = handshake("connect", f"localhost:{server.port}", "--profile", "client",
                         "--peer-name", "other.test")
        assert done.returncode == 4
        assert b"other.test" in done.stderr


@pytest.mark.parametrize("options,words", [
    (("--profile", "nonsense"), "nonsense"), (("--profile", "only-daemon"), "only-daemon"),
    (("--socket", "/nonexistent"), "/nonexistent")])
def test_what_was_not_begun_leaves_the_connection_untouched(handshake, daemon, options, words):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = handshake("connect", f"127.0.0.1:{listening.getsockname()[1]}", *options)
        assert done.returncode == 3
        assert words in done.stderr.decode() and "outcome: untouched" in done.stderr.decode()
        peer, _ = listening.accept()
        with peer:
            assert peer.recv(1) == b""


def test_keeps_its_deadline(handshake, daemon):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        begin = time.monotonic()
        done = handshake("connect", f"127.0.0.1:{listening.getsockname()[1]}", "--profile",
                         "client", "--timeout-ms", "300")
        assert time.monotonic() - begin < seconds(10)
    assert done.returncode == 4
    assert b"class: timeout" in done.stderr


def test_tells_why_there_is_no_tcp_connection(handshake):
    done = handshake("connect", f"127.0.0.1:{free_port()}")
    assert done.returncode == 1 and b"refused" in done.stderr
    done = handshake("connect", "host.invalid:1")
    assert done.returncode == 1 and b'"host.invalid"' in done.stderr


@pytest.mark.parametrize("arguments,words", [
    ((), "HOST:PORT"), (("localhost",), "no port"), (("localhost:0",), "localhost:0"),
    (("localhost:1", "more"), '"more"'), (("localhost:1", "--records", "x"), '"x"'),
    (("localhost:1", "--timeout-ms", "0"), "--timeout-ms"),
    (("localhost:1", "--peer-name"), "needs a value"),
    (("localhost:1", "--info=yes"), "takes no value"),
    (("localhost:1", "--peer-name", "a" * 300), "longer than 253 bytes"),
    (("localhost:1", "--profile", "p" * 64), "longer than 63 bytes"),
    (("localhost:1", "--alpn", "h2,"), "not 1 to 255 bytes"), (("localhost:1", "-x"), '"-x"')])
def test_wrong_usage_of_connect_is_told(handshake, arguments, words):
    done = handshake("connect", *arguments)
    assert done.returncode == 2
    assert words in done.stderr.decode()


# ---- status ----

def test_status_counts(handshake, daemon, pki):
    before = json.loads(handshake("status", "--json").stdout)
    with Server(pki, end_well) as server:
        assert connect(handshake, server.port).returncode == 0
    after = json.loads(handshake("status", "--json").stdout)
    assert after["handshakes-established"] == before["handshakes-established"] + 1
    assert all(isinstance(after[key], int) for key in after if key.startswith("failed-"))


def test_status_is_grouped_for_a_person(handshake, daemon):
    done = handshake("status")
    assert done.returncode == 0
    text = done.stdout.decode()
    assert re.search(r"^Handshakes\n(  \S+: +\d+\n)+", text, re.MULTILINE)
    assert "handshakes-established:" in text
    assert "id:" not in text.split()
    assert handshake().stdout.decode().split(":")[0] == text.split(":")[0]


def test_status_watches(handshake, daemon):
    process = handshake.start("status", "--json", "--watch", "100ms", stdout=subprocess.PIPE)
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert all("handshakes-started" in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(seconds(10)) == -signal.SIGINT


def test_status_is_json_whatever_a_name_is(handshake, tmp_path):
    """A network namespace is a file's name."""
    def answer(listening):
        sock, _ = listening.accept()
        with sock:
            sock.recv(4096)
            sock.send(b"handshake/1 counters\nid=1\nversion=%FF%1B\n"
                      b"kernel-namespace=%FFnet requests=1\n")

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        in_thread(answer, listening)
        done = handshake("status", "--json", "--socket", tmp_path / "socket")
    assert json.loads(done.stdout) == {"version": "\ufffd\x1b", "kernel-namespace":
                                       [{"name": "\ufffdnet", "requests": 1}]}


def test_status_tells_why_there_is_none(handshake, tmp_path):
    done = handshake("status", "--socket", tmp_path / "none")
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr.decode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        done = handshake("status", "--socket", tmp_path / "silent")
    assert done.returncode == 1
    assert "has not answered" in done.stderr.decode()


# ---- doctor ----

def test_doctor_tells_what_the_kernel_takes(handshake, daemon, request):
    has_tls = request.config.kernel_has_tls
    done = handshake("doctor")
    assert done.returncode == (0 if has_tls else 1)
    lines = done.stdout.decode().splitlines()
    for line in lines:
        assert re.fullmatch(r"(ok     |warning|missing)  [^:]+: .+", line), line
    kinds = {line[9:].split(":")[0]: line[:7].strip() for line in lines}
    assert kinds["kernel TLS"] == ("ok" if has_tls else "missing")
    assert kinds["GnuTLS"] == "ok" and kinds["daemon"] == "ok"
    for cipher in ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-CCM"):
        for version in ("TLS 1.2", "TLS 1.3"):
            assert (f"{version} {cipher}" in kinds) == has_tls
    told = json.loads(handshake("doctor", "--json").stdout)
    assert told["kernel-records"] == has_tls
    assert [finding["what"] for finding in told["findings"]] == [
        line[9:].split(":")[0] for line in lines]


def test_doctor_works_without_a_daemon(handshake, tmp_path):
    done = handshake("doctor", "--socket", tmp_path / "none")
    assert "missing  daemon: " in done.stdout.decode()


# ---- the command ----

@pytest.mark.parametrize("name", ["serve", "connect", "status", "doctor"])
def test_each_subcommand_has_help(handshake, name):
    done = handshake(name, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().startswith(f"Usage: handshake {name}")
    assert f"\n  {name} " in handshake("--help").stdout.decode()
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "handshake.1"
    text = page.read_text()
    for option in re.findall(r"--([a-z][a-z-]+)", done.stdout.decode()):
        assert option in text, f"--{option} is not in the manual page"


def test_version_and_unknown_words(handshake):
    assert re.fullmatch(rb"handshake \d+\.\d+\.\d+\n", handshake("--version").stdout)
    done = handshake("nonsense")
    assert done.returncode == 2 and b'"nonsense"' in done.stderr


def test_bare_without_a_daemon_is_usage(handshake, tmp_path):
    handshake.environment["HANDSHAKED_SOCKET"] = str(tmp_path / "none")
    done = handshake()
    assert done.returncode == 1
    assert done.stderr.decode().startswith("Usage: ")


def test_links_no_tls_library(handshake):
    done = subprocess.run(["ldd", handshake.program], capture_output=True, text=True)
    if "libmicrohttpd" not in done.stdout:
        pytest.skip("ldd tells nothing here")
    needed = subprocess.run(["readelf", "-d", handshake.program], capture_output=True, text=True)
    for library in ("gnutls", "libssl", "libcrypto", "nss3"):
        assert library not in needed.stdout
