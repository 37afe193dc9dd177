"""What stands against giving devices to a VM: found before anything is touched, all at once, each with its mend. Pure.

A blocker is what would fail, or harm the host or another VM; only that the host needs a device can be overruled, by
naming that very device. A warning is what may not be what was meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.errors import Impossible, KvmctlError, NotFound
from kvmctl.plan.migration.verdicts import blocker, note, warning
from kvmctl.plan.pci.check_device import functions, traps
from kvmctl.plan.pci.check_host import host
from kvmctl.plan.pci.hindrances import hindrances, is_bound
from kvmctl.plan.pci.mediated import check_mdev
from kvmctl.spec.model.mdev import is_uuid

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Device, Inventory
    from kvmctl.plan.pci.hindrances import Hindrance, Uses

FORCE = "host-needs-device"
HINTS = {
    "device-gone": "look at the slot; echo 1 >/sys/bus/pci/rescan finds it again when it is back",
    "device-board": "assign what is behind it, or another device: kvmctl pci list --free",
    "device-in-use": "detach it there first, or stop that VM",
    "device-hub": "assign what is plugged into it: kvmctl usb list",
    "device-controller": "assign the disks behind it: kvmctl scsi list",
    "vfs-in-use": "detach that function first, or stop that VM",
}


def check(
    inventory: Inventory,
    addresses: Sequence[str],
    *,
    uuid: str = "",
    forced: Collection[str] = (),
    memory: int = 0,
    roms: Collection[str] = (),
) -> tuple[Finding, ...]:
    """All findings about these devices for one VM, of which `uuid` is its own and `memory` its bytes.

    Mdevs are named by their UUIDs, and ask nothing of the host as a whole. `forced` are those that it may take from
    the host all the same; for `roms` it has the option ROM as a file.
    """
    mdevs = [each for each in dict.fromkeys(addresses) if is_uuid(each)]
    wanted = [each for each in dict.fromkeys(addresses) if each not in mdevs]
    found = [*twice(addresses), *(host(inventory, wanted, memory) if wanted else ())]
    for each in mdevs:
        found += check_mdev(inventory, each, vm=uuid)
    for address in wanted:
        if address not in inventory.devices:
            found.append(_missing(inventory, address))
            continue
        found += of_one(inventory, address, hindrances(inventory, address, uuid=uuid), uuid=uuid, forced=forced)
        found += functions(inventory, inventory.devices[address], wanted)
        if not any(finding.verdict == "blocker" and finding.subject == address for finding in found):
            found += traps(inventory, inventory.devices[address], roms)
        found += _group(inventory, inventory.devices[address], wanted, uuid)
    return tuple(dict.fromkeys(found))


def blockers(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.verdict == "blocker")


def refusal(findings: Iterable[Finding], *, vm: str = "") -> KvmctlError | None:
    """The one error for all blockers among these; None if there is none."""
    found = blockers(findings)
    if not found:
        return None
    if all(finding.code == "device-missing" for finding in found):
        details = [finding.what for finding in found[1:]]
        return NotFound("device-not-found", found[0].what, hint=found[0].hint, vm=vm, details=details)
    single = found[0] if len(found) == 1 else None
    return Impossible(
        "device-refused",
        single.what if single else f"these devices cannot be given to a VM, for {len(found)} reasons",
        hint=single.hint if single else "",
        reasons=[{"code": finding.code, "message": finding.what, "hint": finding.hint} for finding in found],
        vm=vm,
    )


def twice(addresses: Sequence[str]) -> Iterator[Finding]:
    for address, times in Counter(addresses).items():
        if times > 1:
            yield blocker("device-twice", f"{address} is named {times} times", "name it once", subject=address)


def _missing(inventory: Inventory, address: str) -> Finding:
    what = f"{inventory.host} has no PCI device {address}"
    return blocker("device-missing", what, "kvmctl pci list shows which there are", subject=address)


def of_one(
    inventory: Uses, address: str, found: Iterable[Hindrance], *, uuid: str, forced: Collection[str]
) -> Iterator[Finding]:
    """What is to be said of a device of any bus, of which this was found, and of who has it."""
    against = list(found)
    for hindrance in against:
        if hindrance.code != FORCE:
            what = f"{address} cannot be given away: {hindrance.reason}"
            yield blocker(hindrance.code, what, HINTS[hindrance.code], subject=address)
    needs = "; ".join(hindrance.reason for hindrance in against if hindrance.code == FORCE)
    if needs and address in forced:
        yield warning(FORCE, f"the host loses {address}: {needs}", subject=address)
    elif needs:
        hint = f"take another device; --force-host-device {address} takes this one from the host"
        yield blocker(FORCE, f"the host needs {address}: {needs}", hint, subject=address)
    for holder in inventory.holders.get(address, ()):
        if not holder.running and holder.uuid != uuid:
            what = f"{address} is assigned to {holder.vm}, too; only one of them can run with it"
            yield note("device-assigned", what, subject=address)


def _group(inventory: Inventory, device: Device, wanted: Sequence[str], uuid: str) -> Iterator[Finding]:
    """The other devices of its group: with it, or with nobody."""
    shares = f"{device.address} shares IOMMU group {device.group} with"
    along = []
    for companion in inventory.companions(device.address):
        if companion.address in wanted:
            continue
        if device.address in (companion.physical_function, *companion.virtual_functions) and is_bound(companion):
            hint = "take the virtual functions away (kvmctl pci vfs), and give the card as a whole"
            what = f"{shares} {companion.address}, and a card cannot be given away together with functions of it"
            yield blocker("pf-and-vf", what, hint, subject=device.address)
            continue
        worst = next(hindrances(inventory, companion.address, uuid=uuid), None)
        if worst is not None and (worst.word != "not-assignable" or is_bound(companion)):
            code = "group-in-use" if worst.word == "in-use" else "group-needed"
            hint = "put the card into another slot, or take another device: kvmctl pci list --free"
            yield blocker(code, f"{shares} {companion.address}: {worst.reason}", hint, subject=device.address)
        elif is_bound(companion):
            along.append(companion)
    if along:
        names = ", ".join(f"{one.address} ({one.driver})" for one in along)
        hint = f"assign them together: {' '.join([device.address, *(one.address for one in along)])}"
        yield blocker("group-not-whole", f"{shares} {names}", hint, subject=device.address)
