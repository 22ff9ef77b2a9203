# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests that are refused: wrong descriptors, wrong packets, wrong words, wrong users, too many.
Whatever is wrong, the socket stays plain TCP and the daemon goes on."""

import contextlib
import json
import os
import pwd
import socket
import traceback

import pytest

import daemon as daemon_module
import endpoint
import protocol
from endpoint import Endpoint, context, in_thread, tcp_pair
from expect import assert_failure, assert_untouched
from scale import milliseconds, seconds, wait_until

IPPROTO_MPTCP = 262
operations = pytest.mark.parametrize("operation", ("handshake", "listen"))


def works(daemon, pki, profile="ecdsa"):
    """A handshake succeeds: the daemon is well after what came before."""
    ours, theirs = tcp_pair()
    with ours, theirs, daemon.client() as client:
        number = client.start(ours, "server", profile=profile)
        peer = Endpoint(theirs, context("client", pki.trust), "localhost").handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        endpoint.exchange(peer, protocol.connection_of(reply, ours))


def ask(client, operation, fd, **fields):
    if operation == "handshake":
        fields.setdefault("role", "server")
    client.last_id += 1
    client.send(operation, {"id": client.last_id, "profile": "ecdsa", **fields},
                [] if fd is None else [fd])
    reply = client.receive()
    assert reply is not None and reply["id"] == str(client.last_id), reply
    return reply


# ---- Descriptors ----

@contextlib.contextmanager
def descriptor(kind, tmp_path):
    with contextlib.ExitStack() as stack:
        if kind == "file":
            yield stack.enter_context(open(tmp_path / "file", "wb"))
        elif kind == "directory":
            fd = os.open(tmp_path, os.O_RDONLY)
            stack.callback(os.close, fd)
            yield fd
        elif kind == "pipe":
            one, two = os.pipe()
            stack.callback(os.close, one)
            stack.callback(os.close, two)
            yield one
        elif kind == "device":
            yield stack.enter_context(open("/dev/null", "wb"))
        elif kind == "UDP":
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.connect(("127.0.0.1", 9))
            yield sock
        elif kind == "Unix":
            one, two = socket.socketpair()
            stack.enter_context(two)
            yield stack.enter_context(one)
        elif kind == "not connected":
            yield stack.enter_context(socket.socket())
        elif kind == "bound":
            sock = stack.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            yield sock
        elif kind == "listening":
            yield stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        elif kind == "connected":
            one, two = tcp_pair()
            stack.enter_context(two)
            yield stack.enter_context(one)
        elif kind == "closed by the peer":
            one, two = tcp_pair()
            endpoint.reset(two)
            wait_until(lambda: one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07",
                       what="the reset")
            yield stack.enter_context(one)
        else:
            raise AssertionError(kind)


WRONG = [("handshake", kind) for kind in (
    "file", "directory", "pipe", "device", "UDP", "Unix", "not connected", "bound", "listening",
    "closed by the peer")] + [("listen", kind) for kind in (
        "file", "pipe", "UDP", "Unix", "not connected", "bound", "connected")]


@pytest.mark.parametrize("operation,kind", WRONG)
def test_descriptor_of_the_wrong_kind_is_refused(operation, kind, daemon, client, pki, tmp_path):
    with descriptor(kind, tmp_path) as fd:
        reply = ask(client, operation, fd)
        assert_failure(reply, ("request", "unsupported") if kind != "closed by the peer"
                       else ("request", "closed"), "untouched", retry="no")
        assert reply.get("alert") is None
    works(daemon, pki)


def test_daemon_writes_nothing_into_a_file_it_was_given(client, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"what was there")
    with open(path, "r+b") as file:
        assert_failure(ask(client, "handshake", file), ("request", "unsupported"), "untouched")
    assert path.read_bytes() == b"what was there"


@pytest.mark.parametrize("operation", ("handshake", "listen"))
def test_mptcp_is_refused_and_goes_on_in_plain(operation, client):
    try:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    except OSError as error:
        pytest.skip(f"this kernel has no MPTCP: {error}")
    with listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        if operation == "listen":
            assert_failure(ask(client, operation, listening), ("unsupported", "request"),
                           "untouched", retry="no")
            return
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        one.settimeout(seconds(10))
        one.connect(listening.getsockname())
        two, _ = listening.accept()
        with one, two:
            assert_untouched(ask(client, operation, one), ("unsupported", "request"), one, two,
                             retry="no")


def test_already_upgraded_socket_is_refused(kernel_records, client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile="ecdsa")
        peer = Endpoint(theirs, context("client", pki.trust), "localhost").handshake()
        assert client.reply(number).outcome == "established"
        assert_failure(ask(client, "handshake", ours), ("request", "unsupported"), "untouched")
        # And the connection lives on.
        endpoint.exchange(peer, ours)


# ---- Packets ----

def refused_packet(client, data, fds=()):
    client.send_raw(data, fds)
    reply = client.receive()
    assert_failure(reply, "request", "untouched", retry="no")
    return reply


def handshake_packet(**fields):
    return protocol.encode("handshake", {"id": 7, "role": "server", "profile": "ecdsa", **fields})


BAD_PACKETS = {
    "too large": handshake_packet() + b"x-padding=" + b"x" * 17000 + b"\n",
    "one byte too large": None,
    "without its last newline": handshake_packet()[:-1],
    "cut in the first line": b"handshake/1 hand",
    "without an operation": b"handshake/1\nid=7\n",
    "of another version": handshake_packet().replace(b"handshake/1", b"handshake/2"),
    "of another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "with a NUL": handshake_packet()[:-1] + b"\0\n",
    "with a line that is no pair": handshake_packet() + b"nonsense\n",
    "with a bad escape": handshake_packet() + b"peer-name=%4\n",
    "with an escaped NUL": handshake_packet() + b"peer-name=a%00b\n",
    "that is not UTF-8": handshake_packet() + b"peer-name=\xff\xfe\n",
    "with a key twice": handshake_packet() + b"role=client\n",
    "of many lines": handshake_packet() + b"".join(b"x-%d=1\n" % i for i in range(1000)),
    "of newlines": b"\n" * 100,
    "of a single byte": b"h",
    "of control bytes": bytes(range(1, 32)),
}
BAD_PACKETS["one byte too large"] = (handshake_packet() + b"x-padding=" + b"x" * 16384)[:16384] + (
    b"\n")


@pytest.mark.parametrize("what", BAD_PACKETS)
def test_packet_is_refused(what, daemon, client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        reply = refused_packet(client, BAD_PACKETS[what], [ours])
        assert_untouched(reply, "request", ours, theirs)
        # The connection to the daemon survives a wrong packet, or is closed; others are served.
    works(daemon, pki)


@operations
def test_request_without_a_descriptor_is_refused(operation, client):
    assert_failure(ask(client, operation, None), "request", "untouched", retry="no")


@operations
@pytest.mark.parametrize("count", (2, 3, 4, 10, 200))
def test_request_with_many_descriptors_is_refused_and_none_stays(operation, count, daemon, client,
                                                                  pki):
    works(daemon, pki)
    ours, theirs = tcp_pair()
    with ours, theirs:
        def held():
            return daemon.descriptors(daemon.workers())
        before = held()
        for _ in range(5):
            client.send_raw(protocol.encode(operation, {"id": 3, "role": "server"}),
                            [ours] * count)
            reply = client.receive()
            assert_failure(reply, "request", "untouched", retry="no")
            assert reply["id"] == "3"
        wait_until(lambda: held() <= before, 10, "the surplus descriptors' end")
        endpoint.assert_plain(ours, theirs)


def test_status_with_a_descriptor_keeps_none(daemon, client):
    ours, theirs = tcp_pair()
    with theirs:
        before = daemon.descriptors(daemon.workers())
        with ours:
            client.send_raw(protocol.encode("status", {"id": 1}), [ours])
            client.receive()
        wait_until(lambda: daemon.descriptors(daemon.workers()) <= before, 10, "its end")
        theirs.settimeout(seconds(10))
        assert theirs.recv(1) == b"", "the daemon kept the connection open"


# ---- Words ----

BAD_WORDS = {
    "no role": {"role": None},
    "unknown role": {"role": "observer"},
    "unknown profile": {"profile": "no-such-profile"},
    "profile with a path": {"profile": "../ecdsa"},
    "overlong profile": {"profile": "p" * 64},
    "unknown records": {"records": "carrier-pigeon"},
    "timeout of nothing": {"timeout-ms": "0"},
    "timeout that is no number": {"timeout-ms": "soon"},
    "negative timeout": {"timeout-ms": "-1"},
    "timeout beyond all bounds": {"timeout-ms": "99999999999999999999"},
    "overlong peer name": {"role": "client", "peer-name": "a" * 254},
    "client without a peer name": {"role": "client"},
    "empty application protocol": {"alpn": "h2,,http/1.1"},
    "overlong application protocol": {"alpn": "a" * 256},
    "too many application protocols": {"alpn": ",".join(f"p{i}" for i in range(100))},
    "client certificates loosened": {"client-certificates": "none"},
    "critical key that is unknown": {"!future": "yes"},
}


@pytest.mark.parametrize("what", BAD_WORDS)
def test_word_is_refused(what, daemon, client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        reply = ask(client, "handshake", ours, **BAD_WORDS[what])
        assert_untouched(reply, ("request", "denied", "unsupported"), ours, theirs, retry="no")
        key, value = list(BAD_WORDS[what].items())[-1]
        if value and len(value) < 60 and what != "client without a peer name":
            assert value in reply["error"] or key in reply["error"], "the refusal quotes nothing"
    works(daemon, pki)


def test_profile_of_the_other_role_is_refused(client):
    for role, profile in (("server", "client"), ("client", "server")):
        ours, theirs = tcp_pair()
        with ours, theirs:
            assert_untouched(ask(client, "handshake", ours, role=role, profile=profile,
                                 **{"peer-name": "localhost"} if role == "client" else {}),
                             ("request", "denied"), ours, theirs, retry="no")


def test_unknown_key_is_ignored(daemon, client, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile="ecdsa", future="yes", **{"x-y": "z"})
        Endpoint(theirs, context("client", pki.trust), "localhost").handshake()
        assert client.reply(number).outcome == "established"


def test_unknown_operation_is_refused(client, daemon, pki):
    ours, theirs = tcp_pair()
    with ours, theirs:
        client.send("levitate", {"id": 5}, [ours])
        reply = client.receive()
        assert_untouched(reply, "request", ours, theirs, retry="no")
        assert reply["id"] == "5" and "levitate" in reply["error"]
    works(daemon, pki)


@pytest.mark.parametrize("number", ("0", "-1", "x", "9223372036854775808", None))
def test_id_that_is_none_is_refused(number, client):
    ours, theirs = tcp_pair()
    with ours, theirs:
        client.send("handshake", {"id": number, "role": "server", "profile": "ecdsa"}, [ours])
        assert_untouched(client.receive(), "request", ours, theirs)


def test_id_that_is_under_way_is_refused(client):
    ours, theirs = tcp_pair()
    more, others = tcp_pair()
    with ours, theirs, more, others:
        number = client.start(ours, "server", profile="ecdsa")
        client.send("handshake", {"id": number, "role": "server", "profile": "ecdsa"}, [more])
        assert_untouched(client.receive(), "request", more, others)
        client.cancel(number)


def test_sentences_quote_what_was_sent_in_one_line(client):
    ours, theirs = tcp_pair()
    with ours, theirs:
        reply = ask(client, "handshake", ours, profile="a\nb\x1b[31m")
        assert_failure(reply, "request", "untouched")
        assert "\x1b" not in reply.text


# ---- Users ----

def as_user(name, function):
    """Runs function in a child process of that user; what it returns (JSON)."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    entry = pwd.getpwnam(name)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        result = {"failed": "nothing came"}
        try:
            os.initgroups(name, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            result = {"value": function()}
        except BaseException:  # pylint: disable=broad-except
            result = {"failed": traceback.format_exc()}
        finally:
            os.write(writing, json.dumps(result).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        result = json.loads(file.read() or "{}")
    os.waitpid(pid, 0)
    assert "failed" not in result, result["failed"]
    return result["value"]


def ask_as(name, daemon, profile):
    """(outcome, class) of a request that, if allowed, times out with a silent peer; and whether
    plain bytes pass after."""
    def run():
        ours, theirs = tcp_pair()
        with ours, theirs, daemon.client() as client:
            reply = client.handshake(ours, "server", profile=profile,
                                     timeout_ms=milliseconds(100))
            if reply["class"] == "denied":
                assert_untouched(reply, "denied", ours, theirs, retry="no")
                assert profile in reply["error"] or name in reply["error"]
            return reply["class"]
    return as_user(name, run)


@pytest.mark.parametrize("user,profile,answer", (
    ("daemon", "only-daemon", "timeout"),
    ("bin", "only-daemon", "denied"),
    ("games", "only-group", "timeout"),
    ("bin", "only-group", "denied"),
    ("bin", "only-root", "denied"),
    ("bin", "unallowed", "denied"),
    ("nobody", "unallowed", "timeout"),
    ("bin", "ecdsa", "timeout"),
))
def test_only_allowed_users_may_use_a_profile(user, profile, answer, daemon):
    assert ask_as(user, daemon, profile) == answer


def test_root_may_use_a_profile_without_allow(daemon, pki):
    if os.geteuid() != 0:
        pytest.skip("runs as root only")
    works(daemon, pki, "unallowed")


def test_socket_s_mode_is_that_of_the_configuration(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")},
                      {"socket-mode": "0600"})
    assert os.stat(one.socket).st_mode & 0o777 == 0o600

    def connect():
        try:
            one.client().close()
            return "connected"
        except PermissionError:
            return "refused"

    assert as_user("bin", connect) == "refused"


# ---- Limits ----

def silent(stack, client, count, **fields):
    """Handshakes under way that will not end by themselves; their (id, ours, theirs)."""
    made = []
    for _ in range(count):
        ours, theirs = tcp_pair()
        stack.enter_context(ours)
        stack.enter_context(theirs)
        made.append((client.start(ours, "server", profile="ecdsa", **fields), ours, theirs))
    return made


@pytest.mark.parametrize("option", ("handshakes-per-user", "handshakes-total"))
def test_too_many_handshakes_are_told_busy_and_can_be_tried_again(option, make_daemon, pki,
                                                                   records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa",
                                                      timeout_ms=milliseconds(60000))},
                      {option: 4})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(one.client())
        under_way = silent(stack, client, 4)
        wait_until(lambda: one.status()["handshakes-under-way"] == 4, what="four under way")
        ours, theirs = tcp_pair()
        with ours, theirs:
            reply = client.handshake(ours, "server", profile="ecdsa")
            assert_untouched(reply, "busy", ours, theirs, retry="yes")
        # From another connection, maybe of another worker, too.
        for _ in range(4):
            with one.client() as other:
                ours, theirs = tcp_pair()
                with ours, theirs:
                    reply = other.handshake(ours, "server", profile="ecdsa")
                    assert_untouched(reply, "busy", ours, theirs, retry="yes")
        client.cancel(under_way[0][0])
        wait_until(lambda: one.status()["handshakes-under-way"] == 3, what="a free place")
        works(one, pki)


