# SPDX-License-Identifier: LGPL-2.1-or-later
"""The protocol on the daemon's Unix socket, spoken without the library: what a client in another
language has to do, and what the library would never send."""

import os
import socket

from scale import seconds

PACKET_SIZE = 16384
DESCRIPTORS_MAX = 16


def escape(value):
    return "".join(
        f"%{ord(c):02X}" if c == "%" or ord(c) < 0x20 or ord(c) == 0x7F else c
        for c in str(value))


def unescape(value):
    parts = value.split("%")
    raw = parts[0].encode()
    for part in parts[1:]:
        raw += bytes([int(part[:2], 16)]) + part[2:].encode()
    return raw.decode()


def encode(operation, fields):
    """fields: a dict or a list of pairs; None leaves the line out, '_' is '-' in keys."""
    pairs = fields.items() if isinstance(fields, dict) else fields
    lines = [f"handshake/1 {operation}"]
    lines += [f"{key.replace('_', '-')}={escape(value)}" for key, value in pairs
              if value is not None]
    return ("\n".join(lines) + "\n").encode()


class Message:
    """One packet from the daemon. Its descriptors are closed by close() unless taken."""

    def __init__(self, data, fds):
        text = data.decode()
        assert text.endswith("\n"), text
        lines = text[:-1].split("\n")
        self.text = text
        self.protocol, self.operation = lines[0].split(" ", 1)
        assert self.protocol == "handshake/1", text
        self.fields = {}
        for line in lines[1:]:
            key, _, value = line.partition("=")
            self.fields.setdefault(key, []).append(unescape(value))
        names = self.get("descriptors")
        names = names.split(",") if names else []
        assert len(names) == len(fds), f"{len(fds)} descriptors came with {text}"
        self.fds = dict(zip(names, fds))

    def get(self, key, n=0):
        values = self.fields.get(key, [])
        return values[n] if n < len(values) else None

    def __getitem__(self, key):
        return self.fields[key][0]

    @property
    def outcome(self):
        return self.get("outcome")

    def take(self, name):
        return self.fds.pop(name)

    def close(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}

    def __repr__(self):
        return f"<{self.text.strip()}>".replace("\n", " | ")

    def __del__(self):
        self.close()


class Client:
    """One connection to the daemon."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(seconds(30))
        try:
            self.sock.connect(str(path))
        except BaseException:
            self.sock.close()
            raise
        self.last_id = 0
        self.waiting = {}

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        self.sock.close()
        self.waiting = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data, fds=()):
        if fds:
            socket.send_fds(self.sock, [data], [f if isinstance(f, int) else f.fileno()
                                                for f in fds])
        else:
            self.sock.send(data)

    def send(self, operation, fields=(), fds=()):
        self.send_raw(encode(operation, fields), fds)

    def receive(self, timeout=30):
        """The next packet; None at end-of-file."""
        self.sock.settimeout(seconds(timeout))
        data, fds, flags, _ = socket.recv_fds(self.sock, PACKET_SIZE + 1, DESCRIPTORS_MAX)
        if not data:
            return None
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        return Message(data, fds)

    def start(self, fd, role, **fields):
        """Asks for a handshake and returns its id."""
        self.last_id += 1
        self.send("handshake", {"id": self.last_id, "role": role, **fields}, [fd])
        return self.last_id

    def reply(self, number, timeout=30):
        """The reply to one request, whatever comes in between. None: the daemon is gone."""
        while number not in self.waiting:
            message = self.receive(timeout)
            if message is None:
                return None
            self.waiting[int(message.get("id") or 0)] = message
        return self.waiting.pop(number)

    def handshake(self, fd, role, timeout=30, **fields):
        return self.reply(self.start(fd, role, **fields), timeout)

    def listen(self, fd, **fields):
        self.last_id += 1
        self.send("listen", {"id": self.last_id, **fields}, [fd])
        return self.receive()

    def cancel(self, number):
        self.send("cancel", {"id": number})

    def status_lines(self):
        """The counters, each with all its values as text."""
        self.last_id += 1
        self.send("status", {"id": self.last_id})
        message = self.receive()
        assert message is not None and message.operation == "counters", message
        return message.fields

    def status(self):
        """The counters: numbers where they are numbers."""
        return {key: int(values[0]) if values[0].isdigit() else values[0]
                for key, values in self.status_lines().items()}


def connection_of(message, sock):
    """The socket to go on with after a reply: the relay's, or the TCP socket itself."""
    if "relay" in message.fds:
        return socket.socket(fileno=message.take("relay"))
    return sock
