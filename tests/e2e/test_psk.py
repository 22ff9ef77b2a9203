# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pre-shared keys: both roles and versions against OpenSSL and GnuTLS, from a file and from a keyring
of the kernel; and every way in which a key can be the wrong one."""

import contextlib
import ctypes
import os
import signal
import subprocess

import pytest

import daemon as daemon_module
import endpoint
import peers
from conversation import connected, gnutls_cli, gnutls_serv, s_client, s_server, served
from daemon import refusal
from scale import FULL

KEYS = {"alice": os.urandom(32).hex(), "bob": os.urandom(16).hex(),
        "NVMe0R01 nqn.2014-08.org.example:host nqn.2014-08.org.example:disk": os.urandom(48).hex(),
        "#00ff": os.urandom(32).hex()}
CASES = [("TLS1.3", None), ("TLS1.2", "DHE-PSK"), ("TLS1.2", "ECDHE-PSK"), ("TLS1.2", "PSK")]
each_case = pytest.mark.parametrize("version,exchange", CASES)
OPENSSL_12 = {"DHE-PSK": "DHE-PSK-AES256-GCM-SHA384", "ECDHE-PSK": "ECDHE-PSK-CHACHA20-POLY1305",
              "PSK": "PSK-AES128-GCM-SHA256"}


def write_keys(path, keys, mode=0o600):
    path.write_text("".join(f"{identity}:{key}\n" for identity, key in keys.items()))
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("psk")


@pytest.fixture(scope="module")
def keys(directory):
    return write_keys(directory / "keys", KEYS)


@pytest.fixture(scope="module")
def daemon(make_module_daemon, pki, records, keys, directory):
    def make(*names, **extra):
        return daemon_module.profile(pki, records, *names,
                                     **{"trust": None, "psk_file": keys, **extra})
    other = write_keys(directory / "other", {"alice": os.urandom(32).hex(),
                                             "eve": os.urandom(32).hex()})
    return make_module_daemon({
        "only": make(),
        "plain": make(insecure_psk_key_exchange="yes"),
        "alice": make(psk_identity="alice", role="client"),
        "beside": make("ecdsa", trust=pki.trust),
        "other": make(psk_file=other),
        "tls13": make(min_version="TLS1.3"),
        "certificate": daemon_module.profile(pki, records, "ecdsa"),
        "certificate-client": daemon_module.profile(pki, records, role="client"),
    })


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


def openssl_psk(identity, key, version, exchange):
    if version == "TLS1.3":
        return ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-psk_identity", identity,
                "-psk", key]
    return ["-tls1_2", "-cipher", OPENSSL_12[exchange], "-psk_identity", identity, "-psk", key]


def gnutls_priority(version, exchange):
    if version == "TLS1.3":
        return "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK"
    return f"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+{exchange}"


def profile_of(exchange):
    return "plain" if exchange == "PSK" else "only"


def assert_psk(reply, version, exchange, identity, record_path):
    assert reply["version"] == version
    assert reply["key-exchange"] in ((exchange,) if exchange else ("ECDHE-PSK", "HYBRID-PSK"))
    assert bool(reply.get("group")) == (exchange != "PSK")
    assert reply["psk-identity"] == identity
    assert reply["peer-authenticated"] == "yes"
    assert reply.get("peer-subject") is None and "chain" not in reply.fds
    assert reply["resumed"] == "no"
    assert reply["transmit"] == reply["receive"] == record_path


# ---- Who knows the key is let in ----

@each_case
def test_server_to_s_client(version, exchange, client, covers, record_path):
    with served(client, lambda port: s_client(port, *openssl_psk("alice", KEYS["alice"], version,
                                                                 exchange)),
                profile=profile_of(exchange)) as talk:
        talk.speak()
        assert_psk(talk.reply, version, exchange, "alice", record_path)
        covers("Pre-shared key", version, "server")


@each_case
def test_server_to_gnutls_cli(version, exchange, client, covers, record_path):
    with served(client, lambda port: gnutls_cli(port, gnutls_priority(version, exchange),
                                                "--pskusername", "bob", "--pskkey", KEYS["bob"]),
                profile=profile_of(exchange)) as talk:
        assert talk.reply.outcome == "established", talk.reply
        assert_psk(talk.reply, version, exchange, "bob", record_path)
        # gnutls-cli 3.7.9 dies of showing the group of a TLS 1.2 handshake with a key, whatever the
        # server.
        if exchange in ("DHE-PSK", "ECDHE-PSK") and talk.died(signal.SIGSEGV):
            pytest.skip("the handshake was good, but this gnutls-cli dies of it")
        talk.speak()
        covers("Pre-shared key", version, "server")


@each_case
def test_client_to_s_server(version, exchange, client, covers, record_path):
    with s_server("-nocert", *openssl_psk("alice", KEYS["alice"], version, exchange)) as server, \
            connected(client, server, profile=profile_of(exchange),
                      psk_identity="alice") as talk:
        talk.speak()
        assert_psk(talk.reply, version, exchange, "alice", record_path)
        covers("Pre-shared key", version, "client")


@each_case
def test_client_to_gnutls_serv(version, exchange, client, covers, keys, record_path):
    with gnutls_serv(gnutls_priority(version, exchange), "--pskpasswd", keys) as server, \
            connected(client, server, profile=profile_of(exchange), psk_identity="bob") as talk:
        talk.echo()
        assert_psk(talk.reply, version, exchange, "bob", record_path)
        covers("Pre-shared key", version, "client")


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_two_daemons_with_every_identity(version, client, daemon, record_path):
    """Bytes that cannot be printed, blanks and colons; our client to our server."""
    for identity in KEYS:
        ours, theirs = endpoint.tcp_pair()
        with ours, theirs, daemon.client() as second:
            number = client.start(ours, "server", profile="only" if version == "TLS1.2"
                                  else "tls13")
            reply = second.handshake(theirs, "client", profile="only", psk_identity=identity)
            assert reply.outcome == "established", reply
            other = client.reply(number)
            assert other.outcome == "established", other
            for one in (reply, other):
                assert one["psk-identity"] == identity
                assert one["peer-authenticated"] == "yes"


def test_profile_s_identity_is_taken(client, keys):
    with gnutls_serv(gnutls_priority("TLS1.3", None), "--pskpasswd", keys) as server, \
            connected(client, server, profile="alice") as talk:
        talk.echo()
        assert talk.reply["psk-identity"] == "alice"


def test_handshake_connect_takes_the_identity_that_is_asked_for(daemon, keys, build, client,
                                                               sanitizer_directory):
    with gnutls_serv(gnutls_priority("TLS1.3", None), "--pskpasswd", keys) as server:
        done = subprocess.run(
            [build / "bin" / "handshake", "connect", f"127.0.0.1:{server.port}", "--profile",
             "only", "--psk-identity", "bob", "--no-data", "--info"], capture_output=True,
            env={**daemon_module.environment(sanitizer_directory),
                 "HANDSHAKED_SOCKET": str(daemon.socket)}, check=False)
    assert done.returncode == 0, done.stderr
    assert b"psk-identity: bob" in done.stdout and b"peer-authenticated: yes" in done.stdout


# ---- Beside certificates ----

@pytest.mark.parametrize("version", peers.VERSIONS)
def test_key_beside_a_certificate_is_taken_by_who_offers_one(version, client, pki):
    with served(client, lambda port: s_client(port, *openssl_psk(
            "alice", KEYS["alice"], version, "DHE-PSK")), profile="beside") as talk:
        talk.speak()
        assert talk.reply["psk-identity"] == "alice"
    with served(client, lambda port: s_client(port, "-tls1_3" if version == "TLS1.3"
                                              else "-tls1_2", "-CAfile", pki.trust,
                                              "-verify_return_error"),
                profile="beside") as talk:
        talk.speak()
        assert talk.reply.get("psk-identity") is None
        assert talk.reply["peer-authenticated"] == "no"


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_unknown_key_is_never_exchanged_for_the_certificate(version, client):
    with served(client, lambda port: s_client(port, *openssl_psk(
            "mallory", KEYS["alice"], version, "DHE-PSK"), "-cipher", "ALL"),
                profile="beside") as talk:
        assert talk.reply.outcome == "poisoned", talk.reply
        assert talk.reply["alert"] == "unknown_psk_identity"


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_without_trust_takes_no_certificate_instead(version, client, pki):
    option = "-tls1_3" if version == "TLS1.3" else "-tls1_2"
    with s_server("-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                  pki.key("ecdsa"), option) as server, \
            connected(client, server, profile="alice", peer_name="localhost") as talk:
        assert talk.reply.outcome == "poisoned", talk.reply
    with s_server("-cert", pki.cert("ecdsa"), "-cert_chain", pki.cert("ecdsa"), "-key",
                  pki.key("ecdsa"), option) as server, \
            connected(client, server, profile="beside", peer_name="localhost",
                      psk_identity="alice") as talk:
        talk.speak()
        assert talk.reply.get("psk-identity") is None
        assert talk.reply["peer-sha256"] == pki.sha256("ecdsa")


def test_required_certificate_is_not_done_with_a_key(client):
    for version, outcome in (("TLS1.3", "poisoned"), ("TLS1.2", "poisoned")):
        with served(client, lambda port, v=version: s_client(port, *openssl_psk(
                "alice", KEYS["alice"], v, "DHE-PSK")), profile="beside",
                    client_certificates="require") as talk:
            assert talk.reply.outcome == outcome, talk.reply
            assert talk.reply.get("psk-identity") is None


def test_profile_of_keys_alone_serves_nobody_without_one(client):
    for version in ("-tls1_3", "-tls1_2"):
        with served(client, lambda port, v=version: s_client(port, v), profile="only") as talk:
            assert talk.reply.outcome == "poisoned"
            assert talk.reply["class"] == "negotiation", talk.reply


def test_certificate_profiles_know_no_keys(client):
    with served(client, lambda port: s_client(port, *openssl_psk(
            "alice", KEYS["alice"], "TLS1.2", "DHE-PSK")), profile="certificate") as talk:
        assert talk.reply.outcome == "poisoned"
        assert talk.reply["class"] == "negotiation"


# ---- The wrong identity, the wrong key ----

@pytest.mark.parametrize("version", peers.VERSIONS)
def test_unknown_identity_is_told_by_name_and_alert(version, client):
    identities = [("m\x1b[31m\u00fc", "#6d1b5b33316dc3bc"), ("alic", "alic"),
                  ("mallory", "mallory"), ("alice2", "alice2"), ("Alice", "Alice")]
    for identity, shown in identities if FULL else identities[:2]:
        with served(client, lambda port, i=identity: s_client(port, *openssl_psk(
                i, KEYS["alice"], version, "DHE-PSK")), profile="only") as talk:
            reply = talk.reply
            assert reply.outcome == "poisoned" and reply["class"] == "verification", reply
            assert reply["alert"] == "unknown_psk_identity" and reply["alert-number"] == "115"
            assert reply["alert-direction"] == "sent"
            assert f'identity "{shown}", which the profile "only" does not know' in reply["error"]
            assert talk.program.process.wait(endpoint.seconds(10)) != 0
            assert b"unknown psk identity" in talk.program.errors \
                or b"alert number 115" in talk.program.errors


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_wrong_key_is_told_with_its_identity(version, client):
    with served(client, lambda port: s_client(port, *openssl_psk(
            "alice", KEYS["bob"], version, "DHE-PSK")), profile="only") as talk:
        reply = talk.reply
        assert reply.outcome == "poisoned" and reply["class"] == "verification", reply
        assert reply["alert"] == ("decrypt_error" if version == "TLS1.3" else "bad_record_mac")
        assert 'does not have the pre-shared key of the identity "alice"' in reply["error"]


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_client_with_the_wrong_key_is_refused_by_the_server(version, client, keys):
    with gnutls_serv(gnutls_priority(version, "DHE-PSK"), "--pskpasswd", keys) as server, \
            connected(client, server, profile="other", psk_identity="alice") as talk:
        assert talk.reply.outcome == "poisoned"
        assert talk.reply["class"] in ("alert", "closed", "protocol"), talk.reply


def test_identity_that_a_program_may_not_take(client, pki):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        for fields, kind, says in (
                (dict(profile="only"), "request", "has 4 pre-shared keys; say which"),
                (dict(profile="only", psk_identity="mallory"), "request",
                 "psk-identity=mallory: the profile \"only\" has no key of this identity"),
                (dict(profile="only", psk_identity="#0g"), "request", "128 bytes are needed"),
                (dict(profile="alice", psk_identity="bob"), "denied", "says another one"),
                (dict(profile="certificate-client", psk_identity="bob", peer_name="localhost"),
                 "denied", "has no pre-shared keys")):
            reply = client.handshake(ours, "client", **fields)
            assert reply.outcome == "untouched" and reply["class"] == kind, reply
            assert says in reply["error"]
        reply = client.handshake(ours, "server", profile="only", psk_identity="alice")
        assert reply["class"] == "request" and "is for clients" in reply["error"]
        reply = client.handshake(ours, "server", profile="only", client_certificates="require")
        assert reply.outcome == "untouched" and reply["class"] == "denied"
        endpoint.assert_plain(ours, theirs)


# ---- The kernel's keyring ----

@contextlib.contextmanager
def keyring(keys):
    """A keyring of the tests' user that root's daemon finds by name."""
    name = f"handshake-test-{os.getpid()}"
    ring = command("keyctl", "newring", name, "@u").strip()
    try:
        for identity, key in keys.items():
            serial = command("keyctl", "padd", "user", identity, ring,
                             data=bytes.fromhex(key)).strip()
            # Whoever runs the tests has a session of its own; the daemon is of the same user.
            command("keyctl", "setperm", serial, "0x3f3f0000")
        command("keyctl", "setperm", ring, "0x3f3f0000")
        yield name, ring
    finally:
        command("keyctl", "unlink", ring, "@u")


def command(*arguments, data=None):
    done = subprocess.run([peers.needs(arguments[0]), *arguments[1:]], input=data,
                          capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout.decode()


@pytest.mark.parametrize("version", peers.VERSIONS)
def test_keys_of_a_keyring(version, make_daemon, pki, records, record_path, covers):
    with keyring({"carol": KEYS["alice"]}) as (name, ring):
        one = make_daemon({"default": daemon_module.profile(pki, records, trust=None,
                                                            psk_keyring=name)})
        with one.client() as client, served(client, lambda port: s_client(port, *openssl_psk(
                "carol", KEYS["alice"], version, "DHE-PSK"))) as talk:
            talk.speak()
            assert_psk(talk.reply, version, "DHE-PSK" if version == "TLS1.2" else None, "carol",
                       record_path)
        # A key that was added counts after a reload; one that no program can read refuses it.
        serial = command("keyctl", "padd", "user", "dave", ring,
                         data=bytes.fromhex(KEYS["bob"])).strip()
        command("keyctl", "setperm", serial, "0x3f3f0000")
        assert one.reload()
        with one.client() as client, served(client, lambda port: s_client(port, *openssl_psk(
                "dave", KEYS["bob"], version, "DHE-PSK"))) as talk:
            talk.speak()
        command("keyctl", "padd", "logon", "x:eve", ring, data=b"0123456789abcdef")
        assert not one.reload()
        assert "is of the type logon" in one.log()
        covers("Pre-shared key from a keyring", version, "server")


# ---- What the configuration says ----

def test_bad_files_and_settings_are_told(build, tmp_path, pki):
    file = tmp_path / "psk"
    for text, says in (
            ("alice\n", 'line 1: the line has no ":"'),
            ("ok:00112233445566778899aabbccddeeff\nalice:0011223\n",
             "line 2: the key has 7 hexadecimal digits, an odd number"),
            ("alice:" + "zz" * 16 + "\n", "not written in hexadecimal digits"),
            ("alice:0011\n", 'key of "alice" has 2 bytes and can be guessed'),
            ("alice:\n", "has 0 bytes"),
            (":00112233445566778899aabbccddeeff\n", 'the identity "" is not possible'),
            ("x" * 129 + ":00112233445566778899aabbccddeeff\n", "is not possible"),
            ("#0:00112233445566778899aabbccddeeff\n", "is not possible"),
            ("\n\n", "has no key in it"),
            ("a:00112233445566778899aabbccddeeff\n#61:00112233445566778899aabbccddeeff\n",
             'the pre-shared key of "a" is there twice')):
        file.write_text(text)
        file.chmod(0o600)
        got = refusal(build, tmp_path, psk_file=file)
        assert says in got, got
        assert "00112233" not in got and "zz" not in got, "a key is shown"
    write_keys(file, KEYS, 0o644)
    assert "others than its owner may use it (mode 0644)" in refusal(build, tmp_path,
                                                                     psk_file=file)
    file.chmod(0o600)
    assert "cannot be opened" in refusal(build, tmp_path, psk_file=tmp_path / "absent")
    assert "no such keyring" in refusal(build, tmp_path, psk_keyring="absent-keyring")
    assert "no key of this identity" in refusal(build, tmp_path, psk_file=file,
                                                psk_identity="mallory")
    assert "needs \"psk-file\"" in refusal(build, tmp_path, psk_identity="alice")
    assert "is for clients" in refusal(build, tmp_path, psk_file=file, psk_identity="alice",
                                       role="server")
    assert "is a contradiction" in refusal(
        build, tmp_path, psk_file=file, certificate=pki.cert("ecdsa"),
        private_key=pki.key("ecdsa"), trust=pki.trust, client_certificates="require")
    assert "another cipher than AES-256-GCM" in refusal(build, tmp_path, psk_file=file,
                                                        ciphers="AES-256-GCM")
    assert "is a contradiction" in refusal(build, tmp_path, psk_file=file,
                                           insecure_no_verification="yes")


def test_short_keys_only_where_it_says_insecure(make_daemon, pki, records, directory):
    file = write_keys(directory / "short", {"alice": "00112233"})
    one = make_daemon({"default": daemon_module.profile(pki, records, trust=None, psk_file=file,
                                                        insecure_short_psk="yes")})
    with one.client() as client, served(client, lambda port: s_client(port, *openssl_psk(
            "alice", "00112233", "TLS1.3", None))) as talk:
        talk.speak()


def test_hash_sha384_where_gnutls_has_it(make_daemon, pki, records, keys):
    one = make_daemon({"default": daemon_module.profile(pki, records, trust=None, psk_file=keys,
                                                        psk_hash="SHA384")}, start=False)
    if not hasattr(ctypes.CDLL("libgnutls.so.30"), "gnutls_psk_allocate_server_credentials2"):
        one.spawn()
        assert one.wait() != 0
        assert "psk-hash = SHA384 needs GnuTLS 3.8.11 or newer" in one.log()
        return
    one.start()
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs, one.client() as client, one.client() as second:
        number = client.start(ours, "server")
        reply = second.handshake(theirs, "client", psk_identity="alice")
        assert reply.outcome == "established" and reply["cipher"] == "AES-256-GCM", reply
        assert client.reply(number).outcome == "established"
