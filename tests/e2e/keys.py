# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys of the kernel for tests, by the command keyctl."""

import contextlib
import os
import subprocess

import pytest

import peers

READABLE = "0x3f3f0000"  # by the owner without possession, too: daemons have sessions of their own


def keyctl(*arguments, data=None):
    done = subprocess.run([peers.needs("keyctl"), *map(str, arguments)], input=data,
                          capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout


def add(ring, description, data, permissions=READABLE):
    """A key of the type user; its serial number. permissions: None: those of a new key, to be read by
    who possesses it alone."""
    serial = int(keyctl("padd", "user", description, ring, data=data))
    if permissions:
        keyctl("setperm", serial, permissions)
    return serial


@contextlib.contextmanager
def keyring(name=None):
    """A new keyring of the tests' user; its serial number."""
    try:
        ring = int(keyctl("newring", name or f"handshake-test-{os.getpid()}", "@u"))
    except AssertionError as error:
        pytest.skip(f"no keyring can be made here: {error}")
    keyctl("setperm", ring, READABLE)
    try:
        yield ring
    finally:
        keyctl("unlink", ring, "@u")


def describe(serial):
    """(type, description) of a key that this user may see."""
    kind, _, _, _, description = keyctl("rdescribe", serial).decode().strip().split(";", 4)
    return kind, description


def read(serial):
    return keyctl("pipe", serial)
