# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tokens, with which the daemon updates the keys of connections of which it knows nothing: bound to the
socket, its user and the keys in use; and how they travel."""

import base64
import errno
import os
import select
import socket

import pytest

import daemon as daemon_module
import library
from endpoint import in_thread, tcp_pair
from rawpeer import key_update
from scale import seconds, wait_until
from test_key_update import connect, rekeys, tokens  # noqa: F401


def update(client, fd, token, direction="transmit", **fields):
    client.last_id += 1
    client.send("update-key", {"id": client.last_id, "token": token, "direction": direction,
                               **{k.replace("_", "-"): v for k, v in fields.items()}}, [fd])
    return client.reply(client.last_id)


def refused(reply, kind, *words):
    assert reply.outcome == "untouched" and reply["class"] == kind, reply
    for word in words:
        assert word in reply["error"], reply
    return True


def test_reply_has_a_token_with_tls_1_3_alone(tokens, daemon, pki, client):
    from endpoint import Endpoint, context
    for version in ("TLS1.2", "TLS1.3"):
        ours, theirs = tcp_pair()
        with ours, theirs:
            number = client.start(ours, "server", profile="ecdsa")
            Endpoint(theirs, context("client", pki.trust, version=version),
                     "localhost").handshake()
            assert (client.reply(number).get("token") is not None) == (version == "TLS1.3")


def test_each_update_gives_a_new_token(rekeys, tokens, connect, client):
    one = connect()
    token = one.token
    reply = update(client, one.ours, token)
    assert reply.outcome == "established" and reply["updated"] == "transmit", reply
    one.peer.update()
    with pytest.raises(OSError):
        one.ours.recv(1)  # EIO: a record that is no data
    assert one.ours.recvmsg(64, 64)[0] == key_update()
    second = update(client, one.ours, reply["token"], "receive")
    assert second.outcome == "established" and second["updated"] == "receive", second
    one.peer.send(b"words")
    assert one.ours.recv(5) == b"words"
    one.ours.send(b"back")
    assert one.peer.recv_exactly(4) == b"back"


@pytest.mark.parametrize("direction", ("transmit", "receive", "both"))
def test_token_works_once(direction, rekeys, tokens, connect, client):
    one = connect()
    token = one.token
    assert update(client, one.ours, token, direction).outcome == "established"
    assert refused(update(client, one.ours, token, direction), "denied", "not the connection's newest")
    one.send(b"it still works")
    assert one.peer.recv_exactly(14) == b"it still works"


def test_token_of_another_socket_is_refused(rekeys, tokens, connect, client):
    one, other = connect(), connect()
    assert refused(update(client, one.ours, other.token), "denied", "another socket")
    assert refused(update(client, other.ours, one.token), "denied", "another socket")
    a, b = socket.socketpair()
    with a, b:
        assert refused(update(client, a, one.token), "denied", "TCP socket")
    with open("/dev/null", "rb") as file:
        assert refused(update(client, file, one.token), "request", "no socket")
    one.exchange(b"unharmed")
    other.exchange(b"unharmed")


def test_token_altered_by_one_bit_is_refused(rekeys, tokens, connect, client):
    one = connect()
    raw = base64.b64decode(one.token)
    for at in range(len(raw)):
        altered = bytearray(raw)
        altered[at] ^= 1 << at % 8
        reply = update(client, one.ours, base64.b64encode(altered).decode())
        assert refused(reply, "request" if at == 0 else "denied"), (at, reply)
    for text in (one.token[:-1], one.token + "=", one.token + "A", "x", one.token.lower(),
                 " " + one.token, one.token[:-8]):
        assert refused(update(client, one.ours, text), "request", "token"), text
    one.exchange(b"unharmed")
    assert update(client, one.ours, one.token).outcome == "established"


def test_requests_for_updates_that_make_no_sense_are_refused(tokens, connect, client):
    one = connect()
    for fields, word in (
            ({"direction": "both"}, "token"),
            ({"token": one.token}, "direction"),
            ({"token": one.token, "direction": "sideways"}, "sideways"),
            ({"token": "", "direction": "both"}, "token"),
            ({"token": "A" * 4000, "direction": "both"}, "4000"),
            ({"token": one.token, "direction": "receive", "request-update": "yes"},
             "request-update"),
            ({"token": one.token, "direction": "both", "request-update": "perhaps"}, "perhaps")):
        client.last_id += 1
        client.send("update-key", {"id": client.last_id, **fields}, [one.ours])
        assert refused(client.reply(client.last_id), "request", word)
    one.exchange(b"unharmed")


def test_token_of_another_user_is_refused(tokens, rekeys, connect, daemon):
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    one = connect()
    # The token is root's; its socket goes to a process of another user.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with daemon.client() as client:
                os.write(write, update(client, one.ours, one.token).text.encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    assert "class=denied" in text and "another user" in text, text
    one.exchange(b"unharmed")


@pytest.mark.parametrize("kept", (True, False))
def test_token_after_a_restart(kept, rekeys, tokens, make_daemon, pki, records, connect, tmp_path):
    options = {}
    if kept:
        (tmp_path / "state").mkdir(mode=0o700)
        options["state-directory"] = tmp_path / "state"
    daemon = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")}, options)
    one = connect(on=daemon)
    one.exchange(b"before")
    daemon.stop()
    daemon.start()
    if kept:
        one.handshake.update_keys(one.fd)
        one.peer.update(ask=True)
        one.exchange(b"after")
    else:
        with pytest.raises(OSError) as error:
            one.handshake.update_keys(one.fd)
        assert error.value.errno == errno.EACCES
        assert "state-directory" in one.handshake.error
        one.exchange(b"under the old key")


def test_update_without_a_daemon_changes_nothing(rekeys, tokens, make_daemon, pki, records, connect):
    daemon = make_daemon({"ecdsa": daemon_module.profile(pki, records, "ecdsa")})
    one = connect(on=daemon)
    daemon.stop()
    with pytest.raises(OSError) as error:
        one.handshake.update_keys(one.fd)
    assert error.value.errno == errno.EHOSTDOWN
    one.exchange(b"as before")


def test_sender_that_waits_does_not_hold_up_the_daemon(rekeys, tokens, connect, client):
    """It holds the kernel's lock of the sending direction as long as it waits."""
    one = connect()
    one.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    one.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    data = os.urandom(2 << 20)
    sending = in_thread(os.write, one.fd, data)
    wait_until(lambda: not select.select([], [one.fd], [], 0)[1], 20, "a full socket")
    for _ in range(3):
        reply = update(client, one.ours, one.token)
        assert refused(reply, "busy", "is sending"), reply
    assert client.status()["handshakes-under-way"] == 0
    assert one.peer.recv_exactly(len(data)) == data
    assert sending.result(seconds(60)) == len(data)
    one.handshake.update_keys(one.fd)
    one.exchange(b"after")


# ---- To another program ----

def test_connection_goes_to_another_program_with_its_token(rekeys, tokens, connect, daemon):
    one = connect()
    one.exchange(b"before")
    one.handshake.update_keys(one.fd)
    other = library.Handshake(library.SERVER)
    with other:
        other.adopt(daemon.socket, one.fd, one.token)
        assert other["version"] == "TLS1.3" and other["transmit"] == "kernel"
        assert other["cipher"] == one.handshake["cipher"]
        one.handshake.free()
        one.handshake = other
        one.peer.update(ask=True)
        assert one.exchange(b"there") == [0, 0]
        other.update_keys(one.fd)
        assert one.exchange(b"and there") == [0]
        one.handshake = library.Handshake()


def test_what_has_no_keys_is_not_adopted(daemon):
    ours, theirs = tcp_pair()
    with ours, theirs, library.Handshake(library.SERVER) as one:
        with pytest.raises(OSError) as refused:
            one.adopt(daemon.socket, ours.fileno(), "")
        assert refused.value.errno == errno.EINVAL
        assert "no keys" in one.error
