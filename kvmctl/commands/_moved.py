"""What `kvmctl migrate` answers people: the sentence about a move that is over, and what a check found.

All of it is readable without colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from kvmctl.columns import is_failure, printable, size
from kvmctl.commands._moves import lasting

if TYPE_CHECKING:
    from kvmctl.columns import Item
    from kvmctl.output import Output

VERDICTS = ("blocker", "warning", "note", "ok")
"""The worst first."""
NARROWEST = 30
"""Letters for a sentence, however narrow the terminal is."""


def sentence(item: Item) -> str:
    """Of a VM that was moved: how long, how much, and what was forecast."""
    lines = [f"{item['name']}: moved to {item['host']} in {lasting(item['total_ms'])}"]
    if item["bytes"]:
        passes = item["iterations"]
        sent = f", {size(item['bytes'])}" + (f" in {passes} pass{'es' * (passes > 1)}" if passes else "")
        # Nobody has seen the pause of a guest whose host was out of sight just then.
        pause = "" if item["downtime_ms"] is None else f", with a pause of {lasting(item['downtime_ms'])}"
        lines[0] += f"{pause}{sent}"
        if item["forecast"]:
            lines[0] += f" (forecast: {_expected(item['forecast'])})"
    else:
        lines[0] += f" ({item['state']})"
    return "\n".join([*lines, *(f"  {note}" for note in item["notes"])])


def called_off(item: Item) -> str:
    """Of a VM whose move was called off, if it could be."""
    return _where(item, "could not be called off any more" if item["outcome"] == "moved" else "called off")


def recovered(item: Item) -> str:
    """Of a VM whose move was brought to an end, if there was one."""
    return _where(item, f"the move is settled: it {item['outcome']}" if item["outcome"] else "no move was unfinished")


def _where(item: Item, what: str) -> str:
    return "\n  ".join([f"{item['name']}: {what}; now {item['state']} on {item['host']}", *item["notes"]])


def show_checks(output: Output, items: Sequence[Item], *, single: bool) -> None:
    """What was found of each VM; with -o name, the names of those that nothing stops."""
    if output.settings.output == "name":
        output.items([item for item in items if not is_failure(item) and item["verdict"] != "blocker"], ())
    else:
        output.sheets(items, lambda item, wide: _check(output, item, wide=wide), single=single)


def _check(output: Output, item: Item, *, wide: bool) -> Iterator[str]:
    findings: list[Mapping[str, Any]] = item["findings"]
    counts = {verdict: sum(finding["verdict"] == verdict for finding in findings) for verdict in VERDICTS}
    bad = ", ".join(f"{counts[name]} {name}{'s' * (counts[name] > 1)}" for name in VERDICTS[:2] if counts[name])
    can = "cannot" if counts["blocker"] else "can"
    title = printable(f"{item['name']} {can} move from {item['source']} to {item['host']}")
    yield output.painted(title, "bold") + (f": {bad}" if bad else "")
    shown = [finding for finding in findings if wide or finding["verdict"] != "ok"]
    column = max((len(finding["code"]) for finding in shown), default=0)
    for finding in shown:
        yield from _finding(output, finding, column)
    if counts["ok"] and not wide:
        yield f"  {output.painted('ok')}       {counts['ok']} more looked at and right; -o wide shows them"
    if item["forecast"]:
        yield f"  forecast: {_expected(item['forecast'])}"
    yield from (f"  {printable(reason)}" for reason in item["means"])


def _finding(output: Output, finding: Mapping[str, Any], column: int) -> Iterator[str]:
    verdict = finding["verdict"]
    margin = 2 + 7 + 2 + column + 2
    width = max(NARROWEST, output.width - margin)
    about = finding["subject"]
    what = f"{about}: {finding['what']}" if about and about not in finding["what"] else finding["what"]
    lines = [*_wrapped(what, width), *_wrapped(f"-> {finding['hint']}" if finding["hint"] else "", width)]
    first = f"  {output.painted(verdict)}{' ' * (9 - len(verdict))}{finding['code'].ljust(column)}  "
    for number, line in enumerate(lines):
        yield f"{' ' * margin if number else first}{line}"


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)


def _expected(forecast: Mapping[str, Any]) -> str:
    if forecast["total_ms"] is None:
        return "it would not arrive"
    parts = (
        (forecast["total_ms"], lasting),
        (forecast["downtime_ms"], lambda pause: f"a pause of {lasting(pause)}"),
        (forecast["bytes"], size),
    )
    said = ", ".join(show(value) for value, show in parts if value is not None)
    return f"{said}, {' and '.join(forecast['means'])}"
