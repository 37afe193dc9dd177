"""Asking one or many hosts at the same time: what the commands about hosts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from kvmctl import parallel
from kvmctl.commands._complete import every_host
from kvmctl.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Outcome, Work

Result = TypeVar("Result")

SECONDS = 60.0
"""How long a host gets to answer everything."""
AT_ONCE = 64


def host_arguments(*, many: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """[HOST], or [HOST…], as another way to write -H; the function gets `named`, for `targets`."""
    metavar = "[HOST…]" if many else "[HOST]"
    return click.argument("named", nargs=-1 if many else 1, required=False, metavar=metavar, shell_complete=every_host)


def targets(app: App, named: str | tuple[str, ...] | None) -> list[Target]:
    """The hosts named, by argument or with -H."""
    if named:
        if app.settings.hosts:
            raise UsageError("usage", "hosts are named twice: as arguments and with -H")
        app.settings.hosts = (named,) if isinstance(named, str) else named
    return app.targets()


def ask(
    app: App, targets: Sequence[Target], question: Callable[[Target, Work], Result], *, seconds: float = SECONDS
) -> list[Outcome[Target, Result]]:
    """What became of the question to each host, in the order given."""
    outcomes, left = parallel.run(targets, question, limit=app.settings.timeout or seconds, at_once=AT_ONCE)
    app.abandoned = app.abandoned or left
    return outcomes


def one(app: App, question: Callable[[Work], Result], *, seconds: float = SECONDS) -> Result:
    """The answer to a question that is about several hosts together."""
    outcomes, left = parallel.run([None], lambda _, work: question(work), limit=app.settings.timeout or seconds)
    app.abandoned = app.abandoned or left
    [outcome] = outcomes
    if outcome.error is not None:
        raise parallel.as_error(outcome.error)
    return cast("Result", outcome.value)


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
