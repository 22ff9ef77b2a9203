# SPDX-License-Identifier: LGPL-2.1-or-later
"""handshake perf between two hosts: two network namespaces with a cable between them, which can be slow or torn."""

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import netns
from scale import FULL, die_with_parent, milliseconds, seconds, wait_until

SHORT = ("--runs", "1", "--warm-up", "50ms", "--json", "--quiet")
THROUGHPUT = ("throughput", "--paths", "plain", "--sizes", "64K", *SHORT)
RATE = ("rate", "--by", "listen", "--at-once", "4", *SHORT)


class Host:
    def __init__(self, name, number, build):
        self.name, self.device = name, name
        self.four, self.six = f"10.77.0.{number}", f"fd77::{number}"
        self.command = ["nsenter", f"--net=/run/netns/{name}", build / "bin" / "handshake", "perf"]

    def dress(self):
        netns.ip("-n", self.name, "addr", "add", f"{self.four}/24", "dev", self.device)
        netns.ip("-n", self.name, "link", "set", self.device, "up")
        self.dress_six()

    def dress_six(self):
        """These go when a device goes down."""
        netns.ip("-n", self.name, "addr", "add", f"{self.six}/64", "dev", self.device, "nodad")

    def start(self, *arguments, **environment):
        return subprocess.Popen([*self.command, *map(str, arguments)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=dict(os.environ, **environment),
                                preexec_fn=die_with_parent)


def ended(process, within=60):
    """(status, what it printed, what it said) of one that ends by itself."""
    try:
        out, err = process.communicate(timeout=seconds(within))
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


@pytest.fixture(scope="module")
def hosts(build):
    """(the server's, the client's)"""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made by root")
    names = [f"perf{end}{os.getpid()}" for end in "sc"]
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                stack.enter_context(netns.namespace(name))
            netns.ip("-n", names[0], "link", "add", names[0], "type", "veth", "peer", "name", names[1],
                     "netns", names[1])
        except subprocess.CalledProcessError:
            pytest.skip("network namespaces and veth devices cannot be made here")
        made = [Host(name, number, build) for number, name in enumerate(names, 1)]
        for host in made:
            host.dress()
        yield made


class Served:
    """A server's end; port is where it waits, lines what it has printed."""

    def __init__(self, host, address, subject, directory):
        self.process = host.start(subject, "--server", address, TMPDIR=directory)
        self.lines = []
        self.first = self.process.stdout.readline().split()[-1]
        self.port = self.first.rpartition(":")[2]
        self.reading = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reading.start()

    def end(self):
        self.process.terminate()
        self.process.wait(seconds(20))
        self.reading.join(seconds(20))
        return self.process.stderr.read()


@pytest.fixture
def serve(hosts):
    made = []

    def start(address, subject="rate"):
        made.append(Served(hosts[0], address, subject, directory))
        return made[-1]

    # What is killed leaves its files behind. The name is short, since a socket lies below.
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)
        yield start
        for one in made:
            if one.process.poll() is None:
                one.end()


def children(pid):
    found = []
    with contextlib.suppress(OSError):  # any of them may end while it is looked at
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in map(int, file.read().split()):
                    found += [child, *children(child)]
    return found


