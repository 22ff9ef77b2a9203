# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGHUP: all of the new configuration, or all of the old."""

import contextlib
import os
import socket

import pytest

import daemon as daemon_module
import endpoint
import library
from endpoint import Endpoint, context, in_thread, tcp_pair
from scale import milliseconds, seconds, wait_until
from test_async import collect, pairs


@pytest.fixture
def one(make_daemon, pki, records):
    return make_daemon({"web": daemon_module.profile(pki, records, "ecdsa",
                                                     timeout_ms=milliseconds(30000))})


def served(one, pki, profile="web"):
    """The common name of the certificate that a new handshake shows."""
    ours, theirs = tcp_pair()
    with ours, theirs, library.Handshake(library.SERVER, profile) as handshake:
        def perform():
            result = handshake.perform(one.socket, ours.fileno())
            if result < 0:
                ours.shutdown(socket.SHUT_RDWR)
            return result

        running = in_thread(perform)
        peer = Endpoint(theirs, context("client", pki.trust), "localhost")
        failed = None
        try:
            peer.handshake()
        except OSError as error:
            failed = error
            theirs.close()
        if running.result(seconds(20)) < 0:
            return f"{handshake['class']}: {handshake.error}"
        assert failed is None, failed
        endpoint.exchange(peer, ours)
        return dict(x[0] for x in peer.tls.getpeercert()["subject"])["commonName"]


def test_reload_serves_the_new_certificate(one, pki, records):
    assert served(one, pki) == "ecdsa"
    one.profiles["web"] = daemon_module.profile(pki, records, "rsa")
    one.write()
    assert one.reload()
    wait_until(lambda: served(one, pki) == "rsa", what="the new certificate")
    assert all(served(one, pki) == "rsa" for _ in range(5))


def test_reload_reads_the_files_anew(make_daemon, pki, records, tmp_path):
    """The same configuration, a renewed certificate in the same file."""
    for suffix in (".pem", ".key"):
        (tmp_path / ("web" + suffix)).write_bytes(
            (pki.directory / ("ecdsa" + suffix)).read_bytes())
    (tmp_path / "web.key").chmod(0o600)
    profile = daemon_module.profile(pki, records) + [("certificate", tmp_path / "web.pem"),
                                                     ("private-key", tmp_path / "web.key")]
    one = make_daemon({"web": profile})
    assert served(one, pki) == "ecdsa"
    for suffix in (".pem", ".key"):
        (tmp_path / ("web" + suffix)).write_bytes((pki.directory / ("rsa" + suffix)).read_bytes())
    assert one.reload()
    wait_until(lambda: served(one, pki) == "rsa", what="the renewed certificate")


def test_profiles_come_and_go(one, pki, records):
    one.profiles = {"mail": daemon_module.profile(pki, records, "ed25519")}
    one.write()
    assert one.reload()
    wait_until(lambda: served(one, pki, "mail") == "ed25519", what="the new profile")
    assert served(one, pki, "web").startswith("request:")


