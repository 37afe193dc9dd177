"""Fills in what a spec leaves to the host, and says which volumes must be made. A pure function of spec and facts.

Few things are filled in, only those without which a VM would not run well: accelerator, machine, CPU model, ACPI, a
serial port, random numbers, names and formats of disks. Each can be refused in the spec (`rng: false`), and `explicit`
does so for whatever an existing VM does not have, so that an exported spec makes the same VM again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.addressed import of_address, told_in_full, with_model
from kvmctl.plan.pci.guest import lay_out
from kvmctl.plan.pci.guest_node import left_out
from kvmctl.plan.tuning import decided, in_full, useless_quota
from kvmctl.plan.volumes import NewVolume
from kvmctl.spec.declare import declarations, is_bare
from kvmctl.spec.lenses import Flag
from kvmctl.spec.model.devices import Controller, Input, Rng, Serial
from kvmctl.spec.model.disk import Cdrom, Disk, known_format
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.vm import Features, Vm
from kvmctl.spec.xmlio import domain_of
from kvmctl.spec.xmltext import render

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.facts import HostFacts

X86 = ("x86_64", "i686")
PREFIXES = {"virtio": "vd", "ide": "hd"}
FILE_POOLS = ("dir", "fs", "netfs", "logical")
"""Types of pools whose volumes have the path POOL/NAME."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A spec without open questions: what to define, what to make, and what to tell the person."""

    vm: Vm
    volumes: tuple[NewVolume, ...]
    notes: tuple[str, ...]

    def document(self) -> Element:
        """The domain to define: as the spec says it, and with the places that devices are to have in the guest."""
        domain = domain_of(self.vm)
        lay_out(domain, self.vm)
        return domain


def resolve(vm: Vm, facts: HostFacts) -> Resolved:
    """Settle a spec for a host. Raises Refused or NotFound where the host lacks what the spec asks for.

    What takes more of the host than its facts, `pin: auto` and the baseline of several hosts, has been replaced before.
    """
    notes: list[str] = []
    vm = vm if facts.known else left_out(vm, notes)
    vm = decided(vm, notes, known=facts.known)
    arch = vm.arch or facts.arch
    if facts.known and arch not in facts.guest_archs:
        offered = ", ".join(sorted(facts.guest_archs))
        raise Refused(
            "resource-missing", f"{facts.name} cannot run {arch} guests; it can run {offered}", vm=vm.name or ""
        )
    if facts.embedded and vm.autostart:
        raise Refused(
            "not-supported",
            "autostart is asked for, and the embedded host has nobody who would start VMs at boot",
            hint="leave out autostart:, or run libvirtd and use -H qemu:///system",
            vm=vm.name or "",
        )
    accelerator = _accelerator(vm, arch, facts, notes)
    vm = replace(
        vm,
        arch=arch,
        accelerator=accelerator,
        machine=vm.machine or {"x86_64": "q35", "i686": "q35", "aarch64": "virt"}.get(arch),
        cpu=_cpu(vm.cpu or Cpu(), arch, accelerator),
        features=_features(vm.features or Features(), arch),
        serial=_numbered(vm.serial or (Serial(),)),
        rng=_with(vm.rng or (Rng(),), model="virtio", source="/dev/urandom"),
        tpm=_with(vm.tpm, model="tpm-crb", version="2.0"),
        balloon=vm.balloon and replace(vm.balloon, enabled=vm.balloon.enabled is not False),
        inputs=vm.inputs or ((Input(type="tablet", bus="usb"),) if _has_screen(vm) and arch in X86 else ()),
    )
    if vm.firmware and vm.firmware.secure_boot and vm.firmware.enrolled_keys is None:
        vm = replace(vm, firmware=replace(vm.firmware, enrolled_keys=True))
    _check_networks(vm, facts)
    vm = told_in_full(replace(vm, networks=tuple(map(with_model, vm.networks))))
    vm, volumes = _disks(vm, facts)
    if quota := useless_quota(vm):
        notes.append(quota)
    return Resolved(vm=canonical(vm), volumes=volumes, notes=tuple(notes))


def definition(vm: Vm, facts: HostFacts) -> str:
    """The domain XML that a spec makes on a host."""
    return render(resolve(vm, facts).document())


