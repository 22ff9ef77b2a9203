# SPDX-License-Identifier: LGPL-2.1-or-later
"""What went over a connection, byte for byte, as a capture that tshark reads, and what tshark makes of it.
A proxy records it, so that no privilege is needed and nothing is missed."""

import contextlib
import re
import socket
import struct
import subprocess
import threading
import time
import xml.etree.ElementTree

from peers import needs
from scale import seconds

CLIENT_PORT, SERVER_PORT = 40000, 443
SEGMENT = 16000


class Recorder:
    """Listens on .port and passes on to a port of this machine; one connection."""

    def __init__(self, port):
        self.target = port
        self.parts = []  # (time, from the client?, bytes)
        self.lock = threading.Lock()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            client, _ = self.listening.accept()
            with client, socket.create_connection(("127.0.0.1", self.target)) as server:
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._pass, args=(server, client, False),
                                        daemon=True)
                back.start()
                self._pass(client, server, True)
                back.join(seconds(30))

    def _pass(self, source, sink, from_client):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self.lock:
                    self.parts.append((time.time(), from_client, data))
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.listening.close()
        self.thread.join(seconds(30))

    def write(self, path):
        write_pcap(path, self.parts)
        return path


def write_pcap(path, parts):
    """The parts as TCP segments between two addresses; raw IP (LINKTYPE_RAW)."""
    sequence = {True: 1000, False: 2000}
    packets = []

    def add(when, from_client, flags, data=b""):
        source, sink = (CLIENT_PORT, SERVER_PORT) if from_client else (SERVER_PORT, CLIENT_PORT)
        acknowledged = sequence[not from_client] if flags & 0x10 else 0
        tcp = struct.pack(">HHIIBBHHH", source, sink, sequence[from_client], acknowledged, 5 << 4,
                          flags, 65535, 0, 0) + data
        addresses = [b"\x7f\0\0\1", b"\x7f\0\0\2"]
        if not from_client:
            addresses.reverse()
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
        packets.append((when, header + b"".join(addresses) + tcp))
        sequence[from_client] += len(data) + bool(flags & 3)

    start = parts[0][0] if parts else 0
    add(start, True, 0x02)
    add(start, False, 0x12)
    add(start, True, 0x10)
    for when, from_client, data in parts:
        for at in range(0, len(data), SEGMENT):
            add(when, from_client, 0x18, data[at:at + SEGMENT])
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for when, packet in packets:
            file.write(struct.pack("<IIII", int(when), int(when % 1 * 1000000), len(packet),
                                   len(packet)) + packet)


def tshark(path, *arguments, key_log=None):
    """What tshark writes about the capture."""
    options = ["-o", f"tls.keylog_file:{key_log}"] if key_log else []
    result = subprocess.run([needs("tshark"), "-r", path, "-d", f"tcp.port=={SERVER_PORT},tls",
                             *options, *arguments], capture_output=True, timeout=seconds(120),
                            check=True)
    return result.stdout.decode()


def content(path, key_log=None):
    """The data that tshark reads of the connection, both directions in their order."""
    text = tshark(path, "-q", "-z", "follow,tls,raw,0", key_log=key_log)
    return bytes.fromhex("".join(re.findall(r"(?m)^\t?([0-9a-f]+)$", text)))


def _number(text):
    return int(text, 0) if text else None


def _value(element, name):
    for field in element.iter("field"):
        if field.get("name") == name:
            return field.get("show")
    return None


class Seen:
    """A capture as tshark sees it: .messages, each a dict with from_client, type, size (with its header)
    and what a hello says; .records; .malformed."""

    def __init__(self, path, key_log=None):
        root = xml.etree.ElementTree.fromstring(tshark(path, "-T", "pdml", key_log=key_log))
        self.messages, self.records, self.malformed = [], [], []
        for packet in root.iter("packet"):
            from_client = None
            for protocol in packet.iter("proto"):
                if protocol.get("name") == "tcp":
                    from_client = _value(protocol, "tcp.srcport") == str(CLIENT_PORT)
                elif protocol.get("name") == "_ws.malformed":
                    self.malformed.append(protocol.get("showname"))
                elif protocol.get("name") == "tls":
                    self._take(protocol, from_client)

    def _take(self, protocol, from_client):
        for field in protocol.iter("field"):
            if field.get("name") == "tls.record":
                self.records.append((from_client, _number(_value(field, "tls.record.length"))))
            elif field.get("name") == "tls.handshake":
                self._take_message(field, from_client)
            elif field.get("name") == "_ws.malformed":
                self.malformed.append(field.get("showname"))

    def _take_message(self, field, from_client):
        kind = _number(_value(field, "tls.handshake.type"))
        if kind is None:
            return  # encrypted, and no key for it
        message = {"from_client": from_client, "type": kind,
                   "size": _number(_value(field, "tls.handshake.length")) + 4}
        for name in ("random", "ciphersuite", "version", "session_id",
                     "extensions_supported_version", "extensions_supported_group",
                     "extensions.supported_version", "extensions_key_share_group",
                     "extensions_alpn_str", "extensions_server_name"):
            message[name] = [f.get("show") for f in field.iter("field")
                             if f.get("name") == f"tls.handshake.{name}"]
        self.messages.append(message)
