# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network namespaces with a name, as "ip netns" makes them, and sockets within: for guests alone."""

import contextlib
import ctypes
import os
import shutil
import subprocess

import pytest

from endpoint import in_thread, tcp_pair
from scale import seconds

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def ip(*arguments):
    program = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not program:
        pytest.skip("ip (iproute2) is not installed")
    subprocess.run([program, *arguments], check=True, timeout=seconds(20),
                   stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def namespace(name):
    """A namespace with a loopback device; its name goes at the end, if not before."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        if os.path.exists(f"/run/netns/{name}"):
            ip("netns", "delete", name)


def within(name, function, *arguments):
    """Calls it in a thread that is in the namespace; sockets that it makes stay there."""
    def call():
        fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)
        return function(*arguments)
    return in_thread(call).result(seconds(20))


@contextlib.contextmanager
def pair(name=None):
    """Two ends of a TCP connection there; without a name: here."""
    one, two = within(name, tcp_pair) if name else tcp_pair()
    with one, two:
        yield one, two
