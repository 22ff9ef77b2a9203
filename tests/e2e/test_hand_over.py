# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a peer sends right behind its last handshake message: no byte lost, none twice, wherever the
network cut it."""

import os
import socket
import time

import pytest

import endpoint
import library
from endpoint import in_thread
from scale import SLOW, seconds

REQUEST = b"GET /the/first/bytes HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Program:
    """A program that uses the library on one socket in the server or the client role."""

    def __init__(self, daemon, role, sock, **request):
        self.sock = sock
        self.handshake = library.Handshake(role=role, **request)
        self.path = daemon.socket

    def run(self, answer):
        """Handshake, then all that comes to its end, then the answer."""
        fd = self.sock.fileno()
        if self.handshake.perform(self.path, fd) < 0:
            return f"{self.handshake.outcome}: {self.handshake.error}"
        got = b""
        while True:
            more = self.handshake.recv(fd, 4096)
            if not more:
                break
            got += more
        self.handshake.sendall(fd, answer)
        self.handshake.close_notify(fd)
        return got

    def close(self):
        self.handshake.free()
        self.sock.close()


def cut(data, variant):
    """The data in pieces; over the variants every piece size and every single cut comes."""
    if variant == 0:
        return [data]
    if variant <= len(data):
        return [data[i:i + variant] for i in range(0, len(data), variant)]
    at = (variant - len(data) - 1) % (len(data) - 1) + 1
    return [data[:at], data[at:]]


def hand_over(daemon, role, peer_context, profile, variant):
    ours, theirs = endpoint.tcp_pair()
    program = Program(daemon, role, ours, profile=profile,
                      peer_name="localhost" if role == library.CLIENT else None)
    answer = b"answer %d" % variant
    request = REQUEST + b"%d" % variant
    running = in_thread(program.run, answer)
    try:
        peer = endpoint.Endpoint(theirs, peer_context, "localhost")
        while not peer.step():
            peer.flush()
            assert peer.feed(), running.result(seconds(10))
        # The last flight lies in the buffer yet: the request and the end join it.
        peer.tls.write(request)
        try:
            peer.tls.unwrap()
        except endpoint.ssl.SSLWantReadError:
            pass
        pieces = cut(peer.pending(), variant)
        for i, piece in enumerate(pieces):
            theirs.sendall(piece)
            # Now and then the reader gets the time to see this piece alone.
            if len(pieces) == 2 and variant % 4 == 0 and i == 0:
                time.sleep(0.001 * SLOW)
        assert running.result(seconds(30)) == request
        received = b""
        while True:
            more = theirs.recv(4096)
            if not more:
                raise AssertionError("the answer was cut short")
            peer.incoming.write(more)
            try:
                received += peer.tls.read(4096)
            except endpoint.ssl.SSLWantReadError:
                continue
            if len(received) >= len(answer):
                break
        assert received == answer
    finally:
        program.close()
        theirs.close()


@pytest.mark.timeout(400 * SLOW)
def test_request_behind_the_client_s_finished_arrives_once_1000_times(daemon, pki):
    context = endpoint.context("client", pki.trust, version="TLS1.3")
    for variant in range(1000):
        hand_over(daemon, library.SERVER, context, "ecdsa", variant)


@pytest.mark.timeout(200 * SLOW)
def test_answer_behind_the_server_s_finished_arrives_once(daemon, pki):
    """TLS 1.2: the server's Finished is the last message, and its data rides behind."""
    context = endpoint.context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                               version="TLS1.2")
    for variant in range(300):
        hand_over(daemon, library.CLIENT, context, "client", variant)


@pytest.mark.timeout(200 * SLOW)
def test_data_behind_the_tickets_of_a_tls13_server_arrives_once(daemon, pki):
    """TLS 1.3, client role: tickets, data and end in pieces of many sizes."""
    context = endpoint.context("server", certificate=pki.cert("ecdsa"), key=pki.key("ecdsa"),
                               version="TLS1.3")
    for variant in range(0, 1000, 7):
        hand_over(daemon, library.CLIENT, context, "client", variant)


def test_large_data_behind_the_client_s_finished_arrives_whole(daemon, pki):
    """More than the receive queue of the socket holds while the handshake ends."""
    data = os.urandom(4 << 20)
    ours, theirs = endpoint.tcp_pair()
    program = Program(daemon, library.SERVER, ours, profile="ecdsa")
    running = in_thread(program.run, b"done")
    try:
        peer = endpoint.Endpoint(theirs, endpoint.context("client", pki.trust), "localhost")
        while not peer.step():
            peer.flush()
            assert peer.feed()
        peer.tls.write(data)
        peer.close_notify()
        assert running.result(seconds(60)) == data
    finally:
        program.close()
        theirs.close()


def test_socket_keeps_the_caller_s_flags_and_options(daemon, pki, client):
    """Invariant 3: the shared file is left alone."""
    ours, theirs = endpoint.tcp_pair()
    with ours, theirs:
        for flag, nodelay in ((True, 0), (False, 1)):
            ours.setblocking(flag)
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x05" + bytes(15))
        before = (os.get_blocking(ours.fileno()),
                  ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                  ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        number = client.start(ours, "server", profile="ecdsa")
        endpoint.Endpoint(theirs, endpoint.context("client", pki.trust), "localhost").handshake()
        reply = client.reply(number)
        assert reply.outcome == "established", reply
        assert before == (os.get_blocking(ours.fileno()),
                          ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                          ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
