# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the project wants to reach, whether it does, and where it does not, what the figures say is in the way."""

import statistics
from dataclasses import dataclass

from figures import number, size_name, spread

HARMLESS = {"open", "openat", "openat2", "stat", "fstat", "newfstatat", "statx", "lseek", "fcntl", "close",
            "fadvise64", "sendfile"}
SERVE, BARE, NGINX = "handshake serve", "bare kernel TLS", "nginx, kernel TLS"


@dataclass
class Goal:
    what: str
    wanted: str
    measured: str
    reached: bool
    why: str = ""  # what stands in the way


def listed(parts):
    return ", ".join(f"{part} {number(value)}" for part, value in parts.items() if value >= 0.5)


def rate(figures, group, what, least):
    ratios = figures.ratios("cpu_us", group, "machine", "gnutls", "listen")
    parts = figures.parts("parts_us", group, "machine", "listen")
    alone = figures.median("cpu_us", group, "machine", "gnutls")
    without = alone / (sum(parts.values()) - parts.get("relay", 0))
    why = (f"GnuTLS alone takes {number(alone)} µs of CPU for each; with the daemon: {listed(parts)} µs. Without the "
           f"relay, which is there because this kernel has no TLS, it would be {number(without)}.")
    if figures.of(group, "guest", "listen"):
        why += (" With kernel records, in the guest, which is emulated: "
                f"{spread(figures.ratios('cpu_us', group, 'guest', 'gnutls', 'listen'))}.")
    return Goal(what, f"at least {least} of GnuTLS in one process", spread(ratios), statistics.median(ratios) >= least,
                why)


def rates(figures):
    yield rate(figures, "rate-ecdsa", "full TLS 1.3, ECDSA P-256, per second of CPU, `listen`", 0.95)
    yield rate(figures, "rate-rsa", "the same, RSA-2048", 2.5)


def resumed(figures):
    yield rate(figures, "resumed-1.3", "resumed TLS 1.3", 0.9)
    yield rate(figures, "resumed-1.2", "resumed TLS 1.2", 0.7)


def latency(figures):
    for mode, most in (("handshake", 60), ("listen", 25)):
        added = [one - other for one, other in figures.pairs("alone_us", "rate-ecdsa", "machine", mode, "gnutls")]
        yield Goal(f"added latency of the hand-over, p50, one at a time, `{mode}`", f"below {most} µs",
                   spread(added) + " µs", statistics.median(added) < most,
                   f"a handshake alone takes {number(figures.median('alone_us', 'rate-ecdsa', 'machine', 'gnutls'))} "
                   "µs by GnuTLS in one process, from connect() to the server's close; here each connection passes "
                   "through program, signer and relay as well. What is added without the relay, and by whom, is in "
                   "bench/profile.md.")


def workers(figures):
    ratios = figures.ratios("per_second", "workers", "machine", "2 workers", "1 worker")
    one = figures.of("workers", "machine", "1 worker")
    processors = figures.conditions["machine"]["processors"]
    server, load = (statistics.median(run[key] for run in one) for key in ("cpu_us", "client_us"))
    worker = statistics.median(run["parts_us"]["worker"] for run in one)
    bound = max(1, processors * worker / (server + load))
    yield Goal("rate with two workers against one", "at least 1.8 on two free cores", spread(ratios),
               statistics.median(ratios) >= 1.8,
               f"this machine has {processors} processors in all, and a handshake takes {number(server + load)} µs of "
               f"them, {number(load)} for the load and {number(worker)} in the worker: however many workers there are, "
               f"the rate can be at most {number(bound)} times that of one.")


def workers_held(figures):
    held = figures.of("workers-held", "machine")[0]["held_to"]
    ratios = figures.ratios("per_second", "workers-held", "machine", "2 workers", "1 worker")
    costs = figures.ratios("cpu_us", "workers-held", "machine", "2 workers", "1 worker")
    yield Goal(f"the same, each worker held to {held} of a processor", "at least 1.8", spread(ratios),
               statistics.median(ratios) >= 1.8, f"a handshake costs {spread(costs)} times the CPU with two workers")


def big_sizes(figures, group, where="guest"):
    return [size for size in figures.sizes(group, where) if size >= 1 << 20]


def files(figures):
    for other, least in ((BARE, 0.97), (NGINX, 1.0)):
        by_size = {size: figures.ratios("mb_per_second", "files", "guest", SERVE, other, size)
                   for size in big_sizes(figures, "files")}
        costs = {size: figures.ratios("cpu_per_gb", "files", "guest", SERVE, other, size) for size in by_size}
        yield Goal(f"kernel sendfile through `handshake serve`, 1 MiB and larger, against {other}, MB/s",
                   f"at least {least}", "; ".join(f"{size_name(size)}: {spread(values)}"
                                                  for size, values in by_size.items()),
                   all(statistics.median(values) >= least for values in by_size.values()),
                   "CPU for each GB against it: " + "; ".join(f"{size_name(size)}: {spread(values)}"
                                                              for size, values in costs.items()) +
                   ". Where that is near 1 it is the emulator's spread that decides.")


def proof(figures):
    run = figures.of("proof", "guest", SERVE)[0]
    forbidden = sorted(set(run["touched"]) - HARMLESS)
    yield Goal("no byte of the file ever in the server's user space", "every byte by sendfile",
               f"of {size_name(run['size'])}, {number(run['by_sendfile'])} bytes by sendfile; by all other calls of the "
               f"server and the daemon {number(run['by_others'])} bytes; calls on the file: "
               f"{', '.join(sorted(run['touched']))}",
               run["by_sendfile"] == run["size"] and run["by_others"] < 1 << 16 and not forbidden,
               "the file was touched by " + ", ".join(forbidden))


