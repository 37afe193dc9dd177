"""Where a running VM's definition, its live configuration and the kernel disagree. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvmctl.plan.placement.finding import Finding, listed


def drift(
    vm: str, *, next_boot: Mapping[str, str] | None, live: Mapping[str, str], actual: Mapping[str, str]
) -> Iterator[Finding]:
    """Each maps what it is about ("vCPU 0") to its pins or policy; what is missing in `actual` is not known."""
    coming = [f"{what} from {live[what]} to {then}" for what, then in (next_boot or {}).items() if live[what] != then]
    if coming:
        yield Finding(
            code="next-boot-differs",
            what=f"the next boot changes {listed(coming)}",
            hint=f"kvmctl restart {vm}, or kvmctl pin set {vm} --now … to have it at once",
        )
    other = [f"{what} on {now} instead of {live[what]}" for what, now in actual.items() if live[what] != now]
    if other:
        yield Finding(
            code="actual-differs",
            what=f"the kernel has {listed(other)}",
            hint=f"taskset or a cgroup around it did that; kvmctl pin set {vm} --now … sets it again",
        )