def test_both_subjects_measure_between_two_hosts(hosts, serve, records, covers):
    server, client = hosts
    served = serve(":0")  # of either family; one subject's end serves both
    assert served.first == f"[::]:{served.port}"
    status, out, err = ended(client.start(
        "rate", "--client", f"{server.four}:{served.port}", "--records", records, "--at-once", 2,
        "--handshakes", 20, "--timeout", f"{milliseconds(10000)}ms", *SHORT))
    assert status == 0, err
    told = json.loads(out)
    assert [case["by"] for case in told["cases"]] == ["gnutls", "listen", "handshake"]
    for case in told["cases"]:
        run, = case["runs"]
        assert run["failed"] == run["server"]["failed"] == 0
        assert run["handshakes"] >= 20 and run["server"]["established"] >= 18
        assert run["server-cpu"] > 0
        if case["by"] != "gnutls":
            assert run["server"]["records"] == records
    # Who is who, of both ends.
    machine = told["machine"]
    assert machine["server"]["address"] == f"{server.four}:{served.port}"
    assert re.fullmatch(re.escape(client.four) + r":\d+", machine["client"]["address"])
    assert 0 < machine["server"]["round-trip-us"] < 1e6
    assert f"Measuring for the client's end at {machine['client']['address']}\n" in served.lines

    ways = ["plain", "gnutls", "kernel-sendfile" if records == "kernel" else "relay"]
    status, out, err = ended(client.start(
        "throughput", "--client", f"[{server.six}]:{served.port}", "--paths", ",".join(ways), "--sizes",
        "64K", "--seconds", "200ms", *SHORT))
    assert status == 0, err
    told = json.loads(out)
    assert [case["path"] for case in told["cases"]] == ways
    for case in told["cases"]:
        run, = case["runs"]
        assert run["bytes"] > 0 and run["server-seconds"] >= 0.2
        assert run["nic-streams"] == 0
        # The server's own namespace, where nobody else is.
        assert run["tls-counters"].get("TlsTxSw", 0) == (case["path"] == "kernel-sendfile")
    assert told["machine"]["server"]["address"] == f"[{server.six}]:{served.port}"
    assert told["machine"]["client"]["address"].startswith(f"[{client.six}]:")
    covers("Measuring between two hosts", "TLS1.3", "server")


