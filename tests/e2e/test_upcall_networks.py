# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's consumers in several network namespaces: each hears from the agent of its own."""

import contextlib
import json
import subprocess
import time

import pytest

from netns import namespace, pair
from scale import FULL, milliseconds, wait_until
from upcall import CLIENT, SERVER, UNAUTHENTICATED, X509, Upcall, patiently

pytestmark = pytest.mark.usefixtures("upcalls")


def handshake(name=None, timeout_ms=0):
    """What the client and the server in this namespace get."""
    with pair(name) as (ours, theirs):
        with Upcall(theirs, SERVER, X509, timeout_ms=timeout_ms) as server, \
                Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost", timeout_ms=timeout_ms) as client:
            return client.result()[0], server.result()[0]


def has_agent(name=None):
    with pair(name) as (ours, _):
        try:
            with Upcall(ours, CLIENT, X509, "localhost"):
                return True
        except ProcessLookupError:
            return False


def numbers(one):
    """Of each namespace, from the daemon's status."""
    with one.client() as client:
        lines = client.status_lines()["kernel-namespace"]
    return {name: {key: int(value) for key, value in (word.split("=") for word in words)}
            for name, *words in (line.split() for line in lines)}


def test_a_namespace_that_is_not_named_has_no_agent(agent):
    with namespace("foreign"):
        agent()
        assert handshake() == ("ok", "ok")
        assert not has_agent("foreign")


def test_a_named_one_is_served_beside_the_daemon_s_own(agent, covers):
    with namespace("blue"):
        one = agent(namespace=["blue", "/run/netns/green"])
        assert handshake("blue") == ("ok", "ok")
        assert handshake() == ("ok", "ok")
        # Named, and comes later.
        with namespace("green"):
            wait_until(lambda: has_agent("green"), what="an agent in green")
            assert handshake("green") == ("ok", "ok")
            seen = numbers(one)
            assert seen["blue"]["established"] == seen["(own)"]["established"] == 2
            assert seen["/run/netns/green"]["established"] == 2
            assert one.status()["kernel-namespaces"] == 3
            shown = subprocess.run([one.program.parent / "handshake", "status", "--json",
                                    "--socket", one.socket], capture_output=True, check=True)
            assert {"name": "blue", "requests": 2, "established": 2, "failed": 0,
                    "under-way": 0} in json.loads(shown.stdout)["kernel-namespace"]
        wait_until(lambda: "/run/netns/green" not in numbers(one), what="its end")
    covers("Kernel consumer, several network namespaces", "TLS1.3", "client")
    covers("Kernel consumer, several network namespaces", "TLS1.3", "server")


def test_all_are_joined_as_they_come_and_let_go_of_as_they_go(agent):
    with namespace("early"):
        one = agent(namespaces="all")
        assert handshake("early") == ("ok", "ok")
        # At most two more than later: consumers hear a moment before the agent lets go of their sockets.
        descriptors = one.descriptors([one.process.pid])
        for turn in range(3):
            with namespace("late"):
                wait_until(lambda: "late" in numbers(one), what="late's joining")
                assert handshake("late") == ("ok", "ok")
            wait_until(lambda: "late" not in numbers(one), what="late's end")
        wait_until(lambda: one.descriptors([one.process.pid]) <= descriptors,
                   what="its descriptors' end")
        # Served under their first name alone, however many they have.
        subprocess.run(["ln", "-s", "/run/netns/early", "/run/netns/second"], check=True)
        try:
            time.sleep(0.5)
            assert set(numbers(one)) == {"(own)", "early"}
        finally:
            subprocess.run(["rm", "/run/netns/second"], check=True)
        assert one.reload()
        assert handshake("early") == ("ok", "ok")
        # No more in the configuration.
        one.kernel["namespaces"] = "named"
        one.write()
        assert one.reload()
        wait_until(lambda: not has_agent("early"), what="early's end")
        assert handshake() == ("ok", "ok")


def test_without_kernel_all_namespaces_are_let_go_of(agent):
    with namespace("blue"):
        one = agent(namespace="blue")
        assert handshake("blue") == handshake() == ("ok", "ok")
        served, one.kernel = one.kernel, {}
        one.write()
        assert one.reload()
        wait_until(lambda: not has_agent("blue") and not has_agent(), what="the end in both")
        one.kernel = served
        one.write()
        assert one.reload()
        wait_until(lambda: has_agent("blue") and has_agent(), what="an agent in both again")
        assert handshake("blue") == handshake() == ("ok", "ok")


def test_a_request_outlives_the_name_of_its_namespace(agent):
    one = agent(namespaces="all")
    with namespace("passing"):
        wait_until(lambda: "passing" in numbers(one), what="its joining")
        stack = contextlib.ExitStack()
        ours, theirs = stack.enter_context(pair("passing"))
        client = stack.enter_context(Upcall(ours, CLIENT, UNAUTHENTICATED, "localhost"))
        server = Upcall(theirs, SERVER, X509)
        stack.enter_context(server)
    with stack:
        assert client.result()[0] == server.result()[0] == "ok"
    wait_until(lambda: "passing" not in numbers(one), what="its end")


def test_without_the_right_to_enter_it_says_so(agent):
    with namespace("blue"):
        one = agent(namespace="blue", start=False)
        check = [one.program, "--check", "--config", one.config]
        checked = subprocess.run(["setpriv", "--bounding-set", "-sys_admin", "--inh-caps",
                                  "-sys_admin", *check], capture_output=True, text=True)
        assert checked.returncode == 1
        assert "/run/netns/blue" in checked.stdout and "CAP_SYS_ADMIN" in checked.stdout
        one.start()
        checked = subprocess.run(check, capture_output=True, text=True)
        assert checked.returncode == 0 and "namespace blue" in checked.stdout, checked.stdout


def test_a_flood_in_one_namespace_leaves_room_for_another(agent):
    """All peers in one namespace are silent, and its requests would fill the agent's room for good."""
    with namespace("flooded"), contextlib.ExitStack() as stack:
        one = agent(namespaces="all", **{"requests-total": 40})
        wait_until(lambda: "flooded" in numbers(one), what="its joining")
        for _ in range(40):
            ours, _ = stack.enter_context(pair("flooded"))
            stack.enter_context(patiently(ours, CLIENT, X509, "localhost",
                                          timeout_ms=milliseconds(9000)))
        # Two consumers in two namespaces: five each for themselves, twenty for the first.
        wait_until(lambda: numbers(one)["flooded"]["under-way"] == 25, what="the flood")
        began = time.monotonic()
        for _ in range(5 if FULL else 2):
            assert handshake() == ("ok", "ok")
        assert numbers(one)["flooded"]["under-way"] == 25
        assert time.monotonic() - began < milliseconds(6000) / 1000
