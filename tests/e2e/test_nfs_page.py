# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/nfs.md: its commands are run as they stand there."""

import re
import subprocess

import pytest

import nfs
import page

PAGE = "nfs.md"


@pytest.fixture
def machine(build, tmp_path, kernel_records):
    one = page.Machine(tmp_path, build)
    program = subprocess.run(["sh", "-c", "grep -c xprtsec= $(command -v exportfs)"], env=one.environment,
                             capture_output=True, check=False)
    if program.returncode != 0:
        pytest.skip("this exportfs knows no xprtsec= (nfs-utils 2.6.3 and newer do)")
    server = nfs.Server(exports=False)
    nfs.run("mount", "-t", "tmpfs", "tmpfs", "/srv")  # a guest's own root cannot be exported
    yield one
    subprocess.run(["umount", "-f", "-l", "/mnt/shared"], capture_output=True, check=False)
    server.close()
    subprocess.run(["umount", "-l", "/srv"], capture_output=True, check=False)
    one.close()


def test_the_page_s_commands_do_what_it_says(machine):
    headings = page.headings(PAGE)
    assert headings == ["Certificates", "The daemon", "The server", "The client",
                        "Is it really encrypted?", "Undo"], headings
    try:
        for heading in headings[:3]:
            machine.run(PAGE, heading)
        assert "It came over TLS." in machine.run(PAGE, "The client")
        shown = machine.run(PAGE, "Is it really encrypted?")
        assert "xprtsec=mtls" in shown
        assert re.search(r"^ *kernel-requests-established: +[1-9]", shown, re.M), shown
        assert re.search(r"^TlsCurrTxSw\s+[1-9]", shown, re.M), shown
        machine.run(PAGE, "Undo")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{machine.log()[-5000:]}") from error


def test_a_heading_without_commands_is_an_error():
    assert "mount -t nfs4" in page.commands(PAGE, "The client")
    with pytest.raises(AssertionError):
        page.commands(PAGE, "No such heading")
