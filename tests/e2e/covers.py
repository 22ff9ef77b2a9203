# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests have shown: covers("Resumption by ticket", "TLS1.3", "server") at the end of a test
appends a line to the file of --covered once the test has passed. tests/coverage-table reads it."""

import ctypes
import json
import os

import pytest

VERSIONS = ("TLS1.2", "TLS1.3")
ROLES = ("client", "server")
_passed = pytest.StashKey[bool]()


def option(parser):
    parser.addoption("--covered", metavar="FILE",
                     help="append to FILE what the tests that passed have shown, a JSON line each")


def note_report(item, report):
    """For pytest_runtest_makereport."""
    if report.when == "setup":
        item.stash[_passed] = False
    elif report.when == "call":
        item.stash[_passed] = report.passed


def gnutls_version():
    library = ctypes.CDLL("libgnutls.so.30")
    library.gnutls_check_version.restype = ctypes.c_char_p
    return library.gnutls_check_version(None).decode()


@pytest.fixture
def covers(request, record_path):
    """covers(item, version, role): this test, if it passes, shows the item. Can be called several
    times; version is "TLS1.2" or "TLS1.3", role that of the service: "server" or "client"."""
    shown = []

    def note(item, version, role):
        assert version in VERSIONS, f"covers: version {version!r} is none of {VERSIONS}"
        assert role in ROLES, f"covers: role {role!r} is none of {ROLES}"
        shown.append({"item": item, "version": version, "role": role, "records": record_path,
                      "kernel": os.uname().release, "userland": gnutls_version(),
                      "test": request.node.nodeid})

    yield note
    path = request.config.getoption("--covered")
    if path and request.node.stash.get(_passed, False):
        with open(path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in shown))
