# SPDX-License-Identifier: LGPL-2.1-or-later
"""Time in the tests: every wait is multiplied by HANDSHAKE_TEST_SLOW (an emulated machine: 8)."""

import ctypes
import os
import signal
import time

SLOW = float(os.environ.get("HANDSHAKE_TEST_SLOW", "1"))
# Every case and the full counts: neither an emulated machine nor a sanitizer runs this.
FULL = SLOW <= 2


def seconds(value):
    """A bound on a wait."""
    return value * SLOW


def milliseconds(value):
    return int(value * SLOW)


def wait_until(condition, timeout=10, what="the condition"):
    """Waits until condition() is true and returns its value; fails after timeout (unscaled)."""
    deadline = time.monotonic() + seconds(timeout)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds(timeout):g} seconds")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent():
    """For subprocess's preexec_fn: a run of the tests that is killed leaves nothing behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
