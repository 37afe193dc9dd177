"""One deed on one or many VMs of a host, at the same time: what the verbs share.

Each VM gets its own line on stderr, and its own object in a program's answer, in the order given. One VM that fails is
the command's own error; of several, each failure is told and the command ends with exit code 9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from kvmctl import parallel
from kvmctl.errors import KvmctlError, PartialFailure

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kvmctl.app import App
    from kvmctl.parallel import Outcome, Work

Thing = TypeVar("Thing")
Item = dict[str, Any]

SECONDS = 120.0
"""How long a deed may take that does not wait for a guest."""
GRACE = 5.0


def each(
    app: App,
    things: Sequence[Thing],
    deed: Callable[[Any, Thing, Work], Item],
    *,
    name: Callable[[Thing], str] = str,
    sentence: Callable[[Item], str] = lambda item: "",
    answer: Callable[[Sequence[Item], bool], None] | None = None,
    readonly: bool = False,
    place: Callable[[], AbstractContextManager[Any]] | None = None,
    at_once: int | None = None,
    seconds: float = SECONDS,
    grace: float = GRACE,
) -> None:
    """Do it to each thing. `name` is the VM's name, `sentence` what to say of its item to a person.

    `answer` shows the items, and whether a single one was asked for; by default as what was done. `place` is where
    the deed is done, and its first argument: `app.host` if nothing is said, or `app.watch` for deeds that wait.
    They wait for `seconds` and then have `grace` to finish, all of them together unless `at_once` says how many. A
    place that says how many shows by itself what goes on.
    """
    single = len(things) == 1

    def tell(outcome: Outcome[Thing, Item]) -> None:
        if outcome.error is None:
            said = sentence(outcome.value or {})
            if said:
                app.output.say(said)
        elif not single:
            app.output.failure(_error(outcome, name))

    waiting = place is not None
    shows = waiting and at_once is None
    shown = app.output.progress(f"waiting for {', '.join(map(name, things))}") if shows else nullcontext()
    with place() if place else app.host(readonly=readonly) as here, shown:
        outcomes, left = parallel.run(
            things,
            lambda thing, work: deed(here, thing, work),
            limit=app.settings.timeout or seconds,
            grace=grace,
            # Waiting is no work, and who comes later would wait for longer than was said.
            at_once=at_once or (len(things) if waiting else parallel.AT_ONCE),
            on_finish=tell,
        )
    app.abandoned = app.abandoned or left
    if single and outcomes[0].error is not None:
        raise _error(outcomes[0], name)
    items = [outcome.value or _failed(outcome, name) for outcome in outcomes]
    (answer or (lambda items, single: app.output.done(items, single=single)))(items, single)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed:
        raise PartialFailure("partial-failure", f"{failed} of {len(outcomes)} failed")


def _error(outcome: Outcome[Thing, Item], name: Callable[[Thing], str]) -> KvmctlError:
    assert outcome.error is not None
    error = parallel.as_error(outcome.error)
    error.vm = error.vm or name(outcome.thing)
    return error


def _failed(outcome: Outcome[Thing, Item], name: Callable[[Thing], str]) -> Item:
    return {"name": name(outcome.thing), "error": _error(outcome, name).as_dict()}
