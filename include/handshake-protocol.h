/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words on handshaked's Unix socket (SOCK_SEQPACKET): one packet, one message. A message is
 * UTF-8 text, lines that end in '\n'. The first line is "handshake/1 OPERATION", each other line
 * "key=value". In values '%', bytes below 0x20 and 0x7f are written %XX. See handshake-protocol(7).
 *
 * Unknown keys are ignored, unless they begin with '!': then the message is refused. A key comes
 * once, but for those marked "repeated".
 */
#ifndef HANDSHAKE_PROTOCOL_H
#define HANDSHAKE_PROTOCOL_H

#define HANDSHAKE_PROTOCOL        "handshake/1"
#define HANDSHAKE_SOCKET_DEFAULT  "/run/handshaked/socket"
#define HANDSHAKE_SOCKET_VARIABLE "HANDSHAKED_SOCKET"

#define HANDSHAKE_PACKET_SIZE       16384  /* bytes, the most that a message may have */
#define HANDSHAKE_DESCRIPTORS_MAX   6      /* the most that the daemon sends with one message */
#define HANDSHAKE_PEER_NAME_SIZE    254    /* bytes with the final NUL */
#define HANDSHAKE_PROFILE_NAME_SIZE 64     /* bytes with the final NUL */
#define HANDSHAKE_PSK_IDENTITY_SIZE 258    /* bytes with the final NUL, as text */
#define HANDSHAKE_CHAIN_SIZE        262144 /* bytes, the most PEM text in a chain's memfd */
#define HANDSHAKE_EARLY_DATA_SIZE   65536  /* bytes, the most early data, in either direction */
#define HANDSHAKE_TRACE_SIZE        131072 /* bytes, the most JSON text in a trace's memfd */

/* Operations from the program. */
#define HANDSHAKE_OP_HANDSHAKE "handshake" /* with a descriptor: a connected TCP socket */
#define HANDSHAKE_OP_LISTEN    "listen"    /* with one descriptor: a listening TCP socket */
#define HANDSHAKE_OP_UPDATE_KEY \
	"update-key" /* with one descriptor: the connection's; and its token: new keys */
#define HANDSHAKE_OP_CANCEL "cancel" /* with id; there is no answer to it nor to the cancelled */
#define HANDSHAKE_OP_STATUS "status" /* the daemon's state and counters */
#define HANDSHAKE_OP_TRACE  "trace"  /* all handshakes from now on, as they end; administrators */
/* Operations from the daemon. */
#define HANDSHAKE_OP_REPLY      "reply"      /* to handshake, and to anything that was refused */
#define HANDSHAKE_OP_LISTENING  "listening"  /* to listen: agreed */
#define HANDSHAKE_OP_CONNECTION "connection" /* on a listening: one established connection */
#define HANDSHAKE_OP_COUNTERS   "counters"   /* to status: key=number and key=word lines */

#define HANDSHAKE_OP_TRACING "tracing" /* to trace: agreed; "trace" packets follow */

/* Keys of requests. */
#define HANDSHAKE_KEY_ID                  "id" /* 1 to 2^63-1, chosen by the program; in every reply */
#define HANDSHAKE_KEY_ROLE                "role"    /* client | server; required with handshake */
#define HANDSHAKE_KEY_PROFILE             "profile" /* default: "default" */
#define HANDSHAKE_KEY_PEER_NAME           "peer-name" /* client: required unless the profile is insecure */
#define HANDSHAKE_KEY_ALPN                "alpn" /* request: list with commas; reply: the one agreed on */
#define HANDSHAKE_KEY_TIMEOUT_MS          "timeout-ms"          /* 1 to 2^31-1 */
#define HANDSHAKE_KEY_RECORDS             "records"             /* kernel | relay */
#define HANDSHAKE_KEY_CLIENT_CERTIFICATES "client-certificates" /* require */
#define HANDSHAKE_KEY_RESUME              "resume" /* no: neither take up nor keep a session */
#define HANDSHAKE_KEY_TRACE               "trace" /* yes: the reply comes with the descriptor "trace" */

/* Keys of the operation trace, which chooses by these, role and profile; and of its packets. */
#define HANDSHAKE_KEY_USER   "user"   /* a number: of the program */
#define HANDSHAKE_KEY_FAILED "failed" /* yes: those alone that came to no connection */
#define HANDSHAKE_KEY_LOST   "lost" /* handshakes before this one that the queue had no room for */

/* Which pre-shared key: of a request as client; in a reply the one that was used. Printable ASCII, or '#'
 * and hexadecimal digits. */
#define HANDSHAKE_KEY_PSK_IDENTITY "psk-identity"

/* Keys of update-key, and of its reply. */
#define HANDSHAKE_KEY_TOKEN \
	"token" /* with TLS 1.3 and kernel records: base64, opaque; in established and in update-key */
