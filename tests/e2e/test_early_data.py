# SPDX-License-Identifier: LGPL-2.1-or-later
"""Early data (0-RTT): it reaches the program once, apart from the stream, and never by a replay."""

import base64
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

import daemon as daemon_module
import library
from endpoint import in_thread
from scale import die_with_parent, milliseconds, seconds, wait_until
from test_serve import Serve

EARLY = b"what came early"
LIMIT = 2048
REPLAYS = 40  # "many" does 1,000


def profile(pki, records, **extra):
    extra.setdefault("early_data", LIMIT)
    return daemon_module.profile(pki, records, "ecdsa", "second",
                                 **{"timeout_ms": milliseconds(20000), **extra})


@pytest.fixture
def one(make_daemon, pki, records):
    return make_daemon({"early": profile(pki, records)})


class Server:
    """Takes connections and has the daemon handshake on them; keeps what came."""

    def __init__(self, one, name="early", alpn=None):
        self.one, self.name, self.alpn = one, name, alpn
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.connections = []  # (reply, early data, stream), in the order in which they ended
        self.failures = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, library.Handshake(library.SERVER, self.name, alpn=self.alpn) as handshake:
            if handshake.perform(self.one.socket, sock.fileno()) < 0:
                self.failures.append((handshake["class"], handshake.error,
                                      handshake.get("alert")))
                return
            early, stream = handshake.early_data, b""
            with contextlib.suppress(OSError):
                handshake.sendall(sock.fileno(), b"server's word\n")
                while data := handshake.recv(sock.fileno()):
                    stream += data
            self.connections.append((dict(handshake.results()), early, stream))

    def next(self):
        """The connection that ends next; call before what makes it."""
        count = len(self.connections)

        def ended():
            wait_until(lambda: len(self.connections) > count, what="a connection's end")
            return self.connections[count]
        return ended

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


@pytest.fixture
def server(one):
    made = Server(one)
    yield made
    made.close()


class Visitor:
    """openssl s_client, which can come again with early data."""

    def __init__(self, directory, port, *options):
        self.session = directory / "session.pem"
        self.file = directory / "early"
        self.port = port
        self.options = options or ("-servername", "localhost")
        self.raw, self.output = b"", ""

    def run(self, *options, first=b"", data=b"", port=None, wait=b"server's word"):
        """One connection; standard input is what goes first, and the data when what is awaited has
        come."""
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port or self.port}", "-tls1_3",
             *self.options, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        timer = threading.Timer(seconds(30), process.kill)
        timer.start()
        output = b""
        try:
            process.stdin.write(first)
            process.stdin.flush()
            # Tickets come before the server's word, and s_client writes them down as they come.
            while wait not in output:
                more = os.read(process.stdout.fileno(), 65536)
                if not more:
                    break
                output += more
            with contextlib.suppress(OSError):
                process.stdin.write(data)
                process.stdin.close()
            output += process.stdout.read()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        self.raw = output
        self.output = output.decode(errors="replace")
        return self.output

    def visit(self, *options, **named):
        self.session.unlink(missing_ok=True)
        self.run("-sess_out", self.session, *options, **named)
        assert self.session.exists() and self.session.stat().st_size, self.output

    def again(self, early=EARLY, *options, **named):
        """Whether the server took it."""
        self.file.write_bytes(early)
        self.run("-sess_in", self.session, "-early_data", self.file, *options, **named)
        taken = "Early data was accepted" in self.output
        assert taken or "Early data was rejected" in self.output, self.output
        return taken

    def rewrite(self, old, new):
        """Changes what the client believes of its session."""
        lines = self.session.read_text().splitlines()
        der = base64.b64decode("".join(lines[1:-1]))
        assert der.count(old) == 1 and len(old) == len(new), der
        text = base64.encodebytes(der.replace(old, new)).decode()
        self.session.write_text(f"{lines[0]}\n{text}{lines[-1]}\n")

    def record(self, early=EARLY, *options):
        """The first flight, which nobody has answered."""
        self.file.write_bytes(early)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            running = in_thread(self.run, "-sess_in", self.session, "-early_data", self.file,
                                *options, port=listening.getsockname()[1])
            sock, _ = listening.accept()
            flight = b""
            with sock:
                # The hello, a ChangeCipherSpec, and the data in records of their own.
                while not flight_is_whole(flight, len(early)):
                    flight += sock.recv(65536)
            running.result(seconds(20))
        return flight


def records_of(flight):
    while len(flight) >= 5:
        size = 5 + int.from_bytes(flight[3:5], "big")
        if len(flight) < size:
            return
        yield flight[0], flight[5:size]
        flight = flight[size:]


def flight_is_whole(flight, size):
    """Each record of early data has 17 bytes more than what is in it."""
    return sum(len(body) - 17 for kind, body in records_of(flight) if kind == 23) >= size


@pytest.fixture
def visitor(server, tmp_path):
    made = Visitor(tmp_path, server.port)
    made.visit()
    return made


