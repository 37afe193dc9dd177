"""`kvmctl pci show`: one device, its group, and what stands against assigning it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.columns import plain
from kvmctl.commands import _sheet
from kvmctl.commands._complete import pci_devices
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.output import Output

MARKS = {"blocker": "✗", "warning": "!", "note": "·"}


@command("show")
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE…", shell_complete=pci_devices)
@click.pass_obj
def show(app: App, devices: tuple[str, ...]) -> None:
    """Explain PCI devices, each with its whole IOMMU group.

    DEVICE is an address (0000:3b:00.0, or 3b:00.0), a network interface, a disk or a serial number. Shown is what it
    is, who uses it and why, the tree of its IOMMU group, of which a VM gets all or nothing, and all that stands against
    assigning it, with what mends it.

    \b
    With -o json it prints one object, or an array for several devices: the fields of 'kvmctl pci list', and
      group           the same of every member of its IOMMU group
      findings        code, verdict (blocker, warning, note), subject, what,
                      hint

    \b
    Examples:
      kvmctl pci show 3b:00.0
      kvmctl pci show eth2 nvme1n1

    \b
    Exit codes:
      0  shown
      3  there is no such device
      5  two devices are called so
      7  the host cannot be reached, or does not let us in
    """
    from kvmctl.host.pci.inventory import inventory
    from kvmctl.plan.pci.find import find
    from kvmctl.plan.pci.listing import explained

    with app.host(readonly=True) as host:
        known = inventory(host)
    items = [explained(known, find(known, device)) for device in devices]
    app.output.sheets(items, lambda item, wide: _lines(app.output, item), single=len(items) == 1)


def _lines(output: Output, item: Item) -> Iterator[str]:
    yield output.painted(item["address"], "bold") + f"  {item['product_name'] or item['class']}"
    yield from _sheet.named(
        output,
        (
            ("verdict", _sheet.listed((item["verdict"], item["reason"]))),
            ("VMs", _sheet.listed(map(_user, item["used_by"]))),
            ("class", f"{item['class']} ({item['class_code']})"),
            ("vendor", _sheet.listed((item["vendor_name"], f"{item['vendor']}:{item['product']}"))),
            ("driver", item["driver"]),
            ("serial", item["serial"]),
            ("NUMA node", None if item["numa_node"] is None else str(item["numa_node"])),
            ("function of", item["physical_function"]),
            ("functions", _functions(item)),
            ("mdev types", _sheet.listed(f"{kind['id']} ({kind['free']} free)" for kind in item["mdev_types"])),
            ("interfaces", _sheet.listed(item["interfaces"])),
            ("disks", _sheet.listed(item["blocks"])),
            ("resets", None if item["resets"] is None else plain(item["resets"])),
        ),
    )
    yield from _group(output, item)
    if item["findings"]:
        yield ""
    for finding in item["findings"]:
        yield from _sheet.prose(MARKS[finding["verdict"]], finding["what"])
        if finding["hint"]:
            yield from _sheet.prose(" ", f"hint: {finding['hint']}")


def _user(user: Item) -> str | None:
    """A VM that has it; why the host needs it is among the findings."""
    if user["by"] == "host":
        return None
    return user["name"] if user["running"] else f"{user['name']} (stopped)"


def _functions(item: Item) -> str | None:
    if not item["most_virtual_functions"]:
        return None
    made = f"{len(item['virtual_functions'])} of at most {item['most_virtual_functions']}"
    return f"{made}: {', '.join(item['virtual_functions'])}" if item["virtual_functions"] else made


def _group(output: Output, item: Item) -> Iterator[str]:
    """The group as a tree; a device alone in its group needs none."""
    members = item["group"]
    if not members:
        return
    yield ""
    title = f"IOMMU group {item['iommu_group']}"
    yield f"  {output.painted(title, 'bold')}"
    for number, member in enumerate(members):
        branch = "└─" if number == len(members) - 1 else "├─"
        parts = (member["class"], member["product_name"], member["driver"] and f"driver {member['driver']}")
        here = output.painted(member["address"], "bold" if member["address"] == item["address"] else "")
        yield f"  {branch} {here}  {_sheet.listed(parts)}: {member['verdict']}"
