"""All or nothing: what was done so far is taken back, last first, when a later step fails or is interrupted.

What cannot be taken back is told together with the error that it is all about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError
from kvmctl.host.connection import translated

if TYPE_CHECKING:
    from types import TracebackType


class Undo:
    """`with Undo(name) as undo: …; undo.add(lambda: …)`."""

    def __init__(self, vm: str) -> None:
        self.vm = vm
        self._steps: list[Callable[[], object]] = []

    def add(self, step: Callable[[], object]) -> None:
        """How to take back what is done next, or was done just now."""
        self._steps.append(step)

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is None:
            return
        left = []
        for step in reversed(self._steps):
            try:
                with translated(vm=self.vm, doing="undo what was done"):
                    step()
            except KvmctlError as failure:
                left.append(f"and it could not be undone: {failure.message}")
        if isinstance(problem, KvmctlError):
            problem.details = (*problem.details, *left)
