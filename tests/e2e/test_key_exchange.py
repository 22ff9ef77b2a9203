# SPDX-License-Identifier: LGPL-2.1-or-later
"""Groups of key exchange in both roles and versions against OpenSSL and GnuTLS; DHE, static RSA and
HelloRetryRequest; and that the administrator's choice is what is done."""

import subprocess

import pytest

import daemon as daemon_module
import endpoint
import peers
from conversation import connected, gnutls_cli, gnutls_serv, s_client, s_server, served
from protocol import connection_of
from scale import FULL

CURVES = ("X25519", "SECP256R1", "SECP384R1", "SECP521R1", "X448")
FINITE = ("FFDHE2048", "FFDHE3072")
HYBRID = ("X25519-MLKEM768", "SECP256R1-MLKEM768", "SECP384R1-MLKEM1024")
OPENSSL_NAMES = {"SECP256R1": "P-256", "SECP384R1": "P-384", "SECP521R1": "P-521",
                 "FFDHE2048": "ffdhe2048", "FFDHE3072": "ffdhe3072",
                 "X25519-MLKEM768": "X25519MLKEM768", "SECP256R1-MLKEM768": "SecP256r1MLKEM768",
                 "SECP384R1-MLKEM1024": "SecP384r1MLKEM1024"}
CASES = ([("TLS1.3", group) for group in CURVES + FINITE] +
         [("TLS1.2", group) for group in CURVES])
each_case = pytest.mark.parametrize("version,group", CASES)
# Records do not depend on the group: an emulated machine sees one peer with every group.
some_cases = pytest.mark.parametrize("version,group", CASES if FULL else [
    ("TLS1.3", "X448"), ("TLS1.2", "SECP384R1")])


def command_output(*command):
    return subprocess.run(command, capture_output=True, check=False).stdout.decode().upper()


@pytest.fixture(scope="module")
def gnutls_groups():
    """What the GnuTLS of this system has, as its command lists it."""
    text = command_output(peers.needs("gnutls-cli"), "--list")
    line = [line for line in text.splitlines() if line.startswith("GROUPS:")][0]
    return [name.strip().removeprefix("GROUP-") for name in line[7:].split(",")]


@pytest.fixture(scope="module")
def daemon(make_module_daemon, pki, records, gnutls_groups):
    def make(*names, **extra):
        return daemon_module.profile(pki, records, *names, **extra)
    encipher = pki.issue("rsa-encipher", kind="rsa", encipher=True) and "rsa-encipher"
    # TLS 1.2 wants the curve of an ECDSA certificate among the groups, so the key is RSA.
    profiles = {
        "all": make("rsa"),
        "client": make(role="client"),
        "order": make("rsa", groups="SECP384R1, X25519, SECP256R1"),
        "order-client": make("rsa", groups="SECP384R1, X25519, SECP256R1",
                             cipher_order="client"),
        "retry": make("ecdsa", groups="SECP256R1, SECP384R1"),
        "retry-server": make("ecdsa", groups="SECP384R1"),
        "dhe": make("rsa", groups="FFDHE3072, FFDHE4096"),
        "dhe-2048": make("rsa", groups="FFDHE2048"),
        "static-rsa": make(encipher, insecure_rsa_key_exchange="yes"),
        "ecdsa-without-its-curve": make("ecdsa", groups="X25519"),
        "maybe": make("rsa", groups="X25519-MLKEM768? X25519"),
    }
    for group in CURVES + FINITE + tuple(g for g in HYBRID if g in gnutls_groups):
        profiles[group] = make("rsa", groups=group)
    return make_module_daemon(profiles)


@pytest.fixture
def client(daemon):
    with daemon.client() as one:
        yield one


def openssl_version(version):
    return "-tls1_3" if version == "TLS1.3" else "-tls1_2"


def openssl_group(group):
    return OPENSSL_NAMES.get(group, group)


def gnutls_priority(version, group):
    return f"NORMAL:-VERS-ALL:+VERS-{version}:-GROUP-ALL:+GROUP-{group}"


def assert_exchange(reply, version, group, record_path):
    assert reply["version"] == version
    assert reply["group"] == group
    assert reply["key-exchange"] == ("HYBRID" if "MLKEM" in group else
                                     "DHE" if group.startswith("FFDHE") else "ECDHE")
    assert reply["transmit"] == reply["receive"] == record_path


def item_of(group):
    return ("Key exchange: ML-KEM hybrids" if "MLKEM" in group else
            "Key exchange: FFDHE" if group.startswith("FFDHE") else f"Key exchange: {group}")


