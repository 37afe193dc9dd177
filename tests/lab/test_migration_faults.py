"""Whatever breaks under a migration: exactly one copy runs, nothing stale is left, and the exit code is true.

The cells are in `faults/matrix.py`, what must hold after each in `faults/trial.py`. They are tried on several pairs of
hosts at once, in the background, and each test waits for its own.

Emulated hosts on a busy machine have races of their own: libvirt 9.0 forgets a job, QEMU 7.2 hangs when it is called
off in its last moments. So a cell that does not hold is tried again on new hosts, and fails if it never holds; at once
if two copies ran, or none did in the end.

Where the same is done to disks that lock and to disks that do not, one of both is tried here, by turns; both where the
guest goes over, since that is made in two ways. `make faults` tries every cell once, also those that take a minute, and
shows what became of it.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.faults import counter
from tests.lab.faults.cell import Cell
from tests.lab.faults.matrix import matrix
from tests.lab.faults.run import Run
from tests.lab.hosts import missing
from tests.lab.waiting import until

LONGEST = 60.0
"""Seconds of a cell that is tried here."""
GOING_OVER = ("lost before Finish", "lost after Finish", "kvmctl after Finish", "target killed after Finish")


def chosen() -> Iterator[Cell]:
    alike: dict[tuple[str, str], list[Cell]] = {}
    for cell in matrix():
        if cell.seconds < LONGEST:
            alike.setdefault((cell.mode, cell.name), []).append(cell)
    turn = itertools.cycle(range(2))
    for cells in alike.values():
        both = len(cells) == 1 or cells[0].name.endswith(GOING_OVER)
        yield from cells if both else [cells[next(turn)]]


CELLS = [*chosen()]
TRIES, PAIRS = 3, 5
WANTED = 100
"""So many cells there must be at least."""


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[Run]:
    """All cells that are asked for in this session, under way."""
    if absent := missing():
        pytest.skip(f"the lab tier {absent}")
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [call.params["cell"] for call in calls if call is not None and isinstance(call.params.get("cell"), Cell)]
    run = Run(asked, pairs=PAIRS, tries=TRIES)
    yield run
    run.close()


@pytest.mark.timeout(2400)  # for all of them: the first that is asked for may come last
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.title)
def test_one_copy_runs_and_nothing_is_left(cell: Cell, verdicts: Run) -> None:
    verdict = verdicts.verdicts[cell.title].result()
    assert not verdict.problems, "\n".join([*verdict.problems, f"exit code {verdict.code}", verdict.said])


def test_the_guest_notices_another_writer(tmp_path: Path) -> None:
    """Without that, no cell would prove anything."""
    disk = counter.image(tmp_path / "vm.img")
    options = (
        f"-accel tcg -m 32 -display none -serial none -monitor none -drive file={disk},format=raw,file.locking=off"
    )
    command = ["qemu-system-x86_64", *options.split()]
    with subprocess.Popen(command) as first:
        until(lambda: counter.read(disk).count > 5, "it counts")
        alone = counter.read(disk)
        assert alone.starts == 1
        assert not alone.foreign
        with subprocess.Popen(command) as second:
            until(lambda: counter.read(disk).foreign, "it notices")
            second.kill()
        first.kill()


def test_there_are_enough_cells() -> None:
    """In both modes, with disks that lock and without; of every fault of the matrix that is no longer than a minute."""
    assert len(CELLS) >= WANTED
    tried = {(cell.mode, cell.name) for cell in CELLS}
    assert {(cell.mode, cell.name) for cell in matrix() if cell.seconds < LONGEST} == tried
    assert {(cell.mode, cell.locks) for cell in CELLS} == {
        (mode, locks) for mode in ("managed", "p2p") for locks in (True, False)
    }
