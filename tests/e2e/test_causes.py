# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of causes.py: each row is brought about, and what the consumer in the kernel hears and what
its peer sees are compared with it."""

import contextlib
import errno
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

import causes
import daemon as daemon_module
import nfs
import ocsp
import rpc
import upcall
from causes import ANONYMOUS, CLIENT, NFS, NFSD, PSK_CLIENT, PSK_SERVER, SERVER
from endpoint import Endpoint, context, in_thread, reset, tcp_pair
from expect import ALERT_WORDS
from scale import milliseconds, seconds, wait_until

TRACING = pathlib.Path("/sys/kernel/tracing/instances/causes")


def test_the_page_has_the_table():
    assert causes.PAGE.read_text(encoding="utf-8") == causes.page(), (
        "docs/kernel-consumers.md has another table: python3 tests/e2e/causes.py --write")


# ---- The agent ----

class Agent:
    """One that most rows share; those that end it get another."""

    def __init__(self, build, pki, directory, staple):
        def profile(*names, **more):
            return daemon_module.profile(pki, "kernel", *names, min_version="TLS1.3",
                                         revocation_list=pki.revocation_list, **more)
        self.daemon = daemon_module.Daemon(build, directory, {
            "nfs": profile("client-ecdsa", role="client", revocation="staple"),
            "nfsd": profile("ecdsa", role="server", client_certificates="request"),
            "stapling": [*daemon_module.certificates(pki, "ecdsa"), ("staple", staple),
                         *profile(role="server")]})

    def serve(self, *consumers):
        self.daemon.stop()
        self.daemon.kernel = {name: name for name in consumers}
        self.daemon.write()
        self.daemon.start()


@pytest.fixture(scope="module")
def shared(build, pki, upcalls, sanitizer_directory, tmp_path_factory):
    staple = tmp_path_factory.mktemp("staple") / "revoked"
    staple.write_bytes(ocsp.response(pki, pki.certificates["ecdsa"], "revoked"))
    one = Agent(build, pki, sanitizer_directory, staple)
    yield one
    one.daemon.stop()
    one.daemon.remove()


@pytest.fixture
def agent(shared):
    if not shared.daemon.alive or set(shared.daemon.kernel) != {"nfs", "nfsd"}:
        shared.serve("nfs", "nfsd")
    return shared


# ---- What the kernel says of its consumers' handshakes ----

@pytest.fixture
def trace():
    TRACING.mkdir(exist_ok=True)
    for event in ("complete", "submit_err", "cancel"):
        (TRACING / f"events/handshake/handshake_{event}/enable").write_text("1")
    (TRACING / "trace").write_text("")
    yield Trace()
    for event in ("complete", "submit_err", "cancel"):
        (TRACING / f"events/handshake/handshake_{event}/enable").write_text("0")


class Trace:
    def events(self):
        """(event, its number or None) of each request that has ended, in their order."""
        found = re.findall(r"handshake_(complete|submit_err|cancel): .*sk=\S+(?: (?:status|err)=(-?\d+))?",
                           (TRACING / "trace").read_text())
        return [(name, abs(int(number)) if number else None) for name, number in found]

    def status(self, timeout=20):
        """What the first that ended heard."""
        name, number = wait_until(self.events, timeout, "the end of the kernel's request")[0]
        return causes.NONE if name == "cancel" else errno.errorcode[number] if number else "0"


# ---- Consumers: each has a peer's socket ----

class ModuleConsumer:
    """kmod-tests/upcall, as client or server."""

    def __init__(self, kind, impatient):
        self.kind, self.impatient = kind, impatient
        self.ours, self.peer = tcp_pair()
        self.call = None
        self.status_now = None

    def ask(self):
        role = upcall.SERVER if self.kind == SERVER else upcall.CLIENT
        auth = upcall.UNAUTHENTICATED if self.kind == ANONYMOUS else upcall.X509
        timeout = milliseconds(400) if self.impatient else 0
        try:
            self.call = upcall.Upcall(self.ours, role, auth, "" if self.kind == SERVER else "localhost",
                                      timeout_ms=timeout)
        except OSError as error:
            self.status_now = errno.errorcode[error.errno]

    def status(self, trace):
        if self.status_now:
            return self.status_now
        if not self.call.ended(20):
            return causes.NONE
        heard = self.call.result()[0]
        heard = "0" if heard == "ok" else heard
        assert trace.status() == heard
        return heard

    def unanswered(self):
        """Whether it waits on, with nobody to answer."""
        return not self.call.ended(0.05)

    def hang_up(self):
        if self.call:
            self.call.close()  # it has a hold on the socket, too
        self.ours.close()

    def close(self):
        self.hang_up()
        self.peer.close()


class NfsConsumer:
    """The NFS client, with a server here that says STARTTLS and nothing else."""

    def __init__(self, server, kind):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="nfs-"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(seconds(20))
            self.mount = subprocess.Popen(
                server.mount_command(self.path, "mtls" if kind == NFS else "tls",
                                     options=(f"port={listening.getsockname()[1]}",)),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                self.peer, _ = listening.accept()
            except OSError:
                nfs.give_up(self.mount, self.path)
                raise
        self.peer.settimeout(seconds(30))

    def ask(self):
        rpc.start_tls(self.peer)

    def status(self, trace):
        return trace.status()

    def unanswered(self):
        return True

    def hang_up(self):
        nfs.give_up(self.mount, self.path)

    def close(self):
        self.peer.close()
        self.hang_up()


class NfsdConsumer:
    """The NFS server, asked by a client here."""

    def __init__(self):
        self.peer = socket.create_connection(("127.0.0.1", 2049))
        self.peer.settimeout(seconds(30))

    def ask(self):
        assert rpc.ask_for_tls(self.peer)

    def status(self, trace):
        return trace.status()

    def unanswered(self):
        return True

    def hang_up(self):
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_WR)

    def close(self):
        self.peer.close()


@contextlib.contextmanager
def consumer(kind, server, **more):
    one = (NfsConsumer(server, kind) if kind == NFS else NfsdConsumer() if kind == NFSD
           else ModuleConsumer(kind, **more))
    try:
        yield one
    finally:
        one.close()


# ---- Peers: each says what it has seen when the connection is over ----

def tls_peer(sock, made, name=None):
    one = Endpoint(sock, made, name)
    end = one.try_handshake()
    if one.received_alert is not None:
        return ALERT_WORDS[one.received_alert]
    sent = [number for direction, number in one.alerts if direction == "write" and number != 0]
    if sent:
        return f"{ALERT_WORDS[sent[-1]]} (its own)"
    if one.tls.version() and not isinstance(end, ssl.SSLError):
        return causes.TLS
    return "reset" if isinstance(end, ConnectionResetError) else causes.EOF


def listener(sock, first=b"", hear_first=False, shut=False):
    """A peer without TLS: hears something first, sends something, ends its side; and reads to the end."""
    data = b""
    try:
        if hear_first:
            data = sock.recv(65536)
        if first:
            sock.sendall(first)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        while more := sock.recv(65536):
            data += more
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return causes.NOTHING
    numbers = plain_alerts(data)
    return ALERT_WORDS[next((one for one in numbers if one != 0), numbers[0])] if numbers else causes.EOF


def plain_alerts(data):
    """The numbers of the alerts among records that are not encrypted."""
    found = []
    while len(data) >= 5:
        size = int.from_bytes(data[3:5], "big")
        if data[0] == 21 and size == 2 and len(data) >= 7:
            found.append(data[6])
        data = data[5 + size:]
    return found


def resetting(sock, hear_first):
    if hear_first:
        sock.recv(65536)
    reset(sock)
    return "reset"


def stapling(sock, agent):
    """A server that this machine's own service is, for a program."""
    sock.setblocking(True)
    with agent.daemon.client() as client:
        reply = client.handshake(sock, "server", profile="stapling")
    assert reply["alert-direction"] == "received", reply
    return reply["alert"]


