"""Asking one or many hosts at the same time: what the commands about hosts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from kvmctl import parallel
from kvmctl.errors import PartialFailure

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Outcome, Work

Result = TypeVar("Result")

SECONDS = 60.0
"""How long a host gets to answer everything."""
AT_ONCE = 64


def ask(
    app: App, targets: Sequence[Target], question: Callable[[Target, Work], Result], *, seconds: float = SECONDS
) -> list[Outcome[Target, Result]]:
    """What became of the question to each host, in the order given."""
    outcomes, left = parallel.run(targets, question, limit=app.settings.timeout or seconds, at_once=AT_ONCE)
    app.abandoned = app.abandoned or left
    return outcomes


def tell_failures(app: App, outcomes: Sequence[Outcome[Target, Result]]) -> None:
    """Raise for the one host that did not answer; of several, tell of each on stderr."""
    errors = [parallel.as_error(outcome.error) for outcome in outcomes if outcome.error is not None]
    if errors and len(outcomes) == 1:
        raise errors[0]
    for error in errors:
        app.output.failure(error)


def failed(outcome: Outcome[Target, Result]) -> dict[str, Any]:
    """What stands for a host that did not answer, in a program's answer."""
    assert outcome.error is not None
    return {"name": outcome.thing.name, "error": parallel.as_error(outcome.error).as_dict()}


def end(outcomes: Sequence[Outcome[Target, Result]]) -> None:
    """Raise if some of several hosts did not answer; their answers have been given."""
    silent = sum(outcome.error is not None for outcome in outcomes)
    if silent:
        raise PartialFailure("partial-failure", f"{silent} of {len(outcomes)} hosts did not answer")
