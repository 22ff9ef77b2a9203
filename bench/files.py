# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files: throughput, CPU and system calls for each GB, and whether the server ever has their bytes."""

import pathlib
import re
import tempfile
import time

from measuring import Cpu, command_json
from processes import machine_busy, start, stop
from servers import FileServer, Hitch, Nginx, Serve, Stunnel

KIB, MIB = 1 << 10, 1 << 20


def makers(bench, daemon, kernel):
    """Who sends. With kernel TLS, also those that use it."""
    place = bench.place
    found = {
        "plain TCP": lambda: FileServer(place, "plain"),
        "GnuTLS in process": lambda: FileServer(place, "gnutls"),
        "nginx": lambda: Nginx(place),
        "stunnel + nginx": lambda: Stunnel(place),
        "hitch + nginx": lambda: Hitch(place),
    }
    if kernel:
        found |= {
            "bare kernel TLS": lambda: FileServer(place, "kernel"),
            "nginx, kernel TLS": lambda: Nginx(place, "kernel"),
            "handshake serve": lambda: Serve(place, daemon, records="kernel"),
        }
    else:
        found["handshake serve, relay"] = lambda: Serve(place, daemon, records="relay")
    return found


def ask(server, size, count, *words):
    if getattr(server, "plain", False):
        words += ("--plain",)
    return command_json("file-load", "--port", server.port, "--path", f"/{size}", "--size", size, "--count", count,
                        *words)


def throughput(bench, daemon, kernel):
    total = (8 if bench.quick else 64 if kernel else 256) * MIB
    # Small files: fewer bytes, as they take longer.
    amounts = {MIB: total} if bench.quick else {16 * KIB: total // 8, 128 * KIB: total // 4, MIB: total,
                                                8 * MIB: total, 64 * MIB: total}
    bench.group("sending files")
    made = makers(bench, daemon, kernel)
    for size in amounts:
        bench.place.file(size)
    verified = set()
    for number, name in bench.rounds(made):
        server = made[name]()
        for size, amount in amounts.items():
            if (name, size) not in verified:
                ask(server, size, 1, "--verify", bench.place.file(size))
                verified.add((name, size))
            if number == 0:
                continue
            cpu, busy = Cpu(server), machine_busy()
            figures = ask(server, size, min(amount // size, 1000))
            busy = machine_busy() - busy
            used = cpu.read()
            gb = figures["bytes"] / 1e9
            bench.keep("files", name, number, size=size, **figures,
                       mb_per_second=figures["bytes"] / 1e6 / figures["seconds"],
                       cpu_per_gb=sum(used.values()) / gb,
                       parts_per_gb={part: value / gb for part, value in used.items()}, machine_cpu_per_gb=busy / gb)
        server.stop()


def cipher(bench, _daemon, kernel):
    bench.group("the cipher itself, AES-128-GCM in records of 16 KiB")
    for number, name in bench.rounds(("gnutls", "kernel") if kernel else ("gnutls",)):
        figures = command_json("cipher-cost", name, 4 if bench.quick else 64)
        bench.keep("cipher", name, number, cpu_per_gb=figures["cpu"] / figures["bytes"] * 1e9)


class Strace:
    """strace of all of a server's processes, from its making to read()."""

    def __init__(self, server, *words):
        # pylint: disable=consider-using-with
        self.output = tempfile.NamedTemporaryFile("r", prefix="bench-strace-")
        self.errors = tempfile.TemporaryFile("w+")
        wanted = set(server.parts)
        pids = [word for pid in wanted for word in ("-p", pid)]
        self.process = start(["strace", "-f", "-o", self.output.name, *words, *pids], stderr=self.errors)
        deadline = time.monotonic() + 60
        while any(self.missing(pid) for pid in wanted):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.errors.seek(0)
                raise SystemExit(f"bench: strace did not attach itself to {server.name}:\n{self.errors.read()}")
            time.sleep(0.02)

    def missing(self, pid):
        """Is a thread of that process not traced yet? One that has ended needs no tracing."""
        try:
            tasks = [task / "status" for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
            return any(f"\nTracerPid:\t{self.process.pid}\n" not in task.read_text(encoding="utf-8") for task in tasks)
        except OSError:
            return False

    def read(self):
        time.sleep(0.2)
        stop(self.process)
        with self.output, self.errors:
            return pathlib.Path(self.output.name).read_text(encoding="utf-8", errors="replace")


def system_calls(bench, daemon, kernel):
    """strace slows the calls and does not change their number much; the handshake's are counted too."""
    bench.group("system calls for each GB")
    made = makers(bench, daemon, kernel)
    amounts = {MIB: 8 * MIB} if bench.quick else {MIB: 16 * MIB, 32 * MIB: 32 * MIB}
    for size in amounts:
        bench.place.file(size)
    for number, name in bench.rounds(made, warm_up=False):
        server = made[name]()
        for size, amount in amounts.items():
            strace = Strace(server, "-c")
            figures = ask(server, size, amount // size)
            lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", strace.read(), re.M)
            calls = {call: int(count) for count, call in lines if call != "total"}
            gb = figures["bytes"] / 1e9
            bench.keep("system-calls", name, number, size=size, calls=calls, per_gb=sum(calls.values()) / gb)
        server.stop()


MOVERS = ("read", "write", "readv", "writev", "recv", "send", "pread", "pwrite", "sendfile", "splice", "vmsplice",
          "copy_file_range", "process_vm", "tee", "mmap")


def proof(bench, daemon, kernel):
    """Every system call of the server and the daemon while a file is sent: who touched it, and how much was moved."""
    bench.group("through whose hands the bytes go")
    made = makers(bench, daemon, kernel)
    size = (4 if bench.quick else 16) * MIB
    path = bench.place.file(size)
    for name, make in made.items():
        server = make()
        strace = Strace(server, "-y", "-s", "0", "-e", "trace=all")
        ask(server, size, 1)
        touched, moved = {}, {}
        # "… <unfinished …>" and "<… resumed>" belong together: descriptors stand in the first, results in the second.
        pending = {}
        for line in strace.read().splitlines():
            pid, _, rest = line.partition(" ")
            rest = rest.strip()
            if rest.endswith("<unfinished ...>"):
                pending[pid] = rest
                continue
            if rest.startswith("<... "):
                rest = pending.pop(pid, "") + rest
            call = re.match(r"(\w+)\(", rest)
            if not call:
                continue
            call = call.group(1)
            if f"<{path}>" in rest:
                touched[call] = touched.get(call, 0) + 1
            result = re.search(r"= (\d+)$", rest)
            if call.startswith(MOVERS[:-1]) and result:
                moved[call] = moved.get(call, 0) + int(result.group(1))
        server.stop()
        by_sendfile = moved.get("sendfile", 0)
        bench.keep("proof", name, 1, size=size, touched=touched, moved=moved, by_sendfile=by_sendfile,
                   by_others=sum(moved.values()) - by_sendfile)
