# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handshakes: rates, latency, many at once, memory, thousands of certificates."""

import contextlib
import datetime
import subprocess
import time

import quota
from measuring import crowd as crowd_of
from measuring import load, say
from processes import (cpu_seconds, first_line, kernel_memory_kib, memory_kib, settle, start, stop,
                       without_huge_pages)
from servers import (BENCH, Daemon, FileServer, GnutlsServ, Hitch, Nginx, RateServer, Serve, Stunnel)

ONE_THREAD = ("--threads", 1)
UNTIL_CLOSE = ("--until", "close")
UNTIL_RESPONSE = ("--until", "response")
# So little that two workers, what else a handshake takes and its load fit on two processors.
HELD_TO = 0.1


def rates(bench, daemon, kind):
    """Full TLS 1.3 handshakes, and how long one takes alone. The server closes after each."""
    bench.group(f"full TLS 1.3 handshakes, {kind}, as a program makes them")
    handshakes = 50 if bench.quick else 300 if bench.where == "guest" else 2000 if kind == "ecdsa" else 1000
    for number, mode in bench.rounds(("gnutls", "listen", "handshake"), warm_up=False):
        server = RateServer(bench.place, mode, daemon, kind)
        many = load(server, handshakes, 16, *ONE_THREAD, *UNTIL_CLOSE)
        alone = load(server, max(handshakes // 8, 20), 1, *ONE_THREAD, *UNTIL_CLOSE)
        server.stop()
        bench.keep(f"rate-{kind}", mode, number, **many, alone_us=alone["p50_us"])


def resumed(bench, daemon, version):
    bench.group(f"resumed TLS {version} handshakes")
    for number, mode in bench.rounds(("gnutls", "listen"), warm_up=False):
        server = RateServer(bench.place, mode, daemon, version=version, tickets=True)
        figures = load(server, 100 if bench.quick else 2000, 16, "--kinds", "resumed", "--tls", version, *ONE_THREAD,
                       *UNTIL_CLOSE)
        server.stop()
        bench.keep(f"resumed-{version}", mode, number, **figures)


def requests(bench, daemon, kind):
    """What a user would take instead: a connection, a handshake, a small file, the end."""
    bench.group(f"a file of 1 KiB over a new connection each time, {kind}")
    place = bench.place
    place.index()
    makers = {
        "GnuTLS in process": lambda: FileServer(place, "gnutls", kind),
        "handshake serve": lambda: Serve(place, daemon, kind),
        "nginx": lambda: Nginx(place, "user", kind),
        "stunnel + nginx": lambda: Stunnel(place, kind),
        "hitch + nginx": lambda: Hitch(place, kind),
        "gnutls-serv": lambda: GnutlsServ(place, kind),
    }
    for number, name in bench.rounds(makers, warm_up=False):
        server = makers[name]()
        figures = load(server, 50 if bench.quick else 600 if kind == "ecdsa" else 300, 16, *ONE_THREAD, *UNTIL_RESPONSE)
        alone = load(server, 20 if bench.quick else 100, 1, *ONE_THREAD, *UNTIL_RESPONSE)
        server.stop()
        bench.keep(f"requests-{kind}", name, number, **figures, alone_us=alone["p50_us"])


def workers(bench):
    """One worker against two. The load takes processors of the same machine, so that two workers have hardly more
    than one had; held to a share of a processor each, they have twice as much."""
    bench.group("two workers against one")
    two_workers(bench, "workers", 64)
    if quota.parent():
        bench.group(f"the same, each worker held to {HELD_TO} of a processor")
        two_workers(bench, "workers-held", 32, HELD_TO)
    else:
        say("        no control groups for the processor (cgroups, by root): no worker is held to a share of one")


def two_workers(bench, group, at_once, share=None):
    daemons = {"1 worker": Daemon(bench.place), "2 workers": Daemon(bench.place, workers=2)}
    pids = [pid for daemon in daemons.values() for pid, part in daemon.parts.items() if part == "worker"]
    with quota.held(pids, share) if share else contextlib.nullcontext():
        for number, name in bench.rounds(daemons, warm_up=False):
            server = RateServer(bench.place, "listen", daemons[name])
            figures = load(server, 200 if bench.quick else 1000 if share else 3000, at_once, *UNTIL_CLOSE)
            server.stop()
            bench.keep(group, name, number, held_to=share, **figures)
    for daemon in daemons.values():
        daemon.stop()


def crowd(bench, daemon):
    """10,000 under way at once: 9,000 that begin together, and a tenth that says nothing, or not."""
    everybody = 500 if bench.quick else 10000
    silent = everybody // 10
    bench.group(f"{everybody} handshakes under way at once, a tenth silent")
    for number, name in bench.rounds(("nobody silent", "a tenth silent")):
        server = RateServer(bench.place, "listen", daemon)
        figures = crowd_of(server, everybody - silent, "--silent", silent if name == "a tenth silent" else 0)
        server.stop()
        bench.keep("crowd", name, number, **figures)


def memory(bench):
    """Of the daemon's processes, for each connection in a state: what so many more take when as many are held
    already, so that what was allocated once and is used again by all does not count. A daemon of its own each time,
    as memory that was used and freed would be used again."""
    bench.group("memory for each handshake under way and each established connection")
    count = 100 if bench.quick else 500 if bench.where == "guest" else 1000
    bench.place.index()
    # Only the last depends on who moves the records.
    states = ("established",) if bench.where == "guest" else ("silent", "hello", "established")
    for number, state in bench.rounds(states, warm_up=False):
        with without_huge_pages():
            daemon = Daemon(bench.place)
        server = Serve(bench.place, daemon) if state == "established" else RateServer(bench.place, "listen", daemon)
        # It holds them until its standard input ends.
        holder = start([BENCH / "hold", server.port, count, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        before, kernel_before = memory_held(daemon, holder)
        holder.stdin.write(b"more\n")
        holder.stdin.flush()
        after, kernel_after = memory_held(daemon, holder)
        if holder.poll() is not None:
            raise SystemExit("bench: hold has let its connections go before their memory was read")
        grown = {part: (after[part] - before[part]) / count for part in before}
        stop(holder)
        server.stop()
        daemon.stop()
        bench.keep("memory", state, number, count=count, parts_kib=grown, kib=sum(grown.values()),
                   kernel_kib=(kernel_after - kernel_before) / count)


def memory_held(daemon, holder):
    """When as many more are held and the daemon has come to rest."""
    first_line(holder, "hold")
    settle(daemon.parts)
    return memory_by_part(daemon), kernel_memory_kib()


def memory_by_part(daemon):
    parts = daemon.parts
    return {part: memory_kib(pid for pid in parts if parts[pid] == part) for part in sorted(set(parts.values()))}


def make_certificates(directory, count):
    """That many pairs, each with a name of its own, all with one key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
    directory.mkdir(mode=0o755)
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=30)))
    for number in range(count):
        certificate = (builder.serial_number(number + 1)
                       .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"host{number}.bench.test")]),
                                      critical=False)
                       .sign(key, hashes.SHA256()))
        (directory / f"{number}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path = directory / f"{number}.key"
        path.write_bytes(text)
        path.chmod(0o600)


def certificates(bench):
    """One certificate in a profile against thousands."""
    count = 200 if bench.quick else 10000
    bench.group(f"{count} certificates in one profile")
    counts = (1, count)
    for number in counts:
        make_certificates(bench.place.directory / f"certificates-{number}", number)
    time.sleep(2)
    for number, name in bench.rounds(counts):
        daemon = Daemon(bench.place, certificates=bench.place.directory / f"certificates-{name}")
        start_cpu = sum(cpu_seconds(pid) for pid in daemon.parts)
        server = RateServer(bench.place, "listen", daemon, profile="many")
        figures = crowd_of(server, 100 if bench.quick else 2000, "--names", name)
        server.stop()
        bench.keep("certificates", f"{name}", number, **figures, start_seconds=daemon.start_seconds, start_cpu=start_cpu,
                   count=name)
        daemon.stop()
