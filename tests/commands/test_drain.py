"""`kvmctl drain` without real hosts: what its options mean, and what it says where no VM can go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import InProcess

HERE = "test:///default"
DRAIN = f"drain {HERE} --to {HERE} -o json"


@pytest.mark.parametrize(
    "options",
    [
        "--max-downtime 100ms",
        "--deadline 60 --on-deadline pause",
        "--postcopy",
        "--xbzrle 256MiB",
        "--auto-converge 30+20",
        "--connections 4",
        "--bandwidth 100MiB",
        "--p2p",
        "--copy-disks",
        "--map network:lan=lan2",
        "--tls",
        "--insecure",
        "--unsafe",
    ],
)
def test_a_host_has_nowhere_to_go_but_itself(run: InProcess, options: str) -> None:
    """The options are those of a migration, and a host is not a place for its own VMs."""
    error = run(f"{DRAIN} {options}", exit=5).json["error"]
    assert error["code"] == "no-host-left"
    assert error["hint"] == "name one with --to, or put hosts into config.yaml"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--max-downtime soon", "--max-downtime: 'soon' is not a time"),
        ("--deadline 0", "a deadline of no time at all"),
        ("--tls --insecure", "--tls and --insecure contradict each other"),
        ("--at-once 0", "--at-once"),
        ("--undo --dry-run", "--undo takes none of"),
    ],
)
def test_options_that_make_no_sense(run: InProcess, options: str, said: str) -> None:
    assert said in run(f"drain {HERE} --to {HERE} {options}", exit=2).stderr


def test_a_host_without_vms_is_empty(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "host.xml").write_text("<node/>")
    empty = f"test://{tmp_path}/host.xml"
    answer = run(f"drain {empty} --to {HERE} -o json").json
    assert answer == {"host": empty, "plan": [], "stuck": [], "moved": [], "failed": []}
