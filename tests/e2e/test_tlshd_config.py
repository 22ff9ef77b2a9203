# SPDX-License-Identifier: LGPL-2.1-or-later
"""A configuration of tlshd, read as it is: what of it serves the kernel, and what stops the start."""

import os
import subprocess

import pytest

import daemon as daemon_module
import nfs
import nvme
from netns import pair
from scale import seconds
from upcall import CLIENT, PSK, SERVER, UNAUTHENTICATED, X509, Upcall, exchange


def tlshd_file(directory, client=None, server=None, **debug):
    """The text that ktls-utils installs, with these values."""
    lines = ["#", "# See tlshd.conf(5) for details.", "#", "", "[debug]"]
    lines += [f"{key}={debug.get(key, 0)}" for key in ("loglevel", "tls", "nl")]
    lines += ["", "[authenticate]", "#keyrings= <keyring>;<keyring>;<keyring>"]
    for role, values in (("client", client), ("server", server)):
        lines += ["", f"[authenticate.{role}]"]
        lines += [f"x509.{key}= {value}" for key, value in (values or {}).items()]
    path = directory / "config"
    path.write_text("\n".join(lines) + "\n")
    return path


def material(pki, name=None, **more):
    pair = {"certificate": pki.cert(name), "private_key": pki.key(name)} if name else {}
    return {"truststore": pki.trust, **pair, **more}


