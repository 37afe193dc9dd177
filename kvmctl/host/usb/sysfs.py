"""The USB devices of this machine, as its kernel shows them in sysfs. Changes nothing.

Everything is read below `system`, which is / but for tests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, number_of, text_of
from kvmctl.host.pci.sysfs import carried, entries, hexadecimal, port, real
from kvmctl.plan.usb.facts import Device

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = "sys/bus/usb/devices"


def devices(system: Path = ROOT, *, own: bool = False) -> dict[str, Device]:
    """All of them by port; with `own`, whether whoever calls has the right to use them."""
    cards, disks = carried(system, "net", port), carried(system, "block", port)
    places = {place.name: place for place in entries(system / DEVICES)}
    found: dict[str, Device] = {}
    for name, place in places.items():
        bus, number = number_of(place / "busnum"), number_of(place / "devnum")
        if ":" in name or bus is None or number is None:
            continue  # an interface of a device, or one that goes just now
        parts = [other for part, other in places.items() if part.startswith(f"{name}:")]
        drivers = {os.path.basename(real(part / "driver")) for part in parts if (part / "driver").exists()}
        found[name] = Device(
            port=name,
            bus=bus,
            number=number,
            vendor=f"{hexadecimal(place / 'idVendor'):04x}",
            product=f"{hexadecimal(place / 'idProduct'):04x}",
            vendor_name=text_of(place / "manufacturer") or "",
            product_name=text_of(place / "product") or "",
            serial=text_of(place / "serial") or "",
            classes=frozenset(
                map(hexadecimal, (place / "bDeviceClass", *(part / "bInterfaceClass" for part in parts)))
            ),
            drivers=tuple(sorted(drivers)),
            interfaces=cards.get(name, ()),
            blocks=disks.get(name, ()),
            usable=os.access(system / f"dev/bus/usb/{bus:03}/{number:03}", os.R_OK | os.W_OK) if own else None,
        )
    return found
