# SPDX-License-Identifier: LGPL-2.1-or-later
"""A consumer within the kernel, driven from here: /dev/handshake_upcall of kmod-tests/upcall. Its words are
those of handshake_upcall.h."""

import errno
import fcntl
import os
import pathlib
import select
import struct
import subprocess
import time

import pytest

import daemon as daemon_module
from endpoint import in_thread
from scale import seconds

CLIENT, SERVER = 1, 2
UNAUTHENTICATED, PSK, X509 = 1, 2, 3
DEVICE = "/dev/handshake_upcall"
_START = struct.Struct("=iIIIiiiI5i256s")
_RESULT = struct.Struct("=iiIIQ")
_IOC_START = 1 << 30 | _START.size << 16 | ord("H") << 8 | 1
_IOC_CANCEL = ord("H") << 8 | 2
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_module(name):
    """Loads the module that was built for the running kernel; the test is skipped without it."""
    release = os.uname().release
    for path in sorted(ROOT.glob(f"build/kmod-*/{name}.ko")):
        magic = subprocess.run(["modinfo", "-F", "vermagic", path], capture_output=True, text=True,
                               check=True).stdout.split()
        if magic and magic[0] == release:
            if not pathlib.Path("/sys/module", name).exists():
                subprocess.run(["insmod", path], check=True)
            return
    pytest.skip(f"{name}.ko is not built for this kernel ({release}): see kmod-tests/build")


def agent(make_daemon, pki, start=True, nfs=None, nfsd=None, **kernel):
    """A daemon that serves both roles. nfs, nfsd: what differs in their profiles, "names" those of their
    certificates; keys of [kernel] may be added, those with a hyphen as **{…}."""
    def profile(usual, others):
        lines = {**usual, **(others or {})}
        return daemon_module.profile(pki, "kernel", *lines.pop("names"), **lines)
    one = make_daemon({
        "nfs": profile({"names": ["client-ecdsa"], "role": "client"}, nfs),
        "nfsd": profile({"names": ["ecdsa"], "role": "server", "client_certificates": "request"}, nfsd),
    }, start=False)
    one.kernel = {"nfs": "nfs", "nfsd": "nfsd", **kernel}
    one.write()
    return one.start() if start else one


def patiently(*arguments, **named):
    """A request once the kernel has room for it: it keeps only a few, 3 to 50 by the machine's memory."""
    while True:
        try:
            return Upcall(*arguments, **named)
        except BlockingIOError:
            time.sleep(0.01)


def exchange(one, two):
    for sender, receiver, data in ((one, two, b"there"), (two, one, b"and back" * 5000)):
        sent = in_thread(sender.sendall, data)
        got = b""
        while len(got) < len(data):
            got += receiver.recv(len(data) - len(got))
        sent.result(seconds(20))
        assert got == data


class Upcall:
    """One request."""

    def __init__(self, sock, role, auth, peer_name="", timeout_ms=0, keyring=0, certificate=0,
                 private_key=0, identities=()):
        self.fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
        identities = list(identities)
        start = _START.pack(sock.fileno(), role, auth, timeout_ms, keyring, certificate,
                            private_key, len(identities), *(identities + [0] * 5)[:5],
                            peer_name.encode())
        try:
            fcntl.ioctl(self.fd, _IOC_START, start)
        except OSError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def cancel(self):
        return fcntl.ioctl(self.fd, _IOC_CANCEL) == 1

    def ended(self, timeout=0):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(seconds(timeout) * 1000))

    def result(self, timeout=20):
        """(errno's name or "ok", serial number of the peer's identity); asserts that it came once."""
        assert self.ended(timeout), "the kernel has reported nothing"
        status, identity, calls, _, self.microseconds = _RESULT.unpack(
            os.read(self.fd, _RESULT.size))
        assert calls == 1, f"reported {calls} times"
        return errno.errorcode[-status] if status else "ok", identity
