"""The whole spec: the class `Vm`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from kvmctl.spec.declare import beside, group, listed, nested, scalar, through
from kvmctl.spec.kinds import BOOLEAN, LINE, NAME, ON_OFF, TEXT, UUID, WORD, choice
from kvmctl.spec.lenses import Flag
from kvmctl.spec.model import across, devices, disk, network
from kvmctl.spec.model.boot import Boot, Firmware
from kvmctl.spec.model.mdev import is_uuid
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Numa
from kvmctl.spec.model.pci import Pci, is_assigned, selector
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.scsi import Scsi, is_unit
from kvmctl.spec.model.scsi import said as said_of_unit
from kvmctl.spec.model.trust import Cards
from kvmctl.spec.model.usb import Usb, is_usb, said
from kvmctl.spec.xmltext import parse_raw

ARCH = choice(
    *("x86_64", "aarch64", "i686", "riscv64", "s390x", "ppc64le", "ppc64", "loongarch64", "armv7l", "armv6l", "armv7b"),
    *("alpha", "cris", "hppa", "itanium", "lm32", "m68k", "microblaze", "microblazeel", "mips", "mips64", "mips64el"),
    *("mipsel", "openrisc", "parisc", "parisc64", "ppc", "ppcemb", "riscv32", "s390", "sh4", "sh4eb", "sparc"),
    *("sparc64", "unicore32", "xtensa", "xtensaeb"),
)
ACCELERATOR = choice("auto", "kvm", "tcg", xml={"tcg": "qemu"})


@group
class Hyperv:
    """Enlightenments: what makes Windows run well."""

    relaxed: bool | None = scalar("relaxed/@state", ON_OFF, "No watchdog on late timers.")
    vapic: bool | None = scalar("vapic/@state", ON_OFF, "Fast interrupt controller.")
    vpindex: bool | None = scalar("vpindex/@state", ON_OFF, "Number of the vCPU.")
    synic: bool | None = scalar("synic/@state", ON_OFF, "Synthetic interrupts; needs vpindex.")
    stimer: bool | None = scalar("stimer/@state", ON_OFF, "Synthetic timers; needs synic.")
    frequencies: bool | None = scalar("frequencies/@state", ON_OFF, "Clock frequencies.")
    tlbflush: bool | None = scalar("tlbflush/@state", ON_OFF, "Flush of other vCPUs' TLBs.")
    ipi: bool | None = scalar("ipi/@state", ON_OFF, "Interrupts between vCPUs.")


@group
class Features:
    """What the virtual machine's board offers."""

    acpi: bool | None = through(Flag("acpi"), BOOLEAN, "Power management; left out, it is on where the machine has it.")
    apic: bool | None = through(Flag("apic"), BOOLEAN, "Interrupt controller of PCs; left out, it is on for x86.")
    pae: bool | None = through(Flag("pae"), BOOLEAN, "More than 4GiB for 32-bit guests.")
    smm: bool | None = scalar("smm/@state", ON_OFF, "System management mode.")
    hidden: bool | None = scalar("kvm/hidden/@state", ON_OFF, "Do not tell the guest of KVM, for drivers that mind.")
    hyperv: Hyperv | None = nested("hyperv", Hyperv, "Enlightenments for Windows.")


