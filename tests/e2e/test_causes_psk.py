# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of causes.py about pre-shared keys, with OpenSSL as the peer."""

import os
import re
import socket
import subprocess

import pytest

import causes
import nvme
import peers
import upcall
from causes import PSK_CLIENT, PSK_SERVER
from scale import die_with_parent, seconds, wait_until

SUITE = ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"]
OTHER = nvme.identity(subsystem=nvme.SUBSYSTEM + "2")
ROWS = [pytest.param(row, kind, id=f"{row.name}-{kind.replace(' ', '-')}")
        for row in causes.ROWS for kind in row.consumers if kind in (PSK_CLIENT, PSK_SERVER)]


@pytest.fixture
def ring(upcalls, make_daemon):
    nvme.agent(make_daemon)
    with nvme.Keyring() as made:
        yield made


def openssl(command, row, key, *arguments):
    """s_server or s_client with -msg, that has what the row's peer has."""
    name, bytes_of_it = {
        "with the key": (nvme.identity(), key), "with another key": (nvme.identity(), os.urandom(32)),
        "of another identity": (OTHER, key), "of a prefix": (nvme.identity()[:60], key),
    }.get(row.peer.split(" ", 1)[1], (None, None))
    words = ["-psk_identity", name, "-psk", bytes_of_it.hex()] if name else []
    return subprocess.Popen([peers.needs("openssl"), command, "-msg", *SUITE, *words, *arguments],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            preexec_fn=die_with_parent)


def seen_by(said):
    """What OpenSSL says of the connection: that it was established, or the first fatal alert."""
    # Each has sent its own and has got the other's. (An alert that follows is about the connection's end.)
    if len(re.findall(rb"^(?:<<<|>>>) .*Finished", said, re.M)) == 2:
        return causes.TLS
    alert = re.search(rb"^(<<<|>>>) .*Alert \[length 0002\], fatal (\w+)", said, re.M)
    if not alert:
        return causes.EOF
    return causes.OWN if alert.group(1) == b">>>" else alert.group(2).decode()


@pytest.mark.parametrize("row, kind", ROWS)
def test_what_a_peer_with_keys_brings_about(row, kind, ring):
    serial, key = ring.add(nvme.identity())
    port = peers.free_port()
    if kind == PSK_CLIENT:
        program = openssl("s_server", row, key, "-nocert", "-naccept", "1", "-accept", f"127.0.0.1:{port}")
    else:
        listening = socket.create_server(("127.0.0.1", port))
        program = openssl("s_client", row, key, "-connect", f"127.0.0.1:{port}")
    try:
        if kind == PSK_CLIENT:
            wait_until(lambda: peers.is_listening(port), 20, "s_server")
            sock = socket.create_connection(("127.0.0.1", port))
        else:
            sock, _ = listening.accept()
        with sock, upcall.Upcall(sock, upcall.CLIENT if kind == PSK_CLIENT else upcall.SERVER, upcall.PSK,
                                 "127.0.0.1" if kind == PSK_CLIENT else "", keyring=ring.serial,
                                 identities=[serial] if kind == PSK_CLIENT else []) as call:
            heard = call.result()[0]
        said = program.communicate(timeout=seconds(20))[0]
    finally:
        program.kill()
        program.wait()
    assert ("0" if heard == "ok" else heard, seen_by(said)) == (row.status, row.seen), said.decode()
