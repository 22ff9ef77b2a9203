# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/nvme.md: its commands, as they stand there, in their order."""

import re
import subprocess

import pytest

import keys
import nvme
import page

pytestmark = [pytest.mark.usefixtures("kernel_records")]
PAGE = "nvme.md"


@pytest.fixture
def machine(tmp_path, build):
    nvme.needs_nvme()
    said = subprocess.run(["nvme", "gen-tls-key", "--help"], capture_output=True, text=True,
                          check=False) if nvme.installed("nvme") else None
    if not said or "--insert" not in said.stdout + said.stderr:
        pytest.skip("no nvme-cli with \"gen-tls-key --insert\"")
    one = page.Machine(tmp_path, build)
    yield one
    # What "Undo" does, where the page did not come so far.
    subprocess.run(["umount", "-l", "/mnt/disk"], capture_output=True, check=False)
    nvme.forget()
    keys.keyctl("clear", nvme.RING)
    one.close()


def test_the_commands_of_the_page(machine, counted, covers):
    headings = page.headings(PAGE)
    assert headings[0] == "The daemon" and headings[-1] == "Undo", headings
    with counted():
        said = {heading: machine.run(PAGE, heading) for heading in headings}
    assert "It went over TLS." in said["The host"]
    shown = said["Is it really encrypted?"]
    assert int(shown.split()[0], 16) != 0, shown
    assert re.search(r"^ *kernel-requests-established: +[1-9]", shown, re.M), shown
    assert re.search(r"^TlsCurrTxSw\s+[1-9]", shown, re.M), shown
    assert "NVMeTLSkey-1:01:" in said["The key"]
    covers("NVMe/TCP", "TLS1.3", "client")
    covers("NVMe/TCP", "TLS1.3", "server")
