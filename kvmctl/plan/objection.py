"""What is said against a spec on a host, and what that is judged by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.errors import Impossible
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Numa
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.tuning import Wishes

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology
    from kvmctl.spec.kinds import CpuSet
    from kvmctl.spec.model.vm import Vm

ERROR, NOTE = "error", "note"


@dataclass(frozen=True, kw_only=True)
class Objection:
    """An error is impossible and would be refused by libvirt or the kernel; a note is possible, and worth saying.

    `path` is the key of the spec that it is about, or empty; `code` is stable.
    """

    level: str
    path: str
    message: str
    hint: str = ""
    code: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A spec, the host it is for, and the other VMs there.

    `privileged`: the host's libvirt may give threads real-time priorities. `cgroups`: it may limit CPU time and memory
    by cgroups; None where that is not known.
    """

    vm: Vm
    topology: Topology
    others: Sequence[Tenant]
    privileged: bool
    cgroups: bool | None

    @cached_property
    def cpu(self) -> Cpu:
        return self.vm.cpu or Cpu()

    @cached_property
    def wishes(self) -> Wishes:
        return self.cpu.placement or Wishes()

    @cached_property
    def memory(self) -> Memory:
        return self.vm.memory or Memory()

    @cached_property
    def numa(self) -> Numa:
        return self.vm.numa or Numa()

    @cached_property
    def vcpus(self) -> int:
        """As many as there can ever be."""
        return self.cpu.max or self.cpu.count or 1

    @cached_property
    def vcpu_pins(self) -> Mapping[int, CpuSet]:
        """The CPUs of each vCPU that is pinned by hand. A pin to every CPU there is counts as none."""
        pin = self.cpu.pin
        if isinstance(pin, frozenset):
            pin = dict.fromkeys(range(self.vcpus), pin)
        if not isinstance(pin, Mapping):
            return {}
        return {number: cpus for number, cpus in pin.items() if not self.topology.online <= cpus}

    @cached_property
    def pins(self) -> Mapping[str, CpuSet]:
        """Every pin by the key that says it."""
        cpu = self.cpu
        found: dict[str, CpuSet] = {}
        if isinstance(cpu.pin, frozenset):
            found["cpu.pin"] = cpu.pin
        elif isinstance(cpu.pin, Mapping):
            found |= {f"cpu.pin.{number}": cpus for number, cpus in cpu.pin.items()}
        if cpu.emulator_pin is not None:
            found["cpu.emulator_pin"] = cpu.emulator_pin
        return found | {f"cpu.iothread_pin.{number}": cpus for number, cpus in (cpu.iothread_pin or {}).items()}


def refused(errors: Sequence[Objection], what: str, *, code: str = "impossible", vm: str = "") -> Impossible:
    """The one error for all of them; `what` begins its sentence."""
    single = errors[0] if len(errors) == 1 else None
    return Impossible(
        code,
        f"{what}: {single}" if single else f"{what}, for {len(errors)} reasons",
        hint=single.hint if single else "",
        reasons=[{"code": error.code, "message": str(error), "hint": error.hint} for error in errors],
        vm=vm,
    )
