# SPDX-License-Identifier: LGPL-2.1-or-later
"""NVMe/TCP: pre-shared keys in the kernel's keyrings, a target and its hosts on this machine. The latter are
for guests alone: they take what the kernel has once."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from keys import keyctl
from scale import milliseconds, wait_until

HOST = "nqn.2014-08.org.nvmexpress:uuid:6f2c3c1e-5a0f-4a43-9f6e-3b4f0e8f7a11"
SUBSYSTEM = "nqn.2024-01.org.example:disk"
RING = "%:.nvme"


def agent(make_daemon, kernel=None, **more):
    """A daemon with a profile for the kernel's host and one for its target. more: keys of both."""
    keys = {"kernel-psk": "yes", "timeout-ms": milliseconds(10000), **more}
    one = make_daemon({"host": {"role": "client", **keys}, "target": {"role": "server", **keys}},
                      start=False)
    one.kernel = kernel or {"nvme": "host", "nvmet": "target"}
    one.write()
    return one.start()


def identity(host=HOST, subsystem=SUBSYSTEM, digest="VGhpcyBpcyBub3QgYSBkaWdlc3QsIGJ1dCBhcyBsb25n",
             sha384=False):
    return f"NVMe1R0{2 if sha384 else 1} {host} {subsystem} {digest}"


class Keyring:
    """Keys in .nvme, or in another keyring; taken out at the end."""

    def __init__(self, ring=RING):
        self.ring = ring
        self.serials = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for serial in self.serials:
            subprocess.run(["keyctl", "unlink", str(serial), str(self.ring)], capture_output=True,
                           check=False)

    @property
    def serial(self):
        """Of the keyring."""
        return int(keyctl("describe", self.ring).split(b":")[0])

    def add(self, name, key=None, kind="psk"):
        """Its serial number and its bytes."""
        key = key or os.urandom(48 if name.startswith(("NVMe1R02", "NVMe0R02")) else 32)
        serial = int(keyctl("padd", kind, name, self.ring, data=key))
        self.serials.append(serial)
        return serial, key


# ---- Target and host ----

CONFIG = pathlib.Path("/sys/kernel/config/nvmet")
FABRICS = pathlib.Path("/dev/nvme-fabrics")
HOST_ID = "6f2c3c1e-5a0f-4a43-9f6e-3b4f0e8f7a11"


class ConnectFailed(Exception):
    pass


def installed(program):
    return shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")


def needs_nvme():
    """Skips where there is none, or where it may be somebody's."""
    if os.geteuid() != 0 or not pathlib.Path("/run/vm/command").exists():
        pytest.skip("takes the kernel's NVMe target: for guests alone (tests/vm/run)")
    for program in ("keyctl", "mkfs.ext4", "mount"):
        if not installed(program):
            pytest.skip(f"{program} is not installed")
    for module in ("nvmet-tcp", "nvme-tcp"):
        if subprocess.run(["modprobe", module], capture_output=True, check=False).returncode != 0:
            pytest.skip(f"this kernel has no module {module}")
    if not CONFIG.parent.is_mount():
        subprocess.run(["mount", "-t", "configfs", "none", CONFIG.parent], check=True)


def write(path, text):
    path.write_text(f"{text}\n")


def forget():
    """Hosts and target as they were before anybody made one."""
    for controller in pathlib.Path("/sys/class/nvme").glob("nvme*"):
        with contextlib.suppress(OSError):
            write(controller / "delete_controller", 1)
    for path in (*CONFIG.glob("ports/*/subsystems/*"), *CONFIG.glob("ports/*")):
        path.unlink() if path.is_symlink() else path.rmdir()
    for space in CONFIG.glob("subsystems/*/namespaces/*"):
        write(space / "enable", 0)
        space.rmdir()
    for subsystem in CONFIG.glob("subsystems/*"):
        subsystem.rmdir()


class Target:
    """An NVMe/TCP target on loopback whose only namespace is a file; it takes TLS alone."""

    def __init__(self, size=64 << 20, subsystem=SUBSYSTEM, port=4420):
        self.file = pathlib.Path(tempfile.mkdtemp(prefix="nvmet-")) / "disk"
        with open(self.file, "wb") as file:
            file.truncate(size)
        self.subsystem = CONFIG / "subsystems" / subsystem
        self.subsystem.mkdir()
        write(self.subsystem / "attr_allow_any_host", 1)
        space = self.subsystem / "namespaces" / "1"
        space.mkdir()
        write(space / "device_path", self.file)
        write(space / "buffered_io", 1)
        write(space / "enable", 1)
        self.place = CONFIG / "ports" / "1"
        self.place.mkdir()
        for key, value in (("trtype", "tcp"), ("adrfam", "ipv4"), ("traddr", "127.0.0.1"),
                           ("trsvcid", port), ("tsas", "tls1.3")):
            write(self.place / f"addr_{key}", value)
        (self.place / "subsystems" / subsystem).symlink_to(self.subsystem)

    def close(self):
        forget()
        shutil.rmtree(self.file.parent)


class Host:
    """One controller: a connection for each of its queues. What cannot be connected raises ConnectFailed."""

    def __init__(self, port=4420, subsystem=SUBSYSTEM, host=HOST, queues=2, **more):
        options = {"nqn": subsystem, "transport": "tcp", "traddr": "127.0.0.1", "trsvcid": port,
                   "hostnqn": host, "hostid": HOST_ID, "nr_io_queues": queues, **more}
        text = ",".join([f"{key}={value}" for key, value in options.items()] +
                        ["tls", "duplicate_connect"])
        # The kernel blocks in write() until it is connected or has failed.
        with open(FABRICS, "r+b", buffering=0) as fabrics:
            try:
                fabrics.write(text.encode())
            except OSError as error:
                raise ConnectFailed(errno.errorcode.get(error.errno, str(error))) from error
            answer = fabrics.read(4096).decode()
        self.instance = int(re.search(r"instance=(\d+)", answer).group(1))
        self.path = pathlib.Path(f"/sys/class/nvme/nvme{self.instance}")
        self.name = subsystem

    def __enter__(self):
        return self

    def __exit__(self, *_):
        write(self.path / "delete_controller", 1)

    @property
    def state(self):
        return (self.path / "state").read_text().strip()

    def reset(self):
        """All its connections are made anew."""
        write(self.path / "reset_controller", 1)

    def device(self):
        """The block device, when it is there."""
        def find():
            for block in pathlib.Path("/sys/block").glob("nvme*n*"):
                name = block / "device" / "subsysnqn"
                device = pathlib.Path("/dev") / block.name
                if name.exists() and name.read_text().strip() == self.name and device.exists():
                    return device
            return None
        return wait_until(find, 20, "the block device")

    @contextlib.contextmanager
    def mounted(self, make=True):
        """A directory with its file system, a new one unless make is False."""
        device = self.device()
        if make:
            subprocess.run(["mkfs.ext4", "-q", "-F", device], check=True, capture_output=True)
        path = pathlib.Path(tempfile.mkdtemp(prefix="nvme-"))
        subprocess.run(["mount", "-t", "ext4", device, path], check=True)
        try:
            yield path
        finally:
            subprocess.run(["umount", path], check=True)
            path.rmdir()
