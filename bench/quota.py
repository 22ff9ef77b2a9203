# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds processes to a share of a processor each, by control groups (cgroups(7)): shows what one more of them
brings where no processor is free for it."""

import contextlib
import os
import pathlib

ROOT = pathlib.Path("/sys/fs/cgroup")
VERSION_1 = ROOT / "cpu"
PERIOD_US = 10000


def write(path, text):
    path.write_text(str(text), encoding="ascii")


def limit(group, quota_us):
    if group.parent == VERSION_1:
        write(group / "cpu.cfs_period_us", PERIOD_US)
        write(group / "cpu.cfs_quota_us", quota_us)
    else:
        write(group / "cpu.max", f"{quota_us} {PERIOD_US}")


def parent():
    """The directory for groups, or None where the cpu controller is not to be had."""
    if (VERSION_1 / "cgroup.procs").exists():
        return VERSION_1 if os.access(VERSION_1, os.W_OK) else None
    try:
        if "cpu" not in (ROOT / "cgroup.subtree_control").read_text(encoding="ascii").split():
            write(ROOT / "cgroup.subtree_control", "+cpu")
    except OSError:
        return None
    return ROOT if os.access(ROOT, os.W_OK) else None


@contextlib.contextmanager
def held(pids, share):
    """Meanwhile each of the processes has that share of one processor and no more."""
    above = parent()
    groups = {pid: above / f"bench-{pid}" for pid in pids}
    try:
        for pid, group in groups.items():
            group.mkdir()
            limit(group, int(share * PERIOD_US))
            write(group / "cgroup.procs", pid)
        yield
    finally:
        for pid, group in groups.items():
            with contextlib.suppress(ProcessLookupError):
                write(above / "cgroup.procs", pid)
            if group.exists():
                group.rmdir()