# ---- One group alone ----

@each_case
def test_server_with_one_group_to_s_client(version, group, client, covers, record_path):
    with served(client, lambda port: s_client(port, openssl_version(version), "-groups",
                                              openssl_group(group)), profile=group) as talk:
        talk.speak()
        assert_exchange(talk.reply, version, group, record_path)
        covers(item_of(group), version, "server")


@some_cases
def test_server_with_one_group_to_gnutls_cli(version, group, client, covers, pki, record_path):
    with served(client, lambda port: gnutls_cli(port, gnutls_priority(version, group),
                                                "--x509cafile", pki.trust),
                profile=group) as talk:
        talk.speak()
        assert_exchange(talk.reply, version, group, record_path)
        covers(item_of(group), version, "server")


@each_case
def test_client_with_one_group_to_s_server(version, group, client, covers, pki, record_path):
    with s_server("-cert", pki.cert("rsa"), "-cert_chain", pki.cert("rsa"), "-key",
                  pki.key("rsa"), openssl_version(version), "-groups",
                  openssl_group(group)) as server, \
            connected(client, server, profile=group, peer_name="localhost") as talk:
        talk.speak()
        assert_exchange(talk.reply, version, group, record_path)
        covers(item_of(group), version, "client")


@some_cases
def test_client_with_one_group_to_gnutls_serv(version, group, client, covers, pki, record_path):
    with gnutls_serv(gnutls_priority(version, group), "--x509certfile", pki.cert("rsa"),
                     "--x509keyfile", pki.key("rsa")) as server, \
            connected(client, server, profile=group, peer_name="localhost") as talk:
        talk.echo()
        assert_exchange(talk.reply, version, group, record_path)
        covers(item_of(group), version, "client")


# ---- Hybrids with ML-KEM, where there are some ----

def needs_hybrid(gnutls_groups, group):
    if group not in gnutls_groups:
        pytest.skip(f"this GnuTLS has no {group}")


def needs_openssl_hybrid(group):
    name = openssl_group(group)
    if name.upper() not in command_output("openssl", "list", "-tls-groups", "-tls1_3"):
        pytest.skip(f"this OpenSSL has no {name}")


@pytest.mark.parametrize("role", ("server", "client"))
@pytest.mark.parametrize("group", HYBRID)
def test_hybrid_with_gnutls(group, role, client, covers, pki, gnutls_groups, record_path):
    needs_hybrid(gnutls_groups, group)
    priority = gnutls_priority("TLS1.3", group)
    if role == "server":
        with served(client, lambda port: gnutls_cli(port, priority, "--x509cafile", pki.trust),
                    profile=group) as talk:
            talk.speak()
    else:
        with gnutls_serv(priority, "--x509certfile", pki.cert("rsa"), "--x509keyfile",
                         pki.key("rsa")) as server, \
                connected(client, server, profile=group, peer_name="localhost") as talk:
            talk.echo()
    assert_exchange(talk.reply, "TLS1.3", group, record_path)
    covers(item_of(group), "TLS1.3", role)


@pytest.mark.parametrize("role", ("server", "client"))
@pytest.mark.parametrize("group", HYBRID)
def test_hybrid_with_openssl(group, role, client, covers, pki, gnutls_groups, record_path):
    """By the profile with all groups: what is best comes first."""
    needs_hybrid(gnutls_groups, group)
    needs_openssl_hybrid(group)
    if role == "server":
        # The client names no group of finite fields and has no share but the hybrid's.
        with served(client, lambda port: s_client(port, "-groups",
                                                  openssl_group(group) + ":X25519"),
                    profile="all") as talk:
            talk.speak()
    else:
        with s_server("-cert", pki.cert("rsa"), "-cert_chain", pki.cert("rsa"), "-key",
                      pki.key("rsa"), "-groups", openssl_group(group)) as server, \
                connected(client, server, profile="all", peer_name="localhost") as talk:
            talk.speak()
    assert_exchange(talk.reply, "TLS1.3", group, record_path)
    covers(item_of(group), "TLS1.3", role)


