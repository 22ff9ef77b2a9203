# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two agents at once, and names: each request is answered once, and no resolver is ever asked."""

import contextlib
import socket
import subprocess
import time

import pytest

from netns import pair
from scale import FULL, milliseconds, seconds, wait_until
from upcall import CLIENT, SERVER, X509, Upcall, patiently

pytestmark = pytest.mark.usefixtures("upcalls")


def alarming(log):
    return [line for line in log.splitlines()
            if any(word in line for word in ("error:", "warning:", "did not take"))]


def test_of_two_agents_each_request_has_one(agent):
    agents = [agent(), agent()]
    before = [len(one.log()) for one in agents]
    count = 40 if FULL else 10
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(pair()) for _ in range(count)]
        calls = []
        for ours, theirs in ends:
            calls.append(stack.enter_context(patiently(theirs, SERVER, X509)))
            calls.append(stack.enter_context(patiently(ours, CLIENT, X509, "localhost")))
        for call in calls:
            assert call.result(60)[0] == "ok"
    wait_until(lambda: sum(one.status()["kernel-requests-under-way"] for one in agents) == 0,
               what="their end")
    assert sum(one.status()["kernel-requests"] for one in agents) == 2 * count
    for one, length in zip(agents, before):
        assert alarming(one.log()[length:]) == []


def test_who_lost_a_request_is_not_alarmed(agent):
    """The consumer gave up: DONE then finds nobody."""
    one = agent()
    length = len(one.log())
    with pair() as (ours, _):
        with Upcall(ours, CLIENT, X509, "localhost", timeout_ms=milliseconds(1500)) as client:
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 1, what="it under way")
            assert client.cancel()
            wait_until(lambda: one.status()["kernel-requests-under-way"] == 0, what="its end")
    assert alarming(one.log()[length:]) == []


def test_one_agent_goes_and_the_other_takes_over(agent):
    first, second = agent(), agent()
    first.stop()
    with pair() as (ours, theirs):
        with Upcall(theirs, SERVER, X509) as server, \
                Upcall(ours, CLIENT, X509, "localhost") as client:
            assert client.result()[0] == server.result()[0] == "ok"
    assert second.status()["kernel-requests"] == 2


@contextlib.contextmanager
def black_hole():
    """A resolver that takes each question and never answers, the only one of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 53))
        sock.setblocking(False)
        with open("/run/resolv.conf", "w", encoding="ascii") as file:
            file.write("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", "/run/resolv.conf", "/etc/resolv.conf"], check=True)
        try:
            yield sock
        finally:
            subprocess.run(["umount", "/etc/resolv.conf"], check=True)


def asked(sock):
    try:
        sock.recv(512)
        return True
    except BlockingIOError:
        return False


def test_a_resolver_that_never_answers_costs_nothing(agent):
    with black_hole() as resolver:
        one = agent()
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["getent", "hosts", "name.example.test"], timeout=seconds(1),
                           stdout=subprocess.DEVNULL)
        assert asked(resolver), "the resolver is not the one that this machine asks"
        while asked(resolver):
            pass
        began = time.monotonic()
        # A name that has no address, addresses, and nothing; servers know nobody's name.
        for name, status in (("host.example.test", "ok"), ("127.0.0.1", "ok"), ("::1", "ok"),
                             ("127.0.0.2", "EACCES"), ("unknown.example.invalid", "EACCES")):
            with pair() as (ours, theirs):
                with Upcall(theirs, SERVER, X509) as server, \
                        Upcall(ours, CLIENT, X509, name) as client:
                    assert (name, client.result()[0]) == (name, status)
                    assert server.result()[0] == status
        with pair() as (ours, _):
            with Upcall(ours, CLIENT, X509) as client:
                assert client.result()[0] == "EACCES"
        assert not asked(resolver), "something asked for a name"
        assert time.monotonic() - began < seconds(5)
    # Who it was can be read nonetheless, as an address.
    assert '"unknown.example.invalid" (127.0.0.1:' in one.log()
    assert "has no peer-name" in one.log()