def explicit(vm: Vm) -> Vm:
    """Refuse what `resolve` would fill in and this VM, read from a domain, does not have."""
    features = vm.features or Features()
    return replace(
        vm,
        machine=vm.machine or "default",
        cpu=replace(vm.cpu or Cpu(), model=(vm.cpu and vm.cpu.model) or "default"),
        features=replace(features, acpi=features.acpi or False, apic=features.apic or False),
        serial=vm.serial or (Serial(enabled=False),),
        rng=vm.rng or (Rng(enabled=False),),
    )


def _has_screen(vm: Vm) -> bool:
    return any(screen.type != "none" for screen in vm.graphics)


def _accelerator(vm: Vm, arch: str, facts: HostFacts, notes: list[str]) -> str:
    native = arch == facts.arch or (facts.arch == "x86_64" and arch == "i686")
    if vm.accelerator == "kvm" and not (facts.kvm and native):
        why = facts.kvm_reason if native else f"its processor is {facts.arch}, not {arch}"
        raise Refused(
            "resource-missing",
            f"accelerator: kvm is asked for, and {facts.name} cannot: {why}",
            hint="see 'kvmctl host check'; accelerator: auto or tcg runs without it, slowly",
            vm=vm.name or "",
        )
    if vm.accelerator in ("kvm", "tcg"):
        return vm.accelerator
    if facts.kvm and native:
        return "kvm"
    notes.append(f"{vm.name}: runs emulated, slowly: {facts.kvm_reason or 'it is of another architecture'}")
    return "tcg"


def _cpu(cpu: Cpu, arch: str, accelerator: str) -> Cpu:
    model = cpu.model
    if model is None and arch in (*X86, "aarch64"):
        model = "maximum" if accelerator == "tcg" else "host-model" if arch in X86 else "host-passthrough"
    return replace(cpu, count=cpu.count or 1, model=model)


def _features(features: Features, arch: str) -> Features:
    has = arch in X86
    return replace(
        features,
        acpi=has or arch == "aarch64" if features.acpi is None else features.acpi,
        apic=has if features.apic is None else features.apic,
    )


def _numbered(ports: tuple[Serial, ...]) -> tuple[Serial, ...]:
    """Each serial port with the number that libvirt would give it."""
    taken = {port.port for port in ports}
    free = (number for number in range(len(ports) * 2) if number not in taken)
    return tuple(replace(port, port=next(free) if port.port is None else port.port) for port in ports)


def _with(devices: tuple[Any, ...], **defaults: str) -> tuple[Any, ...]:
    """The devices with defaults filled in."""
    return tuple(
        replace(device, **{name: getattr(device, name) or value for name, value in defaults.items()})
        for device in devices
    )


def _check_networks(vm: Vm, facts: HostFacts) -> None:
    for card in vm.networks:
        if card.network is None or not facts.known:
            continue
        if facts.networks is None:
            raise Refused(
                "not-supported",
                f"the embedded host has no libvirt networks, so not '{card.network}' either",
                hint="write networks: [{user: true}], or run libvirtd and use -H qemu:///system",
                vm=vm.name or "",
            )
        if card.network not in facts.networks:
            offered = ", ".join(sorted(facts.networks)) or "none"
            raise NotFound(
                "network-not-found",
                f"{facts.name} has no network '{card.network}'; it has {offered}",
                hint="write networks: [{user: true}] for one that needs no set-up, or name a bridge: {bridge: br0}",
                vm=vm.name or "",
            )