def peer_of(row, pki, agent):
    """A function of the socket."""
    words = row.peer.split()
    if row.peer == "stapling server":
        return lambda sock: stapling(sock, agent)
    if row.peer == "server of TLS 1.2":
        return lambda sock: tls_peer(sock, context(
            "server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"), version="TLS1.2"))
    if row.peer == "server that wants a certificate":
        return lambda sock: tls_peer(sock, context(
            "server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"), trust=pki.trust,
            require_certificate=True))
    if row.peer == "client that trusts others":
        return lambda sock: tls_peer(sock, context("client", trust=pki.other_trust), "localhost")
    if row.peer in ("client of TLS 1.2", "client without certificate"):
        version = "TLS1.2" if "1.2" in row.peer else None
        return lambda sock: tls_peer(sock, context("client", trust=pki.trust, version=version), "localhost")
    simple = {
        "server of plain text": lambda sock: listener(sock, b"220 this is no TLS\r\n", hear_first=True),
        "client of plain text": lambda sock: listener(sock, b"GET / HTTP/1.0\r\n\r\n"),
        "server that closes": lambda sock: listener(sock, hear_first=True, shut=True),
        "client that closes": lambda sock: listener(sock, shut=True),
        "server that resets": lambda sock: resetting(sock, True),
        "client that resets": lambda sock: resetting(sock, False),
    }
    if row.peer in simple:
        return simple[row.peer]
    if words[0] == "server":
        return lambda sock: tls_peer(sock, context(
            "server", certificate=pki.cert(words[1]), key=pki.key(words[1])))
    if words[0] == "client":
        return lambda sock: tls_peer(sock, context(
            "client", trust=pki.trust, certificate=pki.cert(words[1]), key=pki.key(words[1])),
            "localhost")
    assert words[0] == "silent", f"{row.name}: nobody here plays \"{row.peer}\""
    return listener