def test_group_with_a_question_mark_is_taken_where_it_is(client, gnutls_groups, pki):
    with gnutls_serv("NORMAL:+GROUP-ALL", "--x509certfile", pki.cert("rsa"), "--x509keyfile",
                     pki.key("rsa")) as server, \
            connected(client, server, profile="maybe", peer_name="localhost") as talk:
        talk.echo()
        assert talk.reply["group"] in ("X25519", "X25519-MLKEM768")
    # No library offers the hybrids unasked.
    hybrid = [g for g in ("X25519-MLKEM768",) if g in gnutls_groups]
    priority = "NORMAL" + "".join(f":+GROUP-{g}" for g in hybrid)
    with served(client, lambda port: gnutls_cli(port, priority, "--x509cafile", pki.trust),
                profile="maybe") as talk:
        talk.speak()
        assert talk.reply["group"] == ("X25519-MLKEM768" if "X25519-MLKEM768" in gnutls_groups
                                       else "X25519")


# ---- Whose order ----

@pytest.mark.parametrize("version", peers.VERSIONS)
@pytest.mark.parametrize("profile,chosen", (("order", "SECP384R1"), ("order-client", "SECP256R1")))
def test_order_of_groups_is_the_server_s_unless_it_says_the_client_s(version, profile, chosen,
                                                                      client):
    with served(client, lambda port: s_client(port, openssl_version(version), "-groups",
                                              "P-256:X25519:P-384"), profile=profile) as talk:
        talk.speak()
        assert talk.reply["group"] == chosen


def test_no_common_group_is_told_as_such(client):
    with served(client, lambda port: s_client(port, "-tls1_3", "-groups", "X448"),
                profile="X25519") as talk:
        assert talk.reply.outcome == "poisoned"
        assert talk.reply["class"] == "negotiation", talk.reply
        assert talk.reply["alert"] == "handshake_failure", talk.reply


def test_ecdsa_certificate_whose_curve_is_not_listed_serves_tls13_and_tls12(client):
    for version in peers.VERSIONS:
        with served(client, lambda port, v=version: s_client(port, openssl_version(v)),
                    profile="ecdsa-without-its-curve") as talk:
            talk.speak()
            assert talk.reply["version"] == version


# ---- HelloRetryRequest ----

def count_hellos(made, message_type):
    seen = []
    inner = made._msg_callback  # pylint: disable=protected-access

    def callback(connection, direction, version, content_type, kind, data):
        if content_type == endpoint.ssl._TLSContentType.HANDSHAKE and kind == message_type:
            seen.append(direction)
        inner(connection, direction, version, content_type, kind, data)

    made._msg_callback = callback  # pylint: disable=protected-access
    return seen


def retried(client, number, peer, hellos, ours, size):
    """The peer's end of a handshake with a HelloRetryRequest, with data right behind its last flight; then
    both directions."""
    while not peer.step():
        peer.flush()
        assert peer.feed()
    peer.tls.write(b"right behind")
    endpoint.send_in_pieces(peer.sock, peer.pending(), size)
    reply = client.reply(number)
    assert reply.outcome == "established", reply
    assert reply["group"] == "SECP384R1" and len(hellos) == 2
    sock = connection_of(reply, ours)
    assert endpoint._recv_exactly(sock, 12) == b"right behind"
    endpoint.exchange(peer, sock)


@pytest.mark.parametrize("size", (100000, 1, 7))
def test_retry_in_the_server_role_hands_over_every_byte(size, client, covers, pki):
    """The client's data comes right behind its Finished, in pieces."""
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "server", profile="retry-server")
        peer = endpoint.Endpoint(theirs, endpoint.context("client", pki.trust, version="TLS1.3"),
                                 "localhost")
        hellos = count_hellos(peer.context, 1)
        retried(client, number, peer, hellos, ours, size)
        covers("HelloRetryRequest", "TLS1.3", "server")


@pytest.mark.parametrize("size", (100000, 1, 7))
def test_retry_in_the_client_role_hands_over_every_byte(size, client, covers, pki):
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        number = client.start(ours, "client", profile="retry", peer_name="localhost")
        made = endpoint.context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                                version="TLS1.3")
        made.set_ecdh_curve("secp384r1")
        peer = endpoint.Endpoint(theirs, made)
        hellos = count_hellos(made, 1)
        retried(client, number, peer, hellos, ours, size)
        covers("HelloRetryRequest", "TLS1.3", "client")


# ---- TLS 1.2 with finite fields ----

DHE = ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")


def test_dhe_server_takes_its_smallest_for_a_client_that_names_none(client, record_path):
    """OpenSSL names no group of finite fields under TLS 1.2."""
    with served(client, lambda port: s_client(port, *DHE), profile="dhe") as talk:
        talk.speak()
        assert talk.reply["suite"] == "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"
        assert talk.reply["key-exchange"] == "DHE"
        assert talk.reply["group"] in ("DH-3072", "FFDHE3072")
        assert talk.reply["transmit"] == talk.reply["receive"] == record_path


