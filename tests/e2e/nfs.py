# SPDX-License-Identifier: LGPL-2.1-or-later
"""An NFS server and mounts of it on this machine: for guests alone, as it takes the kernel's only one."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from scale import die_with_parent, seconds

STATE = pathlib.Path("/var/lib/nfs")
CONTROL = pathlib.Path("/proc/fs/nfsd")


def run(*arguments, timeout=60):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds(timeout))
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


class Server:
    """NFSv4.2 alone, with one export; no grace period, no other daemons than mountd."""

    def __init__(self):
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
        for name in ("nfsv4leasetime", "nfsv4gracetime"):  # the shortest that there is
            (CONTROL / name).write_text("10")
        run("exportfs", "-i", "-o", "rw,fsid=0,no_root_squash,insecure,no_subtree_check",
            f"*:{self.export}")
        self.mountd = subprocess.Popen(["rpc.mountd", "-F", "-N", "3", "-V", "4"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=die_with_parent)
        self.start()

    def _mount(self, source, path, kind):
        run("mount", "-t", kind, source, str(path))
        self.stack.callback(subprocess.run, ["umount", "-l", str(path)], capture_output=True)

    def start(self):
        run("rpc.nfsd", "-N", "3", "-V", "4.2", "8")
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

    @contextlib.contextmanager
    def mounted(self, security, name="localhost", options=()):
        """A directory in which the export is mounted; a mount that fails raises MountFailed."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="nfs-"))
        done = subprocess.run(
            ["mount", "-t", "nfs4", "-o",
             ",".join(["vers=4.2", f"xprtsec={security}", "addr=127.0.0.1", "nosharecache",
                       "retry=0", "timeo=50", *options]), f"{name}:/", str(path)],
            capture_output=True, text=True, timeout=seconds(120))
        if done.returncode != 0:
            raise MountFailed(done.stderr)
        try:
            yield path
        finally:
            subprocess.run(["umount", "-f", str(path)], capture_output=True)
            subprocess.run(["umount", "-l", str(path)], capture_output=True)
            with contextlib.suppress(OSError):
                path.rmdir()


class MountFailed(Exception):
    pass

