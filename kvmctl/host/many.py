"""The same question about many things of one host, several of them on their way at a time.

A connection carries several calls at once, so a host that is far away is not waited for once for each thing. Whoever
calls this has a limit of its own; what hangs here hangs until that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kvmctl import parallel
from kvmctl.host.library import libvirt

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")

AT_ONCE = 5
"""libvirtd works on no more than so many calls of one client at a time."""
SECONDS = 600.0


def ask(things: Sequence[Thing], question: Callable[[Thing], Answer]) -> list[Answer]:
    """The answers in the order of the things. The first error, in that order, is raised."""
    if len(things) < 2:
        return [question(thing) for thing in things]
    outcomes, _ = parallel.run(things, lambda thing, work: question(thing), limit=SECONDS, at_once=AT_ONCE)
    answers: list[Answer] = []
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        answers.append(outcome.value)  # type: ignore[arg-type]
    return answers


def document(thing: Any, *, gone: int) -> str:
    """The XML of a domain or a device; nothing for one that went meanwhile, for which libvirt has the error `gone`."""
    try:
        text: str = thing.XMLDesc(0)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() != gone:
            raise
        return ""
    return text
