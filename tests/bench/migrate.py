"""`make bench-migrate`: kvmctl without any flag against virsh with each of its sets of flags, on the same daemons.

    python -m tests.bench.migrate [ROUNDS] [--grid]

First the guests that were promised something, then (--grid) guests of many kinds over links of several speeds. All take
turns on the same two libvirtds. The machine has a few cores for two QEMUs and two daemons: what else it does is seen in
the load beside each line, and in the pauses. Asserts nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence

from tests.bench.migrating import Mover, Run, Yard, ours, virsh
from tests.lab.cable import shaped
from tests.lab.hosts import Lab, missing
from tests.lab.load import LOADS, MIB, Load

GIGABIT = "1gbit"
LIMIT = 45.0
"""Seconds after which a migration is said never to arrive."""
XBZRLE = ("--compressed", "--comp-methods", "xbzrle", "--comp-xbzrle-cache")
FLAGS: Mapping[str, tuple[str, ...]] = {
    "--live": (),
    "xbzrle, 64 MiB": (*XBZRLE, str(64 * MIB)),
    "xbzrle, 512 MiB": (*XBZRLE, str(512 * MIB)),
    "auto-converge 80/15": ("--auto-converge", "--auto-converge-initial", "80", "--auto-converge-increment", "15"),
    "post-copy after pass 1": ("--postcopy", "--postcopy-after-precopy"),
    "post-copy after 1 s": ("--postcopy", "--timeout", "1", "--timeout-postcopy"),
    "2 connections": ("--parallel", "--parallel-connections", "2"),
}
PROMISED: Mapping[str, tuple[str, ...]] = {
    "idle": ("--live",),
    "mid": ("--live", "xbzrle, 64 MiB", "post-copy after pass 1"),
    "hot": ("xbzrle, 512 MiB", "post-copy after pass 1"),
}
"""What virsh is asked for there. It never arrives with `--live` and a hot guest."""

GUESTS: Mapping[str, Load] = {
    "idle": LOADS["idle"],
    "35 MB/s over 128 MiB": Load(touched=256 * MIB, working_set=128 * MIB, rate=35_000_000),
    "mid": LOADS["mid"],
    "mid, whole pages": Load(touched=256 * MIB, working_set=64 * MIB, rate=70_000_000, whole=True),
    "150 MB/s over 64 MiB": Load(touched=256 * MIB, working_set=64 * MIB, rate=150_000_000),
    "hot": LOADS["hot"],
    "hot, whole pages": Load(touched=384 * MIB, working_set=360 * MIB, rate=350_000_000, whole=True),
}
LINKS = ("250mbit", GIGABIT, "4gbit")


def promised(yard: Yard, rounds: int) -> list[Run]:
    """The guests that were promised something, at 1 Gbit/s; the runs of kvmctl."""
    own: list[Run] = []
    print(f"{'guest':<8} {'by':<24} {'runs':>4} {'total s':>8} {'most':>6} {'pause ms':>9} {'most':>6} {'MiB':>5} load")
    with shaped(yard.lab.hosts, GIGABIT):
        for name, sets in PROMISED.items():
            movers: dict[str, Mover] = {"kvmctl": ours(), **{words: virsh(FLAGS[words]) for words in sets}}
            runs: dict[str, list[Run]] = {who: [] for who in movers}
            for _ in range(rounds):
                for who, mover in movers.items():
                    runs[who].append(yard.run(LOADS[name], mover, limit=LIMIT))
            for who, done in runs.items():
                print(f"{name:<8} {who:<24} {line(done)} {os.getloadavg()[0]:.1f}", flush=True)
            own += runs["kvmctl"]
    return own


def line(runs: Sequence[Run]) -> str:
    totals, pauses = seen(run.total_ms for run in runs), seen(run.pause_ms for run in runs)
    if not totals or not pauses:
        return f"{len(runs):>4} {'never':>8}"
    wire = statistics.median(run.wire for run in runs) / MIB
    return (
        f"{len(totals):>4} {statistics.median(totals) / 1000:>8.2f} {max(totals) / 1000:>6.2f} "
        f"{statistics.median(pauses):>9.0f} {max(pauses):>6.0f} {wire:>5.0f}"
    )


def seen(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def grid(yard: Yard) -> list[Run]:
    """Each guest over each link, by each set of flags; kvmctl's runs."""
    own: list[Run] = []
    good = cells = 0
    print(
        f"\n{'guest':<22} {'link':<8} {'kvmctl s':>8} {'ms':>5}   {'best of virsh':<24} {'s':>6} {'ms':>5} ratio load"
    )
    for link in LINKS:
        with shaped(yard.lab.hosts, link):
            for name, load in GUESTS.items():
                mine = yard.run(load, ours(), limit=LIMIT)
                theirs = {words: yard.run(load, virsh(flags), limit=LIMIT) for words, flags in FLAGS.items()}
                arrived = {words: run for words, run in theirs.items() if run.total_ms is not None}
                best = min(arrived, key=lambda words: arrived[words].total_ms or 0.0)
                ratio = (mine.total_ms or float("inf")) / (arrived[best].total_ms or 1.0)
                cells, good = cells + 1, good + (ratio <= 1.25)
                print(
                    f"{name:<22} {link:<8} {told(mine)}   {best:<24} {told(arrived[best])} {ratio:>5.2f} "
                    f"{os.getloadavg()[0]:.1f}",
                    flush=True,
                )
                own.append(mine)
    print(f"within 1.25 of the best: {good} of {cells} cells")
    return own


def told(run: Run) -> str:
    if run.total_ms is None:
        return f"{'never':>8} {'':>5}"
    return f"{run.total_ms / 1000:>8.2f} {run.pause_ms or 0:>5.0f}"


def forecasts(runs: Sequence[Run]) -> None:
    """What kvmctl said before against what it was; the pause by QEMU's clock, the rest as kvmctl tells it."""
    told_before = [run for run in runs if run.answer.get("forecast") and run.total_ms is not None]
    if not told_before:
        print("\nno forecast to compare")
        return
    right = sum(run.answer["forecast"]["converges"] == copied(run) for run in told_before)
    share = 100 * right / len(told_before)
    print(f"\nforecast of {len(told_before)} moves: right on convergence {share:.0f} %, median error of")
    facts = {
        "total_ms": [run.answer["total_ms"] for run in told_before],
        "downtime_ms": [run.pause_ms or 0.0 for run in told_before],
        "bytes": [run.answer["bytes"] for run in told_before],
    }
    for key, values in facts.items():
        pairs = [(run.answer["forecast"][key], fact) for run, fact in zip(told_before, values, strict=True) if fact]
        errors = [abs(before - fact) / fact for before, fact in pairs if before is not None]
        print(f"  {key:<12} {100 * statistics.median(errors):>4.0f} %   (worst {100 * max(errors):.0f} %)")


def copied(run: Run) -> bool:
    """Whether copying alone came to the end."""
    return not any("post-copy" in why for why in run.answer["decisions"])


def main() -> int:
    absent = missing()
    if absent:
        print(f"the measurements need the lab, which {absent}", file=sys.stderr)
        return 1
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    lab = Lab()
    try:
        yard = Yard(lab)
        runs = promised(yard, numbers[0] if numbers else 5)
        if "--grid" in sys.argv[1:]:
            runs += grid(yard)
        forecasts(runs)
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
