# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plain beginning of RPC with TLS (RFC 9289, 4.1), for peers of the kernel's NFS client and server:
a NULL call with AUTH_TLS, and its answer STARTTLS. After it the socket is TLS's."""

import struct

NFS, NFS_VERSION, NULL = 100003, 4, 0
CALL, REPLY, RPC_VERSION = 0, 1, 2
AUTH_NONE, AUTH_TLS = 0, 7
_LAST_FRAGMENT = 1 << 31


def _exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionAbortedError("end-of-file in an RPC message")
        data += more
    return data


def _receive(sock):
    (header,) = struct.unpack(">I", _exactly(sock, 4))
    assert header & _LAST_FRAGMENT, "more than one fragment"
    return _exactly(sock, header & ~_LAST_FRAGMENT)


def _send(sock, message):
    sock.sendall(struct.pack(">I", _LAST_FRAGMENT | len(message)) + message)


def ask_for_tls(sock):
    """As client. True: the server said STARTTLS."""
    _send(sock, struct.pack(">10I", 0x7E57, CALL, RPC_VERSION, NFS, NFS_VERSION, NULL, AUTH_TLS, 0,
                            AUTH_NONE, 0))
    reply = _receive(sock)
    identifier, kind, denied, flavour, size = struct.unpack(">5I", reply[:20])
    assert (identifier, kind, denied, flavour) == (0x7E57, REPLY, 0, AUTH_NONE), reply
    return reply[20:20 + size] == b"STARTTLS"


def start_tls(sock):
    """As server: takes the probe, says STARTTLS."""
    call = _receive(sock)
    identifier, kind, version, program, _, procedure, flavour = struct.unpack(">7I", call[:28])
    assert (kind, version, program, procedure, flavour) == (CALL, RPC_VERSION, NFS, NULL, AUTH_TLS), call
    _send(sock, struct.pack(">5I", identifier, REPLY, 0, AUTH_NONE, 8) + b"STARTTLS" +
          struct.pack(">I", 0))
