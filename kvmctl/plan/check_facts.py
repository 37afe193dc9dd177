"""The facts that the doctor of a host is given, and the findings it makes of them. See `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from kvmctl.plan.packages import install

OK, NOTE, WARNING, FAILED = "ok", "note", "warning", "failed"
VERDICTS = (OK, NOTE, WARNING, FAILED)
MIB, GIB = 1024**2, 1024**3
UNSEEN = "cannot be seen from here"

Result = tuple[str, str, str]
"""Verdict, reason, fix."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one thing. `fix` is the command that mends it, or says what to do; empty if all is well."""

    name: str
    verdict: str
    reason: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why there is no connection, as the error says it."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Memory pages of one size."""

    size: int
    total: int
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Node:
    """A NUMA node."""

    number: int
    memory: int
    cpus: str


@dataclass(frozen=True, kw_only=True)
class Service:
    """A network or a pool of libvirt."""

    name: str
    active: bool
    autostart: bool
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class HostCheckFacts:
    """All that is known of a host. None, or nothing, is what cannot be seen: on another machine, or without libvirt.

    `kind` is "system", "session" or "embedded"; `local` tells whether the host is this machine. `module` is why Python
    finds no libvirt module; `failure` why there is no connection.
    """

    uri: str = "qemu:///system"
    kind: str = "system"
    local: bool = True
    root: bool = False
    user: str = ""
    manager: str = ""
    module: str = ""
    failure: Failure | None = None
    libvirt: int | None = None
    hypervisor: str | None = None
    hypervisor_version: int | None = None
    arch: str = "x86_64"
    emulated: frozenset[str] | None = None
    kvm_offered: bool | None = None
    cpu_flags: frozenset[str] = frozenset()
    kvm_device: bool | None = None
    kvm_access: bool | None = None
    nested: bool | None = None
    iommu_groups: int | None = None
    iommu_offered: bool | None = None
    iommu_table: bool | None = None
    left_devices: tuple[str, ...] | None = None
    """With vfio-pci, though no VM has them and none is meant to."""
    pages: tuple[Pages, ...] | None = None
    pages_mounted: bool | None = None
    nodes: tuple[Node, ...] | None = None
    networks: tuple[Service, ...] | None = None
    dnsmasq: bool | None = None
    pools: tuple[Service, ...] | None = None
    images: str = ""
    qemu_img: bool | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    space_total: int | None = None
    space_free: int | None = None
    swtpm: bool | None = None
    uefi: bool | None = None
    secure_boot: bool | None = None

    @property
    def connected(self) -> bool:
        return not self.module and self.failure is None

    @property
    def virtual(self) -> bool:
        """This machine is itself a VM."""
        return "hypervisor" in self.cpu_flags


def version(number: int) -> str:
    """libvirt's way to write 9.0.0 as a number."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def size(number: int) -> str:
    """Bytes as people say them."""
    for unit, amount in (("GiB", GIB), ("MiB", MIB)):
        if number >= amount:
            return f"{number / amount:.1f}".removesuffix(".0") + unit
    return f"{number // 1024}KiB"


def unknown() -> Result:
    return NOTE, "not known without a connection", ""


def sudo(facts: HostCheckFacts) -> str:
    return "" if facts.root else "sudo "


def install_for(facts: HostCheckFacts, what: str, *, here: bool = False) -> str:
    """The command that installs it; `here` is for what kvmctl itself needs."""
    manager = facts.manager if facts.local or here else ""
    return install(what, manager=manager, arch=facts.arch, sudo=not facts.root)
