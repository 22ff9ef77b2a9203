# SPDX-License-Identifier: LGPL-2.1-or-later
"""An NFS server and mounts of it on this machine: for guests alone, as it takes the kernel's only one."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from scale import die_with_parent, seconds

STATE = pathlib.Path("/var/lib/nfs")
CONTROL = pathlib.Path("/proc/fs/nfsd")
HOSTS = pathlib.Path("/etc/hosts")
# mount.nfs takes the server's address from its name alone.
SECOND, WIRE = "second.example.test", "wire.example.test"
ADDRESSES = {SECOND: "127.0.0.2", WIRE: "10.11.0.1"}


def run(*arguments, timeout=60):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds(timeout))
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


class Server:
    """NFSv4.2 alone, with one export; no grace period, no other daemons than mountd. exports=False:
    nothing is exported, that is left to others."""

    def __init__(self, exports=True):
        for program in ("exportfs", "rpc.mountd", "rpc.nfsd", "mount.nfs"):
            if not shutil.which(program, path="/usr/sbin:/sbin"):
                pytest.skip(f"{program} is not installed")
        for module in ("nfsd", "nfsv4"):
            if subprocess.run(["modprobe", module], capture_output=True).returncode != 0:
                pytest.skip(f"this kernel has no module {module}")
        self.stack = contextlib.ExitStack()
        self.export = pathlib.Path(tempfile.mkdtemp(prefix="export-"))
        self.mounts = 0
        self._mount("tmpfs", self.export, "tmpfs")
        self._mount("tmpfs", STATE, "tmpfs")
        for directory in ("rpc_pipefs", "v4recovery", "sm"):
            (STATE / directory).mkdir()
        for file in ("etab", "rmtab", "xtab"):
            (STATE / file).touch()
        self._mount("sunrpc", STATE / "rpc_pipefs", "rpc_pipefs")
        if not (CONTROL / "threads").exists():
            self._mount("nfsd", CONTROL, "nfsd")
        hosts = HOSTS.read_text(encoding="utf-8")
        self.stack.callback(HOSTS.write_text, hosts, encoding="utf-8")
        HOSTS.write_text(hosts + "".join(f"{address} {name}\n" for name, address in ADDRESSES.items()),
                         encoding="utf-8")
        for name in ("nfsv4leasetime", "nfsv4gracetime"):  # the shortest that there is
            (CONTROL / name).write_text("10")
        if exports:
            run("exportfs", "-i", "-o", "rw,fsid=0,no_root_squash,insecure,no_subtree_check",
                f"*:{self.export}")
        self.mountd = subprocess.Popen(["rpc.mountd", "-F", "-N", "3", "-V", "4"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=die_with_parent)
        self.start()

    def _mount(self, source, path, kind):
        run("mount", "-t", kind, source, str(path))
        self.stack.callback(subprocess.run, ["umount", "-l", str(path)], capture_output=True)

    def start(self, threads=8):
        run("rpc.nfsd", "-N", "3", "-V", "4.2", str(threads))
        # No client has state from before: none has to be waited for.
        with contextlib.suppress(OSError):
            (CONTROL / "v4_end_grace").write_text("Y")

    def stop(self):
        run("rpc.nfsd", "0")

    def close(self):
        subprocess.run(["rpc.nfsd", "0"], capture_output=True)
        self.mountd.kill()
        self.mountd.wait()
        subprocess.run(["exportfs", "-ua"], capture_output=True)
        self.stack.close()

    def mount_command(self, path, security, name="localhost", options=(), namespace=None):
        inside = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        return inside + ["mount", "-t", "nfs4", "-o", ",".join(
            ["vers=4.2", f"xprtsec={security}", "nosharecache", "retry=0", "timeo=50",
             *options]), f"{name}:/", str(path)]

    @contextlib.contextmanager
    def mounted(self, security, **where):
        """A directory in which the export is mounted; a mount that fails raises MountFailed. where:
        see mount_command."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="nfs-"))
        done = subprocess.run(self.mount_command(path, security, **where), capture_output=True,
                              text=True, timeout=seconds(120))
        if done.returncode != 0:
            raise MountFailed(done.stderr)
        try:
            yield path
        finally:
            unmount(path)


def unmount(path):
    subprocess.run(["umount", "-f", str(path)], capture_output=True)
    subprocess.run(["umount", "-l", str(path)], capture_output=True)
    with contextlib.suppress(OSError):
        path.rmdir()


def give_up(mount, path):
    """Ends a mount command that may be under way, started with start_new_session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(mount.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may hold it for a while
        mount.wait(seconds(5))
    unmount(path)


@contextlib.contextmanager
def network(name):
    """A network namespace with a wire to this one, where the server is WIRE."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", f"{name}1", "netns", name)
        run("ip", "addr", "add", f"{ADDRESSES[WIRE]}/24", "dev", f"{name}0")
        run("ip", "link", "set", f"{name}0", "up")
        run("ip", "-n", name, "addr", "add", "10.11.0.2/24", "dev", f"{name}1")
        run("ip", "-n", name, "link", "set", f"{name}1", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


class MountFailed(Exception):
    pass