def _disks(vm: Vm, facts: HostFacts) -> tuple[Vm, tuple[NewVolume, ...]]:
    """Names, buses and formats of all disks; a volume for each new one."""
    taken = {disk.name for disk in vm.disks if disk.name} | {drive.name for drive in vm.cdrom if drive.name}
    volumes: list[NewVolume] = []
    disks: list[Disk] = []
    for given in vm.disks:
        bus = given.bus or "virtio"
        disk = replace(given, bus=bus, name=given.name or _free_name(bus, taken))
        if disk.nvme:
            disks.append(of_address(disk))
            continue
        if disk.path:
            disks.append(replace(disk, format=disk.format or known_format(disk.path)))
            continue
        volume = _volume(vm, disk, facts)
        volumes.append(volume)
        disks.append(replace(disk, path=volume.path, format=volume.format, size=None, image=None, pool=None))
    drives: list[Cdrom] = []
    for drive in vm.cdrom:
        bus = drive.bus or ("sata" if "q35" in (vm.machine or "") else "ide" if vm.arch in X86 else "scsi")
        drives.append(replace(drive, bus=bus, name=drive.name or _free_name(bus, taken)))
    controllers = vm.controllers
    on_bus = "scsi" in {*(disk.bus for disk in disks), *(drive.bus for drive in drives)}
    if not controllers and (on_bus or vm.scsi):
        controllers = (Controller(model="virtio-scsi", index=0),)
    return replace(vm, disks=tuple(disks), cdrom=tuple(drives), controllers=controllers), tuple(volumes)


def _free_name(bus: str, taken: set[str]) -> str:
    prefix = PREFIXES.get(bus, "sd")
    letters = (*ascii_lowercase, *(first + second for first in ascii_lowercase for second in ascii_lowercase))
    name: str = next(prefix + letter for letter in letters if prefix + letter not in taken)
    taken.add(name)
    return name


def _volume(vm: Vm, disk: Disk, facts: HostFacts) -> NewVolume:
    image = disk.image
    form = disk.format or "qcow2"
    name = f"{vm.name}-{disk.name}.{form}"
    directory, pool = facts.image_directory, None
    if facts.pools is None:
        if disk.pool:
            raise Refused(
                "not-supported",
                f"the embedded host has no storage pools, so not '{disk.pool}' either",
                hint=f"leave out pool: the disk is made in {directory}",
                vm=vm.name or "",
            )
    else:
        pool = disk.pool or "default"
        if pool not in facts.pools:
            offered = ", ".join(sorted(facts.pools)) or "none"
            raise NotFound(
                "pool-not-found", f"{facts.name} has no storage pool '{pool}'; it has {offered}", vm=vm.name or ""
            )
        if facts.pools[pool].type not in FILE_POOLS:
            raise Refused(
                "not-supported",
                f"new disks cannot be made in pool '{pool}', which is of type {facts.pools[pool].type}",
                hint="make the volume first, and name it with path:",
                vm=vm.name or "",
            )
        directory = facts.pools[pool].path
        logical = facts.pools[pool].type == "logical"
        pool = facts.pools[pool].name
        if logical:
            form, name = "raw", f"{vm.name}-{disk.name}"
    return NewVolume(
        path=f"{directory.rstrip('/')}/{name}",
        size=disk.size or 0,
        format=form,
        backing=image.path if image else None,
        backing_format=(image.format or known_format(image.path or "")) if image else None,
        pool=pool,
        name=name,
    )


def canonical(vm: Vm) -> Vm:
    """The VM as its XML says it: what was refused is simply not there, and nothing stands for a default."""
    if vm.cpu and vm.cpu.model == "default":
        vm = replace(vm, cpu=replace(vm.cpu, model=None))
    if vm.machine == "default":
        vm = replace(vm, machine=None)
    vm = replace(in_full(vm), graphics=tuple(screen for screen in vm.graphics if screen.type != "none"))
    if vm.firmware and vm.firmware.type == "bios":
        vm = replace(vm, firmware=replace(vm.firmware, type=None))
    return _without_refusals(replace(vm, agent=vm.agent or None))  # type: ignore[no-any-return]


def _without_refusals(value: Any) -> Any:
    changes: dict[str, Any] = {}
    for name, declared in declarations(type(value)).items():
        inner = getattr(value, name)
        if isinstance(declared.lens, Flag):
            changes[name] = inner or None
        elif declared.cls is not None and declared.many:
            changes[name] = tuple(_device(item) for item in inner if getattr(item, "enabled", None) is not False)
        elif declared.cls is not None and inner is not None and not is_bare(declared, inner):
            inner = _without_refusals(inner)
            changes[name] = None if inner == type(inner)() else inner
    return replace(value, **changes)


def _device(item: Any) -> Any:
    """A device that was asked for with `true` is just there."""
    item = _without_refusals(item)
    return replace(item, enabled=None) if getattr(item, "enabled", None) else item
