"""`kvmctl host check`: the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.columns import Field
from kvmctl.commands.host import _hosts
from kvmctl.errors import Refused
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work


def _said(text: str | None) -> str:
    return text or ""


FIELDS = (Field("name", "CHECK", _said), Field("verdict", show=_said), Field("reason", show=_said))
OF_HOSTS = (Field("host", show=_said), *FIELDS)


@command("check")
@click.pass_obj
def check(app: App) -> int:
    """Find what is wrong with a host, and how to mend it.

    Looks at libvirt, the permission to use it, QEMU, KVM (what the CPU can do and /dev/kvm both), nested
    virtualisation, the IOMMU, devices that a crash has left behind, huge pages, NUMA, the network and the pool called
    default, qemu-img, free memory, disk space, swtpm and the firmware for UEFI. It changes nothing. Several hosts
    (-H a -H b) are looked at at once.

    \b
    Each has a verdict:
      ok       as it should be
      note     something that some will want is not there
      warning  works, and not as well as it could
      failed   VMs cannot be made or started until it is mended

    The line below the reason is the command that mends it, or says what to do. Of another machine only what libvirt
    tells can be seen.

    With -o json it prints an array of objects with the fields name, verdict, reason, fix (empty if there is nothing to
    mend) and host. The names are libvirt, permissions, qemu, kvm, nested, iommu, devices, hugepages, numa, network,
    pool, qemu-img, memory, disk-space, swtpm and uefi, always all of them.

    \b
    Exit codes:
      0  nothing has failed
      5  something has failed
      8  the host did not answer all questions in time
      9  so it was with some of several hosts
    """
    from kvmctl.plan.check_facts import FAILED

    targets = app.targets()
    for target in targets:
        app.warn_of(target)
    outcomes = _hosts.ask(app, targets, _findings)
    _hosts.tell_failures(app, outcomes)
    findings = [finding for outcome in outcomes for finding in outcome.value or ()]
    if app.output.machine or app.settings.output == "name":
        app.output.items(findings, FIELDS)
    else:
        app.output.items(list(_rows(findings)), OF_HOSTS if len(targets) > 1 else FIELDS)
    _hosts.end(outcomes)
    return Refused.exit_code if any(finding["verdict"] == FAILED for finding in findings) else 0


def _findings(target: Target, work: Work) -> list[Item]:
    from kvmctl.host.checks import gather
    from kvmctl.plan.doctor import examine

    return [
        {
            "name": finding.name,
            "verdict": finding.verdict,
            "reason": finding.reason,
            "fix": finding.fix,
            "host": target.name,
        }
        for finding in examine(gather(target, work))
    ]


def _rows(findings: Sequence[Item]) -> Iterator[Item]:
    """The findings for people: what mends it stands in a line of its own."""
    for finding in findings:
        yield finding
        if finding["fix"]:
            yield {"reason": f"-> {finding['fix']}"}
