"""The best CPU that several hosts can all give to their guests, so that a VM can move among them.

Each host says what its host-model is; libvirt computes what they have in common, and each host is asked whether it can
run the result. That is computed by a host with the newest libvirt first, since an older one may not know features of
another by name. What is named for a spec are hosts of config.yaml: a URI can run commands, so a spec may not hold one.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kvmctl.errors import Refused
from kvmctl.host import messages, offers, targets
from kvmctl.host.connection import connect, translated
from kvmctl.host.facts import kvm_of
from kvmctl.host.guest_cpus import NamedCpu, guest_cpus, named
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

RUNS_IT = (libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one host has to offer: the CPU it would give to a guest of kind host-model."""

    host: Host
    arch: str
    accelerator: str
    cpu: NamedCpu
    libvirt: int

    @property
    def name(self) -> str:
        return self.host.name


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What hosts share, as a spec writes it: cpu.model and cpu.features."""

    model: str
    features: dict[str, str]
    arch: str
    accelerator: str


def hosts_of_spec(names: Sequence[str]) -> list[Target]:
    """The hosts that a spec names: those of config.yaml, and the embedded one."""
    for name in names:
        if ":" in name:
            raise Refused(
                "unsafe-uri",
                f"cpu.model: '{name}' is a URI, which can run commands, so a spec cannot name a host by it",
                hint="give the host a name in config.yaml, and write that name",
            )
    return targets.select(tuple(names))


def baseline(
    hosts: Sequence[Target], work: Work, *, arch: str | None = None, accelerator: str | None = None
) -> Baseline:
    """The best CPU that guests can have on all of these hosts.

    `arch` is the guest's, where it is settled; `accelerator`, kvm or tcg, likewise. Without, each host's best one
    counts, and it must be the same everywhere: nothing migrates from one to the other.
    """
    with ExitStack() as stack:
        found = [
            _offer(stack.enter_context(connect(target, timeout=work.remaining(), work=work)), accelerator)
            for target in hosts
        ]
        for what, of in (
            ("processors of different kinds", lambda offer: offer.arch),
            ("not the same accelerator", lambda offer: offer.accelerator),
            ("processors of different vendors", lambda offer: offer.cpu.vendor),
        ):
            _check_alike(found, what, of)
        if arch and arch != found[0].arch:
            raise Refused(
                "no-common-cpu",
                f"a baseline is of the hosts' own processors, which are {found[0].arch}, and the guest's is {arch}",
                hint="name a CPU model",
            )
        cpu = _common(found)
    return Baseline(model=cpu.model, features=dict(cpu.features), arch=found[0].arch, accelerator=found[0].accelerator)


def _offer(host: Host, accelerator: str | None) -> Offer:
    with translated(doing="ask the host what it offers", host=host.name):
        capabilities = ElementTree.fromstring(host.conn.getCapabilities())
        version = int(host.conn.getLibVersion())
    usable, reason = kvm_of(host, capabilities)
    if accelerator == "kvm" and not usable:
        raise Refused("no-common-cpu", f"{host.name} cannot run guests by KVM: {reason}")
    guests = guest_cpus(host, capabilities, accelerator or ("kvm" if usable else "tcg"))
    if guests.host_model is None:
        raise Refused(
            "not-supported",
            f"{host.name} does not say which CPU it gives to guests, so there is no baseline with it",
            hint="name a CPU model that all hosts have: kvmctl host show --cpu",
        )
    return Offer(host=host, arch=guests.arch, accelerator=guests.accelerator, cpu=guests.host_model, libvirt=version)


def _check_alike(found: Sequence[Offer], what: str, of: Callable[[Offer], str]) -> None:
    if len(set(map(of, found))) > 1:
        said = ", ".join(f"{offer.name} has {of(offer) or 'none'}" for offer in found)
        raise Refused(
            "no-common-cpu",
            f"no CPU can be common to hosts with {what}: {said}",
            hint="name hosts that VMs can move among",
        )


def _common(found: Sequence[Offer]) -> NamedCpu:
    """The first answer of a host, newest libvirt first, that all hosts can run."""
    reasons = []
    for offer in sorted(found, key=lambda offer: -offer.libvirt):
        try:
            text = _computed(offer, found)
        except libvirt.libvirtError as problem:
            if messages.is_connection_loss(problem):
                raise
            reasons.append(f"  {offer.name}: {messages.plain(problem)}")
            continue
        unfit = [other.name for other in found if not _runs(other, text)]
        cpu = named(ElementTree.fromstring(text))
        if cpu is not None and not unfit:
            return cpu
        reasons.append(f"  {offer.name}: finds {cpu and cpu.model}, which cannot run on {', '.join(unfit)}")
    raise Refused(
        "no-common-cpu",
        f"no CPU is common to {', '.join(offer.name for offer in found)}",
        hint="kvmctl host show --cpu says what each host offers",
        details=reasons,
    )


def _computed(offer: Offer, found: Sequence[Offer]) -> str:
    """What this host's libvirt computes. Features that forbid migration are left out."""
    text: str = offer.host.conn.baselineHypervisorCPU(
        *_for_guests(offer), [_element(each.cpu) for each in found], libvirt.VIR_CONNECT_BASELINE_CPU_MIGRATABLE
    )
    return text


def _runs(offer: Offer, cpu: str) -> bool:
    """Whether the host can run a guest with this CPU. One whose libvirt does not know a part of it cannot."""
    try:
        return offer.host.conn.compareHypervisorCPU(*_for_guests(offer), cpu, 0) in RUNS_IT
    except libvirt.libvirtError as problem:
        if messages.is_connection_loss(problem):
            raise
        return False


def _for_guests(offer: Offer) -> tuple[None, str, str | None, str]:
    """Emulator, architecture, machine and kind of guest."""
    kind = {"tcg": "qemu"}.get(offer.accelerator, offer.accelerator)
    return None, offer.arch, offers.machine_of(offer.arch), kind


def _element(cpu: NamedCpu) -> str:
    element = Element("cpu", mode="custom", match="exact")
    SubElement(element, "model").text = cpu.model
    if cpu.vendor:
        SubElement(element, "vendor").text = cpu.vendor
    for name, policy in cpu.features.items():
        SubElement(element, "feature", policy=policy, name=name)
    return ElementTree.tostring(element, encoding="unicode")
