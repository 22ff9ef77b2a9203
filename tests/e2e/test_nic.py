# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records that a NIC makes: who is told so, what reaches the peer, and what happens when it lets go."""

import hashlib
import json
import os
import socket
import subprocess

import pytest

import daemon as daemon_module
import library
import tlspair
from conftest import HandshakeCommand
from endpoint import Endpoint, context, in_thread
from scale import seconds, wait_until

pytestmark = pytest.mark.usefixtures("kernel_records")
SOL_TLS, ZERO_COPY = 282, 3
SIZE = 1 << 20


@pytest.fixture(scope="module")
def pair(kernel_records):
    one = tlspair.Pair()
    yield one
    one.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nic") / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(scope="module")
def daemons(pair, make_module_daemon, pki):
    """One in each namespace: the first one's programs are clients, the second one's servers."""
    def make(*names, **more):
        return daemon_module.profile(pki, "kernel", *names, **more)
    client = make_module_daemon({
        "client": make(role="client"),
        "nic": make(role="client", max_version="TLS1.2", ciphers="AES-128-GCM"),
        "chacha20": make(role="client", max_version="TLS1.2", ciphers="CHACHA20-POLY1305"),
    }, start=False)
    server = make_module_daemon({
        "default": make("ecdsa"),
        "zero-copy": make("ecdsa", zero_copy_sendfile="yes"),
    }, start=False)
    for one, end in zip((client, server), pair.ends):
        one.before = end.inside
        one.start()
    return client, server


class Connection:
    """Between two programs, each with its namespace's daemon."""

    def __init__(self, pair, daemons, client="nic", server="default"):
        self.socks = pair.connected()
        self.handshakes = (library.Handshake(library.CLIENT, client, "localhost"),
                           library.Handshake(library.SERVER, server))
        running = [in_thread(handshake.perform, daemon.socket, sock.fileno())
                   for handshake, daemon, sock in zip(self.handshakes, daemons, self.socks)]
        for one, handshake in zip(running, self.handshakes):
            assert one.result(seconds(30)) == 0, handshake.error
        self.client, self.server = self.handshakes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handshake, sock in zip(self.handshakes, self.socks):
            handshake.free()
            sock.close()

    def paths(self):
        return [(one["transmit"], one["receive"]) for one in self.handshakes]

    def receive(self, side, size):
        """The digest of what comes."""
        digest = hashlib.sha256()
        while size:
            data = self.handshakes[side].recv(self.socks[side].fileno(), min(size, 1 << 16))
            assert data, f"{size} bytes did not come"
            digest.update(data)
            size -= len(data)
        return digest.hexdigest()

    def exchange(self, file):
        """The file in both directions at once."""
        expected = hashlib.sha256(file.read_bytes()).hexdigest()
        got = [in_thread(self.receive, side, SIZE) for side in (0, 1)]
        sent = [in_thread(tlspair.sendfile, sock, file) for sock in self.socks]
        for one in sent:
            one.result(seconds(60))
        assert [one.result(seconds(60)) for one in got] == [expected, expected]


class Moved:
    """How far the counters of both ends have moved."""

    def __init__(self, pair):
        self.pair = pair
        self.before = self._read()

    def _read(self):
        return [{**end.statistics(), **end.counters()} for end in self.pair.ends]

    def __call__(self, end, name):
        return self._read()[end][name] - self.before[end][name]


def counted(daemon, *names):
    status = daemon.status()
    return [status[name] for name in names]


