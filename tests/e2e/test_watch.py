# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that the configuration names are reloaded when they change, without being asked."""

import os
import shutil
import time

import pytest

import daemon as daemon_module
import ocsp
from endpoint import CERTIFICATE_REVOKED, context
from pki import pem
from scale import SLOW, seconds, wait_until
from test_failures import refused
from test_ocsp import is_stapled, s_client, serve_once
from test_reload import served

WATCH = {"watch": "yes"}


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "tls"
    path.mkdir()
    return path


def put(pki, name, directory, file="web"):
    """Certificate and key of that name, replaced by rename as renewing programs do."""
    for source, ending in ((pki.cert(name), "pem"), (pki.key(name), "key")):
        new = directory / f".{file}.{ending}.new"
        shutil.copy(source, new)
        new.rename(directory / f"{file}.{ending}")
    # A load that begins within the clock's tick cannot tell which of both states it read, and is
    # followed by another.
    time.sleep(0.05)


def web(pki, records, directory, **extra):
    return [("certificate", directory / "web.pem"), ("private-key", directory / "web.key"),
            *daemon_module.profile(pki, records, **extra)]


@pytest.fixture
def one(make_daemon, pki, records, directory):
    put(pki, "ecdsa", directory)
    return make_daemon({"web": web(pki, records, directory)}, WATCH)


def becomes(one, pki, name, profile="web"):
    wait_until(lambda: served(one, pki, profile) == name, 20, f"the certificate {name}")


def stays(one):
    """Nothing is loaded for a while."""
    before = one.status()
    time.sleep(2 + SLOW / 4)
    after = one.status()
    for key in ("reloads", "reloads-refused", "generation"):
        assert after[key] == before[key], one.log()


def test_replaced_by_rename(one, pki, directory):
    assert served(one, pki) == "ecdsa"
    put(pki, "rsa", directory)
    becomes(one, pki, "rsa")
    put(pki, "ed25519", directory)
    becomes(one, pki, "ed25519")
    assert one.status()["reloads-refused"] == 0 or "is not the key of" in one.log()


def test_written_in_place(one, pki, directory):
    (directory / "web.key").write_bytes(pki.key("rsa").read_bytes())
    (directory / "web.pem").write_bytes(pki.cert("rsa").read_bytes())
    becomes(one, pki, "rsa")


def test_link_that_is_turned(make_daemon, pki, records, directory):
    """As certbot does, and as directories of secrets do: file -> current/file, current -> two."""
    for name in ("ecdsa", "rsa"):
        (directory / name).mkdir()
        put(pki, name, directory / name)
    (directory / "current").symlink_to("ecdsa")
    for file in ("web.pem", "web.key"):
        (directory / file).symlink_to(f"current/{file}")
    one = make_daemon({"web": web(pki, records, directory)}, WATCH)
    assert served(one, pki) == "ecdsa"
    (directory / "next").symlink_to("rsa")
    (directory / "next").rename(directory / "current")
    becomes(one, pki, "rsa")
    # What the link leads to lies in another directory, and counts as well.
    put(pki, "ed25519", directory / "rsa")
    becomes(one, pki, "ed25519")


def test_bad_state_keeps_the_old_and_is_tried_again(one, pki, directory):
    shutil.copy(pki.key("rsa"), directory / "web.key")
    wait_until(lambda: one.status()["reloads-refused"] == 1, 20, "the refusal")
    assert "is not the key of certificate" in one.log()
    assert served(one, pki) == "ecdsa"
    stays(one)
    shutil.copy(pki.cert("rsa"), directory / "web.pem")
    becomes(one, pki, "rsa")
    assert one.status()["reloads"] >= 1


def test_permissions_that_are_mended(one, pki, directory):
    put(pki, "rsa", directory)
    becomes(one, pki, "rsa")
    (directory / "web.key").chmod(0o644)
    wait_until(lambda: one.status()["reloads-refused"] >= 1, 20, "the refusal")
    assert "everybody on this machine may use the file" in one.log()
    (directory / "web.key").chmod(0o600)
    before = one.status()["reloads"]
    wait_until(lambda: one.status()["reloads"] > before, 20, "the reload")


def test_directory_that_is_replaced(one, pki, directory):
    directory.rename(directory.with_name("old"))
    wait_until(lambda: one.status()["reloads-refused"] == 1, 20, "the refusal")
    assert served(one, pki) == "ecdsa"
    directory.mkdir()
    put(pki, "rsa", directory)
    becomes(one, pki, "rsa")
    put(pki, "ed25519", directory)
    becomes(one, pki, "ed25519")


