# SPDX-License-Identifier: LGPL-2.1-or-later
"""Early data (0-RTT) in the server's role: it reaches the program once, apart from the stream."""

import os
import subprocess

import pytest

from early_data import EARLY, LIMIT, Server, Visitor, counted, profile, server, visitor
from scale import die_with_parent, wait_until


# ---- As a server ----

def test_it_reaches_the_program_apart_from_the_stream(daemon, server, visitor, covers):
    accepted, rejected, replayed = counted(daemon)
    ended = server.next()
    assert visitor.again(data=b"and what came later")
    reply, early, stream = ended()
    assert (reply["early-data"], reply["resumed"]) == ("accepted", "yes")
    assert "early-data-reason" not in reply
    assert (early, stream) == (EARLY, b"and what came later")
    assert counted(daemon) == [accepted + 1, rejected, replayed]
    covers("Early data (0-RTT)", "TLS1.3", "server")


def test_all_that_a_ticket_allows_comes(server, visitor):
    assert "Max Early Data: 2048" in visitor.output
    data = os.urandom(LIMIT)
    ended = server.next()
    assert visitor.again(data, data=b"x")
    assert ended()[1:] == (data, b"x")


def test_more_than_a_ticket_allows_ends_the_connection(server, visitor):
    # A client that believes its ticket allows more.
    visitor.rewrite(b"\x02\x02\x08\x00", b"\x02\x02\x08\x01")
    visitor.file.write_bytes(os.urandom(LIMIT + 1))
    visitor.run("-sess_in", visitor.session, "-early_data", visitor.file)
    wait_until(lambda: server.failures, what="the failure")
    assert server.failures == [("protocol", "The client sent more early data than the 2048 bytes"
                                " that the profile \"early\" takes", "unexpected_message")]
    assert not [early for _, early, _ in server.connections if early]


LOCALHOST, NO_ALPN = ("-servername", "localhost"), ()
HTTP11, HTTP10 = ("-alpn", "http/1.1"), ("-alpn", "http/1.0")
CHACHA20 = ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
BOTH = ("-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")
NO_TICKET = "the ticket cannot be used"


@pytest.mark.parametrize("before,rewrite,after,resumed,why", (
    (LOCALHOST, (b"localhost", b"localhosu"), ("-servername", "localhosu"), "no", NO_TICKET),
    (LOCALHOST + HTTP11, (b"http/1.1", b"http/1.0"), LOCALHOST + HTTP10, "no", NO_TICKET),
    (LOCALHOST + HTTP10, (b"http/1.0", b"http/1.0"),
     LOCALHOST + ("-alpn", "http/1.0,http/1.1"), "no", NO_TICKET),
    (LOCALHOST, None, LOCALHOST + ("-groups", "P-256:X25519"), "yes", "another key share"),
    (LOCALHOST + CHACHA20, None, LOCALHOST + BOTH, "yes", "another cipher suite"),
), ids=("name", "alpn", "alpn chosen anew", "key-share", "suite"))
def test_what_does_not_fit_its_ticket_is_refused(make_daemon, pki, records, tmp_path, covers,
                                                 before, rewrite, after, resumed, why):
    one = make_daemon({"early": profile(pki, records, alpn="http/1.1, http/1.0",
                                        ciphers="AES-128-GCM, CHACHA20-POLY1305")})
    server = Server(one)
    visitor = Visitor(tmp_path, server.port, *before)
    visitor.visit()
    if rewrite:  # OpenSSL would not offer it
        visitor.rewrite(*rewrite)
    ended = server.next()
    visitor.options = after
    # What was rejected is no part of the stream.
    assert not visitor.again(os.urandom(LIMIT), data=b"later")
    reply, early, stream = ended()
    assert (reply["early-data"], early, stream) == ("rejected", None, b"later")
    assert why in reply["early-data-reason"]
    assert reply["resumed"] == resumed
    server.close()
    covers("Early data refused where its ticket does not fit", "TLS1.3", "server")


@pytest.mark.parametrize("suite", ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"))
def test_each_suite(server, tmp_path, suite):
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost", "-ciphersuites", suite)
    visitor.visit()
    ended = server.next()
    assert visitor.again(data=b"later")
    reply, early, stream = ended()
    assert (reply["suite"], early, stream) == (suite, EARLY, b"later")


def test_none_is_taken_unless_the_profile_says_so(make_daemon, pki, records, tmp_path):
    one = make_daemon({"early": profile(pki, records), "none": profile(pki, records, early_data=0)})
    server, none = Server(one), Server(one, "none")
    visitor = Visitor(tmp_path, server.port, "-servername", "localhost")
    plain = Visitor(tmp_path, none.port, "-servername", "localhost")
    plain.visit()
    assert "Max Early Data: 0" in plain.output
    visitor.visit()
    ended = none.next()
    assert not visitor.again(data=b"later", port=none.port)
    reply, early, stream = ended()
    assert (reply["early-data"], early, stream) == ("rejected", None, b"later")
    server.close()
    none.close()


@pytest.mark.parametrize("extra,sentence", (
    ({"client_certificates": "require"}, "early-data comes before a client's certificate"),
    ({"resumption": "no"}, "early-data needs a ticket of an earlier connection"),
    ({"ticket_key_file": "/none"}, "early-data with ticket-key-file could be replayed"),
    ({"early_data": 65537}, "65537"),
    ({"early_data": "lots"}, "lots"),
), ids=("certificate", "resumption", "key file", "large", "word"))
def test_a_configuration_that_cannot_be_is_refused(make_daemon, pki, records, extra, sentence):
    with pytest.raises(AssertionError) as error:
        make_daemon({"early": profile(pki, records, **extra)})
    assert sentence in str(error.value)


def test_gnutls_as_a_client(server, tmp_path):
    """gnutls-cli comes back by itself with --resume."""
    file = tmp_path / "early"
    file.write_bytes(EARLY)
    ended = server.next()
    process = subprocess.Popen(
        ["gnutls-cli", "--insecure", "--resume", "--waitresumption", f"--earlydata={file}",
         "--port", str(server.port), "localhost"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
    try:
        ended()
        again = server.next()
        process.stdin.write(b"later\n")
        process.stdin.close()
        reply, early, _ = again()
        assert (reply["early-data"], reply["resumed"], early) == ("accepted", "yes", EARLY)
    finally:
        process.kill()
        process.wait()