def counted(one):
    status = one.status()
    return [status[f"early-data-{what}"] for what in ("accepted", "rejected", "replayed")]


# ---- As a server ----

def test_it_reaches_the_program_apart_from_the_stream(one, server, visitor, covers):
    accepted, rejected, replayed = counted(one)
    ended = server.next()
    assert visitor.again(data=b"and what came later")
    reply, early, stream = ended()
    assert (reply["early-data"], reply["resumed"]) == ("accepted", "yes")
    assert "early-data-reason" not in reply
    assert (early, stream) == (EARLY, b"and what came later")
    assert counted(one) == [accepted + 1, rejected, replayed]
    covers("Early data (0-RTT)", "TLS1.3", "server")


def test_all_that_a_ticket_allows_comes(server, visitor):
    assert "Max Early Data: 2048" in visitor.output
    data = os.urandom(LIMIT)
    ended = server.next()
    assert visitor.again(data, data=b"x")
    assert ended()[1:] == (data, b"x")


def test_more_than_a_ticket_allows_ends_the_connection(server, visitor):
    # A client that believes its ticket allows more.
    visitor.rewrite(b"\x02\x02\x08\x00", b"\x02\x02\x08\x01")
    visitor.file.write_bytes(os.urandom(LIMIT + 1))
    visitor.run("-sess_in", visitor.session, "-early_data", visitor.file)
    wait_until(lambda: server.failures, what="the failure")
    assert server.failures == [("protocol", "The client sent more early data than the 2048 bytes"
                                " that the profile \"early\" takes", "unexpected_message")]
    assert not [early for _, early, _ in server.connections if early]


LOCALHOST, NO_ALPN = ("-servername", "localhost"), ()
HTTP11, HTTP10 = ("-alpn", "http/1.1"), ("-alpn", "http/1.0")
CHACHA20 = ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
BOTH = ("-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")
NO_TICKET = "the ticket cannot be used"


@pytest.mark.parametrize("before,rewrite,after,resumed,why", (
    (LOCALHOST, (b"localhost", b"localhosu"), ("-servername", "localhosu"), "no", NO_TICKET),
    (LOCALHOST + HTTP11, (b"http/1.1", b"http/1.0"), LOCALHOST + HTTP10, "no", NO_TICKET),
    (LOCALHOST + HTTP10, (b"http/1.0", b"http/1.0"),
     LOCALHOST + ("-alpn", "http/1.0,http/1.1"), "no", NO_TICKET),
    (LOCALHOST, None, LOCALHOST + ("-groups", "P-256:X25519"), "yes", "another key share"),
    (LOCALHOST + CHACHA20, None, LOCALHOST + BOTH, "yes", "another cipher suite"),
), ids=("name", "alpn", "alpn chosen anew", "key-share", "suite"))
def test_what_does_not_fit_its_ticket_is_refused(make_daemon, pki, records, tmp_path, covers,
                                                 before, rewrite, after, resumed, why):
    one = make_daemon({"early": profile(pki, records, alpn="http/1.1, http/1.0",
                                        ciphers="AES-128-GCM, CHACHA20-POLY1305")})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, *before)
    visitor.visit()
    if rewrite:  # OpenSSL would not offer it
        visitor.rewrite(*rewrite)
    ended = server.next()
    visitor.options = after
    # What was rejected is no part of the stream.
    assert not visitor.again(os.urandom(LIMIT), data=b"later")
    reply, early, stream = ended()
    assert (reply["early-data"], early, stream) == ("rejected", None, b"later")
    assert why in reply["early-data-reason"]
    assert reply["resumed"] == resumed
    server.close()
    covers("Early data refused where its ticket does not fit", "TLS1.3", "server")


@pytest.mark.parametrize("suite", ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"))
def test_each_suite(server, tmp_path, suite):
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost", "-ciphersuites", suite)
    visitor.visit()
    ended = server.next()
    assert visitor.again(data=b"later")
    reply, early, stream = ended()
    assert (reply["suite"], early, stream) == (suite, EARLY, b"later")


def test_none_is_taken_unless_the_profile_says_so(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records), "none": profile(pki, records, early_data=0)})
    server, none = Server(one), Server(one, "none")
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    plain = Visitor(tmp_path, none.port, "-servername", "localhost")
    plain.visit()
    assert "Max Early Data: 0" in plain.output
    visitor.visit()
    ended = none.next()
    assert not visitor.again(data=b"later", port=none.port)
    reply, early, stream = ended()
    assert (reply["early-data"], early, stream) == ("rejected", None, b"later")
    server.close()
    none.close()


@pytest.mark.parametrize("extra,sentence", (
    ({"client_certificates": "require"}, "early-data comes before a client's certificate"),
    ({"early_data": 65537}, "65537"),
    ({"early_data": "lots"}, "lots"),
), ids=("certificate", "large", "word"))
def test_a_configuration_that_cannot_be_is_refused(make_daemon, pki, records, extra, sentence):
    with pytest.raises(AssertionError) as error:
        make_daemon({"early": profile(pki, records, **extra)})
    assert sentence in str(error.value)