def test_other_files_are_not_ours(one, directory):
    (directory / "web.csr").write_text("something else")
    (directory / "web.csr").unlink()
    for n in range(200):
        (directory / f"{n}").touch()
    stays(one)


def test_no_watch(make_daemon, pki, records, directory):
    put(pki, "ecdsa", directory)
    one = make_daemon({"web": web(pki, records, directory)}, {"watch": "no"})
    put(pki, "rsa", directory)
    stays(one)
    assert served(one, pki) == "ecdsa"
    assert one.reload()
    becomes(one, pki, "rsa")


def test_watching_is_the_default(make_daemon, pki, records, directory):
    put(pki, "ecdsa", directory)
    one = make_daemon({"web": web(pki, records, directory)}, start=False)
    del one.options["watch"]
    one.write()
    one.start()
    put(pki, "rsa", directory)
    becomes(one, pki, "rsa")


def test_reload_by_signal_goes_on(one, pki, records, directory):
    """The files are watched that the new configuration names."""
    other = directory / "other"
    other.mkdir()
    put(pki, "second", other)
    one.profiles["web"] = web(pki, records, other)
    one.write()
    assert one.reload()
    wait_until(lambda: one.status()["generation"] == 2, 20, "the new generation")
    before = one.status()["reloads"]
    put(pki, "ecdsa", other)
    becomes(one, pki, "ecdsa")
    # It is counted when all is done, and served a moment before.
    wait_until(lambda: one.status()["reloads"] > before, what="its count")
    time.sleep(2)
    put(pki, "rsa", directory)
    stays(one)


def test_staple_is_renewed(make_daemon, pki, records, directory, covers):
    put(pki, "ecdsa", directory)
    staple = directory / "web.ocsp"
    certificate = pki.certificates["ecdsa"]
    staple.write_bytes(ocsp.response(pki, certificate, begins=-48, ends=-1))
    profile = web(pki, records, directory)
    profile.insert(2, ("staple", staple))
    one = make_daemon({"web": profile}, WATCH)
    assert not is_stapled(serve_once(one, "web", s_client(pki, "TLS1.3"))[1])
    new = directory / "new"
    new.write_bytes(ocsp.response(pki, certificate))
    new.rename(staple)
    for version in ("TLS1.3", "TLS1.2"):
        wait_until(lambda v=version: is_stapled(serve_once(one, "web", s_client(pki, v))[1]), 20,
                   "the new staple")
        covers("OCSP stapling: refreshed when the file changes", version, "server")
    assert one.status()["staples-not-sent"] == 0
    # A bad one is not taken, and the good one goes on.
    staple.write_bytes(b"nonsense")
    wait_until(lambda: one.status()["reloads-refused"] >= 1, 20, "the refusal")
    assert is_stapled(serve_once(one, "web", s_client(pki, "TLS1.3"))[1])


def test_revocation_list_is_renewed(make_daemon, pki, records, directory):
    revoked = directory / "revoked.crl"
    revoked.write_bytes(pem(pki.intermediate.revoke([]), pki.root.revoke([])))
    one = make_daemon({"web": daemon_module.profile(
        pki, records, "ecdsa", client_certificates="require", revocation_list=revoked)}, WATCH)
    new = directory / "new"
    shutil.copy(pki.revocation_list, new)
    before = one.status()["reloads"]
    new.rename(revoked)
    wait_until(lambda: one.status()["reloads"] > before, 20, "the reload")
    with one.client() as client:
        made = context("client", pki.trust, pki.cert("client-revoked"), pki.key("client-revoked"),
                       version="TLS1.3")
        refused(one, client, "server", made, "verification", {CERTIFICATE_REVOKED}, "sent",
                profile="web")


def test_busy_directory_costs_little(one, pki, directory):
    """Somebody writes there all the time: that wakes the supervisor a few times a second at most, and
    a change is seen all the same."""
    def cpu():
        with open(f"/proc/{one.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, end, changed = cpu(), time.time() + 5, False
    while time.time() < end:
        for _ in range(50):
            (directory / "noise").write_text("noise")
        if not changed and time.time() > end - 4:
            put(pki, "rsa", directory)
            changed = True
    assert cpu() - before < seconds(1)
    becomes(one, pki, "rsa")
