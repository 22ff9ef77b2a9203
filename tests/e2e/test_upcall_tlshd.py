# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where tlshd is weak: see docs/tlshd.md. What other files show of it is not shown here again."""

import contextlib
import os
import pathlib
import subprocess

import pytest

import peers
from endpoint import Endpoint, context, in_thread
from netns import pair
from scale import seconds
from test_record_size import exchange_and_measure, tapped  # pylint: disable=unused-import
from upcall import CLIENT, SERVER, UNAUTHENTICATED, X509, Upcall

pytestmark = pytest.mark.usefixtures("upcalls")
LIMITS_RECORDS = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 19)


def handshake(auth=X509, name="localhost"):
    """Both consumers' results of one connection."""
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, Upcall(ours, CLIENT, auth, name) as client:
            return client.result(), server.result()


def faults_of_children(one):
    """Page faults of processes that these have started and waited for: proc(5), cminflt."""
    return [int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[8])
            for pid in [one.process.pid, *one.children()]]


def test_a_handshake_starts_no_process_and_reads_no_file(agent, pki, tmp_path):
    files = {}
    for name, path in (("trust", pki.trust), ("revocation_list", pki.revocation_list)):
        files[name] = tmp_path / path.name
        files[name].write_bytes(path.read_bytes())
    tmp_path.chmod(0o755)
    one = agent(nfsd=files)
    assert handshake()[1][0] == "ok"
    children, waited = one.children(), faults_of_children(one)
    for path in files.values():
        path.unlink()
    for _ in range(5):
        assert [status for status, _ in handshake()] == ["ok", "ok"]
    assert one.children() == children
    # None came and went, either.
    assert faults_of_children(one) == waited


@pytest.mark.parametrize("wanted, status", [("dns:client.example.test", "ok"),
                                            ("dns:other.example.test", "EACCES")])
def test_a_server_may_say_which_clients_it_wants(agent, wanted, status):
    agent(nfsd={"allow_peer": wanted})
    assert handshake()[1][0] == status


def test_a_peer_that_wants_small_records_gets_them(agent, pki, tapped):
    """RFC 8449, for a consumer that knows nothing of it."""
    agent()
    ours, program, tap = tapped(pki, "TLS1.3")
    with Upcall(ours, SERVER, X509) as server:
        status, _ = server.result()
    if not LIMITS_RECORDS:
        assert status == "ENOTSUP"  # another name of EOPNOTSUPP
        return
    assert status == "ok"
    exchange_and_measure(Plain(ours), ours.fileno(), program, tap, "TLS1.3")


class Plain:
    """A socket with the kernel's records, used as libhandshake's."""

    def __init__(self, sock):
        self.sock = sock

    def sendall(self, _, data):
        self.sock.sendall(data)

    def recv(self, _):
        return self.sock.recv(65536)


@pytest.mark.parametrize("digest, status", [("sha256", "ok"), ("md5", "EACCES")])
def test_a_client_without_a_certificate_is_as_strict(agent, pki, tmp_path, digest, status):
    """tlshd then takes a server whose certificate is signed with MD5."""
    authority, request, theirs = (tmp_path / name for name in ("ca.pem", "server.csr", "server.pem"))
    key, mine = pki.key("client-rsa"), pki.key("rsa") # MD5 goes with RSA only
    tmp_path.chmod(0o755)
    for arguments in (
            ("req", "-x509", "-key", key, "-out", authority, "-subj", "/CN=An authority with RSA"),
            ("req", "-new", "-key", mine, "-out", request, "-subj", "/CN=localhost"),
            ("x509", "-req", "-in", request, "-CA", authority, "-CAkey", key, f"-{digest}",
             "-CAcreateserial", "-days", "9", "-out", theirs, "-extfile", "/dev/stdin")):
        done = subprocess.run([peers.needs("openssl"), *arguments], capture_output=True,
                              input=b"subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        assert done.returncode == 0, done.stderr
    agent(nfs={"trust": authority})
    made = context("server", ciphers="DEFAULT:@SECLEVEL=0")
    made.load_cert_chain(theirs, mine)
    with pair() as (ours, other):
        done = in_thread(Endpoint(other, made).handshake)
        with Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            assert client.result()[0] == status
        ours.close()
        with contextlib.suppress(Exception):
            done.result(seconds(20))


def test_what_was_wrong_is_said_in_the_log(agent, pki):
    one = agent()
    with pair() as (ours, theirs):
        client = Endpoint(ours, context("client", certificate=pki.cert("client-expired"),
                                        key=pki.key("client-expired")))
        done = in_thread(client.handshake)
        with Upcall(theirs, SERVER, X509) as server:
            assert server.result() == ("EACCES", 0)
        ours.close()
        with contextlib.suppress(Exception):
            done.result(seconds(20))
    assert any("the kernel's request" in line and "expired" in line
               for line in one.log().splitlines()), one.log()