# ---- Replays ----

def replay(server_port, flight):
    """Sends the flight and waits for the server's answer to it."""
    with socket.create_connection(("127.0.0.1", server_port), seconds(20)) as sock:
        sock.sendall(flight)
        assert sock.recv(1)


def assert_replays_are_refused(one, server, flight, times):
    accepted, rejected, _ = counted(one)
    for _ in range(times):
        replay(server.port, flight)
    wait_until(lambda: counted(one)[1] == rejected + times, what="the end of the replays")
    assert counted(one)[0] == accepted
    assert not [early for _, early, _ in server.connections if early]


@pytest.mark.parametrize("times", (REPLAYS, pytest.param(1000, marks=pytest.mark.many)))
def test_a_replay_is_refused(one, server, visitor, times, covers):
    flight = visitor.record()
    accepted, _, replayed = counted(one)
    # Whoever has the flight and not its keys can be the first, and still gets no further.
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == accepted + 1, what="the first one")
    assert_replays_are_refused(one, server, flight, times)
    assert counted(one)[2] == replayed + times
    covers("Replayed early data refused", "TLS1.3", "server")


def test_what_was_delivered_is_not_delivered_again(one, server, visitor):
    """The flight of a client that came through, recorded on its way."""
    flight = bytearray()
    listening = socket.create_server(("127.0.0.1", 0))

    def forward():
        sock, _ = listening.accept()
        with sock, socket.create_connection(("127.0.0.1", server.port)) as onward:
            while not flight_is_whole(bytes(flight), len(EARLY)):
                flight.extend(sock.recv(65536))
            onward.sendall(flight)
            other = in_thread(pump, onward, sock)
            pump(sock, onward)
            other.result(seconds(20))

    running = in_thread(forward)
    ended = server.next()
    assert visitor.again(data=b"later", port=listening.getsockname()[1])
    assert ended()[1] == EARLY
    running.result(seconds(20))
    listening.close()
    server.connections.clear()
    assert_replays_are_refused(one, server, bytes(flight), 5)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_replays_through_the_rollover_of_all_windows(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records, ticket_lifetime_s=1)})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    end = time.monotonic() + 8  # the ticket's key is gone after six times the lifetime
    while time.monotonic() < end:
        assert_replays_are_refused(one, server, flight, 1)
        time.sleep(0.1)
    server.close()


def test_replays_after_a_worker_died(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records)}, {"workers": 2})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(3):
        died = one.status()["workers-died"]
        os.kill(one.workers()[0], signal.SIGKILL)
        wait_until(lambda: one.status()["workers-died"] > died and len(one.workers()) == 2,
                   what="another worker")
        assert_replays_are_refused(one, server, flight, 4)
    server.close()


def test_replays_after_a_reload(one, server, visitor):
    flight = visitor.record()
    replay(server.port, flight)
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(2):
        assert one.reload()
        assert_replays_are_refused(one, server, flight, 4)
    # And a ticket of before the reload is as good as it was.
    visitor.visit()
    assert one.reload()
    ended = server.next()
    assert visitor.again(data=b"later")
    assert ended()[1] == EARLY


@pytest.mark.parametrize("kept", (True, False), ids=("state kept", "nothing kept"))
def test_replays_after_a_restart(make_daemon, pki, records, tmp_path, kept):
    options = {"state-directory": tmp_path / "state"} if kept else {}
    one = make_daemon({"early": profile(pki, records)}, options)
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    visitor.visit()
    flights = [visitor.record(), visitor.record()]
    replay(server.port, flights[0])
    wait_until(lambda: counted(one)[0] == 1, what="the first one")
    for _ in range(2):
        one.stop()
        one.start()
        # Nor that which this daemon has not seen: another might have.
        for flight in flights:
            assert_replays_are_refused(one, server, flight, 2)
        assert counted(one)[0] == 0
    # New tickets are good again; the old one resumes where the keys were kept.
    ended = server.next()
    assert not visitor.again(data=b"later")
    assert ended()[0]["resumed"] == ("yes" if kept else "no")
    visitor.visit()
    ended = server.next()
    assert visitor.again(data=b"later")
    assert ended()[1] == EARLY
    server.close()


# ---- handshake serve ----

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
def serve(one, handshake, root, tmp_path):
    return Serve(handshake, root, "--early-data", "--socket", one.socket, "--log",
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


def test_serve_says_too_early_where_it_was_not_told(one, handshake, root, tmp_path):
    serve = Serve(handshake, root, "--socket", one.socket, profile="early")
    visitor = come_back(serve, tmp_path, request(), b"425 Too Early\n")
    assert "HTTP/1.1 425 Too Early" in visitor.output and "the index" not in visitor.output
