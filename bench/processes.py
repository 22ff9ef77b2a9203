# SPDX-License-Identifier: LGPL-2.1-or-later
"""What processes and the machine have used, and what machine it is."""

import contextlib
import ctypes
import os
import pathlib
import platform
import re
import select
import signal
import socket
import subprocess
import time


def descendants(parent):
    """The process and all that descend from it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [], [parent]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children.get(pid, [])
    return found


def cpu_seconds(pid):
    """User and system time of a process with all its threads, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)


def machine_busy():
    """Seconds that all processors together were not idle, since some beginning."""
    idle = sum(int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[4:6])
    return time.monotonic() * os.cpu_count() - idle / os.sysconf("SC_CLK_TCK")


def memory_of(pid, names=("Rss", "Pss")):
    """KiB of a process: resident, and with shared pages divided among those who share them."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for name in names]


def memory_kib(pids):
    """Without programs, libraries and other files: who else maps those decides about a process's share of them."""
    return sum(sum(memory_of(pid, ("Pss_Anon", "Pss_Shmem"))) for pid in pids)


@contextlib.contextmanager
def without_huge_pages():
    """For what is started meanwhile. The kernel may give a process a page of 2 MiB at any time, whether it needs
    that or not: a step that would be taken for growth."""
    prctl, disable = ctypes.CDLL(None).prctl, 41  # PR_SET_THP_DISABLE
    prctl(disable, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(disable, 0, 0, 0, 0)


def settle(pids):
    """Until the processes have had nothing to do for a while."""
    deadline = time.monotonic() + 120
    used = None
    while used != (used := [cpu_seconds(pid) for pid in pids]):
        if time.monotonic() > deadline:
            raise SystemExit("bench: the daemon does not come to rest")
        time.sleep(0.5)


def kernel_memory_kib():
    """What the kernel keeps for itself in slabs: sockets and the like."""
    text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
    return int(re.search(r"^Slab:\s+(\d+)", text, re.M).group(1))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port, process, name):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"bench: {name} ended with status {process.returncode} instead of serving")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"bench: {name} does not listen on port {port}")


def start(command, stdin=subprocess.DEVNULL, **options):
    """A process that ends with this one."""
    prctl = ctypes.CDLL(None).prctl
    # pylint: disable-next=subprocess-popen-preexec-fn
    return subprocess.Popen([str(word) for word in command], stdin=stdin,
                            preexec_fn=lambda: prctl(1, signal.SIGKILL), **options)


def first_line(process, name):
    """What a process says when it is ready: a line on its standard output, a pipe that nobody has read of yet."""
    ready, _, _ = select.select([process.stdout], [], [], 120)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise SystemExit(f"bench: {name} did not get ready")
    return line


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def version(*command):
    """The first thing that looks like a version in what the command prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return "none"
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return found.group(0) if found else "unknown"


def conditions():
    """The machine, its kernel and the programs that are measured."""
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    virtual = pathlib.Path("/sys/class/dmi/id/sys_vendor")
    vendor = virtual.read_text(encoding="utf-8").strip() if virtual.exists() else ""
    ulps = pathlib.Path("/proc/sys/net/ipv4/tcp_available_ulp")
    has_tls = ulps.exists() and "tls" in ulps.read_text(encoding="utf-8").split()
    return {
        "kernel": platform.release(), "processor": model, "processors": os.cpu_count(),
        "emulated": vendor == "QEMU", "memory-mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kernel-tls": has_tls, "load-before": round(os.getloadavg()[0], 2),
        "GnuTLS": version("gnutls-cli", "--version"), "OpenSSL": version("openssl", "version"),
        "nginx": version("/usr/sbin/nginx", "-v"), "stunnel": version("stunnel4", "-version"),
        "hitch": version("/usr/sbin/hitch", "--version"),
    }
