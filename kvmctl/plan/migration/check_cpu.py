"""The guest's CPU: what it sees must be there at the target, down to the features. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, unless, warning
from kvmctl.plan.placement.finding import listed

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding

SAME_AS_HOST = ("host-passthrough", "maximum")
BASELINE = "give it a CPU that both hosts have, and restart it: cpu: {{model: {{baseline: [{source}, {target}]}}}}"


def cpu(ends: Ends) -> Iterator[Finding]:
    guest, found = ends.guest, ends.guest.cpu
    hint = BASELINE.format(source=ends.source.name, target=ends.target.name)
    if ends.fit.cpu_problem:
        yield blocker("cpu-incompatible", f"{ends.target.name} cannot give it its CPU: {ends.fit.cpu_problem}", hint)
    if found is None or not guest.running:
        return
    if found.get("mode") in SAME_AS_HOST:
        yield from _host_cpu(ends, found.get("mode", ""), hint)
    if found.get("migratable") == "off":
        what = "its CPU shows the guest what cannot be migrated (migratable='off')"
        yield blocker("cpu-not-migratable", what, "remove that from its definition, and restart it")
    elif found.find("feature[@name='invtsc'][@policy='require']") is not None and not _fixed_clock(ends):
        what = "its CPU has invtsc, a clock of this very host"
        hint = "remove the feature, or give the timer tsc a frequency, and restart it"
        yield blocker("cpu-not-migratable", what, hint)


def _fixed_clock(ends: Ends) -> bool:
    timer = ends.xml.find("clock/timer[@name='tsc']")
    return timer is not None and timer.get("frequency") is not None


def _host_cpu(ends: Ends, mode: str, hint: str) -> Iterator[Finding]:
    """A guest that was given the CPU of the source as it is."""
    source, target = ends.source, ends.target
    if ends.xml.get("type") != "kvm":
        # Emulated, so it is QEMU that matters and not the host.
        if source.qemu != target.qemu and mode == "maximum":
            what = "it has all that QEMU can emulate, and the hosts have different QEMUs"
            yield unless(ends.wish.unsafe, "cpu-passthrough", what, hint)
        return
    missing = (source.cpu_features or frozenset()) - (target.cpu_features or frozenset())
    if target.cpu_features is not None and (missing or source.cpu_vendor != target.cpu_vendor):
        lacking = f", which lacks {listed(sorted(missing), 8)}" if missing else ""
        what = (
            f"it sees the CPU of {source.name} ({source.cpu_model}), and {target.name} has {target.cpu_model}{lacking}"
        )
        yield unless(ends.wish.unsafe, "cpu-passthrough", what, hint)
    elif source.cpu_model != target.cpu_model:
        what = f"it sees the CPU of {source.name} ({source.cpu_model}), and {target.name} has {target.cpu_model}"
        yield warning("cpu-passthrough", what, hint)