def test_both_ends_have_their_records_in_the_nic(pair, daemons, file, covers):
    moved = Moved(pair)
    names = "nic-transmit", "nic-receive", "kernel-records"
    before = [counted(daemon, *names) for daemon in daemons]
    with Connection(pair, daemons) as connection:
        assert connection.paths() == [("nic", "nic")] * 2
        assert connection.client["cipher"] == "AES-128-GCM"
        for handshake in connection.handshakes:
            assert handshake.get("records-reason") is None
        connection.exchange(file)
    for end, daemon in enumerate(daemons):
        assert [moved(end, name) for name in ("TlsTxDevice", "TlsRxDevice", "TlsTxSw", "TlsRxSw")] \
            == [1, 1, 0, 0]
        assert moved(end, "tx_tls_encrypted_packets") > 10
        assert moved(end, "rx_tls_decrypted_packets") > 10
        assert moved(end, "TlsDecryptError") == moved(end, "rx_tls_bad_records") == 0
        assert [now - then for now, then in zip(counted(daemon, *names), before[end])] == [1, 1, 1]
    covers("Records by a NIC", "TLS1.2", "client")
    covers("Records by a NIC", "TLS1.2", "server")


@pytest.mark.parametrize("profile,why", [("client", "TLS1.3"), ("chacha20", "TLS1.2")])
def test_what_a_nic_does_not_take_stays_with_the_kernel(pair, daemons, file, profile, why):
    moved = Moved(pair)
    with Connection(pair, daemons, profile, "zero-copy") as connection:
        assert connection.client["version"] == why
        assert connection.paths() == [("kernel", "kernel")] * 2
        assert connection.server["zero-copy-sendfile"] == "no"
        assert "TLS 1.2 with AES-GCM" in connection.server["zero-copy-reason"]
        connection.exchange(file)
    for end in (0, 1):
        assert (moved(end, "TlsTxSw"), moved(end, "TlsTxDevice")) == (1, 0)


@pytest.mark.parametrize("fault,expected", [("refuse_transmit", ("kernel", "nic")),
                                            ("refuse_receive", ("nic", "kernel"))])
def test_a_direction_that_the_nic_refuses_is_the_kernel_s(pair, daemons, file, fault, expected):
    with pair.fault(**{fault: 1}), Connection(pair, daemons, server="zero-copy") as connection:
        assert connection.paths() == [expected] * 2
        zero_copy = connection.server["zero-copy-sendfile"]
        assert zero_copy == ("yes" if expected[0] == "nic" else "no")
        assert (connection.server.get("zero-copy-reason") is None) == (zero_copy == "yes")
        connection.exchange(file)


def test_zero_copy_is_on_where_the_profile_allows_it(pair, daemons, file):
    before = counted(daemons[1], "zero-copy-sendfile")
    for profile, on in (("default", 0), ("zero-copy", 1)):
        with Connection(pair, daemons, server=profile) as connection:
            assert connection.server.get("zero-copy-sendfile") == ("yes" if on else None)
            assert connection.client.get("zero-copy-sendfile") is None
            assert connection.socks[1].getsockopt(SOL_TLS, ZERO_COPY) == on
            connection.exchange(file)
    assert counted(daemons[1], "zero-copy-sendfile") == [before[0] + 1]


@pytest.mark.parametrize("fault,counter", [("drop_every", "tx_dropped_on_purpose"),
                                           ("reorder_every", "tx_reordered_on_purpose")])
def test_lost_and_disordered_segments_leave_the_data_right(pair, daemons, file, fault, counter):
    moved = Moved(pair)
    with Connection(pair, daemons, server="zero-copy") as connection:
        assert connection.paths() == [("nic", "nic")] * 2
        with pair.fault(**{fault: 11}):
            connection.exchange(file)
    assert moved(0, counter) and moved(1, counter)
    for end in (0, 1):
        assert moved(end, "TlsDecryptError") == 0