BROKEN = {
    "unknown key": lambda text, pki, tmp: (text.replace("trust =", "truts ="), "truts"),
    "unknown section": lambda text, pki, tmp: (text + "[prolife x]\n", "prolife x"),
    "no file": lambda text, pki, tmp: ("", ""),
    "certificate that is not there": lambda text, pki, tmp: (
        text.replace(str(pki.cert("ecdsa")), str(tmp / "gone.pem")), "gone.pem"),
    "key of another certificate": lambda text, pki, tmp: (
        text.replace(str(pki.key("ecdsa")), str(pki.key("second"))), "second.key"),
    "trust that is no certificate": lambda text, pki, tmp: (
        text.replace(str(pki.trust), "/etc/passwd"), "/etc/passwd"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_configuration_is_refused_with_its_reason_and_the_old_stays(what, one, pki,
                                                                           tmp_path):
    wait_until(lambda: len(one.workers()) == 2, what="both workers")
    children = one.workers()
    text, word = BROKEN[what](one.config.read_text(), pki, tmp_path)
    if what == "no file":
        one.config.unlink()
        word = str(one.config)
    else:
        one.write(text)
    one.new_log()
    assert not one.reload()
    assert word in one.new_log(), "the log does not say what was wrong"
    assert served(one, pki) == "ecdsa"
    assert one.workers() == children, "workers were replaced for nothing"
    # Mended, it is taken.
    one.write()
    assert one.reload()
    assert served(one, pki) == "ecdsa"


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_refused_reload_leaves_the_secrets_where_they_were(make_daemon, pki, records, tmp_path):
    tmp_path.chmod(0o700)
    own, other = tmp_path / "own", tmp_path / "other"
    one = make_daemon({"web": daemon_module.profile(pki, records)},
                      {"state-directory": own, "ticket-key-rotation-s": 2})
    text = one.config.read_text()
    for was, will_be in ((str(own), str(other)), ("rotation-s = 2", "rotation-s = 3600"),
                         (f"records = {records}", "records = auto")):
        assert was in text
        text = text.replace(was, will_be)
    # Refused by what comes after the secrets: a keyring that is not there.
    one.write(text + "[kernel]\nnfsd = web\nlink-keyring = handshake-test-absent\n")
    one.new_log()
    assert not one.reload()
    assert "handshake-test-absent" in one.new_log()
    kept, strange = contents(own), contents(other)
    wait_until(lambda: contents(own) != kept, what="the next rotation, in the old place")
    assert contents(other) == strange


def test_reload_lets_what_is_under_way_finish_under_the_old_configuration(one, pki, records):
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(library.Client(one.socket))
        handshakes = [stack.enter_context(library.Handshake(library.SERVER, "web"))
                      for _ in range(20)]
        made = pairs(stack, 20)
        for handshake, (ours, _) in zip(handshakes, made):
            client.start(handshake, ours.fileno())
            client.process()
        wait_until(lambda: one.status()["handshakes-under-way"] == 20, what="20 under way")
        one.profiles["web"] = daemon_module.profile(pki, records, "rsa")
        one.write()
        assert one.reload()
        wait_until(lambda: served(one, pki) == "rsa", what="the new certificate")
        peers = [Endpoint(theirs, context("client", pki.trust), "localhost")
                 for _, theirs in made]
        running = in_thread(lambda: [peer.handshake() for peer in peers])
        assert set(collect(client, 20)) == set(handshakes)
        running.result(seconds(20))
        for handshake, peer in zip(handshakes, peers):
            assert handshake.outcome == "established", handshake.error
            name = dict(x[0] for x in peer.tls.getpeercert()["subject"])["commonName"]
            assert name == "ecdsa"


def test_old_generation_ends_when_it_has_nothing_left(one, pki):
    old = one.workers()
    assert one.reload()
    wait_until(lambda: not set(old) & set(one.workers()), 20, "the old workers' end")
    # A relay that has not executed its program yet looks like one.
    wait_until(lambda: len(one.workers()) == 2, 20, "as many workers as before")
    assert served(one, pki) == "ecdsa"


def test_client_of_the_old_generation_is_served_or_told(one, pki):
    """A connection to the daemon that was open before the reload."""
    with library.Client(one.socket) as client:
        assert one.reload()
        ours, theirs = tcp_pair()
        with ours, theirs, library.Handshake(library.SERVER, "web") as handshake:
            try:
                client.start(handshake, ours.fileno())
            except OSError:
                endpoint.assert_plain(ours, theirs)
                return
            running = in_thread(Endpoint(theirs, context("client", pki.trust),
                                         "localhost").try_handshake)
            try:
                collect(client, 1)
            except ConnectionError:
                pass
            assert handshake.outcome in ("established", "untouched"), handshake
            if handshake.outcome == "untouched":
                assert handshake.may_retry
            ours.close()
            theirs.close()
            running.result(seconds(20))


def test_20_reloads_in_a_row_under_load(one, pki):
    """Each handshake meanwhile succeeds: none falls between two generations."""
    stop = []
    results = []

    def load():
        while not stop:
            results.append(served(one, pki))

    running = in_thread(load)
    for _ in range(20):
        assert one.reload()
    stop.append(True)
    running.result(seconds(30))
    assert set(results) == {"ecdsa"}
    wait_until(lambda: len(one.workers()) == 2, 20, "the old generations' end")
    assert len(os.listdir(f"/proc/{one.process.pid}/fd")) < 60


def test_burst_of_signals_is_survived(one, pki):
    for _ in range(50):
        one.signal(daemon_module.signal.SIGHUP)
    wait_until(lambda: one.status()["reloads"] >= 1, what="a reload")
    wait_until(lambda: len(one.workers()) == 2, 20, "the old generations' end")
    assert served(one, pki) == "ecdsa"
