"""A machine's /sys, /proc and /dev as files in a directory: what a kernel shows of hardware that is not there."""

from __future__ import annotations

import os
from pathlib import Path

CLASSES = {"nvme": 0x010802, "sata": 0x010601, "raid": 0x010400, "nic": 0x020000, "vga": 0x030000, "usb": 0x0C0330}
CLASSES |= {"bridge": 0x060400, "other": 0xFFFF00}


class Tree:
    """Build it bottom up: hardware first, then what lies on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 0
        self.places: dict[str, Path] = {}
        self.file("proc/cpuinfo", "vendor_id\t: GenuineIntel\n")
        self.process(1, "systemd")
        self.link("proc/self/ns/mnt", "mnt:[1]")
        self.link("proc/self/ns/net", "net:[1]")

    def file(self, path: str | Path, text: str | bytes = "") -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return place

    def link(self, path: str | Path, target: str | Path) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        there = self.root / target
        # Real links of sysfs are relative; one to what is not there names it only.
        place.symlink_to(os.path.relpath(there, place.parent) if there.exists() else target)

    def pci(
        self, address: str, kind: str = "other", *, on: str = "", group: int | None = None, driver: str = ""
    ) -> Path:
        """A device, behind another one if there is `on`."""
        domain = address.rpartition(":")[0].rpartition(":")[0]
        above = self.places[on].relative_to(self.root) if on else Path(f"sys/devices/pci{domain}:00")
        if on and not on.startswith(domain):
            above /= f"pci{domain}:00"
        place = self.root / above / address
        for name, text in (("class", f"0x{CLASSES[kind]:06x}"), ("vendor", "0x8086"), ("device", "0x10c9")):
            self.file(place / name, text + "\n")
        self.file(place / "numa_node", "-1\n")
        self.file(place / "config", b"\x86\x80\xc9\x10" + bytes(60))
        if group is not None:
            (self.root / f"sys/kernel/iommu_groups/{group}").mkdir(parents=True, exist_ok=True)
            self.link(place / "iommu_group", f"sys/kernel/iommu_groups/{group}")
        if driver:
            (self.root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            self.link(place / "driver", f"sys/bus/pci/drivers/{driver}")
        self.link(f"sys/bus/pci/devices/{address}", place)
        self.places[address] = place
        return place

    def usb(self, port: str, on: str, *, number: int = 7, kind: str = "00", driver: str = "") -> Path:
        """A USB device behind a controller or a hub; `kind` is the class of its one interface."""
        bus = f"usb{port.partition('-')[0]}"
        place = self.places[on] / (port if on in (bus, port.rpartition(".")[0]) else f"{bus}/{port}")
        for name, text in (("busnum", bus[3:]), ("devnum", str(number)), ("idVendor", "046d"), ("idProduct", "c52b")):
            self.file(place / name, text + "\n")
        interface = place / f"{port}:1.0"
        self.file(interface / "bInterfaceClass", kind + "\n")
        if driver:
            (self.root / f"sys/bus/usb/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            self.link(interface / "driver", f"sys/bus/usb/drivers/{driver}")
        for each in (place, interface):
            self.link(f"sys/bus/usb/devices/{each.name}", each)
        self.file(f"dev/bus/usb/{int(bus[3:]):03}/{number:03}")
        self.places[port] = place
        return place

    def scsi(self, address: str, on: str, *, kind: int = 0, node: str = "", **files: str | bytes) -> Path:
        """A SCSI device on another, with the generic device `node`; its disk is a block at it."""
        host, bus, target, _ = address.split(":")
        place = self.places[on] / f"host{host}/target{host}:{bus}:{target}/{address}"
        for name, said in {"type": f"{kind}\n", "vendor": "ACME    \n", "model": "Disk\n", **files}.items():
            self.file(place / name, said)
        self.link(f"sys/bus/scsi/devices/{address}", place)
        self.places[address] = place
        if node:
            self.number += 1
            self.file(place / "scsi_generic" / node / "uevent", f"DEVNAME={node}\n")
            self.link(f"sys/dev/char/21:{self.number}", place / "scsi_generic" / node)
            self.file(f"dev/{node}")
        return place

    def block(self, name: str, at: str = "", *, below: tuple[str, ...] = (), path: str = "", kind: str = "") -> str:
        """A disk on a device, a partition (`kind`), or what is made of others; its number is returned."""
        self.number += 1
        place = self.places[below[0]] / name if kind == "partition" else self._on(at) / (path or "block") / name
        place.mkdir(parents=True)
        self.file(place / "dev", f"8:{self.number}\n")
        self.file(place / "uevent", f"DEVNAME={name}\n")
        self.file(f"dev/{name}")
        if kind == "partition":
            self.file(place / "partition", "1\n")
        elif kind.startswith("dm:"):
            _, uuid, label = kind.split(":")
            self.file(place / "dm/uuid", uuid + "\n")
            self.file(place / "dm/name", label + "\n")
        elif kind:
            (place / kind).mkdir()
        if kind != "partition":
            (place / "slaves").mkdir()
            for each in below:
                self.link(place / "slaves" / each, self.places[each])
        self.link(f"sys/class/block/{name}", place)
        self.link(f"sys/dev/block/8:{self.number}", place)
        self.places[name] = place
        return f"8:{self.number}"

    def char(self, name: str, at: str) -> None:
        """A file below /dev that stands for something of a device."""
        self.number += 1
        place = self._on(at) / "char" / name.replace("/", "-")
        self.file(place / "uevent", f"DEVNAME={name}\n")
        self.link(f"sys/dev/char/9:{self.number}", place)

    def card(self, name: str, at: str = "", *, below: tuple[str, ...] = (), up: bool = False, kind: str = "") -> None:
        """A network interface on a device, or on others."""
        place = self._on(at) / "net" / name
        self.file(place / "flags", "0x1003\n" if up else "0x1002\n")
        self.file(place / "uevent", f"INTERFACE={name}\n" + (f"DEVTYPE={kind}\n" if kind else ""))
        self.link(f"sys/class/net/{name}", place)
        self.places[name] = place
        for each in below:
            self.link(place / f"lower_{each}", self.places[each])
            if kind in ("bridge", "bond"):
                self.link(self.places[each] / "master", place)

    def _on(self, at: str) -> Path:
        return self.places[at] if at else self.root / "sys/devices/virtual"

    def process(self, number: int, name: str, *opened: str, mounts: str = "", space: int = 1, cards: str = "") -> None:
        """A process, what it has open, and the namespaces it lives in: 1 is everybody's."""
        self.file(f"proc/{number}/comm", name + "\n")
        self.link(f"proc/{number}/ns/mnt", f"mnt:[{space}]")
        self.link(f"proc/{number}/ns/net", f"net:[{space}]")
        lines = "".join(f"{card}: 0 0\n" for card in ("lo", *cards.split()))
        self.file(f"proc/{number}/net/dev", f"Inter-|\n face |\n{lines}")
        self.file(f"proc/{number}/mountinfo", mounts)
        for descriptor, path in enumerate(opened):
            place = self.root / f"proc/{number}/fd/{descriptor}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)

    def mount(self, number: str, place: str, source: str, kind: str = "ext4") -> None:
        with (self.root / "proc/1/mountinfo").open("a") as table:
            table.write(f"22 1 {number} / {place} rw,relatime shared:1 - {kind} {source} rw\n")

    def address(self, card: str, address: str) -> None:
        with self.file("proc/net/if_inet", self._text("proc/net/if_inet")).open("a") as table:
            table.write(f"{card} {address}\n")

    def route(self, card: str) -> None:
        head = "Iface Destination Gateway Flags RefCnt Use Metric Mask\n"
        self.file("proc/net/route", f"{head}{card} 00000000 0102000A 0003 0 0 0 00000000 0 0 0\n")

    def _text(self, path: str) -> str:
        place = self.root / path
        return place.read_text() if place.exists() else ""
