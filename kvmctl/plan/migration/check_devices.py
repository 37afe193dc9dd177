"""Devices that are bound to the source: what is passed through, shared memory, folders, drives. Pure.

Of a VM that is off only the definition moves, so only what must be found again at the target counts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, note, warning
from kvmctl.plan.pci.trust import risky
from kvmctl.spec.model.scsi import Address
from kvmctl.spec.model.trust import noted

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding

DETACH = "detach it, migrate, and attach its like there; or stop the VM first"


def devices(ends: Ends) -> Iterator[Finding]:
    for device in ends.xml.iterfind("devices/hostdev"):
        yield from _hostdev(ends, device)
    for card in ends.xml.iterfind("devices/interface"):
        yield from _card(ends, card)
    for folder in ends.xml.iterfind("devices/filesystem"):
        yield from _folder(ends, folder)
    for shared in ends.xml.iterfind("devices/shmem"):
        name = shared.get("name", "")
        if ends.guest.running and shared.get("role") != "master":
            what = f"it shares the memory '{name}' with others on {ends.source.name}"
            yield blocker("shared-memory", what, DETACH, subject=name)
    for backend in ends.xml.iterfind("devices/tpm/backend[@type='passthrough']"):
        node = backend.find("device")
        path = "" if node is None else node.get("path", "")
        what = f"its TPM is that of {ends.source.name}"
        hint = "give it an emulated one: tpm: true; keys sealed by the old one are lost"
        yield blocker("tpm-passthrough", what, hint, subject=path)
    for disk in ends.guest.disks:
        if disk.type in ("nvme", "vhostuser", "vhostvdpa"):
            code = "vhost-user" if disk.type == "vhostuser" else "host-device"
            what = f"disk {disk.target} is a device or a service of {ends.source.name} ({disk.type})"
            yield blocker(code, what, DETACH, subject=disk.target)
    yield from _lines(ends)
    if ends.guest.running:
        yield from _never(ends)


def _hostdev(ends: Ends, device: Element) -> Iterator[Finding]:
    kind = device.get("type") or device.get("mode") or "device"
    address = device.find("source/address")
    where = "" if address is None else address.get("uuid") or _place(address)
    if kind == "mdev":
        code, what = "mediated-device", f"it has the mediated device {where} of {ends.source.name}"
    elif kind == "usb":
        vendor, product = device.find("source/vendor"), device.find("source/product")
        if vendor is not None and product is not None:
            where = f"{vendor.get('id', '')[2:]}:{product.get('id', '')[2:]}"
        code, what = "usb-device", f"it has the USB device {where} of {ends.source.name}"
    elif kind == "scsi" and device.find("source[@protocol='iscsi']") is not None:
        return  # found again from any host
    else:
        where = Address().get(device) or where if kind == "scsi" else where
        code, what = "host-device", f"it has the {kind.upper()} device {where} of {ends.source.name}"
    if kind == "pci" and where in ends.likes:
        yield _swapped(ends, device, code, what, where)
    elif _pair(device):
        yield note("failover-device", f"{what}; it is unplugged for the move, and its twin takes over", subject=where)
    elif ends.guest.running:
        yield blocker(code, what, DETACH, subject=where)
    else:
        yield blocker(code, what, "remove it from the definition, and add its like there", subject=where)


def _swapped(ends: Ends, device: Element, code: str, what: str, address: str) -> Finding:
    """A device that can go, whose like the VM gets at the target if there is one that is free."""
    there = ends.likes[address]
    if not there:
        hint = f"free one there, or make more: kvmctl pci list -H {ends.target.name}; kvmctl pci vfs"
        return blocker(code, f"{what}, and {ends.target.name} has no free one like it", hint, subject=address)
    unsafe = " and ".join(risky(noted(ends.guest.xml).get(address, {})))
    without = f", without {unsafe} until it is started there" if unsafe else ""
    if _pair(device):
        what = f"{what}; it is unplugged for the move, its twin takes over, and it gets {there} there{without}"
        return note("failover-device", what, subject=address)
    if address in ends.carried:
        return note("device-carried", f"{what}; its state goes along, to {there} there{without}", subject=address)
    if ends.guest.running:
        what = f"{what}; the guest must let go of it for the move, and gets {there} there{without}"
        return note("device-swapped", what, subject=address)
    return note("device-swapped", f"{what}, and gets {there} there", subject=address)


def _place(address: Element) -> str:
    if address.get("slot") is None:
        return ":".join(filter(None, (address.get("bus"), address.get("device") or address.get("target"))))
    domain, bus, slot, function = (int(address.get(key, "0"), 0) for key in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _pair(device: Element) -> bool:
    return device.find("teaming[@type='transient']") is not None


def _card(ends: Ends, card: Element) -> Iterator[Finding]:
    element = card.find("mac")
    mac = "" if element is None else element.get("address", "")
    if card.get("type") in ("hostdev", "vdpa") or card.find("source/address[@type='pci']") is not None:
        address = card.find("source/address")
        where = "" if address is None or address.get("slot") is None else _place(address)
        what = f"its network device {mac} is hardware of {ends.source.name}"
        if where in ends.likes:
            yield _swapped(ends, card, "host-device", what, where)
        elif _pair(card):
            yield note("failover-device", f"{what}; it is unplugged for the move, and its twin takes over", subject=mac)
        else:
            yield blocker("host-device", what, DETACH, subject=mac)
    elif card.get("type") == "vhostuser":
        source = card.find("source")
        path = "" if source is None else source.get("path", "")
        what = f"its network device {mac} needs who serves {path} (vhost-user) on {ends.target.name} too"
        yield warning("vhost-user", what, f"see that the same socket is served on {ends.target.name}", subject=mac)


def _folder(ends: Ends, folder: Element) -> Iterator[Finding]:
    driver, source, name = folder.find("driver"), folder.find("source"), folder.find("target")
    kind = "path" if driver is None else driver.get("type", "path")
    path = "" if source is None else source.get("dir") or source.get("socket") or ""
    tag = "" if name is None else name.get("dir", "")
    if kind == "virtiofs" and ends.guest.running:
        yield blocker("virtiofs", f"it has the folder {path} of {ends.source.name} by virtiofs", DETACH, subject=tag)
    elif ends.guest.running:
        what = f"it has the folder {path} of {ends.source.name}; QEMU refuses while the guest has it mounted"
        yield warning("shared-folder", what, f"unmount {tag} in the guest first", subject=tag)


def _lines(ends: Ends) -> Iterator[Finding]:
    """Serial lines and the like: devices of the host, and directories of files."""
    for kind in ("serial", "parallel", "console", "channel"):
        for line in ends.xml.iterfind(f"devices/{kind}"):
            source, log = line.find("source"), line.find("log")
            path = "" if source is None else source.get("path", "")
            if line.get("type") == "dev":
                what = f"its {kind} line is {path} of {ends.source.name}"
                yield blocker("host-line", what, "remove it from its definition, and restart it", subject=path)
            places = [path] if line.get("type") in ("file", "pipe") else []
            places += [log.get("file", "")] if log is not None else []
            for place in places:
                yield from _directory(ends, place)


def _directory(ends: Ends, path: str) -> Iterator[Finding]:
    sight = ends.sights.get(path)
    if sight is not None and not sight.directory:
        what = f"{ends.target.name} has no directory for {sight.there}"
        yield blocker("path-missing", what, f"make it: mkdir -p {sight.there.rpartition('/')[0]}", subject=path)


def _never(ends: Ends) -> Iterator[Finding]:
    """What QEMU cannot move at all."""
    if ends.xml.find("devices/video/model/acceleration[@accel3d='yes']") is not None:
        what = "its graphics card draws with that of the host (3D acceleration), which QEMU cannot migrate"
        yield blocker("gpu-acceleration", what, "remove the acceleration from its definition, and restart it")
    security = ends.xml.find("launchSecurity")
    if security is not None:
        what = f"its memory is encrypted by the processor of {ends.source.name} ({security.get('type', '')})"
        yield blocker("encrypted-memory", what, "stop it first")