def test_one_user_s_limit_leaves_the_others_their_places(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa",
                                                      timeout_ms=milliseconds(60000))},
                      {"handshakes-per-user": 2})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(one.client())
        silent(stack, client, 2)
        wait_until(lambda: one.status()["handshakes-under-way"] == 2, what="two under way")
        assert ask_as("bin", one, "ecdsa") == "timeout"
        ours, theirs = tcp_pair()
        with ours, theirs:
            assert_untouched(client.handshake(ours, "server", profile="ecdsa"), "busy", ours,
                             theirs, retry="yes")


def test_too_many_clients_are_told_busy(make_daemon, pki, records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")},
                      {"clients-total": 5})
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(one.client())]
        wait_until(lambda: made[0].status()["clients"] == 1, what="the end of earlier clients")
        # One user gets a part of the places only.
        while True:
            surplus = stack.enter_context(one.client())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                surplus.send("status", {"id": 1})
            answer = surplus.receive()
            if answer is None or answer.operation != "counters":
                break
            made.append(surplus)
            assert len(made) <= 5, "the limit is not kept"
        assert_failure(answer, "busy", "untouched", retry="yes")
        assert made[0].status(), "who was there before is served on"
        made[0].close()
        wait_until(lambda: _usable(one), what="a place for another client")
    works(one, pki)


