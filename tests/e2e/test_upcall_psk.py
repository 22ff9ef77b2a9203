# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's handshake service with pre-shared keys, as NVMe/TCP asks for them: whose key serves, which
serial number comes back, and what is refused."""

import functools
import os
import re
import socket
import subprocess

import pytest

import keys
import nvme
from conversation import s_server
from covers import gnutls_version
from netns import pair
from scale import seconds, wait_until
from upcall import CLIENT, PSK, SERVER, Upcall, X509, exchange

pytestmark = pytest.mark.usefixtures("upcalls")

# RFC 8446, 6: what the peer hears.
HANDSHAKE_FAILURE, DECRYPT_ERROR, PROTOCOL_VERSION, UNKNOWN_PSK_IDENTITY = 40, 51, 70, 115
KNOWS_SHA384 = tuple(map(int, gnutls_version().split("."))) >= (3, 8, 11)


@pytest.fixture
def agent(make_daemon):
    return functools.partial(nvme.agent, make_daemon)


@pytest.fixture
def ring():
    with nvme.Keyring() as one:
        yield one


def both(ring, serial, server_ring=None, **more):
    """What client and server get when the client has this key."""
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, PSK, keyring=ring.serial if server_ring is None else server_ring,
                    **more) as server, \
                Upcall(ours, CLIENT, PSK, "127.0.0.1", keyring=ring.serial,
                       identities=[serial]) as client:
            results = client.result(), server.result()
        if results[0][0] == "ok":
            exchange(ours, theirs)
        return results


def test_both_roles_answer_with_the_key_s_serial_number(agent, ring, counted, covers):
    one = agent()
    serial, _ = ring.add(nvme.identity())
    with counted():
        assert both(ring, serial) == (("ok", serial), ("ok", serial))
    wait_until(lambda: one.status()["kernel-requests-under-way"] == 0, what="their end")
    for role in ("client", "server"):
        covers("Kernel consumer, pre-shared key", "TLS1.3", role)


@pytest.mark.parametrize("name", [
    "NVMe0R01 " + nvme.HOST + " " + nvme.SUBSYSTEM,
    nvme.identity("nqn." + "h" * 219, "nqn." + "s" * 219),
], ids=["version 0, without a digest", "the longest names"])
def test_identities_of_every_length_are_whole(agent, ring, name):
    agent()
    serial, _ = ring.add(name)
    assert both(ring, serial) == (("ok", serial), ("ok", serial))


def test_a_key_of_sha384(agent, ring, covers):
    one = agent()
    serial, key = ring.add(nvme.identity(sha384=True))
    other, _ = ring.add(nvme.identity())
    if KNOWS_SHA384:
        assert both(ring, serial) == (("ok", serial), ("ok", serial))
        # The same server with the same keyring takes both.
        assert both(ring, other) == (("ok", other), ("ok", other))
        for role in ("client", "server"):
            covers("Kernel consumer, pre-shared key of SHA-384", "TLS1.3", role)
        return
    with pair() as (ours, _), Upcall(ours, CLIENT, PSK, "127.0.0.1", identities=[serial],
                                     keyring=ring.serial) as client:
        assert client.result()[0] == "ENOTSUP"
    assert "needs GnuTLS 3.8.11" in one.log()
    assert served_by_kernel(ring, *openssl_psk(nvme.identity(sha384=True), key)) == \
        (("ENOTSUP", 0), UNKNOWN_PSK_IDENTITY)
    assert one.log().count("needs GnuTLS 3.8.11") == 2
    assert both(ring, other) == (("ok", other), ("ok", other))


def openssl_psk(name, key):
    suites = {32: "TLS_AES_128_GCM_SHA256", 48: "TLS_AES_256_GCM_SHA384"}[len(key)]
    return ["-tls1_3", "-ciphersuites", suites, "-psk_identity", name, "-psk", key.hex()]


def served_by_kernel(ring, *arguments):
    """What the kernel's server gets of openssl s_client with these arguments, and the alert that openssl
    gets (None: none)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = subprocess.Popen(["openssl", "s_client", "-connect",
                                 f"127.0.0.1:{listening.getsockname()[1]}", *arguments],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        try:
            sock, _ = listening.accept()
            with sock, Upcall(sock, SERVER, PSK, keyring=ring.serial) as server:
                result = server.result()
                if result[0] == "ok":
                    peer.stdin.write(b"over there\n")
                    peer.stdin.flush()
                    assert sock.recv(100) == b"over there\n"
            said = peer.communicate(timeout=seconds(20))[0].decode(errors="replace")
        finally:
            peer.kill()
            peer.wait()
    alert = re.search(r"SSL alert number (\d+)", said)
    return result, alert and int(alert.group(1))


def test_a_client_of_openssl(agent, ring):
    agent()
    serial, key = ring.add(nvme.identity())
    assert served_by_kernel(ring, *openssl_psk(nvme.identity(), key)) == (("ok", serial), None)


def test_a_server_of_openssl(agent, ring):
    agent()
    serial, key = ring.add(nvme.identity())
    with s_server("-nocert", *openssl_psk(nvme.identity(), key)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as sock, \
                Upcall(sock, CLIENT, PSK, "127.0.0.1", keyring=ring.serial,
                       identities=[serial]) as client:
            assert client.result() == ("ok", serial)


@pytest.mark.parametrize("name", [
    "a name that is no NVMe",
    nvme.identity(subsystem=nvme.SUBSYSTEM + "2"),
    nvme.identity()[:-1],
    nvme.identity() + "x",
    nvme.identity()[:60],
], ids=["not NVMe's", "another subsystem", "one byte less", "one byte more", "a beginning"])
def test_other_identities_are_refused(agent, ring, name):
    one = agent()
    _, key = ring.add(nvme.identity())
    assert served_by_kernel(ring, *openssl_psk(name, key)) == (("EACCES", 0), UNKNOWN_PSK_IDENTITY)
    wait_until(lambda: "which the keyring does not have" in one.log(), what="the sentence")


def test_another_key_of_the_same_identity_is_refused(agent, ring):
    agent()
    ring.add(nvme.identity())
    assert served_by_kernel(ring, *openssl_psk(nvme.identity(), os.urandom(32))) == \
        (("EACCES", 0), DECRYPT_ERROR)


def test_a_client_without_a_key_is_refused(agent, ring):
    agent()
    ring.add(nvme.identity())
    assert served_by_kernel(ring, "-tls1_3") == (("EACCES", 0), HANDSHAKE_FAILURE)


def test_a_client_of_an_older_version_is_refused(agent, ring):
    agent()
    _, key = ring.add(nvme.identity())
    assert served_by_kernel(
        ring, "-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305:PSK-AES128-GCM-SHA256",
        "-psk_identity", nvme.identity(), "-psk", key.hex()) == (("EACCES", 0), PROTOCOL_VERSION)


def test_a_keyring_of_its_own_is_the_only_one(agent, ring):
    """The port's keyring, not .nvme, where the consumer brings one."""
    one = agent()
    serial, key = ring.add(nvme.identity())
    other = int(keys.keyctl("newring", "handshaked-test", "@u"))
    with nvme.Keyring(other) as own:
        assert served_by_kernel(own, *openssl_psk(nvme.identity(), key))[0][0] == "EACCES"
        wait_until(lambda: "which the keyring does not have" in one.log(), what="the sentence")
        second, key = own.add(nvme.identity())
        assert served_by_kernel(own, *openssl_psk(nvme.identity(), key))[0] == ("ok", second)
        # That one leaves nothing behind for the next.
        assert served_by_kernel(ring, *openssl_psk(nvme.identity(), key))[0][0] == "EACCES"
        keys.keyctl("clear", other)
        keys.keyctl("unlink", other, "@u")
    # Without any, .nvme.
    assert both(ring, serial, server_ring=0) == (("ok", serial), ("ok", serial))


def test_a_revoked_key_serves_nobody(agent, ring):
    agent()
    serial, key = ring.add(nvme.identity())
    good, _ = ring.add(nvme.identity(subsystem="nqn.2024-01.org.example:other"))
    # By somebody who possesses it.
    keys.keyctl("session", "-", "sh", "-c",
                f"keyctl link {nvme.RING} @s && keyctl revoke {serial}")
    assert served_by_kernel(ring, *openssl_psk(nvme.identity(), key))[0][0] == "EACCES"
    with pair() as (ours, _), Upcall(ours, CLIENT, PSK, "127.0.0.1", keyring=ring.serial,
                                     identities=[serial]) as client:
        assert client.result()[0] == "EACCES"
    assert both(ring, good)[0] == ("ok", good)


@pytest.mark.parametrize("kind, name, key, why", [
    ("user", nvme.identity(), None, "is of the type user"),
    ("psk", "not NVMe's", None, "no identity of NVMe/TCP"),
    ("psk", nvme.identity(), b"short", "has 5 bytes"),
], ids=["another type", "another name", "too short"])
def test_a_client_s_key_that_is_none(agent, ring, kind, name, key, why):
    one = agent()
    serial, _ = ring.add(name, key, kind)
    with pair() as (ours, _), Upcall(ours, CLIENT, PSK, "127.0.0.1", keyring=ring.serial,
                                     identities=[serial]) as client:
        assert client.result()[0] == "EACCES"
    assert why in one.log()


def test_without_a_profile_there_is_no_other(agent, ring, pki):
    one = agent({"nvme": "host"})
    serial, _ = ring.add(nvme.identity())
    with pair() as (ours, theirs), Upcall(theirs, SERVER, PSK, keyring=ring.serial) as server:
        assert server.result()[0] == "EACCES"
    assert 'it wants a pre-shared key, and [kernel] has no profile for this consumer; add "nvmet"' in one.log()
    with pair() as (ours, _), Upcall(ours, CLIENT, X509, "localhost") as client:
        assert client.result()[0] == "EACCES"


def test_a_program_gets_no_such_profile(agent, ring):
    one = agent(allow="everyone")
    with pair() as (ours, _), one.client() as client:
        reply = client.handshake(ours, "client", profile="host", peer_name="localhost")
        assert reply["class"] == "denied" and "NVMe/TCP" in reply["error"]


def test_no_ticket_follows(agent, ring):
    """A control record where it expects data would end an NVMe host's connection."""
    agent()
    _, key = ring.add(nvme.identity())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = subprocess.Popen(["openssl", "s_client", "-msg", "-connect",
                                 f"127.0.0.1:{listening.getsockname()[1]}",
                                 *openssl_psk(nvme.identity(), key)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        sock, _ = listening.accept()
        with sock, Upcall(sock, SERVER, PSK, keyring=ring.serial) as server:
            assert server.result()[0] == "ok"
            sock.sendall(b"the first record\n")
        said = peer.communicate(timeout=seconds(20))[0]
    assert b"the first record" in said and b"Finished" in said
    assert b"NewSessionTicket" not in said
