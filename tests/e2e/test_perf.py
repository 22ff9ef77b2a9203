# SPDX-License-Identifier: LGPL-2.1-or-later
"""handshake perf: it measures what it says, its two ends agree, and what it writes can be read."""

import json
import socket
import subprocess
import xml.etree.ElementTree

import pytest

import peers
from scale import die_with_parent, seconds

SHORT = ("--runs", "1", "--warm-up", "50ms", "--timeout", f"{int(seconds(10))}s", "--json", "--quiet")
PHASES = {"queue", "peer", "computation", "signer", "keys"}


def parts(which):
    """The parts of all times of a case that must be there."""
    if which["by"] == "gnutls":
        return {"total", "peer", "computation"}
    return {"total"} | PHASES | ({"hand-over"} if which["by"] == "handshake" else set())


@pytest.fixture
def perf(build, records):
    def run(*arguments, status=0):
        done = subprocess.run([build / "bin" / "handshake", "perf", *map(str, arguments)],
                              capture_output=True, timeout=seconds(100), check=False)
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
    # What was under way when counting began or ended is counted at one end alone.
    assert abs(counted - run["handshakes"]) <= 2 * at_once + counted // 20, run
    assert run["server"]["failed"] == 0
    assert set(run["server"]["times-us"]) == parts(case)
    latency = [run["latency-us"][part] for part in ("p50", "p90", "p99", "p99.9")]
    assert latency == sorted(latency) and latency[0] > 0
    assert run["server-cpu"] == pytest.approx(sum(run["server-cpu-parts"].values()))
    assert {"program"} <= set(run["server-cpu-parts"])
    assert ({"worker", "signer"} <= set(run["server-cpu-parts"])) == (case["by"] != "gnutls")


def test_rates_of_the_daemon_stand_beside_those_of_the_library_alone(perf, records, tmp_path, covers):
    drawing = tmp_path / "rate.svg"
    told = json.loads(perf("rate", "--kinds", "full,resumed,mutual", "--at-once", 2, "--handshakes", 60,
                           *perf.records, *SHORT, "--plot", drawing))
    assert [(case["kind"], case["by"]) for case in told["cases"]] == [
        (kind, by) for kind in ("full", "resumed", "mutual") for by in ("gnutls", "listen", "handshake")]
    for case in told["cases"]:
        judge(case, 2)
        run, = case["runs"]
        assert run["handshakes"] >= 60
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
    covers("measuring handshakes", "TLS1.3", "server")


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
    (("rate", "--kinds", "full,half"), '"half" in "full,half" is no kind of handshake'),
    (("rate", "--by", "magic"), '"magic" in "magic" is none of'),
    (("rate", "--at-once", "0"), '"0" is not a whole number from 1'),
    (("rate", "--target", "localhost"), None),
    (("rate", "--client", "a:1", "--server", "b:1"), "exclude each other"),
    (("rate", "--pids", "1"), "are for a --target"),
    (("rate", "--target", "a:1", "--kinds", "mutual"), 'needs a --certificate'),
])
def test_wrong_usage_is_told(perf, arguments, words):
    if words is None:
        assert '"localhost" has no port' in perf(*arguments, status=1)
    else:
        assert words in perf(*arguments, status=2)


def test_what_cannot_be_measured_is_no_figure(perf):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        said = perf("rate", "--target", f"127.0.0.1:{deaf.getsockname()[1]}", "--timeout", "100ms",
                    "--at-once", 1, status=1)
    assert "a handshake took longer than" in said
