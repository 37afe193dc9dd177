"""What the libvirt of a host may do, read from files like those of a kernel."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from kvmctl.host.rights import rights
from kvmctl.host.targets import Target
from kvmctl.plan.placement.change import Rights

SYSTEM = Target("system", "qemu:///system")
EMBEDDED = Target("embedded", "qemu:///embed?root=/x")
ALL, NONE = "000001ffffffffff", "0000000000000000"
NICE = "0000000000800000"


def process(root: Path, name: str, capabilities: str) -> None:
    (root / f"proc/{name}").mkdir(parents=True)
    (root / f"proc/{name}/status").write_text(f"Name:\tlibvirtd\nCapEff:\t{capabilities}\n")


def daemon(root: Path, name: str, pid: int) -> None:
    (root / "run").mkdir()
    (root / f"run/{name}.pid").write_text(f"{pid}\n")


def controllers(root: Path, text: str) -> None:
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text(text)


@pytest.mark.parametrize(("capabilities", "privileged"), [(ALL, True), (NICE, True), (NONE, False)])
def test_a_daemon_on_this_machine(tmp_path: Path, capabilities: str, privileged: bool) -> None:
    daemon(tmp_path, "virtqemud", 7)
    process(tmp_path, "7", capabilities)
    controllers(tmp_path, "cpuset cpu io\n")
    assert rights(SYSTEM, tmp_path) == Rights(privileged=privileged, cgroups=2)


def test_what_cannot_be_seen_is_allowed(tmp_path: Path) -> None:
    assert rights(SYSTEM, tmp_path) == Rights(privileged=True, cgroups=0)
    daemon(tmp_path, "libvirtd", 7)
    controllers(tmp_path, "cpuset io\n")
    assert rights(SYSTEM, tmp_path) == Rights(privileged=True, cgroups=0)


def test_the_first_version_of_cgroups(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu/cpu.shares").write_text("1024")
    assert rights(SYSTEM, tmp_path).cgroups == 1


@pytest.mark.parametrize("uri", ["qemu+ssh://root@host2/system", "qemu:///system?socket=/x", "test:///default"])
def test_of_another_machine_nothing_is_known(tmp_path: Path, uri: str) -> None:
    assert rights(Target("x", uri), tmp_path) == Rights(privileged=True, cgroups=None)


@pytest.mark.parametrize("target", [EMBEDDED, Target("session", "qemu:///session")])
@pytest.mark.parametrize(
    ("capabilities", "limit", "privileged"), [(ALL, 0, True), (NONE, 0, False), (NONE, 99, True), (NONE, -1, True)]
)
def test_without_a_daemon_of_root_our_own_rights_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target, capabilities: str, limit: int, privileged: bool
) -> None:
    process(tmp_path, "self", capabilities)
    controllers(tmp_path, "cpu")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert rights(target, tmp_path) == Rights(privileged=privileged, cgroups=0)
