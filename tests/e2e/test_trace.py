# SPDX-License-Identifier: LGPL-2.1-or-later
"""Traces: what the daemon tells of a handshake is what tshark saw on the wire; who may have one, and what
becomes of them under load, at a worker's death and over a reload."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import xml.etree.ElementTree

import pytest

import capture
import daemon as daemon_module
import endpoint
import peers
from conversation import connected, gnutls_cli, gnutls_serv, s_client, s_server, served
from scale import SLOW, seconds, wait_until


@pytest.fixture(scope="module")
def key_log(tmp_path_factory):
    return tmp_path_factory.mktemp("key-log") / "keys"


@pytest.fixture(scope="module")
def daemon(make_module_daemon, pki, records, key_log):
    def make(*names, **extra):
        return daemon_module.profile(pki, records, *names, **extra)
    encipher = pki.issue("trace-encipher", kind="rsa", encipher=True) and "trace-encipher"
    return make_module_daemon({
        "default": make("ecdsa"),
        "rsa": make("rsa"),
        "dhe": make("rsa", groups="FFDHE3072, FFDHE4096"),
        "static-rsa": make(encipher, insecure_rsa_key_exchange="yes"),
        "retry": make("ecdsa", groups="SECP384R1"),
        "require": make("ecdsa", client_certificates="require"),
        "early": make("ecdsa", early_data=16384),
        "client": make(role="client"),
        "client-ecdsa": make("client-ecdsa", role="client"),
        "client-dhe": make(role="client", groups="FFDHE3072, FFDHE2048"),
        "client-static-rsa": make(role="client", insecure_rsa_key_exchange="yes"),
        "client-other-trust": make(role="client", trust=pki.other_trust),
    }, {"key-log": key_log})


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


def read_trace(message):
    fd = message.fds["trace"]
    return json.loads(os.pread(fd, os.fstat(fd).st_size + 1, 0))


def events(trace, kind):
    return [e for e in trace["events"] if e["event"] == kind]


def from_client(trace, event):
    return (event["direction"] == "sent") == (trace["role"] == "client")


def message(trace, name):
    found = [e for e in events(trace, "message") if e["message"] == name]
    assert found, (name, trace)
    return found[0]


# ---- What was on the wire ----

SUITES = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302,
          "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
          "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256": 0x009e,
          "TLS_RSA_WITH_AES_128_GCM_SHA256": 0x009c,
          "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xc02b,
          "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xc02c,
          "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xcca9,
          "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xc02f}
VERSIONS = {"TLS1.2": 0x0303, "TLS1.3": 0x0304}


def assert_agrees(trace, seen):
    """Types, directions, sizes and order of all messages; randoms, versions, suites; every record."""
    if seen is None:
        return
    assert seen.malformed == []
    told = [(from_client(trace, e), e["type"], e["size"]) for e in events(trace, "message")]
    wire = [(m["from_client"], m["type"], m["size"]) for m in seen.messages]
    # What the daemon did not read any more: tickets and key updates are the connection's life; what was
    # on its way to somebody who refused is nobody's.
    kept, behind = [], []
    for one in wire:
        whole = [w for w in told if w[0] is one[0]]
        (kept if len([k for k in kept if k[0] is one[0]]) < len(whole) else behind).append(one)
    assert told == kept
    if trace["end"]["outcome"] == "established":
        assert all(kind in (4, 24) for _, kind, _ in behind), wire
    else:
        assert all(way is not (trace["role"] == "client") for way, _, _ in behind), wire
    frames = [m for m in seen.messages if m["type"] in (1, 2)]
    for event, frame in zip([e for e in events(trace, "message") if e["type"] in (1, 2)], frames):
        assert event["random"] == frame["random"][0].replace(":", "")
        if event["type"] == 2:
            assert SUITES[event["suite-chosen"]] == int(frame["ciphersuite"][0], 16)
            version = VERSIONS[event["version-chosen"]]
            listed = frame["extensions_supported_version"] or \
                frame["extensions.supported_version"] or frame["version"]
            assert version in [int(v, 16) for v in listed]
        else:
            assert event.get("suites-not-shown", 0) + len(event["suites"]) == \
                len(frame["ciphersuite"])
            assert event.get("alpn", []) == frame["extensions_alpn_str"]
            assert [event["server-name"]] == frame["extensions_server_name"]
    for side in (True, False):
        told = [e["size"] for e in events(trace, "record") if from_client(trace, e) is side]
        assert told == [size for way, size in seen.records if way is side][:len(told)]
    times = [e["us"] for e in trace["events"]]
    assert times == sorted(times)
    assert trace["lost-events"] == 0


@contextlib.contextmanager
def talk_as_server(client, arguments, recorders, **request):
    """The daemon is the server: the program connects to a recorder, that to the daemon's program."""
    def through(port):
        recorders.append(capture.Recorder(port))
        return arguments(recorders[-1].port)
    with served(client, through, trace="yes", **request) as talk:
        yield talk


