# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a consumer in the kernel hears, and what its peer gets to see, of each cause: the table of
docs/kernel-consumers.md, whose rows test_causes.py runs.

`python3 tests/e2e/causes.py --write` puts the table into the page."""

import pathlib
import sys
from typing import NamedTuple

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "kernel-consumers.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"

# What the tests' module asks for as a client with and without its certificate, and as a server; the NFS
# client and server themselves.
CLIENT, ANONYMOUS, SERVER, NFS, NFSD = "client", "anonymous", "server", "NFS client", "NFS server"
# The same module as NVMe/TCP's host and target ask.
PSK_CLIENT, PSK_SERVER = "PSK client", "PSK server"
CONSUMERS = {
    CLIENT: "X.509 client",
    ANONYMOUS: "client without certificate",
    SERVER: "X.509 server",
    NFS: "NFS client",
    NFSD: "NFS server",
    PSK_CLIENT: "client with a pre-shared key",
    PSK_SERVER: "server with pre-shared keys",
}
CLIENTS = (CLIENT, ANONYMOUS, NFS)
SERVERS = (SERVER, NFSD)


class Row(NamedTuple):
    cause: str      # for the page
    peer: str       # what test_causes.py has as peer, or does to the agent
    consumers: tuple
    status: str     # what the kernel's consumer is told; "no answer": nothing, it has to give up itself
    seen: str       # by the peer

    @property
    def name(self):
        return self.peer.replace(" ", "-")


OK, REFUSED, AGAIN, NONE, NOBODY = "0", "EACCES", "ETIMEDOUT", "no answer", "ESRCH"
TLS, EOF, NOTHING = "established", "end of file", "nothing, the connection stays open"
OWN = "an alert of its own"  # which one depends on the peer

ROWS = (
    # The peer of a client.
    Row("good certificate", "server ecdsa", CLIENTS, OK, TLS),
    Row("certificate of an unknown authority", "server untrusted", CLIENTS, REFUSED, "unknown_ca"),
    Row("certificate has expired", "server expired", CLIENTS, REFUSED, "certificate_expired"),
    Row("certificate is not valid yet", "server not-yet", (CLIENT,), REFUSED, "certificate_expired"),
    Row("certificate is for another name", "server wrong-name", CLIENTS, REFUSED, "bad_certificate"),
    Row("certificate is not for servers", "server wrong-purpose", (CLIENT,), REFUSED,
        "unsupported_certificate"),
    Row("certificate is on a revocation list", "server revoked", CLIENTS, REFUSED, "certificate_revoked"),
    Row("certificate's staple says revoked", "stapling server", (CLIENT,), REFUSED, "certificate_revoked"),
    Row("no version in common", "server of TLS 1.2", (CLIENT, NFS), REFUSED,
        "protocol_version (its own)"),
    Row("server wants a certificate", "server that wants a certificate", (CLIENT,), OK, TLS),
    Row("server wants a certificate, the consumer shows none", "server that wants a certificate",
        (ANONYMOUS,), OK, "certificate_required (its own)"),
    Row("server speaks no TLS", "server of plain text", (CLIENT,), REFUSED, "unexpected_message"),
    Row("server says nothing", "silent server", CLIENTS, AGAIN, "user_canceled"),
    Row("server closes the connection", "server that closes", (CLIENT, NFS), AGAIN, EOF),
    Row("server resets the connection", "server that resets", (CLIENT,), AGAIN, "reset"),
    # The peer of a server.
    Row("good certificate", "client client-ecdsa", SERVERS, OK, TLS),
    Row("no certificate, none is needed", "client without certificate", SERVERS, OK, TLS),
    Row("certificate of an unknown authority", "client client-untrusted", SERVERS, REFUSED, "unknown_ca"),
    Row("certificate has expired", "client client-expired", SERVERS, REFUSED, "certificate_expired"),
    Row("certificate is not valid yet", "client client-not-yet", (SERVER,), REFUSED,
        "certificate_expired"),
    Row("certificate is not for clients", "client client-wrong-purpose", (SERVER,), REFUSED,
        "unsupported_certificate"),
    Row("certificate is on a revocation list", "client client-revoked", SERVERS, REFUSED,
        "certificate_revoked"),
    Row("client does not believe the server's", "client that trusts others", SERVERS, REFUSED,
        "unknown_ca (its own)"),
    Row("no version in common", "client of TLS 1.2", SERVERS, REFUSED, "protocol_version"),
    Row("client speaks no TLS", "client of plain text", SERVERS, REFUSED, "unexpected_message"),
    Row("client says nothing", "silent client", SERVERS, AGAIN, EOF),
    Row("client closes the connection", "client that closes", SERVERS, AGAIN, EOF),
    Row("client resets the connection", "client that resets", (SERVER,), AGAIN, "reset"),
    # Pre-shared keys.
    Row("both have the key", "server with the key", (PSK_CLIENT,), OK, TLS),
    Row("server has another key of this identity", "server with another key", (PSK_CLIENT,), REFUSED, OWN),
    Row("server does not know the identity", "server without keys", (PSK_CLIENT,), REFUSED, OWN),
    Row("both have the key", "client with the key", (PSK_SERVER,), OK, TLS),
    Row("client has another key of this identity", "client with another key", (PSK_SERVER,), REFUSED,
        "decrypt_error"),
    Row("client has an unknown identity", "client of another identity", (PSK_SERVER,), REFUSED,
        "unknown_psk_identity"),
    Row("client's identity is the beginning of a key's", "client of a prefix", (PSK_SERVER,), REFUSED,
        "unknown_psk_identity"),
    Row("client offers no key", "client without a key", (PSK_SERVER,), REFUSED, "handshake_failure"),
    # The agent.
    Row("no agent runs", "no agent", (CLIENT, SERVER, NFS), NOBODY, EOF),
    Row("no agent runs", "no agent", (NFSD,), NOBODY, NOTHING),
    Row("no profile for this consumer", "no profile", (CLIENT, SERVER, NFS, NFSD), REFUSED, EOF),
    Row("the worker dies", "worker killed", (CLIENT, SERVER, NFS, NFSD), AGAIN, EOF),
    Row("the agent is stopped", "agent stopped", (CLIENT, NFS), AGAIN, "user_canceled"),
    Row("the agent is stopped", "agent stopped", (SERVER, NFSD), AGAIN, EOF),
    Row("the agent is killed", "agent killed", (CLIENT, SERVER, NFS, NFSD), NONE, EOF),
)


def table():
    """As Markdown."""
    titles = ("cause", "consumer in the kernel", "it hears", "its peer gets")
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in ROWS:
        consumers = ", ".join(CONSUMERS[one] for one in row.consumers)
        lines.append(f"| {row.cause} | {consumers} | {row.status} | {row.seen} |")
    return "\n".join(lines) + "\n"


def page():
    """The page's text with the table as it is here."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: causes.py --write")
    PAGE.write_text(page(), encoding="utf-8")
