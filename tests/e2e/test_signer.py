# SPDX-License-Identifier: LGPL-2.1-or-later
"""The signer: no other process ever has a private key, no handshake waits for another's signature, and
a signer that stops, dies or comes back is told from one that works."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import ssl
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import daemon as daemon_module
from endpoint import INTERNAL_ERROR, Endpoint, context, in_thread, tcp_pair
from expect import assert_failure
from scale import FULL, milliseconds, seconds, wait_until

KINDS = ("ecdsa", "rsa", "ed25519")
HANDSHAKES = 1000 if FULL else 45


@pytest.fixture
def profiles(pki, records):
    def make(**extra):
        extra.setdefault("timeout_ms", milliseconds(20000))
        made = {kind: daemon_module.profile(pki, records, kind, **extra) for kind in KINDS}
        made["client"] = daemon_module.profile(pki, records, role="client", **extra)
        return made
    return make


def stop(pid):
    """No thread of it does anything more; kill() alone returns before that."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    wait_until(lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                           for task in tasks.iterdir()), what=f"process {pid} stopped")


def start(client, stack, profile="ecdsa"):
    """A handshake as server that waits for its peer's first byte: number, and the peer's socket."""
    ours, theirs = (stack.enter_context(s) for s in tcp_pair())
    return client.start(ours.fileno(), "server", profile=profile), theirs


def greet(pki, theirs):
    return in_thread(Endpoint(theirs, context("client", pki.trust), "localhost").handshake)


def established(client, pki, profile, version=None):
    ours, theirs = tcp_pair()
    with ours, theirs:
        number = client.start(ours.fileno(), "server", profile=profile)
        peer = in_thread(Endpoint(theirs, context("client", pki.trust, version=version),
                                  "localhost").handshake)
        reply = client.reply(number, 30)
        assert reply.outcome == "established", reply
        reply.close()
        peer.result(seconds(30))
        return reply


# ---- Where keys are ----

def secrets_of(path):
    """What gives a key away: its numbers, in both orders of bytes, and the halves of each, as a library
    may lay them out in limbs with something between."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        values = {name: getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
        texts = {name: value.to_bytes((value.bit_length() + 7) // 8, "big")
                 for name, value in values.items()}
    elif hasattr(key, "private_numbers"):
        texts = {"scalar": key.private_numbers().private_value.to_bytes(32, "big")}
    else:
        texts = {"seed": key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                                           serialization.NoEncryption())}
    found = {}
    for name, text in texts.items():
        for part, half in (("first", text[:len(text) // 2][:32]), ("last", text[-16:])):
            found[f"{name}, {part} half"] = half
            found[f"{name}, {part} half, reversed"] = half[::-1]
    # The file's own text, too: a line of the base64.
    found["PEM"] = path.read_bytes().splitlines()[1][:48]
    return found


def memory_of(pid):
    """Everything that the process has mapped and may read, as root sees it."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            range_, access = line.split()[:2]
            first, last = (int(x, 16) for x in range_.split("-"))
            if access[0] != "r" or "[v" in line:
                continue
            try:
                memory.seek(first)
                left, piece = last - first, b""
                while left > 0:
                    got = memory.read(min(left, 1 << 24))
                    if not got:
                        break
                    left -= len(got)
                    yield piece[-64:] + got
                    piece = got
            except OSError:
                continue