def test_a_host_that_is_far_away_is_told_and_not_charged_to_the_server(hosts, serve):
    server, client = hosts
    way = ("qdisc", "add", "dev", server.device, "root", "netem", "delay", "100ms")
    if subprocess.run(["tc", "-n", server.name, *way], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel does not delay (sch_netem)")
    try:
        served = serve(f"{server.four}:0")
        status, out, err = ended(client.start(
            "throughput", "--client", served.first, "--paths", "plain", "--sizes", "64K", "--discard",
            "--seconds", "300ms", *SHORT))
        assert status == 0, err
        told = json.loads(out)
        assert told["machine"]["server"]["round-trip-us"] >= 100000
        run, = told["cases"][0]["runs"]
        # Its count ends a round trip later than this end's, and so does its time.
        assert run["server-seconds"] == run["seconds"] >= 0.4
        assert run["mb-per-second"] == pytest.approx(run["bytes"] / 1e6 / run["server-seconds"])
        status, out, err = ended(client.start(
            "rate", "--client", served.first, "--by", "gnutls", "--at-once", 1, "--handshakes", 3, *SHORT))
        assert status == 0, err
        # TCP's, TLS 1.3's and the close: a round trip each.
        assert json.loads(out)["cases"][0]["latency-us"]["p50"]["lowest"] >= 200000
    finally:
        subprocess.run(["tc", "-n", server.name, "qdisc", "del", "dev", server.device, "root"], check=True)


@pytest.mark.parametrize("what", [THROUGHPUT, RATE], ids=["throughput", "rate"])
def test_a_server_that_is_killed_ends_the_run_with_a_sentence(hosts, serve, what):
    server, client = hosts
    served = serve(f"{server.four}:0", what[0])
    running = client.start(*what, "--client", served.first, "--seconds", "1h")
    # Its daemon has started, and whatever serves the streams or the load.
    wait_until(lambda: len(children(served.process.pid)) > 5, 30, "the measurement")
    time.sleep(0.5)  # the warm-up takes a tenth of it
    for pid in [served.process.pid, *children(served.process.pid)]:
        with contextlib.suppress(ProcessLookupError):  # one may end with its parent
            os.kill(pid, 9)
    status, out, err = ended(running, 20)
    assert (status, out) == (1, "")
    assert f"the server's end at {served.first} is gone: it has closed the connection" in err


def test_what_the_server_s_host_knows_is_told_at_the_client_s(hosts, serve, records):
    server, client = hosts
    served = serve(f"{server.four}:0", "throughput")
    status, _, err = ended(client.start("throughput", "--client", served.first, "--paths", "kernel-zerocopy",
                                        "--tls", "1.2", "--sizes", "64K", *SHORT))
    why = "no NIC encrypts this connection" if records == "kernel" else "Kernel records are asked for, but"
    assert status == 1 and f"the server's end at {served.first}: " in err and why in err
    assert why in served.end()
    if records == "relay":
        served = serve(f"{server.four}:0")
        status, _, err = ended(client.start("rate", "--client", served.first, "--by", "listen", "--records",
                                            "kernel", "--at-once", 1, *SHORT))
        assert status == 1 and f"the server's end at {served.first}: {why} this host's kernel" in err


@pytest.mark.skipif(not FULL, reason="waits for half a minute, which is as long on any kernel")
def test_a_torn_cable_ends_both_ends_and_only_this_measurement(hosts, serve):
    server, client = hosts
    served = serve(f"{server.four}:0")
    running = client.start(*THROUGHPUT, "--client", served.first, "--seconds", "1h")
    wait_until(lambda: len(children(served.process.pid)) > 5, 30, "the measurement")
    netns.ip("-n", client.name, "link", "set", client.device, "down")
    try:
        status, out, err = ended(running, 40)
        assert (status, out) == (1, "")
        said = "is lost: its host has given no sign of itself for 15 seconds"
        assert f"the server's end at {served.first} {said}" in err
        wait_until(lambda: len(served.lines) > 1, 40, "the server's giving up")
        assert said in served.lines[1]
    finally:
        netns.ip("-n", client.name, "link", "set", client.device, "up")
        client.dress_six()
    status, _, err = ended(client.start(*THROUGHPUT, "--client", served.first, "--seconds", "100ms"))
    assert status == 0, err


@pytest.mark.skipif(not FULL, reason="waits for a turn that does not come, which is as long on any kernel")
def test_two_clients_have_their_turns(hosts, serve):
    server, client = hosts
    served = serve(":0")
    running = client.start(*THROUGHPUT, "--client", f"{server.four}:{served.port}", "--seconds", "1h")
    wait_until(lambda: served.lines, 20, "the first client's turn")
    status, _, err = ended(client.start(*THROUGHPUT, "--client", f"[{server.six}]:{served.port}"), 30)
    assert status == 1
    assert re.search(rf"it measures for {re.escape(client.four)}:\d+, and for one at a time", err)
    second = client.start(*THROUGHPUT, "--client", f"[{server.six}]:{served.port}", "--seconds", "100ms")
    running.terminate()  # the second waits for its turn
    running.communicate(timeout=seconds(20))
    status, _, err = ended(second)
    assert status == 0, err


@contextlib.contextmanager
def speaking(said):
    """Somebody else's server, that says this; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve():
            sock, _ = listening.accept()
            with sock:
                sock.sendall(said)
                while sock.recv(4096):
                    pass
        running = threading.Thread(target=serve, daemon=True)
        running.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("said, words", [
    (b"SSH-2.0-OpenSSH_9.2\r\n", 'does not speak as handshake perf does: it says "SSH-2.0-OpenSSH_9.2."'),
    (b'{"machine": {}, "protocol": 0}\n', "is of another version of handshake than this one"),
    (b'{"error": "no"}\n', ": no"),
    (b'{"error": "\\u001b[2J\\u009b"}\n', ": ?[2J??\n"),
])
def test_whatever_else_waits_there_is_told_apart(build, said, words):
    with speaking(said) as address:
        done = subprocess.run([build / "bin" / "handshake", "perf", *THROUGHPUT, "--client", address],
                              capture_output=True, text=True, timeout=seconds(30), check=False)
    assert done.returncode == 1
    assert f"the server's end at {address}" in done.stderr and words in done.stderr


def test_a_client_of_another_version_is_told(build):
    server = subprocess.Popen([build / "bin" / "handshake", "perf", "rate", "--server", "127.0.0.1:0"],
                              stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        port = int(server.stdout.readline().rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=seconds(20)) as sock:
            sock.sendall(b'{"do": "begin", "key": "ecdsa", "workers": 1}\n')
            assert "this end is of another version" in json.loads(sock.makefile().readline())["error"]
    finally:
        server.terminate()
        server.communicate(timeout=seconds(20))


def test_nobody_there_is_told_with_the_address_that_was_tried(build):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = subprocess.run([build / "bin" / "handshake", "perf", *RATE, "--client", f"localhost:{port}"],
                          capture_output=True, text=True, timeout=seconds(30), check=False)
    assert done.returncode == 1
    assert f'no server\'s end answers at "localhost:{port}"' in done.stderr
    assert f"127.0.0.1:{port}: Connection refused" in done.stderr
