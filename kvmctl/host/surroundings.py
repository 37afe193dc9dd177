"""The host and all VMs on it, asked for once however many VMs a command works on, in several threads at a time."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.topology import Tenant, Topology


class Surroundings:
    """`of(host)` asks, or tells what was said before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: tuple[Topology, tuple[Tenant, ...]] | None = None

    def of(self, host: Host) -> tuple[Topology, tuple[Tenant, ...]]:
        with self._lock:
            self._found = self._found or (topology(host), tenants(host))
            return self._found
