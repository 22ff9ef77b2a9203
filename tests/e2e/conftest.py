# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the tests from end to end. What a test usually takes:

    daemon        the running handshaked that the tests share, with the profiles of
                  daemon.standard_profiles(); .socket, .status(), .client(), .workers(), …
    make_daemon   a function that starts one of the test's own: make_daemon(profiles, options)
    client        a protocol.Client connected to `daemon`
    pki           the certificates, see pki.py
    record_path   "kernel" or "relay": the path that is expected to be taken in this run
    handshake     runs the handshake command: handshake("status", "--json") -> CompletedProcess;
                  handshake.start("serve", …) -> Popen, ended with the test
    build         the build directory (HANDSHAKE_BUILD)
    counted       a context in which a kernel's TLS counters must move (nothing with relay)
    covers        covers(item, version, role): what this test shows if it passes, see covers.py
    agent         a function that starts a daemon for the kernel's consumers: see upcall.agent()
    upcalls       is there where a test can be such a consumer: see upcall.py
    nfs_server    see nfs.py

Options: --records kernel|relay|auto, --covered FILE. Environment: HANDSHAKE_BUILD, HANDSHAKE_TEST_SLOW,
HANDSHAKE_LIBRARY (the library that Python loads; default: the plain build's).
"""

import contextlib
import functools
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import shutil

sys.dont_write_bytecode = True

import pytest

import covers as covers_module
import daemon as daemon_module
import nfs
import pki as pki_module
import upcall
from covers import covers
from scale import SLOW, die_with_parent, seconds

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("HANDSHAKE_BUILD", "build")
TCP_ULP = 31
_daemons = []


def pytest_addoption(parser):
    parser.addoption("--records", choices=("kernel", "relay", "auto"),
                     help="the record path of the shared profiles (default: kernel where the "
                          "running kernel has TLS, else relay)")
    parser.addoption("--sample", metavar="K/N",
                     help="of a test's cases only every Nth, from the Kth (0 to N-1) on, but at least "
                          "one: for kernels in an emulator. Runs with each K have them all.")
    covers_module.option(parser)


def kernel_has_tls():
    """Whether a TCP connection of this kernel takes the TLS upper layer protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
                return True
            except OSError:
                return False


def pytest_configure(config):
    # Some tests hold both ends of many connections.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    # Ended from outside, the fixtures still end what they started.
    # A shell's background job starts with SIGINT ignored, and all that it starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    config.kernel_has_tls = kernel_has_tls()
    config.records = config.getoption("--records") or (
        "kernel" if config.kernel_has_tls else "relay")


def pytest_report_header(config):
    return (f"handshake: build {BUILD}, records {config.records}, kernel {os.uname().release} "
            f"{'with' if config.kernel_has_tls else 'without'} TLS, waits x{SLOW:g}")


def sampled(items, text):
    """(those that stay, those that go)"""
    first, step = (int(number) for number in text.split("/"))
    if not 0 <= first < step:
        raise pytest.UsageError(f"--sample {text}: K/N is wanted, with K below N")
    cases = {}
    for item in items:
        cases.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    stay = {id(item) for group in cases.values()
            for item in group[first % len(group)::step]}
    return ([item for item in items if id(item) in stay],
            [item for item in items if id(item) not in stay])


def pytest_collection_modifyitems(config, items):
    if config.getoption("--sample"):
        items[:], gone = sampled(items, config.getoption("--sample"))
        config.hook.pytest_deselected(items=gone)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120 * SLOW))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    covers_module.note_report(item, report)
    for one in _daemons:
        new = one.new_log() if report.when != "teardown" or report.failed else ""
        if report.failed and new:
            report.sections.append((f"log of {one.directory}", new[-20000:]))


def pytest_terminal_summary(terminalreporter):
    """Why a test that then passed had to be run once more: nobody else tells."""
    for report in terminalreporter.stats.get("rerun", []):
        crash = getattr(report.longrepr, "reprcrash", None)
        why = f"{crash.path}:{crash.lineno}: {crash.message}" if crash else str(report.longrepr)
        terminalreporter.write_line(f"RERUN {report.nodeid}: {' '.join(why.split())}")


@pytest.fixture(scope="session")
def build():
    assert (BUILD / "bin" / "handshaked").exists(), f"nothing is built in {BUILD}: run make"
    return BUILD


@pytest.fixture(scope="session")
def records(request):
    """The value of the key `records` in the profiles."""
    if request.config.records == "kernel" and not request.config.kernel_has_tls:
        pytest.skip("this kernel has no TLS: run with --records relay, or in tests/vm/run")
    return request.config.records


@pytest.fixture(scope="session")
def record_path(request, records):
    if records == "auto":
        return "kernel" if request.config.kernel_has_tls else "relay"
    return records


@pytest.fixture(scope="session")
def kernel_records(record_path):
    if record_path != "kernel":
        pytest.skip("needs kernel records, this run has relay")


@pytest.fixture(scope="session")
def upcalls(kernel_records):
    """The device of kmod-tests/upcall, see upcall.py."""
    upcall.load_module("handshake_upcall")


@pytest.fixture
def agent(make_daemon, pki):
    return functools.partial(upcall.agent, make_daemon, pki)


@pytest.fixture(scope="module")
def nfs_server(kernel_records):
    if os.geteuid() != 0 or os.path.exists("/proc/fs/nfsd/threads"):
        pytest.skip("needs a guest of its own: this machine may have an NFS server")
    one = nfs.Server()
    yield one
    one.close()


