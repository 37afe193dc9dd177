"""The whole matrix, tried on several pairs of hosts at once: most of the time a trial waits.

Cells that take longest come first, so that all pairs end at about the same time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tests.lab.faults.cell import Cell
from tests.lab.faults.field import Field
from tests.lab.faults.trial import Verdict, attempt

PAIRS = 8


class Run:
    """Verdicts come as futures, by the title of the cell. `close()` ends what is not done yet.

    A cell that does not hold is tried `tries` times in all, each time on new hosts; not one in which two copies ran, or
    none did in the end.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        pairs: int = PAIRS,
        tries: int = 1,
        hear: Callable[[Verdict], object] = lambda verdict: None,
    ) -> None:
        self.verdicts: dict[str, Future[Verdict]] = {cell.title: Future() for cell in cells}
        assert len(self.verdicts) == len(cells), "two cells of the same title"
        self._waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in sorted(cells, key=lambda cell: -cell.seconds):
            self._waiting.put(cell)
        self._hear = hear
        self._tries = tries
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(pairs, len(cells)))]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        field: Field | None = None
        try:
            while not self._over.is_set():
                try:
                    cell = self._waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    field = field or Field()
                    verdict = attempt(field, cell)
                    for _ in range(1, self._tries):
                        if not verdict.problems or verdict.unsafe:
                            break
                        field.close()
                        field = Field()  # whatever the first try has left there
                        verdict = attempt(field, cell)
                except BaseException as problem:  # noqa: BLE001 - carried to who asks
                    self.verdicts[cell.title].set_exception(problem)
                    continue
                self.verdicts[cell.title].set_result(verdict)
                self._hear(verdict)
        finally:
            if field is not None:
                field.close()

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(300)
