# SPDX-License-Identifier: LGPL-2.1-or-later
"""Private keys that do not leave their PKCS#11 token. SoftHSM is the token, below the test's directory."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import pytest

import daemon as daemon_module
from scale import milliseconds, seconds, wait_until
from test_signer import established

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
SPY = "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so"
MODULE = next((path for path in MODULES if os.path.exists(path)), None)
PIN = "98765432"
pytestmark = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None, reason="there is no SoftHSM")


class Token:
    """One token with the key of each kind of certificate, for the user that the signer becomes."""

    def __init__(self, directory, pki, kinds=("ecdsa", "rsa")):
        self.directory = directory
        directory.chmod(0o755)
        (directory / "tokens").mkdir()
        config = directory / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n"
                          "log.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(config)}
        self._run("--init-token", "--free", "--label", "web", "--so-pin", "12345678")
        for number, kind in enumerate(kinds, 1):
            self._run("--import", pki.key(kind), "--token", "web", "--label", kind, "--id",
                      f"{number:02x}")
        self.pin_file = directory / "pin"
        self.set_pin(PIN)
        if os.geteuid() == 0:
            self.give("nobody")

    def _run(self, *arguments):
        subprocess.run(["softhsm2-util", "--module", MODULE, *arguments, "--pin", PIN], check=True,
                       capture_output=True, env=dict(os.environ, **self.environment))

    def give(self, user):
        entry = pwd.getpwnam(user)
        for path in [self.directory / "tokens", *(self.directory / "tokens").rglob("*")]:
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def set_pin(self, pin, mode=0o600):
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(mode)

    @staticmethod
    def url(kind, more=""):
        return f"pkcs11:token=web;object={kind};type=private{more}"


@pytest.fixture
def token(pki, monkeypatch):
    # Not below pytest's own directory, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="token-") as directory:
        one = Token(pathlib.Path(directory), pki)
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        yield one


@pytest.fixture
def profile(pki, records, token):
    def make(kind, url=None, pin=True, **extra):
        lines = [("certificate", pki.cert(kind)), ("private-key", url or token.url(kind))]
        if pin:
            lines.append(("pin-file", token.pin_file))
        return lines + daemon_module.profile(pki, records, timeout_ms=milliseconds(20000), **extra)
    return make


@pytest.fixture
def spy(token, monkeypatch):
    """A module that writes down what the token is asked: (its options, the number of log-ins)."""
    if not os.path.exists(SPY):
        return {}, lambda: 1
    output = token.directory / "spy"
    monkeypatch.setenv("PKCS11SPY", MODULE)
    monkeypatch.setenv("PKCS11SPY_OUTPUT", str(output))
    # It loses some bytes itself.
    (token.directory / "leaks").write_text("leak:pkcs11-spy.so\n")
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={token.directory}/leaks:print_suppressions=0")
    return {"pkcs11-module": SPY}, lambda: output.read_text().count(": C_Login")


OPTIONS = {"pkcs11-module": MODULE, "workers": 1}


def refusal(make_daemon, profiles, options=None):
    """What a daemon says that does not start."""
    one = make_daemon(profiles, dict(OPTIONS, **(options or {})), start=False)
    one.spawn()
    assert one.process.wait(seconds(30)) == 1, one.log()
    return one.log()


@pytest.mark.parametrize("version", ("TLS1.3", "TLS1.2"))
def test_keys_on_a_token_sign(make_daemon, profile, pki, version, covers):
    one = make_daemon({"rsa": profile("rsa"), "ecdsa": profile("ecdsa")}, OPTIONS)
    with one.client() as client:
        for _ in range(5):
            for kind in ("rsa", "ecdsa"):
                assert established(client, pki, kind, version)["version"] == version
    assert "some on tokens" in one.log()
    covers("Private key on a PKCS#11 token", version, "server")


def test_the_systems_modules_and_a_pin_source_in_the_url(make_daemon, profile, token, pki):
    if not os.path.exists("/usr/share/p11-kit/modules/softhsm2.module"):
        pytest.skip("SoftHSM is no module of p11-kit's here")
    url = token.url("ecdsa", f"?pin-source=file:{token.pin_file}")
    one = make_daemon({"ecdsa": profile("ecdsa", url, pin=False)}, {"workers": 1})
    with one.client() as client:
        established(client, pki, "ecdsa")


def test_files_and_tokens_together(make_daemon, profile, pki, records):
    one = make_daemon({"rsa": profile("rsa"),
                       "ed25519": daemon_module.profile(pki, records, "ed25519")}, OPTIONS)
    with one.client() as client:
        established(client, pki, "rsa")
        established(client, pki, "ed25519")


def test_a_wrong_pin_is_refused_in_one_sentence_and_tried_once(make_daemon, profile, token, spy):
    token.set_pin("00000000")
    options, log_ins = spy
    said = refusal(make_daemon, {"rsa": profile("rsa"), "ecdsa": profile("ecdsa")}, options)
    lines = [line for line in said.splitlines() if "error: " in line]
    assert len(lines) == 1, said
    assert f'the PIN in "{token.pin_file}" is wrong for token "web"' in lines[0]
    assert token.url("rsa") in lines[0] or token.url("ecdsa") in lines[0]
    assert log_ins() == 1


def test_a_reload_with_a_wrong_pin_changes_nothing(make_daemon, profile, token, pki):
    one = make_daemon({"rsa": profile("rsa")}, OPTIONS)
    token.set_pin("00000000")
    wait_until(lambda: one.status()["reloads-refused"] > 0 or not one.reload(), 20, "a refusal")
    assert "the reload is refused" in one.log() and "is wrong for token" in one.log()
    with one.client() as client:
        established(client, pki, "rsa")
    assert len(one.signers()) == 1
    token.set_pin(PIN)
    assert one.reload()
    with one.client() as client:
        established(client, pki, "rsa")


def test_a_signer_with_a_token_is_replaced_but_not_with_a_wrong_pin(make_daemon, profile, token, pki):
    one = make_daemon({"rsa": profile("rsa")}, OPTIONS)
    os.kill(one.signers()[0], signal.SIGKILL)
    wait_until(lambda: one.status()["signers-died"] == 1, 20, "the death")
    with one.client() as client:
        established(client, pki, "rsa")
    token.set_pin("00000000")
    os.kill(one.signers()[0], signal.SIGKILL)
    wait_until(lambda: "not tried again before a reload" in one.log(), 20, "the log's word")
    assert one.signers() == []
    token.set_pin(PIN)
    assert one.reload()
    with one.client() as client:
        established(client, pki, "rsa")


BAD = {
    "no such key": (lambda t: t.url("nobody"), "no token has such a private key"),
    "no such token": (lambda t: "pkcs11:token=none;object=rsa;type=private",
                      "no token has such a private key"),
    "pin-value": (lambda t: t.url("rsa", "?pin-value=98765432"), "pin-value shows the PIN"),
    "pin-source and pin-file": (lambda t: t.url("rsa", "?pin-source=file:/etc/pin"),
                                "remove one"),
    "no URL": (lambda t: "pkcs11:%zz", "is no PKCS#11 URL"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_urls_are_refused(case, make_daemon, profile, token):
    url, words = BAD[case]
    said = refusal(make_daemon, {"rsa": profile("rsa", url(token))})
    assert words in said, said
    assert "98765432" not in said


def test_a_missing_pin_and_one_that_others_can_read(make_daemon, profile, token):
    said = refusal(make_daemon, {"rsa": profile("rsa", pin=False)})
    assert "asks for a PIN" in said, said
    token.set_pin(PIN, 0o644)
    said = refusal(make_daemon, {"rsa": profile("rsa")})
    assert "chmod 600 it" in said, said
    token.pin_file.unlink()
    said = refusal(make_daemon, {"rsa": profile("rsa")})
    assert "cannot be opened" in said, said


def test_a_module_that_is_none(make_daemon, profile, token, tmp_path):
    (tmp_path / "none.so").write_text("no library")
    said = refusal(make_daemon, {"rsa": profile("rsa")}, {"pkcs11-module": tmp_path / "none.so"})
    assert "pkcs11-module" in said and "cannot be used" in said, said


def test_the_key_of_another_certificate(make_daemon, profile, token):
    said = refusal(make_daemon, {"rsa": profile("rsa", token.url("ecdsa"))})
    assert "is not the key of certificate" in said, said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_token_of_another_user_needs_signer_user(make_daemon, profile, token, pki):
    token.give("root")
    for path in (token.directory / "tokens").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (token.directory / "tokens").chmod(0o700)
    said = refusal(make_daemon, {"rsa": profile("rsa")})
    assert "set signer-user in [daemon]" in said, said
    one = make_daemon({"rsa": profile("rsa")}, dict(OPTIONS, **{"signer-user": "root"}))
    with one.client() as client:
        established(client, pki, "rsa")


@pytest.mark.parametrize("pin,status,words", (
    (PIN, 0, "private-key"), ("00000000", 1, "is wrong for token")))
def test_check_looks_at_tokens(pin, status, words, build, sanitizer_directory, profile, token,
                               tmp_path, spy):
    token.set_pin(pin)
    options, log_ins = spy
    options = {"socket": tmp_path / "socket", "pkcs11-module": MODULE, **options}
    if os.geteuid() == 0:
        options["user"] = "nobody"
    config = tmp_path / "handshaked.conf"
    config.write_text(daemon_module.configuration(
        {"a": profile("rsa"), "b": profile("ecdsa")}, options))
    done = subprocess.run([build / "bin" / "handshaked", "--check", "--config", config],
                          capture_output=True, text=True, timeout=seconds(60), check=False,
                          env=daemon_module.environment(sanitizer_directory))
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert words in said, said
    assert status == 0 or log_ins() == 1
