# SPDX-License-Identifier: LGPL-2.1-or-later
"""handshake perf: it measures what it says, its two ends agree, and what it writes can be read."""

import contextlib
import glob
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import xml.etree.ElementTree

import pytest

import peers
from scale import FULL, die_with_parent, seconds, wait_until

SHORT = ("--runs", "1", "--warm-up", "50ms", "--timeout", f"{int(seconds(10))}s", "--json", "--quiet")
PHASES = {"queue", "peer", "computation", "signer", "keys"}


def parts(which):
    """The parts of all times of a case that must be there."""
    if which["by"] == "gnutls":
        return {"total", "peer", "computation"}
    return {"total"} | PHASES | ({"hand-over"} if which["by"] == "handshake" else set())


@pytest.fixture
def perf(build, records):
    def run(*arguments, status=0, **more):
        done = subprocess.run([build / "bin" / "handshake", "perf", *map(str, arguments)],
                              capture_output=True, timeout=seconds(100), check=False, **more)
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode() if status == 0 else done.stderr.decode()

    run.records = ("--records", records)
    return run


def judge(case, at_once):
    """One run of one case: both ends counted the same, and the parts are those of a whole."""
    run, = case["runs"]
    assert run["failed"] == 0, run
    assert case["rate"]["lowest"] == case["rate"]["median"] == case["rate"]["highest"] > 0
    counted = run["server"]["established"]
    # The server counts a little longer; what was under way when it began the client alone counts.
    assert run["handshakes"] - at_once <= counted <= 3 * run["handshakes"] + 2 * at_once, run
    assert run["server"]["failed"] == 0
    assert set(run["server"]["times-us"]) == parts(case)
    latency = [run["latency-us"][part] for part in ("p50", "p90", "p99", "p99.9")]
    assert latency == sorted(latency) and latency[0] > 0
    assert run["server-cpu"] == pytest.approx(sum(run["server-cpu-parts"].values()))
    assert {"program"} <= set(run["server-cpu-parts"])
    assert ({"worker", "signer"} <= set(run["server-cpu-parts"])) == (case["by"] != "gnutls")


def test_rates_of_the_daemon_stand_beside_those_of_the_library_alone(perf, records, tmp_path, covers):
    drawing = tmp_path / "rate.svg"
    told = json.loads(perf("rate", "--kinds", "full,resumed,mutual", "--at-once", 2, "--handshakes", 30,
                           *perf.records, *SHORT, "--plot", drawing))
    assert [(case["kind"], case["by"]) for case in told["cases"]] == [
        (kind, by) for kind in ("full", "resumed", "mutual") for by in ("gnutls", "listen", "handshake")]
    for case in told["cases"]:
        judge(case, 2)
        run, = case["runs"]
        assert run["handshakes"] >= 30
        assert case["version"] == "TLS1.3" and "AES-128-GCM" in case["suite"]
        if case["kind"] == "resumed":
            assert run["not-resumed"] == 0
            assert run["server"]["resumed"] == run["server"]["established"]
        else:
            assert run["server"]["resumed"] == 0
        if case["by"] != "gnutls":
            assert run["server"]["records"] == records
            # The kernel's own counters prove the path.
            installed = run["server"]["tls-counters"].get("TlsTxSw", 0)
            if records == "kernel":
                assert installed >= run["server"]["established"] - 4
            else:
                assert installed == 0
    machine = told["machine"]["server"]
    assert machine["kernel"] and machine["processor"] and machine["processors"] > 0
    assert machine["kernel-tls"] == (records == "kernel")
    svg = xml.etree.ElementTree.parse(drawing).getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}circle")) == 2 * len(told["cases"])
    covers("Measuring handshakes", "TLS1.3", "server")


def test_early_data_is_measured(perf, covers):
    """GnuTLS in one process keeps no store of tickets that were seen: it is not measured beside."""
    told = json.loads(perf("rate", "--kinds", "early-data", "--at-once", 2, "--handshakes", 20, *perf.records, *SHORT))
    assert [case["by"] for case in told["cases"]] == ["listen", "handshake"]
    for case in told["cases"]:
        judge(case, 2)
        run, = case["runs"]
        assert run["not-resumed"] == 0 and run["server"]["resumed"] == run["server"]["established"]
    covers("Measuring handshakes with early data", "TLS1.3", "server")


