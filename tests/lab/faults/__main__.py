"""`make faults`: every fault under a migration, and what became of it, as a table.

python -m tests.lab.faults [PART OF A TITLE] [--pairs N]
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.lab.faults.matrix import matrix
from tests.lab.faults.run import PAIRS, Run
from tests.lab.faults.trial import Verdict
from tests.lab.hosts import missing


def row(verdict: Verdict) -> str:
    """Mode, disk and fault; exit code and error; where the VM is; seconds from the fault to the answer; the verdict."""
    how = f"{verdict.error or '-'}{', recovered' if verdict.recovered else ''}"
    told = "ok" if not verdict.problems else f"WRONG: {'; '.join(verdict.problems)}"
    title = verdict.cell.title
    return f"{title:<74} {verdict.code:>4}  {how:<32} {verdict.where:<24} {verdict.answered:6.1f} s  {told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="", help="only cells with this in their title")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="how many pairs of hosts at once")
    parser.add_argument("--said", action="store_true", help="what kvmctl said where something is wrong")
    given = parser.parse_args()
    if absent := missing():
        sys.exit(f"the matrix of faults {absent}")
    cells = [cell for cell in matrix() if given.part in cell.title]
    began = time.monotonic()
    run = Run(cells, pairs=given.pairs)
    wrong = 0
    try:
        for cell in cells:
            verdict = run.verdicts[cell.title].result()
            wrong += bool(verdict.problems)
            print(row(verdict), flush=True)
            if verdict.problems and given.said:
                print("\n".join(f"    {line}" for line in verdict.said.splitlines()))
    finally:
        run.close()
    print(f"{len(cells)} cells, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