@pytest.fixture
def relay_records(record_path):
    if record_path != "relay":
        pytest.skip("needs relay records, this run has the kernel's")


@pytest.fixture(scope="session")
def sanitizer_directory():
    # Workers run as another user and must be able to write their reports.
    path = pathlib.Path(tempfile.mkdtemp(prefix="sanitizer-"))
    path.chmod(0o777)
    yield path
    reports = daemon_module.sanitizer_reports(path)
    shutil.rmtree(path, ignore_errors=True)
    assert not reports, "\n".join(reports)


@pytest.fixture(autouse=True)
def sanitizers_are_silent(sanitizer_directory):
    yield
    reports = daemon_module.sanitizer_reports(sanitizer_directory,
                                              *(one.unscanned_log() for one in _daemons))
    for path in sanitizer_directory.glob("*san.*"):
        path.unlink()
    assert not reports, "\n".join(reports)[:20000]


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return pki_module.Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def shared_daemon(build, pki, records, sanitizer_directory):
    one = daemon_module.Daemon(build, sanitizer_directory,
                               daemon_module.standard_profiles(pki, records))
    _daemons.append(one)
    yield one
    status = one.stop()
    log = one.log()
    _daemons.remove(one)
    one.remove()
    reports = daemon_module.sanitizer_reports(sanitizer_directory, log)
    assert not reports, "\n".join(reports)[:20000]
    # None: no test has started it.
    assert status in (0, None), f"handshaked ended with {status} after SIGTERM: {log[-5000:]}"


@pytest.fixture
def daemon(shared_daemon):
    if not shared_daemon.alive:
        shared_daemon.start()
    yield shared_daemon
    assert shared_daemon.alive, "handshaked died in this test"


@contextlib.contextmanager
def daemon_maker(build, sanitizer_directory):
    made = []

    def make(profiles, options=None, start=True):
        one = daemon_module.Daemon(build, sanitizer_directory, profiles, options)
        made.append(one)
        _daemons.append(one)
        return one.start() if start else one

    yield make
    reports = []
    for one in made:
        one.stop()
        reports += daemon_module.sanitizer_reports(sanitizer_directory, one.log())
        for path in sanitizer_directory.glob("*san.*"):
            path.unlink()
        _daemons.remove(one)
        one.remove()
    assert not reports, "\n".join(reports)[:20000]


@pytest.fixture
def make_daemon(build, sanitizer_directory):
    """make_daemon(profiles, options={}, start=True): ended with the test."""
    with daemon_maker(build, sanitizer_directory) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_daemon(build, sanitizer_directory):
    """The same, for a daemon that a module's tests share."""
    with daemon_maker(build, sanitizer_directory) as make:
        yield make


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


class HandshakeCommand:
    def __init__(self, build, socket_path, sanitizer_directory):
        self.program = build / "bin" / "handshake"
        self.before = []  # a command that starts it, as nsenter
        self.environment = daemon_module.environment(sanitizer_directory)
        self.environment["HANDSHAKED_SOCKET"] = str(socket_path)
        self.started = []

    def __call__(self, *arguments, timeout=60, **options):
        """Runs to the end. Options as of subprocess.run."""
        options.setdefault("capture_output", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([*self.before, self.program, *map(str, arguments)],
                              env=self.environment, timeout=seconds(timeout), **options)

    def start(self, *arguments, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([*self.before, self.program, *map(str, arguments)],
                                   env=self.environment, start_new_session=True,
                                   preexec_fn=die_with_parent, **options)
        self.started.append(process)
        return process

    def end(self):
        for process in self.started:
            end_group(process)
        self.started = []


def end_group(process):
    """Ends a process that was started with start_new_session, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


@pytest.fixture
def handshake(build, daemon, sanitizer_directory):
    command = HandshakeCommand(build, daemon.socket, sanitizer_directory)
    yield command
    command.end()


@pytest.fixture(scope="module")
def module_handshake(build, shared_daemon, sanitizer_directory):
    """Like handshake, for servers that a module's tests share."""
    if not shared_daemon.alive:
        shared_daemon.start()
    command = HandshakeCommand(build, shared_daemon.socket, sanitizer_directory)
    yield command
    command.end()


def tls_statistics():
    """/proc/net/tls_stat; empty without kernel TLS."""
    try:
        lines = pathlib.Path("/proc/net/tls_stat").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, value in (line.split() for line in lines)}


@pytest.fixture
def counted(record_path):
    """with counted(): … fails unless the kernel's software TLS was used in both directions and
    decrypted everything. With relay records there is nothing to see."""
    @contextlib.contextmanager
    def context():
        before = tls_statistics()
        yield
        if record_path == "kernel":
            after = tls_statistics()
            assert after["TlsTxSw"] > before["TlsTxSw"], "no connection sent through the kernel"
            assert after["TlsRxSw"] > before["TlsRxSw"], "no connection received by the kernel"
            assert after["TlsDecryptError"] == before["TlsDecryptError"]
    return context


@pytest.fixture(scope="session")
def payload():
    """2 MiB that no compression makes smaller."""
    return os.urandom(2 << 20)


@pytest.fixture(scope="session")
def payload_file(payload, tmp_path_factory):
    path = tmp_path_factory.mktemp("payload") / "2MiB"
    path.write_bytes(payload)
    return path
