# SPDX-License-Identifier: LGPL-2.1-or-later
"""A TLS 1.3 peer that makes its records itself once the handshake is over: any type, any cut, key updates
whenever the test wants them. The handshake is OpenSSL's; the secrets come from its key log."""

import hashlib
import hmac
import tempfile

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from endpoint import TLS13, Endpoint, context

ALERT, HANDSHAKE, DATA = 21, 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24
_SUITES = {
    "TLS_AES_128_GCM_SHA256": (AESGCM, 16, "sha256"),
    "TLS_AES_256_GCM_SHA384": (AESGCM, 32, "sha384"),
    "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, "sha256"),
    "TLS_AES_128_CCM_SHA256": (AESCCM, 16, "sha256"),
}


def key_update(ask=False):
    return bytes([KEY_UPDATE, 0, 0, 1, ask])


def ticket(size=80, fill=b"t"):
    """A NewSessionTicket (RFC 8446, 4.6.1) of so many bytes of ticket."""
    body = (b"\0\0\x1c\x20" + b"\1\2\3\4" + b"\1n" + size.to_bytes(2, "big") + fill * size + b"\0\0")
    return bytes([NEW_SESSION_TICKET]) + len(body).to_bytes(3, "big") + body


def expand_label(digest, secret, label, size):
    """RFC 8446, 7.1, without context."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    block = output = b""
    for i in range(1, -(-size // hashlib.new(digest).digest_size) + 1):
        block = hmac.new(secret, block + info + bytes([i]), digest).digest()
        output += block
    return output[:size]


class Direction:
    def __init__(self, suite, secret):
        self.make, self.key_size, self.digest = _SUITES[suite]
        self.updates = -1
        self._take(secret)

    def _take(self, secret):
        self.secret = secret
        self.aead = self.make(expand_label(self.digest, secret, b"key", self.key_size))
        self.iv = int.from_bytes(expand_label(self.digest, secret, b"iv", 12), "big")
        self.sequence = 0
        self.updates += 1

    def update(self):
        self._take(expand_label(self.digest, self.secret, b"traffic upd", len(self.secret)))

    def _nonce(self):
        nonce = (self.iv ^ self.sequence).to_bytes(12, "big")
        self.sequence += 1
        return nonce

    def seal(self, kind, content):
        inner = content + bytes([kind])
        header = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
        return header + self.aead.encrypt(self._nonce(), inner, header)

    def open(self, header, sealed):
        inner = self.aead.decrypt(self._nonce(), sealed, header).rstrip(b"\0")
        return inner[-1], inner[:-1]


class RawPeer:
    """side: "client" or "server". After handshake() the test calls record() and receive()."""

    def __init__(self, sock, pki, side, suite=None):
        self.sock, self.side = sock, side
        self.log = tempfile.NamedTemporaryFile(prefix="keys-")
        if side == "client":
            made = context("client", pki.trust, version="TLS1.3")
        else:
            made = context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                           version="TLS1.3")
            made.num_tickets = 0
        made.keylog_filename = self.log.name
        assert made.maximum_version == TLS13
        self.endpoint = Endpoint(sock, made, "localhost")
        self.buffer = b""

    def handshake(self):
        self.endpoint.handshake()
        secrets = {}
        for line in open(self.log.name, encoding="ascii"):
            words = line.split()
            if len(words) == 3:
                secrets[words[0]] = bytes.fromhex(words[2])
        self.log.close()
        suite = self.endpoint.tls.cipher()[0]
        client = Direction(suite, secrets["CLIENT_TRAFFIC_SECRET_0"])
        server = Direction(suite, secrets["SERVER_TRAFFIC_SECRET_0"])
        self.transmit, self.receiving = (client, server) if self.side == "client" else (server,
                                                                                         client)
        self.buffer = self.endpoint.incoming.read()
        return self

    def record(self, kind, content):
        self.sock.sendall(self.transmit.seal(kind, content))

    def send(self, data):
        for at in range(0, len(data), 16384):
            self.record(DATA, data[at:at + 16384])

    def update(self, ask=False):
        self.record(HANDSHAKE, key_update(ask))
        self.transmit.update()

    def _exactly(self, size):
        while len(self.buffer) < size:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionAbortedError("end-of-file")
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive(self):
        """(type, content) of the next record."""
        header = self._exactly(5)
        return self.receiving.open(header, self._exactly(int.from_bytes(header[3:], "big")))

    def next_data(self, asked=None):
        """The data of the next record that has any; key updates are followed, tickets skipped. asked:
        a list that gets the request_update of each KeyUpdate."""
        while True:
            kind, content = self.receive()
            if kind == DATA and content:
                return content
            if kind == HANDSHAKE and content[0] == KEY_UPDATE:
                assert len(content) == 5, content
                self.receiving.update()
                if asked is not None:
                    asked.append(content[4])
            elif kind != DATA:
                assert kind == HANDSHAKE and content[0] == NEW_SESSION_TICKET, (kind, content)

    def recv_exactly(self, size, asked=None):
        """Data of so many bytes, with which a record ends."""
        data = []
        while size > 0:
            data.append(self.next_data(asked))
            size -= len(data[-1])
        assert size == 0, data[-1]
        return b"".join(data)

    def alert(self):
        """The number of the alert that comes next, whatever is before it."""
        while True:
            kind, content = self.receive()
            if kind == ALERT:
                return content[1]
            if kind == HANDSHAKE and content[0] == KEY_UPDATE:
                self.receiving.update()
