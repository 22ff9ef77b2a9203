# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds of measurements: whose turn it is, what is kept of it, and how far it all has come."""

import json
import subprocess
import sys
import time

from processes import cpu_seconds
from servers import BENCH, BIN

BEGAN = time.monotonic()


def say(text=""):
    print(text, flush=True)


class Measuring:
    """What is kept: a list of runs, each with group, subject, round and figures."""

    def __init__(self, place, where, repeat, quick):
        self.place = place
        self.where = where
        self.repeat = repeat
        self.quick = quick
        self.kept = []

    def keep(self, group, subject, number, **figures):
        self.kept.append({"group": group, "where": self.where, "subject": subject, "round": number} | figures)

    def group(self, title):
        seconds = int(time.monotonic() - BEGAN)
        say(f"[{seconds // 60:2}:{seconds % 60:02}] {self.where}: {title}")

    def rounds(self, subjects, warm_up=True):
        """The subjects take turns, so that whatever else the machine does meets them all; each round begins
        with another. A first round, number 0, is a warm-up and to be forgotten."""
        subjects = list(subjects)
        for number in range(0 if warm_up and not self.quick else 1, self.repeat + 1):
            if sys.stdout.isatty():
                print(f"        round {number} of {self.repeat}", end="\r", flush=True)
            turn = number % len(subjects)
            for subject in subjects[turn:] + subjects[:turn]:
                yield number, subject


def run_json(command):
    """Runs a program and reads what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def command_json(name, *words):
    """The same for a program of bench/."""
    return run_json((BENCH / name, *words))


class Cpu:
    """CPU seconds of a server's parts, from its making to read()."""

    def __init__(self, server):
        self.parts = server.parts
        self.before = {pid: cpu_seconds(pid) for pid in self.parts}

    def read(self):
        used = dict.fromkeys(self.parts.values(), 0.0)
        for pid, part in self.parts.items():
            used[part] += cpu_seconds(pid) - self.before[pid]
        return used


def load(server, handshakes, at_once, *words):
    """A steady load of handshakes by "handshake perf rate": its figures, with CPU microseconds by part for each
    of them. The parts' shares are those over the whole run, its warm-up included."""
    cpu = Cpu(server)
    command = [BIN / "handshake", "perf", "rate", "--target", f"127.0.0.1:{server.port}", "--json", "--quiet",
               "--runs", 1, "--handshakes", handshakes, "--at-once", at_once, "--warm-up", "200ms", "--timeout", "60s",
               "--name", "localhost", "--pids", ",".join(map(str, cpu.parts)), *words]
    found = run_json(command)["cases"][0]["runs"][0]
    if found["failed"]:
        raise SystemExit(f"bench: {found['failed']} handshakes with {server.name} failed: {found['first-error']}")
    if "resumed" in words and found["not-resumed"]:
        raise SystemExit(f"bench: {found['not-resumed']} handshakes with {server.name} were not resumed")
    done = found["handshakes"]
    used = cpu.read()
    share = found["server-cpu"] / sum(used.values())
    return {"handshakes": done, "seconds": found["seconds"], "per_second": done / found["seconds"],
            "cpu_us": found["server-cpu"] / done * 1e6, "client_us": found["client-cpu"] / done * 1e6,
            "p50_us": found["latency-us"]["p50"], "p99_us": found["latency-us"]["p99"],
            "parts_us": {part: seconds * share / done * 1e6 for part, seconds in used.items()}}


def crowd(server, handshakes, *words):
    """Clients that all begin at once: bench/crowd's figures, with CPU microseconds for each."""
    cpu = Cpu(server)
    figures = command_json("crowd", "--port", server.port, "--handshakes", handshakes, *words)
    return figures | {"cpu_us": sum(cpu.read().values()) / figures["handshakes"] * 1e6}
