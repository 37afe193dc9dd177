"""`kvmctl host hugepages` on real libvirtds: near, far and embedded.

Both hosts of every lab have one kernel, so huge pages are for one test at a time, of all that run on this machine.
"""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.test_first_light import WHERE
from tests.results import words

KERNEL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
PAGES = 64
MOUNT = "mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages"


@pytest.fixture
def pages() -> Iterator[Callable[[], int]]:
    """How many huge pages of 2MiB the kernel has; none before the test, and as many as before after it."""
    with (Path(tempfile.gettempdir()) / "kvmctl-test-hugepages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = KERNEL.read_text()
        KERNEL.write_text("0")
        yield lambda: int(KERNEL.read_text())
        KERNEL.write_text(before)


@pytest.fixture
def mounted(host1: Host) -> Iterator[None]:
    """libvirtd of host1 knows a hugetlbfs."""
    host1.run("mkdir -p /dev/hugepages")
    host1.run(MOUNT)
    host1.restart_libvirtd()
    yield
    host1.run("umount -l /dev/hugepages")
    host1.restart_libvirtd()


def with_pages(spec: Path, more: str = "") -> Path:
    """The spec, backed by huge pages."""
    memory = f"memory: {{size: {PAGES * 2}MiB, hugepages: 2MiB{more}}}"
    spec.write_text(spec.read_text().replace("memory: 128MiB", memory))
    return spec


@pytest.mark.parametrize("where", WHERE)
def test_pages_are_made_and_taken_back(where: str, host1: Host, host2: Host, pages: Callable[[], int]) -> None:
    command = f"host hugepages {WHERE[where]} --size 2MiB"
    done = host1.kvmctl(f"{command} --count 4 -o json").json
    assert (done["changed"], done["sizes"][0]["total"], pages()) == (True, 4, 4)
    assert done["sizes"][0]["nodes"][0]["before"] == 0
    assert any("'hugepagesz=2M hugepages=4'" in note for note in done["notes"])
    again = host1.kvmctl(f"{command} --count 4")
    assert "as there were already" in again.stderr
    shown = host1.kvmctl(f"{command} -o json").json["sizes"][0]
    assert (shown["total"], shown["free"], shown["used"]) == (4, 4, 0)
    host1.kvmctl(f"{command} --node 0 --count 1")
    assert pages() == 1
    assert "0 huge pages of 2MiB" in host1.kvmctl(f"{command} --count 0").stderr
    assert pages() == 0


def test_more_than_the_host_has(host1: Host, pages: Callable[[], int]) -> None:
    refused = host1.kvmctl("host hugepages --size 1GiB --count 100000 -o json", exit=5).json["error"]
    assert refused["code"] == "resource-missing"
    assert host1.kvmctl("host hugepages --node 9 --size 2MiB --count 1 -o json", exit=3).json["error"]["code"] == (
        "node-not-found"
    )


def test_pages_that_no_guest_can_use_are_told(host1: Host, pages: Callable[[], int]) -> None:
    done = host1.kvmctl("host hugepages --size 2MiB --count 2 -o json").json
    assert done["sizes"][0]["mounted"] is False
    assert any(MOUNT in note and "restart libvirtd" in note for note in done["notes"])


def test_memfd_needs_no_file_system(host1: Host, pages: Callable[[], int], guest_spec: Callable[..., Path]) -> None:
    host1.kvmctl(f"host hugepages --size 2MiB --count {PAGES}")
    spec = with_pages(guest_spec("web1"))
    refused = host1.kvmctl(f"create {spec} --start", exit=1).stderr
    assert "hugetlbfs" in refused
    assert "kvmctl host hugepages" in refused
    spec = with_pages(guest_spec("web1"), ", source: memfd")
    host1.kvmctl(f"create {spec} --start")
    assert host1.kvmctl("host hugepages --size 2MiB -o json").json["sizes"][0]["used"] == PAGES
    host1.kvmctl("stop web1 --force --timeout 1")


@pytest.mark.usefixtures("mounted")
def test_pages_of_a_running_vm_stay(host1: Host, pages: Callable[[], int], guest_spec: Callable[..., Path]) -> None:
    done = host1.kvmctl(f"host hugepages --size 2MiB --count {PAGES + 2} -o json").json
    assert done["sizes"][0]["mounted"] is True
    host1.kvmctl(f"create {with_pages(guest_spec('web1'))} --start")
    shown = host1.kvmctl("host hugepages --size 2MiB -o json").json["sizes"][0]
    assert (shown["used"], shown["free"]) == (PAGES, 2)
    assert [(vm["name"], vm["running"], vm["pages"]) for vm in shown["vms"]] == [("web1", True, PAGES)]
    refused = host1.kvmctl(f"host hugepages --size 2MiB --count {PAGES - 1} -o json", exit=5)
    assert refused.json["error"]["code"] == "hugepages-in-use"
    assert "by web1" in refused.stderr
    assert pages() == PAGES + 2
    host1.kvmctl(f"host hugepages --size 2MiB --count {PAGES}")
    assert pages() == PAGES
    host1.kvmctl("stop web1 --force --timeout 1")
    host1.kvmctl("host hugepages --size 2MiB --count 0")
    assert pages() == 0
    assert "web1 is stopped and needs 64 pages" in host1.kvmctl("host hugepages --size 2MiB").stderr


def test_an_ordinary_user_may_not(host1: Host, pages: Callable[[], int]) -> None:
    home = host1.directory / "nobody"
    home.mkdir()
    home.chmod(0o777)
    names = ("HOME", "KVMCTL_STATE_DIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *host1.program]
    command = [*user, *words("host hugepages embedded --size 2MiB --count 1 -o json")]
    done = host1.run(command, check=False, env=dict.fromkeys(names, str(home)))
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "not-authorised"
    assert pages() == 0