@pytest.fixture
def directory(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def check(build, sanitizer_directory, directory):
    def run(path):
        own = directory / "handshaked.conf"
        own.write_text("[daemon]\n" + ("user = nobody\n" if os.geteuid() == 0 else "") +
                       f"socket = {directory}/socket\n")
        done = subprocess.run(
            [build / "bin" / "handshaked", "--check", "--config", own, "--tlshd-config", path],
            capture_output=True, text=True, timeout=seconds(60), stdin=subprocess.DEVNULL,
            env=daemon_module.environment(sanitizer_directory))
        return done.returncode, done.stdout + done.stderr
    return run


def test_what_it_names_is_looked_at(check, directory, pki, record_path):
    status, said = check(tlshd_file(
        directory, material(pki, "client-ecdsa", crl=pki.revocation_list),
        material(pki, "ecdsa", crl=pki.revocation_list)))
    for words in (f"[profile tlshd-client] trust {pki.trust}: 1 authority",
                  "[profile tlshd-client] revocation-list of",
                  f"[profile tlshd-client] private-key {pki.key('client-ecdsa')}: matches",
                  f"[profile tlshd-server] trust {pki.trust}: 1 authority",
                  "[profile tlshd-server] revocation-list of",
                  f"[profile tlshd-server] private-key {pki.key('ecdsa')}: matches"):
        assert any(line.startswith("ok ") and words in line for line in said.splitlines()), \
            (words, said)
    if record_path == "kernel": # elsewhere there is no handshake service
        assert status == 0, said
        assert "[kernel] nfs: [profile tlshd-client]" in said
        assert "[kernel] nfsd: [profile tlshd-server]" in said


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("key", ["truststore", "crl", "certificate", "private_key"])
@pytest.mark.parametrize("damage", ["absent", "garbage"])
def test_what_cannot_be_read_stops_the_start(check, directory, pki, role, key, damage):
    values = material(pki, "ecdsa", crl=pki.revocation_list)
    values[key] = directory / f"damaged.{key}"
    if damage == "garbage":
        values[key].write_bytes(b"\x00\x01 nothing of the kind\n")
        values[key].chmod(0o600)
    status, said = check(tlshd_file(directory, **{role: values}))
    assert status == 1
    # Where there is no kernel TLS, that is an error, too.
    errors = [line for line in said.splitlines()
              if line.startswith("error ") and str(values[key]) in line]
    assert errors and all(f"[profile tlshd-{role}]" in line for line in errors), said


@pytest.mark.parametrize("text, words", [
    ("[authenticate.client]\nx509.trusstore=/a\n", [":2:", '"x509.trusstore"', "x509.truststore"]),
    ("[authenticate.server]\nx509.verify=no\n", [":2:", '"x509.verify"']),
    ("[debug]\ntls=9\n", [":2:", "tls = 9", "handshake trace"]),
    ("[debug]\nnl=2\n", [":2:", "nl = 2"]),
    ("[main]\ndebug=1\n", [":1:", "[main]"]),
    ("[authenticate]\nkeyrings=.no-such-keyring\n", [".no-such-keyring", "no such keyring"]),
])
def test_what_cannot_be_kept_is_refused_by_name(check, directory, text, words):
    path = directory / "config"
    path.write_text(text)
    status, said = check(path)
    assert status == 1
    assert any(all(word in line for word in words) for line in said.splitlines()), said


def test_a_server_without_a_trust_store_is_told_of(check, directory, pki):
    said = check(tlshd_file(directory, server={"certificate": pki.cert("ecdsa"),
                                               "private_key": pki.key("ecdsa")}))[1]
    assert any(line.startswith("warning ") and "x509.truststore" in line and "mtls" in line
               for line in said.splitlines()), said


# ---- In the kernel ----

@pytest.fixture
def agent(kernel_records, make_daemon, directory):
    """A daemon that is told of the kernel by such a file alone."""
    def make(**roles):
        one = make_daemon({}, start=False)
        one.tlshd = tlshd_file(directory, **roles)
        return one.start()
    return make


def test_it_serves_consumers_with_pre_shared_keys(upcalls, agent):
    agent()
    with nvme.Keyring() as ring, pair() as (ours, theirs):
        serial, _ = ring.add(nvme.identity())
        with Upcall(theirs, SERVER, PSK, keyring=ring.serial) as answering, \
                Upcall(ours, CLIENT, PSK, "127.0.0.1", keyring=ring.serial,
                       identities=[serial]) as asking:
            assert asking.result() == ("ok", serial)
            assert answering.result() == ("ok", serial)
        exchange(ours, theirs)


@pytest.mark.parametrize("auth", [UNAUTHENTICATED, X509])
def test_it_serves_the_kernel_s_consumers(upcalls, agent, pki, auth):
    agent(client=material(pki, "client-ecdsa"), server=material(pki, "ecdsa"))
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as answering, \
                Upcall(ours, CLIENT, auth, "localhost") as asking:
            assert asking.result()[0] == "ok"
            status, identity = answering.result()
            assert status == "ok" and (identity != 0) == (auth == X509)
        exchange(ours, theirs)


def test_without_a_trust_store_no_client_is_believed(upcalls, agent, pki):
    """tlshd would take the certificate of any authority in the system's store."""
    agent(client=material(pki, "client-ecdsa"),
          server={"certificate": pki.cert("ecdsa"), "private_key": pki.key("ecdsa")})
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as answering, \
                Upcall(ours, CLIENT, X509, "localhost") as asking:
            assert asking.result()[0] == "ok"
            assert answering.result() == ("ok", 0)


def test_it_mounts_nfs(nfs_server, agent, pki, covers):
    one = agent(client=material(pki, "client-ecdsa", crl=pki.revocation_list),
                server=material(pki, "ecdsa", crl=pki.revocation_list))
    (nfs_server.export / "there").write_bytes(b"as under tlshd")
    with nfs_server.mounted("mtls") as path:
        assert (path / "there").read_bytes() == b"as under tlshd"
    assert one.status()["kernel-requests-failed"] == 0
    covers("NFS under a configuration of tlshd", "TLS1.3", "client")
    covers("NFS under a configuration of tlshd", "TLS1.3", "server")


def test_its_revocation_list_counts(nfs_server, agent, pki):
    agent(client=material(pki, "client-revoked"),
          server=material(pki, "ecdsa", crl=pki.revocation_list))
    with pytest.raises(nfs.MountFailed):
        with nfs_server.mounted("mtls"):
            pass
