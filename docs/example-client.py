#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# example-client.py HOST PORT PROFILE [PEER-NAME]: stdin goes to the peer, its answer to stdout.
import os, socket, sys, urllib.parse

host, port, profile, name = (sys.argv[1:] + sys.argv[1:2])[:4]
tcp = socket.create_connection((host, int(port)))
daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
daemon.connect(os.environ.get("HANDSHAKED_SOCKET", "/run/handshaked/socket"))
request = f"handshake/1 handshake\nid=1\nrole=client\nprofile={profile}\npeer-name={name}\n"
socket.send_fds(daemon, [request.encode()], [tcp.fileno()])
packet, descriptors, _, _ = socket.recv_fds(daemon, 16384, 8)
lines = [line.partition("=") for line in packet.decode().splitlines()[1:]]
reply = {key: urllib.parse.unquote(value) for key, _, value in lines}
print(*(f"{key}: {value}" for key, value in reply.items()), sep="\n", file=sys.stderr)
if reply.get("outcome") != "established":
    sys.exit(f"{host}: {reply.get('error', 'the daemon went away')}")
names = reply.get("descriptors", "").split(",")
if "relay" in names:  # then this is the connection, and its records are always data
    tcp = socket.socket(fileno=descriptors[names.index("relay")])
tcp.sendall(sys.stdin.buffer.read())
while True:
    data, control, _, _ = tcp.recvmsg(16384, socket.CMSG_SPACE(1))
    record = control[0][2][0] if control else 23  # TLS_GET_RECORD_TYPE
    if record == 21 or not data:  # an alert, most often close_notify
        break
    if record == 23:  # data; what else comes is a ticket
        sys.stdout.buffer.write(data)