def test_post_quantum_is_measured_by_all_or_not_at_all(perf, covers):
    arguments = ("rate", "--kinds", "full,post-quantum", "--at-once", 2, "--handshakes", 20, *perf.records, *SHORT)
    groups = subprocess.run([peers.needs("gnutls-cli"), "--list"], capture_output=True, check=False).stdout.decode()
    if "X25519-MLKEM768" not in groups:
        assert "has no post-quantum key exchange" in perf(*arguments, status=1)
        pytest.skip("this GnuTLS has no X25519-MLKEM768")
    told = json.loads(perf(*arguments))
    assert [(case["kind"], case["by"], case["group"]) for case in told["cases"]] == [
        (kind, by, group) for kind, group in (("full", "X25519"), ("post-quantum", "X25519-MLKEM768"))
        for by in ("gnutls", "listen", "handshake")]
    for case in told["cases"]:
        judge(case, 2)
    covers("Measuring handshakes: X25519-MLKEM768", "TLS1.3", "server")


def test_two_hosts_measure_as_one_does(perf, build):
    server = subprocess.Popen([build / "bin" / "handshake", "perf", "rate", "--server", "127.0.0.1:0"],
                              stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        address = server.stdout.readline().decode().split()[-1]
        for by in ("handshake", "gnutls"):  # one client's end after another
            told = json.loads(perf("rate", "--client", address, "--by", by, "--at-once", 1,
                                   "--handshakes", 20, "--tls", "1.2", *perf.records, *SHORT))
            case, = told["cases"]
            judge(case, 1)
            assert case["version"] == "TLS1.2" and case["by"] == by
    finally:
        server.terminate()
        server.wait(seconds(20))


def test_throughput_of_each_path_is_measured_and_counted(perf, records, tmp_path, covers):
    ways = ["plain", "gnutls", "relay"] + (["kernel-write", "kernel-sendfile"] if records == "kernel" else [])
    drawing = tmp_path / "throughput.svg"
    told = json.loads(perf("throughput", "--sizes", "1K,256K", "--direction", "down,up", "--runs", 1,
                           "--seconds", "200ms", "--warm-up", "50ms", "--json", "--quiet", "--plot", drawing))
    assert [(case["direction"], case["size"], case["path"]) for case in told["cases"]] == [
        (direction, size, way) for direction in ("down", "up") for size in (1024, 262144)
        for way in ways if direction == "down" or way != "kernel-sendfile"]
    for case in told["cases"]:
        run, = case["runs"]
        assert run["bytes"] > 0
        assert run["mb-per-second"] == pytest.approx(run["bytes"] / 1e6 / run["seconds"])
        assert case["server-cpu-seconds-per-gb"]["median"] > 0
        assert ("relay" in run["server-cpu-parts"]) == (case["path"] not in ("plain", "gnutls"))
        # The kernel's own counters prove the path.
        installed = case["path"].startswith("kernel")
        assert [run["tls-counters"].get(name, 0) for name in ("TlsTxSw", "TlsRxSw")] == [installed] * 2
        if case["direction"] == "down":
            # One call moves a piece of data, but of GnuTLS a record at most.
            most = min(case["size"], 16384 if case["path"] == "gnutls" else 1 << 20)
            assert 0.9 <= case["server-calls-per-mb"]["median"] / (1e6 / most) <= 1.5, case
    machine = told["machine"]["server"]
    assert machine["kernel-tls"] == (records == "kernel")
    svg = xml.etree.ElementTree.parse(drawing).getroot()
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}circle")) == 2 * len(told["cases"])
    covers("Measuring throughput", "TLS1.3", "server")