def search(pid, wanted):
    found = set()
    for piece in memory_of(pid):
        found |= {name for name, text in wanted.items() if text in piece}
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads another process's memory")
def test_private_keys_are_in_the_signers_memory_alone(make_daemon, profiles, pki, build):
    if build.name in ("build-address", "build-thread"):
        pytest.skip("a sanitizer maps terabytes: too much to search")
    one = make_daemon(profiles(), {"workers": 1, "log-level": "warning"})
    wanted = {f"{kind}: {name}": text for kind in KINDS
              for name, text in secrets_of(pki.key(kind)).items()}
    with one.client() as client:
        for i in range(HANDSHAKES):
            established(client, pki, KINDS[i % 3], ("TLS1.3", "TLS1.2")[i // 3 % 2])
    signer, = one.signers()
    there = search(signer, wanted)
    for kind in KINDS:
        # The search finds what there is to find.
        assert any(name.startswith(kind + ":") for name in there), (kind, there)
    others = {"worker": one.workers(), "relay": one.relays(), "supervisor": [one.process.pid]}
    for name, pids in others.items():
        assert pids, name
        for pid in pids:
            assert search(pid, wanted) == set(), name


def test_the_signer_is_confined(make_daemon, profiles):
    one = make_daemon(profiles())
    signer, = one.signers()
    status = pathlib.Path(f"/proc/{signer}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert values["NoNewPrivs"] == "1"
    assert int(values["CapEff"], 16) == int(values["CapPrm"], 16) == 0
    if os.geteuid() == 0:
        assert set(values["Uid"].split()) != {"0"}
    if "no filter of system calls" not in one.log():
        assert values["Seccomp"] == "2"
    targets = set()
    for fd in os.listdir(f"/proc/{signer}/fd"):
        with contextlib.suppress(OSError):
            targets.add(re.sub(r"\[.*", "", os.readlink(f"/proc/{signer}/fd/{fd}")))
    # Its sockets and the log: no file of a key, nothing of the network.
    assert targets <= {"socket:", "/dev/null", str(one.log_path), "pipe:"}, targets
    assert b"socket" not in pathlib.Path(f"/proc/{signer}/cmdline").read_bytes()


def test_without_private_keys_there_is_no_signer(make_daemon, pki, records):
    one = make_daemon({"client": daemon_module.profile(pki, records, role="client")})
    assert one.signers() == []


# ---- Waiting ----

def test_a_worker_that_waits_for_signatures_does_other_work(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    signer, = one.signers()
    with one.client() as client, contextlib.ExitStack() as stack:
        stop(signer)
        try:
            waiting = [start(client, stack) for _ in range(20)]
            peers = [greet(pki, theirs) for _, theirs in waiting]
            time.sleep(seconds(0.2))
            # As client it needs no key.
            ours, theirs = (stack.enter_context(s) for s in tcp_pair())
            server = in_thread(Endpoint(theirs, context(
                "server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"))).handshake)
            reply = client.handshake(ours.fileno(), "client", 20, profile="client",
                                     peer_name="localhost")
            assert reply.outcome == "established", reply
            server.result(seconds(20))
            assert one.status()["handshakes-under-way"] == 20
            # Given up while the library is in the middle of it.
            for number, _ in waiting[:5]:
                client.cancel(number)
            wait_until(lambda: one.status()["handshakes-under-way"] == 15, what="fifteen of them")
        finally:
            os.kill(signer, signal.SIGCONT)
        for number, _ in waiting[5:]:
            reply = client.reply(number, 20)
            assert reply.outcome == "established", reply
        for peer in peers[5:]:
            peer.result(seconds(20))
        for peer in peers[:5]:
            with pytest.raises((OSError, ssl.SSLError)):
                peer.result(seconds(20))


def test_a_signer_that_does_not_answer_ends_no_later_than_the_deadline(make_daemon, profiles, pki):
    one = make_daemon(profiles(timeout_ms=milliseconds(500)), {"workers": 1})
    signer, = one.signers()
    with one.client() as client, contextlib.ExitStack() as stack:
        stop(signer)
        try:
            number, theirs = start(client, stack)
            peer = greet(pki, theirs)
            reply = client.reply(number, 20)
            assert_failure(reply, "timeout", retry="yes")
            assert "signer" in reply["error"]
            with pytest.raises((OSError, ssl.SSLError)):
                peer.result(seconds(20))
        finally:
            os.kill(signer, signal.SIGCONT)
        # The late answer is nobody's.
        for kind in KINDS:
            established(client, pki, kind)


@pytest.mark.many
def test_more_handshakes_wait_than_there_are_stacks(make_daemon, profiles, pki):
    count = 400 if FULL else 270
    one = make_daemon(profiles(timeout_ms=milliseconds(60000)),
                      {"workers": 1, "relayed-per-user": 1000})
    signer, = one.signers()
    with one.client() as client, contextlib.ExitStack() as stack:
        stop(signer)
        try:
            waiting = [start(client, stack) for _ in range(count)]
            peers = [greet(pki, theirs) for _, theirs in waiting]
            wait_until(lambda: one.status()["handshakes-under-way"] == count, 60)
            for number, _ in waiting[-10:]:
                client.cancel(number)
            wait_until(lambda: one.status()["handshakes-under-way"] == count - 10, 20)
        finally:
            os.kill(signer, signal.SIGCONT)
        for number, _ in waiting[:-10]:
            assert client.reply(number, 60).outcome == "established"
        for peer in peers[:-10]:
            peer.result(seconds(60))


# ---- Death ----

def test_handshakes_that_wait_for_a_signer_that_dies_fail_clearly(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    signer, = one.signers()
    with one.client() as client, contextlib.ExitStack() as stack:
        stop(signer)
        waiting = [start(client, stack) for _ in range(20)]
        peers = [greet(pki, theirs) for _, theirs in waiting]
        time.sleep(seconds(0.3))
        os.kill(signer, signal.SIGKILL)
        for number, _ in waiting:
            reply = client.reply(number, 20)
            assert_failure(reply, "internal", alert=(INTERNAL_ERROR,), direction="sent", retry="yes")
            assert "signer" in reply["error"]
        for peer in peers:
            with pytest.raises((OSError, ssl.SSLError)):
                peer.result(seconds(20))
        for kind in KINDS:
            established(client, pki, kind)
    assert one.status()["signers-died"] == 1
    assert len(one.signers()) == 1 and one.signers() != [signer]
    assert one.status()["workers-died"] == 0


def test_signers_that_die_again_and_again_are_replaced(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 2})
    for i in range(4):
        signer, = one.signers()
        os.kill(signer, signal.SIGKILL)
        wait_until(lambda: one.status()["signers-died"] == i + 1, 30, "the death")
        with one.client() as client:
            established(client, pki, KINDS[i % 3])


def test_a_successor_with_another_key_is_not_used(make_daemon, pki, records, tmp_path):
    """The key was renewed and nobody has reloaded: the certificate that is served has lost its key."""
    for suffix in (".pem", ".key"):
        shutil.copy2(pki.directory / ("ecdsa" + suffix), tmp_path / ("web" + suffix))
    profile = daemon_module.profile(pki, records, timeout_ms=milliseconds(5000))
    one = make_daemon({"web": [("certificate", tmp_path / "web.pem"),
                               ("private-key", tmp_path / "web.key")] + profile}, {"workers": 1})
    # The certificate has not come yet: the daemon, which sees the change, refuses to reload.
    shutil.copy2(pki.key("second"), tmp_path / "web.key")
    os.kill(one.signers()[0], signal.SIGKILL)
    wait_until(lambda: "the signer cannot be replaced" in one.log(), what="the log's word")
    assert "reload" in one.log()
    with one.client() as client, contextlib.ExitStack() as stack:
        number, theirs = start(client, stack, "web")
        peer = greet(pki, theirs)
        reply = client.reply(number, 20)
        assert_failure(reply, "internal", retry="yes")
        assert "signer" in reply["error"]
        with pytest.raises((OSError, ssl.SSLError)):
            peer.result(seconds(20))
    shutil.copy2(pki.cert("second"), tmp_path / "web.pem")
    wait_until(one.reload, 20, "a reload that is taken")
    with one.client() as client:
        ours, theirs = tcp_pair()
        with ours, theirs:
            number = client.start(ours.fileno(), "server", profile="web")
            peer = greet_any(theirs)
            assert client.reply(number, 20).outcome == "established"
            peer.result(seconds(20))


def greet_any(theirs):
    return in_thread(Endpoint(theirs, context("client"), "localhost").handshake)


def test_a_reload_brings_another_signer_and_the_old_one_serves_to_its_end(make_daemon, profiles, pki):
    one = make_daemon(profiles(), {"workers": 1})
    before, = one.signers()
    with one.client() as client, contextlib.ExitStack() as stack:
        number, theirs = start(client, stack)
        assert one.reload()
        assert before in one.signers() and len(one.signers()) == 2
        # The handshake is the old generation's.
        peer = greet(pki, theirs)
        reply = client.reply(number, 20)
        assert reply.outcome == "established", reply
        peer.result(seconds(20))
        wait_until(lambda: before not in one.signers(), 20, "the end of the old signer")
    with one.client() as client:
        established(client, pki, "rsa")
    assert one.status()["signers-died"] == 0
