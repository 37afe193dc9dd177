"""What a plan may know of a host. Filled by `host/facts.py`; without a host, the assumptions made here stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvmctl.plan.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A storage pool: libvirt's type of it, and the directory (or device path) that its volumes lie below."""

    name: str
    type: str
    path: str
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """One host.

    `kvm` tells whether hardware virtualisation works, `kvm_reason` why not. `pools` is None where there are none
    and disks are files made with qemu-img in `image_directory`. `networks` maps libvirt networks to whether they are
    active; None where libvirt's network driver is missing. `topology` has what capabilities tell, not what is free.
    """

    name: str = "localhost"
    arch: str = "x86_64"
    kvm: bool = True
    kvm_reason: str = ""
    guest_archs: frozenset[str] = frozenset({"x86_64"})
    embedded: bool = False
    image_directory: str = "/var/lib/libvirt/images"
    pools: Mapping[str, Pool] | None = field(
        default_factory=lambda: {"default": Pool(name="default", type="dir", path="/var/lib/libvirt/images")}
    )
    networks: Mapping[str, bool] | None = None
    topology: Topology = field(default_factory=lambda: Topology(cpus={}, nodes={}))
    known: bool = False
    """False when these are assumptions, for work without a host."""