def test_finds_where_kernel_records_pay_or_says_that_there_are_none(perf, records):
    arguments = ("throughput", "--paths", "plain", "--sizes", "64K", "--runs", 1, "--seconds", "100ms",
                 "--warm-up", "10ms", "--discard", "--crossover", "--json", "--quiet")
    if records == "relay":
        assert "the server's kernel has no TLS" in perf(*arguments, status=1)
        return
    told = json.loads(perf(*arguments))
    # What was measured of each size, in the order of the questions.
    pays = {one["size"]: one["kernel-sendfile"] < one["gnutls"] for one in told["kernel-pays-asked"]}
    assert all(one["kernel-sendfile"] > 0 and one["gnutls"] > 0 for one in told["kernel-pays-asked"])
    least, found = 1 << 10, told["kernel-pays-from"]
    if found is None:
        assert pays == {1 << 26: False}
        return
    assert pays[1 << 26] and 2 <= len(pays) == len(told["kernel-pays-asked"]) <= 6
    assert found == min(size for size in pays if pays[size])
    assert found == least or not pays[found // 2]


def test_a_path_that_cannot_be_taken_is_no_figure(perf, records):
    said = perf("throughput", "--paths", "kernel-zerocopy" if records == "kernel" else "kernel-write",
                "--sizes", "64K", "--runs", 1, "--seconds", "100ms", status=1)
    assert ("no NIC encrypts this connection" if records == "kernel" else
            "Kernel records are asked for, but cannot be had") in said


def test_any_server_can_be_the_target(perf, pki):
    with peers.s_server(pki, "TLS1.3", "AES-128-GCM", "ecdsa", "-www") as server:
        told = json.loads(perf("rate", "--target", f"127.0.0.1:{server.port}", "--handshakes", 5,
                               "--at-once", 1, "--kinds", "full,resumed", "--until", "response",
                               "--pids", server.process.pid, *SHORT))
    assert [case["kind"] for case in told["cases"]] == ["full", "resumed"]
    case = told["cases"][1]
    assert case["runs"][0]["not-resumed"] == case["failed"] == 0
    assert case["by"] == "target" and case["runs"][0]["server-cpu"] > 0
    assert "server" not in case["runs"][0]


@pytest.mark.parametrize("arguments, words", [
    ((), "Usage"),
    (("speed",), 'there is no subject "speed"'),
    (("rate", "--kinds", "full,half"), '"half" is none of full, resumed, mutual'),
    (("rate", "--by", "magic"), '"magic" is none of gnutls, listen, handshake'),
    (("rate", "--cipher", "DES"), '"DES" is none of AES-128-GCM, '),
    (("rate", "--at-once", "1," * 200), 'is too long'),
    (("rate", "--at-once", "0"), '"0" is not a whole number from 1'),
    (("rate", "--target", "localhost"), None),
    (("throughput", "--sizes", "1"), '"1" is no size'),
    (("throughput", "--sizes", "2G"), '"2G" is no size'),
    (("throughput", "--paths", "kernel"), '"kernel" is none of plain, gnutls, relay'),
    (("throughput", "--client", "a:1", "--server", "b:1"), "exclude each other"),
    (("rate", "--client", "a:1", "--server", "b:1"), "exclude each other"),
    (("rate", "--server", "b:1", "--at-once", "2"), "--server takes no other option"),
    (("throughput", "--server", "b:1", "--tls", "1.2"), "--server takes no other option"),
    (("rate", "--pids", "1"), "are for a --target"),
    (("rate", "--target", "a:1", "--kinds", "mutual"), 'needs a --certificate'),
])
def test_wrong_usage_is_told(perf, arguments, words):
    if words is None:
        assert '"localhost" has no port' in perf(*arguments, status=1)
    else:
        assert words in perf(*arguments, status=2)


def test_a_measurement_that_is_broken_off_leaves_nothing_behind(build):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        running = subprocess.Popen(
            [build / "bin" / "handshake", "perf", "rate", "--seconds", "60", "--quiet"],
            stdout=subprocess.DEVNULL, env=dict(os.environ, TMPDIR=directory), preexec_fn=die_with_parent)
        wait_until(lambda: glob.glob(f"{directory}/*/socket"), 30, "the daemon of the measurement")
        running.terminate()
        running.wait(seconds(10))
        wait_until(lambda: not os.listdir(directory), 20, "the end of its daemon")


def test_what_cannot_be_measured_is_no_figure(perf):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        said = perf("rate", "--target", f"127.0.0.1:{deaf.getsockname()[1]}", "--timeout", "100ms",
                    "--at-once", 1, status=1)
    assert "a handshake took longer than" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = perf("rate", "--target", f"127.0.0.1:{port}", "--at-once", 1, status=1)
    assert "Connection refused" in said


# A load on the talker's processor that yields to it always has something to read.
ONE_CPU = {min(os.sched_getaffinity(0))}
SLOWER = {"preexec_fn": lambda: (os.sched_setaffinity(0, ONE_CPU), os.nice(19))}


def talk_without_end(listening, context):
    def talk(sock):
        os.sched_setaffinity(0, ONE_CPU)
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            while True:
                tls.sendall(bytes(1 << 20))

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()


@pytest.mark.skipif(not FULL, reason="no kernel has a part in it; shown at full speed")
def test_a_target_that_talks_without_end_is_no_figure(perf, pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pki.cert("ecdsa")), str(pki.key("ecdsa")))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=talk_without_end, args=(listening, context), daemon=True).start()
        said = perf("rate", "--target", f"127.0.0.1:{listening.getsockname()[1]}", "--at-once", 1,
                    "--timeout", f"{int(seconds(0.3) * 1000)}ms", "--quiet", status=1, **SLOWER)
        listening.shutdown(socket.SHUT_RDWR)
    assert "the server did not end a connection after its handshake" in said
