# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of docs/ whose commands a test runs: the ```sh blocks below a heading, as they stand there."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import textwrap

import pytest

from scale import seconds

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def headings(page):
    """The headings of a page that have commands, in their order."""
    return list(dict.fromkeys(heading for heading, _ in _all(page)))


def commands(page, heading):
    """The blocks below a heading, one text."""
    found = [block for title, block in _all(page) if title == heading]
    assert found, f"docs/{page} has no commands below \"{heading}\""
    return "".join(found)


def _all(page):
    heading, found = None, []
    for title, block in re.findall(r"^#+ ([^\n]+)$|^```sh\n(.*?)^```$",
                                   (DOCS / page).read_text(encoding="utf-8"), re.M | re.S):
        if title:
            heading = title
        else:
            found.append((heading, block))
    return found


def run(page, heading, environment=None, timeout=120, status=0):
    """Runs them in a shell that ends at the first that fails; returns what they print. environment:
    all of it, for whoever wants stand-ins in PATH; status: what the shell must end with."""
    text = commands(page, heading)
    done = subprocess.run(["bash", "-e", "-u", "-o", "pipefail", "-c", text], env=environment, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=seconds(timeout))
    assert done.returncode == status, (
        f"docs/{page}, \"{heading}\": ended with {done.returncode}:\n"
        f"{textwrap.indent(text, '  ')}{done.stdout}")
    return done.stdout


class Machine:
    """What a page's commands want of the machine, in a guest: handshaked's user and directories as its
    package makes them, and a systemctl, as guests have no service manager. nfs-server is nfs.Server's."""

    SYSTEMCTL = """#!/bin/bash
set -e
cd {directory}
case "$1 $2" in
'restart handshaked')
	[ ! -e pid ] || {{ kill "$(cat pid)" && tail --pid="$(cat pid)" -f /dev/null; }}
	mkdir -p /run/handshaked /var/lib/handshaked
	setsid handshaked --foreground >> log 2>&1 &
	echo $! > pid
	for _ in {{1..600}}; do
		kill -0 "$(cat pid)"
		! handshake status > /dev/null 2>&1 || exit 0
		sleep 0.1
	done
	exit 1
	;;
'restart nfs-server')
	rpc.nfsd 0
	rpc.nfsd -N 3 -V 4.2 8
	# Nobody has to be waited for; newer kernels end it by themselves, and say so.
	echo Y 2> /dev/null > /proc/fs/nfsd/v4_end_grace || :
	;;
*)
	echo "no stand-in for systemctl $*" >&2
	exit 1
	;;
esac
"""

    def __init__(self, directory, build):
        if not pathlib.Path("/run/vm/command").exists() or os.geteuid() != 0:
            pytest.skip("writes to /etc: for guests alone (tests/vm/run)")
        self.directory = directory
        program = directory / "systemctl"
        program.write_text(self.SYSTEMCTL.format(directory=directory))
        program.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{directory}:{build / 'bin'}:{os.environ['PATH']}"}
        self.environment.pop("HANDSHAKED_SOCKET", None)
        if "handshaked:" not in pathlib.Path("/etc/passwd").read_text(encoding="utf-8"):
            for file, line in (("passwd", "handshaked:x:990:990::/:/usr/sbin/nologin"),
                               ("group", "handshaked:x:990:")):
                with open(f"/etc/{file}", "a", encoding="utf-8") as stream:
                    stream.write(line + "\n")

    def run(self, name, heading, **more):
        return run(name, heading, environment=self.environment, **more)

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int((self.directory / "pid").read_text()), signal.SIGKILL)