def test_a_link_that_goes_down_leaves_the_rest_to_the_kernel(pair, daemons, file, covers):
    one, two = pair.ends
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    with Connection(pair, daemons, server="zero-copy") as connection:
        assert connection.paths() == [("nic", "nic")] * 2
        # More than the two sockets hold: it is still on its way when the link goes.
        sent = in_thread(lambda: [tlspair.sendfile(connection.socks[1], file) for _ in range(8)])
        assert connection.receive(0, SIZE) == expected
        two.down()
        moved = Moved(pair)
        two.up()
        for _ in range(7):
            assert connection.receive(0, SIZE) == expected
        sent.result(seconds(60))
        connection.exchange(file)
        # That device has forgotten it, and not one byte went through it again; the other has not.
        assert moved(1, "tx_tls_encrypted_packets") == moved(1, "rx_tls_decrypted_packets") == 0
        assert moved(0, "tx_tls_encrypted_packets") and moved(0, "rx_tls_decrypted_packets")
        assert moved(0, "TlsDecryptError") == moved(1, "TlsDecryptError") == 0
    with Connection(pair, daemons) as connection:
        assert connection.paths() == [("nic", "nic")] * 2
    covers("Records fall back from the NIC to the kernel", "TLS1.2", "server")


def test_connections_of_both_kinds_at_once_are_told_apart(pair, daemons):
    """Where the counters cannot tell, newer kernels are asked; of an older one it is not known. Never
    is the one taken for the other."""
    expected = {"nic": "nic", "chacha20": "kernel"}
    made = [in_thread(Connection, pair, daemons, profile) for profile in list(expected) * 12]
    asked = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (7, 0)
    for one, profile in zip(made, list(expected) * 12):
        with one.result(seconds(60)) as connection:
            for handshake in connection.handshakes:
                reason = handshake.get("records-reason")
                if reason is None:
                    assert handshake["transmit"] == handshake["receive"] == expected[profile]
                else:
                    assert not asked and profile == "nic" and "same moment" in reason


def test_of_another_namespace_s_sockets_it_is_not_known(pair, daemons, daemon, pki, file):
    """The shared daemon lives outside: it does not see that namespace's counters, and says so."""
    ours, theirs = pair.connected()
    with ours, theirs:
        theirs.settimeout(seconds(30))
        handshake = library.Handshake(library.SERVER, "aes-128-gcm")
        running = in_thread(handshake.perform, daemon.socket, ours.fileno())
        peer = Endpoint(theirs, context("client", pki.trust, version="TLS1.2"),
                        "localhost").handshake()
        assert running.result(seconds(30)) == 0, handshake.error
        assert handshake["transmit"] == handshake["receive"] == "kernel"
        assert "another network namespace" in handshake["records-reason"]
        handshake.sendall(ours.fileno(), b"all the same")
        assert peer.recv(12) == b"all the same"
        handshake.free()


# ---- The commands ------------------------------------------------------------------------------


@pytest.fixture
def commands(pair, daemons, build, sanitizer_directory):
    made = []
    for daemon, end in zip(daemons, pair.ends):
        made.append(HandshakeCommand(build, daemon.socket, sanitizer_directory))
        made[-1].before = end.inside
    yield made
    for one in made:
        one.end()


@pytest.fixture
def served(pair, commands, file, tmp_path):
    """(port, a function that gives the log) of a `handshake serve` of the file's directory."""
    log = tmp_path / "access"
    with pair.ends[1].call(socket.create_server, (pair.ends[1].address, 0)) as free:
        port = free.getsockname()[1]
    process = commands[1].start("serve", "--listen", f"{pair.ends[1].address}:{port}", "--root",
                                file.parent, "--profile", "zero-copy", "--log", log,
                                stdout=subprocess.PIPE)
    assert b"serving" in process.stdout.readline()

    def lines():
        return log.read_text().splitlines() if log.exists() else []

    return port, lines


