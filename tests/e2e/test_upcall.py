# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's handshake service: what its consumers get, whatever the peer or the daemon does."""

import contextlib
import os
import signal
import time

import pytest

from endpoint import Endpoint, context, in_thread
from netns import pair
from scale import FULL, SLOW, milliseconds, seconds, wait_until
from upcall import CLIENT, SERVER, UNAUTHENTICATED, X509, Upcall, exchange

pytestmark = pytest.mark.usefixtures("upcalls")


@pytest.mark.parametrize("auth", [UNAUTHENTICATED, X509])
def test_both_roles_serve_the_kernel_s_consumers(agent, auth, counted, covers):
    one = agent()
    with pair() as (ours, theirs), counted():
        with Upcall(theirs, SERVER, X509) as server:
            with Upcall(ours, CLIENT, auth, "localhost") as client:
                status, identity = client.result()
                assert status == "ok" and identity != 0
                status, identity = server.result()
                assert status == "ok"
                # Only a client that was asked for its certificate shows it.
                assert (identity != 0) == (auth == X509)
        exchange(ours, theirs)
    status = one.status()
    assert status["kernel-requests"] == 2 and status["kernel-requests-established"] == 2
    wait_until(lambda: one.status()["kernel-requests-under-way"] == 0, what="their end")
    covers("Kernel consumer, X.509" if auth == X509 else "Kernel consumer, unauthenticated client",
           "TLS1.3", "client")
    covers("Kernel consumer, X.509", "TLS1.3", "server")


def test_a_server_that_is_not_ours(agent, pki):
    agent()
    with pair() as (ours, theirs):
        peer = Endpoint(theirs, context("server", certificate=pki.cert("ecdsa"),
                                        key=pki.key("ecdsa")))
        done = in_thread(peer.handshake)
        with Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            assert client.result()[0] == "ok"
        done.result(seconds(20))


def test_without_an_agent_the_consumer_hears_it_at_once():
    with pair() as (ours, _):
        with pytest.raises(ProcessLookupError):
            Upcall(ours, CLIENT, X509, "localhost")


@pytest.mark.parametrize("name, status", [("other.name", "EACCES"), ("localhost", "ok")])
def test_the_peer_s_name_is_verified(agent, name, status):
    agent()
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, \
                Upcall(ours, CLIENT, UNAUTHENTICATED, name) as client:
            assert client.result()[0] == status
            assert server.result()[0] == status


@pytest.mark.parametrize("certificate", ["expired", "not-yet", "wrong-name", "wrong-purpose", "untrusted"])
def test_a_server_that_does_not_verify_is_refused(agent, pki, certificate):
    agent(nfsd={"names": [certificate], "client_certificates": None})
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, \
                Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            assert client.result()[0] == "EACCES"
            assert server.result()[0] == "EACCES"


def test_a_silent_peer_makes_the_consumer_try_again(agent):
    agent()
    with pair() as (ours, _):
        began = time.monotonic()
        with Upcall(ours, CLIENT, X509, "localhost", timeout_ms=milliseconds(3000)) as client:
            assert client.result()[0] == "ETIMEDOUT"
        # Before the consumer's own deadline.
        assert time.monotonic() - began < 3 * SLOW


def test_a_worker_s_death_is_an_answer(agent):
    one = agent()
    with pair() as (ours, _):
        with Upcall(ours, CLIENT, X509, "localhost") as client:
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 1, what="it under way")
            for pid in one.workers():
                os.kill(pid, signal.SIGKILL)
            assert client.result()[0] == "ETIMEDOUT"


def test_requests_outlive_a_reload(agent):
    one = agent()
    with pair() as (ours, theirs):
        with Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost") as client:
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 1, what="it under way")
            assert one.reload()
            with Upcall(theirs, SERVER, X509) as server:
                assert client.result()[0] == "ok"
                assert server.result()[0] == "ok"


def test_a_burst_of_requests_is_served(agent):
    """More than the kernel keeps come in a burst; the agent takes them until there are none."""
    one = agent()
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(pair()) for _ in range(500 if FULL else 60)]
        calls = []
        for ours, theirs in ends:
            for arguments in ((theirs, SERVER, X509), (ours, CLIENT, X509, "localhost")):
                while True:
                    try:
                        calls.append(stack.enter_context(
                            Upcall(*arguments, timeout_ms=milliseconds(30000))))
                        break
                    except BlockingIOError: # the kernel's queue is full for the moment
                        time.sleep(0.01)
        for call in calls:
            assert call.result(60)[0] == "ok"
    wait_until(lambda: one.status()["kernel-requests-under-way"] == 0, what="their end")


def test_a_cancelled_request_leaves_nothing(agent):
    one = agent()
    with pair() as (ours, _):
        with Upcall(ours, CLIENT, X509, "localhost", timeout_ms=milliseconds(3000)) as client:
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 1, what="it under way")
            assert client.cancel()
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 0, what="its end")
            assert not client.ended()


def test_an_agent_s_stop_answers_what_is_under_way(agent):
    one = agent()
    with pair() as (ours, _):
        with Upcall(ours, CLIENT, X509, "localhost") as client:
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 1, what="it under way")
            one.signal(signal.SIGTERM)
            assert client.result()[0] == "ETIMEDOUT"
            one.wait()
