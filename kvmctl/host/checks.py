"""Collects what the doctor must know of a host: from libvirt, and where it is this machine from the machine itself.

Never fails: without a libvirt module, a daemon or an answer, that is one of the facts.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from getpass import getuser
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Interrupted, KvmctlError
from kvmctl.host import machine
from kvmctl.plan.check_facts import Failure, HostCheckFacts

if TYPE_CHECKING:
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

Known = dict[str, Any]


def gather(target: Target, work: Work) -> HostCheckFacts:
    """All that can be seen of a host within the time of this work."""
    known: Known = {"uri": target.uri, "kind": _kind(target), "local": machine.is_local(target)}
    if known["local"]:
        known |= _here()
    try:
        known |= _answers(target, work)
    except Interrupted:
        raise
    except KvmctlError as problem:
        if problem.code == "libvirt-missing":
            known |= {"module": problem.message, "manager": machine.package_manager()}
        else:
            known["failure"] = Failure(code=problem.code, message=problem.message, hint=problem.hint)
    if known["local"] and known.get("images"):
        known["space_total"], known["space_free"] = machine.space(known["images"])
    return HostCheckFacts(**known)


def _kind(target: Target) -> str:
    if target.embedded:
        return "embedded"
    return "session" if target.uri.partition("?")[0].endswith("/session") else "system"


def _here() -> Known:
    """What this machine says of itself."""
    known: Known = {"root": os.geteuid() == 0, "manager": machine.package_manager(), "arch": platform.machine()}
    with suppress(OSError, KeyError):  # a user without a name
        known["user"] = getuser()
    known["cpu_flags"] = machine.local_flags()
    known["kvm_device"], known["kvm_access"] = machine.kvm_device()
    known["nested"] = machine.nested()
    known["iommu_groups"], known["iommu_table"] = machine.iommu_groups(), machine.iommu_table()
    known["pages"], known["pages_mounted"] = machine.hugepages(), machine.hugepages_mounted()
    known["nodes"] = machine.nodes()
    known["memory_total"], known["memory_free"] = machine.memory()
    known["qemu_img"] = machine.program("qemu-img")
    known["swtpm"] = machine.program("swtpm") and machine.program("swtpm_setup")
    known["dnsmasq"] = machine.program("dnsmasq")
    return known


def _answers(target: Target, work: Work) -> Known:
    """What libvirt says of the host; what the machine itself has said already, it is not asked for."""
    from kvmctl.host.connection import connect
    from kvmctl.host.offers import check_facts
    from kvmctl.host.pci.releasing import left_over

    with connect(target, timeout=work.limit, work=work) as host:
        known = check_facts(host)
        if machine.is_here(target):
            known["left_devices"] = left_over(host)
        return known
