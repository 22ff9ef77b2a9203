# SPDX-License-Identifier: LGPL-2.1-or-later
"""handshaked --check: everything that a start would need, and one sentence about what is wrong."""

import os
import subprocess

import pytest

import daemon as daemon_module
from scale import seconds, wait_until


@pytest.fixture
def directory(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def check(build, sanitizer_directory, directory):
    """check(text) -> (exit status, everything that was said)."""
    def run(text, *arguments):
        path = directory / "handshaked.conf"
        if text is not None:
            path.write_text(text)
        done = subprocess.run([build / "bin" / "handshaked", "--check", "--config", path,
                               *arguments], capture_output=True, text=True, timeout=seconds(60),
                              stdin=subprocess.DEVNULL, env=daemon_module.environment(
                                  sanitizer_directory))
        return done.returncode, done.stdout + done.stderr
    return run


@pytest.fixture
def good(pki, records, directory):
    options = {"socket": directory / "socket", "socket-mode": "0666"}
    if os.geteuid() == 0:
        options["user"] = "nobody"
    return daemon_module.configuration(
        {"web": daemon_module.profile(pki, records, "ecdsa")}, options)


def line_of(text, word):
    for number, line in enumerate(text.splitlines(), 1):
        if word in line:
            return number
    raise AssertionError(word)


def test_good_configuration_passes(check, good):
    status, said = check(good)
    assert status == 0, said


def test_profiles_of_the_tests_pass(check, pki, records, good):
    status, said = check(daemon_module.configuration(
        daemon_module.standard_profiles(pki, records), {}) if os.geteuid() != 0 else
        daemon_module.configuration(daemon_module.standard_profiles(pki, records),
                                    {"user": "nobody"}))
    assert status == 0, said


def test_checking_starts_nothing(check, good, directory):
    assert check(good)[0] == 0
    assert not (directory / "socket").exists()


def test_checking_beside_a_running_daemon_passes(build, sanitizer_directory, daemon):
    done = subprocess.run([build / "bin" / "handshaked", "--check", "--config", daemon.config],
                          capture_output=True, text=True, timeout=seconds(60),
                          env=daemon_module.environment(sanitizer_directory))
    assert done.returncode == 0, done.stderr
    assert daemon.status()


# What is added to the good configuration's end (into its profile), or replaced in it; and the words
# that the sentence must have. The line is that of the first of them that is in the file.
WORDS = {
    "unknown section": ("+[prolife mail]\nrole = server", ["[prolife mail]", "[profile"]),
    "unknown key of a profile": ("+certifcate = x.pem", ["certifcate", '"certificate"']),
    "unknown key of the daemon": ("socket-mode=socket-mod", ["socket-mod", '"socket-mode"']),
    "unknown records": ("+records = kernle", ["kernle"]),
    "unknown role": ("+role = sever", ["sever", '"server"']),
    "unknown version": ("+min-version = TLS1.1", ["TLS1.1", "TLS1.2"]),
    "unknown cipher": ("+ciphers = AES-128-GMC", ["AES-128-GMC", '"AES-128-GCM"']),
    "unknown cipher order": ("+cipher-order = sever", ["sever", '"server"']),
    "unknown client certificates": ("+client-certificates = requier", ["requier", '"require"']),
    "unknown choice for unknown names": ("+unknown-server-name = refues", ["refues", '"refuse"']),
    "timeout that is no number": ("+timeout-ms = soon", ["soon", "number"]),
    "timeout of nothing": ("+timeout-ms = 0", ["timeout-ms"]),
    "timeout with a unit": ("+timeout-ms = 10s", ["10s", "number"]),
    "mode that is none": ("socket-mode = 0666=socket-mode = 9999", ["9999"]),
    "user that does not exist": ("+allow = user:no-such-user-here", ["no-such-user-here"]),
    "group that does not exist": ("+allow = group:no-such-group-here", ["no-such-group-here"]),
    "allow of something else": ("+allow = somebody", ["somebody", "user:NAME"]),
    "key without a value": ("+alpn =", ["alpn"]),
    "line that is no pair": ("+this is nonsense", ["this is nonsense"]),
    "key before any section": ("^trust = x", ["trust"]),
    "alpn required and none given": ("+alpn-required = yes", ["alpn"]),
    "overlong application protocol": ("+alpn = " + "a" * 100, ["alpn"]),
    "section twice": ("+[profile web]", ["profile web", "already"]),
}


@pytest.mark.parametrize("what", WORDS)
def test_wrong_word_is_told_with_its_line(what, check, good, directory):
    change, words = WORDS[what]
    if change[0] == "+":
        # What the profile has already would be a repetition.
        key = change[1:].split(" =")[0]
        text = "".join(line for line in good.splitlines(True)
                       if not line.startswith(key + " =")).rstrip("\n") + "\n" + change[1:] + "\n"
    elif change[0] == "^":
        text = change[1:] + "\n" + good
    else:
        old, new = (change.split("=") if change.count("=") == 1 else
                    ("socket-mode = 0666", "socket-mode = 9999"))
        text = good.replace(old, new)
    assert text != good
    status, said = check(text)
    assert status != 0, said
    for word in words:
        assert word in said, said
    assert str(directory / "handshaked.conf") + ":" in said, said
    number = len(text.splitlines()) if change[0] == "+" and what not in (
        "unknown section", "alpn required and none given") else None
    if number:
        assert f"handshaked.conf:{number}:" in said, said
    assert len(errors(said)) == 1, said


def errors(said):
    """A check tells line by line what is right too."""
    return [line for line in said.splitlines() if line.startswith("error")]


def replace_key(text, key, value):
    return "".join(f"{key} = {value}\n" if line.startswith(key + " =") else line
                   for line in text.splitlines(True))


def files(pki, directory):
    """What is wrong with a file: (key, path, words)."""
    text = directory / "text"
    text.write_text("no certificate at all\n")
    text.chmod(0o600)
    certificate_key = directory / "certificate.key"
    certificate_key.write_bytes(pki.cert("ecdsa").read_bytes())
    certificate_key.chmod(0o600)
    half = directory / "half.pem"
    half.write_bytes(pki.cert("ecdsa").read_bytes()[:300])
    empty = directory / "empty.pem"
    empty.touch()
    open_key = directory / "open.key"
    open_key.write_bytes(pki.key("ecdsa").read_bytes())
    open_key.chmod(0o644)
    protected = directory / "protected.key"
    subprocess.run(["openssl", "pkey", "-in", pki.key("ecdsa"), "-aes128", "-passout",
                    "pass:secret", "-out", protected], check=True)
    protected.chmod(0o600)
    return {
        "absent certificate": ("certificate", directory / "gone.pem"),
        "absent key": ("private-key", directory / "gone.key"),
        "absent trust": ("trust", directory / "gone-trust.pem"),
        "directory as certificate": ("certificate", directory),
        "text as certificate": ("certificate", text),
        "half a certificate": ("certificate", half),
        "empty certificate": ("certificate", empty),
        "expired certificate": ("certificate", pki.cert("expired")),
        "certificate that is not yet valid": ("certificate", pki.cert("not-yet")),
        "key as certificate": ("certificate", pki.key("ecdsa")),
        "text as key": ("private-key", text),
        "certificate as key": ("private-key", certificate_key),
        "key of another certificate": ("private-key", pki.key("second")),
        "key that everybody may read": ("private-key", open_key),
        "key with a passphrase": ("private-key", protected),
        "text as trust": ("trust", text),
        "empty trust": ("trust", empty),
    }


FILES = ("absent certificate", "absent key", "absent trust", "directory as certificate",
         "text as certificate", "half a certificate", "empty certificate", "expired certificate",
         "certificate that is not yet valid", "key as certificate", "text as key",
         "certificate as key", "key of another certificate", "key that everybody may read",
         "key with a passphrase", "text as trust", "empty trust")


@pytest.mark.parametrize("what", FILES)
def test_wrong_file_is_told_with_its_name(what, check, good, pki, directory):
    key, path = files(pki, directory)[what]
    text = replace_key(good, key, path)
    if what in ("expired certificate", "certificate that is not yet valid"):
        text = replace_key(text, "private-key", path.with_suffix(".key"))
    status, said = check(text)
    assert status != 0, said
    wrong, = errors(said)
    assert str(path) in wrong, said
    assert "web" in wrong or "handshaked.conf:" in wrong, "neither profile nor line is named"


@pytest.mark.parametrize("what", ("absent", "text", "certificate"))
def test_revocation_list_that_cannot_be_read_is_refused(what, check, good, pki, directory):
    """Fail closed: never 'without'."""
    path = {"absent": directory / "gone.crl", "text": directory / "text",
            "certificate": pki.cert("ecdsa")}[what]
    (directory / "text").write_text("no list\n")
    status, said = check(good + f"revocation-list = {path}\n")
    assert status != 0
    assert str(path) in said


def test_absent_configuration_is_told(check, directory):
    status, said = check(None)
    assert status != 0
    assert str(directory / "handshaked.conf") in said and "No such file" in said


@pytest.mark.parametrize("lines", (
    "client-certificates = require", "client-certificates = request"))
def test_client_certificates_need_trust(lines, check, good):
    text = "".join(line for line in good.splitlines(True) if not line.startswith("trust ="))
    status, said = check(text + lines + "\n")
    assert status != 0
    assert "trust" in said


def test_insecure_is_for_clients_alone(check, good):
    text = "".join(line for line in good.splitlines(True)
                   if not line.startswith(("trust =", "role =")))
    status, said = check(text + "role = server\ninsecure-no-verification = yes\n")
    assert status != 0
    assert "insecure-no-verification" in said


def test_kernel_records_on_a_kernel_without_tls_are_told(check, good, request):
    status, said = check(replace_key(good, "records", "kernel"))
    if request.config.kernel_has_tls:
        assert status == 0, said
    else:
        assert status != 0
        assert "kernel" in said


def test_the_kernel_s_consumers_are_looked_at(check, make_daemon, pki):
    """What a start finds out about [kernel], the check finds out too."""
    one = make_daemon({"host": daemon_module.profile(pki, "auto", "ecdsa", role="server")},
                      start=False)
    one.kernel = {"nfsd": "host"}
    one.write()
    status, said = check(one.config.read_text())
    assert "[kernel]" in said, said
    one.spawn()
    if status == 0:
        wait_until(lambda: "serving on" in one.log(), 20, "the start")
    else:
        assert one.wait() != 0 and "handshake" in one.log(), one.log()


def test_workers_as_root_are_refused(check, good):
    if os.geteuid() != 0:
        pytest.skip("matters to a daemon that is started as root")
    status, said = check(replace_key(good, "user", "root"))
    assert status != 0
    assert "root" in said


def test_start_refuses_what_the_check_refuses(make_daemon, pki, records):
    one = make_daemon({"web": daemon_module.profile(pki, records, "ecdsa", trust="/etc/passwd")},
                      start=False)
    one.spawn()
    assert one.wait(20) != 0
    assert "/etc/passwd" in one.log()
    assert not one.socket.exists()


@pytest.mark.parametrize("arguments", (["--frobnicate"], ["extra"], ["--config"]))
def test_wrong_usage_is_told(arguments, build, sanitizer_directory):
    done = subprocess.run([build / "bin" / "handshaked", *arguments], capture_output=True,
                          text=True, timeout=seconds(20), stdin=subprocess.DEVNULL,
                          env=daemon_module.environment(sanitizer_directory))
    assert done.returncode != 0
    assert arguments[0].lstrip("-") in done.stderr, done.stderr


def test_help_tells_every_option(build, sanitizer_directory):
    done = subprocess.run([build / "bin" / "handshaked", "--help"], capture_output=True, text=True,
                          timeout=seconds(20), env=daemon_module.environment(sanitizer_directory))
    assert done.returncode == 0
    for option in ("--config", "--check", "--foreground"):
        assert option in done.stdout