@contextlib.contextmanager
def talk_as_client(client, program, recorders, **request):
    recorders.append(capture.Recorder(program.port))
    program.port = recorders[-1].port
    with connected(client, program, trace="yes", **request) as talk:
        yield talk


def certificate(pki, name):
    return ("-cert", pki.cert(name), "-cert_chain", pki.cert(name), "-key", pki.key(name))


OPENSSL_SERVER = {  # profile, peer's options
    "tls13": ("default", ("-tls1_3",)),
    "tls12-ecdhe": ("default", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")),
    "tls12-dhe": ("dhe", ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")),
    "tls12-rsa": ("static-rsa", ("-tls1_2", "-cipher", "AES128-GCM-SHA256")),
    "retry": ("retry", ("-tls1_3", "-groups", "X25519:P-384")),
}
OPENSSL_CLIENT = {  # profile, certificate, peer's options
    "tls13": ("client", "ecdsa", ("-tls1_3",)),
    "tls12-ecdhe": ("client", "ecdsa", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")),
    "tls12-dhe": ("client-dhe", "rsa", ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")),
    "tls12-rsa": ("client-static-rsa", "trace-encipher",
                  ("-tls1_2", "-cipher", "AES128-GCM-SHA256")),
    "retry": ("client", "ecdsa", ("-tls1_3", "-groups", "P-521")),
    "mutual": ("client-ecdsa", "ecdsa", ("-tls1_3", "-Verify", "3")),
}


def finish(talk, recorders, tmp_path, key_log, case="tls13"):
    """Ends the connection; the trace, and what tshark saw. On an emulated kernel, where each start of
    tshark takes a quarter of a minute, only of some: the handshake's bytes are the same everywhere."""
    trace = read_trace(talk.reply)
    talk.connection.close()
    talk.sock.close()
    for recorder in recorders:
        recorder.close()
    path = recorders[0].write(tmp_path / "capture.pcap")
    if SLOW > 4 and case not in ("tls13", "tls12-ecdhe", "accepted"):
        return trace, None
    return trace, capture.Seen(path, key_log)


def assert_told(trace, case):
    """What the case is about is in the trace."""
    names = [e["message"] for e in events(trace, "message")]
    end = trace["end"]
    assert end["outcome"] == "established"
    if case in ("tls13", "retry", "mutual"):
        assert end["version"] == "TLS1.3" and names[-1] in ("Finished", "NewSessionTicket")
        assert ("HelloRetryRequest" in names) == (case == "retry")
        assert message(trace, "ServerHello")["group-chosen"]
    else:
        exchange = case.split("-")[1].upper()
        assert message(trace, "ClientKeyExchange")["key-exchange"] == exchange
        assert ("ServerKeyExchange" in names) == (exchange != "RSA")
        if exchange == "DHE":
            assert message(trace, "ServerKeyExchange")["prime-bits"] >= 2048
    keys = events(trace, "keys")
    assert len(keys) == 1 and keys[0]["cipher"] == end["cipher"]
    shown = message(trace, "Certificate")["certificates"]
    assert all(c["subject"] and c["issuer"] and c["not-before"] < c["not-after"] for c in shown)


@pytest.mark.parametrize("case", OPENSSL_SERVER)
def test_server_s_trace_agrees_with_tshark(case, client, key_log, tmp_path, covers):
    profile, options = OPENSSL_SERVER[case]
    recorders = []
    with talk_as_server(client, lambda port: s_client(port, *options), recorders,
                        profile=profile) as talk:
        talk.speak()
        trace, seen = finish(talk, recorders, tmp_path, key_log, case)
    assert trace["role"] == "server" and trace["profile"] == profile
    assert_told(trace, case)
    assert_agrees(trace, seen)
    covers("Trace of the handshake", trace["end"]["version"], "server")


@pytest.mark.parametrize("case", OPENSSL_CLIENT)
def test_client_s_trace_agrees_with_tshark(case, client, pki, key_log, tmp_path, covers):
    profile, name, options = OPENSSL_CLIENT[case]
    if case == "mutual":
        options += ("-CAfile", pki.trust)
    recorders = []
    with s_server(*certificate(pki, name), *options) as server, \
            talk_as_client(client, server, recorders, profile=profile, alpn="h2,http/1.1",
                           peer_name="localhost") as talk:
        talk.speak()
        trace, seen = finish(talk, recorders, tmp_path, key_log, case)
    assert_told(trace, case)
    assert_agrees(trace, seen)
    assert message(trace, "ClientHello")["alpn"] == ["h2", "http/1.1"]
    verdict = events(trace, "verification")
    assert len(verdict) == 1 and verdict[0]["verdict"] == "good"
    assert {c["verdict"] for c in verdict[0]["certificates"]} == {"good"}
    if case == "mutual":
        assert len([e for e in events(trace, "message") if e["message"] == "Certificate"]) == 2
    covers("Trace of the handshake", trace["end"]["version"], "client")


@pytest.mark.parametrize("version", peers.VERSIONS)
@pytest.mark.parametrize("role", ("client", "server"))
def test_trace_agrees_with_tshark_with_gnutls(version, role, client, pki, key_log, tmp_path):
    priority = f"NORMAL:-VERS-ALL:+VERS-{version}:-CIPHER-ALL:+AES-128-GCM"
    recorders = []
    with contextlib.ExitStack() as stack:
        if role == "server":
            talk = stack.enter_context(talk_as_server(
                client, lambda port: gnutls_cli(port, priority, "--x509cafile", pki.trust),
                recorders))
            talk.speak()
        else:
            server = stack.enter_context(gnutls_serv(
                priority, "--x509certfile", pki.cert("ecdsa"), "--x509keyfile",
                pki.key("ecdsa")))
            talk = stack.enter_context(talk_as_client(client, server, recorders,
                                                      profile="client", peer_name="localhost"))
            talk.echo()
        trace, seen = finish(talk, recorders, tmp_path, key_log, f"gnutls-{version}")
    assert trace["end"]["version"] == version
    assert_agrees(trace, seen)


# ---- Sessions that are taken up again ----

RESUMED = {
    "tls12-ticket": ("-tls1_2",),
    "tls12-session-id": ("-tls1_2", "-no_ticket"),
    "tls13": ("-tls1_3",),
}


@pytest.mark.parametrize("case", RESUMED)
def test_abbreviated_handshake_agrees_with_tshark(case, client, key_log, tmp_path, covers):
    session = tmp_path / "session"
    with served(client, lambda port: s_client(port, *RESUMED[case], "-sess_out", session)) as talk:
        talk.speak()
        wait_until(lambda: session.exists() and session.stat().st_size, 20, "the session")
    recorders = []
    with talk_as_server(client, lambda port: s_client(port, *RESUMED[case], "-sess_in", session),
                        recorders) as talk:
        talk.speak()
        assert talk.reply["resumed"] == "yes"
        trace, seen = finish(talk, recorders, tmp_path, key_log, case)
    assert_agrees(trace, seen)
    assert trace["end"]["resumed"] is True
    assert "Certificate" not in [e["message"] for e in events(trace, "message")]
    hello, answer = message(trace, "ClientHello"), message(trace, "ServerHello")
    if case == "tls13":
        assert hello["psk-identities"] and answer["psk-chosen"] == 0
    elif case == "tls12-ticket":
        assert hello["ticket-size"] > 0
    else:
        assert hello["session-id"] and answer["session-id"] == hello["session-id"]
    covers("Trace of the handshake", trace["end"]["version"], "server")


@pytest.mark.parametrize("outcome", ("accepted", "rejected"))
def test_early_data_agrees_with_tshark(outcome, client, key_log, tmp_path, covers):
    session, request = tmp_path / "session", tmp_path / "request"
    request.write_bytes(b"GET / HTTP/1.0\r\n\r\n" * 10)
    with served(client, lambda port: s_client(port, "-tls1_3", "-sess_out", session),
                profile="early") as talk:
        talk.speak()
        wait_until(lambda: session.exists() and session.stat().st_size, 20, "the session")
    # An application protocol that the ticket was not made under is a reason to take nothing.
    more = ("-alpn", "h2") if outcome == "rejected" else ()
    recorders = []
    with talk_as_server(client, lambda port: s_client(port, "-tls1_3", "-sess_in", session,
                                                      "-early_data", request, *more),
                        recorders, profile="early", alpn="h2" if more else None) as talk:
        talk.speak()
        assert talk.reply.get("early-data", 0) == outcome, talk.reply
        trace, seen = finish(talk, recorders, tmp_path, key_log, outcome)
    assert_agrees(trace, seen)
    names = [e["message"] for e in events(trace, "message")]
    assert message(trace, "ClientHello")["early-data"] is True
    assert trace["end"]["early-data"] == outcome
    if outcome == "accepted":
        assert message(trace, "EncryptedExtensions")["early-data-accepted"] is True
        assert "EndOfEarlyData" in names
        assert "CLIENT_EARLY_TRAFFIC_SECRET" in key_log.read_text()
        assert request.read_bytes() in capture.content(tmp_path / "capture.pcap", key_log)
    else:
        assert "EndOfEarlyData" not in names and trace["end"]["early-data-reason"]
    covers("Trace of the handshake", "TLS1.3", "server")


# ---- Failures ----

def recorded(client, role, tmp_path, key_log, made, **request):
    """A handshake with a peer of Python's; its reply, trace, and what tshark saw."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        recorder = capture.Recorder(listening.getsockname()[1])
        one = socket.create_connection(("127.0.0.1", recorder.port))
        two, _ = listening.accept()
    two.settimeout(seconds(30))
    ours, theirs = (one, two) if role == "client" else (two, one)
    ours.settimeout(None)
    theirs.settimeout(seconds(30))
    with ours, theirs:
        number = client.start(ours, role, trace="yes", **request)
        peer = endpoint.in_thread(endpoint.Endpoint(theirs, made, server_name="localhost").handshake)
        reply = client.reply(number)
        with contextlib.suppress(Exception):
            peer.result(seconds(30))
    recorder.close()
    trace = read_trace(reply)
    return reply, trace, capture.Seen(recorder.write(tmp_path / "capture.pcap"), key_log)


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_refused_certificate_is_seen(version, client, pki, key_log, tmp_path):
    made = endpoint.context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                            version=version)
    reply, trace, seen = recorded(client, "client", tmp_path, key_log, made,
                                  profile="client-other-trust", peer_name="localhost")
    assert reply.outcome == "poisoned"
    assert_agrees(trace, seen)
    assert trace["end"]["class"] == reply["class"] == "verification"
    assert trace["end"]["error"] == reply["error"]
    verdict = events(trace, "verification")[0]
    assert verdict["verdict"] == "refused" and verdict["words"] == reply["verification"]
    assert any(c["verdict"] != "good" for c in verdict["certificates"])
    alert = events(trace, "alert")[-1]
    assert (alert["direction"], alert["alert"]) == ("sent", reply["alert"])
    assert not events(trace, "keys")


def test_peer_s_alert_is_seen(client, pki, key_log, tmp_path):
    made = endpoint.context("client", trust=pki.other_trust, version="TLS1.2")
    reply, trace, seen = recorded(client, "server", tmp_path, key_log, made)
    assert reply["alert-direction"] == "received"
    assert_agrees(trace, seen)
    alert = events(trace, "alert")[-1]
    assert (alert["direction"], alert["number"]) == ("received", int(reply["alert-number"]))


def test_no_common_version_is_seen(client, pki, key_log, tmp_path):
    made = endpoint.context("client", trust=pki.trust, version="TLS1.2", ciphers="AES256-SHA256")
    reply, trace, seen = recorded(client, "server", tmp_path, key_log, made)
    assert reply["class"] == "negotiation"
    assert_agrees(trace, seen)
    assert [e["message"] for e in events(trace, "message")] == ["ClientHello"]


def test_what_is_no_tls_is_seen_as_records_at_most(client):
    one, two = endpoint.tcp_pair()
    with one, two:
        number = client.start(one, "server", trace="yes")
        two.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(30000))
        trace = read_trace(client.reply(number))
    assert trace["end"]["class"] == "protocol"
    assert not events(trace, "message")


def test_no_trace_without_asking(client, pki):
    one, two = endpoint.tcp_pair()
    with one, two:
        number = client.start(one, "server")
        endpoint.Endpoint(two, endpoint.context("client", trust=pki.trust),
                          server_name="localhost").handshake()
        reply = client.reply(number)
        assert "trace" not in reply.fds and reply.get("descriptors") != "trace"


def test_hostile_hello_gives_a_bounded_trace(client):
    """As many suites, protocols and extensions as fit."""
    def vector(size, data):
        return len(data).to_bytes(size, "big") + data
    extensions = b"".join(number.to_bytes(2, "big") + vector(2, bytes(4))
                          for number in range(1000, 5000))
    alpn = vector(2, b"".join(vector(1, bytes([i % 256])) for i in range(1000)))
    body = (b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, bytes(range(256)) * 100) +
            vector(1, b"\0") + vector(2, b"\0\x10" + vector(2, alpn) + extensions))
    data = b"\x01" + vector(3, body)
    one, two = endpoint.tcp_pair()
    with one, two:
        number = client.start(one, "server", trace="yes")
        for at in range(0, len(data), 16000):
            two.sendall(b"\x16\x03\x01" + vector(2, data[at:at + 16000]))
        reply = client.reply(number)
        assert reply.outcome == "poisoned"
        assert os.fstat(reply.fds["trace"]).st_size <= 131072
        hello = message(read_trace(reply), "ClientHello")
    assert len(hello["suites"]) == 64 and hello["suites-not-shown"] == 12800 - 64
    assert len(hello["extensions"]) == 64


# ---- Watching all of them ----

class Watcher:
    def __init__(self, daemon, **filters):
        self.client = daemon.client()
        self.client.send("trace", {"id": 1, **filters})
        answer = self.client.receive()
        assert answer.operation == "tracing", answer
        time.sleep(seconds(0.2))  # the workers hear of it just after the answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def take(self, timeout=30):
        packet = self.client.receive(timeout)
        assert packet is not None and packet.operation == "trace", packet
        return packet, read_trace(packet)

    def idle(self):
        with pytest.raises(TimeoutError):
            self.client.receive(0.3)


def shake(daemon, pki, good=True, **request):
    """One handshake as server, on a connection of its own."""
    with daemon.client() as client:
        one, two = endpoint.tcp_pair()
        with one, two:
            number = client.start(one, "server", **request)
            made = endpoint.context("client", trust=pki.trust if good else pki.other_trust)
            with contextlib.suppress(Exception):
                endpoint.Endpoint(two, made, server_name="localhost").handshake()
            return client.reply(number).outcome


def test_administrator_sees_handshakes_of_all_workers(daemon, pki):
    with Watcher(daemon) as watcher:
        for _ in range(12):
            assert shake(daemon, pki) == "established"
            packet, trace = watcher.take()
            assert packet["profile"] == trace["profile"] == "default"
            assert packet["outcome"] == trace["end"]["outcome"] == "established"
            assert packet["lost"] == "0" and packet["user"] == str(os.geteuid())
        watcher.idle()


def test_filters_choose(daemon, pki):
    with Watcher(daemon, failed="yes") as failed, Watcher(daemon, profile="rsa") as rsa, \
            Watcher(daemon, role="client") as role, Watcher(daemon, user=12345) as user, \
            Watcher(daemon, peer="127.0.0.1") as peer, Watcher(daemon, peer="192.0.2.1") as other:
        shake(daemon, pki)
        shake(daemon, pki, good=False, profile="rsa")
        assert failed.take()[1]["profile"] == "rsa"
        assert rsa.take()[1]["end"]["outcome"] == "poisoned"
        assert [peer.take()[1]["profile"] for _ in range(2)] == ["default", "rsa"]
        for nothing in (failed, rsa, role, user, peer, other):
            nothing.idle()


@pytest.mark.parametrize("filters,sentence", (
    ({"user": "x"}, "a user's number"), ({"peer": "example.org"}, "ADDRESS"),
    ({"peer": "127.0.0.1:"}, "ADDRESS"), ({"failed": "maybe"}, "yes or no"),
    ({"role": "both"}, "client or server")))
def test_bad_filters_are_told(filters, sentence, daemon):
    with daemon.client() as client:
        client.send("trace", {"id": 7, **filters})
        answer = client.receive()
        assert answer["class"] == "request" and sentence in answer["error"], answer


def test_only_administrators_may_watch(daemon):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    program = ("import socket,sys\n"
               "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])\n"
               "s.send(b'handshake/1 trace\\nid=1\\n'); print(s.recv(4096).decode())")

    def become():
        os.setgid(12345)
        os.setuid(12345)
    result = subprocess.run(["/usr/bin/python3", "-c", program, daemon.socket], check=False,
                            capture_output=True, preexec_fn=become, timeout=seconds(30), cwd="/")
    assert b"class=denied" in result.stdout and b"trace-allow" in result.stdout, result


def test_watching_survives_workers_and_reloads(make_daemon, pki, records):
    one = make_daemon({"default": daemon_module.profile(pki, records, "ecdsa")}, {"workers": 2})
    with Watcher(one) as watcher:
        shake(one, pki)
        watcher.take()
        victims = one.workers()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A signer stays: workers are those that end and come anew.
        wait_until(lambda: one.status()["workers-died"] >= 2, 20, "the workers' successors")
        time.sleep(seconds(0.3))
        for _ in range(6):
            shake(one, pki)
            watcher.take()
        assert one.reload()
        for _ in range(6):
            shake(one, pki)
            watcher.take()
    wait_until(lambda: one.status()["clients"] <= 1, 20, "the watcher's end")


def test_slow_reader_loses_whole_handshakes_and_is_told(daemon, pki):
    with Watcher(daemon) as watcher:
        for _ in range(150):
            assert shake(daemon, pki) == "established"
        seen = lost = 0
        with contextlib.suppress(TimeoutError):
            while True:
                packet, _ = watcher.take(0.5)
                seen += 1
                lost += int(packet["lost"])
        assert seen < 150, "the queue held all of them"
        made = 150
        while seen + lost < made and made < 400:  # each worker tells its own count with its next
            assert shake(daemon, pki) == "established"
            made += 1
            packet, _ = watcher.take()
            seen += 1
            lost += int(packet["lost"])
        assert seen + lost == made and lost > 0


# ---- The commands ----

def test_connect_draws_its_handshake(handshake, daemon, pki, tmp_path):
    picture = tmp_path / "picture.svg"
    with s_server(*certificate(pki, "ecdsa")) as server:
        done = handshake("connect", f"localhost:{server.port}", "--profile", "client", "--trace",
                         "--svg", picture, "--no-data")
    text = done.stdout.decode()
    assert done.returncode == 0, done
    for word in ("ClientHello", "ServerHello", "Finished", "traffic keys", "established"):
        assert word in text, text
    assert "\033" not in text and max(map(len, text.splitlines())) <= 96
    assert xml.etree.ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_connect_draws_a_failure_too(handshake, daemon, pki):
    with s_server(*certificate(pki, "ecdsa")) as server:
        done = handshake("connect", f"localhost:{server.port}", "--profile",
                         "client-other-trust", "--trace", "--json", "--no-data")
        assert done.returncode == 4
        assert json.loads(done.stdout)["trace"]["end"]["class"] == "verification"
        done = handshake("connect", f"localhost:{server.port}", "--profile",
                         "client-other-trust", "--trace")
    assert b"alert: unknown_ca (48)" in done.stderr, done.stderr


def test_trace_command_follows(handshake, daemon, pki):
    process = handshake.start("trace", "--count", "2", "--json", "--profile", "rsa",
                              stdout=subprocess.PIPE)
    wait_until(lambda: (shake(daemon, pki), shake(daemon, pki, profile="rsa"),
                        process.poll() is not None)[2], 30, "two handshakes")
    lines = [json.loads(line) for line in process.stdout.read().splitlines()]
    assert process.returncode == 0
    assert [line["profile"] for line in lines] == ["rsa", "rsa"]


def greet(daemon, *protocols):
    """A ClientHello that offers these protocols, and nothing to come to terms with."""
    def vector(size, data):
        return len(data).to_bytes(size, "big") + data
    alpn = b"\0\x10" + vector(2, vector(2, b"".join(vector(1, one) for one in protocols)))
    body = (b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0") +
            vector(2, alpn))
    one, two = endpoint.tcp_pair()
    with one, two, daemon.client() as client:
        number = client.start(one, "server", profile="rsa")
        two.sendall(b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, body)))
        assert client.reply(number).outcome == "poisoned"


@pytest.mark.parametrize("form", ("--json", "--failed"))
def test_trace_command_bears_whatever_a_peer_offers(handshake, daemon, form):
    """A NUL ended the command, and a control sequence of eight bits went to the terminal."""
    process = handshake.start("trace", "--count", "2", "--profile", "rsa", form,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: (greet(daemon, b"a\0b", b"\xc2\x9b2J"), process.poll() is not None)[1], 30,
               "two handshakes")
    out, said = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, said
    assert b"\x9b" not in out and b"\0" not in out
    if form == "--json":
        for line in out.splitlines():
            assert message(json.loads(line), "ClientHello")["alpn"] == ["a\0b", "\x9b2J"]
    else:
        assert out.count(b"ClientHello") == 2 and b"2J" in out