def _usable(one):
    try:
        return bool(one.status())
    except (OSError, AssertionError):
        return False


@pytest.mark.parametrize("option", ("relayed-per-user", "relayed-total"))
def test_too_many_relayed_connections_are_told_busy(option, relay_records, make_daemon, pki,
                                                    records):
    one = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")}, {option: 2})
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(one.client())
        held = []
        for _ in range(2):
            ours, theirs = tcp_pair()
            stack.enter_context(ours)
            stack.enter_context(theirs)
            number = client.start(ours, "server", profile="ecdsa")
            peer = Endpoint(theirs, context("client", pki.trust), "localhost").handshake()
            reply = client.reply(number)
            assert reply.outcome == "established", reply
            held.append((peer, stack.enter_context(protocol.connection_of(reply, ours))))
        ours, theirs = tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile="ecdsa")
            peer = Endpoint(theirs, context("client", pki.trust), "localhost")
            running = in_thread(peer.try_handshake)
            assert_failure(client.reply(number), "busy", ("untouched", "poisoned"), retry="yes")
            ours.shutdown(socket.SHUT_RDWR)
            running.result(seconds(20))
        for peer, sock in held:
            endpoint.exchange(peer, sock)
            sock.close()
            peer.sock.close()
        wait_until(lambda: one.status()["relayed"] == 0, what="the end of the relayed")
        works(one, pki)
