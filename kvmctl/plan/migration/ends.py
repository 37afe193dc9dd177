"""The facts of both ends that a move is judged by: the VM, the two hosts, the way between them, and its storage.

Facts alone, filled by `host/migration/look.py`. None is always "could not be seen". Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from kvmctl.plan.migration.wish import Wish

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.migration.credentials import Credentials
    from kvmctl.plan.migration.disk import Disk
    from kvmctl.plan.topology import Tenant, Topology

Seen = Literal["shared", "separate", "unknown"]
SecretFault = Literal["unset", "other-use"]
"""A secret has no value, or libvirt does not give it out for disks."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """The VM at the source. `xml` is its live definition, that of the next boot where it is off."""

    name: str
    uuid: str
    xml: Element
    disks: tuple[Disk, ...] = ()
    cpu: Element | None = None
    """As libvirt hands it to the target."""
    running: bool = True
    persistent: bool = True
    autostart: bool = False
    memory: int = 0
    resident: int | None = None
    """What its QEMU has of the host's memory now."""
    held: bool = False
    """It is paused, by its user or by a fault."""
    failed: str = ""
    """Why it is paused, if it is by a fault."""
    saved: bool = False
    snapshots: int = 0
    checkpoints: int = 0
    job: str = ""
    refusal: str = ""
    """Why libvirt itself would not begin to move it, whatever the target."""
    tenant: Tenant | None = None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A storage pool. `source` is where it has its content from, in a form that can be compared."""

    type: str
    path: str = ""
    active: bool = True
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class End:
    """One of the two hosts."""

    name: str
    hostname: str = ""
    uuid: str = ""
    embedded: bool = False
    hypervisor: str = "QEMU"
    libvirt: int = 0
    qemu: int | None = None
    machines: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """Architecture and type of domain (kvm, qemu) -> the machine types there are."""
    cpu_model: str = ""
    cpu_vendor: str = ""
    cpu_features: frozenset[str] | None = None
    """Asked only for a guest that sees the host's own CPU."""
    networks: Mapping[str, bool] | None = None
    """libvirt's networks, and whether they are active."""
    interfaces: frozenset[str] | None = None
    """Bridges and other network devices."""
    cards_only: bool = False
    """Of these no more than network cards: bridges, bonds and VLANs are told by a driver that its libvirt lacks."""
    pools: Mapping[str, Pool] | None = None
    secrets: frozenset[str] | None = None
    """By UUID, and by what they are used for."""
    secret_faults: Mapping[str, SecretFault] = field(default_factory=dict)
    """Of those that disks need, as far as it can be seen."""
    filters: frozenset[str] | None = None
    security: frozenset[str] = frozenset()
    """The security models that its libvirt works with."""
    memory: int | None = None
    memory_free: int | None = None
    """With what buffers and caches give back."""
    topology: Topology | None = None
    tenants: tuple[Tenant, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    """TCP ports that running VMs listen on, by name of the VM."""
    unplaceable: str = ""
    """Why the planner finds no place for a VM whose place kvmctl chooses."""
    credentials: Credentials | None = None
    """Looked at only where memory goes over TLS, and only on this machine."""

    @property
    def cpus(self) -> int:
        return len(self.topology.online) if self.topology else 1


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the target's libvirt says to this very guest."""

    problem: str = ""
    """Why it can have none like it: the emulator is missing, for one."""
    cpu_problem: str = ""
    loaders: frozenset[str] = frozenset()
    """Firmware that it knows."""
    tpm_backends: frozenset[str] | None = None
    tpm_versions: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Way:
    """From the source to the target. `peer_uri` is how the source's libvirt has reached the target's."""

    peer_uri: str | None = None
    peer_problem: str = ""
    waits: bool = False
    """The source is still trying: nobody answers, and nobody refuses."""
    asked: bool = True
    loopback: bool = False
    """The target's name means the source itself, or nothing, to those who would connect to it."""
    address: str = ""
    """Another way to write where the target is, that the source has used."""
    configured: str = ""
    """Where memory is to go, of the host's entry in config.yaml."""
    addresses: tuple[str, ...] = ()
    """Where memory would go, as numbers; none where they are not known here."""
    closed: str = ""
    """Why a port for migration cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One file or device as both hosts see it. `there` is its path at the target."""

    there: str
    sharing: Seen = "unknown"
    present: bool | None = None
    size_here: int | None = None
    size_there: int | None = None
    allocated: int | None = None
    backing: tuple[str, ...] = ()
    how: str = ""
    """The evidence, in words."""
    directory: bool = True
    """The target has the directory."""
    room: int | None = None
    """Free bytes where it would be at the target."""
    store: str = ""
    """What that room is shared with: the pool or directory."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """All that a move is judged by."""

    wish: Wish = field(default_factory=Wish)
    guest: Guest
    source: End
    target: End
    fit: Fit = field(default_factory=Fit)
    way: Way = field(default_factory=Way)
    sights: Mapping[str, Sight] = field(default_factory=dict)
    """By path at the source."""
    likes: Mapping[str, str] = field(default_factory=dict)
    """Of each device of the source that it has and that can go, the free one of the target that is like it, or an empty
    word; by address."""
    carried: tuple[str, ...] = ()
    """Those of them whose state goes along."""

    @cached_property
    def xml(self) -> Element:
        return self.guest.xml

    @property
    def arch(self) -> str:
        kind = self.xml.find("os/type")
        return "x86_64" if kind is None else kind.get("arch", "x86_64")
