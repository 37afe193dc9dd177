"""Calls that may never come back, with an end: made in a thread of their own, which is left behind when time is over.

Python cannot end a thread that sits inside libvirt. `left_behind` remembers that there is one, and that the process
must leave without waiting for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from kvmctl.errors import Interrupted

if TYPE_CHECKING:
    from kvmctl.parallel import Work

Result = TypeVar("Result")

left_behind = threading.Event()
"""Set once a call was abandoned; `cli.main` then ends the process at once."""

GLANCE = 0.05
"""How often a waiting call looks whether it was cancelled, in seconds. A finished call wakes it at once."""
ROUSE_SECONDS = (0.3, 1.0, 2.5)
"""When a call that has not come back is roused."""


class _Call(Generic[Result]):
    def __init__(self, function: Callable[[], Result]) -> None:
        self.function = function
        self.done = threading.Event()
        self.problem: BaseException | None = None
        self.value: list[Result] = []

    def __call__(self) -> None:
        try:
            self.value.append(self.function())
        except BaseException as problem:  # noqa: BLE001 - carried to the thread that waits
            self.problem = problem
        self.done.set()


def check_cancelled(work: Work | None) -> None:
    """Raise if the work was interrupted. Its time limit is for others to watch, who know what to say of it."""
    if work is not None and work.cancelled.is_set():
        raise Interrupted("interrupted", "interrupted")


def call(
    function: Callable[[], Result],
    seconds: float,
    *,
    work: Work | None = None,
    late: Callable[[Result], object] = lambda result: None,
    rouse: Callable[[], object] | None = None,
) -> Result:
    """What `function()` returns; TimeoutError after `seconds`. Ctrl-C works in the main thread, `work` tells others.

    When nobody waits any more and the call comes back after all, `late` gets its result, to undo it. `rouse` is any
    call by the same connection, for one on which another thread waits for long: libvirt before 10.0 may not notice that
    a second call has come, and leaves it there until a third one comes.
    """
    import time

    made: _Call[Result] = _Call(function)
    abandoned = threading.Event()

    def run() -> None:
        made()
        if abandoned.is_set() and made.value:
            late(made.value[0])

    threading.Thread(target=run, daemon=True).start()
    began = time.monotonic()
    ends = began + seconds
    rousing = [began + after for after in ROUSE_SECONDS] if rouse else []
    try:
        while not made.done.wait(min(GLANCE, max(0.0, ends - time.monotonic()))):
            check_cancelled(work)
            if time.monotonic() >= ends:
                raise TimeoutError
            if rouse and rousing and time.monotonic() >= rousing[0]:
                del rousing[0]
                threading.Thread(target=_Call(rouse), daemon=True).start()  # whatever it says
    except BaseException:
        abandoned.set()
        left_behind.set()
        raise
    if made.problem is not None:
        raise made.problem
    return made.value[0]
