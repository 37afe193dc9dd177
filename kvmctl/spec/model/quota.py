"""Lenses of `cpu.quota` and `cpu.period`: how much of the host all threads of a VM together may use, and over what
time.

The kernel is told a number of microseconds in each period; people think in percent of a CPU. So the two are one thing
in XML: whoever changes the period changes the quota with it, and the percentage stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmctl.spec.kinds import Kind
from kvmctl.spec.lenses import prune, require

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

USUAL = 100_000
"""Microseconds over which a quota is counted if nothing is said, by kvmctl as by the kernel."""
LEAST = 1000
"""Microseconds in a period that libvirt wants to be left to a VM."""


def _period(value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,4})\s*(ms|s)", value)
    if not found:
        raise ValueError(f"'{value[:80]}' is not a time of whole milliseconds; write for example 50ms")
    period = int(found[1]) * (1000 if found[2] == "ms" else 10**6)
    if not 1000 <= period <= 10**6:
        raise ValueError(f"'{value[:80]}' is out of range; it goes from 1ms to 1s")
    return period


PERIOD = Kind(
    what="a time such as 50ms",
    schema={"type": "string", "pattern": r"^[0-9]+\s*(ms|s)$"},
    parse=_period,
    show=lambda value: f"{value // 1000}ms",
)


def _number(element: Element, name: str) -> int | None:
    try:
        return int(element.findtext(f"cputune/{name}") or "")
    except ValueError:
        return None


def _write(element: Element, quota: int | None, period: int | None) -> None:
    tune = require(element, ("cputune",))
    for name, value in (("global_period", period), ("global_quota", quota)):
        if value is None:
            for old in tune.findall(name):
                tune.remove(old)
        else:
            require(tune, (name,)).text = str(value)
    prune(element, ("cputune",))


class Quota:
    """<global_quota> in microseconds per <global_period>, in percent of one host CPU."""

    def get(self, element: Element) -> int | None:
        quota, period = _number(element, "global_quota"), _number(element, "global_period")
        if not quota or not period or quota < 0 or period < 0:
            return None
        percent, left = divmod(quota * 100, period)
        return percent if percent > 0 and not left else None

    def put(self, element: Element, value: int | None) -> None:
        if value is None:
            _write(element, None, None)
        else:
            period = Period().get(element) or USUAL
            _write(element, value * period // 100, period)


class Period:
    """<global_period>, where a quota goes with it; None for the usual one."""

    def get(self, element: Element) -> int | None:
        period = _number(element, "global_period")
        if period in (None, USUAL) or Quota().get(element) is None:
            return None
        assert period is not None
        return period if period % 1000 == 0 and 1000 <= period <= 10**6 else None

    def put(self, element: Element, value: int | None) -> None:
        percent = Quota().get(element)
        if percent is not None:
            period = value or USUAL
            _write(element, percent * period // 100, period)
