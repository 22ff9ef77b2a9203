# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two network namespaces that are joined by the pair of network devices of kmod-tests/tlspair, which
take TLS from the kernel: for guests alone."""

import array
import contextlib
import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess

import upcall
from endpoint import in_thread
from scale import seconds

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_GSSET_INFO, _GSTRINGS, _GSTATS = 0x37, 0x1b, 0x1d
_SET_STATISTICS, _NAME_SIZE = 1, 32
_PARAMETERS = pathlib.Path("/sys/module/tlspair/parameters")
_libc = ctypes.CDLL(None, use_errno=True)


def _run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


class End:
    """One of the two namespaces with its device."""

    def __init__(self, number):
        self.namespace = f"tlspair-{number}"
        self.device = f"tlspair{number}"
        self.address = f"10.9.0.{number + 1}"
        # What runs a command in there.
        self.inside = ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def make(self):
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "link", "set", self.device, "netns", self.namespace)
        self.ip("addr", "add", f"{self.address}/24", "dev", self.device)
        self.ip("link", "set", "lo", "up")
        self.up()

    def ip(self, *arguments):
        _run("ip", "-n", self.namespace, *arguments)

    def up(self):
        self.ip("link", "set", self.device, "up")

    def down(self):
        self.ip("link", "set", self.device, "down")

    def call(self, function, *arguments):
        """Calls it in a thread of the namespace; a socket that it makes stays there."""
        def run():
            with open(f"/run/netns/{self.namespace}", "rb") as file:
                if _libc.setns(file.fileno(), _CLONE_NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return function(*arguments)
        return in_thread(run).result(seconds(30))

    def statistics(self):
        """The kernel's TLS counters of the namespace."""
        lines = self.call(pathlib.Path("/proc/thread-self/net/tls_stat").read_text).splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}

    def counters(self):
        """The device's own, as `ethtool -S` has them."""
        with self.call(socket.socket) as sock:
            count = struct.unpack("=II Q I", self._ethtool(
                sock, struct.pack("=II Q I", _GSSET_INFO, 0, 1 << _SET_STATISTICS, 0)))[3]
            names = self._ethtool(sock, struct.pack("=III", _GSTRINGS, _SET_STATISTICS, count) +
                                  bytes(_NAME_SIZE * count))[12:]
            values = struct.unpack(f"=II {count}Q", self._ethtool(
                sock, struct.pack("=II", _GSTATS, count) + bytes(8 * count)))[2:]
        return {names[i * _NAME_SIZE:(i + 1) * _NAME_SIZE].rstrip(b"\0").decode(): value
                for i, value in enumerate(values)}

    def _ethtool(self, sock, command):
        memory = array.array("B", command)
        fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", self.device.encode(),
                                                    memory.buffer_info()[0]))
        return memory.tobytes()


class Pair:
    def __init__(self):
        upcall.load_module("tlspair")
        self.ends = (End(0), End(1))
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            for end in self.ends:
                end.make()
            stack.pop_all()

    def close(self):
        for end in self.ends:
            subprocess.run(["ip", "netns", "del", end.namespace], capture_output=True)

    def connected(self):
        """The two ends of a TCP connection over the devices; its sockets block."""
        one, two = self.ends
        with two.call(socket.create_server, (two.address, 0)) as listening:
            sock = one.call(socket.socket)
            sock.connect(listening.getsockname())
            other, _ = listening.accept()
        for each in (sock, other):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, other

    @contextlib.contextmanager
    def fault(self, **parameters):
        """The module's parameters, and back."""
        before = {name: (_PARAMETERS / name).read_text() for name in parameters}
        try:
            for name, value in parameters.items():
                (_PARAMETERS / name).write_text(str(value))
            yield
        finally:
            for name, value in before.items():
                (_PARAMETERS / name).write_text(value)


def sendfile(sock, path):
    """Sends the file to its end and not beyond: a count that is too large loses a record on 6.1."""
    with open(path, "rb") as file:
        left, at = os.fstat(file.fileno()).st_size, 0
        while left:
            sent = os.sendfile(sock.fileno(), file.fileno(), at, left)
            at, left = at + sent, left - sent
