"""What is wrong with a host, from facts: each thing that matters with a verdict, the reason, and what mends it.

ok: as it should be. note: something that some will want is not there. warning: works, and not as well as it could.
failed: VMs cannot be made or started until it is mended. Looks at nothing itself; `host/checks.py` brings the facts.
"""

from __future__ import annotations

from collections.abc import Callable

from kvmctl.plan import check_machine, check_services
from kvmctl.plan.check_facts import OK, VERDICTS, Finding, HostCheckFacts, Result

CHECKS: dict[str, Callable[[HostCheckFacts], Result]] = {
    "libvirt": check_services.libvirt,
    "permissions": check_services.permissions,
    "qemu": check_services.qemu,
    "kvm": check_machine.kvm,
    "nested": check_machine.nested,
    "iommu": check_machine.iommu,
    "devices": check_machine.devices,
    "hugepages": check_machine.hugepages,
    "numa": check_machine.numa,
    "network": check_services.network,
    "pool": check_services.pool,
    "qemu-img": check_services.qemu_img,
    "memory": check_machine.memory,
    "disk-space": check_machine.disk_space,
    "swtpm": check_services.swtpm,
    "uefi": check_services.uefi,
}
"""What is looked at, in the order of the answer."""


def examine(facts: HostCheckFacts) -> list[Finding]:
    """One finding for each thing that is looked at, always all of them and in the same order."""
    return [
        Finding(name=name, verdict=verdict, reason=reason, fix=fix)
        for name, check in CHECKS.items()
        for verdict, reason, fix in [check(facts)]
    ]


def worst(findings: list[Finding]) -> str:
    """The gravest verdict among them."""
    return max((finding.verdict for finding in findings), key=VERDICTS.index, default=OK)