@group
class Vm:
    """A VM."""

    name: str | None = scalar("name", NAME, "Name of the VM on its host.", example="web1")
    template: str | None = beside(
        LINE, "Starter spec that lies below this one: a shipped one by name, or a path.", example="linux"
    )
    uuid: str | None = scalar("uuid", UUID, "UUID; made by libvirt if left out.")
    title: str | None = scalar("title", LINE, "A short title.")
    description: str | None = scalar("description", TEXT, "What the VM is for.")
    accelerator: str | None = scalar(
        "@type", ACCELERATOR, "kvm (hardware), tcg (emulation), or auto: kvm where the host can. auto if left out."
    )
    arch: str | None = scalar(
        "os/type/@arch", ARCH, "Architecture of the guest; the host's if left out.", example="x86_64"
    )
    machine: str | None = scalar(
        "os/type/@machine",
        WORD,
        "Machine type; q35 for x86, virt for ARM if left out; default leaves it to libvirt.",
        example="q35",
    )
    firmware: Firmware | None = nested("os", Firmware, "Firmware; libvirt's choice for the machine if left out.")
    boot: Boot | None = nested("os", Boot, "Where to boot from.")
    autostart: bool | None = beside(BOOLEAN, "Start the VM when its host starts.")
    cpu: Cpu | None = nested("", Cpu, "vCPUs.")
    memory: Memory | None = nested("", Memory, "Memory.", example="4GiB")
    numa: Numa | None = nested("", Numa, "NUMA nodes of the host and of the guest.")
    features: Features | None = nested("features", Features, "Features of the machine.")
    clock: str | None = scalar(
        "clock/@offset", choice("utc", "localtime"), "What the hardware clock shows at boot; utc if left out."
    )
    disks: tuple[disk.Disk, ...] = listed(
        "devices/disk", disk.Disk, "Disks.", key=lambda item: item.name, when=disk.is_disk
    )
    cdrom: tuple[disk.Cdrom, ...] = listed(
        "devices/disk", disk.Cdrom, "CD-ROM drives.", key=lambda item: item.name, when=disk.is_cdrom, one=True
    )
    networks: tuple[network.Network, ...] = listed(
        "devices/interface",
        network.Network,
        "Network cards.",
        key=network.name_of,
        when=network.is_known,
        kind=Cards,
    )
    pci: tuple[Pci, ...] = listed(
        "devices/hostdev",
        Pci,
        "PCI devices of the host, and parts of them.",
        key=lambda item: item.address or item.mdev,
        when=is_assigned,
    )
    usb: tuple[Usb, ...] = listed(
        "devices/hostdev",
        Usb,
        "USB devices of the host.",
        key=lambda item: (item.vendor, item.product, item.bus, item.device),
        when=is_usb,
    )
    scsi: tuple[Scsi, ...] = listed(
        "devices/hostdev",
        Scsi,
        "SCSI devices of the host: disks, tapes, changers.",
        key=lambda item: item.address,
        when=is_unit,
    )
    graphics: tuple[devices.Graphics, ...] = listed(
        "devices/graphics",
        devices.Graphics,
        "Screens; none if left out.",
        key=lambda item: item.type,
        when=devices.is_known_screen,
        one=True,
    )
    video: tuple[devices.Video, ...] = listed(
        "devices/video", devices.Video, "Graphics cards; libvirt's choice if left out.", key=lambda item: None, one=True
    )
    inputs: tuple[devices.Input, ...] = listed(
        "devices/input",
        devices.Input,
        "Pointers and keyboards; with graphics and none given, a tablet.",
        key=lambda item: (item.type, item.bus),
        when=lambda element: (
            element.get("type") in ("tablet", "mouse", "keyboard")
            and element.get("bus") in (None, "usb", "virtio", "ps2")
        ),
    )
    serial: tuple[devices.Serial, ...] = listed(
        "devices/serial",
        devices.Serial,
        "Serial ports; one if left out, none if false.",
        key=lambda item: item.port,
        when=devices.is_pty,
        one=True,
    )
    controllers: tuple[devices.Controller, ...] = listed(
        "devices/controller",
        devices.Controller,
        "SCSI controllers.",
        key=lambda item: item.index,
        when=devices.is_scsi,
    )
    rng: tuple[devices.Rng, ...] = listed(
        "devices/rng",
        devices.Rng,
        "Random number devices; one if left out, none if false.",
        key=lambda item: None,
        when=devices.is_random,
        one=True,
    )
    balloon: devices.Balloon | None = nested("devices/memballoon", devices.Balloon, "Memory balloon.")
    tpm: tuple[devices.Tpm, ...] = listed(
        "devices/tpm",
        devices.Tpm,
        "Trusted platform module; none if left out.",
        key=lambda item: None,
        when=devices.is_emulated,
        one=True,
    )
    agent: bool | None = through(devices.Agent(), BOOLEAN, "Channel for the QEMU guest agent.")
    raw_xml: str | None = beside(
        TEXT,
        "libvirt XML merged into the domain last: a <domain> element with whatever the spec has no key for. An element "
        "is merged into the one it names (a disk by its target, a card by its MAC address, others by their place) or "
        "added.",
    )

    REQUIRED: ClassVar = ("name", "memory")

    def check(self) -> Iterator[tuple[str, str, str]]:
        fragment = None
        if self.raw_xml is not None:
            try:
                fragment = parse_raw(self.raw_xml)
            except ValueError as problem:
                yield "raw_xml", str(problem), "write raw_xml: | and below it <domain>…</domain>"
                return
            for name in ("name", "uuid"):
                if fragment.findtext(name, getattr(self, name)) != getattr(self, name):
                    yield "raw_xml", f"raw_xml says another {name}", f"say it with {name}: alone"
        if self.memory and not self.memory.size:
            yield "memory", "size is missing", "write memory: {size: 4GiB}"
        seen: dict[str, str] = {}
        for kind in ("disks", "cdrom"):
            for index, item in enumerate(getattr(self, kind)):
                if item.name in seen:
                    yield (
                        f"{kind}[{index}].name",
                        f"'{item.name}' is the name of {seen[item.name]} already",
                        "give each its own name",
                    )
                elif item.name:
                    seen[item.name] = f"{kind}[{index}]"
        for index, card in enumerate(self.networks):
            if card.mac and card.mac in {other.mac for other in self.networks[:index] if not card.team}:
                yield f"networks[{index}].mac", f"the MAC address {card.mac} is given twice", "give each card its own"
        yield from network.check_teams(self.networks)
        yield from _devices_twice(self)
        devices: list[Any] = [*self.disks, *self.cdrom, *self.networks, *self.pci, *self.usb, *self.scsi]
        orders = [device.boot_order for device in devices if device.boot_order]
        if orders and self.boot and self.boot.order:
            yield "boot", "boot order is given twice, here and by boot_order", "use one of the two"
        if len(set(orders)) != len(orders):
            yield "", "two devices have the same boot_order", "give each its own place"
        yield from across.check(self, fragment)


def _devices_twice(vm: Vm) -> Iterator[tuple[str, str, str]]:
    """The same address, or USB or SCSI device, in two places."""
    given = [
        (f"pci[{index}]", entry.address or entry.device or (entry.mdev and f"mdev:{entry.mdev}") or "")
        for index, entry in enumerate(vm.pci)
    ]
    given += [(f"disks[{index}].nvme", disk.nvme or "") for index, disk in enumerate(vm.disks)]
    given += [(f"networks[{index}].hostdev", card.hostdev or "") for index, card in enumerate(vm.networks)]
    seen: dict[str, str] = {}
    for path, text in given:
        try:
            meant = selector(text) if text else None
        except ValueError:
            continue  # which is said elsewhere
        address = meant and (meant.address or (meant.mdev if is_uuid(meant.mdev or "") else None))
        if address in seen:
            yield path, f"{address} is given to the VM by {seen[address]} already", "name each device once"
        elif address:
            seen[address] = path
    for kind, words in (("usb", [*map(said, vm.usb)]), ("scsi", [*map(said_of_unit, vm.scsi)])):
        for index, word in enumerate(words):
            if word and word in words[:index]:
                yield f"{kind}[{index}]", "this device is given to the VM already", "name each device once"