def calls(figures):
    by_size = {size: figures.ratios("per_gb", "system-calls", "guest", SERVE, NGINX, size)
               for size in big_sizes(figures, "system-calls")}
    size = max(by_size, key=lambda size: statistics.median(by_size[size]))
    counts = {name: figures.of("system-calls", "guest", name, size)[-1]["calls"] for name in (SERVE, NGINX)}
    most = {name: sorted(calls.items(), key=lambda item: -item[1])[:7] for name, calls in counts.items()}
    yield Goal("system calls for each GB, against nginx with kernel TLS", "at most 1",
               "; ".join(f"{size_name(size)}: {spread(values)}" for size, values in by_size.items()),
               all(statistics.median(values) <= 1 for values in by_size.values()),
               f"one connection's calls with files of {size_name(size)}: " +
               "; ".join(f"{name}: {', '.join(f'{call} {count}' for call, count in calls)}"
                         for name, calls in most.items()))


def cost(figures):
    size = max(big_sizes(figures, "files"))
    ours = figures.median("cpu_per_gb", "files", "guest", SERVE, size)
    theirs = figures.median("cpu_per_gb", "files", "guest", "GnuTLS in process", size)
    in_kernel = figures.median("cpu_per_gb", "cipher", "guest", "kernel")
    in_user = figures.median("cpu_per_gb", "cipher", "guest", "gnutls")
    ratios = figures.ratios("cpu_per_gb", "files", "guest", SERVE, "GnuTLS in process", size)
    yield Goal(f"CPU for each GB, AES-128-GCM, {size_name(size)}, against GnuTLS in user space", "below 1",
               f"{spread(ratios)}: {number(ours)} against {number(theirs)} s", statistics.median(ratios) < 1,
               f"the kernel's cipher itself costs {number(in_kernel)} s, GnuTLS's {number(in_user)} s")
    rest = (ours - in_kernel) / (theirs - in_user)
    yield Goal("the same without the cipher's own cost", "at most 0.5",
               f"{number(rest)}: {number(ours - in_kernel)} against {number(theirs - in_user)} s", rest <= 0.5,
               f"with the cipher {number(ours)} against {number(theirs)} s, the cipher alone {number(in_kernel)} and "
               f"{number(in_user)} s")


def crowd(figures):
    ratios = figures.ratios("p99_us", "crowd", "machine", "a tenth silent", "nobody silent")
    runs = figures.of("crowd", "machine", "a tenth silent")
    lost = sum(run["failed"] for run in figures.of("crowd", "machine"))
    many = runs[0]["handshakes"] + runs[0]["failed"] + runs[0]["silent"]
    yield Goal(f"{many:,} handshakes under way at once, a tenth silent", "none lost; p99 of the others at most 2 times",
               f"{lost} lost; p99 {spread(ratios)} times", not lost and statistics.median(ratios) <= 2,
               f"p99 {number(statistics.median(run['p99_us'] for run in runs) / 1e6)} s, all beginning at once")


def memory(figures):
    under_way = figures.values("kib", "memory", "machine", "hello")
    yield Goal("memory for each handshake under way", "below 24 KiB", spread(under_way) + " KiB",
               statistics.median(under_way) < 24, listed(figures.parts("parts_kib", "memory", "machine", "hello")))
    established = figures.values("kib", "memory", "guest", "established")
    yield Goal("memory for each established connection, kernel records", "0", spread(established) + " KiB",
               statistics.median(established) < 0.1,
               listed(figures.parts("parts_kib", "memory", "guest", "established")))


def certificates(figures):
    many = max(figures.subjects("certificates", "machine"), key=int)
    times = figures.values("start_seconds", "certificates", "machine", many)
    yield Goal(f"{int(many):,} certificates in one profile: start", "below 3 s", spread(times) + " s",
               statistics.median(times) < 3,
               f"that is {number(statistics.median(times) / int(many) * 1e6)} µs for each; CPU of all processes until "
               f"then {spread(figures.values('start_cpu', 'certificates', 'machine', many))} s")
    ratios = figures.ratios("cpu_us", "certificates", "machine", many, "1")
    yield Goal("the same: cost of a handshake against one certificate", "not measurable", spread(ratios),
               min(ratios) <= 1, "even the lowest of the ratios is above 1")


# Each with the groups of figures that it needs: (group, where).
ALL = (
    (rates, (("rate-ecdsa", "machine"), ("rate-rsa", "machine"))),
    (resumed, (("resumed-1.3", "machine"), ("resumed-1.2", "machine"))),
    (latency, (("rate-ecdsa", "machine"),)),
    (workers, (("workers", "machine"),)),
    (workers_held, (("workers-held", "machine"),)),
    (files, (("files", "guest"),)),
    (proof, (("proof", "guest"),)),
    (calls, (("system-calls", "guest"),)),
    (cost, (("files", "guest"), ("cipher", "guest"))),
    (crowd, (("crowd", "machine"),)),
    (memory, (("memory", "machine"), ("memory", "guest"))),
    (certificates, (("certificates", "machine"),)),
)


def judged(figures):
    """Those goals of which the figures say something."""
    return [goal for judge, needs in ALL if all(figures.of(*need) for need in needs) for goal in judge(figures)]


def table(goals):
    lines = ["| what | goal | measured: median (lowest to highest) | |", "|---|---|---|---|"]
    for goal in goals:
        lines.append(f"| {goal.what} | {goal.wanted} | {goal.measured} | "
                     f"{'reached' if goal.reached else '**not reached**'} |")
    missed = [goal for goal in goals if not goal.reached and goal.why]
    if missed:
        lines += ["", "What stands in the way, by the same run:", ""]
        lines += [f"- **{goal.what}**: {goal.why}" for goal in missed]
    return "\n".join(lines) + "\n"
