# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an administrator sets for GnuTLS on the whole system must not get between the daemon and its
sessions."""

import daemon as daemon_module
import endpoint
from conftest import tls_statistics
from protocol import connection_of


def test_kernel_tls_of_the_library_itself_stays_out(make_daemon, pki, kernel_records, monkeypatch,
                                                     tmp_path):
    """With "ktls = true" newer libraries put keys into the kernel by themselves, behind the back of
    whoever exports them: a relayed connection must not touch the kernel's TLS."""
    settings = tmp_path / "gnutls"
    settings.write_text("[global]\nktls = true\n")
    monkeypatch.setenv("GNUTLS_SYSTEM_PRIORITY_FILE", str(settings))
    one = make_daemon({"relayed": daemon_module.profile(pki, "relay", "ecdsa"),
                       "kernel": daemon_module.profile(pki, "kernel", "ecdsa")})
    with one.client() as client:
        for profile, used in (("relayed", False), ("kernel", True)):
            for version in ("TLS1.3", "TLS1.2"):
                before = tls_statistics()
                ours, theirs = endpoint.tcp_pair()
                with ours, theirs:
                    number = client.start(ours, "server", profile=profile)
                    peer = endpoint.Endpoint(theirs, endpoint.context(
                        "client", pki.trust, version=version), "localhost").handshake()
                    reply = client.reply(number)
                    assert reply.outcome == "established", reply
                    endpoint.exchange(peer, connection_of(reply, ours))
                after = tls_statistics()
                moved = {name for name in ("TlsTxSw", "TlsRxSw") if after[name] != before[name]}
                assert moved == ({"TlsTxSw", "TlsRxSw"} if used else set()), profile
