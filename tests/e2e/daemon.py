# SPDX-License-Identifier: LGPL-2.1-or-later
"""handshaked under test: its configuration, its process and its children, its counters."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import protocol
from scale import die_with_parent, milliseconds, seconds, wait_until

SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                   "runtime error:", "SUMMARY: ")


def environment(sanitizer_directory):
    """The environment of every program of the project that a test starts."""
    result = dict(os.environ)
    for variable, extra in (("ASAN_OPTIONS", ""), ("UBSAN_OPTIONS", ":print_stacktrace=1"),
                            ("TSAN_OPTIONS", ":second_deadlock_stack=1")):
        result[variable] = (f"{os.environ.get(variable, '')}:log_path={sanitizer_directory}/"
                            f"{variable.split('_')[0].lower()}{extra}")
    result.pop("HANDSHAKED_SOCKET", None)
    return result


def sanitizer_reports(directory, *logs):
    """What a sanitizer wrote: files of its own, or what a sandbox forced into the log."""
    found = [path.read_text(errors="replace") for path in sorted(directory.glob("*san.*"))]
    for log in logs:
        if any(word in log for word in SANITIZER_WORDS):
            found.append(log)
    return found


def configuration(profiles, options, kernel=None):
    """The text of a configuration. Values may be lists: the line then comes several times."""
    lines = []
    sections = [("daemon", options)] + ([("kernel", kernel)] if kernel else [])
    for title, pairs in sections + [(f"profile {n}", p) for n, p in profiles.items()]:
        lines.append(f"[{title}]")
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                lines.append(f"{key} = {one}")
        lines.append("")
    return "\n".join(lines)


def refusal(build, tmp_path, **lines):
    """What --check says of a configuration whose only profile has these keys, which it must refuse."""
    text = configuration(
        {"a": [(key.replace("_", "-"), value) for key, value in lines.items()]},
        {"user": "nobody"} if os.geteuid() == 0 else {})
    (tmp_path / "handshaked.conf").write_text(text)
    done = subprocess.run([build / "bin" / "handshaked", "--check", "--config",
                           tmp_path / "handshaked.conf"], capture_output=True, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout.decode()


def certificates(pki, *names):
    """Lines for certificate/private-key, as pairs."""
    lines = []
    for name in names:
        lines += [("certificate", pki.cert(name)), ("private-key", pki.key(name))]
    return lines


def profile(pki, records, *names, **extra):
    """A profile for everyone with these certificates, that trusts the root of the tests."""
    lines = dict(trust=pki.trust, allow="everyone", records=records,
                 timeout_ms=milliseconds(10000))
    lines.update(extra)
    return certificates(pki, *names) + [(key.replace("_", "-"), value)
                                        for key, value in lines.items() if value is not None]


def standard_profiles(pki, records):
    """The profiles of the daemon that most tests share."""
    def make(*names, **extra):
        return profile(pki, records, *names, **extra)
    crl = pki.revocation_list
    return {
        "default": make("ecdsa"),
        "ecdsa": make("ecdsa"),
        "rsa": make("rsa"),
        "ed25519": make("ed25519"),
        "client": make(role="client"),
        "client-revocation": make(role="client", revocation_list=crl),
        "client-ecdsa": make("client-ecdsa", role="client"),
        "client-rsa": make("client-rsa", role="client"),
        "client-ed25519": make("client-ed25519", role="client"),
        "client-untrusted": make("client-untrusted", role="client"),
        "client-other-trust": make(role="client", trust=pki.other_trust),
        "server": make("ecdsa", role="server"),
        "require": make("ecdsa", client_certificates="require"),
        "request": make("ecdsa", client_certificates="request"),
        "revocation": make("ecdsa", client_certificates="require", revocation_list=crl),
        "names": make("ecdsa", "second", "third", unknown_server_name="refuse"),
        "names-default": make("ecdsa", "second", "third",
                              unknown_server_name="default-certificate"),
        "alpn": make("ecdsa", alpn="h2, http/1.1", alpn_required="yes"),
        "alpn-optional": make("ecdsa", alpn="h2, http/1.1"),
        "tls13": make("ecdsa", min_version="TLS1.3"),
        "tls12": make("ecdsa", min_version="TLS1.2"),
        "aes-128-gcm": make("ecdsa", ciphers="AES-128-GCM"),
        "aes-256-gcm": make("ecdsa", ciphers="AES-256-GCM"),
        "chacha20": make("ecdsa", ciphers="CHACHA20-POLY1305"),
        "aes-128-ccm": make("ecdsa", ciphers="AES-128-CCM"),
        "server-order": make("ecdsa", ciphers="CHACHA20-POLY1305, AES-256-GCM, AES-128-GCM"),
        "client-order": make("ecdsa", ciphers="CHACHA20-POLY1305, AES-256-GCM, AES-128-GCM",
                             cipher_order="client"),
        "no-verification": make(role="client", insecure_no_verification="yes", trust=None),
        "only-root": make("ecdsa", allow="user:root"),
        "only-daemon": make("ecdsa", allow="user:daemon"),
        "only-group": make("ecdsa", allow="group:games"),
        "unallowed": make("ecdsa", allow=None),
        "early": make("ecdsa", "second", early_data=2048),
        "quick": make("ecdsa", timeout_ms=milliseconds(600)),
    }


class Daemon:
    """One handshaked. Everything of it lies below self.directory."""

    def __init__(self, build, sanitizer_directory, profiles, options=None):
        self.program = build / "bin" / "handshaked"
        self.before = []  # a command that starts it, as nsenter
        self.sanitizer_directory = sanitizer_directory
        # Not below pytest's own directory, which other users may not enter.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="handshaked-"))
        self.directory.chmod(0o755)
        self.socket = self.directory / "socket"
        self.config = self.directory / "handshaked.conf"
        self.log_path = self.directory / "log"
        self.log_seen = 0
        self.log_scanned = 0
        self.process = None
        self.profiles = dict(profiles)
        self.options = {"socket": self.socket, "socket-mode": "0666", "workers": 2, "relays": 1,
                        "log-level": "debug", "watch": "no", "stop-timeout-ms": milliseconds(5000)}
        if os.geteuid() == 0:
            self.options["user"] = "nobody"
        self.options.update(options or {})
        self.kernel = None  # the keys of [kernel]
        self.tlshd = None  # the path of a configuration of tlshd
        self.write()

    def write(self, text=None):
        """Writes the configuration: that of self.profiles and self.options, or another text."""
        if text is None:
            text = configuration(self.profiles, self.options, self.kernel)
        self.config.write_text(text)

    def start(self):
        self.spawn()
        wait_until(self._ready, 20, f"handshaked's readiness (its log: {self.log()})")
        return self

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.before, self.program, "--foreground", "--config", self.config,
                 *(["--tlshd-config", self.tlshd] if self.tlshd else [])],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
                preexec_fn=die_with_parent,
                env=environment(self.sanitizer_directory))

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"handshaked ended with {self.process.returncode}: {self.log()}")
        # The first worker answers before the last one runs.
        if self.options["log-level"] in ("debug", "info") and "serving on" not in self.log():
            return None
        try:
            with protocol.Client(self.socket) as client:
                return client.status()
        except (OSError, AssertionError):
            return None

    def client(self):
        return protocol.Client(self.socket)

    def status(self):
        with self.client() as client:
            return client.status()

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=20):
        return self.process.wait(seconds(timeout))

    def reload(self):
        """SIGHUP, and until the daemon has taken or refused the configuration. True: taken."""
        before = self.status()
        self.signal(signal.SIGHUP)

        def answered():
            now = self.status()
            return now if (now["reloads"], now["reloads-refused"]) != (
                before["reloads"], before["reloads-refused"]) else None

        return wait_until(answered, 20, "the reload")["reloads"] != before["reloads"]

    def stop(self):
        """Ends the daemon as an administrator would, and then whatever is left of it."""
        if self.process is None:
            return None
        status = None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(seconds(20))
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        return status

    def kill(self):
        """Ends the whole group at once, in whatever state it is."""
        children = self.children()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        # A worker that is about to die can still take a request.
        wait_until(lambda: not any(is_running(pid) for pid in children), 20, "the workers' end")

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- Its processes ----

    def children(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(stat[1]) == self.process.pid and stat[0] != "Z":
                    found.append(int(entry.name))
            except (OSError, IndexError):
                pass
        return sorted(found)

    def relays(self):
        return [pid for pid in self.children() if b"--relay" in _cmdline(pid)]

    def signers(self):
        return [pid for pid in self.children() if b"--signer" in _cmdline(pid)]

    def workers(self):
        return [pid for pid in self.children()
                if not any(word in _cmdline(pid) for word in (b"--relay", b"--signer"))]

    def descriptors(self, pids):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)

    def memory(self, pids):
        """Bytes of memory that are nobody else's; what workers share, as the store, is bounded."""
        total = 0
        for pid in pids:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Anonymous:"):
                    total += int(line.split()[1]) * 1024
        return total

    # ---- What it says ----

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def new_log(self):
        """What came since the last call."""
        text = self.log()
        new, self.log_seen = text[self.log_seen:], len(text)
        return new

    def unscanned_log(self):
        """The same, for whoever looks for a sanitizer's words in it."""
        text = self.log()
        new, self.log_scanned = text[self.log_scanned:], len(text)
        return new


def _cmdline(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def user_of(pid):
    uid = os.stat(f"/proc/{pid}").st_uid
    return pwd.getpwuid(uid).pw_name