# ---- The rows ----

ABOUT_AGENTS = ("no agent", "no profile", "worker killed", "agent stopped", "agent killed")
CASES = [pytest.param(row, kind, id=f"{row.name}-{kind.replace(' ', '-')}")
         for row in causes.ROWS for kind in row.consumers]


def of_peers(about_agents):
    return [case for case in CASES if (case.values[0].peer in ABOUT_AGENTS) == about_agents and
            case.values[1] not in (PSK_CLIENT, PSK_SERVER)]


@pytest.fixture
def wanted(request):
    """The NFS server's fixture, for whom it concerns."""
    kind = request.getfixturevalue("kind")
    return request.getfixturevalue("nfs_server") if kind in (NFS, NFSD) else None


def compare(row, kind, heard, seen):
    assert (heard, seen) == (row.status, row.seen), f"{row.cause}: {kind}"


@pytest.mark.parametrize("row, kind", of_peers(about_agents=False))
def test_what_a_peer_brings_about(row, kind, agent, trace, pki, wanted):
    with consumer(kind, wanted, **({} if kind in (NFS, NFSD) else
                                   {"impatient": row.peer.startswith("silent")})) as one:
        if kind in (NFS, NFSD):
            one.ask()
            peer = in_thread(peer_of(row, pki, agent), one.peer)
        else:
            peer = in_thread(peer_of(row, pki, agent), one.peer)
            one.ask()
        heard = one.status(trace)
        # The NFS server itself has to close what failed.
        if heard == "0" or kind != NFSD:
            one.hang_up()
        seen = peer.result(seconds(30))
    compare(row, kind, heard, seen)


@pytest.mark.parametrize("row, kind", of_peers(about_agents=True))
def test_what_an_agent_brings_about(row, kind, shared, trace, wanted):
    serves = [("nfs", "nfsd")[kind in causes.CLIENTS]] if row.peer == "no profile" else ["nfs", "nfsd"]
    shared.serve(*serves)
    if row.peer == "no agent":
        shared.daemon.stop()
    with consumer(kind, wanted, **({} if kind in (NFS, NFSD) else {"impatient": False})) as one:
        peer = None
        if kind in (NFS, NFSD):
            one.ask()
            if row.seen == causes.NOTHING:
                one.peer.settimeout(seconds(0.5))
            peer = in_thread(listener, one.peer)
        else:
            peer = in_thread(listener, one.peer)
            one.ask()
        if row.status in (causes.AGAIN, causes.NONE):
            wait_until(lambda: shared.daemon.status()["kernel-requests-under-way"] == 1,
                       what="it under way")
            {"worker killed": lambda: [os.kill(pid, signal.SIGKILL) for pid in shared.daemon.workers()],
             "agent stopped": lambda: shared.daemon.signal(signal.SIGTERM),
             "agent killed": shared.daemon.kill}[row.peer]()
        if row.status == causes.NONE and kind not in (NFS, NFSD):
            time.sleep(0.5)
            heard = causes.NONE if one.unanswered() and one.call.cancel() else "an answer"
        else:
            heard = one.status(trace)
        if kind != NFSD:
            one.hang_up()
        seen = peer.result(seconds(30))
    compare(row, kind, heard, seen)