def test_dhe_server_and_gnutls_cli_agree_on_a_group(client, covers, pki, record_path):
    for group in ("FFDHE4096", "FFDHE3072"):
        priority = f"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA:-GROUP-ALL:+GROUP-{group}"
        with served(client, lambda port, p=priority: gnutls_cli(port, p, "--x509cafile",
                                                                pki.trust),
                    profile="dhe") as talk:
            talk.speak()
            assert_exchange(talk.reply, "TLS1.2", group, record_path)
            covers("Key exchange: FFDHE", "TLS1.2", "server")


def test_dhe_client_and_gnutls_serv_agree_on_a_group(client, covers, pki, record_path):
    priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA"
    with gnutls_serv(priority, "--x509certfile", pki.cert("rsa"), "--x509keyfile",
                     pki.key("rsa")) as server, \
            connected(client, server, profile="dhe", peer_name="localhost") as talk:
        talk.echo()
        assert_exchange(talk.reply, "TLS1.2", "FFDHE3072", record_path)
        covers("Key exchange: FFDHE", "TLS1.2", "client")


def test_dhe_client_takes_a_server_s_own_group_unless_it_is_too_small(client, pki):
    """OpenSSL without -dhparam brings the 2048 bits of RFC 3526."""
    for profile, outcome in (("dhe-2048", "established"), ("dhe", "poisoned")):
        with s_server("-cert", pki.cert("rsa"), "-cert_chain", pki.cert("rsa"), "-key",
                      pki.key("rsa"), *DHE) as server, \
                connected(client, server, profile=profile, peer_name="localhost") as talk:
            assert talk.reply.outcome == outcome, talk.reply
            if outcome == "established":
                talk.speak()
                assert talk.reply["key-exchange"] == "DHE"
                assert talk.reply["group"] == "DH-2048"
            else:
                assert talk.reply["class"] == "negotiation"
                assert "too weak" in talk.reply["error"]


# ---- Static RSA ----

RSA = ("-tls1_2", "-cipher", "AES128-GCM-SHA256")


def assert_static_rsa(reply, record_path):
    assert reply["version"] == "TLS1.2"
    assert reply["suite"] == "TLS_RSA_WITH_AES_128_GCM_SHA256"
    assert reply["key-exchange"] == "RSA"
    assert reply.get("group") is None
    assert reply["transmit"] == reply["receive"] == record_path


def test_static_rsa_as_server_where_it_is_allowed(client, covers, pki, record_path):
    with served(client, lambda port: s_client(port, *RSA), profile="static-rsa") as talk:
        talk.speak()
        assert_static_rsa(talk.reply, record_path)
    priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:-CIPHER-ALL:+AES-128-CCM"
    with served(client, lambda port: gnutls_cli(port, priority, "--x509cafile", pki.trust),
                profile="static-rsa") as talk:
        talk.speak()
        assert talk.reply["suite"] == "TLS_RSA_WITH_AES_128_CCM"
        assert talk.reply["key-exchange"] == "RSA"
        covers("Key exchange: static RSA (insecure)", "TLS1.2", "server")


def test_static_rsa_as_client_where_it_is_allowed(client, covers, pki, record_path):
    with s_server("-cert", pki.cert("rsa-encipher"), "-cert_chain", pki.cert("rsa-encipher"),
                  "-key", pki.key("rsa-encipher"), *RSA) as server, \
            connected(client, server, profile="static-rsa", peer_name="localhost") as talk:
        talk.speak()
        assert_static_rsa(talk.reply, record_path)
        covers("Key exchange: static RSA (insecure)", "TLS1.2", "client")


def test_static_rsa_is_refused_elsewhere_and_comes_last(client, pki):
    with served(client, lambda port: s_client(port, *RSA), profile="all") as talk:
        assert talk.reply.outcome == "poisoned" and talk.reply["class"] == "negotiation"
    with s_server("-cert", pki.cert("rsa-encipher"), "-cert_chain", pki.cert("rsa-encipher"),
                  "-key", pki.key("rsa-encipher"), *RSA) as server, \
            connected(client, server, profile="client", peer_name="localhost") as talk:
        assert talk.reply.outcome == "poisoned", talk.reply
    with served(client, lambda port: s_client(port, "-tls1_2"), profile="static-rsa") as talk:
        talk.speak()
        assert talk.reply["key-exchange"] == "ECDHE"