#define HANDSHAKE_KEY_DIRECTION "direction" /* receive | transmit | both; required in update-key */
#define HANDSHAKE_KEY_REQUEST_UPDATE \
	"request-update"                /* yes | no: ask the peer for new keys in its direction */
#define HANDSHAKE_KEY_UPDATED "updated" /* reply: receive | transmit | both */

/* Keys of every reply and connection. */
#define HANDSHAKE_KEY_OUTCOME "outcome" /* established | untouched | poisoned */

/* Keys when established. */
#define HANDSHAKE_KEY_VERSION "version" /* TLS1.3 | TLS1.2 */
#define HANDSHAKE_KEY_SUITE   "suite"   /* IANA's name: TLS_AES_128_GCM_SHA256 */
#define HANDSHAKE_KEY_CIPHER \
	"cipher" /* AES-128-GCM | AES-256-GCM | CHACHA20-POLY1305 | AES-128-CCM */
#define HANDSHAKE_KEY_KEY_EXCHANGE \
	"key-exchange" /* ECDHE | DHE | HYBRID | RSA | ECDHE-PSK | DHE-PSK | HYBRID-PSK | PSK */
#define HANDSHAKE_KEY_GROUP       "group"       /* X25519, SECP256R1, FFDHE2048, DH-2048, … */
#define HANDSHAKE_KEY_SERVER_NAME "server-name" /* the server_name that the client sent */
#define HANDSHAKE_KEY_TRANSMIT    "transmit"    /* nic | kernel | relay, at the time of the reply */
#define HANDSHAKE_KEY_RECEIVE     "receive"     /* nic | kernel | relay */
/* Why the relay; with kernel: why it is not known whether a NIC makes the records. */
#define HANDSHAKE_KEY_RECORDS_REASON "records-reason"
/* Whether sendfile() sends without a copy; absent where the profile does not allow it. */
#define HANDSHAKE_KEY_ZERO_COPY        "zero-copy-sendfile" /* yes | no */
#define HANDSHAKE_KEY_ZERO_COPY_REASON "zero-copy-reason"   /* why not, although it is allowed */
#define HANDSHAKE_KEY_RESUMED          "resumed"            /* yes | no */
#define HANDSHAKE_KEY_HANDSHAKE_US     "handshake-us" /* microseconds from request to keys installed */
/* The parts of these, in microseconds: they add up to them. */
#define HANDSHAKE_KEY_TIME_QUEUE_US       "time-queue-us"       /* behind others in the worker */
#define HANDSHAKE_KEY_TIME_PEER_US        "time-peer-us"        /* waiting for the peer */
#define HANDSHAKE_KEY_TIME_COMPUTATION_US "time-computation-us" /* the worker's own */
#define HANDSHAKE_KEY_TIME_SIGNER_US      "time-signer-us"      /* waiting for the signer */
#define HANDSHAKE_KEY_TIME_KEYS_US        "time-keys-us" /* taking keys out and installing them */
#define HANDSHAKE_KEY_PEER                "peer" /* on a connection: ADDRESS:PORT, [ADDRESS6]:PORT */
/* Early data (RFC 8446, 2.3); absent where none was offered. What was rejected is not in the stream: who
 * sent it sends it again. */
#define HANDSHAKE_KEY_EARLY_DATA "early-data" /* accepted | rejected */
#define HANDSHAKE_KEY_EARLY_DATA_REASON \
	"early-data-reason" /* why it was rejected, if that is known */
/* The peer's certificate; absent when it sent none. */
#define HANDSHAKE_KEY_PEER_AUTHENTICATED \
	"peer-authenticated" /* yes: verified; no: sent none, or not verified */
#define HANDSHAKE_KEY_CLIENT_CERTIFICATE \
	"client-certificate" /* client: sent | none (asked for, there was none) | not-asked */
#define HANDSHAKE_KEY_PEER_SUBJECT "peer-subject" /* RFC 4514 */
#define HANDSHAKE_KEY_PEER_ISSUER  "peer-issuer"  /* RFC 4514 */
#define HANDSHAKE_KEY_PEER_IDENTITY \
	"peer-identity" /* repeated: dns:NAME, ip:ADDRESS, email:…, uri:… */
#define HANDSHAKE_KEY_PEER_PUBLIC_KEY_SHA256 \
	"peer-public-key-sha256" /* of a raw public key (RFC 7250): its DER, 64 digits */
#define HANDSHAKE_KEY_PEER_SHA256 \
	"peer-sha256" /* of the certificate's DER, 64 hexadecimal digits */

/* The descriptors that come with a message, in their order: "connection" (listen, with the kernel's
 * records), "relay" (use it instead of the TCP socket), "relay-state" (a memfd) and "relay-control" (a packet
 * socket; both see below), "chain" (a memfd: PEM text), "tickets" (a packet socket: session tickets that come
 * on the connection are to be written there), "early-data" (a memfd: what the client sent before the handshake
 * was complete; it may have been sent before, by anybody who saw it). A request says so too where it has more
 * than its socket: "socket,early-data" (a client's memfd: what is to be sent). */
