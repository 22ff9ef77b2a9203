# SPDX-License-Identifier: LGPL-2.1-or-later
"""A TLS peer whose every byte is in the test's hand: OpenSSL through memory buffers, so that a test
decides what is sent together, in which pieces, and where the connection ends."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from concurrent.futures import Future

from scale import seconds

# RFC 8446, 6.
CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW = 0, 10, 20, 22
HANDSHAKE_FAILURE, BAD_CERTIFICATE, UNSUPPORTED_CERTIFICATE = 40, 42, 43
CERTIFICATE_REVOKED, CERTIFICATE_EXPIRED, CERTIFICATE_UNKNOWN = 44, 45, 46
ILLEGAL_PARAMETER, UNKNOWN_CA, DECODE_ERROR, PROTOCOL_VERSION = 47, 48, 50, 70
INSUFFICIENT_SECURITY, INTERNAL_ERROR, USER_CANCELED = 71, 80, 90
UNRECOGNIZED_NAME, CERTIFICATE_REQUIRED, NO_APPLICATION_PROTOCOL = 112, 116, 120

SOL_TLS, RECORD_HANDSHAKE = 282, 22
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = {"TLS1.2": TLS12, "TLS1.3": TLS13}


def tcp_pair():
    """Two ends of one TCP connection on loopback: the program's, which blocks, and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        two, _ = listening.accept()
    # A timeout would make the program's end non-blocking, which libhandshake honours.
    two.settimeout(seconds(30))
    for sock in (one, two):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, two


def reset(sock):
    """Ends the TCP connection with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def in_thread(function, *arguments, **named):
    """Runs it in a thread; .result() is what it returned or raised."""
    future = Future()

    def run():
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:  # pylint: disable=broad-except
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def context(side, trust=None, certificate=None, key=None, version=None, alpn=None, ciphers=None,
            require_certificate=False):
    """side: "client" or "server"; version: the only one, "TLS1.2" or "TLS1.3"."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if side == "client"
                          else ssl.PROTOCOL_TLS_SERVER)
    if trust:
        made.load_verify_locations(trust)
    elif side == "client":
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if require_certificate:
        made.verify_mode = ssl.CERT_REQUIRED
    if certificate:
        made.load_cert_chain(certificate, key)
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if alpn:
        made.set_alpn_protocols(alpn)
    if ciphers:
        made.set_ciphers(ciphers)
    return made


class Endpoint:
    """One side of a TLS connection over sock. sock may be None for one that never sends itself."""

    def __init__(self, sock, made, server_name=None, session=None):
        self.sock = sock
        self.context = made
        self.alerts = []  # (read or write, number)
        # Private to Python's ssl, and the only way to an alert's number.
        made._msg_callback = self._message  # pylint: disable=protected-access
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = made.protocol == ssl.PROTOCOL_TLS_SERVER
        self.tls = made.wrap_bio(self.incoming, self.outgoing, server_side=server,
                                 server_hostname=None if server else server_name,
                                 session=session)

    def _message(self, _connection, direction, _version, content_type, message_type, _data):
        if content_type == ssl._TLSContentType.ALERT:  # pylint: disable=protected-access
            self.alerts.append((direction, int(message_type)))

    @property
    def received_alert(self):
        """The number of the last alert that the other side sent, close_notify left out."""
        numbers = [n for direction, n in self.alerts if direction == "read" and n != CLOSE_NOTIFY]
        return numbers[-1] if numbers else None

    @property
    def closed_by_peer(self):
        return ("read", CLOSE_NOTIFY) in self.alerts

    # ---- One step at a time ----

    def step(self):
        """Lets TLS take what has come. True once the handshake is complete on this side; what is to
        be sent lies in pending()."""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def pending(self):
        """The bytes that this side has to send now."""
        return self.outgoing.read()

    def feed(self):
        """Takes what the socket has. False at end-of-file."""
        data = self.sock.recv(65536)
        if not data:
            self.incoming.write_eof()
            return False
        self.incoming.write(data)
        return True

    def flush(self):
        data = self.pending()
        if data:
            self.sock.sendall(data)

    # ---- All of it ----

    def handshake(self):
        """To the end, everything sent. Raises ssl.SSLError, or ConnectionError at end-of-file."""
        try:
            while not self.step():
                self.flush()
                if not self.feed():
                    raise ConnectionAbortedError("end-of-file in the handshake")
        finally:
            with contextlib.suppress(OSError):
                self.flush()
        return self

    def send(self, data):
        self.tls.write(data)
        self.flush()

    def recv(self, size=65536):
        """Data; b"" after close_notify. ConnectionAbortedError when TCP ended without it."""
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.flush()
                if not self.feed():
                    raise ConnectionAbortedError("end-of-file without close_notify") from None
            except ssl.SSLZeroReturnError:
                return b""

    def recv_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            more = self.recv(size - len(data))
            assert more, f"{len(data)} of {size} bytes came"
            data += more
        return bytes(data)

    def recv_all(self):
        data = bytearray()
        while more := self.recv():
            data += more
        return bytes(data)

    def try_handshake(self):
        """The handshake and one read, whatever comes of it; for looking at the alerts after."""
        try:
            self.handshake()
            return self.recv()
        except (ssl.SSLError, OSError) as error:
            return error

    def close_notify(self):
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self.tls.unwrap()
        self.flush()


def send_in_pieces(sock, data, size, pause=0):
    """Each piece is a segment of its own (TCP_NODELAY is set)."""
    for i in range(0, len(data), size):
        sock.sendall(data[i:i + size])
        if pause:
            time.sleep(pause)


def assert_plain(one, two):
    """Plain bytes pass in both directions, and nothing else was there before."""
    for source, sink, data in ((one, two, b"plain bytes there"), (two, one, b"and back")):
        with limited(source), limited(sink):
            source.sendall(data)
            assert _recv_exactly(sink, len(data)) == data


@contextlib.contextmanager
def limited(sock):
    """Within it, the socket's calls fail after a while."""
    before = sock.gettimeout()
    sock.settimeout(seconds(20))
    try:
        yield
    finally:
        sock.settimeout(before)


def _recv_exactly(sock, size):
    got = b""
    while len(got) < size:
        more, control, _, _ = sock.recvmsg(size - len(got), 64)
        # The kernel shows a server's tickets to whoever has room for their type; they are no data.
        if control and control[0][0] == SOL_TLS and control[0][2][0] == RECORD_HANDSHAKE:
            continue
        assert more, f"the connection ended after {got!r}"
        got += more
    return got


def exchange(endpoint, sock, data=b"one way", back=b"and the other"):
    """Data passes both ways between the peer and the program's socket (relay or kernel)."""
    with limited(sock):
        endpoint.send(data)
        assert _recv_exactly(sock, len(data)) == data
        sock.sendall(back)
    assert endpoint.recv_exactly(len(back)) == back
