# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds of measurements: whose turn it is, what is kept of it, and how far it all has come."""

import json
import subprocess
import sys
import time

from processes import cpu_seconds
from servers import BENCH

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


def command_json(name, *words):
    """A program of bench/ and what it prints."""
    done = subprocess.run([str(word) for word in (BENCH / name, *words)], capture_output=True, text=True, check=False,
                          timeout=600, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"bench: {name} {' '.join(map(str, words))}: status {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


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


def load(server, handshakes, concurrency, *words):
    """Handshakes with a server: the load's figures, with CPU microseconds by part for each of them."""
    cpu = Cpu(server)
    figures = command_json("rate-load", "--port", server.port, "--handshakes", handshakes, "--concurrency",
                           concurrency, *words)
    figures["parts_us"] = {part: seconds / figures["handshakes"] * 1e6 for part, seconds in cpu.read().items()}
    figures["cpu_us"] = sum(figures["parts_us"].values())
    figures["per_second"] = figures["handshakes"] / figures["seconds"]
    del figures["server_cpu"]
    return figures