#define HANDSHAKE_KEY_DESCRIPTORS          "descriptors" /* names in order, separated by commas */
#define HANDSHAKE_DESCRIPTOR_CONNECTION    "connection"
#define HANDSHAKE_DESCRIPTOR_RELAY         "relay"
#define HANDSHAKE_DESCRIPTOR_RELAY_STATE   "relay-state"
#define HANDSHAKE_DESCRIPTOR_RELAY_CONTROL "relay-control"
#define HANDSHAKE_DESCRIPTOR_CHAIN         "chain"
#define HANDSHAKE_DESCRIPTOR_TICKETS       "tickets"
#define HANDSHAKE_DESCRIPTOR_EARLY_DATA    "early-data"
#define HANDSHAKE_DESCRIPTOR_SOCKET        "socket" /* of a request */
#define HANDSHAKE_DESCRIPTOR_TRACE         "trace"  /* a memfd: JSON; also with a failure */

/* Keys on failure. */
#define HANDSHAKE_KEY_CLASS           "class"           /* one of the classes below */
#define HANDSHAKE_KEY_ERROR           "error"           /* one sentence */
#define HANDSHAKE_KEY_RETRY           "retry"           /* yes | no */
#define HANDSHAKE_KEY_ALERT           "alert"           /* RFC 8446, 6: unknown_ca, … */
#define HANDSHAKE_KEY_ALERT_NUMBER    "alert-number"    /* 48, … */
#define HANDSHAKE_KEY_ALERT_DIRECTION "alert-direction" /* sent | received */
#define HANDSHAKE_KEY_VERIFICATION \
	"verification" /* what was wrong with the certificate, in words */

/* Classes of failure. */
#define HANDSHAKE_CLASS_REQUEST      "request"     /* the request itself is wrong */
#define HANDSHAKE_CLASS_DENIED       "denied"      /* the policy does not allow it */
#define HANDSHAKE_CLASS_BUSY         "busy"        /* a limit is reached: try again */
#define HANDSHAKE_CLASS_UNSUPPORTED  "unsupported" /* kernel or library cannot do it here */
#define HANDSHAKE_CLASS_TIMEOUT      "timeout"     /* the deadline passed */
#define HANDSHAKE_CLASS_CANCELLED    "cancelled"   /* the program gave up */
#define HANDSHAKE_CLASS_CLOSED       "closed"      /* the peer ended or reset the TCP connection */
#define HANDSHAKE_CLASS_ALERT        "alert"       /* the peer refused with an alert */
#define HANDSHAKE_CLASS_NEGOTIATION  "negotiation" /* no common version, cipher, group, ALPN, name */
#define HANDSHAKE_CLASS_VERIFICATION "verification" /* the peer's certificate was refused */
#define HANDSHAKE_CLASS_PROTOCOL     "protocol"     /* the peer does not speak TLS as it should */
#define HANDSHAKE_CLASS_INTERNAL     "internal"     /* the daemon failed; its log tells more */
#define HANDSHAKE_CLASS_UNAVAILABLE  "unavailable"  /* no daemon; made by libhandshake */

/*
 * What a relay tells about a direction's end beyond end-of-file, in a memfd that the program gets
 * with the relay's descriptor; written before the end-of-file can be seen. Native byte order.
 */
#define HANDSHAKE_RELAY_STATE_SIZE     2
#define HANDSHAKE_RELAY_EVENT          0 /* offset of one byte: */
#define HANDSHAKE_RELAY_OPEN           0 /* no end yet */
#define HANDSHAKE_RELAY_CLOSE_NOTIFY   1 /* the peer said close_notify */
#define HANDSHAKE_RELAY_TRUNCATED      2 /* the TCP connection ended without it */
#define HANDSHAKE_RELAY_ALERT_RECEIVED 3 /* a fatal alert of the peer: the byte below */
#define HANDSHAKE_RELAY_ALERT_SENT     4 /* the peer broke the protocol: the alert below was sent */
#define HANDSHAKE_RELAY_ALERT          1 /* offset of one byte: the alert's number */

/*
 * What the program may tell the relay, on the descriptor "relay-control" (SOCK_SEQPACKET): a packet of one
 * byte, and one comes back. What was written to the relay before goes under the old key, what is written
 * after the answer under the new one.
 */
#define HANDSHAKE_RELAY_UPDATE     1 /* send a KeyUpdate (TLS 1.3) */
#define HANDSHAKE_RELAY_UPDATE_ASK 2 /* likewise, and ask the peer for one */
#define HANDSHAKE_RELAY_AGREED     1 /* the answer: it has its place among the data */
#define HANDSHAKE_RELAY_REFUSED    0 /* the answer: TLS 1.2, or nothing can be sent any more */

#endif