def test_serve_sends_files_through_the_nic(pair, daemons, commands, served, pki, file):
    port, log = served
    moved = Moved(pair)
    got = subprocess.run(
        [*pair.ends[0].inside, "curl", "--silent", "--show-error", "--tls-max", "1.2", "--cacert",
         pki.trust, "--connect-to", f"localhost:{port}:{pair.ends[1].address}:{port}",
         f"https://localhost:{port}/{file.name}"], capture_output=True, timeout=seconds(60))
    assert got.returncode == 0, got.stderr
    assert got.stdout == file.read_bytes()
    line = wait_until(lambda: log() and log()[-1], 10, "the line in the log")
    assert line.endswith(" nic"), line
    assert (moved(1, "TlsTxDevice"), moved(1, "TlsRxDevice")) == (1, 1)
    assert moved(1, "tx_tls_encrypted_packets") > 10
    # openssl asks, and ends when the server does.
    asked = subprocess.run(
        [*pair.ends[0].inside, "openssl", "s_client", "-quiet", "-tls1_2", "-CAfile", pki.trust,
         "-verify_return_error", "-connect", f"{pair.ends[1].address}:{port}", "-servername",
         "localhost"], capture_output=True, timeout=seconds(60),
        input=f"GET /{file.name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert asked.stdout.partition(b"\r\n\r\n")[2] == file.read_bytes(), asked.stderr[-500:]


def test_connect_and_status_tell_of_the_nic(pair, daemons, commands, served, file):
    port, _ = served
    address = f"{pair.ends[1].address}:{port}"
    told = commands[0]("connect", address, "--profile", "nic", "--peer-name", "localhost", "--json",
                       "--no-data")
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert (result["transmit"], result["receive"]) == ("nic", "nic")
    text = commands[0]("connect", address, "--profile", "nic", "--peer-name", "localhost",
                       "--no-data").stdout.decode()
    assert [line.split() for line in text.splitlines() if line.startswith("transmit")] \
        == [["transmit:", "nic"]]
    status = commands[0]("status").stdout.decode()
    assert any(line.split()[:1] == ["nic-transmit:"] for line in status.splitlines())
    as_json = json.loads(commands[0]("status", "--json").stdout)
    assert as_json["nic-transmit"] >= 2 and as_json["nic-receive"] >= 2


def test_doctor_tells_what_the_nic_offers(commands):
    text = commands[0]("doctor").stdout.decode()
    [line] = [line for line in text.splitlines() if "NIC offload on tlspair0" in line]
    assert "sending on, receiving on" in line
    assert "max-version = TLS1.2" in text


def test_perf_measures_what_the_nic_makes_and_nothing_else(pair, daemons, commands, covers):
    process = commands[1].start("perf", "throughput", "--server", f"{pair.ends[1].address}:0",
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    served = process.stdout.readline().decode().split()[-1]

    def perf(paths, *more):
        return commands[0]("perf", "throughput", "--client", served, "--paths", paths, "--sizes",
                           "256K", "--runs", "1", "--seconds", "200ms", "--warm-up", "50ms",
                           "--quiet", *more)

    # With zero copy and without, beside each other, by one stream and by several.
    told = perf("kernel-sendfile,kernel-zerocopy", "--tls", "1.2", "--streams", "1,4", "--json")
    assert told.returncode == 0, told.stderr
    cases = json.loads(told.stdout)["cases"]
    assert [(case["path"], case["streams"]) for case in cases] == [
        (path, streams) for streams in (1, 4) for path in ("kernel-sendfile", "kernel-zerocopy")]
    for case in cases:
        run, = case["runs"]
        assert run["bytes"] > 0
        # The daemon's word for each, and the kernel's own count.
        assert run["nic-streams"] == case["streams"]
        assert [run["tls-counters"].get(name, 0) for name in ("TlsTxDevice", "TlsTxSw")] \
            == [case["streams"], 0]
    # Others' connections in the NIC are not the one that is measured.
    with Connection(pair, daemons) as connection:
        assert connection.paths() == [("nic", "nic")] * 2
        refused = perf("kernel-zerocopy", "--tls", "1.3", "--streams", "4")
        assert refused.returncode == 1
    process.terminate()
    _, said = process.communicate(timeout=seconds(30))
    # At both ends, since they may be far from each other.
    for text in (said, refused.stderr):
        assert b'no NIC encrypts this connection, it goes by "kernel"' in text
    covers("Measuring throughput, zero copy by several streams", "TLS1.2", "server")
